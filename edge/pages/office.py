"""The office's page: emergencies, class-card screens, notices, exams, and a class's day."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from yarl import URL

from edge.attendance.register import day_of, span_of
from edge.attendance.rules import Status
from edge.class_cards.messages import (
    CardMessage,
    MessageKind,
    find_message,
    read_messages,
    read_receipts,
)
from edge.class_cards.office import Correction, week_of
from edge.class_cards.screen_health import worst
from edge.class_cards.screens import PairingError
from edge.pages import office_forms as forms
from edge.pages.actions import ActionError
from edge.pages.box_view import BoxView
from edge.pages.card_queries import ClassDay, read_class_day, read_group, read_groups
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import FIELDS_MAX, read_form
from edge.pages.health_checks import (
    CheckRound,
    ClassChecks,
    find_away,
    read_checks,
    round_at,
    rounds_begun,
)
from edge.pages.queries import Room, read_rooms
from sync.logs.oplog import Row

PAST_MS = 30 * 24 * 3_600_000
AHEAD_MS = 400 * 24 * 3_600_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One reading of what the page shows; ``receipts`` by message, then by screen, ms.

    ``past`` are emergencies that ended, of the last thirty days. ``checks`` are the day's, by
    class; ``home`` is the room of the class that is shown.
    """

    rooms: list[Room]
    home: object
    groups: Mapping[str, str]
    group: str | None
    class_day: ClassDay | None
    checks: Mapping[str, ClassChecks]
    messages: list[CardMessage]
    past: list[CardMessage]
    receipts: Mapping[str, Mapping[str, int]]


