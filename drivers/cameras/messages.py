"""What the daemon and its camera worker say to each other over a pipe.

A frame is a four-byte big-endian length and that many bytes of JSON. Requests go down, exactly
one reply to each comes up, in any order, matched by ``number``.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

import msgspec

from drivers.codecs.digest import Credentials
from drivers.codecs.pull_point import CameraEvent
from drivers.errors import ProtocolError
from firmware_profiles.quirks import QuirkId

FRAME_BYTES_MAX = 4 * 1024 * 1024
SNAPSHOT_BYTES_MAX = 2 * 1024 * 1024
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraAccess:
    """How to reach a camera: its ONVIF device service, and what a person entered on adoption.

    Once ``serial`` or ``mac`` is known, a camera that shows another one is refused: another device
    has taken over the address. ``quirks`` are those of its profile.
    """

    address: str
    credentials: Credentials | None = None
    serial: str | None = None
    mac: str | None = None
    quirks: frozenset[QuirkId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamProfile:
    """One media profile; ``uri`` is RTSP, without credentials."""

    token: str
    encoding: str  # ONVIF's word, e.g. H264
    width: int
    height: int
    fps: float
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraDescription:
    """What a camera is; ``notes`` are sentences on what it told that was refused.

    ``video_source`` is what imaging is set on, None where the camera has no imaging service.
    """

    manufacturer: str
    model: str
    firmware: str
    serial: str
    mac: str | None
    clock_offset_ms: int  # how far the camera's clock is ahead, ±500
    main: StreamProfile
    sub: StreamProfile | None
    snapshot_uri: str | None
    has_ptz: bool
    has_events: bool = False
    video_source: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    token: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How fast to turn and zoom, each -1 to 1: right, up and in are positive."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0

    @property
    def is_rest(self) -> bool:
        return not (self.pan or self.tilt or self.zoom)


ImagingField = Literal["brightness", "contrast", "saturation", "sharpness"]
IMAGING_FIELDS: tuple[ImagingField, ...] = ("brightness", "contrast", "saturation", "sharpness")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagingValue:
    """One setting of the picture in the camera's own numbers, and what it may be."""

    field: ImagingField
    value: float
    low: float
    high: float


class Describe(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess


class ReadClock(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess


class FetchSnapshot(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    uri: str


class ListPresets(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    profile: str


class GoToPreset(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    profile: str
    preset: str


class SetPreset(msgspec.Struct, frozen=True, tag=True):
    """Store where the camera looks now under a name."""

    number: int
    access: CameraAccess
    profile: str
    name: str


class RemovePreset(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    profile: str
    preset: str


class GoHome(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    profile: str


class Move(msgspec.Struct, frozen=True, tag=True):
    """Turn until told otherwise, at most ``timeout_s``; a motion at rest stops."""

    number: int
    access: CameraAccess
    profile: str
    motion: Motion
    timeout_s: float


class ReadImaging(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    source: str


class SetImaging(msgspec.Struct, frozen=True, tag=True):
    number: int
    access: CameraAccess
    source: str
    field: ImagingField
    value: float


class UseH264(msgspec.Struct, frozen=True, tag=True):
    """Have a profile's picture encoded in H.264."""

    number: int
    access: CameraAccess
    profile: str


class PullEvents(msgspec.Struct, frozen=True, tag=True):
    """Wait for events up to ``wait_s``; the worker keeps the subscription, and renews it."""

    number: int
    access: CameraAccess
    wait_s: int


class Unsubscribe(msgspec.Struct, frozen=True, tag=True):
    """End a camera's subscription, if there is one."""

    number: int
    access: CameraAccess


class Described(msgspec.Struct, frozen=True, tag=True):
    number: int
    description: CameraDescription


class ClockRead(msgspec.Struct, frozen=True, tag=True):
    number: int
    clock_offset_ms: int


class SnapshotFetched(msgspec.Struct, frozen=True, tag=True):
    number: int
    jpeg: bytes


class PresetsListed(msgspec.Struct, frozen=True, tag=True):
    number: int
    presets: tuple[Preset, ...]


class PresetSet(msgspec.Struct, frozen=True, tag=True):
    number: int
    preset: str


class ImagingRead(msgspec.Struct, frozen=True, tag=True):
    number: int
    values: tuple[ImagingValue, ...]


class EventsPulled(msgspec.Struct, frozen=True, tag=True):
    """``clock_offset_ms`` as of the answer, None where it told no time.

    ``is_new`` says that the subscription is: what happened before it was not heard.
    """

    number: int
    events: tuple[CameraEvent, ...]
    clock_offset_ms: int | None
    is_new: bool


class Done(msgspec.Struct, frozen=True, tag=True):
    """The camera agreed."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """``kind`` is the name of the DriverError the caller gets."""

    number: int
    kind: str
    reason: str


ControlRequest = (
    ListPresets | GoToPreset | SetPreset | RemovePreset | GoHome | Move | ReadImaging | SetImaging
)
Request = Describe | ReadClock | FetchSnapshot | UseH264 | PullEvents | Unsubscribe | ControlRequest
Reply = (
    Described
    | ClockRead
    | SnapshotFetched
    | PresetsListed
    | PresetSet
    | ImagingRead
    | EventsPulled
    | Done
    | Failed
)

_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Return one frame; ProtocolError when it would be longer than ``FRAME_BYTES_MAX``."""
    body = msgspec.json.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise ProtocolError(f"camera worker: a message of {len(body)} bytes; too long to send")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, or None once the daemon is gone; ProtocolError on nonsense."""
    body = await _read_frame(reader)
    try:
        return _requests.decode(body) if body is not None else None
    except msgspec.MsgspecError as error:
        raise ProtocolError("camera worker: not a request; versions differ?") from error


async def read_reply(reader: asyncio.StreamReader) -> Reply | None:
    """Return the next reply, or None once the worker is gone; ProtocolError on nonsense."""
    body = await _read_frame(reader)
    try:
        return _replies.decode(body) if body is not None else None
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"camera worker: {error}; not a reply") from error


async def _read_frame(reader: asyncio.StreamReader) -> bytes | None:
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > FRAME_BYTES_MAX:
            raise ProtocolError(f"camera worker: a frame of {length} bytes; not a message")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
