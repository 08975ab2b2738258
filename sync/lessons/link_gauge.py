"""What a connection's link carries and how long it lets bytes wait, from what the kernel counts."""

import socket
import struct
from dataclasses import dataclass

UNSENT_BYTES_MAX = 6 * 1024
PIECE_S = 0.05
PIECE_BYTES_MIN = 1200  # a packet's worth
PIECE_BYTES_UNKNOWN = 4096
WINDOW_S = 1.0
WAIT_S_MAX = 0.15
"""Catch-up rests while packets wait longer than this on the way, for live would wait with them."""
LOOK_S = 0.1
_BASE_S = 5.0

# linux/tcp.h, struct tcp_info: smoothed round trip in microseconds, bytes acknowledged.
_RTT = struct.Struct("68xI")
_ACKED = struct.Struct("120xQ")
_INFO_BYTES = 128


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes that the other end has acknowledged since the connection began; its round trip."""

    acked_bytes: int
    rtt_s: float


def read_link(connection: socket.socket | None) -> Reading | None:
    """Ask the kernel; None for a connection that is gone or is not TCP."""
    if connection is None or connection.fileno() < 0:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:
        return None
    if len(info) < _INFO_BYTES:
        return None
    (rtt_us,), (acked,) = _RTT.unpack_from(info), _ACKED.unpack_from(info)
    return Reading(acked, rtt_us / 1_000_000)


class LinkGauge:
    """Judges one connection by its readings; pure, all times of one monotonic clock."""

    def __init__(self) -> None:
        self._looked_s: float | None = None
        self._window: tuple[float, int] | None = None
        self._rate: float | None = None
        self._rtt_s = 0.0
        self._base: list[tuple[float, float]] = []
        self._caught_up = False

    @property
    def bytes_s(self) -> float | None:
        """Delivered in the last whole second: no less than this the link can carry."""
        return self._rate

    @property
    def piece_bytes(self) -> int:
        """Return how much of a record goes at once: about 50 ms of the link."""
        if self._rate is None:
            return PIECE_BYTES_UNKNOWN
        return max(PIECE_BYTES_MIN, int(self._rate * PIECE_S))

    @property
    def unsent_bytes_max(self) -> int:
        """Return how much may wait in the kernel: about 100 ms of the link, at most 6 KB."""
        if self._rate is None:
            return UNSENT_BYTES_MAX
        return min(UNSENT_BYTES_MAX, max(2 * PIECE_BYTES_MIN, int(2 * self._rate * PIECE_S)))

    @property
    def is_crowded(self) -> bool:
        """Tell whether what is sent waits on the way, so that catch-up has to rest."""
        return bool(self._base) and self._rtt_s - min(rtt for _, rtt in self._base) > WAIT_S_MAX

    def is_due(self, now_s: float) -> bool:
        return self._looked_s is None or now_s - self._looked_s >= LOOK_S

    def note_catch_up(self) -> None:
        """Take in that catch-up was sent, or would have been but for the crowd."""
        self._caught_up = True

    def note(self, reading: Reading, now_s: float) -> tuple[float, bool] | None:
        """Take in a reading; once a second return (bytes a second, whether catch-up filled it)."""
        self._looked_s = now_s
        if reading.rtt_s:
            self._rtt_s = reading.rtt_s
            self._keep_base(reading.rtt_s, now_s)
        if self._window is None:
            self._window = now_s, reading.acked_bytes
        began_s, acked = self._window
        if now_s - began_s < WINDOW_S:
            return None
        self._window = now_s, reading.acked_bytes
        self._rate = (reading.acked_bytes - acked) / (now_s - began_s)
        probed, self._caught_up = self._caught_up, False
        return self._rate, probed

    def _keep_base(self, rtt_s: float, now_s: float) -> None:
        """Keep the least round trip of this and of the last stretch of 5 s."""
        if not self._base or now_s - self._base[-1][0] >= _BASE_S:
            self._base = [*self._base[-1:], (now_s, rtt_s)]
        elif rtt_s < self._base[-1][1]:
            self._base[-1] = self._base[-1][0], rtt_s
