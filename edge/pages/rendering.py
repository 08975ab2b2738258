"""Fills templates in the reader's language; everything that varies is escaped."""

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from yarl import URL

from edge.pages.assets import Assets
from edge.pages.box_view import BoxView
from edge.pages.language import (
    LANGUAGE_COOKIE,
    LANGUAGES,
    Language,
    choose_language,
    clock_time,
    load_languages,
)

TEMPLATES = Path(__file__).parent / "templates"
YEAR_S = 365 * 24 * 3_600
_CHANGES_TOLD = web.RequestKey("changes_told", int)
_ADDRESS = web.RequestKey("address", URL)
_SAFE_METHODS = ("GET", "HEAD")


def note_pages(view: BoxView) -> Middleware:
    """Make the middleware that notes what a page tells of itself, before it reads anything.

    That is how many changes there were by then, and where the page is asked for.
    """

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_CHANGES_TOLD] = view.changes_told()
        request[_ADDRESS] = await _address_of(request)
        return await handler(request)

    return note


async def _address_of(request: web.Request) -> URL:
    """Return where the page is asked for that answers; a form is sent to its page or below it."""
    address = request.rel_url
    while request.method not in _SAFE_METHODS and address.path != "/":
        asking = request.clone(method="GET", rel_url=address)
        if (await request.app.router.resolve(asking)).http_exception is None:
            break
        address = address.with_path(
            address.raw_path.rpartition("/")[0] or "/", encoded=True, keep_query=True
        )
    return address


class Renderer:
    """Renders pages of one box; one environment a language, built once."""

    def __init__(self, view: BoxView, assets: Assets) -> None:
        self._view = view
        self._assets = assets
        self._environments = {
            code: _environment(language) for code, language in load_languages().items()
        }

    def language(self, request: web.Request) -> Language:
        return load_languages()[choose_language(request, self._view.language_default)]

    def text(
        self, request: web.Request, template: str, context: Mapping[str, object] | None = None
    ) -> str:
        language = self.language(request)
        view, address = self._view, request[_ADDRESS]
        now_ms = view.now_ms()
        return (
            self._environments[language.code]
            .get_template(template)
            .render(
                {
                    "request_path": address.path,
                    "address": str(address),
                    "now_ms": now_ms,
                    "changes_told": request[_CHANGES_TOLD],
                    "school_name": view.school_name,
                    "asset": self._assets.url,
                    "age_of": lambda then_ms: language.age(then_ms, now_ms),
                    "clock": lambda at_ms: clock_time(at_ms, view.timezone),
                    "moment": lambda at_ms: language.moment(at_ms, view.timezone),
                    "short_moment": lambda at_ms: language.short_moment(at_ms, view.timezone),
                    "switches": [
                        (code, str(address.update_query(lang=code))) for code in LANGUAGES
                    ],
                    **(context or {}),
                }
            )
        )

    def page(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, object] | None = None,
        *,
        status: int = 200,
    ) -> web.Response:
        response = web.Response(
            text=self.text(request, template, context),
            content_type="text/html",
            status=status,
            headers={"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"},
        )
        response.enable_compression()
        wish = request.query.get("lang")
        if wish in LANGUAGES:
            response.set_cookie(
                LANGUAGE_COOKIE,
                wish,
                max_age=YEAR_S,
                path="/",
                samesite="Lax",
                secure=request.secure,
                httponly=True,
            )
        return response


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined] # the extension adds it
        language.translations, newstyle=True
    )
    environment.globals.update(language=language, words=language.words)
    environment.filters["number"] = language.number
    environment.filters["size"] = language.size
    environment.filters["retold"] = language.retold
    return environment
