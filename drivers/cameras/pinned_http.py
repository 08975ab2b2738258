"""HTTP to one camera and to nobody else: the checks that keep a camera from steering us.

A camera tells its own addresses (XAddrs, stream and snapshot URIs) and may redirect. All of it
must stay on the host that was asked; answers are bounded. Addresses are IPv4 literals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from drivers.cameras.messages import CameraAccess
from drivers.errors import LoginRefusedError, ProtocolError, RefusedError, UnreachableError

URL_CHARS_MAX = 512
_UNAUTHORISED = 401
_REDIRECTS = range(300, 400)
_CHUNK_BYTES = 64 * 1024
_UNSAFE = frozenset(' "<>\\^`{|}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``challenge`` is the scheme a 401 asks for, in lower case."""

    status: int
    body: bytes
    challenge: str = ""


def host_of(url: str) -> IPv4Address:
    """Return the IPv4 address an URL names; ProtocolError when it names anything else."""
    return _parts(url)[0]


def pin(url: str, host: IPv4Address, what: str, *, scheme: str = "http") -> str:
    """Return ``url`` rebuilt without user and password.

    Raises RefusedError when it leads to another host or by another scheme.
    """
    named, named_scheme, rest = _parts(url)
    if named != host:
        raise RefusedError(
            f"camera {host}: its {what} leads to {named}; refused, check its network settings"
        )
    if named_scheme != scheme:
        raise RefusedError(f"camera {host}: its {what} is {named_scheme}, not {scheme}; refused")
    return rest


def _parts(url: str) -> tuple[IPv4Address, str, str]:
    if len(url) > URL_CHARS_MAX or not url.isascii() or not url.isprintable() or _UNSAFE & set(url):
        raise ProtocolError(f"URL of {len(url)} characters, or with characters no URL has; refused")
    try:
        parts = urlsplit(url)
        host = IPv4Address(parts.hostname or "")
        port = parts.port
    except (AddressValueError, ValueError) as error:
        raise ProtocolError(f"URL {url[:80]!r}: not an IPv4 address; refused") from error
    network_location = f"{host}:{port}" if port is not None else str(host)
    rebuilt = urlunsplit((parts.scheme, network_location, parts.path, parts.query, ""))
    return host, parts.scheme, rebuilt


def wrong_password(access: CameraAccess, challenge: str = "") -> str:
    """Return what to tell a person of a camera that does not let the box in."""
    host = host_of(access.address)
    if challenge == "basic":
        return f"camera {host}: wants the password in clear (Basic); refused, turn on Digest"
    if "own_onvif_users" in access.quirks:
        return (
            f"camera {host}: user name or password refused; add an ONVIF user on its web page,"
            " where ONVIF may have to be switched on as well, and enter that one"
        )
    return f"camera {host}: user name or password refused; enter the camera's own"


def check_login(answer: Answer, access: CameraAccess) -> None:
    """Raise LoginRefusedError, with what to tell a person, for a camera that lets nobody in."""
    if answer.status == _UNAUTHORISED:
        raise LoginRefusedError(wrong_password(access, answer.challenge))


async def fetch(
    session: aiohttp.ClientSession,
    request: tuple[str, str, bytes | None],
    *,
    content_type: str = "",
    size_max: int,
    timeout_s: float,
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
) -> Answer:
    """Send ``(method, url, body)`` and return the whole answer; redirects are not followed.

    Raises UnreachableError, RefusedError for a redirect, ProtocolError for too long an answer.
    """
    method, url, body = request
    headers = {"Content-Type": content_type} if content_type else {}
    try:
        async with session.request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            middlewares=middlewares,
        ) as response:
            if response.status in _REDIRECTS:
                raise RefusedError(f"{url}: the camera redirects elsewhere; refused")
            return Answer(
                status=response.status,
                challenge=response.headers.get("WWW-Authenticate", "").partition(" ")[0].lower(),
                body=await _bounded_body(response, url, size_max),
            )
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        reason = str(error) or f"silent for {timeout_s:g} s"
        raise UnreachableError(f"{url}: {reason}; check the camera's power and cable") from error


async def _bounded_body(response: aiohttp.ClientResponse, url: str, size_max: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > size_max:
            raise ProtocolError(f"{url}: an answer of more than {size_max} bytes; refused")
    return bytes(body)
