"""What the farm's pages share: who may enter something, refusals with a word, and the way back."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

from aiohttp import web

from edge.pages.access import SetupSessions, address_of, session_token
from edge.pages.actions import COMMAND_S_MAX, ActionError, bounded, explain
from edge.pages.box_view import BoxView
from edge.pages.card_queries import read_groups
from edge.pages.rendering import Renderer

Refusal = tuple[str, str] | None
Act = Callable[[web.Request, str], Awaitable[str]]
"""Does what a form asks and returns where to go on."""


class FarmDesk:
    """What both of the farm's page classes need: sessions, refusals, and the way back."""

    def __init__(self, view: BoxView, renderer: Renderer, sessions: SetupSessions) -> None:
        self.view = view
        self.renderer = renderer
        self.sessions = sessions

    def is_signed_in(self, request: web.Request) -> bool:
        return self.sessions.knows(session_token(request))

    def acting(
        self, act: Act, refuse: Callable[[web.Request, Refusal, int], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Make the handler of one form: for who has the setup code."""

        async def handle(request: web.Request) -> web.StreamResponse:
            _ = self.renderer.language(request).translations.gettext
            if not self.is_signed_in(request):
                return await refuse(request, (_("Enter the setup code first."), ""), 403)
            try:
                where = await bounded(
                    act(request, f"setup code from {address_of(request)}"), COMMAND_S_MAX
                )
            except ActionError as error:
                return await refuse(request, (explain(error, _), error.detail), error.status)
            except sqlite3.Error as error:
                text = _("Something on this box has to be put right first.")
                return await refuse(request, (text, str(error)), 503)
            raise web.HTTPSeeOther(where)

        return handle

    def names(self) -> dict[str, str]:
        """Return the names of the adopted devices."""
        return {device: each.name for device, each in self.view.farm.fleet.devices.items()}

    def groups(self) -> dict[str, str]:
        with closing(self.view.connect()) as connection:
            return read_groups(connection, self.view.school)
