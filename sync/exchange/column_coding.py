"""Columns told by what the connection has carried of them before.

Of a cell is told, until it is known: that it is the one that followed the same neighbours last
time; where it stands among the cells seen lately; its distance from the last number, or what
follows the last text's beginning. Both ends keep the same memory; its size is bounded.
"""

import math
import struct
from collections.abc import Sequence
from typing import Final

from sync.errors import MalformedError
from sync.exchange.range_coding import Bits, Coder, Integers
from sync.segments.columnar import Value

TEXT_BYTES_MAX: Final = 1024
"""Longer texts are not told this way."""
_LATELY_MAX = 1024
_LATELY_BYTES_MAX = 64
_FOLLOWERS_MAX = 512
_NEIGHBOURS = 2
_KIND_BITS = 4
_NULL, _INTEGER, _TEXT, _BYTES, _FLOAT, _DECIMAL = range(6)  # a decimal's places are added
_FACTORS = (1, 10, 100, 1000)  # of decimals, by their places
_DECIMAL_MAX = 2**51
"""Greater values times a factor would no longer be exact in binary64."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_float64 = struct.Struct(">d")

Cell = int | str | bytes | tuple[int, int] | None
"""A value that equals another only if it is the same: of a float places and digits, or 64 bits."""

_NOBODY = (-2, 0)


class ColumnMemory:
    """What one end knows of one column of a log."""

    def __init__(self) -> None:
        self.is_text = False
        self._last: Cell = None
        self._number = 0
        self._kind = _NULL
        self._text = b""
        self._falls = self._steps = 0
        self._followers: dict[tuple[object, ...], Cell] = {}
        self._lately: list[Cell] = []
        self._was_expected = self._was_known = 0
        self._expected, self._known, self._kinds = Bits(2), Bits(2), Bits(1 << _KIND_BITS)
        self._places, self._distances = Integers(), Integers()
        self._shared, self._lengths = Integers(), Integers()
        self._letters = Bits(1 << 8)

    def code(
        self,
        coder: Coder,
        rows: int,
        values: Sequence[Value] | None,
        texts: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Code one column; ``texts`` are earlier columns of texts of the same rows.

        Raises MalformedError, when reading, for cells that no column has.
        """
        coded: list[Value] = []
        beside = texts[-_NEIGHBOURS:]
        for row in range(rows):
            key: tuple[object, ...] = tuple(column[row] for column in beside)
            if self.is_text:
                key = (*key, self._last)
            cell = self._code_cell(coder, key, None if values is None else _cell(values[row]))
            self._last = cell
            coded.append(_value(cell))
        if len(set(map(type, coded)) - {type(None)}) > 1:
            raise MalformedError("cells of several types in one column")
        return coded

    def _code_cell(self, coder: Coder, key: tuple[object, ...], cell: Cell) -> Cell:
        follower = self._followers.get(key, _NOBODY)
        if follower != _NOBODY:
            place = self._was_expected
            self._was_expected = coder.bit(self._expected, place, cell == follower)
            if self._was_expected:
                return follower
        if len(self._followers) >= _FOLLOWERS_MAX:
            self._followers.clear()
        cell = self._code_unexpected(coder, follower, cell)
        self._followers[key] = cell
        return cell

    def _code_unexpected(self, coder: Coder, follower: Cell, cell: Cell) -> Cell:
        lately = self._lately
        if lately:
            place = lately.index(cell) if cell in lately else -1
            was_known = self._was_known
            self._was_known = coder.bit(self._known, was_known, place >= 0)
            if self._was_known:
                # It is not the follower, which need not be counted.
                out = lately.index(follower) if follower in lately else len(lately)
                place = coder.integer(self._places, place - (place > out))
                place += place >= out
                if not 0 <= place < len(lately):
                    raise MalformedError(f"the cell number {place} of {len(lately)} seen lately")
                cell = lately.pop(place)
                lately.insert(0, cell)
                return cell
        cell = self._code_new(coder, follower, cell)
        if self._is_worth_keeping(cell):
            lately.insert(0, cell)
            del lately[_LATELY_MAX:]
        return cell

    def _is_worth_keeping(self, cell: Cell) -> bool:
        """Tell whether a cell may come again: numbers that only rise are moments."""
        if isinstance(cell, int):
            return self._falls * 4 >= self._steps
        if isinstance(cell, str | bytes):
            return len(cell) <= _LATELY_BYTES_MAX
        return cell is None

    def _code_new(self, coder: Coder, follower: Cell, cell: Cell) -> Cell:
        kind = _kind(cell)
        if coder.bit(self._kinds, 0, kind == self._kind):
            kind = self._kind
        else:
            kind = self._kind = coder.symbol(self._kinds, kind, _KIND_BITS)
        if kind in {_TEXT, _BYTES}:
            self.is_text = kind == _TEXT
            return self._code_text(coder, follower, cell, kind)
        if kind == _NULL:
            return None
        if kind >= _DECIMAL + len(_FACTORS):
            raise MalformedError(f"a cell of the unknown kind {kind}")
        self.is_text = False
        digits = cell[1] if isinstance(cell, tuple) else cell
        if kind == _FLOAT:
            bits = coder.wide(digits if isinstance(digits, int) else 0, 64)
            return -1, bits
        base = self._number
        if isinstance(follower, int):
            base = follower
        elif isinstance(follower, tuple) and follower[0] >= 0:
            base = follower[1]
        told = digits - base if isinstance(digits, int) else 0
        number = base + coder.integer(self._distances, told)
        if not _INT64_MIN <= number <= _INT64_MAX:
            raise MalformedError("an integer beyond 64 bits among the cells")
        self._steps += 1
        self._falls += number < self._number
        self._number = number
        return number if kind == _INTEGER else (kind - _DECIMAL, number)

    def _code_text(self, coder: Coder, follower: Cell, cell: Cell, kind: int) -> Cell:
        raw = _raw(cell)
        base = _raw(follower) or self._text
        shared = coder.integer(self._shared, _alike(raw, base))
        length = coder.integer(self._lengths, len(raw) - shared)
        if not 0 <= shared <= len(base) or not 0 <= length <= TEXT_BYTES_MAX - shared:
            raise MalformedError("a text among the cells is longer than any that is told so")
        rest = bytes(
            coder.symbol(self._letters, raw[shared + place] if raw else 0, 8)
            for place in range(length)
        )
        self._text = base[:shared] + rest
        if kind == _BYTES:
            return self._text
        try:
            return self._text.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(f"a text among the cells that is none: {error}") from error


