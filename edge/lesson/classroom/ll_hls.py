"""A room's stream as Low-Latency HLS, for players that cannot take the WebSocket into MSE.

The same bytes: a part is some fragments behind one another, a segment its parts. Each track is a
playlist of its own, sound an alternate rendition. Pure: opened items in, texts and bytes out.
Tags and rules: draft-pantos-hls-rfc8216bis, §4.4 and §6.2.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.main_playlist import PLAYED, main_playlist
from sync.lessons.fragment_log import Kind, TakeId, is_sound
from sync.lessons.fragment_sealing import split_init

PART_S = 0.2
TARGET_S = 4
"""A segment is cut here at the latest, also without a keyframe."""
KEPT_S = 3 * TARGET_S + 4
"""§6.2.2: a live playlist is never shorter than three target durations."""
KEPT_BYTES_MAX = 64 * 1024 * 1024
"""Of one track: 30 Mb/s for ``KEPT_S``; what has no times that rise is kept no longer for it."""
PART_BYTES_MAX = 8 * 1024 * 1024
INITS_MAX = 16
_SEGMENT_S_MIN = 1.0
_PART_ROOM = 1.08  # a camera's jitter; a part may not be longer than told, nor below 85 % of it
_PARTS_HELD_BACK = 3
_BANDWIDTH_UNKNOWN = 3_000_000
_SEGMENTS_IN_PARTS = 3  # §4.4.4.9: parts of those farther from the end are told no more
_STEP_US_MAX = 1_000_000
_YEAR_9999_MS = 253_370_764_800_000


@dataclass(slots=True)
class _Part:
    begin_us: int
    is_independent: bool
    data: list[bytes]
    duration_us: int = 0
    size: int = 0


@dataclass(slots=True)
class _Segment:
    number: int
    init: int
    starts_ms: int
    era: int
    parts: list[_Part] = field(default_factory=list)
    is_whole: bool = False

    @property
    def duration_us(self) -> int:
        return sum(part.duration_us for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


class Rendition:
    """One track's media playlist; numbers of segments rise from ``first``."""

    def __init__(self, track: int, first: int) -> None:
        self.track = track
        self.mime = ""
        self._take: TakeId | None = None
        self._inits: dict[int, bytes] = {}
        self._init = -1
        self._segments: deque[_Segment] = deque()
        self._open: _Part | None = None
        self._next = first
        self._last_us = 0
        self._step_us = 0
        self.part_target_us = 0

    @property
    def is_playing(self) -> bool:
        return self.part_target_us > 0 and any(segment.parts for segment in self._segments)

    @property
    def bandwidth(self) -> int:
        """Bits a second of the greatest segment kept."""
        rates = [
            segment.size * 8_000_000 // segment.duration_us
            for segment in self._segments
            if segment.is_whole and segment.duration_us
        ]
        return max(rates, default=_BANDWIDTH_UNKNOWN)

    def add(self, item: StreamItem, era: int) -> bool:
        """Take in the track's next item; True when a part became whole by it.

        ``era`` counts takes: where it changes, a player's time line begins anew.
        """
        if item.kind is Kind.INIT:
            return self._begin(item)
        if item.take != self._take or self._init < 0:
            return False
        told = False
        step_us = item.decode_us - self._last_us
        is_next = 0 < step_us <= _STEP_US_MAX
        if self._open is not None:
            if is_next and not self._step_us:
                self._step_us = step_us
                self._set_target()
            if self._ends_before(item):
                told = self._close_part(item.decode_us if is_next else None)
        if self._segment_ends_before(item):
            self._segments[-1].is_whole = True
        if not self._segments or self._segments[-1].is_whole:
            self._open_segment(item, era)
        independent = item.keyframe or is_sound(self.track)
        if self._open is None:
            self._open = _Part(item.decode_us, independent, [])
        self._open.data.append(item.data)
        self._open.size += len(item.data)
        if is_next:
            self._step_us = step_us
        self._last_us = item.decode_us
        return told

    def has(self, number: int, part: int | None) -> bool:
        """Tell whether a segment, or so many of its parts, are there, or what came after it."""
        if not self._segments or number > self._segments[-1].number:
            return False
        newest = self._segments[-1]
        if number < newest.number:
            return True
        return newest.is_whole or (part is not None and part < len(newest.parts))

    def is_far_ahead(self, number: int) -> bool:
        """§6.2.5.2: more than two segments beyond the newest is a mistake, not a wait."""
        return bool(self._segments) and number > self._segments[-1].number + 2

    def init(self, number: int) -> bytes | None:
        return self._inits.get(number)

    def segment(self, number: int) -> bytes | None:
        found = self._find(number)
        if found is None or not found.is_whole:
            return None
        return b"".join(data for part in found.parts for data in part.data)

    def part(self, number: int, part: int) -> bytes | None:
        found = self._find(number)
        if found is None or part >= len(found.parts):
            return None
        return b"".join(found.parts[part].data)

    def is_hinted(self, number: int, part: int) -> bool:
        """Tell whether this is the part that comes next: who asks for it waits."""
        return bool(self._segments) and (number, part) in self._hints()

    def playlist(self, others: "tuple[Rendition, ...]") -> str:
        """Return the media playlist; ``others`` are reported on."""
        target_s = self.part_target_us / 1_000_000
        held_back = f"PART-HOLD-BACK={_PARTS_HELD_BACK * target_s:.3f}"
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:9",
            f"#EXT-X-TARGETDURATION:{TARGET_S}",
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,{held_back}",
            f"#EXT-X-PART-INF:PART-TARGET={target_s:.3f}",
            f"#EXT-X-MEDIA-SEQUENCE:{self._segments[0].number}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{self._segments[0].era}",
        ]
        init, era = -1, self._segments[0].era
        told = [segment for segment in self._segments if segment.parts]
        for place, segment in enumerate(told, start=_SEGMENTS_IN_PARTS - len(told)):
            if segment.era != era:
                era = segment.era
                lines.append("#EXT-X-DISCONTINUITY")
            if segment.init != init:
                init = segment.init
                lines.append(f'#EXT-X-MAP:URI="{self.track}/init-{init}.mp4"')
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_date(segment.starts_ms)}")
            if place >= 0:
                lines += [
                    self._part_line(segment.number, at, part)
                    for at, part in enumerate(segment.parts)
                ]
            if segment.is_whole:
                lines.append(f"#EXTINF:{segment.duration_us / 1_000_000:.5f},")
                lines.append(f"{self.track}/{segment.number}.m4s")
        number, part = self._hints()[0]
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{self.track}/{number}.{part}.m4s"')
        lines += [other.report() for other in others if other.is_playing]
        return "\n".join(lines) + "\n"

    def report(self) -> str:
        newest = self._segments[-1]
        last = (
            (newest.number, len(newest.parts) - 1)
            if newest.parts
            else (newest.number - 1, max(0, len(self._segments[-2].parts) - 1))
        )
        uri = f'URI="{self.track}.m3u8"'
        return f"#EXT-X-RENDITION-REPORT:{uri},LAST-MSN={last[0]},LAST-PART={last[1]}"

    def _begin(self, item: StreamItem) -> bool:
        mime, data = split_init(item.data)
        if item.take == self._take and self._inits.get(self._init) == data:
            return False
        told = self._open is not None and self._close_part(None)
        if self._segments:
            self._segments[-1].is_whole = True
        self._take, self.mime = item.take, mime
        self._init += 1
        self._inits[self._init] = data
        self._inits.pop(self._init - INITS_MAX, None)
        self._last_us = self._step_us = 0
        return told

    def _ends_before(self, item: StreamItem) -> bool:
        assert self._open is not None
        if self._segment_ends_before(item) or self._open.size > PART_BYTES_MAX:
            return True
        length_us = item.decode_us - self._open.begin_us
        return length_us + self._step_us > self.part_target_us

    def _segment_ends_before(self, item: StreamItem) -> bool:
        if not self._segments or self._segments[-1].is_whole:
            return False
        begun = self._segments[-1].parts
        begin_us = begun[0].begin_us if begun else self._last_us
        if not begun and self._open is not None:
            begin_us = self._open.begin_us
        length_us = item.decode_us - begin_us
        opens = item.keyframe or is_sound(self.track)
        least_s = 2 * _SEGMENT_S_MIN if is_sound(self.track) else _SEGMENT_S_MIN
        too_long = length_us + self._step_us > TARGET_S * 1_000_000
        too_long = too_long or self._segments[-1].size > KEPT_BYTES_MAX // 4
        return too_long or (opens and length_us >= least_s * 1_000_000)

    def _close_part(self, next_us: int | None) -> bool:
        """End the open part where the next item begins, or, before a hole, by its own length."""
        part = self._open
        assert part is not None
        own_us = self._last_us + self._step_us - part.begin_us
        end_us = own_us if next_us is None else next_us - part.begin_us
        length_us = min(end_us, own_us) if end_us > self.part_target_us else end_us
        part.duration_us = max(1, min(length_us, self.part_target_us or length_us))
        self._open = None
        self._segments[-1].parts.append(part)
        return True

    def _open_segment(self, item: StreamItem, era: int) -> None:
        self._segments.append(_Segment(self._next, self._init, item.capture_ms, era))
        self._next += 1
        kept_us = sum(each.duration_us for each in self._segments)
        size = sum(each.size for each in self._segments)
        while kept_us - self._segments[0].duration_us > KEPT_S * 1_000_000 or size > KEPT_BYTES_MAX:
            gone_segment = self._segments.popleft()
            kept_us -= gone_segment.duration_us
            size -= gone_segment.size
            for gone in [each for each in self._inits if each < self._segments[0].init]:
                del self._inits[gone]

    def _set_target(self) -> None:
        if not self.part_target_us:
            steps = max(1, round(PART_S * 1_000_000 / self._step_us))
            self.part_target_us = round(steps * self._step_us * _PART_ROOM)

    def _hints(self) -> list[tuple[int, int]]:
        newest = self._segments[-1]
        following = (newest.number + 1, 0)
        if newest.is_whole:
            return [following]
        return [(newest.number, len(newest.parts)), following]

    def _find(self, number: int) -> _Segment | None:
        return next((each for each in self._segments if each.number == number), None)

    def _part_line(self, number: int, at: int, part: _Part) -> str:
        independent = ",INDEPENDENT=YES" if part.is_independent else ""
        seconds = part.duration_us / 1_000_000
        return (
            f'#EXT-X-PART:DURATION={seconds:.5f},URI="{self.track}/{number}.{at}.m4s"{independent}'
        )


