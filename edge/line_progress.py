"""Whether a line still carries what is sent, by what the far machine's TCP has acknowledged.

Linux tells in TCP_INFO (tcp(7), linux/tcp.h). TCP itself waits for a line that swallows packets
ever longer; a box that calls again finds one that is back sooner.
"""

import socket
import struct
from typing import Protocol

STALLED_S = 4.0
STALLED_ROUND_TRIPS = 1.5
"""Nothing acknowledged for so long, and so many round trips, while something is to be: it is
gone. A line that is alive acknowledges after one round trip, the wait in its queues included, and
then packet by packet: 1,500 bytes take 0.4 s at 30 kbit/s."""

_TCP_INFO = struct.Struct("=24xI40xI48xQ")
"""tcpi_unacked (packets), tcpi_rtt (µs) and tcpi_bytes_acked, with what stands between them."""
_INFO_BYTES = _TCP_INFO.size


class Line(Protocol):
    """The part of a connected TCP socket that is asked."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


class LineProgress:
    """Watches one connection; moments are monotonic seconds."""

    def __init__(self, line: Line, now_s: float) -> None:
        self._line = line
        self._acked_bytes = -1
        self._moved_s = now_s

    def is_stalled(self, now_s: float) -> bool:
        """Tell whether what was sent last is not carried any more; raises OSError when closed."""
        info = self._line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        if len(info) < _INFO_BYTES:
            return False  # a kernel before 4.1
        unacked, round_trip_us, acked_bytes = _TCP_INFO.unpack(info)
        if not unacked or acked_bytes != self._acked_bytes:
            self._acked_bytes = acked_bytes
            self._moved_s = now_s
        patience_s = max(STALLED_S, STALLED_ROUND_TRIPS * int(round_trip_us) / 1e6)
        return now_s - self._moved_s > patience_s
