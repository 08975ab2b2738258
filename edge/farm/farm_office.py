"""What teachers and pupils enter of the farm: plots, rules, experiments, the grow log, points."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drivers.errors import SetupError
from edge.books import Record
from edge.devices.fleet import Fleet
from edge.farm.experiment import Experiment, experiment_row
from edge.farm.farm_rows import PLOTS_MAX, RULES_MAX
from edge.farm.keeper import FarmKeeper
from edge.farm.photos import PhotoError, PhotoShelf
from edge.farm.rule import Output, Rule, RuleError, check_rule, write_rule
from provisioning import errors
from sync.logs.oplog import Row

ENTRY_CHARS_MAX = 500
POINTS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LogWish:
    """``height_mm``: of the plants, measured; ``photo``: a JPEG as it came."""

    plot: str
    class_group: str
    person: int | None
    text: str
    height_mm: int | None
    photo: bytes | None


class FarmOffice:
    """Everything a box does for its farm but the pages; call on the event loop's thread.

    What writes raises SetupError for a wish that cannot be, and :class:`sqlite3.Error`.
    """

    def __init__(
        self,
        folder: Path,
        fleet: Fleet,
        keeper: FarmKeeper,
        record: Record,
        *,
        now_ms: Callable[[], int],
        draw: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self.fleet = fleet
        self.keeper = keeper
        self.photos = PhotoShelf(folder / "farm-photos")
        self._record = record
        self._now_ms = now_ms
        self._draw = draw
        self._changed = changed

    async def enter_plot(
        self, plot: str | None, name: str, crop: str, group: str, devices: Sequence[str], who: str
    ) -> str:
        """Enter a plot, a new one without ``plot``; return what names it."""
        unknown = [device for device in devices if device not in self.fleet.devices]
        if unknown:
            raise SetupError(f"{unknown[0]} is not adopted; the set-up page lists what is")
        if plot is None and len(self.keeper.plots) >= PLOTS_MAX:
            raise SetupError(f"{PLOTS_MAX} plots are entered already; remove one first")
        made = plot or self._name("plot")
        row: Row = {
            "plot": made,
            "name": name,
            "crop": crop or None,
            "class_group": group or None,
            "devices": " ".join(devices),
        }
        await self._enter("farm_plot", row, "enter plot", made, who)
        return made

    async def remove_plot(self, plot: str, who: str) -> None:
        """Remove a plot; its rules must be gone before, or they would read nothing."""
        for each in self.keeper.rules:
            sources = [condition.source for condition in each.rule.conditions] if each.rule else []
            if each.plot == plot or any(source.plot == plot for source in sources):
                name = each.rule.name if each.rule else each.name
                raise SetupError(f"rule {name} is of this plot; remove it first")
        row: Row = {"plot": plot, "deleted": 1}
        await self._enter("farm_plot", row, "remove plot", plot, who)

    async def enter_rule(self, name: str | None, plot: str, rule: Rule, who: str) -> str:
        """Enter a rule, a new one without ``name``; it drives from now on."""
        self.check(rule)
        if name is None and len(self.keeper.rules) >= RULES_MAX:
            raise SetupError(f"{RULES_MAX} rules are entered already; remove one first")
        made = name or self._name("rule")
        row: Row = {"rule": made, "plot": plot, "definition": write_rule(rule), "enabled": 1}
        await self._enter("farm_rule", row, "enter rule", made, who)
        return made

    async def switch_rule(self, name: str, who: str, *, is_enabled: bool) -> None:
        """Let a rule drive, or rest."""
        for each in self.keeper.rules:
            if each.name == name:
                if is_enabled and each.rule is not None:
                    self.check(each.rule)
                row: Row = {
                    "rule": name,
                    "plot": each.plot,
                    "definition": each.definition,
                    "enabled": int(is_enabled),
                }
                action = "switch rule on" if is_enabled else "switch rule off"
                await self._enter("farm_rule", row, action, name, who)
                return
        raise SetupError(f"there is no rule {name}; reload the page")

    async def remove_rule(self, name: str, who: str) -> None:
        await self._enter("farm_rule", {"rule": name, "deleted": 1}, "remove rule", name, who)

    def check(self, rule: Rule) -> None:
        """Raise SetupError when a rule cannot be kept with the devices that are adopted."""
        try:
            check_rule(rule)
        except RuleError as error:
            raise SetupError(str(error)) from error
        outputs = self.keeper.outputs()
        for output in (rule.output, *rule.never_with):
            if output not in outputs:
                raise SetupError(
                    f"{output.device} {output.command} is no output that a rule may drive;"
                    " its profile has to say what is safe and how it is read back"
                )
        longest_s = outputs[rule.output].longest_on_s
        if rule.limits.longest_on_min * 60 > longest_s:
            raise SetupError(f"its profile allows {longest_s / 60:g} minutes on; choose fewer")
        for condition in rule.conditions:
            source = condition.source
            if not self.keeper.devices_of(source):
                raise SetupError(
                    f"nothing adopted measures {source.point} there; choose another reading"
                )

    async def override(
        self, output: Output, *, is_on: bool | None, minutes: float, who: str
    ) -> None:
        """Switch by hand for some minutes; None gives it back to the rules."""
        await self.keeper.override(output, is_on=is_on, minutes=minutes, who=who)
        word = {True: "on", False: "off", None: "back to the rules"}[is_on]
        action = f"farm {output.command} {word}" + (f" for {minutes:g} min" if minutes else "")
        await self._record(self._audit(action, output.device, who))
        self._changed()

    async def enter_experiment(self, wish: Experiment, who: str) -> str:
        """Begin a paired-plot experiment, which has no name yet; return what names it."""
        if wish.plot_a == wish.plot_b:
            raise SetupError("a comparison wants two plots; choose another one")
        if wish.from_ms >= wish.until_ms:
            raise SetupError("an experiment ends after it begins; choose a later end")
        if not wish.points:
            raise SetupError("choose what is measured")
        made = replace(wish, experiment=self._name("experiment"))
        row = experiment_row(made)
        await self._enter("farm_experiment", row, "begin experiment", made.experiment, who)
        return made.experiment

    async def conclude(self, experiment: Experiment, conclusion: str, who: str) -> None:
        """Write down what the pupils conclude."""
        row = experiment_row(replace(experiment, conclusion=conclusion))
        name = experiment.experiment
        await self._enter("farm_experiment", row, "conclude experiment", name, who)

    async def remove_experiment(self, experiment: str, who: str) -> None:
        row: Row = {"experiment": experiment, "deleted": 1}
        await self._enter("farm_experiment", row, "remove experiment", experiment, who)

    async def enter_log(self, wish: LogWish, who: str) -> None:
        """Add an entry to the grow log."""
        photo = None
        if wish.photo:
            try:
                photo = await asyncio.to_thread(self.photos.put, wish.photo)
            except (PhotoError, errors.SetupError) as error:
                raise SetupError(str(error)) from error
        row: Row = {
            "at_ms": self._now_ms(),
            "plot": wish.plot,
            "person": wish.person,
            "entry": wish.text[:ENTRY_CHARS_MAX] or None,
            "height_mm": wish.height_mm,
            "class_group": wish.class_group or None,
            "photo": photo,
        }
        await self._enter("grow_log", row, "enter grow log", wish.plot, who)

    async def propose_points(self, person: int, points: int, work: str, who: str) -> None:
        """Note labour; the points count once a teacher confirms them."""
        if not 1 <= points <= POINTS_MAX:
            raise SetupError(f"{points} points: choose 1 to {POINTS_MAX}")
        row: Row = {
            "at_ms": self._now_ms(),
            "person": person,
            "task": self._name("task"),
            "points": points,
            "work": work[:ENTRY_CHARS_MAX],
        }
        await self._enter("labour_point", row, "note labour", str(person), who)

    async def answer_points(
        self, task: str, person: int, teacher: str, who: str, *, is_granted: bool
    ) -> None:
        """Confirm or refuse proposed points, in a teacher's name."""
        row: Row = {
            "at_ms": self._now_ms(),
            "person": person,
            "task": task,
            "confirmed_by": teacher,
            "granted": int(is_granted),
        }
        action = "confirm labour" if is_granted else "refuse labour"
        await self._enter("labour_confirmation", row, action, str(person), who)

    def _name(self, kind: str) -> str:
        return f"{kind}-{self._draw()[:10]}"

    async def _enter(self, table: str, row: Row, action: str, subject: str, who: str) -> None:
        await self._record({table: [row], **self._audit(action, subject, who)})
        if table in {"farm_plot", "farm_rule"}:
            await self.keeper.reload()
        self._changed()

    def _audit(self, action: str, subject: str, who: str) -> dict[str, list[Row]]:
        return {
            "audit_entry": [
                {"at_ms": self._now_ms(), "who": who, "action": action, "subject": subject}
            ]
        }
