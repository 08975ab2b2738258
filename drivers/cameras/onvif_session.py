"""One camera through onvif-zeep-async; runs in the worker process only, as zeep is heavy.

zeep builds the requests and reads the answers by the ONVIF WSDL. It never touches the network:
its transport here sends through ``pinned_http`` and hands it checked XML.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec
import onvif
from onvif.definition import SERVICES
from onvif.exceptions import ONVIFError
from onvif.settings import DEFAULT_SETTINGS
from onvif.util import is_auth_error
from zeep.exceptions import Error as ZeepError
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.wsdl.utils import etree_to_string

from drivers.cameras.messages import (
    SNAPSHOT_BYTES_MAX,
    CameraAccess,
    CameraDescription,
    Preset,
    StreamProfile,
)
from drivers.cameras.onvif_answers import (
    Clock,
    DeviceInformation,
    Encoder,
    Interface,
    MediaProfile,
    MediaUri,
    PresetAnswer,
    RateControl,
    Resolution,
    ServiceAnswer,
)
from drivers.cameras.pinned_http import fetch, host_of, pin
from drivers.codecs.guarded_xml import sanitise
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError

REQUEST_S = 5.0
REPLY_BYTES_MAX = 512 * 1024
PROFILES_MAX = 32
PRESETS_MAX = 256
TEXT_CHARS_MAX = 128
_HTTP_UNAUTHORISED = 401
_HTTP_OK = 200
_WSDL = Path(onvif.__file__).parent / "wsdl"
_JPEG_START = b"\xff\xd8\xff"
# The device service tells full seconds: on average the clock has run half a second further.
_HALF_SECOND_MS = 500
_UNSIGNED = "unsigned "  # services that carry no token at all
_WANTED = frozenset({"media", "ptz"})
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")

_log = logging.getLogger(__name__)

# Second line behind ``sanitise``: zeep's own parser refuses the same.
DEFAULT_SETTINGS.forbid_dtd = True
DEFAULT_SETTINGS.xml_huge_tree = False


_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class _SoapAnswer:
    """The part of ``requests.Response`` that zeep reads."""

    status_code: int
    content: bytes
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/soap+xml"}
    )
    encoding: str = "utf-8"


class _PinnedTransport:
    """What zeep needs of a transport, for one camera; ``cache`` is part of that."""

    cache = None

    def __init__(
        self,
        session: aiohttp.ClientSession,
        host: IPv4Address,
        middlewares: Sequence[aiohttp.ClientMiddlewareType],
    ) -> None:
        self._session = session
        self._host = host
        self._middlewares = middlewares

    async def post_xml(
        self, address: str, envelope: object, headers: Mapping[str, str]
    ) -> _SoapAnswer:
        url = pin(address, self._host, "service address")
        answer = await fetch(
            self._session,
            ("POST", url, etree_to_string(envelope)),  # type: ignore[no-untyped-call]  # zeep's
            content_type=headers.get("Content-Type", "application/soap+xml; charset=utf-8"),
            size_max=REPLY_BYTES_MAX,
            timeout_s=REQUEST_S,
            middlewares=self._middlewares,
        )
        if answer.status == _HTTP_UNAUTHORISED:
            raise RefusedError(_wrong_password(self._host, answer.challenge))
        return _SoapAnswer(answer.status, sanitise(answer.body, size_max=REPLY_BYTES_MAX))

    def load(self, url: str) -> bytes:
        raise ProtocolError(f"camera {self._host}: its answer refers to {url[:80]!r}; refused")

    async def aclose(self) -> None:
        """Do nothing: the session belongs to the worker."""


class OnvifSession:
    """One camera, as long as its access stays the same."""

    def __init__(self, access: CameraAccess, http: aiohttp.ClientSession, now_ms: NowMs) -> None:
        self._host = host_of(access.address)
        self._access = access
        self._http = http
        self._now_ms = now_ms
        self._xaddrs = {"devicemgmt": pin(access.address, self._host, "device service")}
        self._services: dict[str, onvif.ONVIFService] = {}
        self._offset_ms: int | None = None
        credentials = access.credentials
        self._middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (
            (aiohttp.DigestAuthMiddleware(credentials.user, credentials.password),)
            if credentials is not None
            else ()
        )

    async def read_clock(self) -> int:
        """Return by how many milliseconds the camera's clock is ahead.

        Asks without password, as the standard wants it; a camera that refuses is asked with one.
        """
        before_ms = self._now_ms()
        try:
            clock = await self._call("devicemgmt", "GetSystemDateAndTime", Clock, signed=False)
        except RefusedError:
            before_ms = self._now_ms()
            clock = await self._call("devicemgmt", "GetSystemDateAndTime", Clock)
        middle_ms = (before_ms + self._now_ms()) // 2
        date, time = clock.utc.date, clock.utc.time
        try:
            told = datetime(
                date.year, date.month, date.day, time.hour, time.minute, time.second, tzinfo=UTC
            )
        except ValueError as error:
            raise ProtocolError(f"camera {self._host}: tells no valid time ({error})") from error
        offset_ms = int(told.timestamp() * 1000) + _HALF_SECOND_MS - middle_ms
        if self._offset_ms is None or abs(self._offset_ms - offset_ms) > _HALF_SECOND_MS:
            # Signed requests carry the camera's time: services made with another one are void.
            self._offset_ms = offset_ms
            self._services = {
                key: service for key, service in self._services.items() if key.startswith(_UNSIGNED)
            }
        return offset_ms

    async def describe(self) -> CameraDescription:
        """Return what the camera is and where its streams are.

        Raises RefusedError for a wrong password, another serial number than the adopted one, or a
        stream that leads elsewhere.
        """
        offset_ms = await self.read_clock()
        told = await self._call("devicemgmt", "GetDeviceInformation", DeviceInformation)
        serial = _text(told.serial_number)
        if self._access.serial is not None and serial != self._access.serial:
            raise RefusedError(
                f"camera {self._host}: shows serial {serial or 'none'}, adopted was "
                f"{self._access.serial}; another camera has its address, adopt that one itself"
            )
        notes = await self._find_services()
        profiles = await self._call("media", "GetProfiles", list[MediaProfile])
        main, sub = _main_and_sub(profiles[:PROFILES_MAX])
        if main is None:
            raise RefusedError(f"camera {self._host}: has no video profile; set one up on it")
        return CameraDescription(
            manufacturer=_text(told.manufacturer),
            model=_text(told.model),
            firmware=_text(told.firmware_version),
            serial=serial,
            mac=await self._mac(),
            clock_offset_ms=offset_ms,
            main=await self._stream(main),
            sub=await self._stream(sub) if sub is not None else None,
            snapshot_uri=await self._snapshot_uri(main.token, notes),
            has_ptz="ptz" in self._xaddrs and main.ptz is not None,
            notes=tuple(notes),
        )

    async def fetch_snapshot(self, uri: str) -> bytes:
        """Return a JPEG picture; the password goes out as HTTP Digest only, on a challenge."""
        answer = await fetch(
            self._http,
            ("GET", pin(uri, self._host, "snapshot address"), None),
            size_max=SNAPSHOT_BYTES_MAX,
            timeout_s=REQUEST_S,
            middlewares=self._middlewares,
        )
        if answer.status == _HTTP_UNAUTHORISED:
            raise RefusedError(_wrong_password(self._host, answer.challenge))
        if answer.status != _HTTP_OK or not answer.body.startswith(_JPEG_START):
            raise ProtocolError(
                f"camera {self._host}: its snapshot is no JPEG picture (HTTP {answer.status})"
            )
        return answer.body

    async def list_presets(self, profile: str) -> tuple[Preset, ...]:
        await self._ensure_services()
        presets = await self._call(
            "ptz", "GetPresets", list[PresetAnswer], {"ProfileToken": profile}
        )
        return tuple(
            Preset(token=preset.token, name=_text(preset.name))
            for preset in presets[:PRESETS_MAX]
            if preset.token
        )

    async def go_to_preset(self, profile: str, preset: str) -> None:
        await self._ensure_services()
        await self._call(
            "ptz", "GotoPreset", object, {"ProfileToken": profile, "PresetToken": preset}
        )

    async def _ensure_services(self) -> None:
        if len(self._xaddrs) == 1:
            await self.read_clock()
            await self._find_services()

    async def _find_services(self) -> list[str]:
        """Merge GetServices with GetCapabilities; return notes on what was refused.

        Devices fill either, both or neither; GetServices wins where they differ.
        """
        by_namespace = {definition["ns"]: name for name, definition in SERVICES.items()}
        found: list[tuple[str, str]] = []
        try:
            capabilities = await self._call(
                "devicemgmt", "GetCapabilities", dict[str, object], {"Category": "All"}
            )
            for name, capability in capabilities.items():
                if name.lower() in _WANTED and isinstance(capability, dict):
                    found.append((name.lower(), str(capability.get("XAddr"))))
        except RefusedError as error:
            _log.info("%s", error)
        try:
            services = await self._call(
                "devicemgmt", "GetServices", list[ServiceAnswer], {"IncludeCapability": False}
            )
            found += [
                (by_namespace.get(service.namespace or "", ""), service.x_addr or "")
                for service in services
            ]
        except RefusedError as error:
            _log.info("%s", error)
        notes: list[str] = []
        for name, xaddr in found:
            if name in _WANTED:
                try:
                    self._xaddrs[name] = pin(xaddr, self._host, f"{name} service")
                except (RefusedError, ProtocolError) as error:
                    notes.append(str(error))
        return notes

    async def _mac(self) -> str | None:
        """Return the first hardware address, or None: not every camera tells."""
        try:
            interfaces = await self._call("devicemgmt", "GetNetworkInterfaces", list[Interface])
        except (RefusedError, ProtocolError) as error:
            _log.info("%s", error)
            return None
        for interface in interfaces:
            told = _text(interface.info.hw_address).lower() if interface.info is not None else ""
            mac = told.replace("-", ":")
            if _MAC.fullmatch(mac):
                return mac
        return None

    async def _stream(self, profile: MediaProfile) -> StreamProfile:
        wanted = {
            "StreamSetup": {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}},
            "ProfileToken": profile.token,
        }
        told = await self._call("media", "GetStreamUri", MediaUri, wanted)
        encoder = profile.encoder or Encoder()
        size = encoder.resolution or Resolution()
        rate = encoder.rate_control or RateControl()
        return StreamProfile(
            token=profile.token,
            encoding=_text(encoder.encoding),
            width=size.width,
            height=size.height,
            fps=rate.frame_rate_limit or 0.0,
            uri=pin(told.uri, self._host, "stream address", scheme="rtsp"),
        )

    async def _snapshot_uri(self, token: str, notes: list[str]) -> str | None:
        """Return where pictures are, or None with a note: a lesson needs none."""
        try:
            told = await self._call("media", "GetSnapshotUri", MediaUri, {"ProfileToken": token})
            return pin(told.uri, self._host, "snapshot address")
        except (RefusedError, ProtocolError) as error:
            notes.append(str(error))
            return None

    async def _call(
        self,
        name: str,
        operation: str,
        expected: type[_Told],
        parameters: Mapping[str, object] | None = None,
        *,
        signed: bool = True,
    ) -> _Told:
        """Call an operation and return its answer as ``expected``.

        Raises UnreachableError, RefusedError for a fault, ProtocolError for nonsense.
        """
        what = f"camera {self._host}: {operation}"
        signed = signed and self._access.credentials is not None
        service = await self._service(name, signed=signed)
        try:
            call = getattr(service, operation if signed else f"authless_{operation}")
            answer = await call(parameters)
        except Fault as error:
            if is_auth_error(error):
                raise RefusedError(_wrong_password(self._host)) from error
            raise RefusedError(f"{what} refused ({_text(error.message)})") from error
        except (ZeepError, ONVIFError, LookupError, TypeError, ValueError, AttributeError) as error:
            # zeep meets hostile answers with whatever breaks first.
            raise ProtocolError(
                f"{what} answered against the WSDL ({_text(str(error))})"
            ) from error
        try:
            plain = serialize_object(answer, dict)  # type: ignore[no-untyped-call]  # zeep's
            return msgspec.convert(plain, expected, strict=False)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{what} answered against the WSDL ({error})") from error

    async def _service(self, name: str, *, signed: bool) -> "onvif.ONVIFService":
        """Return zeep's proxy of a service."""
        if name not in self._xaddrs:
            raise RefusedError(f"camera {self._host}: offers no {name} service")
        credentials = self._access.credentials if signed else None
        key = name if signed else f"{_UNSIGNED}{name}"
        if key not in self._services:
            definition = SERVICES[name]
            service = onvif.ONVIFService(
                self._xaddrs[name],
                credentials.user if credentials is not None else None,
                credentials.password if credentials is not None else None,
                str(_WSDL / definition["wsdl"]),
                no_cache=True,
                dt_diff=timedelta(milliseconds=self._offset_ms or 0),
                binding_name=f"{{{definition['ns']}}}{definition['binding']}",
            )
            await service.close()  # its own HTTP session, never used
            middlewares = self._middlewares if signed else ()
            service.transport = _PinnedTransport(self._http, self._host, middlewares)
            await service.setup()
            self._services[key] = service
        return self._services[key]


def _main_and_sub(
    profiles: Sequence[MediaProfile],
) -> tuple[MediaProfile | None, MediaProfile | None]:
    """Return the largest and the smallest picture, H.264 before anything else."""
    video = [profile for profile in profiles if profile.encoder is not None]
    ranked = sorted(video, key=lambda profile: (profile.is_h264, profile.pixels), reverse=True)
    if not ranked:
        return None, None
    smaller = [p for p in ranked[1:] if p.is_h264 == ranked[0].is_h264]
    return ranked[0], smaller[-1] if smaller else None


def _text(value: str | None) -> str:
    """Return what a person can be shown of a text from outside."""
    return "".join(c for c in (value or "") if c.isprintable()).strip()[:TEXT_CHARS_MAX]


def _wrong_password(host: IPv4Address, challenge: str = "") -> str:
    if challenge == "basic":
        return f"camera {host}: wants the password in clear (Basic); refused, turn on Digest"
    return f"camera {host}: user name or password refused; enter the camera's own"
