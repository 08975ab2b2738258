"""How much may be under way on a line, so that an alarm waits little and a cut costs little.

On a slow line what is handed over piles up in front of it; a new alarm waits behind that, and a
cut loses it. The window is grown and shrunk by the time that messages take until the peer tells
that it holds them (additive measures would need many round trips of 0.7 s to find 1 Mbit/s).
"""

from sync.exchange.session import CREDIT_BYTES, FIRST_BYTES_MAX

PASS_MS = 2_500
"""What is under way is to have passed, and been acknowledged, in this time."""
HANDSHAKE_BYTES = 3_400
"""What TLS with two certificates passes before the first message; a line passes as much in the
time that a connection took, or more."""
WINDOW_BYTES_MIN = 4 * 1024
"""A segment goes alone however long it is, so that the smallest window still moves every log."""
SLOW_WINDOW_BYTES = 8 * 1024


class Pace:
    """The window of one line; kept while connections come and go. Moments are monotonic ms."""

    def __init__(self) -> None:
        self._window_bytes = FIRST_BYTES_MAX
        self._changed_ms = 0

    @property
    def window_bytes(self) -> int:
        return self._window_bytes

    @property
    def message_bytes(self) -> int:
        """Return how long a message may be: several share the window, so that a cut costs few."""
        return self._window_bytes // 4

    def note_connected(self, took_ms: int) -> None:
        """Learn from how long the connection and its handshakes took."""
        estimate_bytes = HANDSHAKE_BYTES * PASS_MS // max(took_ms, 1)
        if estimate_bytes >= FIRST_BYTES_MAX:
            self._window_bytes = min(estimate_bytes, CREDIT_BYTES)
        else:
            self._window_bytes = min(self._window_bytes, max(estimate_bytes, SLOW_WINDOW_BYTES))

    def note_passed(self, sent_ms: int, taken_ms: int) -> None:
        """Learn from one message, behind which more waited, when it was acknowledged."""
        if sent_ms < self._changed_ms:
            return  # it was sent under another window
        took_ms = taken_ms - sent_ms
        if took_ms > PASS_MS:
            self._change(self._window_bytes // 2, taken_ms)
        elif took_ms < PASS_MS // 2:
            self._change(self._window_bytes * 2, taken_ms)

    def note_loss(self, now_ms: int) -> None:
        """Begin again with a short message: the line was cut."""
        self._change(min(self._window_bytes // 2, FIRST_BYTES_MAX), now_ms)

    def _change(self, window_bytes: int, now_ms: int) -> None:
        self._window_bytes = min(max(window_bytes, WINDOW_BYTES_MIN), CREDIT_BYTES)
        self._changed_ms = now_ms