class LiveHls:
    """A room's renditions; ``first`` is above every number the room had before."""

    def __init__(self, first: int, on_part: Callable[[], None]) -> None:
        self._renditions = {track: Rendition(track, first) for track in PLAYED}
        self._on_part = on_part
        self._take: TakeId | None = None
        self._era = -1

    def add(self, item: StreamItem) -> None:
        rendition = self._renditions.get(item.track)
        if rendition is None:
            return
        if item.take != self._take:
            self._take = item.take
            self._era += 1
        if rendition.add(item, self._era):
            self._on_part()

    def rendition(self, track: int) -> Rendition | None:
        """Return a track's playlist once it has a part."""
        found = self._renditions.get(track)
        return found if found is not None and found.is_playing else None

    def others(self, track: int) -> tuple[Rendition, ...]:
        return tuple(each for number, each in self._renditions.items() if number != track)

    def main(self, sound_name: str) -> str | None:
        """Return the multivariant playlist, None while there is nothing to play."""
        playing = [each for each in self._renditions.values() if each.is_playing]
        return main_playlist(
            {each.track: (each.mime, each.bandwidth) for each in playing}, sound_name
        )


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(min(at_ms, _YEAR_9999_MS) / 1000, UTC).isoformat(
        timespec="milliseconds"
    )
