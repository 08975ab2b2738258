"""A simulated camera's motor and picture: where it looks, what it remembers, how bright it is.

Bodies are in the order of the schemas of ONVIF ver20/ptz, ver20/imaging and ver10/schema.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from drivers.codecs.guarded_xml import Element, escape
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_faults import FaultError

PRESETS = ("讲台", "黑板", "全景")
PRESETS_MAX = 128
NODE = "ptz-node"
CONFIGURATION = "ptz-configuration"
_MOVE_S = 10.0  # a move without a timeout ends after this
_DURATION = re.compile(r"PT(\d{1,4}(?:\.\d{1,6})?)S")
_PAN_TILT = "http://www.onvif.org/ver10/tptz/PanTiltSpaces"
_ZOOM = "http://www.onvif.org/ver10/tptz/ZoomSpaces"
_FULL_TRAVEL_S = 4.0  # from one end to the other at full speed
_IMAGING = ("Brightness", "ColorSaturation", "Contrast", "Sharpness")


@dataclass(frozen=True, slots=True)
class Position:
    pan: float = 0.0  # -1 to 1
    tilt: float = 0.0
    zoom: float = 0.0  # 0 to 1


class Motor:
    """Turns by velocity until stopped or its time is over; every change is in the ledger."""

    def __init__(self, ledger: Ledger, now_ms: NowMs) -> None:
        self._ledger = ledger
        self._now_ms = now_ms
        self._position = Position()
        self._velocity = Position()
        self._since_ms = 0
        self._ends: asyncio.TimerHandle | None = None
        self._presets = {
            f"preset-{number}": (name, Position(pan=number / 10))
            for number, name in enumerate(PRESETS, start=1)
        }
        self._picture = dict.fromkeys(_IMAGING, 50.0)

    def operations(self, operation: Element) -> Mapping[str, Callable[[], str]]:
        """Return what answers each operation of the PTZ and imaging services."""
        return {
            "GetNodes": lambda: f"<tptz:GetNodesResponse>{_node()}</tptz:GetNodesResponse>",
            "GetConfigurations": lambda: (
                "<tptz:GetConfigurationsResponse>"
                f'<tptz:PTZConfiguration token="{CONFIGURATION}">{configuration()}'
                "</tptz:PTZConfiguration></tptz:GetConfigurationsResponse>"
            ),
            "GetPresets": self._list,
            "SetPreset": lambda: self._set(operation),
            "RemovePreset": lambda: self._remove(operation.first_text("PresetToken")),
            "GotoPreset": lambda: self._go_to(operation.first_text("PresetToken")),
            "GotoHomePosition": self._go_home,
            "ContinuousMove": lambda: self._move(operation),
            "Stop": self._stop,
            "GetStatus": self._status,
            "GetImagingSettings": self._imaging,
            "GetOptions": _options,
            "SetImagingSettings": lambda: self._set_imaging(operation),
        }

    def _list(self) -> str:
        listed = "".join(
            f'<tptz:Preset token="{token}"><tt:Name>{escape(name)}</tt:Name></tptz:Preset>'
            for token, (name, _) in self._presets.items()
        )
        return f"<tptz:GetPresetsResponse>{listed}</tptz:GetPresetsResponse>"

    def _set(self, operation: Element) -> str:
        if len(self._presets) >= PRESETS_MAX:
            raise FaultError("TooManyPresets", "no room for another preset")
        token = operation.first_text("PresetToken")
        if token and token not in self._presets:
            raise FaultError("NoToken", "no such preset")
        token = token or next(
            name
            for number in range(1, PRESETS_MAX + 1)
            if (name := f"preset-{number}") not in self._presets
        )
        name = operation.first_text("PresetName") or token
        self._presets[token] = (name[:64], self._now())
        self._ledger.write("preset_set", token=token, name=name)
        return (
            f"<tptz:SetPresetResponse><tptz:PresetToken>{token}</tptz:PresetToken>"
            "</tptz:SetPresetResponse>"
        )

    def _remove(self, token: str) -> str:
        if self._presets.pop(token, None) is None:
            raise FaultError("NoToken", "no such preset")
        self._ledger.write("preset_removed", token=token)
        return "<tptz:RemovePresetResponse/>"

    def _go_to(self, token: str) -> str:
        if token not in self._presets:
            raise FaultError("NoToken", "no such preset")
        self._rest(self._presets[token][1])
        self._ledger.write("preset", token=token)
        return "<tptz:GotoPresetResponse/>"

    def _go_home(self) -> str:
        self._rest(Position())
        self._ledger.write("home")
        return "<tptz:GotoHomePositionResponse/>"

    def _move(self, operation: Element) -> str:
        pan_tilt, zoom = operation.first("PanTilt"), operation.first("Zoom")
        velocity = Position(
            pan=_number(pan_tilt, "x"), tilt=_number(pan_tilt, "y"), zoom=_number(zoom, "x")
        )
        found = _DURATION.fullmatch(operation.first_text("Timeout"))
        timeout_s = min(float(found[1]), _MOVE_S) if found else _MOVE_S
        self._rest(self._now())
        self._velocity, self._since_ms = velocity, self._now_ms()
        self._ends = asyncio.get_running_loop().call_later(timeout_s, self._time_is_over)
        self._ledger.write(
            "move",
            pan=velocity.pan,
            tilt=velocity.tilt,
            zoom=velocity.zoom,
            timeout_s=timeout_s,
        )
        return "<tptz:ContinuousMoveResponse/>"

    def _stop(self) -> str:
        self._rest(self._now())
        self._ledger.write("stop")
        return "<tptz:StopResponse/>"

    def _time_is_over(self) -> None:
        self._rest(self._now())
        self._ledger.write("move_timed_out")

    def _rest(self, position: Position) -> None:
        if self._ends is not None:
            self._ends.cancel()
        self._position, self._velocity, self._ends = position, Position(), None

    def _now(self) -> Position:
        share = 2 * (self._now_ms() - self._since_ms) / 1000 / _FULL_TRAVEL_S
        at, by = self._position, self._velocity
        if by == Position():
            return at
        return Position(
            pan=min(max(at.pan + by.pan * share, -1.0), 1.0),
            tilt=min(max(at.tilt + by.tilt * share, -1.0), 1.0),
            zoom=min(max(at.zoom + by.zoom * share / 2, 0.0), 1.0),
        )

    def _status(self) -> str:
        at = self._now()
        moves = "MOVING" if self._ends is not None else "IDLE"
        return (
            "<tptz:GetStatusResponse><tptz:PTZStatus><tt:Position>"
            f'<tt:PanTilt x="{at.pan:.4f}" y="{at.tilt:.4f}"/><tt:Zoom x="{at.zoom:.4f}"/>'
            "</tt:Position><tt:MoveStatus>"
            f"<tt:PanTilt>{moves}</tt:PanTilt><tt:Zoom>{moves}</tt:Zoom></tt:MoveStatus>"
            f"<tt:UtcTime>{_utc(self._now_ms())}</tt:UtcTime>"
            "</tptz:PTZStatus></tptz:GetStatusResponse>"
        )

    def _imaging(self) -> str:
        told = "".join(f"<tt:{name}>{self._picture[name]:g}</tt:{name}>" for name in _IMAGING)
        return (
            f"<timg:GetImagingSettingsResponse><timg:ImagingSettings>{told}"
            "</timg:ImagingSettings></timg:GetImagingSettingsResponse>"
        )

    def _set_imaging(self, operation: Element) -> str:
        for name in _IMAGING:
            text = operation.first_text(name)
            if text:
                value = _float(text)
                if not 0 <= value <= 100:  # noqa: PLR2004 — what GetOptions tells
                    raise FaultError("SettingsInvalid", f"{name} is from 0 to 100")
                self._picture[name] = value
                self._ledger.write("imaging", setting=name, value=value)
        return "<timg:SetImagingSettingsResponse/>"


def configuration() -> str:
    """Return the fields of the one PTZ configuration."""
    return (
        "<tt:Name>ptz</tt:Name><tt:UseCount>2</tt:UseCount>"
        f"<tt:NodeToken>{NODE}</tt:NodeToken>"
        "<tt:DefaultContinuousPanTiltVelocitySpace>"
        f"{_PAN_TILT}/VelocityGenericSpace</tt:DefaultContinuousPanTiltVelocitySpace>"
        "<tt:DefaultContinuousZoomVelocitySpace>"
        f"{_ZOOM}/VelocityGenericSpace</tt:DefaultContinuousZoomVelocitySpace>"
        "<tt:DefaultPTZTimeout>PT10S</tt:DefaultPTZTimeout>"
    )


def _node() -> str:
    full = "<tt:XRange><tt:Min>-1</tt:Min><tt:Max>1</tt:Max></tt:XRange>"
    return (
        f'<tptz:PTZNode token="{NODE}" FixedHomePosition="true"><tt:Name>ptz</tt:Name>'
        "<tt:SupportedPTZSpaces><tt:ContinuousPanTiltVelocitySpace>"
        f"<tt:URI>{_PAN_TILT}/VelocityGenericSpace</tt:URI>{full}"
        f"{full.replace('XRange', 'YRange')}</tt:ContinuousPanTiltVelocitySpace>"
        f"<tt:ContinuousZoomVelocitySpace><tt:URI>{_ZOOM}/VelocityGenericSpace</tt:URI>{full}"
        "</tt:ContinuousZoomVelocitySpace></tt:SupportedPTZSpaces>"
        f"<tt:MaximumNumberOfPresets>{PRESETS_MAX}</tt:MaximumNumberOfPresets>"
        "<tt:HomeSupported>true</tt:HomeSupported></tptz:PTZNode>"
    )


def _options() -> str:
    span = "<tt:Min>0</tt:Min><tt:Max>100</tt:Max>"
    told = "".join(f"<tt:{name}>{span}</tt:{name}>" for name in _IMAGING)
    return (
        f"<timg:GetOptionsResponse><timg:ImagingOptions>{told}"
        "</timg:ImagingOptions></timg:GetOptionsResponse>"
    )


def _number(element: Element | None, name: str) -> float:
    if element is None:
        return 0.0
    value = _float(element.attributes.get(name, "0"))
    if not -1 <= value <= 1:
        raise FaultError("InvalidVelocity", f"{name} is from -1 to 1")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise FaultError("InvalidArgVal", f"{text[:20]!r} is no number") from error


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
