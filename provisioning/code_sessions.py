"""Sessions that a code opens on a program's pages: bounded, in memory, known by hashes only.

Guessing is slowed per address and for all addresses together, right codes included. Strangers'
guesses keep out other strangers, but nobody at an address from which a session is open.
"""

import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web

ATTEMPT_WINDOW_S = 60
ATTEMPTS_PER_ADDRESS = 5
ADDRESSES_MAX = 1_024


class WrongCodeError(Exception):
    """The code does not fit: ask again."""


class TooManyAttemptsError(Exception):
    """Codes were tried too often: wait ``retry_s``."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"too many codes were tried; wait {retry_s} s")
        self.retry_s = retry_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What a program allows; a session ends ``idle_s`` after its last use, ``life_s`` at most."""

    cookie: str
    idle_s: float
    life_s: float
    sessions: int
    attempts_together: int
    code_chars: int


class Attempts:
    """Counts tried codes in a sliding window, per address and together, in bounded memory."""

    def __init__(self, together: int, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._together: deque[float] = deque(maxlen=together)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str, *, is_known: bool = False) -> None:
        """Note one attempt, or raise :class:`TooManyAttemptsError` and note nothing.

        ``is_known``: a session is open from there, and it counts for itself alone.
        """
        now_s = self._monotonic_s()
        own = self._by_address.setdefault(address, deque(maxlen=ATTEMPTS_PER_ADDRESS))
        self._by_address.move_to_end(address)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        windows = (own,) if is_known else (own, self._together)
        for window in windows:
            if len(window) == window.maxlen and now_s - window[0] < ATTEMPT_WINDOW_S:
                raise TooManyAttemptsError(1 + int(ATTEMPT_WINDOW_S - (now_s - window[0])))
        for window in windows:
            window.append(now_s)

    def forgive(self, address: str) -> None:
        self._by_address.pop(address, None)


@dataclass(frozen=True, slots=True)
class _Session:
    address: str
    opened_s: float
    used_s: float


class CodeSessions:
    """Opens sessions for the right code, and recognises them by a cookie.

    The cookie is out of reach of scripts and of other sites. When there are too many sessions, the
    one that was used longest ago ends.
    """

    def __init__(
        self,
        limits: SessionLimits,
        check_code: Callable[[str], bool],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._check_code = check_code
        self._monotonic_s = monotonic_s
        self._attempts = Attempts(limits.attempts_together, monotonic_s)
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def open(self, code: str, address: str) -> str:
        """Return a session's token, or raise WrongCodeError or TooManyAttemptsError."""
        self._attempts.count(address, is_known=self._is_known(address))
        if len(code) > self._limits.code_chars or not self._check_code(code.strip()):
            raise WrongCodeError
        self._attempts.forgive(address)
        token = secrets.token_urlsafe(32)
        now_s = self._monotonic_s()
        self._sessions[_digest(token)] = _Session(address, now_s, now_s)
        if len(self._sessions) > self._limits.sessions:
            self._sessions.popitem(last=False)
        return token

    def knows(self, token: str) -> bool:
        """Say whether a token opens a session still; asking keeps it from idling out."""
        digest = _digest(token)
        session = self._sessions.get(digest)
        if session is None:
            return False
        if self._is_over(session):
            del self._sessions[digest]
            return False
        self._sessions[digest] = replace(session, used_s=self._monotonic_s())
        self._sessions.move_to_end(digest)
        return True

    def _is_known(self, address: str) -> bool:
        return any(
            session.address == address and not self._is_over(session)
            for session in self._sessions.values()
        )

    def _is_over(self, session: _Session) -> bool:
        now_s, limits = self._monotonic_s(), self._limits
        is_old = now_s - session.opened_s > limits.life_s
        return is_old or now_s - session.used_s > limits.idle_s

    def close(self, token: str) -> None:
        self._sessions.pop(_digest(token), None)

    def token_of(self, request: web.Request) -> str:
        return request.cookies.get(self._limits.cookie, "")

    def holds(self, request: web.Request) -> bool:
        """Say whether a request carries a session, and keep that session alive."""
        return self.knows(self.token_of(request))

    def give_cookie(self, response: web.StreamResponse, token: str) -> None:
        response.set_cookie(
            self._limits.cookie, token, path="/", secure=True, httponly=True, samesite="Strict"
        )

    def take_cookie(self, response: web.StreamResponse) -> None:
        response.del_cookie(
            self._limits.cookie, path="/", secure=True, httponly=True, samesite="Strict"
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
