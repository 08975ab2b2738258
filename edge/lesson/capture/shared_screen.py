"""A screen that a browser shares into a room's lessons, as the blackboard's picture.

Binary messages of the page, integers big-endian::

    offset  bytes  field
    0       1      kind: 0 configuration, 1 picture
    1       …      configuration: an AVCDecoderConfigurationRecord, before the first picture and
                   whenever it changes
    1       1      picture: 1 for a keyframe, else 0
    2       8      picture: its time on the page's clock, microseconds
    10      …      picture: NAL units, each after its length in four bytes

Text messages to the page are JSON: ``{"shown": true, "keyframe": true}`` says whether a lesson
takes the pictures now, and that it waits for a keyframe.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from drivers.codecs.avc_configuration import parse_avc_configuration
from drivers.codecs.h264 import VideoFormat
from drivers.errors import ProtocolError
from edge.errors import NotNowError
from edge.lesson.capture.capture_events import CaptureSink
from edge.lesson.capture.fmp4 import VIDEO_TIMESCALE, Sample, video_init
from edge.lesson.capture.timeline import TakeTimeline
from edge.lesson.capture.track_output import TrackOutput
from sync.lessons.tracks import BLACKBOARD

MESSAGE_BYTES_MAX = 2 * 1024 * 1024
WIDTH_MAX, HEIGHT_MAX = 4096, 2304
SILENCE_S_MAX = 2.0
"""A picture stands at most so long: what comes later begins behind a gap."""

_CONFIGURATION, _PICTURE = 0, 1
_HEAD = struct.Struct(">BBQ")
_MICROSECONDS = 1_000_000


class SharedPicture(msgspec.Struct, frozen=True, gc=False):
    """One encoded picture; ``at_us`` is on the page's clock."""

    keyframe: bool
    at_us: int
    data: bytes


def parse_share(message: bytes) -> VideoFormat | SharedPicture:
    """Parse one message of the page; raises ProtocolError."""
    if not message or len(message) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a shared screen's message of {len(message)} bytes; reload the page")
    if message[0] == _CONFIGURATION:
        found = parse_avc_configuration(message[1:])
        if found.facts.width > WIDTH_MAX or found.facts.height > HEIGHT_MAX:
            raise ProtocolError("the shared screen is too large; share a window of it")
        return found
    if message[0] != _PICTURE or len(message) <= _HEAD.size:
        raise ProtocolError("not a shared screen's message; reload the page")
    _, keyframe, at_us = _HEAD.unpack_from(message)
    return SharedPicture(bool(keyframe & 1), at_us, message[_HEAD.size :])


class SharedScreen:
    """One room's; at most one page shares at a time, and one take shows it."""

    def __init__(self) -> None:
        self._tell: Callable[[bytes], None] | None = None
        self._format: VideoFormat | None = None
        self._track: _ScreenTrack | None = None

    @contextmanager
    def sharing(self, tell: Callable[[bytes], None]) -> Iterator[None]:
        """Let a page share for the time of the block; ``tell`` sends it a text at once.

        Raises NotNowError while another page does.
        """
        if self._tell is not None:
            raise NotNowError("another page shares its screen into this room; stop it there first")
        self._tell, self._format = tell, None
        self._ask()
        try:
            yield
        finally:
            self._tell = None
            if self._track is not None:
                self._track.rest()

    @contextmanager
    def showing(self, timeline: TakeTimeline, sink: CaptureSink) -> Iterator[None]:
        """Show what is shared in a take for the time of the block."""
        self._track = _ScreenTrack(timeline, sink)
        self._ask()
        try:
            yield
        finally:
            self._track = None
            self._ask()

    def take(self, message: bytes, arrived_ms: int, steady_ms: int) -> None:
        """Take in a message of the page that shares; raises ProtocolError."""
        told = parse_share(message)
        if isinstance(told, SharedPicture):
            track = self._track
            if track is not None and self._format is not None:
                waited = track.wants_keyframe
                track.take(told, self._format, arrived_ms, steady_ms)
                if track.wants_keyframe and not waited:
                    self._ask()
        elif told != self._format:
            self._format = told
            if self._track is not None:
                self._track.rest()

    def _ask(self) -> None:
        if self._tell is not None:
            shown = self._track is not None
            self._tell(msgspec.json.encode({"shown": shown, "keyframe": shown}))


class _ScreenTrack:
    """A picture becomes a fragment when the next is here: only then is known how long it stands."""

    def __init__(self, timeline: TakeTimeline, sink: CaptureSink) -> None:
        self._timeline = timeline
        self._output = TrackOutput(BLACKBOARD, VIDEO_TIMESCALE, timeline, sink)
        self._offset: int | None = None
        self._held: tuple[int, SharedPicture, int] | None = None
        self.wants_keyframe = False

    def rest(self) -> None:
        """Begin anew with the next keyframe."""
        self._held = self._offset = None

    def take(
        self, picture: SharedPicture, video: VideoFormat, arrived_ms: int, steady_ms: int
    ) -> None:
        if self._timeline.began_ms is None:
            return
        units = picture.at_us * VIDEO_TIMESCALE // _MICROSECONDS
        if self._offset is not None and self._held is not None:
            step = units + self._offset - self._held[0]
            if not 0 < step <= SILENCE_S_MAX * VIDEO_TIMESCALE:
                self.rest()
            else:
                began, shown, came_ms = self._held
                sample = Sample(shown.data, step, shown.keyframe)
                self._output.give((sample,), began, came_ms)
                self._held = units + self._offset, picture, arrived_ms
                return
        self.wants_keyframe = not picture.keyframe
        if picture.keyframe:
            mime = f'video/mp4; codecs="{video.codec}"'
            self._output.announce(mime, video_init(video, BLACKBOARD))
            behind = max(self._timeline.take_ms(steady_ms) * 90, self._output.next_time)
            self._offset = behind - units
            self._held = behind, picture, arrived_ms


class SharedScreens:
    """Every room's."""

    def __init__(self) -> None:
        self._rooms: dict[str, SharedScreen] = {}

    def of(self, room: str) -> SharedScreen:
        return self._rooms.setdefault(room, SharedScreen())
