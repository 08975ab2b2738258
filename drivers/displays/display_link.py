"""What a display's driver needs of a way to speak: one question, one answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Refusal(StrEnum):
    """Why an answer brings nothing."""

    LACKING = "lacking"  # the display knows no such thing: not asked again on this link
    UNSPOKEN = "unspoken"  # nor does the way it speaks: it was not asked
    BUSY = "busy"  # not now: off, warming up, or it does not say why
    FAULTY = "faulty"  # the display has failed, or says what makes no sense


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a display said, in the form in which profiles write it; ``reason`` for a person."""

    text: str
    refusal: Refusal | None = None
    reason: str = ""


class DisplayLink(Protocol):
    """An open way to one display, which asks one question at a time."""

    @property
    def source(self) -> str:
        """How the provenance of a value names the way, e.g. ``pjlink 10.1.2.3:4352``."""
        ...

    async def ask(self, question: str) -> Answer:
        """Return the display's answer, refusals included.

        ``question`` is a profile's request, filled in. After any error the link must be closed:
        UnreachableError when nothing comes in time, RefusedError when the display lets nobody ask
        without a (right) password, ProtocolError when it speaks otherwise.
        """
        ...

    async def close(self) -> None: ...


OpenLink = Callable[[], Awaitable[DisplayLink]]
"""Opens a way to the display; raises DriverError."""
