"""What a line is handed, on made lines of one rate and round trip."""

from collections import deque

import pytest

from edge.line_room import OVERHEAD_BYTES, LineRoom
from sync.lessons.tcp_connection import TcpInfo

PACKET_BYTES = 1448
PART_BYTES = PACKET_BYTES - OVERHEAD_BYTES
STEP_S = 0.05


class MadeLine:
    """Carries ``bytes_a_s`` one after the other; each packet is acknowledged a round trip later."""

    def __init__(self, bytes_a_s: float, round_trip_s: float, known_bytes_a_s: float) -> None:
        self.bytes_a_s = bytes_a_s
        self.round_trip_s = round_trip_s
        self.room = LineRoom(known_bytes_a_s)
        self.now_s = 0.0
        self.sent_bytes = self.acked_bytes = 0
        self.parts: list[int] = []
        self.most_unacked_bytes = 0
        self._free_s = 0.0
        self._under_way: deque[tuple[float, int]] = deque()  # (acknowledged at, bytes)

    @property
    def unacked_bytes(self) -> int:
        return self.sent_bytes - self.acked_bytes

    def carry(self, waiting_bytes: int, until_s: float) -> int:
        """Hand over what there is room for until a moment; return what still waits then."""
        while self.now_s < until_s:
            self._hear()
            queued_s = max(0.0, self._free_s - self.now_s)
            info = TcpInfo(
                packet_bytes=PACKET_BYTES,
                unacked_packets=len(self._under_way),
                round_trip_s=self.round_trip_s + queued_s,
                acked_bytes=self.acked_bytes,
                round_trip_s_min=self.round_trip_s,
            )
            part = self.room.part_bytes(waiting_bytes, info, self.unacked_bytes, self.now_s)
            if part:
                self.parts.append(part)
                waiting_bytes -= part
                self._send(part)
            if not part or not waiting_bytes:
                self.now_s += STEP_S
        return waiting_bytes

    def cut(self, until_s: float) -> None:
        """Let everything under way arrive only after a moment."""
        self._free_s = until_s
        lost, self._under_way = self._under_way, deque()
        for _, size in lost:
            self._queue(size)

    def _send(self, part: int) -> None:
        self.sent_bytes += part
        for begin in range(0, part, PART_BYTES):
            self._queue(min(PART_BYTES, part - begin))
        self.most_unacked_bytes = max(self.most_unacked_bytes, self.unacked_bytes)

    def _queue(self, size: int) -> None:
        self._free_s = max(self._free_s, self.now_s) + size / self.bytes_a_s
        self._under_way.append((self._free_s + self.round_trip_s, size))

    def _hear(self) -> None:
        while self._under_way and self._under_way[0][0] <= self.now_s:
            self.acked_bytes += self._under_way.popleft()[1]


def test_a_slow_line_is_kept_busy_with_little_under_way() -> None:
    line = MadeLine(3_750, 0.7, known_bytes_a_s=1_200)
    line.carry(1_000_000, 60.0)
    assert line.acked_bytes > 0.93 * 3_750 * 60
    assert line.most_unacked_bytes <= 3 * PACKET_BYTES


@pytest.mark.parametrize("known_bytes_a_s", [300.0, 60_000.0])
def test_a_rate_that_was_taken_for_another_is_soon_found(known_bytes_a_s: float) -> None:
    line = MadeLine(12_000, 0.3, known_bytes_a_s)
    line.carry(1_000_000, 15.0)
    assert line.room.bytes_a_s == pytest.approx(12_000, rel=0.2)


def test_a_fast_line_is_handed_all_that_waits() -> None:
    line = MadeLine(12_500_000, 0.002, known_bytes_a_s=400_000)
    assert line.carry(64 * 1024, 0.01) == 0
    assert line.parts == [64 * 1024]


def test_packets_are_full_but_for_the_end_of_what_waits() -> None:
    line = MadeLine(3_750, 0.7, known_bytes_a_s=1_200)
    assert line.carry(20_000, 30.0) == 0
    assert all(part % PART_BYTES == 0 for part in line.parts[:-1])


def test_a_line_that_is_handed_little_keeps_its_rate() -> None:
    line = MadeLine(12_500_000, 0.002, known_bytes_a_s=400_000)
    for second in range(1, 30):
        assert line.carry(100, float(second)) == 0
    assert line.room.bytes_a_s >= 400_000


def test_a_line_that_was_idle_within_a_round_trip_keeps_its_rate() -> None:
    line = MadeLine(12_500_000, 0.3, known_bytes_a_s=400_000)
    line.carry(100, 0.1)
    line.carry(1_000_000, 0.4)
    assert 0 < line.acked_bytes < 200
    assert line.room.bytes_a_s == 400_000


def test_a_line_that_was_idle_is_measured_again_once_more_waits() -> None:
    line = MadeLine(3_750, 0.3, known_bytes_a_s=60_000)
    for second in range(1, 5):
        line.carry(100, float(second))
    line.carry(1_000_000, 60.0)
    assert line.room.bytes_a_s == pytest.approx(3_750, rel=0.2)


def test_after_a_cut_the_line_is_soon_as_busy_as_before() -> None:
    line = MadeLine(3_750, 0.7, known_bytes_a_s=1_200)
    line.carry(1_000_000, 20.0)
    line.cut(24.0)
    line.carry(1_000_000, 28.0)
    before_bytes = line.acked_bytes
    line.carry(1_000_000, 48.0)
    assert line.acked_bytes - before_bytes > 0.9 * 3_750 * 20
    assert line.most_unacked_bytes <= 4 * PACKET_BYTES