class OfficePage:
    """Everything here wants the setup code: names of pupils, and what hangs at every door."""

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/office", self.show),
            *(
                web.post(f"/office/{path}", self._desk.acting(act, self._page))
                for path, act in {
                    "emergency": self._raise_emergency,
                    "publish": self._publish,
                    "lift": self._lift,
                    "pair": self._pair,
                    "revoke": self._revoke,
                    "leave": self._leave,
                    "leave/withdraw": self._withdraw_leave,
                    "room": self._room,
                    "duty": self._duty,
                    "honour": self._honour,
                    "correct": self._correct,
                    "health": self._health,
                    "health/well": self._well,
                    "swap": self._swap,
                }.items()
            ),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def _raise_emergency(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Emergency)
        await self._view.cards.messages.raise_emergency(
            wish.text_zh, wish.text_en or "", room=wish.room, who=who
        )
        return _back(wish)

    async def _publish(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Publish)
        from_ms, until_ms = forms.read_span(wish.begins, wish.ends, self._view.timezone)
        await self._view.cards.messages.publish(
            MessageKind(wish.kind),
            wish.text_zh,
            wish.text_en or "",
            room=wish.room,
            from_ms=from_ms,
            until_ms=until_ms,
            who=who,
        )
        return _back(wish)

    async def _lift(self, request: web.Request, who: str) -> str:
        wish, view = await read_form(request, forms.Lift), self._view
        message = await asyncio.to_thread(
            find_message, view.connect, view.school, wish.message, view.now_ms()
        )
        if message is None:
            raise ActionError(404, "unknown", f"{wish.message} does not stand any more")
        await view.cards.messages.withdraw(message, who)
        return _back(wish)

    async def _pair(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Pair)
        code = "".join(wish.code.split())
        try:
            await self._view.cards.screens.pair(
                code, room=wish.room, name=wish.name or wish.room, who=who
            )
        except PairingError as error:
            raise ActionError(409, "invalid", str(error)) from error
        return _back(wish)

    async def _revoke(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Revoke)
        await self._view.cards.screens.revoke(wish.screen, who)
        return _back(wish)

    async def _leave(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterLeave)
        from_ms, until_ms = forms.read_span(wish.begins, wish.ends, self._view.timezone)
        await self._view.cards.enter_leave(wish.person, from_ms, until_ms, wish.reason or "", who)
        return _back(wish)

    async def _withdraw_leave(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.WithdrawLeave)
        await self._view.cards.withdraw_leave(wish.person, wish.from_ms, wish.until_ms, who)
        return _back(wish)

    async def _room(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.SetRoom)
        known = await asyncio.to_thread(self._find_group, wish.group)
        if known is None:
            raise ActionError(404, "unknown", f"no class {wish.group} is known; reload the page")
        await self._view.cards.set_room({**known, "room": wish.room}, who)
        return _back(wish)

    def _find_group(self, group: str) -> Row | None:
        with closing(self._view.connect()) as connection:
            return read_group(connection, self._view.school, group)

    async def _duty(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterDuty)
        day = forms.read_date(wish.on)
        await self._view.cards.enter_duty(wish.group, day, wish.person, who)
        return _back(wish)

    async def _honour(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterHonour)
        zone = self._view.timezone
        week = week_of(forms.read_moment(forms.read_date(wish.on), zone), zone)
        await self._view.cards.enter_honour(wish.group, week, wish.person, wish.reason or "", who)
        return _back(wish)

    async def _correct(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Correct)
        day = forms.read_date(wish.day)
        word = Correction(
            day=day,
            slot=wish.slot,
            person=wish.person,
            status=wish.status,
            teacher=wish.teacher,
            reason=wish.reason,
            moment_ms=span_of(day, self._view.timezone)[0],
            make_up=wish.make_up,
        )
        await self._view.cards.correct(word, who)
        return _back(wish)

    async def _health(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterHealth)
        if wish.temperature_c is None and wish.symptoms is None:
            raise ActionError(400, "invalid", "give a temperature, or symptoms")
        await self._view.cards.enter_health(
            wish.person, wish.temperature_c, wish.symptoms or "", who
        )
        return _back(wish)

    async def _well(self, request: web.Request, who: str) -> str:
        most = FIELDS_MAX + forms.WELL_MAX
        wish = await read_form(request, forms.EnterWell, fields_max=most, lists=("persons",))
        await self._view.cards.enter_well(wish.persons, who)
        return _back(wish)

    async def _swap(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Swap)
        await self._view.cards.swap(wish.slot, wish.subject, wish.teacher, who)
        return _back(wish)

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        view, zone = self._view, self._view.timezone
        if not self._desk.is_signed_in(request):
            context = {"signed_in": False, "refusal": refusal, "done": False}
            return self._desk.renderer.page(request, "office.html", context, status=status)
        now_ms = view.now_ms()
        day = request.query.get("day", "")
        try:
            day = forms.read_date(day)
        except ActionError:
            day = day_of(now_ms, zone)
        shown = await asyncio.to_thread(self._read, request.query.get("group"), day, now_ms)
        persons = shown.class_day.pupils if shown.class_day else ()
        return self._desk.renderer.page(
            request,
            "office.html",
            {
                "signed_in": True,
                "refusal": refusal,
                "done": request.query.get("said") == "done",
                "shown": shown,
                "day": day,
                "room_names": {room.room: room.name for room in shown.rooms},
                "screens": sorted(view.cards.screens.all(), key=lambda each: worst(each.health)),
                "names": view.person_names(persons),
                "statuses": list(Status),
                "rounds": list(CheckRound),
                "begun": rounds_begun(day, now_ms, zone),
                "round_now": round_at(now_ms, zone) if day == day_of(now_ms, zone) else None,
                "away": find_away(shown.class_day, now_ms) if shown.class_day else {},
                "local": lambda at_ms: _local(at_ms, view),
                "now_ms": now_ms,
                "hour_ms": HOUR_MS,
            },
            status=status,
        )

    def _read(self, wish: str | None, day: str, now_ms: int) -> Shown:
        school = self._view.school
        with closing(self._view.connect()) as connection:
            groups = read_groups(connection, school)
            group = wish if wish in groups else next(iter(groups), None)
            span_ms = span_of(day, self._view.timezone)
            messages = read_messages(connection, school, from_ms=now_ms, until_ms=now_ms + AHEAD_MS)
            past = [
                each
                for each in read_messages(
                    connection, school, from_ms=now_ms - PAST_MS, until_ms=now_ms
                )
                if each.kind is MessageKind.EMERGENCY and each.until_ms <= now_ms
            ]
            return Shown(
                checks=read_checks(connection, school, list(groups), span_ms, self._view.timezone),
                rooms=read_rooms(connection, school),
                home=(read_group(connection, school, group) or {}).get("room") if group else None,
                groups=groups,
                group=group,
                class_day=(
                    read_class_day(connection, school, group, day, span_ms) if group else None
                ),
                messages=messages,
                past=past,
                receipts={
                    each.message: read_receipts(connection, school, each)
                    for each in (*messages, *past)
                    if each.kind is MessageKind.EMERGENCY
                },
            )


def _back(wish: forms.Form) -> str:
    """Return the page with the class and day that it showed."""
    kept = {"group": wish.group, "day": wish.day, "said": "done"}
    query = {name: value for name, value in kept.items() if value}
    return str(URL("/office").with_query(query))


def _local(at_ms: int, view: BoxView) -> str:
    """Write a moment as a browser's field for date and time takes it."""
    return datetime.fromtimestamp(at_ms / 1_000, view.timezone).strftime("%Y-%m-%dT%H:%M")
