"""Answers with a page or its JSON twin, in the reader's language."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from hub.locale.catalogue import LANGUAGES
from hub.pages.assets import Assets
from hub.pages.hub_view import HubView
from hub.pages.rendering import render, render_json

LANGUAGE: Final = web.RequestKey("language", str)
LANGUAGE_COOKIE: Final = "schoolnode-language"
YEAR_S: Final = 365 * 24 * 3600
FRESH: Final = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie, Accept-Encoding"}


class PageWriter:
    """Renders in a worker thread, so that a large district's page does not hold up a lesson."""

    def __init__(self, view: HubView, assets: Assets) -> None:
        self._view = view
        self._assets = assets

    async def page(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, object],
        *,
        status: int = 200,
        address: str = "",
    ) -> web.Response:
        """Fill a template; ``address`` is where the page is asked for that answers a form."""
        asked = request.rel_url.with_path(address, keep_query=True) if address else request.rel_url
        everywhere = {
            "address": str(asked),
            "asset": self._assets.url,
            "district_name": self._view.district_name,
            "path": asked.path,
            "read_ms": self._view.now_ms(),
            "switches": [(code, str(asked.update_query(lang=code))) for code in LANGUAGES],
        }
        text = await asyncio.to_thread(
            render, request[LANGUAGE], template, {**everywhere, **context}
        )
        response = web.Response(text=text, content_type="text/html", status=status, headers=FRESH)
        compress(request, response)
        return response

    async def json(self, request: web.Request, model: object, *, status: int = 200) -> web.Response:
        body = await asyncio.to_thread(render_json, request[LANGUAGE], model)
        response = web.Response(
            body=body, content_type="application/json", status=status, headers=FRESH
        )
        compress(request, response)
        return response


def compress(request: web.Request, response: web.Response) -> None:
    """Prefer gzip: what "deflate" means was never agreed on between servers and browsers."""
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
