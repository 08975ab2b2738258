"""Modbus requests and replies in RTU and TCP frames.

Source: MODBUS Application Protocol Specification V1.1b3; MODBUS over Serial Line V1.02 (CRC,
§6.2.2); MODBUS Messaging on TCP/IP V1.0b (MBAP, §3.1.3). Addresses are zero-based.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from drivers.errors import ProtocolError

BITS_MAX = 2000
REGISTERS_MAX = 125
WRITTEN_BITS_MAX = 1968
WRITTEN_REGISTERS_MAX = 123
RTU_FRAME_MAX = 256
RTU_REPLY_MIN = 5
MBAP_BYTES = 7
ADDRESS_MAX = 0xFFFF
ON = 0xFF00


class ExceptionCode(IntEnum):
    """§7; a code the standard does not know stays a plain number."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    BUSY = 6
    PARITY_ERROR = 8
    GATEWAY_UNAVAILABLE = 10
    GATEWAY_SILENT = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """Functions 1 and 2 read bits, 3 and 4 registers."""

    unit: int
    function: Literal[1, 2, 3, 4]
    address: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOneRequest:
    """Function 5 sets a coil (``value`` 0 or 1), 6 a register."""

    unit: int
    function: Literal[5, 6]
    address: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteManyRequest:
    """Function 15 sets coils (``values`` 0 or 1), 16 registers."""

    unit: int
    function: Literal[15, 16]
    address: int
    values: tuple[int, ...]


Request = ReadRequest | WriteOneRequest | WriteManyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReply:
    """Bits (0 or 1) or registers, as many as were asked for."""

    unit: int
    function: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReply:
    """The device repeated what it was told."""

    unit: int
    function: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionReply:
    """The device refused; ``code`` is usually an ExceptionCode."""

    unit: int
    function: int
    code: int

    @property
    def meaning(self) -> str:
        """The code as a person can read it."""
        try:
            return ExceptionCode(self.code).name.lower().replace("_", " ")
        except ValueError:
            return f"exception {self.code}"


Reply = ReadReply | WriteReply | ExceptionReply


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
    body = bytes((request.unit,)) + _request_pdu(request)
    return body + crc16(body)


def encode_tcp(request: Request, transaction: int) -> bytes:
    """Return the TCP frame of a request; ``transaction`` comes back with the reply."""
    pdu = _request_pdu(request)
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, request.unit) + pdu


def encode_reply_rtu(request: Request, reply: Reply) -> bytes:
    """Return the RTU frame by which a device answers ``request`` with ``reply``."""
    body = bytes((reply.unit,)) + _reply_pdu(request, reply)
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
        length = RTU_REPLY_MIN if shortest else _reply_pdu_length(self._request) + 3
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
        expected = RTU_REPLY_MIN if refused else _reply_pdu_length(request) + 3
        if len(buffer) > expected:
            raise ProtocolError(f"{len(buffer)} bytes came where {expected} make the reply")
        if len(buffer) < expected:
            return None
        if crc16(buffer[:-2]) != buffer[-2:]:
            raise ProtocolError(f"checksum of {expected} bytes is wrong")
        return _parse_reply(request, bytes(buffer[1:-2]))


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
        expected = _reply_pdu_length(request)
    else:
        raise ProtocolError(f"function {pdu[0]} came, {request.function} was asked")
    if len(pdu) != expected:
        raise ProtocolError(f"{len(pdu)} bytes came where {expected} make the reply")
    return _parse_reply(request, pdu)


def read_tcp_request(frame: TcpFrame) -> Request:
    """Return what a client asks; ProtocolError as :func:`decode_request_rtu`."""
    body = bytes((frame.unit,)) + frame.pdu
    request = decode_request_rtu(body + crc16(body))
    if request is None:
        raise ProtocolError(f"{len(frame.pdu)} bytes are half a request")
    return request


def encode_reply_tcp(request: Request, reply: Reply, transaction: int) -> bytes:
    """Return the TCP frame by which a device answers ``request`` with ``reply``."""
    pdu = _reply_pdu(request, reply)
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, reply.unit) + pdu


def decode_request_rtu(data: bytes) -> Request | None:
    """Return the request a device hears, None while it is incomplete.

    ProtocolError: the bytes are no request of functions 1-6, 15 or 16; a device stays silent.
    """
    if len(data) > RTU_FRAME_MAX:
        raise ProtocolError(f"{len(data)} bytes are more than a frame may have")
    if len(data) < 8:  # noqa: PLR2004 — the shortest request
        return None
    function = data[1]
    if function in {1, 2, 3, 4, 5, 6}:
        expected = 8
    elif function in {15, 16}:
        expected = 9 + data[6]
    else:
        raise ProtocolError(f"function {function} is not spoken here")
    if len(data) < expected:
        return None
    if len(data) > expected or crc16(data[: expected - 2]) != data[expected - 2 :]:
        raise ProtocolError("checksum of the request is wrong")
    return _parse_request(data[0], data[1 : expected - 2])


