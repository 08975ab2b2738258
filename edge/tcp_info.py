"""What Linux tells of a TCP connection: TCP_INFO (tcp(7), linux/tcp.h) and SIOCOUTQ."""

import fcntl
import socket
import struct
import termios
from dataclasses import dataclass
from typing import Protocol

_INFO = struct.Struct("=16xI4xI40xI28xI16xQ20xI")
"""tcpi_snd_mss, _unacked (packets), _rtt (µs), _total_retrans (packets), _bytes_acked and _min_rtt
(µs), with what stands between them."""
_INT = struct.Struct("=i")


class Line(Protocol):
    """The part of a connected TCP socket that is asked."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """A connection at one moment; ``packet_bytes`` is what a packet carries at most.

    ``resent_packets`` are those sent again since it was made.
    """

    packet_bytes: int
    unacked_packets: int
    round_trip_s: float
    acked_bytes: int
    round_trip_s_min: float
    resent_packets: int = 0


def read_tcp_info(line: Line) -> TcpInfo | None:
    """Ask the kernel; None from one before 4.9. Raises OSError when the socket is closed."""
    told = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    if len(told) < _INFO.size:
        return None
    packet_bytes, unacked, rtt_us, resent, acked_bytes, rtt_us_min = _INFO.unpack(told)
    return TcpInfo(
        packet_bytes=packet_bytes,
        unacked_packets=unacked,
        round_trip_s=rtt_us / 1e6,
        acked_bytes=acked_bytes,
        round_trip_s_min=rtt_us_min / 1e6,
        resent_packets=resent,
    )


def read_unacked_bytes(line: socket.socket) -> int:
    """Return how much the kernel was given and the far machine has not acknowledged."""
    told = fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    (unacked,) = _INT.unpack(told)
    return int(unacked)
