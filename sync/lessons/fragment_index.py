"""Where a take's records lie on disk, and which of them a signature covers."""

import struct
import zlib
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass

from sync.errors import MalformedError
from sync.lessons.fragment_log import Header, Kind, Stream
from sync.lessons.fragment_sealing import Group

_ENTRY = struct.Struct(">BBBxIQIQI")
_CHECK = struct.Struct(">I")
ENTRY_BYTES = _ENTRY.size + _CHECK.size
_KEYFRAME = 1
_VOID = 2
_DURATION_US_MAX = 2**32 - 1

Span = tuple[int, int]
"""First and last number of an unbroken run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a take's index; ``void`` takes back an earlier line of the same number."""

    stream: Stream
    number: int
    offset: int = 0
    length: int = 0
    capture_ms: int = 0
    duration_us: int = 0
    keyframe: bool = False
    void: bool = False


def entry_of(header: Header, offset: int, length: int) -> Entry:
    duration_us = header.duration * 1_000_000 // header.timescale
    return Entry(
        stream=header.stream,
        number=header.number,
        offset=offset,
        length=length,
        capture_ms=header.capture_ms,
        duration_us=min(duration_us, _DURATION_US_MAX),
        keyframe=header.keyframe,
    )


def encode_entry(entry: Entry) -> bytes:
    packed = _ENTRY.pack(
        entry.stream.kind,
        entry.stream.track,
        (_KEYFRAME if entry.keyframe else 0) | (_VOID if entry.void else 0),
        entry.number,
        entry.offset,
        entry.length,
        entry.capture_ms,
        entry.duration_us,
    )
    return packed + _CHECK.pack(zlib.crc32(packed))


def decode_entries(stored: bytes) -> Iterator[Entry]:
    """Yield entries up to the first torn or damaged one."""
    for at in range(0, len(stored) - ENTRY_BYTES + 1, ENTRY_BYTES):
        packed = stored[at : at + _ENTRY.size]
        if _CHECK.unpack_from(stored, at + _ENTRY.size) != (zlib.crc32(packed),):
            return
        kind, track, flags, number, offset, length, capture_ms, duration_us = _ENTRY.unpack(packed)
        yield Entry(
            stream=Stream(Kind(kind), track),
            number=number,
            offset=offset,
            length=length,
            capture_ms=capture_ms,
            duration_us=duration_us,
            keyframe=bool(flags & _KEYFRAME),
            void=bool(flags & _VOID),
        )


class NumberSet:
    """A set of numbers from 0 to ``NUMBER_MAX``, one byte each up to its greatest."""

    def __init__(self) -> None:
        self._flags = bytearray()

    @property
    def head(self) -> int:
        """Greatest number, -1 for none."""
        return self._flags.rfind(1)

    @property
    def count(self) -> int:
        return self._flags.count(1)

    def has(self, number: int) -> bool:
        return number < len(self._flags) and self._flags[number] == 1

    def add(self, number: int) -> None:
        self.add_span(number, number)

    def add_span(self, first: int, last: int) -> None:
        """Add ``first`` to ``last`` inclusive."""
        if last >= len(self._flags):
            self._flags.extend(bytes(last + 1 - len(self._flags)))
        self._flags[first : last + 1] = b"\x01" * (last + 1 - first)

    def discard(self, number: int) -> None:
        if number < len(self._flags):
            self._flags[number] = 0

    def count_within(self, first: int, count: int) -> int:
        """Return how many of ``count`` numbers from ``first`` on are in the set."""
        return self._flags.count(1, first, first + count)

    def numbers(self, first: int = 0) -> Iterator[int]:
        """Yield the numbers from ``first`` on in order, also those added meanwhile."""
        number = self._flags.find(1, first)
        while number >= 0:
            yield number
            number = self._flags.find(1, number + 1)

    def before(self, end: int) -> int:
        """Return the greatest number below ``end``, -1 for none."""
        return self._flags.rfind(1, 0, end)

    def spans(self) -> list[Span]:
        """Return the unbroken runs."""
        runs: list[Span] = []
        first = self._flags.find(1)
        while first >= 0:
            end = self._flags.find(0, first)
            end = len(self._flags) if end < 0 else end
            runs.append((first, end - 1))
            first = self._flags.find(1, end)
        return runs

    def missing(self, head: int) -> list[Span]:
        """Return the runs from 0 to ``head`` inclusive that are not in the set."""
        gaps: list[Span] = []
        expected = 0
        for first, last in self.spans():
            if first > head:
                break
            if first > expected:
                gaps.append((expected, first - 1))
            expected = last + 1
        if expected <= head:
            gaps.append((expected, head))
        return gaps


