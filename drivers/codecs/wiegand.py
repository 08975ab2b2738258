"""Wiegand card readers behind a converter to a serial line or TCP: one line of ASCII a card.

On the two wires a card is 26 bits (even parity over the first half, 24 bits, odd parity over the
second) or 34 (the same with 32). Converters pass on one of these, ended by CR, LF or both:

* 6 or 8 hexadecimal digits, parity checked by the converter (Priority 1 Design WIE232-A: 9600 8N1,
  ``XXYYZZ`` and CR)
* 10 decimal digits (S4A Wiegand-Ethernet: ``0000123478`` and CR LF for 0x1E256)
* facility and number, ``123,14706``
* the 26 or 34 bits themselves as ``0`` and ``1``; parity is checked here

Keys of a keypad (4 and 8 bits) come as one character and are no card.
"""

from drivers.codecs.card_frames import BrokenFrame, CardFrame, FrameEvent
from drivers.codecs.card_numbers import readings

LINE_BYTES_MAX = 48
_BITS = frozenset({26, 34})
_HEX_DIGITS = frozenset({6, 8})
_DECIMAL_DIGITS = 10
_HEX = frozenset("0123456789ABCDEFabcdef")
_NUMBER_MAX = 0xFFFF_FFFF
_ENDS = b"\r\n"


def encode_bits(number: int, bits: int) -> str:
    """Return a frame of 26 or 34 bits; ValueError when the number does not fit."""
    if bits not in _BITS or not 0 <= number < 1 << bits - 2:
        raise ValueError(f"{number:#x} is no card of Wiegand {bits}")
    data = f"{number:0{bits - 2}b}"
    half = len(data) // 2
    even = data[:half].count("1") % 2
    odd = 1 - data[half:].count("1") % 2
    return f"{even}{data}{odd}"


def decode_bits(bits: str) -> CardFrame | BrokenFrame:
    """Return the card of a frame written as ``0`` and ``1``."""
    if len(bits) not in _BITS or set(bits) - {"0", "1"}:
        return BrokenFrame(f"{len(bits)} signs are no Wiegand frame")
    number = int(bits[1:-1], 2)
    if encode_bits(number, len(bits)) != bits:
        return BrokenFrame("parity is wrong; the wires D0 and D1 may be exchanged")
    return CardFrame(f"{number:0{(len(bits) - 2) // 4}X}")


def encode_line(card: str) -> bytes:
    """Return a converter's line for six or eight hexadecimal digits."""
    return f"{card}\r".encode("ascii")


class WiegandLineDecoder:
    """Finds cards in a byte stream; holds at most one line."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_overlong = False

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Return what became complete, in order; never raises."""
        events: list[FrameEvent] = []
        for byte in data:
            if byte not in _ENDS:
                self._is_overlong = self._is_overlong or len(self._line) >= LINE_BYTES_MAX
                if not self._is_overlong:
                    self._line.append(byte)
                continue
            if self._is_overlong:
                events.append(BrokenFrame(f"a line of more than {LINE_BYTES_MAX} bytes"))
            elif self._line.strip():
                events.append(_parse(self._line.decode("latin-1").strip()))
            self._line.clear()
            self._is_overlong = False
        return events


def _parse(line: str) -> CardFrame | BrokenFrame:
    if len(line) in _BITS:
        return decode_bits(line)
    if "," in line or " " in line:
        numbers = readings(line) if line.isascii() else ()
        return CardFrame(f"{numbers[0]:06X}") if numbers else BrokenFrame("no facility and number")
    if len(line) in _HEX_DIGITS and _HEX.issuperset(line):
        return CardFrame(line.upper())
    if len(line) == _DECIMAL_DIGITS and line.isascii() and line.isdecimal():
        number = int(line)
        if number <= _NUMBER_MAX:
            return CardFrame(f"{number:08X}")
    return BrokenFrame(f"{len(line)} signs are no card")
