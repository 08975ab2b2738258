"""What the kernel tells of a connection, by its header's places and by a real one."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sync.lessons.link_gauge import Reading, read_link
from sync.lessons.tcp_connection import (
    TcpInfo,
    find_tcp_info,
    read_tcp_info,
    unacknowledged_bytes,
    under_way_bytes,
    unsent_bytes,
)


class ToldConnection(socket.socket):
    """A socket of which the kernel tells what is put at the places of linux/tcp.h."""

    def __init__(self, told: dict[int, int]) -> None:
        super().__init__()
        self.told = told

    def getsockopt(self, _level: int, _option: int, size: int = 0, /) -> bytes:  # type: ignore[override]  # the one form that is asked
        info = bytearray(size)
        for place, figure in self.told.items():
            struct.pack_into("=Q" if place == 120 else "=I", info, place, figure)
        return bytes(info)


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


def test_a_connection_is_told_in_the_kernels_own_places() -> None:
    told = {16: 1448, 24: 7, 28: 5, 56: 250, 68: 80_000, 100: 3, 120: 2**40, 148: 20_000}
    with ToldConnection(told) as connection:
        assert read_tcp_info(connection) == TcpInfo(
            packet_bytes=1448,
            unacked_packets=7,
            sacked_packets=5,
            quiet_s=0.25,
            round_trip_s=0.08,
            resent_packets=3,
            acked_bytes=2**40,
            round_trip_s_min=0.02,
        )


def test_a_link_is_silent_only_while_something_is_to_be_acknowledged() -> None:
    with ToldConnection({24: 7, 56: 250, 68: 80_000, 120: 5000}) as connection:
        assert read_link(connection) == Reading(5000, 0.08, silent_s=0.25)
        connection.told[24] = 0
        assert read_link(connection) == Reading(5000, 0.08, silent_s=0.0)


def test_a_real_kernel_tells_what_it_was_given_and_what_was_acknowledged() -> None:
    with connected() as (near, _):
        near.setblocking(False)
        assert unacknowledged_bytes(near) == 0
        given = near.send(bytes(4_000_000))
        info = read_tcp_info(near)
        assert info is not None
        assert 0 < unacknowledged_bytes(near) <= given
        assert info.packet_bytes > 0
        assert 0 < info.round_trip_s_min < 1


def test_what_arrived_behind_a_lost_packet_is_not_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as far, ToldConnection({24: 20, 28: 15}) as told:
        told.connect(far.getsockname())
        told.setblocking(False)
        told.send(bytes(4_000_000))
        sent = unacknowledged_bytes(told) - unsent_bytes(told)
        assert sent > 0
        assert under_way_bytes(told) == unacknowledged_bytes(told) - sent * 3 // 4
        told.told[28] = 0
        assert under_way_bytes(told) == unacknowledged_bytes(told)


def test_nothing_is_told_of_what_is_gone_or_is_no_tcp_connection() -> None:
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        assert find_tcp_info(near) is None
    with connected() as (closed, _):
        pass
    for gone in (closed, None):
        assert find_tcp_info(gone) is None
        assert read_link(gone) is None
        assert unsent_bytes(gone) == unacknowledged_bytes(gone) == 0
        assert under_way_bytes(gone) == 0
    with pytest.raises(OSError, match="Bad file"):
        read_tcp_info(closed)
