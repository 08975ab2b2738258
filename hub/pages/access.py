"""Who may see and change the district's pages: an administrator's session, opened by the code."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from provisioning.code_sessions import CodeSessions, SessionLimits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION_COOKIE: Final = "__Host-schoolnode-hub"
LIMITS: Final = SessionLimits(
    cookie=SESSION_COOKIE,
    # A wall screen keeps its session by using it; a forgotten browser loses it.
    idle_s=12 * 3600,
    life_s=inf,
    sessions=256,
    attempts_together=60,
    code_chars=128,
)

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Metrics ask for a token of their own.
OPEN_PATHS: Final = frozenset({"/login", "/healthz", "/metrics"})
NEXT_CHARS_MAX: Final = 200


class Sessions(CodeSessions):
    """Sessions that the administrator's code opens."""

    def __init__(self, check_code: Callable[[str], bool], monotonic_s: Callable[[], float]) -> None:
        super().__init__(LIMITS, check_code, monotonic_s)


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
