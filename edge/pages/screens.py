"""What a class card's screen asks of the box: to be paired, to confirm, to deliver its taps."""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web

from edge.class_cards.messages import find_message
from edge.class_cards.office import DeliveredTap
from edge.class_cards.screen_health import Heartbeat, browser_name
from edge.class_cards.screens import LostTaps, PairingError, Screen
from edge.pages.access import address_of
from edge.pages.actions import ActionError
from edge.pages.assets import Assets
from edge.pages.box_view import BoxView
from edge.pages.json_wishes import json_answer, read_wish
from edge.pages.rendering import Renderer

SCREEN_COOKIE = "__Host-schoolnode-screen"
PAIRING_COOKIE = "__Host-schoolnode-pairing"
TOKEN_S = 400 * 24 * 3_600  # as long as browsers keep a cookie at most
PAIRING_S = 600
TAPS_AT_ONCE = 100
LACKS_MAX = 12
ERROR = r"\A[A-Za-z]{1,40}( [a-z_]{1,40}\.(js|css)(:[0-9]{1,6})?)?\Z"

Key = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z-]{8,64}\Z")]
Card = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z ,:-]{4,32}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]


class OneTap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Key
    card: Card
    at_ms: Moment


class Lost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    full: Count
    too_old: Count


class Taps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    taps: Annotated[tuple[OneTap, ...], msgspec.Meta(max_length=TAPS_AT_ONCE)]
    lost: Lost | None = None


class Painted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``card_health.js`` says; read by what it may be, as districts read it too."""

    version: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{0,32}\Z")]
    clock_ms: Moment
    data_ms: Moment
    is_painting: bool
    lacks: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z-]{1,24}\Z")], ...],
        msgspec.Meta(max_length=LACKS_MAX),
    ] = ()
    error: Annotated[str, msgspec.Meta(pattern=ERROR)] | None = None


class ScreenPages:
    """A screen is known by its cookie; without one it may only ask to be paired."""

    def __init__(self, view: BoxView, renderer: Renderer, assets: Assets) -> None:
        self._view = view
        self._renderer = renderer
        self._assets = assets

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/class-card/pair", self.pair),
            web.post("/class-card/painted", self.painted),
            web.post("/class-card/tap", self.tap),
            web.post("/class-card/health", self.health),
        ]

    async def pair(self, request: web.Request) -> web.Response:
        """Show a code until a person at the office has entered it; then become that room's card."""
        screens = self._view.cards.screens
        secret = request.cookies.get(PAIRING_COOKIE, "")
        token = screens.collect(secret)
        if token is not None:
            answer = web.HTTPSeeOther("/class-card")
            _set_cookie(answer, SCREEN_COOKIE, token, TOKEN_S)
            answer.del_cookie(PAIRING_COOKIE, path="/", secure=True, httponly=True)
            raise answer
        code, is_full = screens.code_of(secret), False
        if code is None:
            try:
                secret = screens.begin(address_of(request))
                code = screens.code_of(secret)
            except PairingError:
                is_full = True
        page = self._renderer.page(
            request,
            "pair.html",
            {"code": code or "", "is_full": is_full},
            status=503 if is_full else 200,
        )
        if not is_full:
            _set_cookie(page, PAIRING_COOKIE, secret, PAIRING_S)
        return page

    async def painted(self, request: web.Request) -> web.Response:
        """Note that this screen has painted an emergency."""
        screen = self._screen(request)
        wish = await read_wish(request, Painted)
        view = self._view
        message = await asyncio.to_thread(
            find_message, view.connect, view.school, wish.message, view.now_ms()
        )
        if message is None or message.room not in {None, screen.room}:
            raise ActionError(404, "unknown", "no such message stands for this room")
        await view.cards.messages.note_painted(message, screen.screen)
        return json_answer({"noted": True})

    async def tap(self, request: web.Request) -> web.Response:
        """Take the taps a screen kept; whatever is delivered twice counts once.

        ``too_old`` of the answer names those that are refused for good; the rest are taken.
        """
        screen = self._screen(request)
        wish = await read_wish(request, Taps)
        taps = [DeliveredTap(key=each.key, card=each.card, at_ms=each.at_ms) for each in wish.taps]
        cards = self._view.cards
        too_old = await cards.deliver(screen, taps)
        if wish.lost is not None:
            lost = LostTaps(full=wish.lost.full, too_old=wish.lost.too_old)
            await cards.screens.note_lost(screen.screen, lost)
        return json_answer({"taken": len(taps) - len(too_old), "too_old": too_old})

    async def health(self, request: web.Request) -> web.Response:
        """Note how this screen is; what of it the hub is told, the card's office decides."""
        screen = self._screen(request)
        wish = await read_wish(request, Health)
        said = Heartbeat(
            version=wish.version,
            clock_ms=wish.clock_ms,
            data_ms=wish.data_ms,
            is_painting=wish.is_painting,
            lacks=wish.lacks,
            error=wish.error,
        )
        self._view.cards.screens.note_health(
            screen.screen,
            said,
            browser_name(request.headers.get("User-Agent", "")),
            is_page_old=wish.version != self._assets.digest,
        )
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    def _screen(self, request: web.Request) -> Screen:
        screen = self._view.cards.screens.find(screen_token(request))
        if screen is None:
            raise ActionError(403, "refused", "this screen is not paired; open /class-card/pair")
        return screen


def screen_token(request: web.Request) -> str:
    return request.cookies.get(SCREEN_COOKIE, "")


def _set_cookie(response: web.StreamResponse, name: str, value: str, age_s: int) -> None:
    # Lax: a kiosk opens its start page from outside, and must be known there.
    response.set_cookie(
        name, value, path="/", max_age=age_s, secure=True, httponly=True, samesite="Lax"
    )
