"""Headers that keep a page to itself: nothing from outside, nothing framed, nothing guessed."""

import re

from aiohttp import web

HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; connect-src {connect}; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# No Strict-Transport-Security: a browser that knew it would never reach the plain page from which
# a new panel learns to trust the box. Referrer-Policy is not "no-referrer", under which forms send
# "Origin: null".
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), payment=(), usb=(), autoplay=(self)",
    "X-Frame-Options": "DENY",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers on a response about to leave (aiohttp's ``on_response_prepare``)."""
    for name, value in FIXED.items():
        response.headers.setdefault(name, value)
    if request.secure:
        # Over plain HTTP browsers ignore it, and say so as an error.
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Content-Security-Policy", content_policy(request))


def content_policy(request: web.Request, *sources: str) -> str:
    """Allow connections home and to ``sources``.

    Browsers before CSP 3 do not take 'self' to cover a WebSocket, so it is named.
    """
    connect = ["'self'", *sources]
    if HOST.fullmatch(request.host):
        connect.append(f"{'wss' if request.secure else 'ws'}://{request.host}")
    return POLICY.format(connect=" ".join(connect))
