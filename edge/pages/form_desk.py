"""Where pages take their forms: from who has the setup code, refused with a word, and back."""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from edge.errors import NotNowError
from edge.pages.access import Handler, SetupSessions, who_asks
from edge.pages.actions import COMMAND_S_MAX, ActionError, bounded, explain
from edge.pages.box_view import BoxView
from edge.pages.rendering import Renderer

Refusal = tuple[str, str]
"""Why a form was refused, in the reader's language, and the detail; either may be empty."""
Act = Callable[[web.Request, str], Awaitable[str | web.Response]]
"""Does what a form asks, for whom; returns where to go on, or the page that tells."""
Refuse = Callable[[web.Request, Refusal, int], Awaitable[web.Response]]
"""Shows the page again with a refusal and a status."""
SHUT = "enter the lesson's code first, or the setup code"
"""What is said where :meth:`FormDesk.may_teach` is false."""


class OfLesson(Protocol):
    """What belongs to one lesson."""

    @property
    def lesson(self) -> str: ...


class FormDesk:
    """What all pages with forms need: the box, its words, and who may change something."""

    def __init__(self, view: BoxView, renderer: Renderer, sessions: SetupSessions) -> None:
        self.view = view
        self.renderer = renderer
        self.sessions = sessions

    def is_signed_in(self, request: web.Request) -> bool:
        return self.sessions.holds(request)

    def require_session(self, request: web.Request) -> None:
        """Raise HTTPForbidden for who has not entered the setup code."""
        if not self.is_signed_in(request):
            raise web.HTTPForbidden(text="enter the setup code on the set-up page first")

    def may_teach(self, request: web.Request, given: OfLesson | None) -> bool:
        """Tell whether who asks has entered the setup code, or the code of the lesson given."""
        if self.is_signed_in(request):
            return True
        return given is not None and self.view.teacher.codes.allows(request, given.lesson)

    def acting(self, act: Act, refuse: Refuse) -> Handler:
        """Make the handler of one form: for who has the setup code."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not self.is_signed_in(request):
                _ = self.renderer.language(request).translations.gettext
                return await refuse(request, (_("Enter the setup code first."), ""), 403)
            return await self.carry_out(request, act(request, who_asks(request)), refuse)

        return handle

    async def carry_out(
        self,
        request: web.Request,
        doing: Awaitable[str | web.Response],
        refuse: Refuse,
        seconds: float = COMMAND_S_MAX,
    ) -> web.StreamResponse:
        """Do what a form asks within ``seconds``, and go on where it says."""
        _ = self.renderer.language(request).translations.gettext
        try:
            done = await bounded(doing, seconds)
        except ActionError as error:
            return await refuse(request, (explain(error, _), error.detail), error.status)
        except NotNowError as error:
            text = _("That does not fit what stands now; look again.")
            return await refuse(request, (text, str(error)), 409)
        except sqlite3.Error as error:
            text = _("Something on this box has to be put right first.")
            return await refuse(request, (text, str(error)), 503)
        if isinstance(done, web.Response):
            return done
        raise web.HTTPSeeOther(done)

    def device_names(self) -> dict[str, str]:
        """Return the names of the adopted devices."""
        return {light.device: light.name for light in self.view.device_lights()}
