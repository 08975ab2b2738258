"""The application a box serves to its LAN over HTTPS."""

import logging
import time

from aiohttp import web
from aiohttp.typedefs import Middleware

from edge.pages.access import Handler, SetupSessions, same_origin
from edge.pages.actions import ActionError, Actions
from edge.pages.api import Api
from edge.pages.assets import Assets
from edge.pages.boards import BoardsPage
from edge.pages.box_view import BoxView
from edge.pages.cameras import CamerasPage
from edge.pages.class_card import ClassCardPage
from edge.pages.class_touch import ClassTouch
from edge.pages.classroom import ClassroomPage
from edge.pages.farm import FarmPage
from edge.pages.farm_class import FarmClassPage
from edge.pages.farm_log import FarmLogPage
from edge.pages.form_desk import FormDesk
from edge.pages.headers import add_security_headers
from edge.pages.json_wishes import json_answer
from edge.pages.lessons import LessonsPage
from edge.pages.office import OfficePage
from edge.pages.remote import RemotePage
from edge.pages.rendering import Renderer, note_pages
from edge.pages.rooms import Rooms
from edge.pages.safety import SafetyPage
from edge.pages.screen_reports import ScreenReports
from edge.pages.screen_share import ScreenSharePage
from edge.pages.screens import ScreenPages
from edge.pages.setup import SetupPage
from edge.pages.sports import SportsPage
from edge.pages.streams import Streams
from edge.pages.trust import TrustPage
from edge.pages.wall import WallPage

BODY_BYTES_MAX = 64 * 1024
NO_PAGE_STATUS = 404
CLIENT_ERROR = 400

logger = logging.getLogger(__name__)


def build_pages(view: BoxView) -> web.Application:
    """Build every page and the JSON interface of one box."""
    assets = Assets()
    renderer = Renderer(view, assets)
    rooms = Rooms(view)
    sessions = SetupSessions(view.check_setup_code, time.monotonic)
    actions = Actions(view)
    streams = Streams()
    api = Api(view, sessions, actions, streams)
    desk = FormDesk(view, renderer, sessions)

    app = web.Application(
        client_max_size=BODY_BYTES_MAX,
        middlewares=[note_pages(view), _tell_errors(renderer), same_origin],
    )
    app.on_response_prepare.append(add_security_headers)
    app.on_shutdown.append(streams.close)
    app.router.add_get("/static/{name}", assets.serve)
    for page in (
        SetupPage(desk, rooms, actions),
        ClassCardPage(view, renderer, rooms, assets, streams),
        ScreenPages(view, renderer, assets),
        OfficePage(desk),
        BoardsPage(desk, rooms),
        FarmPage(desk),
        FarmClassPage(desk),
        FarmLogPage(desk),
        SafetyPage(desk),
        SportsPage(desk),
        ClassroomPage(view, renderer, rooms),
        ClassTouch(view, renderer),
        WallPage(desk, rooms),
        RemotePage(desk, rooms),
        ScreenSharePage(desk, rooms),
        CamerasPage(desk, actions),
        LessonsPage(desk, rooms),
        ScreenReports(view),
        TrustPage(view, renderer),
        api,
    ):
        app.add_routes(page.routes())
    return app


def _tell_errors(renderer: Renderer) -> Middleware:
    """Make the middleware that answers an error in the asker's form: JSON or a page."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        for_program = request.path.startswith(("/api/", "/healthz"))
        try:
            return await handler(request)
        except ActionError as error:
            return json_answer({"error": error.detail}, error.status)
        except web.HTTPException as error:
            if error.status < CLIENT_ERROR:
                raise
            if for_program:
                answer = json_answer({"error": error.text or error.reason}, error.status)
                if "Retry-After" in error.headers:
                    answer.headers["Retry-After"] = error.headers["Retry-After"]
                return answer
            if error.status == NO_PAGE_STATUS:
                return renderer.page(request, "missing.html", status=error.status)
            if error.text:
                error.text = renderer.language(request).retold(error.text)
            raise

    return tell
