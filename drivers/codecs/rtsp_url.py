"""Addresses of streams, as a person or a camera gives them (RFC 2326 §3.2)."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from drivers.errors import SetupError

DEFAULT_PORT = 554
URL_CHARS_MAX = 1024

_URL_CHARS = re.compile(r"[!-~]+")
_UDP_WISH = "transport=udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspUrl:
    """``text`` is what the camera is asked for; ``wants_udp`` was said by ``transport=udp``."""

    host: str
    port: int
    text: str
    wants_udp: bool = False

    @property
    def site(self) -> tuple[str, int]:
        return self.host, self.port


def parse_url(text: str) -> RtspUrl:
    """Parse a stream's address; raises SetupError.

    A parameter ``transport=udp`` is for us, not for the camera: media shall come in datagrams.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SetupError(f"{text[:80]!r} is not an address: {error}") from error
    if parts.scheme.lower() != "rtsp" or not host or port == 0:
        raise SetupError(f"{text[:80]!r} is not a stream's address; give rtsp://host/path")
    if parts.username is not None or parts.password is not None:
        raise SetupError(
            f"the address of {host} holds a user name or password; give the credentials apart"
        )
    if len(text) > URL_CHARS_MAX or not _URL_CHARS.fullmatch(text):
        raise SetupError(f"the address of {host} is too long or has spaces; encode it as a URL")
    asked, mark, query = text.partition("#")[0].partition("?")
    parameters = query.split("&")
    kept = "&".join(word for word in parameters if word.lower() != _UDP_WISH)
    return RtspUrl(
        host=host,
        port=port or DEFAULT_PORT,
        text=asked + mark * bool(kept) + kept,
        wants_udp=kept != query,
    )
