"""What a connection's link carries and how long it lets bytes wait, from what the kernel counts."""

import socket
from dataclasses import dataclass

from sync.lessons.tcp_connection import find_tcp_info

UNSENT_BYTES_MAX = 6 * 1024
UNSENT_S = 0.025
"""BBR keeps four packets under way while it looks how long the link is (PROBE_RTT): what waits for
that goes before sound."""
PIECE_S = 0.05
PIECE_BYTES_MIN, PIECE_BYTES_MAX = 1200, 16 * 1024  # a packet's worth, and what none need exceed
PIECE_BYTES_UNKNOWN = 4096
WINDOW_S = 1.0
WAIT_S_MAX = 0.15
"""Catch-up rests while packets wait longer than this on the way, for live would wait with them."""
IDLE_S_MAX = 0.05
LOOK_S = 0.05
ACK_DELAY_S = 0.04  # Linux: the shortest time by which an acknowledgement is put off
STANDING_S = 0.03
PICTURE_BYTES_MIN, PICTURE_BYTES_MAX = 10 * 1024, 32 * 1024
PICTURE_S = 0.2
"""So much of the link's time may be under way beside what it holds: more would stand before sound
once the link, after it sent next to nothing for half a second (BBR's PROBE_RTT), sends it all."""
NEAR_S_MAX, NEAR_BYTES_MAX = 0.005, 256 * 1024
"""On a LAN nothing waits on the way, and whole keyframes may go."""
FULL_SHARE = 0.5
BASE_S_MAX = 0.6  # by satellite
STRETCH_S = 2.5


@dataclass(frozen=True, slots=True)
class Reading:
    """What the kernel tells of a connection.

    ``acked_bytes``: acknowledged since it began. ``silent_s``: since when nothing was acknowledged
    although something is under way, 0 when nothing is.
    """

    acked_bytes: int
    rtt_s: float
    silent_s: float = 0.0


def read_link(connection: socket.socket | None) -> Reading | None:
    """Ask the kernel; None for a connection that is gone or is not TCP."""
    info = find_tcp_info(connection)
    if info is None:
        return None
    return Reading(
        info.acked_bytes, info.round_trip_s, info.quiet_s if info.unacked_packets else 0.0
    )


class LinkGauge:
    """Judges one connection by its readings; pure, all times of one monotonic clock."""

    def __init__(self) -> None:
        self._looked_s: float | None = None
        self._window: tuple[float, int] | None = None
        self._rate: float | None = None  # of the last second: no less the link can carry
        self._rtt_s = 0.0
        self._silent_s = 0.0
        self._base_s = 0.0
        self._stretch_s = 0.0
        self._stretch_began_s = 0.0
        self._is_stirred = False
        self._caught_up = False
        self._full_s = 0.0

    @property
    def piece_bytes(self) -> int:
        """Return how much of a record goes at once: about 50 ms of the link."""
        if self._rate is None:
            return PIECE_BYTES_UNKNOWN
        return min(PIECE_BYTES_MAX, max(PIECE_BYTES_MIN, int(self._rate * PIECE_S)))

    @property
    def unsent_bytes_max(self) -> int:
        """Return how much may wait in the kernel: about 25 ms of the link, at most 6 KB."""
        if self._rate is None:
            return UNSENT_BYTES_MAX
        return min(UNSENT_BYTES_MAX, max(PIECE_BYTES_MIN, int(self._rate * UNSENT_S)))

    @property
    def catch_up_bytes_max(self) -> int:
        """Return how much may be under way for catch-up to go: a little more than the link holds.

        The kernel would send more: BBR remembers the rate of a better link while little is sent.
        """
        held = (self._rate or 0.0) * (min(self._base_s, BASE_S_MAX) + STANDING_S)
        return int(held) + self.piece_bytes

    @property
    def picture_bytes_max(self) -> int:
        """Return how much may be under way for picture to go: little more than the link holds.

        A keyframe at once while nothing is known of the link, or where nothing can wait on it.
        """
        if self._base_s < NEAR_S_MAX and not self.is_crowded:
            return max(NEAR_BYTES_MAX, self.catch_up_bytes_max)
        most = max(PICTURE_BYTES_MAX, self.catch_up_bytes_max)
        if self._rate is None:
            return most
        held = self._rate * (min(self._base_s, BASE_S_MAX) + PICTURE_S)
        return min(most, max(PICTURE_BYTES_MIN, int(held)))

    @property
    def is_crowded(self) -> bool:
        """Tell whether what is sent waits on the way, so that catch-up has to rest."""
        return self._wait_s > WAIT_S_MAX

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing that is sent waits on the way."""
        return self._wait_s < IDLE_S_MAX

    @property
    def _wait_s(self) -> float:
        # What never empties cannot tell its own length: a longer way than that is a queue.
        base_s = min(self._base_s, BASE_S_MAX)
        return max(self._rtt_s, self._silent_s - ACK_DELAY_S) - base_s

    def is_due(self, now_s: float) -> bool:
        return self._looked_s is None or now_s - self._looked_s >= LOOK_S

    def note_catch_up(self) -> None:
        """Take in that catch-up was sent."""
        self._caught_up = self._is_stirred = True

    def note_held(self) -> None:
        """Take in that catch-up would have been sent but for the crowd."""
        self._caught_up = True

    def note_full(self, lasts_s: float) -> None:
        """Take in that the connection took nothing for so long."""
        self._full_s += lasts_s

    def note(self, reading: Reading, now_s: float) -> tuple[float, bool] | None:
        """Take in a reading; once a second return (bytes a second, whether it was full)."""
        self._looked_s = now_s
        self._silent_s = reading.silent_s
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
        probed = self._caught_up or self._full_s > FULL_SHARE * (now_s - began_s)
        self._caught_up, self._full_s = False, 0.0
        return self._rate, probed

    def _keep_base(self, rtt_s: float, now_s: float) -> None:
        """Follow a way that grew longer, once 2.5 s without catch-up showed it to be no queue."""
        self._base_s = min(self._base_s or rtt_s, rtt_s)
        self._stretch_s = min(self._stretch_s or rtt_s, rtt_s)
        if now_s - self._stretch_began_s >= STRETCH_S:
            if not self._is_stirred:
                self._base_s = self._stretch_s
            self._stretch_began_s, self._stretch_s, self._is_stirred = now_s, rtt_s, False
