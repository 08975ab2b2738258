"""A computer's screen into a room's lessons: chosen in the browser, sent over a WebSocket.

It changes what classes see: it opens to the setup code, or to the code of the room's lesson.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
from aiohttp import WSMsgType, web

from drivers.errors import ProtocolError
from edge.errors import NotNowError
from edge.lesson.capture.shared_screen import MESSAGE_BYTES_MAX
from edge.pages.form_desk import SHUT, FormDesk
from edge.pages.rooms import Rooms, choose_room

PATH = "/blackboard/share"
_HEARTBEAT_S = 5.0
_TOLD_MAX = 16
"""Texts that wait for a page that does not read; more are left out."""


class ScreenSharePage:
    def __init__(self, desk: FormDesk, rooms: Rooms) -> None:
        self._desk = desk
        self._view = desk.view
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.show), web.get(f"{PATH}/stream", self.stream)]

    async def show(self, request: web.Request) -> web.Response:
        room = await self._rooms.find(request)
        if room is None:
            return await choose_room(request, self._rooms, self._desk.renderer)
        context = {"room": room, "allowed": self._is_open(request, room.room)}
        return self._desk.renderer.page(request, "screen_share.html", context)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Take in what a page shares, as ``edge.lesson.capture.shared_screen`` has it."""
        room = await self._rooms.find(request)
        if room is None:
            raise web.HTTPNotFound(text="this school has no such room; choose one on the page")
        if not self._is_open(request, room.room):
            raise web.HTTPForbidden(text=SHUT)
        socket = web.WebSocketResponse(
            compress=False, heartbeat=_HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, timeout=1.0
        )
        await socket.prepare(request)
        retold = self._desk.renderer.language(request).retold
        try:
            await self._share(room.room, socket, lambda: self._is_open(request, room.room))
        except (NotNowError, ProtocolError) as error:
            with suppress(ConnectionError):
                await socket.send_bytes(msgspec.json.encode({"refused": retold(str(error))}))
        await socket.close()
        return socket

    async def _share(
        self, room: str, socket: web.WebSocketResponse, is_open: Callable[[], bool]
    ) -> None:
        """Take in pictures while ``is_open``: a lesson's code does not reach into the next one."""
        screen = self._view.shared_screens.of(room)
        told: asyncio.Queue[bytes] = asyncio.Queue(_TOLD_MAX)

        def tell(text: bytes) -> None:
            if not told.full():
                told.put_nowait(text)

        async def send() -> None:
            with suppress(ConnectionError):  # the page has gone; whoever reads from it ends
                while True:
                    await socket.send_bytes(await told.get())

        refused: ProtocolError | NotNowError | None = None
        with screen.sharing(tell):
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(send())
                async for message in socket:
                    if not is_open():
                        refused = NotNowError(SHUT)
                        break
                    try:
                        if message.type is WSMsgType.BINARY:
                            screen.take(message.data, self._view.now_ms(), _steady_ms())
                    except ProtocolError as error:
                        refused = error
                        break
                sending.cancel()
        if refused is not None:
            raise refused

    def _is_open(self, request: web.Request, room: str) -> bool:
        return self._desk.may_teach(request, self._view.teacher.lesson(room))


def _steady_ms() -> int:
    """Return the clock that captures use too."""
    return int(asyncio.get_running_loop().time() * 1000)
