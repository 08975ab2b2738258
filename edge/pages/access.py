"""Who may change something: requests from the box's own pages, made after the setup code.

A class card or classroom page asks for nothing. Devices are driven only with a session, which
the setup code opens and which lives in this process's memory alone.
"""

from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address

from aiohttp import web

from provisioning.code_sessions import CodeSessions, SessionLimits

SESSION_COOKIE = "__Host-schoolnode-setup"
LIMITS = SessionLimits(
    cookie=SESSION_COOKIE,
    idle_s=30 * 60,
    life_s=12 * 3_600,
    sessions=32,
    # With an eight-digit code a guesser of the whole LAN needs years.
    attempts_together=30,
    code_chars=64,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SetupSessions(CodeSessions):
    """Sessions that the setup code opens."""

    def __init__(self, check_code: Callable[[str], bool], monotonic_s: Callable[[], float]) -> None:
        super().__init__(LIMITS, check_code, monotonic_s)


def address_of(request: web.Request) -> str:
    return request.remote or "unknown"


def who_asks(request: web.Request) -> str:
    """Name who has a session, for the audit: the code is everybody's, the address is not."""
    return f"setup code from {address_of(request)}"


def require_lan(request: web.Request) -> None:
    """Raise HTTPForbidden for who does not ask from a private, a link-local or the box's address.

    Nobody signs in to a classroom's page.
    """
    try:
        address = ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        address = None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if address is None or not (mapped or address).is_private:
        raise web.HTTPForbidden(text="a class speaks from the school's own network alone")


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
