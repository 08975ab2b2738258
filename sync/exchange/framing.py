"""Messages in a stream of bytes: each behind its length.

A frame of no bytes asks whether the other side is there; who is asked answers with the like or
with a message. The stream of each direction begins with the byte STREAM_VERSION.
"""

from collections.abc import Iterator

from sync.errors import MalformedError
from sync.exchange.message import MESSAGE_BYTES_MAX
from sync.segments.varints import pack_uint

STREAM_VERSION = 2
_LENGTH_BYTES_MAX = len(pack_uint(MESSAGE_BYTES_MAX))


def frame(content: bytes) -> bytes:
    return pack_uint(len(content)) + content


class FrameReader:
    """Collects bytes as they come; never holds more than one frame and what came behind it."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._has_begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the frames that ``data`` completes; raises MalformedError for what is none."""
        self._waiting += data
        if not self._has_begun and self._waiting:
            if self._waiting[0] != STREAM_VERSION:
                raise MalformedError(
                    f"sync stream version {self._waiting[0]}; this node speaks {STREAM_VERSION}"
                )
            self._has_begun = True
            del self._waiting[0]
        while (length := self._read_length()) is not None:
            start, size = length
            if len(self._waiting) < start + size:
                return
            content = bytes(self._waiting[start : start + size])
            del self._waiting[: start + size]
            yield content

    def _read_length(self) -> tuple[int, int] | None:
        """Return where the next frame's content begins and its length, once that is known."""
        size = 0
        for place, byte in enumerate(self._waiting[:_LENGTH_BYTES_MAX]):
            size |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004 - the top bit: the length goes on
                if size > MESSAGE_BYTES_MAX:
                    raise MalformedError(f"a frame of {size} bytes; at most {MESSAGE_BYTES_MAX}")
                return place + 1, size
        if len(self._waiting) >= _LENGTH_BYTES_MAX:
            raise MalformedError(f"a frame longer than {MESSAGE_BYTES_MAX} bytes")
        return None
