"""Style sheets, scripts and pictures, held in memory and named by their content."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "static"
YEAR_S = 365 * 24 * 3_600
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    gzipped: bytes
    content_type: str
    digest: str


class Assets:
    """The files of one folder; ``url`` changes with the content, so browsers keep them."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._assets: Mapping[str, Asset] = {
            path.name: _read(path) for path in sorted(folder.iterdir()) if path.is_file()
        }

    def url(self, name: str) -> str:
        return f"/static/{name}?v={self._assets[name].digest}"

    @property
    def digest(self) -> str:
        """One name for the state of all of them."""
        together = "".join(asset.digest for asset in self._assets.values())
        return hashlib.sha256(together.encode()).hexdigest()[:12]

    async def serve(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return asset_response(request, asset, f"public, max-age={YEAR_S}, immutable")

    def get(self, name: str) -> Asset:
        return self._assets[name]


def asset_response(request: web.Request, asset: Asset, cache_control: str) -> web.Response:
    headers = {
        "Cache-Control": cache_control,
        "ETag": f'"{asset.digest}"',
        "Vary": "Accept-Encoding",
    }
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.gzipped, content_type=asset.content_type, headers=headers)
    return web.Response(body=asset.body, content_type=asset.content_type, headers=headers)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(
        body=body,
        gzipped=gzip.compress(body, 9, mtime=0),
        content_type=TYPES.get(path.suffix, guessed),
        digest=hashlib.sha256(body).hexdigest()[:12],
    )
