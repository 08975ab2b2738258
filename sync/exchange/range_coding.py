"""A range coder over models that learn: what was frequent so far costs little.

One procedure describes the values and serves both directions: a coder's methods are given the value
when it writes and return it when it reads, where what is given counts for nothing. So both ends
change their models alike.

The lower bound is one integer that grows with the bytes, so that no carry has to be kept back
(G. N. N. Martin, Range encoding, 1979). Chances follow what was seen: about as the estimator of
Krichevsky and Trofimov at first, then mostly the last thirty cases.
"""

from array import array
from typing import Final

from sync.errors import MalformedError

BYTES_MAX: Final = 4096
"""More than this is not read: a body that is told so is short."""
_STATE_BITS = 48
_LEAST = 1 << 40
_CHANCE_BITS = 16
_CHANCE_MIN = 96
"""How far a chance may go from certainty, of 65,536: one miss costs at most 9.4 bits."""
_EVEN = 1 << (_CHANCE_BITS - 1)
_COUNT_MAX = 30
_RATES = [(1 << 17) // (2 * count + 3) for count in range(_COUNT_MAX + 1)]
_LOW, _HIGH = _CHANCE_MIN, (1 << _CHANCE_BITS) - _CHANCE_MIN
_UNIFORM_BITS = 16
_SIZE_BITS = 7
_SIZE_MAX = 65
_SHAPED_BITS = 2


class Bits:
    """Chances of binary decisions, and of how many cases each was learned."""

    __slots__ = ("chances", "counts")

    def __init__(self, decisions: int) -> None:
        self.chances = array("H", [_EVEN]) * decisions
        self.counts = bytearray(decisions)


class Integers:
    """What is known of signed integers of at most 65 bits: their sizes, and how sizes fill."""

    __slots__ = ("shapes", "signs", "sizes")

    def __init__(self) -> None:
        self.sizes = Bits(1 << _SIZE_BITS)
        self.signs = Bits(_SIZE_MAX + 1)
        self.shapes = Bits((_SIZE_MAX + 1) << _SHAPED_BITS)


class Coder:
    """What writing and reading have in common."""

    def bit(self, model: Bits, place: int, bit: int) -> int:
        """Code one decision and learn from it."""
        raise NotImplementedError

    def even(self, value: int, bits: int) -> int:
        """Code an integer of which nothing is known but its ``bits``, at most 16."""
        raise NotImplementedError

    def symbol(self, model: Bits, value: int, bits: int, first: int = 0) -> int:
        """Code an integer below 2**bits by decisions of its own, from place ``first``."""
        node = 1
        for shift in range(bits - 1, -1, -1):
            node = node << 1 | self.bit(model, first + node, value >> shift & 1)
        return node - (1 << bits)

    def wide(self, value: int, bits: int) -> int:
        """Code an integer of which nothing is known but its bits, however many."""
        coded = 0
        while bits > 0:
            bits -= (taken := min(bits, _UNIFORM_BITS))
            coded = coded << taken | self.even(value >> bits & (1 << taken) - 1, taken)
        return coded

    def integer(self, model: Integers, value: int) -> int:
        """Code a signed integer of at most 65 bits; raises MalformedError when longer is read."""
        size = self.symbol(model.sizes, abs(value).bit_length(), _SIZE_BITS)
        if size == 0:
            return 0
        if size > _SIZE_MAX:
            raise MalformedError(f"a coded integer of {size} bits; at most {_SIZE_MAX}")
        sign = self.bit(model.signs, size, value < 0)
        shaped = min(size - 1, _SHAPED_BITS)
        rest = size - 1 - shaped
        magnitude = abs(value)
        top = self.symbol(
            model.shapes, magnitude >> rest & (1 << shaped) - 1, shaped, size << _SHAPED_BITS
        )
        coded = (1 << shaped | top) << rest | self.wide(magnitude & (1 << rest) - 1, rest)
        return -coded if sign else coded


class Writer(Coder):
    """Collects what is coded."""

    def __init__(self) -> None:
        self._low = 0
        self._range = 1 << _STATE_BITS
        self._bits = _STATE_BITS

    def bit(self, model: Bits, place: int, bit: int) -> int:
        chance, count = model.chances[place], model.counts[place]
        span = self._range
        bound = (span >> _CHANCE_BITS) * chance
        if bit:
            span = bound
            chance += (_HIGH - chance) * _RATES[count] >> _CHANCE_BITS
        else:
            self._low += bound
            span -= bound
            chance -= (chance - _LOW) * _RATES[count] >> _CHANCE_BITS
        model.chances[place] = chance
        if count < _COUNT_MAX:
            model.counts[place] = count + 1
        self._range = span
        if span < _LEAST:
            self._widen()
        return bit

    def even(self, value: int, bits: int) -> int:
        self._range >>= bits
        self._low += self._range * value
        self._widen()
        return value

    def finish(self) -> bytes:
        """Return the shortest bytes within the last range; zeros that follow are not written."""
        for shift in range(_STATE_BITS, -1, -1):
            chosen = -(-self._low >> shift) << shift
            if chosen < self._low + self._range:
                break
        return chosen.to_bytes(self._bits // 8, "big").rstrip(b"\x00")

    def _widen(self) -> None:
        while self._range < _LEAST:
            self._range <<= 8
            self._low <<= 8
            self._bits += 8


class Reader(Coder):
    """Reads what a writer collected; what is no writer's yields some values, within bounds."""

    def __init__(self, data: bytes) -> None:
        if len(data) > BYTES_MAX:
            raise MalformedError(f"{len(data)} coded bytes; at most {BYTES_MAX} belong together")
        self._data = data
        self._at = _STATE_BITS // 8
        self._code = int.from_bytes(data[: self._at].ljust(self._at, b"\x00"), "big")
        self._range = 1 << _STATE_BITS

    def bit(self, model: Bits, place: int, bit: int) -> int:
        chance, count = model.chances[place], model.counts[place]
        span = self._range
        bound = (span >> _CHANCE_BITS) * chance
        if self._code < bound:
            bit = 1
            span = bound
            chance += (_HIGH - chance) * _RATES[count] >> _CHANCE_BITS
        else:
            bit = 0
            self._code -= bound
            span -= bound
            chance -= (chance - _LOW) * _RATES[count] >> _CHANCE_BITS
        model.chances[place] = chance
        if count < _COUNT_MAX:
            model.counts[place] = count + 1
        self._range = span
        if span < _LEAST:
            self._widen()
        return bit

    def even(self, value: int, bits: int) -> int:
        self._range >>= bits
        value = min(self._code // self._range, (1 << bits) - 1)
        self._code -= self._range * value
        self._widen()
        return value

    def finish(self) -> None:
        """Raise MalformedError when bytes are left that tell nothing."""
        if self._at < len(self._data):
            raise MalformedError(f"{len(self._data) - self._at} coded bytes after the last value")

    def _widen(self) -> None:
        while self._range < _LEAST:
            self._range <<= 8
            following = self._data[self._at] if self._at < len(self._data) else 0
            self._code = self._code << 8 | following
            self._at += 1
