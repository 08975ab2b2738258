"""The nine ASCII bytes of BenQ's interactive panels and ViewSonic's ViewBoard, on RS-232 and TCP.

Source: ViewSonic ViewBoard IFP33 Series User Manual, "Protocol" (set and get functions), BenQ
RP6504 RS232 & LAN Protocol: ``8``, two digits of the id (99: every display), ``s`` or ``g``, the
function, three characters of value, CR. A set is answered ``4 id +`` or ``4 id -`` (some models
leave the id out of the answer to power, BenQ writes the sign alone), a get
``8 id r function value`` or ``-``.

Texts leave length, id and CR out: ``s!001``, ``gl000``, ``rl001``, ``+``.
"""

import re

from drivers.codecs.display_framing import FrameBuffer
from drivers.errors import ProtocolError

EVERYBODY = 99
_ANSWER = re.compile(rb"(?:8([0-9]{2})(r[!-~][ -~]{3})|4([0-9]{2})([+-])|(?<![!-~])2?([+-]))\Z")
_QUESTION = re.compile(rb"8([0-9]{2})([sg][!-~][ -~]{3})\Z")
_TEXT = re.compile(r"[sg][!-~][ -~]{3}")


class IfpFraming:
    """The frames of the panel with this id, 1 to 98."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._waiting = FrameBuffer()

    def encode_question(self, question: str) -> bytes:
        if _TEXT.fullmatch(question) is None:
            raise ProtocolError(f"IFP: {question[:20]!r} is no function with three characters")
        return f"8{self._unit:02d}{question}\r".encode("ascii")

    def receive_answers(self, data: bytes) -> list[str]:
        answers = []
        for line in self._lines(data):
            found = _ANSWER.search(line)
            if found is None:
                continue
            unit = found[1] or found[3]
            if unit is None or int(unit) == self._unit:
                answers.append((found[2] or found[4] or found[5]).decode("ascii"))
        return answers

    def fits(self, question: str, answer: str) -> bool:
        if question.startswith("s"):
            return answer in {"+", "-"}
        return answer == "-" or answer[:2] == f"r{question[1]}"

    def lacks(self, answer: str) -> str:
        del answer  # "-" says no, not why
        return ""

    def refuses(self, answer: str) -> str:
        return answer if answer == "-" else ""

    def receive_questions(self, data: bytes) -> list[str]:
        found = [_QUESTION.search(line) for line in self._lines(data)]
        return [
            match[2].decode("ascii")
            for match in found
            if match is not None and int(match[1]) in {self._unit, EVERYBODY}
        ]

    def encode_answer(self, answer: str) -> bytes:
        length = 4 if answer in {"+", "-"} else 8
        return f"{length}{self._unit:02d}{answer}\r".encode("ascii")

    def refusal(self, question: str) -> str:
        del question
        return "-"

    def clear(self) -> None:
        self._waiting.clear()

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, self._waiting.rest = self._waiting.add(data).split(b"\r")
        return lines
