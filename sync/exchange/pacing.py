"""How much may be under way on a line, so that an alarm waits little and a cut costs little.

On a slow line what is handed over piles up in front of it; a new alarm waits behind that, and a
cut loses it. The window is grown and shrunk by the time that messages take until the peer tells
that it holds them (additive measures would need many round trips of 0.7 s to find 1 Mbit/s).

Who measures the line and hands over only what it takes needs no window: what was carried and not
receipted yet costs nothing more. It tells the rate (:meth:`Pace.note_rate`), for messages that are
short on a slow line. Where connections break, messages go one at a time for a while: of each that
was not taken in whole, all is said again.
"""

from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX

PASS_MS = 2_500
"""What is under way is to have passed, and been acknowledged, in this time."""
HANDSHAKE_BYTES = 3_400
"""What TLS with two certificates passes before the first message; a line passes as much in the
time that a connection took, or more."""
WINDOW_BYTES_MIN = 4 * 1024
"""A segment goes alone however long it is, so that the smallest window still moves every log."""
SLOW_WINDOW_BYTES = 8 * 1024
MESSAGE_MS = 500
"""On a line whose rate is known a message passes in this time."""
CAREFUL_MESSAGES = 16
"""After a connection broke so many messages are to be taken before two are under way again."""


class Pace:
    """The window of one line; kept while connections come and go. Moments are monotonic ms."""

    def __init__(self) -> None:
        self._window_bytes = FIRST_BYTES_MAX
        self._changed_ms = 0
        self._bytes_a_s = 0.0
        self._careful_messages = 0

    @property
    def window_bytes(self) -> int:
        if not self._bytes_a_s:
            return self._window_bytes
        return self.message_bytes if self._careful_messages else CREDIT_BYTES

    @property
    def message_bytes(self) -> int:
        """Return how long a message may be: several share the window, so that a cut costs few."""
        passing_bytes = int(self._bytes_a_s * MESSAGE_MS / 1000)
        return min(passing_bytes or self._window_bytes // 4, CREDIT_BYTES // 4)

    def note_rate(self, bytes_a_s: float) -> None:
        """Let the caller hold back what the line, of this rate, does not take yet."""
        self._bytes_a_s = bytes_a_s

    def note_connected(self, took_ms: int) -> None:
        """Learn from how long the connection and its handshakes took."""
        estimate_bytes = HANDSHAKE_BYTES * PASS_MS // max(took_ms, 1)
        if estimate_bytes >= FIRST_BYTES_MAX:
            self._window_bytes = min(estimate_bytes, CREDIT_BYTES)
        else:
            self._window_bytes = min(self._window_bytes, max(estimate_bytes, SLOW_WINDOW_BYTES))

    def note_passed(self, sent_ms: int, taken_ms: int) -> None:
        """Learn from one message, behind which more waited, when it was acknowledged."""
        self._careful_messages = max(0, self._careful_messages - 1)
        if sent_ms < self._changed_ms:
            return  # it was sent under another window
        took_ms = taken_ms - sent_ms
        if took_ms > PASS_MS:
            self._change(self._window_bytes // 2, taken_ms)
        elif took_ms < PASS_MS // 2:
            self._change(self._window_bytes * 2, taken_ms)

    def note_loss(self, now_ms: int, *, is_harmless: bool = False) -> None:
        """Begin again with a short message: the line was cut.

        ``is_harmless``: it was silent, and nothing was under way: that cost nothing.
        """
        self._careful_messages = self._careful_messages if is_harmless else CAREFUL_MESSAGES
        self._change(min(self._window_bytes // 2, FIRST_BYTES_MAX), now_ms)

    def _change(self, window_bytes: int, now_ms: int) -> None:
        self._window_bytes = min(max(window_bytes, WINDOW_BYTES_MIN), CREDIT_BYTES)
        self._changed_ms = now_ms
