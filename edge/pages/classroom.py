"""The page a class looks at: it counts down, joins by itself, plays, and says how it goes."""

from aiohttp import web

from edge.pages.box_view import BoxView
from edge.pages.rendering import Renderer
from edge.pages.rooms import Rooms, choose_room


class ClassroomPage:
    def __init__(self, view: BoxView, renderer: Renderer, rooms: Rooms) -> None:
        self._view = view
        self._renderer = renderer
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/classroom", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        room = await self._rooms.find(request)
        if room is None:
            return await choose_room(request, self._rooms, self._renderer)
        return self._renderer.page(
            request, "classroom.html", {"room": room, "lesson": self._view.lesson_now(room.room)}
        )
