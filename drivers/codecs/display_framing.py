"""How displays' questions and answers travel as bytes: one framing for each way to speak; pure.

Inside a profile both are short texts; what carries them (length, id, checksum, terminator) is the
framing's. Both ends are here, so that a simulated display speaks by the same tables.
"""

from typing import Protocol

BUFFER_BYTES_MAX = 512
"""More than any frame; what is older is noise."""


class Framing(Protocol):
    """One display's frames; nothing that arrives makes it raise."""

    def encode_question(self, question: str) -> bytes:
        """Return the frame of a question; ProtocolError when the text cannot be framed."""
        ...

    def receive_answers(self, data: bytes) -> list[str]:
        """Return the answers that ``data`` completes; noise between frames is skipped."""
        ...

    def fits(self, question: str, answer: str) -> bool:
        """Tell whether an answer is one to this question: it may be a late one to another."""
        ...

    def lacks(self, answer: str) -> str:
        """Return how the display says that it has no such thing, empty when it does not."""
        ...

    def refuses(self, answer: str) -> str:
        """Return how the display says no for now, empty when it does not.

        Raises RefusedError when it talks to nobody before a person changes its set-up.
        """
        ...

    def receive_questions(self, data: bytes) -> list[str]:
        """Return the questions to this display that ``data`` completes."""
        ...

    def encode_answer(self, answer: str) -> bytes:
        """Return the frame of a display's answer."""
        ...

    def refusal(self, question: str) -> str:
        """Return the answer by which a display says no for now."""
        ...

    def clear(self) -> None:
        """Forget half a frame."""
        ...


class FrameBuffer:
    """Bytes that are no whole frame yet, at most ``BUFFER_BYTES_MAX`` of them."""

    def __init__(self) -> None:
        self.rest = b""

    def add(self, data: bytes) -> bytes:
        """Return everything that waits, the oldest dropped beyond the limit."""
        self.rest = (self.rest + data)[-BUFFER_BYTES_MAX:]
        return self.rest

    def clear(self) -> None:
        self.rest = b""


def hex_text(data: bytes) -> str:
    return data.hex(" ").upper()
