import socket
import struct

import pytest

from edge.line_progress import SILENT_ROUND_TRIPS, LineProgress


class ToldLine:
    """What a kernel would tell of a connection: struct tcp_info of linux/tcp.h."""

    def __init__(self, round_trip_ms: int = 700) -> None:
        self.unacked = 0
        self.acked_bytes = 0
        self.round_trip_us = round_trip_ms * 1000

    def getsockopt(self, _level: int, _option: int, size: int, /) -> bytes:
        info = bytearray(size)
        struct.pack_into("=I", info, 24, self.unacked)
        struct.pack_into("=I", info, 68, self.round_trip_us)
        struct.pack_into("=Q", info, 120, self.acked_bytes)
        return bytes(info)


def test_a_line_that_acknowledges_packet_by_packet_is_never_silent_however_slow() -> None:
    line = ToldLine()
    progress = LineProgress(line, 0.0)
    line.unacked = 10
    for moment in range(1, 100):
        line.acked_bytes += 1448
        assert progress.silent_s(float(moment)) == 0.0


def test_a_line_is_silent_from_when_it_acknowledged_last_or_was_given_something_to() -> None:
    line = ToldLine(round_trip_ms=1000)
    progress = LineProgress(line, 0.0)
    assert progress.silent_s(60.0) == 0.0
    line.unacked = 1
    assert progress.silent_s(60.0 + SILENT_ROUND_TRIPS) == 0.0
    assert progress.silent_s(62.0) == 2.0
    line.acked_bytes += 1
    assert progress.silent_s(63.0) == 0.0
    assert progress.silent_s(67.0) == 4.0


def test_a_line_with_long_queues_is_given_its_round_trips() -> None:
    line = ToldLine(round_trip_ms=10_000)
    progress = LineProgress(line, 0.0)
    assert progress.silent_s(0.0) == 0.0
    line.unacked = 1
    assert progress.silent_s(10 * SILENT_ROUND_TRIPS) == 0.0
    assert progress.silent_s(10 * SILENT_ROUND_TRIPS + 1) > 10.0


def test_a_line_that_is_only_being_called_has_the_callers_patience() -> None:
    line = ToldLine(round_trip_ms=0)
    line.unacked = 1
    assert LineProgress(line, 0.0).silent_s(60.0) == 0.0


def test_a_real_kernel_tells_an_idle_line_from_a_closed_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        progress = LineProgress(near, 0.0)
        near.sendall(b"hello")
        assert far.recv(5) == b"hello"
        assert progress.silent_s(1.0) == 0.0
        assert progress.silent_s(1000.0) == 0.0
    with pytest.raises(OSError, match="Bad file"):
        progress.silent_s(1001.0)
