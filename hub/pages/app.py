"""The application the hub serves to the district's browsers over HTTPS."""

import random
import time
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from hub.lesson.pairing import UnknownLessonError
from hub.lesson.schedule import PlanRefusedError
from hub.locale.catalogue import LANGUAGES, choose_language
from hub.pages.access import SAFE_METHODS, Handler, Sessions, comes_from_here, is_open
from hub.pages.alarm_pages import AlarmPages
from hub.pages.assets import Assets
from hub.pages.change_stream import ChangeStream
from hub.pages.figures import Figures, UnknownSchoolError
from hub.pages.hub_view import HubView
from hub.pages.lesson_pages import LessonPages
from hub.pages.overview_pages import OverviewPages
from hub.pages.page_writer import LANGUAGE, LANGUAGE_COOKIE, YEAR_S, PageWriter
from hub.pages.rendering import open_reader
from hub.pages.scheduling import Scheduling
from hub.pages.session_pages import SessionPages

BODY_BYTES_MAX: Final = 64 * 1024
CLIENT_ERROR: Final = 400
API: Final = "/api/"

# Nothing from outside, nothing inline, nothing framed. Referrer-Policy is not "no-referrer", under
# which forms send "Origin: null".
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def build_pages(
    view: HubView, chance: random.Random, monotonic_s: Callable[[], float] = time.monotonic
) -> web.Application:
    """Build every page and the JSON interface; ``chance`` makes lesson ids."""
    assets = Assets()
    writer = PageWriter(view, assets)
    sessions = Sessions(view.check_admin_code, monotonic_s)
    figures = Figures(view)
    changes = ChangeStream(view, sessions.holds)
    app = web.Application(
        client_max_size=BODY_BYTES_MAX,
        middlewares=[choose_reader, tell_errors(writer), guard(sessions)],
    )
    app.on_response_prepare.append(add_security_headers)
    app.on_shutdown.append(changes.close)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/static/{name}", assets.serve),
            web.get("/api/events", changes.serve),
            *SessionPages(writer, sessions).routes(),
            *OverviewPages(writer, figures).routes(),
            *AlarmPages(view).routes(),
            *LessonPages(writer, figures, Scheduling(view, chance), view.now_ms).routes(),
        ]
    )
    return app


async def healthz(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True}, headers={"Cache-Control": "no-store"})


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)


@web.middleware
async def choose_reader(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Settle the language of the answer, and remember it when it was asked for."""
    asked = request.query.get("lang")
    request[LANGUAGE] = choose_language(
        asked,
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("Accept-Language", ""),
    )
    response = await handler(request)
    if asked in LANGUAGES and not response.prepared:
        response.set_cookie(
            LANGUAGE_COOKIE, asked, max_age=YEAR_S, path="/", samesite="Lax", httponly=True
        )
    return response


def guard(sessions: Sessions) -> Middleware:
    """Make the middleware that lets only sessions in, and changes only from our own pages."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in SAFE_METHODS and not comes_from_here(request):
            raise web.HTTPForbidden(text="this change was asked for by another site; use our pages")
        if is_open(request.path) or sessions.holds(request):
            return await handler(request)
        if request.path.startswith(API) or request.method not in SAFE_METHODS:
            raise web.HTTPUnauthorized(text="no session; open one with the administrator's code")
        raise web.HTTPSeeOther(
            str(request.rel_url.with_path("/login").with_query(next=str(request.rel_url)))
        )

    return check


def tell_errors(writer: PageWriter) -> Middleware:
    """Make the middleware that answers errors in the asker's form: JSON or a page."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (UnknownLessonError, UnknownSchoolError):
            return await answer_error(request, 404, "not known here")
        except PlanRefusedError as error:
            reader = open_reader(request[LANGUAGE])
            return error_json(409, *(reader.say(reason) for reason in error.reasons))
        except web.HTTPException as error:
            if error.status < CLIENT_ERROR:
                raise
            return await answer_error(request, error.status, error.text or error.reason)

    async def answer_error(request: web.Request, status: int, text: str) -> web.StreamResponse:
        if request.path.startswith(API):
            return error_json(status, text)
        return await writer.page(request, "problem.html", {"status": status}, status=status)

    return tell


def error_json(status: int, *reasons: str) -> web.Response:
    return web.Response(
        body=msgspec.json.encode({"error": " ".join(reasons), "reasons": reasons}),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
