"""One camera's description, clock and pictures; runs in the worker process only."""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp

from drivers.cameras.event_watch import EventWatch
from drivers.cameras.lean_wsdl import DEFINITIONS, LeanWsdl
from drivers.cameras.messages import (
    SNAPSHOT_BYTES_MAX,
    CameraAccess,
    CameraDescription,
    StreamProfile,
)
from drivers.cameras.onvif_answers import (
    Clock,
    DeviceInformation,
    Encoder,
    Interface,
    MediaProfile,
    RateControl,
    Resolution,
    ServiceAnswer,
)
from drivers.cameras.onvif_control import OnvifControl
from drivers.cameras.onvif_media import Media, ask_profiles, media_of
from drivers.cameras.onvif_services import REQUEST_S, OnvifServices, shown
from drivers.cameras.pinned_http import check_login, fetch, pin
from drivers.codecs.pull_point import Pulled
from drivers.entities import NowMs
from drivers.errors import LoginRefusedError, ProtocolError, RefusedError

_HTTP_OK = 200
_JPEG_START = b"\xff\xd8\xff"
# The device service tells full seconds: on average the clock has run half a second further.
_HALF_SECOND_MS = 500
OFFSET_STEP_MS = 2_000
"""Signatures are good for minutes: a smaller step is no reason to make the services anew."""
_WANTED = frozenset({"media", "media2", "ptz", "imaging", "events"})
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")

_log = logging.getLogger(__name__)


