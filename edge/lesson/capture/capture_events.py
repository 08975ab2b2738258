"""What a capture gives: initialisation segments, fragments, and where something is missing."""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.errors import UnreachableError


class SoundLostError(UnreachableError):
    """The picture comes, and the sound that was there does not: begin again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInit:
    """The initialisation segment of a track; comes before the track's first fragment.

    A track that never sends is never announced. ``mime`` is for MediaSource. A source that begins
    anew within a take announces its track again if its format is another one.
    """

    track: int
    mime: str
    timescale: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFragment:
    """One moof+mdat; ``number`` counts from 0 in each track.

    ``decode_time`` and ``duration`` are in ``timescale``; ``capture_ms`` is the wall clock at which
    the (first) frame in it had arrived, Unix time.
    """

    track: int
    number: int
    keyframe: bool
    decode_time: int
    duration: int
    timescale: int
    capture_ms: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaGap:
    """The camera left packets out or sent broken ones; pictures go on at the next keyframe."""

    track: int
    packets: int
    capture_ms: int


CaptureEvent = TakeInit | MediaFragment | MediaGap
CaptureSink = Callable[[CaptureEvent], None]
"""Takes an event at once and never blocks."""
