"""What a capture of a link tells of its TCP connections: bytes sent, and how often again."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.link_packets import Address, TcpPacket, read_tcp

_FILE_HEAD_BYTES = 24
_PACKET_HEAD = struct.Struct("<IIII")
_HALF = 2**31


@dataclass(slots=True)
class Sender:
    """What one end of a connection sent.

    ``ip_bytes`` counts whole packets, those of them that vanished too; ``stream_bytes`` is how
    far the stream got, each byte once. ``handshake_ip_bytes`` are of ``ip_bytes``: what carried
    the stream up to a mark that the reader sets, and the packets before either end passed its own.
    """

    mark: int
    packets: int = 0
    ip_bytes: int = 0
    stream_bytes: int = 0
    handshake_ip_bytes: int = 0
    first_seq: int | None = None


@dataclass(slots=True)
class Flow:
    """One connection, from its first packet; ``up`` is what its caller sent."""

    up: Sender
    down: Sender

    @property
    def is_handshake(self) -> bool:
        return all(end.stream_bytes <= end.mark for end in (self.up, self.down))


def read_capture(path: Path, up_mark: int = 0, down_mark: int = 0) -> list[Flow]:
    """Return the connections of a capture, in the order in which they were opened.

    The marks say how many bytes of each stream belong to the handshake.
    """
    flows: dict[tuple[Address, Address], Flow] = {}
    opened: list[Flow] = []
    for packet in _packets(path.read_bytes()):
        tcp = read_tcp(packet)
        if tcp is None:
            continue
        known = flows.get((tcp.source, tcp.target))
        # A port may serve again; another SYN with another number is another connection.
        if tcp.is_syn and not tcp.acknowledges and (known is None or _is_new(known, tcp)):
            known = Flow(Sender(up_mark), Sender(down_mark))
            opened.append(known)
            flows[tcp.source, tcp.target] = known
        if known is not None:
            _count(known, known.up, tcp, len(packet))
        elif (known := flows.get((tcp.target, tcp.source))) is not None:
            _count(known, known.down, tcp, len(packet))
    return opened


def _packets(capture: bytes) -> Iterator[bytes]:
    place = _FILE_HEAD_BYTES
    while place < len(capture):
        _, _, size, _ = _PACKET_HEAD.unpack_from(capture, place)
        place += _PACKET_HEAD.size
        yield capture[place : place + size]
        place += size


def _is_new(flow: Flow, tcp: TcpPacket) -> bool:
    return flow.up.first_seq != (tcp.seq + 1) % 2**32


def _count(flow: Flow, sender: Sender, tcp: TcpPacket, size: int) -> None:
    sender.packets += 1
    sender.ip_bytes += size
    if tcp.is_syn:
        sender.first_seq = (tcp.seq + 1) % 2**32
    beyond = 0
    if sender.first_seq is not None and tcp.payload_bytes:
        reached = (tcp.seq + tcp.payload_bytes - sender.first_seq) % 2**32
        if reached < _HALF:
            sender.stream_bytes = max(sender.stream_bytes, reached)
            beyond = min(tcp.payload_bytes, max(0, reached - sender.mark))
    if flow.is_handshake:
        sender.handshake_ip_bytes += size
    else:
        sender.handshake_ip_bytes += tcp.payload_bytes - beyond
