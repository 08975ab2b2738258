"""The farm for a class: charts, and experiments with a pair of plots."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web

from edge.attendance.register import span_of
from edge.farm.chart import Chart, draw, even_edges
from edge.farm.experiment import (
    Experiment,
    Measured,
    day_edges,
    measure,
    read_experiments,
    write_csv,
)
from edge.farm.farm_devices import farm_points
from edge.farm.farm_rows import DAY_MS, Plot
from edge.farm.series import Key, read_series, spread
from edge.pages import farm_forms as forms
from edge.pages.actions import ActionError
from edge.pages.card_queries import read_groups
from edge.pages.farm_words import date_of, finding_of
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.office_forms import read_date

CHART_DAYS = (1, 7, 30, 90)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotChart:
    point: str
    chart: Chart
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentView:
    experiment: Experiment
    measured: Sequence[Measured]
    charts: Mapping[str, Chart]


class FarmClassPage:
    """Charts and comparisons are open in the school; changes want the setup code."""

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        acting, experiments = self._desk.acting, self._experiments
        return [
            web.get("/rooftop/charts", self._charts),
            web.get("/rooftop/experiments", self.show_experiments),
            web.post("/rooftop/experiments", acting(self._enter_experiment, experiments)),
            web.post("/rooftop/experiments/conclude", acting(self._conclude, experiments)),
            web.get("/rooftop/experiments/{experiment}.csv", self._csv),
        ]

    async def show_experiments(self, request: web.Request) -> web.Response:
        return await self._experiments(request, None, 200)

    async def _charts(self, request: web.Request) -> web.Response:
        plots = self._view.farm.keeper.plots
        plot = next((p for p in plots if p.plot == request.query.get("plot")), None)
        plot = plot or next(iter(plots), None)
        wish = request.query.get("days", "")
        days = int(wish) if wish in {str(each) for each in CHART_DAYS} else CHART_DAYS[0]
        now_ms = self._view.now_ms()
        charts = await asyncio.to_thread(self._draw, plot, days, now_ms) if plot else []
        context = {
            "plots": plots,
            "plot": plot,
            "date": self._date(request),
            "days": days,
            "choices": CHART_DAYS,
            "charts": charts,
            "signed_in": self._desk.is_signed_in(request),
        }
        return self._desk.renderer.page(request, "farm_charts.html", context)

    def _draw(self, plot: Plot, days: int, now_ms: int) -> list[PlotChart]:
        units = self._units()
        keys = [key for key in units if key[0] in plot.devices]
        from_ms = now_ms - days * DAY_MS
        edges = even_edges(from_ms, now_ms)
        with closing(self._view.connect()) as connection:
            series = read_series(
                connection, self._view.school, keys, from_ms=from_ms, until_ms=now_ms
            )
        names, found = self._desk.device_names(), []
        for point in sorted({key[1] for key in keys}):
            named = [
                (names.get(key[0], key[0]), spread(series[key], edges, now_ms=now_ms))
                for key in keys
                if key[1] == point
            ]
            known = [bucket for _, buckets in named for bucket in buckets if bucket]
            found.append(
                PlotChart(
                    point=point,
                    chart=draw(
                        named,
                        next(units[key] for key in keys if key[1] == point),
                        from_ms=from_ms,
                        until_ms=now_ms,
                        zone=self._view.timezone,
                    ),
                    low=min((each.low for each in known), default=None),
                    high=max((each.high for each in known), default=None),
                )
            )
        return found

    async def _experiments(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        now_ms, language = self._view.now_ms(), self._desk.renderer.language(request)
        wish = request.query.get("experiment", "")
        shown = await asyncio.to_thread(self._measure, wish, now_ms)
        units = self._units()
        plots = self._view.farm.keeper.plots
        measured = {device for plot in plots for device in plot.devices}
        context = {
            "signed_in": self._desk.is_signed_in(request),
            "refusal": refusal,
            "done": request.query.get("said") == "done",
            "date": self._date(request),
            "plots": plots,
            "plot_names": {plot.plot: plot.name for plot in plots},
            "groups": await asyncio.to_thread(self._groups),
            "points": sorted({point for device, point in units if device in measured}),
            "experiments": shown[0],
            "shown": shown[1],
            "finding": lambda finding: finding_of(finding, language),
        }
        return self._desk.renderer.page(request, "farm_experiments.html", context, status=status)

    def _groups(self) -> dict[str, str]:
        with closing(self._view.connect()) as connection:
            return read_groups(connection, self._view.school)

    def _measure(self, wish: str, now_ms: int) -> tuple[list[Experiment], ExperimentView | None]:
        with closing(self._view.connect()) as connection:
            experiments = read_experiments(connection, self._view.school)
            chosen = next((each for each in experiments if each.experiment == wish), None)
            chosen = chosen or next(iter(experiments), None)
            if chosen is None:
                return experiments, None
            plots = {plot.plot: plot for plot in self._view.farm.keeper.plots}
            measured = measure(
                connection,
                self._view.school,
                chosen,
                plots,
                self._units(),
                zone=self._view.timezone,
                now_ms=now_ms,
            )
        edges = day_edges(chosen.from_ms, min(chosen.until_ms, now_ms), self._view.timezone)
        names = [
            plots[plot].name if plot in plots else plot for plot in (chosen.plot_a, chosen.plot_b)
        ]
        charts = {
            each.point: draw(
                [
                    (f"A {names[0]}", [day.a for day in each.days]),
                    (f"B {names[1]}", [day.b for day in each.days]),
                ],
                each.unit,
                from_ms=edges[0],
                until_ms=edges[-1],
                zone=self._view.timezone,
            )
            for each in measured
        }
        return experiments, ExperimentView(experiment=chosen, measured=measured, charts=charts)

    async def _csv(self, request: web.Request) -> web.Response:
        wish = request.match_info["experiment"]
        _, shown = await asyncio.to_thread(self._measure, wish, self._view.now_ms())
        if shown is None or shown.experiment.experiment != wish:
            raise web.HTTPNotFound
        _ = self._desk.renderer.language(request).translations.gettext
        sides = [
            f"{side} {part}"
            for side in "AB"
            for part in (_("mean"), _("lowest"), _("highest"), _("hours known"))
        ]
        heading = [_("day"), _("point"), _("unit"), *sides]
        return web.Response(
            body=write_csv(shown.measured, heading),
            content_type="text/csv",
            charset="utf-8",
            headers={
                "Content-Disposition": 'attachment; filename="experiment.csv"',
                "Cache-Control": "no-store",
            },
        )

    async def _enter_experiment(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.EnterExperiment, lists=("points",))
        zone = self._view.timezone
        made = await self._view.farm.enter_experiment(
            Experiment(
                experiment="",
                title=wish.title,
                factor=wish.factor,
                hypothesis=wish.hypothesis or "",
                plot_a=wish.plot_a,
                plot_b=wish.plot_b,
                points=wish.points,
                class_group=wish.group or "",
                from_ms=span_of(read_date(wish.begins), zone)[0],
                until_ms=span_of(read_date(wish.ends), zone)[1],
            ),
            who,
        )
        return f"/rooftop/experiments?said=done&experiment={made}"

    async def _conclude(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.Conclude)
        experiments, _ = await asyncio.to_thread(self._measure, "", self._view.now_ms())
        known = {each.experiment: each for each in experiments}
        if wish.experiment not in known:
            raise ActionError(404, "unknown", f"there is no experiment {wish.experiment}")
        if wish.word == "remove":
            await self._view.farm.remove_experiment(wish.experiment, who)
            return "/rooftop/experiments?said=done"
        await self._view.farm.conclude(known[wish.experiment], wish.conclusion or "", who)
        return f"/rooftop/experiments?said=done&experiment={wish.experiment}"

    def _date(self, request: web.Request) -> Callable[[int], str]:
        language, zone = self._desk.renderer.language(request), self._view.timezone
        return lambda at_ms: date_of(at_ms, zone, language)

    def _units(self) -> dict[Key, str]:
        """Return the units of all points of the farm that tell numbers."""
        return {
            (each.source.device, each.source.point): each.unit
            for each in farm_points(self._view.farm.fleet)
            if not each.words
        }
