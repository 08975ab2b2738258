"""What goes next on one connection, in pieces short enough that sound never waits long. Pure.

Urgent records and sound, then the picture of the rung in force, then signatures, and catch-up
last, which rests while what was sent waits on the way. Only what is no sound is cut into parts
(``sync.lessons.fragment_parts``); a picture that was begun is given up when its rung is left.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sync.lessons.fragment_exchange import Turn
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_parts import Lane, split
from sync.lessons.fragment_queue import LiveQueue, Parcel
from sync.lessons.fragment_rungs import Ladder, Rung
from sync.lessons.link_gauge import LinkGauge, Reading

Backlog = Callable[[Turn], bytes | None]
"""Returns the next record of catch-up whose turn is no later than that."""
REST_S, HELD_REST_S = 1.0, 0.01


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to write; with them ``parcel``, or ``wire`` of catch-up, is sent whole."""

    data: bytes
    parcel: Parcel | None = None
    wire: bytes | None = None


class Dispatch:
    """Chooses the pieces of one connection; times are seconds of one monotonic clock."""

    def __init__(
        self,
        backlog: Backlog,
        frame: Callable[[bytes], bytes],
        *,
        in_parts: bool,
        ladder: Ladder,
    ) -> None:
        """``backlog`` is asked when nothing live waits.

        ``frame`` makes of a record or part what is written; parcels are framed already.
        ``in_parts``: the other end puts parts together.
        """
        self.queue = LiveQueue(ladder=ladder)
        self.gauge = LinkGauge()
        self._backlog = backlog
        self._frame = frame
        self._in_parts = in_parts
        self._is_held = False
        self._is_probing = True
        self._live: tuple[Parcel, _Parts] | None = None
        self._late: tuple[bytes, _Parts] | None = None

    @property
    def rung(self) -> Rung:
        return self.queue.ladder.rung

    @property
    def rest_s(self) -> float:
        """How long to wait for something to be offered when there is nothing to send."""
        return HELD_REST_S if self._is_held else REST_S

    def look(self, read: Callable[[], Reading | None], now_s: float) -> None:
        """Take in how the link does; ``read`` is called twenty times a second at most."""
        if not self.gauge.is_due(now_s):
            return
        reading = read()
        measured = None if reading is None else self.gauge.note(reading, now_s)
        if measured is not None:
            delivered, probed = measured
            self.queue.ladder.measured(delivered, now_s, probed=probed)

    def passes(self, parcel: Parcel, now_s: float, under_way: int) -> bool:
        """Tell whether a parcel may be sent at once and whole, past a queue that is empty."""
        is_short = not self._in_parts or (
            len(parcel.data) <= 2 * self.gauge.piece_bytes
            and under_way < self.gauge.picture_bytes_max
        )
        return is_short and self._live is None and self.queue.passes(parcel, now_s)

    def next(self, now_s: float, under_way: int) -> Piece | None:
        """Return the next piece of all, None when there is nothing to send now.

        ``under_way``: bytes that were sent and not yet acknowledged.
        """
        piece = self.next_live(now_s, under_way)
        if piece is not None or self._is_held:
            return piece
        # A probe that the link bears goes on: it shows how much more there is.
        in_turn = self.queue.ladder.probes(now_s)
        self._is_probing = in_turn or (self._is_probing and self.gauge.is_idle)
        if self.gauge.is_crowded or under_way >= self.gauge.catch_up_bytes_max:
            self._is_held = True
            if self._is_probing:
                self.gauge.note_held()
            return None
        piece = self._next_late(Turn.PICTURE if self._is_probing else Turn.FILE)
        if piece is not None:
            self.gauge.note_catch_up()
        return piece

    def next_live(self, now_s: float, under_way: int) -> Piece | None:
        """Return the next piece of what is live."""
        self._is_held = False
        first = self.queue.take_first(now_s)
        if first is not None:
            return Piece(first.data, parcel=first)
        self._is_held = under_way >= self.gauge.picture_bytes_max
        return None if self._is_held else self._next_picture(now_s)

    def _next_picture(self, now_s: float) -> Piece | None:
        if self._live is not None:
            parcel, parts = self._live
            if parcel.kind is not Kind.MEDIA or self.queue.takes(parcel.track):
                data = self._frame(next(parts))
                if not parts.is_last:
                    return Piece(data)
                self._live = None
                return Piece(data, parcel=parcel)
            self._live = None
        found = self.queue.take_picture(now_s)
        if found is None:
            return None
        begun = self._cut(memoryview(found.data)[found.framing :], Lane.LIVE)
        if begun is None:
            return Piece(found.data, parcel=found)
        self._live = found, begun
        return Piece(self._frame(next(begun)))

    def _next_late(self, upto: Turn) -> Piece | None:
        if self._late is not None:
            wire, parts = self._late
            data = self._frame(next(parts))
            if not parts.is_last:
                return Piece(data)
            self._late = None
            return Piece(data, wire=wire)
        found = self._backlog(upto)
        if found is None:
            return None
        begun = self._cut(memoryview(found), Lane.CATCH_UP)
        if begun is None:
            return Piece(self._frame(found), wire=found)
        self._late = found, begun
        return Piece(self._frame(next(begun)))

    def _cut(self, record: memoryview, lane: Lane) -> "_Parts | None":
        """Return a record's parts; None for one that goes whole."""
        piece_bytes = self.gauge.piece_bytes
        if not self._in_parts or len(record) <= 2 * piece_bytes:
            return None
        return _Parts(record, piece_bytes, lane)


class _Parts:
    """The messages of one record, and whether the last was given out."""

    def __init__(self, record: memoryview, part_bytes: int, lane: Lane) -> None:
        self._left = -(-len(record) // part_bytes)
        self._messages: Iterator[bytes] = split(record, part_bytes, lane)

    @property
    def is_last(self) -> bool:
        return self._left == 0

    def __next__(self) -> bytes:
        self._left -= 1
        return next(self._messages)
