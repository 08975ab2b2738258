"""Which room a class-facing page stands in."""

import asyncio
from contextlib import closing

from aiohttp import web

from edge.pages.box_view import BoxView
from edge.pages.queries import Room, read_rooms
from edge.pages.rendering import Renderer

ROOM_CHARS_MAX = 64


class Rooms:
    """Finds the room a page's address names."""

    def __init__(self, view: BoxView) -> None:
        self._view = view

    async def all(self) -> list[Room]:
        return await asyncio.to_thread(self._read)

    async def find(self, request: web.Request) -> Room | None:
        """Return the room of ``?room=``, None when it names none that this school has."""
        wish = asked_room(request)
        return next((room for room in await self.all() if room.room == wish), None)

    def _read(self) -> list[Room]:
        with closing(self._view.connect()) as connection:
            return read_rooms(connection, self._view.school)


def asked_room(request: web.Request) -> str:
    """Return what ``?room=`` names, known or not; empty for nothing."""
    return request.query.get("room", "")[:ROOM_CHARS_MAX]


async def choose_room(request: web.Request, rooms: Rooms, renderer: Renderer) -> web.Response:
    """Offer the school's rooms where an address names none (200) or an unknown one (404)."""
    wish = request.query.get("room")
    return renderer.page(
        request,
        "rooms.html",
        {"wish": wish, "rooms": await rooms.all(), "path": request.path},
        status=200 if wish is None else 404,
    )
