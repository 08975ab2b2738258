"""The short code by which a lesson's teacher opens the remote and the wall.

Six digits of chance for each lesson, shown on the flagship room's paired screen until they were
used once. They open that lesson's pages and nothing else of the box. Tried codes are counted per
address and together (``provisioning.code_sessions``), and never together against an address from
which the lesson is open already: who tries as fast as he is let, on every address of a LAN, for a
whole lesson of an hour, finds one with a chance of 1 in 1,600.
"""

import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from provisioning.code_sessions import CodeSessions, SessionLimits

COOKIE = "__Host-schoolnode-lesson"
DIGITS = 6
LESSONS_MAX = 64
"""Lessons with a code at a time; the oldest goes first."""
LIMITS = SessionLimits(
    cookie=COOKIE,
    idle_s=3 * 3_600,
    life_s=6 * 3_600,
    sessions=8,
    attempts_together=10,
    code_chars=16,
)


@dataclass(slots=True)
class _Opened:
    code: str
    sessions: CodeSessions
    was_used: bool = False


class TeacherCodes:
    """Codes and sessions, in memory: after a restart another code is shown."""

    def __init__(self, draw: Callable[[int], int], monotonic_s: Callable[[], float]) -> None:
        """``draw`` returns a secret number below its argument."""
        self._draw = draw
        self._monotonic_s = monotonic_s
        self._lessons: OrderedDict[str, _Opened] = OrderedDict()

    def shown(self, lesson: str) -> str:
        """Return the code that the room's screen shows; nothing once somebody opened the lesson."""
        opened = self._of(lesson)
        return "" if opened.was_used else opened.code

    def show_again(self, lesson: str) -> None:
        """Draw another code for one more person; whoever has opened the lesson keeps it open."""
        opened = self._of(lesson)
        opened.code = self._new_code()
        opened.was_used = False

    def open(self, lesson: str, code: str, address: str) -> str:
        """Return a session's token; raises WrongCodeError or TooManyAttemptsError."""
        opened = self._of(lesson)
        token = opened.sessions.open(code.replace(" ", ""), address)
        opened.was_used = True
        return token

    def allows(self, request: web.Request, lesson: str) -> bool:
        """Say whether a request carries a session of this lesson."""
        opened = self._lessons.get(lesson)
        return opened is not None and opened.sessions.holds(request)

    def give_cookie(self, lesson: str, response: web.StreamResponse, token: str) -> None:
        self._of(lesson).sessions.give_cookie(response, token)

    def forget(self, lesson: str) -> None:
        """End a lesson's sessions: it is over."""
        self._lessons.pop(lesson, None)

    def _of(self, lesson: str) -> _Opened:
        opened = self._lessons.get(lesson)
        if opened is None:
            opened = _Opened(
                self._new_code(),
                CodeSessions(
                    LIMITS,
                    lambda code: self._fits(lesson, code),
                    self._monotonic_s,
                ),
            )
            self._lessons[lesson] = opened
            if len(self._lessons) > LESSONS_MAX:
                self._lessons.popitem(last=False)
        return opened

    def _fits(self, lesson: str, code: str) -> bool:
        opened = self._lessons[lesson]
        # A code that was used is shown no more; who saw it then cannot use it later.
        return not opened.was_used and hmac.compare_digest(
            opened.code.encode(), code.encode("utf-8", "surrogatepass")
        )

    def _new_code(self) -> str:
        return f"{self._draw(10**DIGITS):0{DIGITS}}"
