"""What of a stored take may be shown again: what the flagship signed.

Live is shown as it comes, opened by the lesson's key, which every party holds. Whoever shows stored
fragments again (catching up, a recording, one that stands in) reads them here: then they are the
flagship's word and nobody else's. A group is signed when the next one begins, after two seconds at
most, so the proven end follows live at that distance and the way of one signature.
"""

from collections.abc import Iterator

from sync.lessons.fragment_log import Record, Stream, parse_record
from sync.lessons.fragment_store import TakeStore


class ProvenStream:
    """One stream of a take, as far as it is stored and signed by now."""

    def __init__(self, take: TakeStore, stream: Stream) -> None:
        self._take = take
        self._stream = stream

    @property
    def head(self) -> int:
        """Highest number, -1 for none."""
        present = self._take.index(self._stream).present
        return self._take.coverage.last_of(self._stream, present)

    def has(self, number: int) -> bool:
        return self._take.is_proven(self._stream, number)

    def numbers(self, first: int = 0) -> Iterator[int]:
        """Yield the numbers from ``first`` on in order."""
        present = self._take.index(self._stream).present
        for low, high in self._take.coverage.spans(self._stream, first):
            for number in present.numbers(low):
                if number > high:
                    break
                yield number

    def records(self, first: int = 0) -> Iterator[Record]:
        """Yield the records from a number on in order, those damaged on disk left out."""
        for number in self.numbers(first):
            record = self.read(number)
            if record is not None:
                yield record

    def read(self, number: int) -> Record | None:
        """Return a record; None for one that is not proven, or turned out damaged on disk."""
        wire = self._take.read(self._stream, number) if self.has(number) else None
        return None if wire is None else parse_record(wire)

    def keyframe_at(self, capture_ms: int) -> int:
        """Return the last keyframe captured no later than a time, -1 for none: where to seek."""
        index = self._take.index(self._stream)
        number = index.keyframe_at(capture_ms)
        while number >= 0 and not self.has(number):
            number = index.keyframe_before(number)
        return number

    def is_awaited(self, number: int) -> bool:
        """Tell whether a number is known to exist and still to come, or its signature is.

        False for what follows the proven end without a hole: that is live, and not signed yet.
        """
        if self.has(number):
            return False
        head = self._take.index(self._stream).head
        return number <= self._take.coverage.head(self._stream) or self._has_hole(number, head)

    def is_unproven(self, number: int) -> bool:
        """Tell whether a number is known to exist and is not proven, be it only unsigned yet."""
        head = self._take.index(self._stream).head
        return number <= max(head, self._take.coverage.head(self._stream)) and not self.has(number)

    def _has_hole(self, first: int, last: int) -> bool:
        count = last + 1 - first
        present = self._take.index(self._stream).present
        return count > 0 and present.count_within(first, count) < count
