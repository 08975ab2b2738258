"""Who may change something: requests from the box's own pages, made after the setup code.

A class card or classroom page asks for nothing. Devices are driven only with a session, which
the setup code opens and which lives in this process's memory alone.
"""

import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from aiohttp import web

SESSION_COOKIE = "__Host-schoolnode-setup"
SESSION_IDLE_S = 30 * 60
SESSION_S = 12 * 3_600
SESSIONS_MAX = 32
CODE_CHARS_MAX = 64

ATTEMPT_WINDOW_S = 60
ATTEMPTS_PER_ADDRESS = 5
# All addresses together: with an eight-digit code a guesser of the whole LAN needs years.
ATTEMPTS_TOGETHER = 30
ADDRESSES_MAX = 1_024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WrongCodeError(Exception):
    """The setup code does not fit: ask again."""


class TooManyAttemptsError(Exception):
    """Codes were tried too often: wait ``retry_s``."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"too many setup codes tried; wait {retry_s} s")
        self.retry_s = retry_s


class Attempts:
    """Counts tried codes in a sliding window, per address and together, in bounded memory."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._together: deque[float] = deque(maxlen=ATTEMPTS_TOGETHER)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Note one attempt, or raise :class:`TooManyAttemptsError` and note nothing."""
        now_s = self._monotonic_s()
        own = self._by_address.pop(address, None)
        if own is None:
            own = deque(maxlen=ATTEMPTS_PER_ADDRESS)
        self._by_address[address] = own
        while len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        for window in (own, self._together):
            if len(window) == window.maxlen and now_s - window[0] < ATTEMPT_WINDOW_S:
                raise TooManyAttemptsError(1 + int(ATTEMPT_WINDOW_S - (now_s - window[0])))
        own.append(now_s)
        self._together.append(now_s)

    def forgive(self, address: str) -> None:
        self._by_address.pop(address, None)


class SetupSessions:
    """Opens sessions for the setup code and recognises them; only hashes of tokens are kept."""

    def __init__(self, check_code: Callable[[str], bool], monotonic_s: Callable[[], float]) -> None:
        self._check_code = check_code
        self._monotonic_s = monotonic_s
        self._attempts = Attempts(monotonic_s)
        self._sessions: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # opened, used

    def open(self, code: str, address: str) -> str:
        """Return a session's token, or raise WrongCodeError or TooManyAttemptsError."""
        self._attempts.count(address)
        if len(code) > CODE_CHARS_MAX or not self._check_code(code.strip()):
            raise WrongCodeError
        self._attempts.forgive(address)
        token = secrets.token_urlsafe(32)
        now_s = self._monotonic_s()
        self._sessions[_digest(token)] = (now_s, now_s)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return token

    def knows(self, token: str) -> bool:
        """Say whether a token opens a session still; asking keeps it from idling out."""
        digest = _digest(token)
        session = self._sessions.get(digest)
        if session is None:
            return False
        opened_s, used_s = session
        now_s = self._monotonic_s()
        if now_s - opened_s > SESSION_S or now_s - used_s > SESSION_IDLE_S:
            del self._sessions[digest]
            return False
        self._sessions[digest] = (opened_s, now_s)
        return True

    def close(self, token: str) -> None:
        self._sessions.pop(_digest(token), None)


def session_token(request: web.Request) -> str:
    return request.cookies.get(SESSION_COOKIE, "")


def set_session_cookie(response: web.StreamResponse, token: str) -> None:
    response.set_cookie(
        SESSION_COOKIE, token, path="/", secure=True, httponly=True, samesite="Strict"
    )


def clear_session_cookie(response: web.StreamResponse) -> None:
    response.del_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")


def address_of(request: web.Request) -> str:
    return request.remote or "unknown"


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse changes, and WebSockets, asked for by another site's page.

    Browsers send Origin with every POST and WebSocket (Fetch standard, "append a request Origin
    header"), newer ones Sec-Fetch-Site too. Programs name the box itself as Origin.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    own = f"{request.scheme}://{request.host}"
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        if site not in {None, "same-origin"} or origin not in {None, own}:
            raise web.HTTPForbidden(text="This request comes from another site; use the box's page")
        if site is None and origin is None:
            raise web.HTTPForbidden(text=f"A change must say where it comes from: Origin: {own}")
    elif request.headers.get("Upgrade", "").lower() == "websocket" and origin not in {None, own}:
        raise web.HTTPForbidden(text="This connection comes from another site; use the box's page")
    return await handler(request)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
