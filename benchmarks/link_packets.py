"""IPv4 and TCP as far as a relay must read them, and the reset that it may answer with.

RFC 791, RFC 9293; packets are whole IPv4 packets without any link header.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

_TCP = 6
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_TCP_HEADER = struct.Struct("!HHIIBBHHH")
_FRAGMENT_MASK = 0x3FFF  # more fragments, and the offset
_TTL = 64

Address = tuple[IPv4Address, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpPacket:
    """``seq`` and ``ack`` as in the header; ``payload_bytes`` is the length of the data."""

    source: Address
    target: Address
    seq: int
    ack: int
    flags: int
    payload_bytes: int

    @property
    def is_syn(self) -> bool:
        return bool(self.flags & _SYN)

    @property
    def is_reset(self) -> bool:
        return bool(self.flags & _RST)

    @property
    def acknowledges(self) -> bool:
        return bool(self.flags & _ACK)

    @property
    def next_seq(self) -> int:
        """The sequence number after this packet; SYN and FIN take one each."""
        taken = self.payload_bytes + bool(self.flags & _SYN) + bool(self.flags & _FIN)
        return (self.seq + taken) % 2**32


def read_tcp(packet: bytes) -> TcpPacket | None:
    """Return what an IPv4 packet says of TCP; None when it is something else, or a fragment."""
    if len(packet) < _IP_HEADER.size or packet[0] >> 4 != 4:  # noqa: PLR2004 - IP's version
        return None
    first, _, length, _, fragment, _, protocol, _, source, target = _IP_HEADER.unpack_from(packet)
    start = (first & 0x0F) * 4
    if protocol != _TCP or fragment & _FRAGMENT_MASK or length > len(packet):
        return None
    if start < _IP_HEADER.size or length < start + _TCP_HEADER.size:
        return None
    source_port, target_port, seq, ack, offset, flags, *_ = _TCP_HEADER.unpack_from(packet, start)
    payload_bytes = length - start - (offset >> 4) * 4
    if payload_bytes < 0:
        return None
    return TcpPacket(
        source=(IPv4Address(source), source_port),
        target=(IPv4Address(target), target_port),
        seq=seq,
        ack=ack,
        flags=flags,
        payload_bytes=payload_bytes,
    )


def answering_reset(heard: TcpPacket) -> bytes:
    """Return the reset to whoever sent ``heard``, as from the other end (RFC 9293, 3.10.7.1)."""
    if heard.acknowledges:
        return _build_reset(heard.target, heard.source, seq=heard.ack, ack=None)
    return _build_reset(heard.target, heard.source, seq=0, ack=heard.next_seq)


def _build_reset(source: Address, target: Address, *, seq: int, ack: int | None) -> bytes:
    flags = _RST if ack is None else _RST | _ACK
    fields = (source[1], target[1], seq, ack or 0, 5 << 4, flags, 0)
    tcp = _TCP_HEADER.pack(*fields, 0, 0)
    ends = source[0].packed + target[0].packed
    pseudo = ends + struct.pack("!BBH", 0, _TCP, len(tcp))
    tcp = _TCP_HEADER.pack(*fields, _checksum(pseudo + tcp), 0)
    length = _IP_HEADER.size + len(tcp)
    ip = _IP_HEADER.pack(0x45, 0, length, 0, 0, _TTL, _TCP, 0, source[0].packed, target[0].packed)
    check = struct.pack("!H", _checksum(ip))
    return ip[:10] + check + ip[12:] + tcp


def _checksum(data: bytes) -> int:
    """RFC 1071; the lengths here are even."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
