"""LG's RS-232 control of monitors, also by TCP port 9761.

Source: LG owner's manuals, "Controlling the multiple product" (e.g. 49SH7DB-M: transmission
``k a 01 FF CR``, set id 01 to FF, 00 for every monitor; acknowledgement ``a 01 OK01x``, ``NG`` when
it refuses). Data FF asks.

Texts leave set id and terminator out: ``ka ff``, ``a OK01``, ``a NG00``.
"""

import re

from drivers.codecs.display_framing import FrameBuffer
from drivers.errors import ProtocolError

EVERYBODY = 0
_ANSWER = re.compile(rb"([a-z]) ([0-9a-f]{2,3}) (OK|NG)([0-9a-f]{0,12})x", re.IGNORECASE)
_QUESTION = re.compile(rb"([a-z]{2}) ([0-9a-f]{2,3}) ([0-9a-f ]{2,12})\Z", re.IGNORECASE)
_TEXT = re.compile(r"[a-z]{2} [0-9a-f ]{2,12}", re.IGNORECASE)


class LgFraming:
    """The frames of the monitor with this set id."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._waiting = FrameBuffer()

    def encode_question(self, question: str) -> bytes:
        if _TEXT.fullmatch(question) is None:
            raise ProtocolError(f"LG: {question[:20]!r} is no command with data; write like ka ff")
        return f"{question[:2]} {self._unit:02x} {question[3:]}\r".encode("ascii")

    def receive_answers(self, data: bytes) -> list[str]:
        waiting = self._waiting.add(data)
        answers, end = [], 0
        for found in _ANSWER.finditer(waiting):
            end = found.end()
            if int(found[2], 16) == self._unit:
                answers.append(f"{_text(found[1])} {_text(found[3]).upper()}{_text(found[4])}")
        self._waiting.rest = waiting[end:]
        return answers

    def fits(self, question: str, answer: str) -> bool:
        return answer[:1].lower() == question[1:2].lower()

    def lacks(self, answer: str) -> str:
        del answer  # NG says no, not why
        return ""

    def refuses(self, answer: str) -> str:
        return answer[2:] if answer[2:4] == "NG" else ""

    def receive_questions(self, data: bytes) -> list[str]:
        *lines, self._waiting.rest = self._waiting.add(data).split(b"\r")
        found = [_QUESTION.search(line) for line in lines]
        return [
            f"{_text(match[1])} {_text(match[3])}"
            for match in found
            if match is not None and int(match[2], 16) in {self._unit, EVERYBODY}
        ]

    def encode_answer(self, answer: str) -> bytes:
        return f"{answer[:1]} {self._unit:02x} {answer[2:]}x".encode("ascii")

    def refusal(self, question: str) -> str:
        return f"{question[1:2]} NG00"

    def clear(self) -> None:
        self._waiting.clear()


def _text(data: bytes) -> str:
    return data.decode("ascii")
