"""Whether a line still carries what is sent, by what the far machine's TCP has acknowledged."""

from sync.lessons.tcp_connection import Line, read_tcp_info

SILENT_ROUND_TRIPS = 1.5
"""A line that is alive acknowledges after one round trip, the wait in its queues included, and then
packet by packet: 1,500 bytes take 0.4 s at 30 kbit/s."""


class LineProgress:
    """Watches one connection; moments are monotonic seconds."""

    def __init__(self, line: Line, now_s: float) -> None:
        self._line = line
        self._acked_bytes = -1
        self._moved_s = now_s

    def silent_s(self, now_s: float) -> float:
        """Return for how long nothing was acknowledged of what is to be; 0 before that is late.

        Raises OSError when the socket is closed.
        """
        info = read_tcp_info(self._line)
        if info is None or not info.round_trip_s:
            return 0.0  # nothing is told, or the far machine has not answered at all yet
        if not info.unacked_packets or info.acked_bytes != self._acked_bytes:
            self._acked_bytes = info.acked_bytes
            self._moved_s = now_s
        silent_s = now_s - self._moved_s
        return silent_s if silent_s > SILENT_ROUND_TRIPS * info.round_trip_s else 0.0
