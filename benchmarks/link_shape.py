"""What a link does to packets: rate with a bounded queue, delay, loss and cuts, without any I/O.

Time is an argument, in seconds of any steady clock; chance comes from a seed.
"""

import random
from collections import deque
from typing import Annotated, Literal

import msgspec

CutKind = Literal["black hole", "reset"]
End = Literal["box", "hub"]


class Way(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One direction.

    ``kbits`` is the rate in 1,000 bits a second of IP packets, None for none; ``queue_bytes`` is
    what may wait to be sent, beyond which packets are dropped; ``loss`` is the chance of a packet
    that was sent not to arrive.
    """

    kbits: Annotated[float, msgspec.Meta(gt=0)] | None = None
    delay_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    queue_bytes: Annotated[int, msgspec.Meta(gt=0)] = 15_000


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A stretch in which nothing passes.

    In a black hole packets vanish and nobody hears of it. In a reset both ends' connections are
    reset when it begins, and whatever TCP is sent meanwhile is answered by a reset. ``only``
    confines a black hole to what one end sends. Seconds count from the first packet after the
    shape was set.
    """

    kind: CutKind
    from_s: float
    until_s: float
    only: End | None = None


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole link: ``up`` is what the box sends, ``down`` what the hub sends."""

    up: Way = Way()
    down: Way = Way()
    cuts: tuple[Cut, ...] = ()
    seed: int = 1

    def cut_at(self, elapsed_s: float, sender: End) -> Cut | None:
        """Return the cut that stops what ``sender`` sends at this moment."""
        for cut in self.cuts:
            if cut.from_s <= elapsed_s < cut.until_s and cut.only in {None, sender}:
                return cut
        return None


def even_shape(
    *,
    kbits: float | None = None,
    delay_ms: float = 0.0,
    loss: float = 0.0,
    cuts: tuple[Cut, ...] = (),
    seed: int = 1,
) -> Shape:
    """Return a link that is alike in both directions."""
    way = Way(kbits=kbits, delay_ms=delay_ms, loss=loss)
    return Shape(up=way, down=way, cuts=cuts, seed=seed)


def cuts_every_twelve_s(kind: CutKind, until_s: float = 3600) -> tuple[Cut, ...]:
    """Return cuts of 4 s, the first at 1 s and the next after every 8 s of working line."""
    return tuple(
        Cut(kind=kind, from_s=from_s, until_s=from_s + 4) for from_s in range(1, int(until_s), 12)
    )


def drawn_cuts(
    seed: int, kind: CutKind, *, mean_up_s: float, mean_cut_s: float, until_s: float
) -> tuple[Cut, ...]:
    """Return cuts at moments and of lengths drawn from a seed, both exponential."""
    rng = random.Random(seed)
    cuts = []
    from_s = rng.expovariate(1 / mean_up_s)
    while from_s < until_s:
        lasts_s = rng.expovariate(1 / mean_cut_s)
        cuts.append(Cut(kind=kind, from_s=from_s, until_s=from_s + lasts_s))
        from_s += lasts_s + rng.expovariate(1 / mean_up_s)
    return tuple(cuts)


class Line:
    """One direction at work; moments never go back."""

    def __init__(self, way: Way, rng: random.Random) -> None:
        self._way = way
        self._rng = rng
        self._free_s = 0.0  # when the sender has sent all that waits
        self._waiting: deque[tuple[float, int]] = deque()  # (sent at, bytes)
        self._waiting_bytes = 0
        self._under_way: deque[tuple[float, bytes]] = deque()  # (arrives at, packet)
        self.full = 0
        self.lost = 0

    def offer(self, packet: bytes, now_s: float) -> None:
        """Take a packet from the sender: to arrive later, lost on the way, or dropped at once."""
        while self._waiting and self._waiting[0][0] <= now_s:
            self._waiting_bytes -= self._waiting.popleft()[1]
        if self._waiting_bytes + len(packet) > self._way.queue_bytes:
            self.full += 1
            return
        begins_s = max(now_s, self._free_s)
        rate = self._way.kbits
        self._free_s = begins_s + (len(packet) * 8 / (rate * 1000) if rate else 0.0)
        self._waiting.append((self._free_s, len(packet)))
        self._waiting_bytes += len(packet)
        if self._rng.random() < self._way.loss:
            self.lost += 1
            return
        self._under_way.append((self._free_s + self._way.delay_ms / 1000, packet))

    def arrived(self, now_s: float) -> list[bytes]:
        """Return the packets that have arrived by now, in order."""
        packets = []
        while self._under_way and self._under_way[0][0] <= now_s:
            packets.append(self._under_way.popleft()[1])
        return packets

    def next_s(self) -> float | None:
        """Return when the next packet arrives."""
        return self._under_way[0][0] if self._under_way else None

    def clear(self, now_s: float) -> int:
        """Let all that waits or is under way vanish; return how many packets that were."""
        vanished = len(self._under_way)
        self._under_way.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._free_s = now_s
        return vanished
