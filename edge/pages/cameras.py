"""The cameras' page: live tiles, a pad to turn with, kept positions, and what was lost when."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import WSMsgType, web

from drivers.cameras.messages import ImagingValue, Motion
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.outages import Outage
from drivers.discovery.candidate import DeviceKind
from drivers.entities import CommandResult, DeviceId, Measurement, Outcome
from drivers.errors import DriverError, RefusedError
from edge.cameras.camera_desk import Hand
from edge.pages.access import who_asks
from edge.pages.actions import Actions, Command, Identity, Word, bounded
from edge.pages.box_view import DeviceLight
from edge.pages.form_desk import Act, FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.language import Language

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

    def __init__(self, desk: FormDesk, actions: Actions) -> None:
        self._desk = desk
        self._view = desk.view
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        acting, page = self._desk.acting, self._page
        return [
            web.get("/cameras", self.show),
            web.get("/cameras/stream", self.stream),
            web.get("/cameras/pad", self.pad),
            web.post("/cameras/command", acting(self._command, page)),
            web.post("/cameras/keep", acting(self._naming("keep_preset"), page)),
            web.post("/cameras/remove", acting(self._naming("remove_preset"), page)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

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
        hand = Hand(camera.control, who_asks(request))
        socket = web.WebSocketResponse(
            compress=False, heartbeat=2.0, max_msg_size=MESSAGE_BYTES_MAX, timeout=1.0
        )
        await socket.prepare(request)
        try:
            await _follow(socket, hand, self._desk.renderer.language(request))
        finally:
            with suppress(DriverError):  # the camera stops by itself, and the hand has told so
                await hand.release("the page has gone")
        return socket

    async def _command(self, request: web.Request, who: str) -> str | web.Response:
        wish = await read_form(request, Command)
        return await self._told(request, await self._actions.command(wish, who))

    def _naming(self, command: str) -> Act:
        """Make the act of a command whose argument is a position's name."""

        async def act(request: web.Request, who: str) -> str | web.Response:
            wish = await read_form(request, Keep)
            doing = self._view.command(DeviceId(wish.device), command, wish.name, who=who)
            return await self._told(request, await bounded(doing, KEEP_S_MAX))

        return act

    async def _told(self, request: web.Request, result: CommandResult) -> str | web.Response:
        if result.outcome is Outcome.FAILED:
            _ = self._desk.renderer.language(request).translations.gettext
            return await self._page(request, (_("The camera did not do that."), ""), 409)
        return "/cameras"

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        signed_in = self._desk.is_signed_in(request)
        tiles = self._tiles() if signed_in else []
        context = {"signed_in": signed_in, "tiles": tiles, "refusal": refusal}
        return self._desk.renderer.page(request, "cameras.html", context, status=status)

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
                    presets=tuple(dict.fromkeys(preset.name for preset in camera.control.presets)),
                    imaging=camera.control.imaging,
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
        self._desk.require_session(request)
        return DeviceId(request.query.get("device", "")[:256])


async def _follow(socket: web.WebSocketResponse, hand: Hand, language: Language) -> None:
    """Pass on what a pad says, until its page is gone or says nonsense."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            message = await socket.receive(timeout=HOLD_S if hand.is_moving else None)
        except TimeoutError:
            await _tell(socket, hand.release("no sign from the page"), language)
            continue
        if message.type is not WSMsgType.TEXT:
            return
        try:
            wish = _steers.decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            await socket.close(code=1008)
            return
        motion = Motion(pan=wish.pan, tilt=wish.tilt, zoom=wish.zoom)
        await _tell(socket, hand.steer(motion, loop.time()), language)


async def _tell(socket: web.WebSocketResponse, doing: Awaitable[None], language: Language) -> None:
    """Do something, and tell the page when the camera does not."""
    try:
        await doing
    except DriverError as error:
        await socket.send_json({"error": language.retold(str(error))})
