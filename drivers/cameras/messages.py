"""What the daemon and its camera worker say to each other over a pipe.

A frame is a four-byte big-endian length and that many bytes of JSON. Requests go down, exactly
one reply to each comes up, in any order, matched by ``number``.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from drivers.codecs.digest import Credentials
from drivers.errors import ProtocolError

FRAME_BYTES_MAX = 4 * 1024 * 1024
SNAPSHOT_BYTES_MAX = 2 * 1024 * 1024
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraAccess:
    """How to reach a camera: its ONVIF device service, and what a person entered on adoption.

    Once ``serial`` is known, a camera that shows another one is refused: another device has
    taken over the address.
    """

    address: str
    credentials: Credentials | None = None
    serial: str | None = None


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
    """What a camera is; ``notes`` are sentences on what it told that was refused."""

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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    token: str
    name: str


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


class PresetReached(msgspec.Struct, frozen=True, tag=True):
    number: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """``kind`` is the name of the DriverError the caller gets."""

    number: int
    kind: str
    reason: str


Request = Describe | ReadClock | FetchSnapshot | ListPresets | GoToPreset
Reply = Described | ClockRead | SnapshotFetched | PresetsListed | PresetReached | Failed

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
