"""NEC's control of projectors, on RS-232 and TCP port 7142.

Source: Projector Control Command Reference Manual, BDT140013 Rev. 6.1 (§2.1 format, §2.3 error
codes): five bytes, the last of which counts the data that follow, then the low byte of the sum. An
answer begins with the question's first byte plus 20, or plus A0 with two bytes of error.

Texts are the bytes without the sum: ``00 85 00 00 01 01``, ``20 85 01 10 10 …``.
"""

from drivers.codecs.display_framing import FrameBuffer, hex_text
from drivers.errors import ProtocolError

_HEADER = 5
_DATA_MAX = 128
_ANSWERED = 0x20
_FAILED = 0xA0
_QUESTIONS = frozenset(range(4))
_ANSWERS = frozenset(first | kind for first in _QUESTIONS for kind in (_ANSWERED, _FAILED))
_LACKING = {"00 00": "an unknown command", "00 01": "a command of other models"}


class NecProjectorFraming:
    """The frames of one projector; ``unit`` is its id, which questions leave 0."""

    def __init__(self, unit: int) -> None:
        del unit
        self._waiting = FrameBuffer()

    def encode_question(self, question: str) -> bytes:
        return _frame(question)

    def receive_answers(self, data: bytes) -> list[str]:
        return self._texts(data, _ANSWERS)

    def fits(self, question: str, answer: str) -> bool:
        first = int(question[:2], 16)
        begins = {first | _ANSWERED, first | _FAILED}
        return int(answer[:2], 16) in begins and answer[3:5] == question[3:5].upper()

    def lacks(self, answer: str) -> str:
        return _LACKING.get(answer[15:20], "") if _has_failed(answer) else ""

    def refuses(self, answer: str) -> str:
        return f"error {answer[15:20]}" if _has_failed(answer) and not self.lacks(answer) else ""

    def receive_questions(self, data: bytes) -> list[str]:
        return self._texts(data, _QUESTIONS)

    def encode_answer(self, answer: str) -> bytes:
        return _frame(answer)

    def refusal(self, question: str) -> str:
        first = int(question[:2], 16) | _FAILED
        return f"{first:02X} {question[3:5]} 00 00 02 02 0D"

    def clear(self) -> None:
        self._waiting.clear()

    def _texts(self, data: bytes, begins: frozenset[int]) -> list[str]:
        waiting = self._waiting.add(data)
        texts = []
        while len(waiting) > _HEADER:
            count = waiting[4]
            if count > _DATA_MAX or waiting[0] not in begins:
                waiting = waiting[1:]
            elif len(waiting) <= _HEADER + count:
                break
            elif sum(waiting[: _HEADER + count]) % 256 == waiting[_HEADER + count]:
                texts.append(hex_text(waiting[: _HEADER + count]))
                waiting = waiting[_HEADER + count + 1 :]
            else:
                waiting = waiting[1:]
        self._waiting.rest = waiting
        return texts


def _has_failed(answer: str) -> bool:
    return int(answer[:2], 16) & _FAILED == _FAILED


def _frame(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError(f"NEC: {text[:40]!r} is not hexadecimal") from error
    if len(data) < _HEADER or data[4] != len(data) - _HEADER:
        raise ProtocolError(f"NEC: {text[:40]!r} does not count its data in the fifth byte")
    return data + bytes([sum(data) % 256])
