"""The farm's first page: plots, outputs, rules, and what was decided why; the rules' form."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web

from drivers.entities import Measurement
from edge.farm.experiment import day_edges
from edge.farm.farm_devices import FarmPoint, farm_points
from edge.farm.farm_rows import DAY_MS, Action, Plot, read_actions, read_school_days
from edge.farm.replay import DAYS_MAX, Replay, replay
from edge.farm.rule import Condition, Output, Rule
from edge.farm.series import read_series
from edge.farm.world import Seen
from edge.pages import farm_forms as forms
from edge.pages.actions import ActionError
from edge.pages.card_queries import read_groups
from edge.pages.farm_words import condition_of, days_of, sentence_of, window_of
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.language import Language

ACTIONS_SHOWN = 40
OVERRIDE_MINUTES = 5
_AHEAD_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputView:
    """One output as the page shows it; ``until_ms``: when a person's word ends."""

    output: Output
    place: str
    device_name: str
    seen: Seen
    by_hand: bool | None
    until_ms: int | None
    minutes: float
    runs: int
    is_driven: bool


class FarmPage:
    """Values and decisions are open to everybody in the school; changes want the setup code."""

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        acting, page = self._desk.acting, self._page
        return [
            web.get("/rooftop", self.show),
            web.get("/rooftop/rule", self.edit),
            web.post("/rooftop/rule", acting(self._enter_or_try, self._edit)),
            web.post("/rooftop/rule/switch", acting(self._switch_rule, page)),
            web.post("/rooftop/override", acting(self._override, page)),
            web.post("/rooftop/plot", acting(self._enter_plot, page)),
            web.post("/rooftop/plot/remove", acting(self._remove_plot, page)),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def edit(self, request: web.Request) -> web.Response:
        return await self._edit(request, None, 200)

    async def _enter_or_try(self, request: web.Request, who: str) -> str | web.Response:
        """Enter a rule, or show what it would have done; nothing is written then."""
        wish = await _read_rule_form(request)
        rule = forms.rule_of(wish)
        if wish.act == "try":
            self._view.farm.check(rule)
            tried = await asyncio.to_thread(self._replay, rule, self._view.now_ms())
            return await self._edit(request, None, 200, tried=tried, wish=wish)
        await self._view.farm.enter_rule(wish.rule, wish.plot or "", rule, who)
        return "/rooftop?said=done#rules"

    async def _switch_rule(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.SwitchRule)
        if wish.word == "remove":
            await self._view.farm.remove_rule(wish.rule, who)
        else:
            await self._view.farm.switch_rule(wish.rule, who, is_enabled=wish.word == "on")
        return "/rooftop?said=done#rules"

    async def _override(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.OverrideOutput)
        is_on = {"on": True, "off": False, "back": None}[wish.word]
        output = forms.output_of(wish.output)
        minutes = 0 if is_on is None else wish.minutes
        await self._view.farm.override(output, is_on=is_on, minutes=minutes, who=who)
        return "/rooftop?said=done#outputs"

    async def _enter_plot(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterPlot, lists=("devices",))
        await self._view.farm.enter_plot(
            wish.plot, wish.name, wish.crop or "", wish.group or "", wish.devices, who
        )
        return "/rooftop?said=done#plots"

    async def _remove_plot(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.RemovePlot)
        await self._view.farm.remove_plot(wish.plot, who)
        return "/rooftop?said=done#plots"

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        farm, language = self._view.farm, self._desk.renderer.language(request)
        now_ms, names = self._view.now_ms(), self._desk.device_names()
        actions, groups = await asyncio.to_thread(self._read, now_ms)
        keeper = farm.keeper
        values = self._view.live_values()
        return self._desk.renderer.page(
            request,
            "farm.html",
            {
                "signed_in": self._desk.is_signed_in(request),
                "refusal": refusal,
                "done": request.query.get("said") == "done",
                "plots": keeper.plots,
                "values": {plot.plot: _values_of(plot, values) for plot in keeper.plots},
                "unconfirmed": {
                    light.device: light.unconfirmed for light in self._view.device_lights()
                },
                "outputs": self._outputs(),
                "rules": [(each, keeper.engine.standings.get(each.name)) for each in keeper.rules],
                "rule_names": {each.name: each.rule.name for each in keeper.rules if each.rule},
                "plot_names": {plot.plot: plot.name for plot in keeper.plots},
                "groups": groups,
                "actions": actions,
                "devices": [
                    light
                    for light in self._view.device_lights()
                    if light.kind in {"farm_sensor", "farm_actuator"}
                ],
                "device_names": names,
                "why": lambda because, facts: sentence_of(because, facts, language, names),
                "said": lambda condition: self._said(condition, language),
                "window": lambda window: window_of(window, language),
                "override_minutes": OVERRIDE_MINUTES,
            },
            status=status,
        )

    def _said(self, condition: Condition, language: Language) -> str:
        source = condition.source
        where = self._desk.device_names().get(source.device, source.device)
        if source.plot:
            plots = {plot.plot: plot.name for plot in self._view.farm.keeper.plots}
            where = plots.get(source.plot, source.plot)
        return condition_of(condition, where, language)

    async def _edit(
        self,
        request: web.Request,
        refusal: Refusal | None,
        status: int,
        tried: Replay | None = None,
        wish: forms.EnterRule | None = None,
    ) -> web.Response:
        farm, language = self._view.farm, self._desk.renderer.language(request)
        stored = next(
            (each for each in farm.keeper.rules if each.name == request.query.get("rule")), None
        )
        if refusal is not None and wish is None:
            wish = await _posted(request)
        names = self._desk.device_names()
        points = farm_points(farm.fleet)
        return self._desk.renderer.page(
            request,
            "farm_rule.html",
            {
                "signed_in": self._desk.is_signed_in(request),
                "refusal": refusal,
                "form": wish or (forms.form_of(stored) if stored else None),
                "points": points,
                "plot_points": _plot_points(farm.keeper.plots, points),
                "plots": farm.keeper.plots,
                "outputs": self._outputs(),
                "days": days_of(language),
                "tried": tried,
                "why": lambda because, facts: sentence_of(because, facts, language, names),
                "days_tried": DAYS_MAX,
            },
            status=status,
        )

    def _replay(self, rule: Rule, now_ms: int) -> Replay:
        from_ms = now_ms - DAYS_MAX * DAY_MS
        school, zone = self._view.school, self._view.timezone
        sources = {condition.source for condition in rule.conditions}
        devices = {source: self._view.farm.keeper.devices_of(source) for source in sources}
        keys = [(device, source.point) for source in sources for device in devices[source]]
        with closing(self._view.connect()) as connection:
            series = read_series(connection, school, keys, from_ms=from_ms, until_ms=now_ms)
            edges = day_edges(from_ms - DAY_MS, now_ms, zone)
            days = read_school_days(connection, school, zone, from_ms=edges[0], until_ms=edges[-1])
        return replay(rule, devices, series, span_ms=(from_ms, now_ms), zone=zone, school_days=days)

    def _outputs(self) -> list[OutputView]:
        keeper, now_ms = self._view.farm.keeper, self._view.now_ms()
        driven = {each.rule.output for each in keeper.rules if each.rule}
        found = []
        for output, known in keeper.outputs().items():
            word, usage = keeper.engine.override_of(output), keeper.engine.usage_of(output)
            left_s = keeper.left_s(output)
            found.append(
                OutputView(
                    output=output,
                    place=forms.place_of(output),
                    device_name=known.device_name,
                    seen=keeper.seen(known),
                    by_hand=word.is_on if word else None,
                    until_ms=None if left_s is None else now_ms + int(left_s * 1_000),
                    minutes=round(usage.on_s / 60, 1),
                    runs=usage.runs,
                    is_driven=output in driven or word is not None or usage.runs > 0,
                )
            )
        return found

    def _read(self, now_ms: int) -> tuple[list[Action], dict[str, str]]:
        """Return what was decided of late, and the names of the classes."""
        school, from_ms = self._view.school, now_ms - 7 * DAY_MS
        with closing(self._view.connect()) as connection:
            found = read_actions(connection, school, from_ms=from_ms, until_ms=now_ms + _AHEAD_MS)
            return found[:ACTIONS_SHOWN], read_groups(connection, school)


async def _read_rule_form(request: web.Request) -> forms.EnterRule:
    return await read_form(
        request, forms.EnterRule, fields_max=forms.RULE_FIELDS_MAX, lists=("never_with",)
    )


async def _posted(request: web.Request) -> forms.EnterRule | None:
    """Return what a refused form held, to be put right; None when it is no such form."""
    try:
        return await _read_rule_form(request)
    except ActionError:
        return None


def _values_of(plot: Plot, values: Sequence[Measurement]) -> list[Measurement]:
    return [value for value in values if value.device in plot.devices]


def _plot_points(plots: Sequence[Plot], points: Sequence[FarmPoint]) -> Mapping[str, Sequence[str]]:
    """Return the points that any device of a plot tells as numbers."""
    return {
        plot.plot: sorted(
            {
                each.source.point
                for each in points
                if each.source.device in plot.devices and not each.words
            }
        )
        for plot in plots
    }
