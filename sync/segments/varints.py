"""Integers in as few bytes as they need, and a reader that trusts nothing.

Unsigned: seven bits a byte, least significant first, the top bit set on all but the last (LEB128).
Signed ones are folded first: 0, -1, 1, -2 … become 0, 1, 2, 3 ….
"""

from sync.errors import MalformedError

_BYTES_MAX = 9  # 63 bits


def pack_uint(value: int) -> bytes:
    """Return an integer of 0 to 2**63 - 1 as one to nine bytes."""
    assert 0 <= value < 1 << 7 * _BYTES_MAX
    packed = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - what seven bits hold
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def pack_int(value: int) -> bytes:
    """Return a signed integer of less than 62 bits."""
    return pack_uint(value << 1 if value >= 0 else ~(value << 1))


class ByteReader:
    """Reads from the front; every method raises MalformedError where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise MalformedError(f"{count} bytes are told and {len(self._data) - self._at} follow")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def uint(self, highest: int = (1 << 63) - 1) -> int:
        """Return an integer of at most ``highest``."""
        value = 0
        for place in range(_BYTES_MAX):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004 - the top bit
                break
        else:
            raise MalformedError("an integer of more than 63 bits")
        if value > highest:
            raise MalformedError(f"{value} where at most {highest} may stand")
        return value

    def int(self) -> int:
        folded = self.uint()
        return ~(folded >> 1) if folded & 1 else folded >> 1
