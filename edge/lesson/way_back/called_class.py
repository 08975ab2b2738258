"""The class that was called on, put into the lesson: its picture and voice as tracks 9 and 4.

Every class then hears it once, by the way the lesson goes anyhow. Nothing is transcoded: its
fragments are moved to the time line of the flagship's take, by when they arrived.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.transfer.recording import TakeRecorder
from edge.lesson.way_back.retimed import retimed, retracked
from sync.errors import MalformedError
from sync.lessons.fragment_log import Header, Kind, TakeId, is_sound
from sync.lessons.fragment_sealing import split_init
from sync.lessons.tracks import CALLED_PICTURE, CALLED_SOUND

STRAY_US_MAX = 1_500_000
"""A class whose pictures arrive further from their place is placed anew."""
BYTES_A_S_MAX = 400_000
BURST_BYTES_MAX = 2_000_000
"""What one class may put into everybody's lesson; beyond it picture waits for a keyframe."""
INITS_MAX = 16
"""How often a class may begin anew while it is called on."""

_US = 1_000_000


@dataclass(slots=True)
class _Placed:
    """One track in the take that is open; ``flows`` unless it waits for its next keyframe."""

    number: int = 0
    newest_us: int = -1
    is_announced: bool = False
    flows: bool = False


class CalledClass:
    """Takes in what the called class sends and adds it to the take that is open.

    ``recorder`` is the open take's; without one (the own camera is away) nothing is added.
    """

    def __init__(
        self,
        recorder: Callable[[], TakeRecorder | None],
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float] = monotonic,
    ) -> None:
        self._recorder = recorder
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._line: tuple[TakeId, int] | None = None  # take time less wall time, µs
        self._take: TakeId | None = None
        self._tracks: dict[int, _Placed] = {}
        self._inits: dict[int, bytes] = {}
        self._begun = 0
        self._source: TakeId | None = None
        self._ahead_us = 0
        self._allowance = float(BURST_BYTES_MAX)
        self._spent_s = monotonic_s()

    def observe(self, item: StreamItem) -> None:
        """Learn the take's time line from what the flagship's own camera gives."""
        if item.kind is Kind.MEDIA and item.track not in (CALLED_PICTURE, CALLED_SOUND):
            self._line = item.take, item.decode_us - item.capture_ms * 1000

    def begin(self, inits: Mapping[int, bytes]) -> None:
        """Begin with another class; ``inits`` are its opened inits so far, by its own tracks."""
        self._inits = dict(inits)
        self._begun = 0
        self._source = None
        for placed in self._tracks.values():
            placed.is_announced = placed.flows = False

    def take_in(self, header: Header, opened: bytes) -> None:
        """Add one opened record of the class; raises MalformedError for what is no fragment."""
        if header.kind is Kind.INIT:
            self._begin_anew(header, opened)
            return
        recorder, line = self._recorder(), self._line
        if header.kind is not Kind.MEDIA or recorder is None or line is None:
            return
        if line[0] != recorder.take or header.track not in self._inits:
            return
        if recorder.take != self._take:
            self._take, self._tracks, self._source = recorder.take, {}, None
        placed = self._tracks.setdefault(_track_of(header.track), _Placed())
        at_us = self._place(header, line[1])
        needs_keyframe = not is_sound(header.track) and not placed.flows and not header.keyframe
        if needs_keyframe or at_us <= placed.newest_us or not self._is_afforded(header):
            placed.flows = False
            return
        if not placed.is_announced:
            self._announce(recorder, header.track)
            placed.is_announced = True
        self._add(recorder, header, opened, placed, at_us)

    def _begin_anew(self, header: Header, opened: bytes) -> None:
        if self._inits.get(header.track) == opened:
            return
        self._begun += 1
        if self._begun > INITS_MAX:
            raise MalformedError("a class that was called on began anew too often; refuse it")
        self._inits[header.track] = opened
        placed = self._tracks.get(_track_of(header.track))
        if placed is not None:
            placed.is_announced = placed.flows = False

    def _is_afforded(self, header: Header) -> bool:
        now_s = self._monotonic_s()
        earned = (now_s - self._spent_s) * BYTES_A_S_MAX
        self._allowance = min(BURST_BYTES_MAX, self._allowance + earned)
        self._spent_s = now_s
        if header.body_bytes > self._allowance:
            return False
        self._allowance -= header.body_bytes
        return True

    def _place(self, header: Header, line_us: int) -> int:
        """Return where on the take's time line a fragment stands, in microseconds."""
        arrived_us = self._now_ms() * 1000 + line_us
        decode_us = header.decode_time * _US // header.timescale
        stray_us = arrived_us - decode_us - self._ahead_us
        if self._source != header.take or abs(stray_us) > STRAY_US_MAX:
            self._source, self._ahead_us = header.take, arrived_us - decode_us
        return max(0, decode_us + self._ahead_us)

    def _announce(self, recorder: TakeRecorder, source: int) -> None:
        mime, segment = split_init(self._inits[source])
        track = _track_of(source)
        recorder.add_init(track, mime, retracked(segment, track), self._now_ms())

    def _add(
        self, recorder: TakeRecorder, header: Header, opened: bytes, placed: _Placed, at_us: int
    ) -> None:
        track = _track_of(header.track)
        decode_time = at_us * header.timescale // _US
        recorder.add(
            MediaFragment(
                track=track,
                number=placed.number,
                keyframe=header.keyframe or is_sound(track),
                decode_time=decode_time,
                duration=header.duration,
                timescale=header.timescale,
                capture_ms=self._now_ms(),
                data=retimed(opened, track=track, number=placed.number, decode_time=decode_time),
            )
        )
        placed.number += 1
        placed.newest_us = at_us
        placed.flows = True


def _track_of(source: int) -> int:
    return CALLED_SOUND if is_sound(source) else CALLED_PICTURE
