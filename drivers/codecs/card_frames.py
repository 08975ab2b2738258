"""Frames of the RDM6300 125 kHz card reader, and what every card reader's frames decode to.

Source: RDM6300 module datasheet (9600 8N1): STX 0x02, ten hexadecimal digits (version byte and
32-bit tag), two digits of XOR over the five bytes, ETX 0x03; repeated while a card is held.
"""

from dataclasses import dataclass

FRAME_BYTES = 14
STX = 0x02
ETX = 0x03
_HEX = frozenset(b"0123456789ABCDEFabcdef")


@dataclass(frozen=True, slots=True)
class CardFrame:
    """One intact frame; ``card``: upper-case hexadecimal digits, ten from an RDM6300."""

    card: str


@dataclass(frozen=True, slots=True)
class BrokenFrame:
    """Bytes that make no frame; ``reason`` says why they were dropped."""

    reason: str


FrameEvent = CardFrame | BrokenFrame


def encode_card_frame(card: str) -> bytes:
    """Return the frame for ten hexadecimal digits; ValueError otherwise."""
    data = bytes.fromhex(card)
    if len(data) != 5:  # noqa: PLR2004 — version byte and 32-bit tag
        raise ValueError(f"card {card!r} has {len(card)} digits; a card has 10")
    return b"\x02%s%02X\x03" % (data.hex().upper().encode(), _checksum(data))


class CardFrameDecoder:
    """Finds frames in a byte stream; holds at most one frame of bytes."""

    def __init__(self) -> None:
        self._frame = bytearray()

    def feed(self, data: bytes) -> list[FrameEvent]:
        """Return what became complete, in order; never raises."""
        events: list[FrameEvent] = []
        noise = 0
        for byte in data:
            if byte == STX:
                if self._frame:
                    events.append(BrokenFrame(f"a frame began after {len(self._frame)} bytes"))
                self._frame = bytearray((STX,))
            elif not self._frame:
                noise += 1
            else:
                self._frame.append(byte)
                if len(self._frame) == FRAME_BYTES:
                    events.append(_parse(self._frame))
                    self._frame = bytearray()
        if noise:
            events.append(BrokenFrame(f"{noise} bytes outside a frame"))
        return events


def _parse(frame: bytearray) -> FrameEvent:
    digits = frame[1:13]
    if frame[13] != ETX:
        return BrokenFrame("no end mark after twelve digits")
    if not _HEX.issuperset(digits):
        return BrokenFrame("a digit is not hexadecimal")
    data = bytes.fromhex(digits.decode("ascii"))
    if _checksum(data[:5]) != data[5]:
        return BrokenFrame("checksum is wrong")
    return CardFrame(data[:5].hex().upper())


def _checksum(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result
