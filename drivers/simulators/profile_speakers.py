"""What a simulated device says on its wire, made of its profile; no wire and no clock here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from drivers.codecs.modbus import ExceptionReply, Reply, Request
from drivers.codecs.modbus_rtu import decode_request_rtu, encode_reply_rtu
from drivers.codecs.modbus_tcp import TcpFrameDecoder, encode_reply_tcp, read_tcp_request
from drivers.errors import ProtocolError, SetupError
from firmware_profiles.model import LinkType, Profile, Vector

Value = float | str | None
Values = dict[str, Value]
BUFFER_BYTES_MAX = 4096
_LINE_ENDS: Mapping[LinkType, bytes] = MappingProxyType({"pjlink": b"\r"})
_LINE_END = b"\r\n"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing heard and what was said to it; ``values`` are the points it told of."""

    heard: bytes
    said: bytes
    values: Values


class Speaker(Protocol):
    """One connection's conversation."""

    def receive(self, data: bytes) -> list[Exchange]:
        """Return what there is to say to the bytes that came."""
        ...

    def forget(self) -> None:
        """Drop half a frame: the line was quiet for longer than a frame may pause."""
        ...


class ModbusAnswerer(Protocol):
    """A unit that answers requests; ``baud`` is the speed it was asked at, 0 over TCP."""

    @property
    def unit(self) -> int: ...

    @property
    def keeps_silent(self) -> bool:
        """Whether it says nothing where the standard asks for an exception."""
        ...

    def answer(self, request: Request, baud: int) -> tuple[Reply, Values]: ...


class RtuSpeaker:
    """Units of one serial line; what is not for them, or is broken, is met with silence."""

    def __init__(self, units: Sequence[ModbusAnswerer], baud: int) -> None:
        self._units = {unit.unit: unit for unit in units}
        self._baud = baud
        self._heard = b""

    def receive(self, data: bytes) -> list[Exchange]:
        self._heard += data
        try:
            request = decode_request_rtu(self._heard)
        except ProtocolError:
            self.forget()
            return []
        if request is None:
            return []
        heard, self._heard = self._heard, b""
        unit = self._units.get(request.unit)
        if unit is None:
            return []
        reply, values = unit.answer(request, self._baud)
        if isinstance(reply, ExceptionReply) and unit.keeps_silent:
            return []
        return [Exchange(heard, encode_reply_rtu(request, reply), values)]

    def forget(self) -> None:
        self._heard = b""


class TcpSpeaker:
    """Units behind one Modbus TCP connection."""

    def __init__(self, units: Sequence[ModbusAnswerer]) -> None:
        self._units = {unit.unit: unit for unit in units}
        self._frames = TcpFrameDecoder()

    def receive(self, data: bytes) -> list[Exchange]:
        """Return the answers; ProtocolError when the client does not speak Modbus TCP."""
        exchanges = []
        for frame in self._frames.feed(data):
            request = read_tcp_request(frame)
            unit = self._units.get(request.unit)
            if unit is not None:
                reply, values = unit.answer(request, 0)
                said = encode_reply_tcp(request, reply, frame.transaction)
                exchanges.append(Exchange(frame.pdu, said, values))
        return exchanges

    def forget(self) -> None:
        """Keep what came: TCP delivers a frame in as many pieces as it likes."""


class ReplaySpeaker:
    """Answers the quoted requests with the quoted replies, whatever the protocol."""

    def __init__(self, profile: Profile) -> None:
        end = _LINE_ENDS.get(profile.links[0].type, _LINE_END)
        self._replies: dict[bytes, tuple[bytes, Values]] = {}
        for vector in profile.vectors:
            heard = quoted(vector, vector.request, end)
            if heard:
                said = quoted(vector, vector.reply, end)
                self._replies.setdefault(heard, (said, dict(vector.values)))
        if not self._replies:
            raise SetupError(f"{profile.id} quotes no request; it cannot be asked anything")
        self._longest = max(len(heard) for heard in self._replies)
        self._heard = b""

    def receive(self, data: bytes) -> list[Exchange]:
        exchanges = []
        for byte in data:
            self._heard = (self._heard + bytes((byte,)))[-self._longest :]
            # The longest request that ends here: a short one may be the end of a longer.
            for heard, (said, values) in sorted(self._replies.items(), key=lambda r: -len(r[0])):
                if self._heard.endswith(heard):
                    exchanges.append(Exchange(heard, said, values))
                    self._heard = b""
                    break
        return exchanges

    def forget(self) -> None:
        self._heard = b""


def quoted(vector: Vector, text: str, line_end: bytes = _LINE_END) -> bytes:
    """Return the bytes a vector quotes, none for an empty text."""
    if vector.encoding == "hex":
        return bytes.fromhex(text)
    return text.encode() + line_end if text else b""


def unasked(profile: Profile) -> list[Exchange]:
    """Return what the device says by itself: the replies that no request precedes."""
    end = _LINE_ENDS.get(profile.links[0].type, _LINE_END)
    return [
        Exchange(b"", quoted(vector, vector.reply, end), dict(vector.values))
        for vector in profile.vectors
        if vector.reply and not vector.request
    ]
