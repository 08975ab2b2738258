"""Modbus requests and replies, and what of them is the same on every kind of line: the PDU.

Source: MODBUS Application Protocol Specification V1.1b3. Addresses are zero-based. What carries a
PDU is in ``modbus_rtu`` and ``modbus_tcp``.
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
ADDRESS_MAX = 0xFFFF
ON = 0xFF00
REQUEST_PDU_MIN = 5


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


def request_pdu(request: Request) -> bytes:
    """Return a request's PDU; ValueError when the standard forbids its numbers."""
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


def request_pdu_length(pdu: bytes) -> int:
    """Return how long the request is whose first ``REQUEST_PDU_MIN`` bytes, or more, these are.

    ProtocolError: it is none of functions 1-6, 15 or 16.
    """
    match pdu[0]:
        case 1 | 2 | 3 | 4 | 5 | 6:
            return REQUEST_PDU_MIN
        case 15 | 16:
            return 6 + (pdu[5] if len(pdu) > REQUEST_PDU_MIN else 1)
        case function:
            raise ProtocolError(f"function {function} is not spoken here")


def parse_request(unit: int, pdu: bytes) -> Request:
    """Return what a PDU of ``request_pdu_length`` asks; ProtocolError when that cannot be."""
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


def reply_pdu_length(request: Request) -> int:
    """Return how long the reply's PDU is when the request is not refused."""
    match request:
        case ReadRequest(function=1 | 2, count=count):
            return 2 + (count + 7) // 8
        case ReadRequest(count=count):
            return 2 + 2 * count
        case _:
            return 5


def reply_pdu(request: Request, reply: Reply) -> bytes:
    """Return the PDU by which a device answers ``request`` with ``reply``."""
    match reply:
        case ExceptionReply(function=function, code=code):
            return bytes((function | 0x80, code))
        case ReadReply(function=1 | 2 as function, values=values):
            packed = _pack_bits(values)
            return bytes((function, len(packed))) + packed
        case ReadReply(function=function, values=values):
            return struct.pack(f">BB{len(values)}H", function, 2 * len(values), *values)
        case WriteReply():
            return request_pdu(request)[:5]


def parse_reply(request: Request, pdu: bytes) -> Reply:
    """Return what a reply's whole PDU says; ProtocolError when it cannot be one to ``request``."""
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
            if pdu != request_pdu(request)[:5]:
                raise ProtocolError("the device repeated something else than it was told")
            return WriteReply(unit=unit, function=function)


def _pack_bits(values: tuple[int, ...]) -> bytes:
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= (value & 1) << index % 8
    return bytes(packed)


def _unpack_bits(data: bytes, count: int) -> tuple[int, ...]:
    return tuple(data[index // 8] >> index % 8 & 1 for index in range(count))
