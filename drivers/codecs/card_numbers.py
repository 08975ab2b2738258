"""One number for a card, however a reader, a terminal or a person writes it.

A 125 kHz card (EM4100) holds a version byte and 32 bits; printed on it are those 32 bits as ten
decimal digits, often beside "facility,number", the low 24 bits as 8 and 16. Readers tell the same
card as

* ten hexadecimal digits, version byte first (RDM6300): ``6F007B3972``
* eight hexadecimal digits, the 32 bits (Wiegand 34): ``007B3972``
* six hexadecimal digits, the low 24 bits (Wiegand 26): ``7B3972``
* ten decimal digits (keyboard readers, "8H10D", "10D"): ``0008075634``, also without the zeros
* three and five decimal digits (Wiegand 26): ``123,14706``, ``123 14706``, ``12314706``

The canonical form is what is printed: ten decimal digits. A 13.56 MHz card with seven or eight
bytes of serial number stays hexadecimal, 14 or 16 digits. What is no number stays text.

Sources: RDM6300 datasheet; Seabreeze RFID, "10-bit number and 8-bit number conversion" (0013961168
is 213,02000); Priority 1 Design WIE232-A; what Wiegand 26 leaves out no conversion brings back.
"""

import re

NUMBER_BITS = 32
PRINTED_DIGITS = 10
WIEGAND_26_MASK = 0xFFFFFF
DIGITS_MAX = 20
_MASK = (1 << NUMBER_BITS) - 1
_LONG_BITS_MAX = 64
_PAIR = re.compile(r"([0-9]{1,3})[ ,]{1,2}([0-9]{5})\Z")
_HEX = re.compile(r"[0-9A-F]+\Z")
_DECIMAL = re.compile(r"[0-9]+\Z")
_CANONICAL = re.compile(r"(?:[0-9]{10}|[0-9A-F]{14}|[0-9A-F]{16})\Z")
_SEPARATORS = str.maketrans("", "", " :-\t")
_HEX_DIGITS = frozenset({6, 8, 10, 14, 16})
_PAIR_DIGITS = 8
_LONG_HEX_BITS = 56
_VERSIONED_DIGITS = 10
"""A version byte and 32 bits, in hexadecimal; more are a longer number without one."""


def canonical_card(text: str) -> str:
    """Return the one form of a card's number; what is no number comes back in capitals."""
    found = readings(text)
    return write_number(found[0]) if found else _tidied(text)


def card_of_hex(digits: str) -> str:
    """Return the canonical form of a reader's hexadecimal digits; ValueError for others."""
    return write_number(_of_hex(digits))


def write_number(number: int) -> str:
    if number <= _MASK:
        return f"{number:010}"
    return f"{number:014X}" if number >> _LONG_HEX_BITS == 0 else f"{number:016X}"


def is_number(card: str) -> bool:
    """Tell whether a canonical form is a number: ten decimal digits, or hexadecimal above that."""
    return _CANONICAL.match(card) is not None


def readings(text: str) -> tuple[int, ...]:
    """Return the numbers a text can stand for, likeliest first; none for what is no number.

    Digits alone are taken as decimal first: that is what people read off a card.
    """
    pair = _PAIR.match(text.strip())
    if pair:
        number = _of_pair(int(pair[1]), int(pair[2]))
        return () if number is None else (number,)
    tidied = _tidied(text).removeprefix("0X")
    found: list[int | None] = []
    if _DECIMAL.match(tidied) and len(tidied) <= DIGITS_MAX:
        number = int(tidied)
        found.append(number if number >> _LONG_BITS_MAX == 0 and _is_decimal(tidied) else None)
        if len(tidied) == _PAIR_DIGITS:
            found.append(_of_pair(int(tidied[:3]), int(tidied[3:])))
    if _HEX.match(tidied) and len(tidied) in _HEX_DIGITS:
        found.append(_of_hex(tidied))
    return tuple(dict.fromkeys(each for each in found if each is not None))


def turned(number: int) -> int:
    """Return the number of a reader that sends the four bytes the other way round."""
    return int.from_bytes((number & _MASK).to_bytes(4, "big"), "little")


def _is_decimal(digits: str) -> bool:
    # Ten digits above 32 bits are a version byte and a number that happen to have no letter.
    return len(digits) != PRINTED_DIGITS or int(digits) <= _MASK


def _of_hex(digits: str) -> int:
    number = int(digits, 16)
    return number & _MASK if len(digits) <= _VERSIONED_DIGITS else number


def _of_pair(facility: int, number: int) -> int | None:
    return (facility << 16 | number) if facility <= 0xFF and number <= 0xFFFF else None  # noqa: PLR2004


def _tidied(text: str) -> str:
    return text.translate(_SEPARATORS).upper()