class OnvifSession:
    """One camera, as long as its access stays the same."""

    def __init__(
        self, access: CameraAccess, http: aiohttp.ClientSession, now_ms: NowMs, wsdl: LeanWsdl
    ) -> None:
        self._services = OnvifServices(access, http, wsdl)
        self._host = self._services.host
        self._access = access
        self._http = http
        self._now_ms = now_ms
        self._watch = EventWatch(access, self._services, http, now_ms)
        self.control = OnvifControl(self._services, self._ensure_services)

    async def read_clock(self) -> int:
        """Return by how many milliseconds the camera's clock is ahead.

        Asks without password, as the standard wants it; a camera that refuses is asked with one.
        """
        before_ms = self._now_ms()
        try:
            clock = await self._services.call(
                "devicemgmt", "GetSystemDateAndTime", Clock, signed=False
            )
        except RefusedError:
            before_ms = self._now_ms()
            clock = await self._services.call("devicemgmt", "GetSystemDateAndTime", Clock)
        middle_ms = (before_ms + self._now_ms()) // 2
        date, time = clock.utc.date, clock.utc.time
        try:
            told = datetime(
                date.year, date.month, date.day, time.hour, time.minute, time.second, tzinfo=UTC
            )
        except ValueError as error:
            raise ProtocolError(f"camera {self._host}: tells no valid time ({error})") from error
        offset_ms = int(told.timestamp() * 1000) + _HALF_SECOND_MS - middle_ms
        self._follow_clock(offset_ms)
        return offset_ms

    async def describe(self) -> CameraDescription:
        """Return what the camera is and where its streams are.

        Raises RefusedError for a wrong password, another serial number than the adopted one, or a
        stream that leads elsewhere.
        """
        offset_ms = await self.read_clock()
        told = await self._services.call("devicemgmt", "GetDeviceInformation", DeviceInformation)
        serial = shown(told.serial_number)
        if self._access.serial is not None and serial != self._access.serial:
            raise RefusedError(
                f"camera {self._host}: shows serial {serial or 'none'}, adopted was "
                f"{self._access.serial}; another camera has its address, adopt that one itself"
            )
        macs = await self._macs()
        kept = self._access.mac
        if self._access.serial is None and kept is not None and macs and kept not in macs:
            raise RefusedError(
                f"camera {self._host}: shows hardware address {macs[0]}, adopted was "
                f"{kept}; another camera has its address, adopt that one itself"
            )
        notes = await self._find_services()
        media, profiles = await ask_profiles(self._services, notes)
        main, sub = _main_and_sub(profiles)
        if main is None:
            raise RefusedError(f"camera {self._host}: has no video profile; set one up on it")
        description = CameraDescription(
            manufacturer=shown(told.manufacturer),
            model=shown(told.model),
            firmware=shown(told.firmware_version),
            serial=serial,
            mac=kept if kept in macs else next(iter(macs), None),
            clock_offset_ms=offset_ms,
            main=await self._stream(media, main),
            sub=await self._stream(media, sub) if sub is not None else None,
            snapshot_uri=await self._snapshot_uri(media, main.token, notes),
            has_ptz="ptz" in self._services.xaddrs and main.ptz is not None,
            has_events="events" in self._services.xaddrs,
            video_source=(
                main.source.source_token
                if main.source is not None and "imaging" in self._services.xaddrs
                else None
            ),
            notes=tuple(notes),
        )
        self._services.rest()
        return description

    async def use_h264(self, profile: str) -> None:
        """Have a profile encoded in H.264; RefusedError has the remedy where that cannot be."""
        await self._ensure_services()
        await media_of(self._services).use_h264(profile)
        self._services.rest()

    async def fetch_snapshot(self, uri: str) -> bytes:
        """Return a JPEG picture; the password goes out as HTTP Digest only, on a challenge."""
        answer = await fetch(
            self._http,
            ("GET", pin(uri, self._host, "snapshot address"), None),
            size_max=SNAPSHOT_BYTES_MAX,
            timeout_s=REQUEST_S,
            middlewares=self._services.middlewares,
        )
        check_login(answer, self._access)
        if answer.status != _HTTP_OK or not answer.body.startswith(_JPEG_START):
            raise ProtocolError(
                f"camera {self._host}: its snapshot is no JPEG picture (HTTP {answer.status})"
            )
        return answer.body

    async def pull_events(self, wait_s: int) -> tuple[Pulled, bool]:
        """Return what happened within ``wait_s``, and whether the subscription is new."""
        await self._ensure_services()
        return await self._watch.pull(wait_s)

    async def unsubscribe(self) -> None:
        await self._watch.end()

    def offset_of(self, camera_ms: int | None) -> int | None:
        """Return how far a moment of the camera's clock that was told just now is ahead."""
        if camera_ms is None:
            return None
        offset_ms = camera_ms - self._now_ms()
        self._follow_clock(offset_ms)
        return offset_ms

    def _follow_clock(self, offset_ms: int) -> None:
        known_ms = self._services.offset_ms
        if known_ms is None or abs(known_ms - offset_ms) > OFFSET_STEP_MS:
            self._services.set_offset(offset_ms)

    async def _ensure_services(self) -> None:
        if len(self._services.xaddrs) == 1:
            await self.read_clock()
            await self._find_services()

    async def _find_services(self) -> list[str]:
        """Merge GetServices with GetCapabilities; return notes on what was refused.

        Devices fill either, both or neither, and some answer nonsense to the one they lack;
        GetServices wins where they differ. Raises LoginRefusedError, and ProtocolError where
        nonsense is all there is.
        """
        found: list[tuple[str, str]] = []
        unread: ProtocolError | None = None
        for ask in (self._capabilities, self._listed_services):
            try:
                found += await ask()
            except LoginRefusedError:
                raise
            except RefusedError as error:
                _log.info("%s", error)
            except ProtocolError as error:
                _log.info("%s", error)
                unread = error
        if unread is not None and not found:
            raise ProtocolError(
                f"camera {self._host}: what it tells of its services cannot be read;"
                " update its software"
            ) from unread
        notes: list[str] = []
        # What it offered before an update of its software counts no more.
        xaddrs = {"devicemgmt": self._services.xaddrs["devicemgmt"]}
        for name, xaddr in found:
            try:
                xaddrs[name] = pin(xaddr, self._host, f"{name} service")
            except (RefusedError, ProtocolError) as error:
                notes.append(str(error))
        self._services.xaddrs = xaddrs
        return notes

    async def _capabilities(self) -> list[tuple[str, str]]:
        """Return name and address of each wanted service that GetCapabilities tells."""
        told = await self._services.call(
            "devicemgmt", "GetCapabilities", dict[str, object], {"Category": "All"}
        )
        return [
            (name.lower(), str(capability.get("XAddr")))
            for name, capability in told.items()
            if name.lower() in _WANTED and isinstance(capability, dict)
        ]

    async def _listed_services(self) -> list[tuple[str, str]]:
        """Return name and address of each wanted service that GetServices tells."""
        told = await self._services.call(
            "devicemgmt", "GetServices", list[ServiceAnswer], {"IncludeCapability": False}
        )
        names = {DEFINITIONS[name].namespace: name for name in _WANTED}
        return [
            (names[service.namespace], service.x_addr or "")
            for service in told
            if service.namespace in names
        ]

    async def _macs(self) -> list[str]:
        """Return the hardware addresses, perhaps none: not every camera tells, or each time."""
        try:
            interfaces = await self._services.call(
                "devicemgmt", "GetNetworkInterfaces", list[Interface]
            )
        except (RefusedError, ProtocolError) as error:
            _log.info("%s", error)
            return []
        macs: list[str] = []
        for interface in interfaces:
            told = shown(interface.info.hw_address).lower() if interface.info is not None else ""
            mac = told.replace("-", ":")
            if _MAC.fullmatch(mac):
                macs.append(mac)
        return macs

    async def _stream(self, media: Media, profile: MediaProfile) -> StreamProfile:
        uri = await media.stream_uri(profile.token)
        encoder = profile.encoder or Encoder()
        size = encoder.resolution or Resolution()
        rate = encoder.rate_control or RateControl()
        return StreamProfile(
            token=profile.token,
            encoding=shown(encoder.encoding),
            width=size.width,
            height=size.height,
            fps=rate.frame_rate_limit or 0.0,
            uri=pin(uri, self._host, "stream address", scheme="rtsp"),
        )

    async def _snapshot_uri(self, media: Media, token: str, notes: list[str]) -> str | None:
        """Return where pictures are, or None with a note: a lesson needs none."""
        if "no_snapshot" in self._access.quirks:
            return None
        try:
            return pin(await media.snapshot_uri(token), self._host, "snapshot address")
        except (RefusedError, ProtocolError) as error:
            notes.append(str(error))
            return None


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
