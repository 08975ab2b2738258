"""Which stored records to ask the hub for, so that a recording becomes whole without haste."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from sync.lessons.fragment_exchange import (
    WANT_RECORDS_MAX,
    Holdings,
    StreamHoldings,
    TakeHoldings,
    Turn,
    Want,
    overlap,
    spans_of,
    turn_of,
)
from sync.lessons.fragment_index import Span
from sync.lessons.fragment_log import Header, Kind, LessonId, Stream, TakeId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import PICTURE_SMALL

SETTLED_S = 3.0
"""What the hub has held for longer and is not here did not come live and has to be asked for."""
STALLED_S = 5.0
REFUSED_S = 60.0
"""A record that proved wrong is asked for again after this."""
WANTS_MAX = 32
_HEARD_MAX = 16
_REFUSED_MAX = 4096

_Name = tuple[TakeId, Stream, int]


class CatchUp:
    """Asks for one bounded batch after another: proofs and events, sound, files, picture."""

    def __init__(
        self,
        shelf: LessonShelf,
        lesson: LessonId,
        monotonic_s: Callable[[], float],
        waits: Callable[[Stream], bool] = lambda _: False,
    ) -> None:
        """Ask for nothing of a stream that ``waits`` now: for the night, on a metered line."""
        self._waits = waits
        self._shelf = shelf
        self._lesson = lesson
        self._monotonic_s = monotonic_s
        self._holdings: Holdings | None = None
        self._heard: deque[tuple[float, Holdings]] = deque(maxlen=_HEARD_MAX)
        self._asked: set[_Name] = set()
        self._is_due = False
        self._progress_s = 0.0
        self._refused: dict[_Name, float] = {}

    def restart(self) -> None:
        """Forget what was asked and heard on a connection that ended."""
        self._asked.clear()
        self._heard.clear()

    def hear(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._heard.append((self._monotonic_s(), holdings))
        self._is_due = True

    def came(self, header: Header) -> None:
        """Note a record's arrival, whether it is then kept or refused."""
        name = header.take, header.stream, header.number
        if name in self._asked:
            self._asked.discard(name)
            self._progress_s = self._monotonic_s()
            self._is_due = self._is_due or not self._asked

    def refuse(self, header: Header) -> None:
        """Do not ask for this record again soon: the hub's copy is wrong."""
        if len(self._refused) >= _REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[header.take, header.stream, header.number] = self._monotonic_s()

    def missing(self) -> int:
        """Return how many media records the hub holds, and did not send live, that are not here.

        The small stream beside the large one is fetched too, but nobody in the room misses it.
        """
        if self._holdings is None:
            return 0
        return sum(
            last + 1 - first
            for held in self._holdings.takes
            for one in held.streams
            if one.kind is Kind.MEDIA and one.track != PICTURE_SMALL
            for first, last in self._lacking(self._holdings, held, one)
        )

    @property
    def rests(self) -> bool:
        """Whether something is missing, and all of it waits."""
        held = self._holdings
        if held is None or self._asked or self.missing() == 0:
            return False
        return next(self._lacking_names(held), None) is None

    def next_wants(self) -> list[Want]:
        """Return what to ask now: nothing while an earlier batch is still being answered."""
        stalled = self._monotonic_s() - self._progress_s > STALLED_S
        if not self._is_due or (self._asked and not stalled) or self._holdings is None:
            return []
        self._is_due = False
        self._progress_s = self._monotonic_s()
        names = list(islice(self._lacking_names(self._holdings), WANT_RECORDS_MAX))
        wants = _joined(names)[:WANTS_MAX]
        self._asked = {
            (take, stream, number)
            for take, stream, first, last in wants
            for number in range(first, last + 1)
        }
        return [
            Want(take=take.hex(), kind=stream.kind, track=stream.track, first=first, last=last)
            for take, stream, first, last in wants
        ]

    def _lacking_names(self, holdings: Holdings) -> Iterator[_Name]:
        streams = [
            (held, one)
            for held in holdings.takes
            for one in held.streams
            if not self._waits(one.stream)
        ]
        for held, one in sorted(streams, key=_order):
            for first, last in self._lacking(holdings, held, one):
                for number in range(first, last + 1):
                    name = held.id, one.stream, number
                    refused_s = self._refused.get(name)
                    if refused_s is None or self._monotonic_s() - refused_s > REFUSED_S:
                        yield name

    def _lacking(self, holdings: Holdings, held: TakeHoldings, one: StreamHoldings) -> list[Span]:
        """Return what the hub holds of a stream, should have come by now, and is not here."""
        if not one.have:
            return []
        store = self._shelf.find(self._lesson, held.id)
        present = None if store is None else store.index(one.stream).present
        head = one.have[-1][1]
        if one.kind is Kind.MEDIA and held.id == holdings.live:
            settled = self._settled(held.id, one.stream)
            head = max(-1 if present is None else present.head, settled)
        missing = [(0, head)] if present is None else present.missing(head)
        return overlap(missing, one.have)

    def _settled(self, take: TakeId, stream: Stream) -> int:
        """Return the highest number the hub held 3 s ago already, -1 for none."""
        before_s = self._monotonic_s() - SETTLED_S
        known = [holdings for heard_s, holdings in self._heard if heard_s <= before_s]
        spans = spans_of(known[-1], take, stream) if known else []
        return spans[-1][1] if spans else -1


def _order(found: tuple[TakeHoldings, StreamHoldings]) -> Turn:
    """Sort by class alone: the takes stay in their order."""
    return turn_of(found[1].stream)


def _joined(names: list[_Name]) -> list[tuple[TakeId, Stream, int, int]]:
    """Join neighbouring numbers into runs."""
    runs: list[tuple[TakeId, Stream, int, int]] = []
    for take, stream, number in names:
        if runs and runs[-1][:2] == (take, stream) and runs[-1][3] == number - 1:
            runs[-1] = (take, stream, runs[-1][2], number)
        else:
            runs.append((take, stream, number, number))
    return runs
