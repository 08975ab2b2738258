"""How much a line may be handed at once: a slow one little more than it carries in a round trip.

What the kernel holds is lost when the line is cut, and stands before whatever is urgent. What
passes in a round trip keeps the line busy (the bandwidth-delay product); more than that only waits,
and makes TCP slow to notice a loss.
"""

from sync.lessons.tcp_connection import TcpInfo

SPARE_S = 0.4
"""A line may be handed what it carries in its shortest round trip and so much more."""
PACKETS_MIN = 3
"""So many packets may be under way at any rate; TCP itself begins with as many (RFC 3390)."""
OVERHEAD_BYTES = 32
"""What TLS and HTTP add to what is handed over, at most."""
_CHANGE_MAX = 2.0
_SAMPLE_S_MIN = 0.05


class LineRoom:
    """Learns what one connection carries; moments are monotonic seconds.

    ``bytes_a_s`` is what it carries at least, as far as was seen.
    """

    def __init__(self, bytes_a_s: float) -> None:
        self.bytes_a_s = bytes_a_s
        self._since_s: float | None = None
        self._acked_bytes = self._seen_bytes = 0
        self._is_tried = True  # more waited all the while than was handed over

    def part_bytes(
        self, waiting_bytes: int, info: TcpInfo, unacked_bytes: int, now_s: float
    ) -> int:
        """Return how much of what waits may be handed over now: whole packets, or all of it."""
        self._learn(info, unacked_bytes, now_s)
        carried_bytes = int(self.bytes_a_s * (info.round_trip_s_min + SPARE_S))
        packet_bytes = info.packet_bytes
        room = max(PACKETS_MIN * packet_bytes, packet_bytes + carried_bytes) - unacked_bytes
        packets = max(room // packet_bytes, 0)
        part = min(waiting_bytes, packets * (packet_bytes - OVERHEAD_BYTES))
        self._is_tried &= part < waiting_bytes
        return part

    def _learn(self, info: TcpInfo, unacked_bytes: int, now_s: float) -> None:
        """Take what was acknowledged in a round trip for what the line carries.

        A line that was handed less than it can carry tells only that it carries so much.
        """
        if self._since_s is None or not unacked_bytes:
            self._begin(info, now_s)
            return
        if info.acked_bytes == self._seen_bytes:
            return  # a sample ends with an acknowledgement, as it began
        self._seen_bytes = info.acked_bytes
        took_s = now_s - self._since_s
        if took_s < max(_SAMPLE_S_MIN, info.round_trip_s):
            return
        carried = (info.acked_bytes - self._acked_bytes) / took_s
        if self._is_tried or carried > self.bytes_a_s:
            # In a cut nothing is acknowledged, and after it much at once.
            least, most = self.bytes_a_s / _CHANGE_MAX, self.bytes_a_s * _CHANGE_MAX
            self.bytes_a_s = min(max(carried, least), most)
        self._begin(info, now_s)

    def _begin(self, info: TcpInfo, now_s: float) -> None:
        self._since_s = now_s
        self._acked_bytes = self._seen_bytes = info.acked_bytes
        self._is_tried = True
