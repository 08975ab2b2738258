"""The token with which a monitoring program may read a node's metrics, and nothing else.

It lies in the node's folder; whoever runs Prometheus copies it to a ``credentials_file``.
"""

import hmac
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from provisioning.durable_file import read_private, write_private

FILE = "metrics-token"
METRICS_PATH = "/metrics"
_BYTES = 32
_SCHEME = "Bearer "


def open_scrape_token(folder: Path, random_bytes: Callable[[int], bytes]) -> str:
    """Return the folder's token, made at the first call; raises a SetupError."""
    path = folder / FILE
    if not path.exists():
        write_private(path, random_bytes(_BYTES).hex().encode() + b"\n")
    return read_private(path).decode("ascii", "replace").strip()


def require_scraper(request: web.Request, token: str) -> None:
    """Raise HTTPUnauthorized unless the request bears the token; compared in constant time."""
    told = request.headers.get("Authorization", "")
    borne = told.removeprefix(_SCHEME).strip() if told.startswith(_SCHEME) else ""
    if not token or not hmac.compare_digest(borne.encode("utf-8", "replace"), token.encode()):
        raise web.HTTPUnauthorized(
            text=f"metrics want the token in the file {FILE} of this node's folder",
            headers={"WWW-Authenticate": "Bearer"},
        )
