from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX
from sync.exchange.pacing import (
    CAREFUL_MESSAGES,
    PASS_MS,
    SLOW_WINDOW_BYTES,
    WINDOW_BYTES_MIN,
    Pace,
)


class Line:
    """A line of some bytes a second and a round trip; messages fill the window, one at a time."""

    def __init__(self, bytes_a_s: int, round_trip_ms: int) -> None:
        self.bytes_a_s = bytes_a_s
        self.round_trip_ms = round_trip_ms
        self.now_ms = 0

    def passes(self, size: int) -> int:
        return self.round_trip_ms + size * 1000 // self.bytes_a_s

    def connect(self, pace: Pace) -> None:
        took_ms = self.passes(3400) + self.round_trip_ms
        self.now_ms += took_ms
        pace.note_connected(took_ms)

    def carry(self, pace: Pace, messages: int) -> None:
        for _ in range(messages):
            sent_ms = self.now_ms
            self.now_ms += self.passes(pace.window_bytes)
            pace.note_passed(sent_ms, self.now_ms)


def test_a_slow_line_gets_windows_that_pass_in_seconds() -> None:
    pace, line = Pace(), Line(3_750, 700)
    line.connect(pace)
    assert pace.window_bytes == SLOW_WINDOW_BYTES
    line.carry(pace, 20)
    assert line.passes(pace.window_bytes) <= PASS_MS


def test_a_fast_line_soon_gets_all_that_the_peer_may_credit() -> None:
    pace, line = Pace(), Line(12_500_000, 4)
    line.connect(pace)
    line.carry(pace, 5)
    assert pace.window_bytes == CREDIT_BYTES


def test_a_line_that_turns_slow_is_noticed_and_one_that_recovers_too() -> None:
    pace, line = Pace(), Line(1_000_000, 20)
    line.carry(pace, 10)
    assert pace.window_bytes == CREDIT_BYTES
    line.bytes_a_s = 3_750
    line.carry(pace, 10)
    assert line.passes(pace.window_bytes) <= PASS_MS
    line.bytes_a_s = 1_000_000
    line.carry(pace, 10)
    assert pace.window_bytes == CREDIT_BYTES


def test_several_messages_sent_under_one_window_change_it_once() -> None:
    pace = Pace()
    for _ in range(4):
        pace.note_passed(0, 60_000)
    assert pace.window_bytes == FIRST_BYTES_MAX // 2


def test_after_a_cut_it_begins_short_but_never_below_its_least() -> None:
    pace, line = Pace(), Line(12_500_000, 4)
    line.connect(pace)
    for cut in range(10):
        pace.note_loss(cut)
        assert WINDOW_BYTES_MIN <= pace.window_bytes <= FIRST_BYTES_MAX
    assert pace.window_bytes == WINDOW_BYTES_MIN


def test_who_hands_over_only_what_the_line_takes_may_have_the_whole_credit_under_way() -> None:
    slow, fast = Pace(), Pace()
    slow.note_rate(3_750)
    fast.note_rate(12_500_000)
    assert slow.window_bytes == fast.window_bytes == CREDIT_BYTES
    assert slow.message_bytes <= 2 * 1024 < fast.message_bytes


def test_after_a_connection_broke_messages_go_one_at_a_time_for_a_while() -> None:
    pace = Pace()
    pace.note_rate(3_750)
    pace.note_loss(0)
    for _ in range(CAREFUL_MESSAGES):
        assert pace.window_bytes == pace.message_bytes
        pace.note_passed(0, 1_000)
    assert pace.window_bytes == CREDIT_BYTES


def test_a_silence_that_cost_nothing_makes_nobody_careful() -> None:
    pace = Pace()
    pace.note_rate(3_750)
    pace.note_loss(0, is_harmless=True)
    assert pace.window_bytes == CREDIT_BYTES
