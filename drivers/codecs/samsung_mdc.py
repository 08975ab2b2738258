"""Samsung's Multiple Display Control, on RS-232 and TCP port 1515.

Source: Multiple Display Control Protocol, Ver. 13.7c (2016-02-23) and 15.0 (2020-11-06): a frame is
``AA command id length data… sum``; a display answers ``AA FF id length 'A' or 'N' command data…
sum``, the sum being of everything after the header, modulo 256. Id FE speaks to every display on
the line, and none of them answers it.

Texts: ``11 01`` is command and data, ``A 11 01`` an answer (``N 11 ERR`` a refusal).
"""

from drivers.codecs.display_framing import FrameBuffer, hex_text
from drivers.errors import ProtocolError, RefusedError

EVERYBODY = 0xFE
_HEADER = 0xAA
_ANSWER = 0xFF
_DATA_MAX = 0xFF
_OVERHEAD = 5  # header, command, id, length, sum
_SECURED = b"MDCSTART<<TLS>>"
_SECURED_TEXT = "secured"


class MdcFraming:
    """The frames of the display with this id."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._waiting = FrameBuffer()

    def encode_question(self, question: str) -> bytes:
        data = _bytes(question)
        return _frame(data[0], self._unit, data[1:])

    def receive_answers(self, data: bytes) -> list[str]:
        if _SECURED in self._waiting.add(data):
            self._waiting.clear()
            return [_SECURED_TEXT]
        return [
            f"{chr(body[0])} {hex_text(body[1:])}"
            for command, unit, body in self._frames()
            if command == _ANSWER and unit == self._unit and body[:1] in {b"A", b"N"} and body[1:]
        ]

    def fits(self, question: str, answer: str) -> bool:
        return answer == _SECURED_TEXT or answer[2:4] == question[:2].upper()

    def lacks(self, answer: str) -> str:
        del answer  # a refusal does not say whether for good
        return ""

    def refuses(self, answer: str) -> str:
        if answer == _SECURED_TEXT:
            raise RefusedError(
                "the display asks for its secured protocol; switch that off in its network menu"
            )
        return f"NAK {answer[5:]}".strip() if answer.startswith("N") else ""

    def receive_questions(self, data: bytes) -> list[str]:
        self._waiting.add(data)
        return [
            hex_text(bytes([command]) + body)
            for command, unit, body in self._frames()
            if unit in {self._unit, EVERYBODY}
        ]

    def encode_answer(self, answer: str) -> bytes:
        return _frame(_ANSWER, self._unit, answer[:1].encode() + _bytes(answer[2:]))

    def refusal(self, question: str) -> str:
        return f"N {question[:2]} 01"

    def clear(self) -> None:
        self._waiting.clear()

    def _frames(self) -> list[tuple[int, int, bytes]]:
        """Return command, id and data of each whole, sound frame."""
        frames = []
        waiting = self._waiting.rest
        while (start := waiting.find(_HEADER)) >= 0:
            waiting = waiting[start:]
            if len(waiting) < _OVERHEAD or len(waiting) < _OVERHEAD + waiting[3]:
                break
            end = _OVERHEAD + waiting[3]
            if sum(waiting[1 : end - 1]) % 256 == waiting[end - 1]:
                frames.append((waiting[1], waiting[2], waiting[4 : end - 1]))
                waiting = waiting[end:]
            else:
                waiting = waiting[1:]
        self._waiting.rest = waiting if start >= 0 else b""
        return frames


def _frame(command: int, unit: int, data: bytes) -> bytes:
    body = bytes([command, unit, len(data)]) + data
    return bytes([_HEADER]) + body + bytes([sum(body) % 256])


def _bytes(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError(f"MDC: {text[:40]!r} is not hexadecimal; write like 11 01") from error
    if not 0 < len(data) <= _DATA_MAX:
        raise ProtocolError(f"MDC: {text[:40]!r} has no command or too much data")
    return data
