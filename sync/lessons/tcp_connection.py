"""What Linux tells of a TCP connection, and what it is asked to do with one.

TCP_INFO (tcp(7), linux/tcp.h), SIOCOUTQ and SIOCOUTQNSD (linux/sockios.h).
"""

import contextlib
import fcntl
import socket
import struct
import termios
from array import array
from typing import Protocol

import msgspec

_INFO = struct.Struct("=16xI4xII24xI8xI28xI16xQ20xI")
"""tcpi_snd_mss, _unacked, _sacked (packets), _last_ack_recv (ms since), _rtt (µs), _total_retrans
(packets), _bytes_acked and _min_rtt (µs), with what stands between them."""
FEW_BYTES = 8 * 1024
"""Less is under way on any line: it is not asked what of it arrived."""
_SIOCOUTQNSD = 0x894B  # bytes in the send queue that were not sent yet


class Line(Protocol):
    """The part of a connected TCP socket that is asked."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


class TcpInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A connection at one moment; ``packet_bytes`` is what a packet carries at most.

    ``sacked_packets``: those of the unacknowledged that arrived behind a lost one (RFC 2018).
    ``quiet_s``: since when nothing was acknowledged, be it that there is nothing to acknowledge.
    ``resent_packets`` are those sent again since it was made.
    """

    packet_bytes: int
    unacked_packets: int
    sacked_packets: int = 0
    round_trip_s: float
    acked_bytes: int
    round_trip_s_min: float
    quiet_s: float = 0.0
    resent_packets: int = 0


def read_tcp_info(line: Line) -> TcpInfo | None:
    """Ask the kernel; None from one before 4.9. Raises OSError when the socket is closed."""
    told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    if len(told) < _INFO.size:
        return None
    packet_bytes, unacked, sacked, quiet_ms, rtt_us, resent, acked_bytes, rtt_us_min = _INFO.unpack(
        told
    )
    return TcpInfo(
        packet_bytes=packet_bytes,
        unacked_packets=unacked,
        sacked_packets=sacked,
        round_trip_s=rtt_us / 1e6,
        acked_bytes=acked_bytes,
        round_trip_s_min=rtt_us_min / 1e6,
        quiet_s=quiet_ms / 1e3,
        resent_packets=resent,
    )


def find_tcp_info(connection: socket.socket | None) -> TcpInfo | None:
    """Return the same; None also for a connection that is gone or is not TCP."""
    if connection is None or connection.fileno() < 0:
        return None
    try:
        return read_tcp_info(connection)
    except OSError:
        return None


def unsent_bytes(connection: socket.socket | None) -> int:
    """Return what the kernel has taken and not yet sent; 0 for a socket that is gone."""
    return _queued(connection, _SIOCOUTQNSD)


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """Return what the kernel has taken and the other end has not yet; 0 for one that is gone."""
    return _queued(connection, termios.TIOCOUTQ)


def under_way_bytes(connection: socket.socket | None) -> int:
    """Return the same without what arrived behind a lost packet, by the packets' mean length."""
    unacked = unacknowledged_bytes(connection)
    told = find_tcp_info(connection) if unacked > FEW_BYTES else None
    if told is None or not told.sacked_packets:
        return unacked
    sent = unacked - unsent_bytes(connection)
    return unacked - sent * told.sacked_packets // max(told.unacked_packets, 1)


def give_up_after(connection: socket.socket | None, dead_ms: int) -> None:
    """End a connection whose other end acknowledges nothing for so long (RFC 5482 §3)."""
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_ms)


def prefer_bbr(connection: socket.socket | None) -> str:
    """Ask for BBR on this connection and return the congestion control it then has.

    BBR keeps the queue in the network short where cubic fills it for seconds; a kernel without it
    keeps what it has.
    """
    if connection is None:
        return ""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
    with contextlib.suppress(OSError):
        name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        return name.rstrip(b"\x00").decode("ascii", "replace")
    return ""


def _queued(connection: socket.socket | None, request: int) -> int:
    if connection is None or connection.fileno() < 0:
        return 0
    count = array("i", (0,))  # what can be written to: bytes cost ioctl() seven times as much
    try:
        fcntl.ioctl(connection.fileno(), request, count)
    except OSError:
        return 0
    return count[0]
