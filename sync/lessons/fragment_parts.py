"""Records in parts, so that sound never waits long behind a large one on the same connection.

Between box and hub a record is one binary message, or several that each carry a part of it; whole
records (sound) and parts of another lane may come between them. A part is::

    offset  bytes  field
    0       2      magic, ASCII "SP"
    2       1      version, 1
    3       1      flags: bit 0 first, bit 1 last; other bits zero
    4       1      lane: 0 live, 1 catch-up
    5       …      the part, at least one byte

A first part takes the place of what its lane had begun: a sender gives up a picture that is too
late in the middle.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

from sync.errors import MalformedError
from sync.lessons.fragment_log import RECORD_BYTES_MAX

_HEAD = struct.Struct(">2sBBB")
_MAGIC = b"SP"
_VERSION = 1
_FIRST, _LAST = 1, 2


class Lane(IntEnum):
    """Records of one lane come one after the other."""

    LIVE = 0
    CATCH_UP = 1


def split(wire: bytes | memoryview, part_bytes: int, lane: Lane) -> Iterator[bytes]:
    """Yield the messages that carry a record in parts of ``part_bytes``."""
    view = memoryview(wire)
    for at in range(0, len(view), part_bytes):
        flags = (_FIRST if at == 0 else 0) | (_LAST if at + part_bytes >= len(view) else 0)
        yield _HEAD.pack(_MAGIC, _VERSION, flags, lane) + view[at : at + part_bytes]


class PartJoiner:
    """Puts the parts that come on one connection together again."""

    def __init__(self) -> None:
        self._begun: dict[int, bytearray] = {}

    def take(self, message: bytes) -> bytes | None:
        """Return a whole record's bytes, None while parts are missing.

        Whatever is no part is returned as it is. Raises MalformedError for a part without a
        beginning, of an unknown lane, or of a record that grows too large.
        """
        if message[:2] != _MAGIC:
            return message
        if len(message) <= _HEAD.size:
            raise MalformedError("a fragment's part is empty; refuse it")
        _, version, flags, lane = _HEAD.unpack_from(message)
        if version != _VERSION:
            raise MalformedError(f"a fragment's part of version {version}; update this node")
        if flags > _FIRST | _LAST or lane not in (Lane.LIVE, Lane.CATCH_UP):
            raise MalformedError("a fragment's part is outside its limits; refuse it")
        if flags & _FIRST:
            self._begun[lane] = bytearray()
        begun = self._begun.get(lane)
        if begun is None:
            raise MalformedError("a fragment's part has no beginning; refuse it")
        begun += memoryview(message)[_HEAD.size :]
        if len(begun) > RECORD_BYTES_MAX:
            del self._begun[lane]
            raise MalformedError("a fragment in parts is larger than any fragment; refuse it")
        if not flags & _LAST:
            return None
        del self._begun[lane]
        return bytes(begun)