class StreamIndex:
    """Places of one stream's records by number, in flat arrays: about 26 bytes a number."""

    def __init__(self) -> None:
        self.present = NumberSet()
        self._keyframes = NumberSet()
        self._offsets = array("Q")
        self._lengths = array("I")
        self._captures = array("Q")
        self._durations = array("I")
        self._duration_us = 0

    @property
    def head(self) -> int:
        """Highest number present, -1 for none."""
        return self.present.head

    @property
    def seconds(self) -> float:
        """Sum of the present records' durations."""
        return self._duration_us / 1_000_000

    def place(self, number: int) -> tuple[int, int]:
        """Return (offset, length) of a present record."""
        return self._offsets[number], self._lengths[number]

    def capture_ms(self, number: int) -> int:
        return self._captures[number]

    def duration_us(self, number: int) -> int:
        return self._durations[number]

    def enter(self, entry: Entry) -> None:
        number = entry.number
        if number >= len(self._offsets):
            more = max(number + 1, 2 * len(self._offsets)) - len(self._offsets)
            for wide in (self._offsets, self._captures):
                wide.frombytes(bytes(more * wide.itemsize))
            for narrow in (self._lengths, self._durations):
                narrow.frombytes(bytes(more * narrow.itemsize))
        self.present.add(number)
        if entry.keyframe:
            self._keyframes.add(number)
        self._offsets[number] = entry.offset
        self._lengths[number] = entry.length
        self._captures[number] = entry.capture_ms
        self._durations[number] = entry.duration_us
        self._duration_us += entry.duration_us

    def forget(self, number: int) -> None:
        if self.present.has(number):
            self.present.discard(number)
            self._keyframes.discard(number)
            self._duration_us -= self._durations[number]

    def is_keyframe(self, number: int) -> bool:
        return self._keyframes.has(number)

    def newest_keyframe(self) -> int:
        """Return the highest number of a present keyframe, -1 for none."""
        return self._keyframes.head

    def keyframe_at(self, capture_ms: int) -> int:
        """Return the last keyframe captured no later than a time, -1 for none: where to seek."""
        number = self.newest_keyframe()
        while number >= 0 and self._captures[number] > capture_ms:
            number = self._keyframes.before(number)
        return number

    def keyframe_before(self, number: int) -> int:
        """Return the last present keyframe below a number, -1 for none."""
        return self._keyframes.before(number)

    def since(self, capture_ms: int) -> int:
        """Return where the newest run captured at or after a time begins; head + 1 for none."""
        number = self.head
        while number >= 0 and self.present.has(number) and self._captures[number] >= capture_ms:
            number -= 1
        return number + 1


class Coverage:
    """Which numbers stored signatures cover, and where in the signature each hash stands."""

    def __init__(self) -> None:
        self._ranges: dict[Stream, list[tuple[int, int, int, int]]] = {}

    def add(self, group: Group, signature: int) -> None:
        digest_index = 0
        for covered, digests in group.ranges:
            ranges = self._ranges.setdefault(covered.stream, [])
            insort(ranges, (covered.first, covered.count, signature, digest_index))
            digest_index += len(digests)

    def check_new(self, group: Group) -> None:
        """Raise MalformedError when the group covers a number twice or one covered before."""
        for at, (covered, _) in enumerate(group.ranges):
            last = covered.first + covered.count - 1
            twice = any(
                other.stream == covered.stream
                and other.first <= last
                and covered.first < other.first + other.count
                for other, _ in group.ranges[:at]
            )
            before = self._at_or_below(covered.stream, last)
            if twice or (before is not None and before[0] + before[1] > covered.first):
                raise MalformedError("a signature covers fragments signed before; refuse it")

    def find(self, stream: Stream, number: int) -> tuple[int, int] | None:
        """Return (signature's number, index among its hashes); None for what none covers."""
        found = self._at_or_below(stream, number)
        if found is None or number >= found[0] + found[1]:
            return None
        first, _, signature, digest_index = found
        return signature, digest_index + number - first

    def count(self, stream: Stream, index: StreamIndex) -> int:
        """Return how many of an index's present numbers are covered."""
        ranges = self._ranges.get(stream, [])
        return sum(index.present.count_within(first, count) for first, count, _, _ in ranges)

    def head(self, stream: Stream) -> int:
        """Highest number covered, -1 for none."""
        ranges = self._ranges.get(stream)
        return ranges[-1][0] + ranges[-1][1] - 1 if ranges else -1

    def last_of(self, stream: Stream, present: NumberSet) -> int:
        """Return the greatest number of a set that is covered, -1 for none."""
        number = present.head
        while number >= 0:
            found = self._at_or_below(stream, number)
            if found is None:
                return -1
            end = found[0] + found[1]
            if number < end:
                return number
            number = present.before(end)
        return -1

    def spans(self, stream: Stream, first: int) -> Iterator[Span]:
        """Yield what is covered from a number on, in order, a span a signature."""
        ranges = self._ranges.get(stream, [])
        for begins, count, _, _ in ranges[max(0, bisect_right(ranges, first, key=_first) - 1) :]:
            if begins + count > first:
                yield max(begins, first), begins + count - 1

    def streams(self) -> list[Stream]:
        return sorted(self._ranges)

    def _at_or_below(self, stream: Stream, number: int) -> tuple[int, int, int, int] | None:
        ranges = self._ranges.get(stream, [])
        at = bisect_right(ranges, number, key=_first)
        return ranges[at - 1] if at else None


def _first(covered: tuple[int, int, int, int]) -> int:
    return covered[0]