def _request_pdu(request: Request) -> bytes:
    match request:
        case ReadRequest(function=function, address=address, count=count):
            limit = BITS_MAX if function <= 2 else REGISTERS_MAX  # noqa: PLR2004 — 1, 2 read bits
            _check_span(address, count, limit)
            return struct.pack(">BHH", function, address, count)
        case WriteOneRequest(function=5, address=address, value=value):
            return struct.pack(">BHH", 5, address, ON if value else 0)
        case WriteOneRequest(function=function, address=address, value=value):
            return struct.pack(">BHH", function, address, value)
        case WriteManyRequest(function=15, address=address, values=values):
            _check_span(address, len(values), WRITTEN_BITS_MAX)
            packed = _pack_bits(values)
            return struct.pack(">BHHB", 15, address, len(values), len(packed)) + packed
        case WriteManyRequest(function=function, address=address, values=values):
            _check_span(address, len(values), WRITTEN_REGISTERS_MAX)
            head = struct.pack(">BHHB", function, address, len(values), 2 * len(values))
            return head + struct.pack(f">{len(values)}H", *values)


def _check_span(address: int, count: int, limit: int) -> None:
    if not 1 <= count <= limit:
        raise ValueError(f"{count} values in one request; ask for 1 to {limit}")
    if address + count - 1 > ADDRESS_MAX:
        raise ValueError(f"registers {address}+{count} end beyond 65535; ask for fewer")


def _parse_request(unit: int, pdu: bytes) -> Request:
    function, address, word = struct.unpack_from(">BHH", pdu)
    match function:
        case 1 | 2 | 3 | 4:
            return ReadRequest(unit=unit, function=function, address=address, count=word)
        case 5:
            if word not in {0, ON}:
                raise ProtocolError(f"coil value 0x{word:04X} is neither on nor off")
            return WriteOneRequest(unit=unit, function=5, address=address, value=word >> 15)
        case 6:
            return WriteOneRequest(unit=unit, function=6, address=address, value=word)
        case 15:
            if not 1 <= word <= WRITTEN_BITS_MAX or pdu[5] != (word + 7) // 8:
                raise ProtocolError(f"{word} coils do not fit {pdu[5]} bytes")
            bits = _unpack_bits(pdu[6:], word)
            return WriteManyRequest(unit=unit, function=15, address=address, values=bits)
        case _:
            if not 1 <= word <= WRITTEN_REGISTERS_MAX or pdu[5] != 2 * word:
                raise ProtocolError(f"{word} registers do not fit {pdu[5]} bytes")
            values = struct.unpack(f">{word}H", pdu[6:])
            return WriteManyRequest(unit=unit, function=16, address=address, values=values)


def _reply_pdu_length(request: Request) -> int:
    match request:
        case ReadRequest(function=1 | 2, count=count):
            return 2 + (count + 7) // 8
        case ReadRequest(count=count):
            return 2 + 2 * count
        case _:
            return 5


def _reply_pdu(request: Request, reply: Reply) -> bytes:
    match reply:
        case ExceptionReply(function=function, code=code):
            return bytes((function | 0x80, code))
        case ReadReply(function=1 | 2 as function, values=values):
            packed = _pack_bits(values)
            return bytes((function, len(packed))) + packed
        case ReadReply(function=function, values=values):
            return struct.pack(f">BB{len(values)}H", function, 2 * len(values), *values)
        case WriteReply():
            return _request_pdu(request)[:5]


def _parse_reply(request: Request, pdu: bytes) -> Reply:
    unit, function = request.unit, request.function
    if pdu[0] & 0x80:
        return ExceptionReply(unit=unit, function=function, code=pdu[1])
    match request:
        case ReadRequest(count=count):
            if pdu[1] != len(pdu) - 2:
                raise ProtocolError(f"byte count {pdu[1]} came with {len(pdu) - 2} bytes")
            if function <= 2:  # noqa: PLR2004 — 1, 2 read bits
                return ReadReply(unit=unit, function=function, values=_unpack_bits(pdu[2:], count))
            registers = struct.unpack(f">{count}H", pdu[2:])
            return ReadReply(unit=unit, function=function, values=registers)
        case _:
            if pdu != _request_pdu(request)[:5]:
                raise ProtocolError("the device repeated something else than it was told")
            return WriteReply(unit=unit, function=function)


def _pack_bits(values: tuple[int, ...]) -> bytes:
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= (value & 1) << index % 8
    return bytes(packed)


def _unpack_bits(data: bytes, count: int) -> tuple[int, ...]:
    return tuple(data[index // 8] >> index % 8 & 1 for index in range(count))
