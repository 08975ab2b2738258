"""What one track of a take gives: announced when its format is new, numbered without a break."""

from collections.abc import Sequence

from edge.lesson.capture.capture_events import CaptureSink, MediaFragment, TakeInit
from edge.lesson.capture.fmp4 import Sample, fragment
from edge.lesson.capture.timeline import TakeTimeline


class TrackOutput:
    """One source's; another that begins anew on the same track goes on behind it."""

    def __init__(
        self, track: int, timescale: int, timeline: TakeTimeline, sink: CaptureSink
    ) -> None:
        self._track = track
        self._timescale = timescale
        self._timeline = timeline
        self._lane = timeline.lane(track)
        self._sink = sink

    @property
    def next_time(self) -> int:
        """Where what was given so far ends, in the track's timescale."""
        return self._lane.next_time

    def begins_ms(self, steady_ms: int) -> int:
        """Return where in the take a source begins that arrives now: behind what was given."""
        behind_ms = -(-self._lane.next_time * 1000 // self._timescale)
        return max(self._timeline.take_ms(steady_ms), behind_ms)

    def announce(self, mime: str, data: bytes) -> None:
        """Give the initialisation segment, unless the track has it already."""
        if data != self._lane.init:
            self._lane.init = data
            self._sink(TakeInit(track=self._track, mime=mime, timescale=self._timescale, data=data))

    def give(self, samples: Sequence[Sample], decode_time: int, arrived_ms: int) -> None:
        """Give the next fragment; ``arrived_ms`` is the wall clock at its first sample."""
        number = self._lane.number
        duration = sum(sample.duration for sample in samples)
        self._sink(
            MediaFragment(
                track=self._track,
                number=number,
                keyframe=samples[0].keyframe,
                decode_time=decode_time,
                duration=duration,
                timescale=self._timescale,
                capture_ms=arrived_ms,
                data=fragment(self._track, number, decode_time, samples),
            )
        )
        self._lane.number = number + 1
        self._lane.next_time = decode_time + duration
