"""What a follower is still to be sent of what the hub holds: what it asked for, and new files."""

from collections import deque

from sync.lessons.fragment_exchange import Turn, turn_of
from sync.lessons.fragment_log import LessonId, Stream, TakeId
from sync.lessons.fragment_shelf import LessonShelf

WANTS_MAX = 64

_Want = tuple[TakeId, Stream, int, int]


class Wants:
    """A bounded list of runs of records, sound before files before picture."""

    def __init__(self, shelf: LessonShelf, lesson: LessonId) -> None:
        self._shelf = shelf
        self._lesson = lesson
        self._wants: deque[_Want] = deque()

    @property
    def is_full(self) -> bool:
        return len(self._wants) >= WANTS_MAX

    def add(self, take: TakeId, stream: Stream, first: int, last: int) -> None:
        """Add a run; what is wanted already, as after a rest of catch-up, is not wanted twice."""
        for known in [want for want in self._wants if want[:2] == (take, stream)]:
            if known[2] <= first and last <= known[3]:
                return
            if first <= known[2] and known[3] <= last:
                self._wants.remove(known)
        if self._wants and (*self._wants[-1][:2], self._wants[-1][3] + 1) == (take, stream, first):
            first = self._wants.pop()[2]
        self._wants.append((take, stream, first, last))

    def next_record(self, upto: Turn) -> bytes | None:
        """Return the next wanted record that is held, None for none whose turn it is."""
        while self._wants:
            chosen = min(self._wants, key=_turn)
            if _turn(chosen) > upto:
                return None
            self._wants.remove(chosen)
            wire = self._next_of(chosen)
            if wire is not None:
                return wire
        return None

    def _next_of(self, want: _Want) -> bytes | None:
        name, stream, first, last = want
        take = self._shelf.find(self._lesson, name)
        if take is None:
            return None
        for number in take.index(stream).present.numbers(first):
            if number > last:
                return None
            wire = take.read(stream, number)
            if wire is not None:
                if number < last:
                    self._wants.appendleft((name, stream, number + 1, last))
                return wire
        return None


def _turn(want: _Want) -> Turn:
    return turn_of(want[1])
