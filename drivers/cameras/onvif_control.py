"""Turning a camera and setting its picture; runs in the worker process only."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from drivers.cameras.messages import (
    IMAGING_FIELDS,
    ImagingField,
    ImagingValue,
    Motion,
    Preset,
)
from drivers.cameras.onvif_answers import ImagingOptions, ImagingSettings, PresetAnswer, Range
from drivers.cameras.onvif_services import OnvifServices, shown
from drivers.errors import ProtocolError

PRESETS_MAX = 256
_ELEMENTS: dict[ImagingField, str] = {
    "brightness": "Brightness",
    "contrast": "Contrast",
    "saturation": "ColorSaturation",
    "sharpness": "Sharpness",
}
_UNTOLD = Range(min=0.0, max=100.0)  # what most cameras use, for those that tell no range


class OnvifControl:
    """PTZ and imaging of one camera; ``ensure`` finds its services when they are not known yet."""

    def __init__(self, services: OnvifServices, ensure: Callable[[], Awaitable[None]]) -> None:
        self._services = services
        self._ensure = ensure

    async def list_presets(self, profile: str) -> tuple[Preset, ...]:
        await self._ensure()
        presets = await self._services.call(
            "ptz", "GetPresets", list[PresetAnswer], {"ProfileToken": profile}
        )
        self._services.rest()
        return tuple(
            Preset(token=preset.token, name=shown(preset.name) or preset.token)
            for preset in presets[:PRESETS_MAX]
            if preset.token
        )

    async def go_to_preset(self, profile: str, preset: str) -> None:
        await self._tell("GotoPreset", {"ProfileToken": profile, "PresetToken": preset})

    async def set_preset(self, profile: str, name: str) -> str:
        """Store where the camera looks now; returns the new position's token."""
        await self._ensure()
        token = await self._services.call(
            "ptz", "SetPreset", object, {"ProfileToken": profile, "PresetName": name}
        )
        if not isinstance(token, str) or not token:
            raise ProtocolError(f"camera {self._services.host}: SetPreset told no position")
        return token

    async def remove_preset(self, profile: str, preset: str) -> None:
        await self._tell("RemovePreset", {"ProfileToken": profile, "PresetToken": preset})

    async def go_home(self, profile: str) -> None:
        await self._tell("GotoHomePosition", {"ProfileToken": profile})

    async def move(self, profile: str, motion: Motion, timeout_s: float) -> None:
        """Turn until told otherwise; the camera itself ends it after ``timeout_s``."""
        if motion.is_rest:
            stop = {"ProfileToken": profile, "PanTilt": True, "Zoom": True}
            await self._tell("Stop", stop)
            return
        velocity: dict[str, object] = {}
        if motion.pan or motion.tilt:
            velocity["PanTilt"] = {"x": motion.pan, "y": motion.tilt}
        if motion.zoom:
            velocity["Zoom"] = {"x": motion.zoom}
        await self._tell(
            "ContinuousMove",
            {
                "ProfileToken": profile,
                "Velocity": velocity,
                "Timeout": timedelta(seconds=timeout_s),
            },
        )

    async def read_imaging(self, source: str) -> tuple[ImagingValue, ...]:
        """Return what can be set, in the order of ``IMAGING_FIELDS``."""
        await self._ensure()
        wanted = {"VideoSourceToken": source}
        options = await self._services.call("imaging", "GetOptions", ImagingOptions, wanted)
        settings = await self._services.call(
            "imaging", "GetImagingSettings", ImagingSettings, wanted
        )
        self._services.rest()
        values: dict[str, float | None] = msgspec.structs.asdict(settings)
        ranges: dict[str, Range | None] = msgspec.structs.asdict(options)
        found = []
        for name in IMAGING_FIELDS:
            value, span = values[name], ranges[name] or _UNTOLD
            if value is not None and span.min is not None and span.max is not None:
                found.append(ImagingValue(field=name, value=value, low=span.min, high=span.max))
        return tuple(found)

    async def set_imaging(self, source: str, field: ImagingField, value: float) -> None:
        await self._ensure()
        await self._services.call(
            "imaging",
            "SetImagingSettings",
            object,
            {
                "VideoSourceToken": source,
                "ImagingSettings": {_ELEMENTS[field]: value},
                "ForcePersistence": True,
            },
        )

    async def _tell(self, operation: str, parameters: dict[str, object]) -> None:
        await self._ensure()
        await self._services.call("ptz", operation, object, parameters)
