"""Datagrams of one RTP stream back in the order they were sent in, without waiting long."""

HELD_MAX = 256
"""Packets that wait for an earlier one; a keyframe of 300 KB has so many."""
WAIT_S = 0.04
"""A packet that is later than that is lost: on a school's LAN nothing overtakes by more."""

_HEAD_BYTES = 4
_HALF = 1 << 15


class PacketOrder:
    """One stream's packets in sequence; doubles and late ones are dropped, lost ones passed over.

    Who takes packets out sees a gap in their numbers where some are lost (RFC 3550 §5.1).
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, bytes] = {}
        self._due_s: float | None = None

    @property
    def due_s(self) -> float | None:
        """When ``release`` gives up waiting for a packet; None while none is missing."""
        return self._due_s

    def take(self, packet: bytes, now_s: float) -> list[bytes]:
        """Take in a datagram; return what may go on now."""
        if len(packet) < _HEAD_BYTES:
            return [packet]  # whoever parses it says what is wrong
        sequence = packet[2] << 8 | packet[3]
        if self._next is None:
            self._next = sequence
        if (sequence - self._next) & 0xFFFF >= _HALF:
            return []
        self._held[sequence] = packet
        ready = self._run()
        if len(self._held) > HELD_MAX:
            ready += self._skip()
        if not self._held:
            self._due_s = None
        elif ready or self._due_s is None:
            self._due_s = now_s + WAIT_S
        return ready

    def release(self, now_s: float) -> list[bytes]:
        """Return what has waited long enough for packets that did not come."""
        if self._due_s is None or now_s < self._due_s:
            return []
        ready = self._skip()
        self._due_s = now_s + WAIT_S if self._held else None
        return ready

    def _skip(self) -> list[bytes]:
        base = self._next or 0
        self._next = min(self._held, key=lambda sequence: (sequence - base) & 0xFFFF)
        return self._run()

    def _run(self) -> list[bytes]:
        ready: list[bytes] = []
        while self._next is not None and (packet := self._held.pop(self._next, None)) is not None:
            ready.append(packet)
            self._next = (self._next + 1) & 0xFFFF
        return ready
