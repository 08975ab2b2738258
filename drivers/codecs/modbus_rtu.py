"""Modbus on a serial line: unit, PDU and checksum.

Source: MODBUS over Serial Line V1.02 (CRC, §6.2.2).
"""

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

RTU_FRAME_MAX = 256
RTU_REPLY_MIN = 5


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray) -> bytes:
    """Return the two CRC bytes in wire order, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def encode_rtu(request: Request) -> bytes:
    """Return the RTU frame of a request; ValueError when the standard forbids its numbers."""
    body = bytes((request.unit,)) + request_pdu(request)
    return body + crc16(body)


def encode_reply_rtu(request: Request, reply: Reply) -> bytes:
    """Return the RTU frame by which a device answers ``request`` with ``reply``."""
    body = bytes((reply.unit,)) + reply_pdu(request, reply)
    return body + crc16(body)


class RtuReplyDecoder:
    """Takes the bytes that follow one request and gives its reply, or an error, once.

    Unit, function, length and CRC must all fit and nothing may follow the frame: whatever else
    arrives is an error, after which the line has to become quiet before the next request.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._buffer = bytearray()

    @property
    def received(self) -> bytes:
        """All bytes so far."""
        return bytes(self._buffer)

    @property
    def missing(self) -> int:
        """Bytes to come before the reply can be complete, at least."""
        buffer = self._buffer
        shortest = len(buffer) < 2 or buffer[1] & 0x80  # noqa: PLR2004 — unit and function
        length = RTU_REPLY_MIN if shortest else reply_pdu_length(self._request) + 3
        return length - len(buffer)

    def feed(self, data: bytes) -> Reply | None:
        """Return the reply when it is complete; ProtocolError as soon as it cannot become one."""
        self._buffer += data
        buffer, request = self._buffer, self._request
        if buffer and buffer[0] != request.unit:
            raise ProtocolError(f"unit {buffer[0]} spoke, unit {request.unit} was asked")
        if len(buffer) < 2:  # noqa: PLR2004 — unit and function
            return None
        refused = buffer[1] == request.function | 0x80
        if not refused and buffer[1] != request.function:
            raise ProtocolError(f"function {buffer[1]} came, {request.function} was asked")
        expected = RTU_REPLY_MIN if refused else reply_pdu_length(request) + 3
        if len(buffer) > expected:
            raise ProtocolError(f"{len(buffer)} bytes came where {expected} make the reply")
        if len(buffer) < expected:
            return None
        if crc16(buffer[:-2]) != buffer[-2:]:
            raise ProtocolError(f"checksum of {expected} bytes is wrong")
        return parse_reply(request, bytes(buffer[1:-2]))


def decode_request_rtu(data: bytes) -> Request | None:
    """Return the request a device hears, None while it is incomplete.

    ProtocolError: the bytes are no request of functions 1-6, 15 or 16; a device stays silent.
    """
    if len(data) > RTU_FRAME_MAX:
        raise ProtocolError(f"{len(data)} bytes are more than a frame may have")
    if len(data) < REQUEST_PDU_MIN + 3:
        return None
    expected = request_pdu_length(data[1:]) + 3
    if len(data) < expected:
        return None
    if len(data) > expected or crc16(data[: expected - 2]) != data[expected - 2 :]:
        raise ProtocolError("checksum of the request is wrong")
    return parse_request(data[0], data[1 : expected - 2])
