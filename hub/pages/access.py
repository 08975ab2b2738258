"""Who may see and change the district's pages: an administrator's session, opened by the code.

Sessions and counted attempts live in this process's memory alone and are bounded.
"""

import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION_COOKIE: Final = "__Host-schoolnode-hub"
# A wall screen keeps its session by using it; a forgotten browser loses it.
SESSION_IDLE_S: Final = 12 * 3600
SESSIONS_MAX: Final = 256
CODE_CHARS_MAX: Final = 128

ATTEMPT_WINDOW_S: Final = 60
ATTEMPTS_PER_ADDRESS: Final = 5
ATTEMPTS_TOGETHER: Final = 60
ADDRESSES_MAX: Final = 1024

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Metrics ask for a token of their own.
OPEN_PATHS: Final = frozenset({"/login", "/healthz", "/metrics"})
NEXT_CHARS_MAX: Final = 200


class WrongCodeError(Exception):
    """The code is not the administrator's: ask again."""


class TooManyAttemptsError(Exception):
    """Codes were tried too often: wait ``retry_s``."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"too many codes were tried; try again in {retry_s} s")
        self.retry_s = retry_s


class Attempts:
    """Counts tried codes in a sliding window, per address and together."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._together: deque[float] = deque(maxlen=ATTEMPTS_TOGETHER)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Note one attempt, or raise :class:`TooManyAttemptsError` and note nothing."""
        now_s = self._monotonic_s()
        own = self._by_address.setdefault(address, deque(maxlen=ATTEMPTS_PER_ADDRESS))
        self._by_address.move_to_end(address)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        for window in (own, self._together):
            waited_s = now_s - window[0] if window else ATTEMPT_WINDOW_S
            if len(window) == window.maxlen and waited_s < ATTEMPT_WINDOW_S:
                raise TooManyAttemptsError(1 + int(ATTEMPT_WINDOW_S - waited_s))
        own.append(now_s)
        self._together.append(now_s)

    def forgive(self, address: str) -> None:
        self._by_address.pop(address, None)


class Sessions:
    """Opens sessions for the right code and recognises them; only hashes of tokens are kept."""

    def __init__(self, check_code: Callable[[str], bool], monotonic_s: Callable[[], float]) -> None:
        self._check_code = check_code
        self._monotonic_s = monotonic_s
        self._attempts = Attempts(monotonic_s)
        self._used_s: OrderedDict[bytes, float] = OrderedDict()

    def open(self, code: str, address: str) -> str:
        """Return a new session's token; raises WrongCodeError or TooManyAttemptsError."""
        self._attempts.count(address)
        if len(code) > CODE_CHARS_MAX or not self._check_code(code.strip()):
            raise WrongCodeError
        self._attempts.forgive(address)
        token = secrets.token_urlsafe(32)
        self._used_s[digest_of(token)] = self._monotonic_s()
        if len(self._used_s) > SESSIONS_MAX:
            self._used_s.popitem(last=False)
        return token

    def holds(self, request: web.Request) -> bool:
        """Say whether a request carries a session, and keep that session alive."""
        digest = digest_of(request.cookies.get(SESSION_COOKIE, ""))
        used_s = self._used_s.get(digest)
        if used_s is None:
            return False
        now_s = self._monotonic_s()
        if now_s - used_s > SESSION_IDLE_S:
            del self._used_s[digest]
            return False
        self._used_s[digest] = now_s
        self._used_s.move_to_end(digest)
        return True

    def close(self, request: web.Request) -> None:
        self._used_s.pop(digest_of(request.cookies.get(SESSION_COOKIE, "")), None)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def comes_from_here(request: web.Request) -> bool:
    """Say whether a change was asked for by this hub's own page.

    Browsers send Origin with every POST (Fetch standard, "append a request Origin header"), newer
    ones Sec-Fetch-Site too; a program names the hub itself as Origin. The scheme is not compared:
    a proxy before the hub may end TLS.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is None and origin is None:
        return False
    if site not in {None, "same-origin"}:
        return False
    return origin is None or urlsplit(origin).netloc == request.host


def is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith("/static/")


def safe_next(path: str) -> str:
    """Return where to go after login: a path of this hub, else the first page."""
    plain = path.isascii() and path.isprintable() and "\\" not in path
    here = path.startswith("/") and not path.startswith("//")
    return path if plain and here and len(path) <= NEXT_CHARS_MAX else "/"


def set_session_cookie(response: web.StreamResponse, token: str) -> None:
    response.set_cookie(
        SESSION_COOKIE, token, path="/", secure=True, httponly=True, samesite="Strict"
    )


def clear_session_cookie(response: web.StreamResponse) -> None:
    response.del_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
