"""NEC's external control of LCD monitors, on RS-232 and TCP port 7142.

Source: External Control NEC LCD Monitor, Rev. 2.6 (§4 format, §5 types, §7 power): ``SOH '0'
receiver sender type length STX message ETX BCC CR``; monitor 1 is ``A``, the controller ``0``;
length counts STX to ETX in two hexadecimal digits; BCC is the exclusive or of everything after
SOH. Types: A command, B its reply, C get, D its reply, E set, F its reply.

Texts are type and message: ``A01D6``, ``B0200D60000040001``, ``C0060``.
"""

import re
from functools import reduce
from operator import xor

from drivers.codecs.display_framing import FrameBuffer
from drivers.errors import ProtocolError

_FRAME = re.compile(
    rb"\x01(0(.)(.)([A-F])([0-9A-F]{2})\x02([ -~]{0,250})\x03)(.)\r", re.DOTALL | re.IGNORECASE
)
_TEXT = re.compile(r"[A-F][ -~]{2,100}")
_CONTROLLER = 0x30
_FIRST_MONITOR = 0x40  # monitor 1 is "A"
_REPLIES = {"A": "B", "C": "D", "E": "F"}
_NULL = "BBE"  # §5: not supported, or not in the present state


class NecDisplayFraming:
    """The frames of the monitor with this id, 1 to 100."""

    def __init__(self, unit: int) -> None:
        self._monitor = _FIRST_MONITOR + unit
        self._waiting = FrameBuffer()

    def encode_question(self, question: str) -> bytes:
        return _frame(question, receiver=self._monitor, sender=_CONTROLLER)

    def receive_answers(self, data: bytes) -> list[str]:
        return self._texts(data, receiver=_CONTROLLER, sender=self._monitor)

    def fits(self, question: str, answer: str) -> bool:
        if answer == _NULL:
            return True
        if answer[:1] != _REPLIES.get(question[:1]):
            return False
        if question.startswith("A"):
            # Replies repeat the operation: D6 of 01D6, C203D6 of C203D60001.
            return question[1:7][-2:] in answer[1:10]
        return question[1:5] == answer[3:7]

    def lacks(self, answer: str) -> str:
        if answer[:1] in {"D", "F"} and answer[1:3] == "01":
            return "unsupported operation (01)"
        return ""

    def refuses(self, answer: str) -> str:
        return "a null message" if answer == _NULL else ""

    def receive_questions(self, data: bytes) -> list[str]:
        return self._texts(data, receiver=self._monitor, sender=_CONTROLLER)

    def encode_answer(self, answer: str) -> bytes:
        return _frame(answer, receiver=_CONTROLLER, sender=self._monitor)

    def refusal(self, question: str) -> str:
        del question
        return _NULL

    def clear(self) -> None:
        self._waiting.clear()

    def _texts(self, data: bytes, *, receiver: int, sender: int) -> list[str]:
        waiting = self._waiting.add(data)
        texts, end = [], 0
        for found in _FRAME.finditer(waiting):
            end = found.end()
            inner, message = found[1], found[6]
            sound = _check(inner) == found[7][0] and int(found[5], 16) == len(message) + 2
            if sound and (found[2][0], found[3][0]) == (receiver, sender):
                texts.append((found[4] + message).decode("ascii").upper())
        self._waiting.rest = waiting[end:]
        return texts


def _frame(text: str, *, receiver: int, sender: int) -> bytes:
    if _TEXT.fullmatch(text) is None:
        raise ProtocolError(f"NEC: {text[:20]!r} is no message; write its type and it, like A01D6")
    message = text[1:].encode("ascii")
    header = b"0" + bytes([receiver, sender]) + text[:1].encode("ascii")
    inner = header + f"{len(message) + 2:02X}".encode("ascii") + b"\x02" + message + b"\x03"
    return b"\x01" + inner + bytes([_check(inner)]) + b"\r"


def _check(data: bytes) -> int:
    return reduce(xor, data, 0)
