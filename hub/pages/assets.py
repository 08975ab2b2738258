"""Style sheets, scripts and pictures, held in memory and named by their content."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    gzipped: bytes
    content_type: str
    digest: str


class Assets:
    """The files of the static folder; a URL changes with its content, so browsers keep them."""

    def __init__(self) -> None:
        self._assets = {
            path.name: read_asset(path) for path in FOLDER.iterdir() if path.suffix in TYPES
        }

    def url(self, name: str) -> str:
        return f"/static/{name}?v={self._assets[name].digest}"

    async def serve(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {
            "Cache-Control": f"public, max-age={YEAR_S}, immutable",
            "Vary": "Accept-Encoding",
        }
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.body, content_type=asset.content_type, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.gzipped, content_type=asset.content_type, headers=headers)


def read_asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        gzipped=gzip.compress(body, mtime=0),
        content_type=TYPES[path.suffix],
        digest=hashlib.sha256(body).hexdigest()[:12],
    )
