"""RTSP 1.0 messages and interleaved frames as bytes, for clients and servers alike (RFC 2326)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from drivers.errors import ProtocolError

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 128 * 1024
HEADERS_MAX = 64

Headers = tuple[tuple[str, str], ...]
"""Name and value pairs in the order of the wire; parsed names are in lower case."""

_DOLLAR = 0x24
_FRAME_HEAD = 4
_LINE_BREAK = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(r"RTSP/1\.0 ([1-5][0-9]{2})(?: ([^\x00-\x1f\x7f]*))?")
_REQUEST = re.compile(r"([A-Z_]{1,24}) ([!-~]{1,2048}) RTSP/1\.0")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH = re.compile(r"[0-9]{1,7}")


class _Message:
    __slots__ = ()
    headers: Headers

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of a header, named in lower case, in the order of the wire."""
        return tuple(value for key, value in self.headers if key == name)

    def value(self, name: str) -> str | None:
        """Return the first value of a header, named in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(_Message):
    status: int
    reason: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(_Message):
    method: str
    uri: str
    headers: Headers = ()
    body: bytes = b""


class Interleaved(msgspec.Struct, frozen=True, gc=False):
    """One binary frame on the RTSP connection (RFC 2326 §10.12): an RTP or RTCP packet."""

    channel: int
    data: bytes


Event = Response | Request | Interleaved


class MessageReader:
    """Turns a byte stream into messages and frames; what it keeps between calls is bounded."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Response | Request | None = None
        self._body_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what is complete.

        Raises ProtocolError when the framing is lost; the connection is then of no further use.
        """
        self._buffer += data
        while (event := self._next()) is not None:
            yield event

    def _next(self) -> Event | None:
        if self._head is not None:
            return self._take_body(self._head)
        while self._buffer.startswith(_LINE_BREAK):
            del self._buffer[: len(_LINE_BREAK)]
        if not self._buffer:
            return None
        if self._buffer[0] == _DOLLAR:
            return self._take_frame()
        return self._take_message()

    def _take_frame(self) -> Interleaved | None:
        buffer = self._buffer
        if len(buffer) < _FRAME_HEAD:
            return None
        end = _FRAME_HEAD + (buffer[2] << 8 | buffer[3])
        if len(buffer) < end:
            return None
        frame = Interleaved(buffer[1], bytes(buffer[_FRAME_HEAD:end]))
        del buffer[:end]
        return frame

    def _take_message(self) -> Response | Request | None:
        end = self._buffer.find(_HEAD_END, 0, HEAD_BYTES_MAX + len(_HEAD_END))
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise ProtocolError(f"RTSP message head is longer than {HEAD_BYTES_MAX} bytes")
            return None
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + len(_HEAD_END)]
        self._body_bytes = _body_bytes(head)
        self._head = head
        return self._take_body(head)

    def _take_body(self, head: Response | Request) -> Response | Request | None:
        if len(self._buffer) < self._body_bytes:
            return None
        body = bytes(self._buffer[: self._body_bytes])
        del self._buffer[: self._body_bytes]
        self._head = None
        match head:
            case Response(status=status, reason=reason, headers=headers):
                return Response(status=status, reason=reason, headers=headers, body=body)
            case Request(method=method, uri=uri, headers=headers):
                return Request(method=method, uri=uri, headers=headers, body=body)


def parse_head(head: bytes) -> Response | Request:
    """Parse a start line and its headers, without the empty line that ends them."""
    first, *rest = head.decode("latin-1").split("\r\n")
    if len(rest) > HEADERS_MAX:
        raise ProtocolError(f"RTSP message has {len(rest)} headers; {HEADERS_MAX} are allowed")
    headers = tuple(_parse_field(line) for line in rest)
    if status := _STATUS.fullmatch(first):
        return Response(status=int(status[1]), reason=status[2] or "", headers=headers)
    if request := _REQUEST.fullmatch(first):
        return Request(method=request[1], uri=request[2], headers=headers)
    raise ProtocolError(f"not an RTSP start line: {first[:60]!r}")


def encode_request(request: Request) -> bytes:
    return _encode(f"{request.method} {request.uri} RTSP/1.0", request.headers, request.body)


def encode_response(response: Response) -> bytes:
    line = f"RTSP/1.0 {response.status} {response.reason}"
    return _encode(line, response.headers, response.body)


def encode_frame(channel: int, data: bytes) -> bytes:
    return bytes((_DOLLAR, channel)) + len(data).to_bytes(2, "big") + data


def _encode(line: str, headers: Headers, body: bytes) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def _parse_field(line: str) -> tuple[str, str]:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise ProtocolError(f"not an RTSP header: {line[:60]!r}")
    return field[1].lower(), field[2].rstrip(" \t")


def _body_bytes(message: Response | Request) -> int:
    lengths = set(message.values("content-length"))
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(length := lengths.pop()):
        raise ProtocolError("RTSP Content-Length is not one number")
    if int(length) > BODY_BYTES_MAX:
        raise ProtocolError(f"RTSP body of {length} bytes; {BODY_BYTES_MAX} are allowed")
    return int(length)
