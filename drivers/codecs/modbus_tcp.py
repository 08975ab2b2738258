"""Modbus TCP: PDUs with a header that numbers them.

Source: MODBUS Messaging on TCP/IP V1.0b (MBAP, §3.1.3).
"""

import struct
from dataclasses import dataclass

from drivers.codecs.modbus import (
    REQUEST_PDU_MIN,
    Reply,
    Request,
    parse_reply,
    parse_request,
    reply_pdu,
    reply_pdu_length,
    request_pdu,
    request_pdu_length,
)
from drivers.errors import ProtocolError

MBAP_BYTES = 7


def encode_tcp(request: Request, transaction: int) -> bytes:
    """Return the TCP frame of a request; ``transaction`` comes back with the reply."""
    pdu = request_pdu(request)
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, request.unit) + pdu


@dataclass(frozen=True, slots=True)
class TcpFrame:
    """One frame of a Modbus TCP connection, of either direction."""

    transaction: int
    unit: int
    pdu: bytes


class TcpFrameDecoder:
    """Takes a connection's bytes and gives its frames; one decoder a connection.

    ProtocolError: the stream is not Modbus TCP, and nothing after it can be understood.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[TcpFrame]:
        """Return the frames that are complete now."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= MBAP_BYTES:
            transaction, protocol, length, unit = struct.unpack_from(">HHHB", self._buffer)
            if protocol != 0 or not 3 <= length <= 254:  # noqa: PLR2004 — unit and PDU of 2..253
                raise ProtocolError(f"no Modbus header: protocol {protocol}, length {length}")
            if len(self._buffer) < length + 6:
                break
            pdu = bytes(self._buffer[MBAP_BYTES : length + 6])
            del self._buffer[: length + 6]
            frames.append(TcpFrame(transaction, unit, pdu))
        return frames


def read_tcp_reply(request: Request, frame: TcpFrame) -> Reply:
    """Return what a frame with the request's transaction says; ProtocolError if it cannot be."""
    pdu = frame.pdu
    if frame.unit != request.unit:
        raise ProtocolError(f"unit {frame.unit} answered, unit {request.unit} was asked")
    if pdu[0] == request.function | 0x80:
        expected = 2
    elif pdu[0] == request.function:
        expected = reply_pdu_length(request)
    else:
        raise ProtocolError(f"function {pdu[0]} came, {request.function} was asked")
    if len(pdu) != expected:
        raise ProtocolError(f"{len(pdu)} bytes came where {expected} make the reply")
    return parse_reply(request, pdu)


def read_tcp_request(frame: TcpFrame) -> Request:
    """Return what a client asks.

    ProtocolError: the frame holds no request of functions 1-6, 15 or 16.
    """
    pdu = frame.pdu
    if len(pdu) < REQUEST_PDU_MIN or len(pdu) != request_pdu_length(pdu):
        raise ProtocolError(f"{len(pdu)} bytes are no whole request")
    return parse_request(frame.unit, pdu)


def encode_reply_tcp(request: Request, reply: Reply, transaction: int) -> bytes:
    """Return the TCP frame by which a device answers ``request`` with ``reply``."""
    pdu = reply_pdu(request, reply)
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, reply.unit) + pdu