def _alike(text: bytes, other: bytes) -> int:
    """Return how many bytes two texts begin with alike."""
    pairs = zip(text, other, strict=False)
    unlike = (place for place, (one, two) in enumerate(pairs) if one != two)
    return next(unlike, min(len(text), len(other)))


def _kind(cell: Cell) -> int:
    match cell:
        case None:
            return _NULL
        case int():
            return _INTEGER
        case str():
            return _TEXT
        case bytes():
            return _BYTES
        case (places, _):
            return _FLOAT if places < 0 else _DECIMAL + places


def _raw(cell: Cell) -> bytes:
    if isinstance(cell, str):
        return cell.encode()
    return cell if isinstance(cell, bytes) else b""


def _cell(value: Value) -> Cell:
    if not isinstance(value, float):
        return value
    if -_DECIMAL_MAX < value < _DECIMAL_MAX:
        for places, factor in enumerate(_FACTORS):
            digits = round(value * factor)
            if digits / factor == value and (digits or math.copysign(1, value) > 0):
                return places, digits
    return -1, int.from_bytes(_float64.pack(value), "big")


def _value(cell: Cell) -> Value:
    if not isinstance(cell, tuple):
        return cell
    places, digits = cell
    if places < 0:
        value: float = _float64.unpack(digits.to_bytes(8, "big"))[0]
        if math.isnan(value):
            raise MalformedError("NaN among the cells")
        return value
    return digits / _FACTORS[places]
