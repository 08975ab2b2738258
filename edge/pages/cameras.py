"""The cameras' page: live tiles, a pad to turn with, kept positions, and what was lost when."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import WSMsgType, web
from yarl import URL

from drivers.cameras.messages import ImagingValue, Motion
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.outages import Outage
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, Measurement, Outcome
from drivers.errors import DriverError, RefusedError
from edge.cameras.camera_desk import Hand
from edge.pages.access import SetupSessions, address_of, session_token
from edge.pages.actions import ActionError, Actions, Command, Identity, Word, bounded, explain
from edge.pages.box_view import BoxView, DeviceLight
from edge.pages.forms import read_form
from edge.pages.rendering import Renderer

HOLD_S = 1.0
"""Who holds the pad repeats it several times in this; silence for so long lets go."""
MESSAGE_BYTES_MAX = 256
OUTAGES_SHOWN = 5
KEEP_S_MAX = 15
_SPEED = msgspec.Meta(ge=-1, le=1)


class Steer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pad says; everything zero lets go."""

    pan: Annotated[float, _SPEED] = 0.0
    tilt: Annotated[float, _SPEED] = 0.0
    zoom: Annotated[float, _SPEED] = 0.0


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Identity
    name: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One camera as the page shows it."""

    light: DeviceLight
    turns: bool
    presets: tuple[str, ...]
    imaging: tuple[ImagingValue, ...]
    outages: tuple[Outage, ...]
    motion: Measurement | None


_steers = msgspec.json.Decoder(Steer)


class CamerasPage:
    """Everything here wants the setup code: a camera shows children."""

    def __init__(
        self, view: BoxView, renderer: Renderer, sessions: SetupSessions, actions: Actions
    ) -> None:
        self._view = view
        self._renderer = renderer
        self._sessions = sessions
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/cameras", self.show),
            web.get("/cameras/stream", self.stream),
            web.get("/cameras/pad", self.pad),
            web.post("/cameras/command", self.command),
            web.post("/cameras/keep", self.keep),
            web.post("/cameras/remove", self.remove),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return self._page(request, "", 200)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send a camera's small picture for as long as the page listens."""
        device = self._device(request)
        try:
            return await self._view.cameras.watch(device, request)
        except RefusedError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error
        except DriverError as error:
            raise web.HTTPNotFound(text=str(error)) from error

    async def pad(self, request: web.Request) -> web.StreamResponse:
        """Turn a camera while a page says so; its silence, or its end, lets go."""
        camera = self._camera(request)
        hand = Hand(camera, f"setup code from {address_of(request)}")
        socket = web.WebSocketResponse(
            compress=False, heartbeat=2.0, max_msg_size=MESSAGE_BYTES_MAX, timeout=1.0
        )
        await socket.prepare(request)
        try:
            await _follow(socket, hand)
        finally:
            with suppress(DriverError):  # the camera stops by itself, and the hand has told so
                await hand.release("the page has gone")
        return socket

    async def command(self, request: web.Request) -> web.Response:
        self._require_session(request)

        async def act() -> Outcome:
            wish = await read_form(request, Command)
            return (await self._actions.command(wish, _who(request))).outcome

        return await self._act(request, act)

    async def keep(self, request: web.Request) -> web.Response:
        return await self._named(request, "keep_preset")

    async def remove(self, request: web.Request) -> web.Response:
        return await self._named(request, "remove_preset")

    async def _named(self, request: web.Request, command: str) -> web.Response:
        self._require_session(request)

        async def act() -> Outcome:
            wish = await read_form(request, Keep)
            told = self._view.command(DeviceId(wish.device), command, wish.name, who=_who(request))
            return (await bounded(told, KEEP_S_MAX)).outcome

        return await self._act(request, act)

    async def _act(
        self, request: web.Request, act: Callable[[], Awaitable[Outcome]]
    ) -> web.Response:
        gettext = self._renderer.language(request).translations.gettext
        try:
            outcome = await act()
        except ActionError as error:
            return self._page(request, explain(error, gettext), error.status)
        if outcome is Outcome.FAILED:
            return self._page(request, gettext("The camera did not do that."), 409)
        raise web.HTTPSeeOther(URL("/cameras"))

    def _page(self, request: web.Request, message: str, status: int) -> web.Response:
        signed_in = self._sessions.knows(session_token(request))
        tiles = self._tiles() if signed_in else []
        context = {"signed_in": signed_in, "tiles": tiles, "message": message}
        return self._renderer.page(request, "cameras.html", context, status=status)

    def _tiles(self) -> list[Tile]:
        motion = {
            value.device: value
            for value in self._view.live_values()
            if value.point in {"motion", "motion_alarm"}
        }
        tiles = []
        for light in self._view.device_lights():
            if light.kind is not DeviceKind.CAMERA:
                continue
            try:
                camera = self._view.cameras.camera(light.device)
            except DriverError:
                continue  # adopted, and not driven yet
            known = camera.description
            tiles.append(
                Tile(
                    light=light,
                    turns=known is not None and known.has_ptz,
                    presets=tuple(dict.fromkeys(preset.name for preset in camera.presets)),
                    imaging=camera.imaging,
                    outages=tuple(reversed(camera.outages.ledger()[-OUTAGES_SHOWN:])),
                    motion=motion.get(light.device),
                )
            )
        return tiles

    def _camera(self, request: web.Request) -> OnvifCamera:
        try:
            return self._view.cameras.camera(self._device(request))
        except DriverError as error:
            raise web.HTTPNotFound(text=str(error)) from error

    def _device(self, request: web.Request) -> DeviceId:
        self._require_session(request)
        return DeviceId(request.query.get("device", "")[:256])

    def _require_session(self, request: web.Request) -> None:
        if not self._sessions.knows(session_token(request)):
            raise web.HTTPForbidden(text="enter the setup code on the set-up page first")


async def _follow(socket: web.WebSocketResponse, hand: Hand) -> None:
    """Pass on what a pad says, until its page is gone or says nonsense."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            message = await socket.receive(timeout=HOLD_S if hand.is_moving else None)
        except TimeoutError:
            await _tell(socket, hand.release("no sign from the page"))
            continue
        if message.type is not WSMsgType.TEXT:
            return
        try:
            wish = _steers.decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            await socket.close(code=1008)
            return
        motion = Motion(pan=wish.pan, tilt=wish.tilt, zoom=wish.zoom)
        await _tell(socket, hand.steer(motion, loop.time()))


async def _tell(socket: web.WebSocketResponse, doing: Awaitable[None]) -> None:
    """Do something, and tell the page when the camera does not."""
    try:
        await doing
    except DriverError as error:
        await socket.send_json({"error": str(error)})


def _who(request: web.Request) -> str:
    return f"setup code from {address_of(request)}"
