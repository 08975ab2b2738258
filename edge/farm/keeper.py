"""Keeps the farm by its rules: looks each second, switches, and writes down why.

It goes on without the hub, and through a restart by a file of the box's folder. Should it stop by
itself, the drivers make its outputs safe: it holds them for ten seconds at a time.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Never

from drivers.entities import (
    CommandResult,
    DeviceEvent,
    DeviceId,
    Measurement,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import DriverError, SetupError
from edge.books import Connect, Record
from edge.devices.fleet import Fleet
from edge.farm.engine import Decision, Engine
from edge.farm.farm_devices import FarmOutput, devices_with, farm_outputs
from edge.farm.farm_memory import FarmClock, FarmMemory
from edge.farm.farm_rows import (
    BLOCKED,
    DAY_MS,
    Plot,
    StoredRule,
    read_plots,
    read_rules,
    read_school_days,
    write_facts,
)
from edge.farm.rule import Output, Source
from edge.farm.switch import TICK_S, Override
from edge.farm.world import Sample, Seen, World
from sync.errors import SyncError
from sync.logs.oplog import Row

_log = logging.getLogger(__name__)

HOLD_S = 10.0
OUTPUT_STALE_S = 30.0
KEEP_EVERY_S = 10.0
RELOAD_EVERY_S = 60.0
OVERRIDE_MINUTES_MAX = 24 * 60


class FarmKeeper:
    """Owns the engine; everything but :meth:`take` and :meth:`run` only looks or gives a word.

    ``connect`` is called in a worker thread, ``changed`` is told when what a page shows of the
    farm has changed.
    """

    def __init__(
        self,
        path: Path,
        school: int,
        fleet: Fleet,
        record: Record,
        connect: Connect,
        *,
        clock: FarmClock,
        changed: Callable[[], None],
    ) -> None:
        self._memory = FarmMemory(path, clock)
        self._school = school
        self._fleet = fleet
        self._record = record
        self._connect = connect
        self._clock = clock
        self._changed = changed
        self._engine = Engine()
        self._heard: dict[tuple[DeviceId, str], tuple[Measurement, float]] = {}
        self._watched: frozenset[tuple[str, str]] = frozenset()
        self._wake = asyncio.Event()
        self._loaded_s: float | None = None
        self._reads = self._applied = 0
        self._kept_s = 0.0
        self._school_days: frozenset[str] = frozenset()
        self.plots: tuple[Plot, ...] = ()
        self.rules: tuple[StoredRule, ...] = ()
        found = self._memory.read()
        if found is not None:
            self._engine.restore(found[0], found[1], self._mono_s())

    @property
    def engine(self) -> Engine:
        """How the rules and outputs stand."""
        return self._engine

    def take(self, event: DeviceEvent) -> None:
        """Hear a device; what cannot be relied on is looked at without waiting."""
        if isinstance(event, Presence) and not event.online:
            # What it said last is of before: nobody knows what it is now.
            self._heard = {key: at for key, at in self._heard.items() if key[0] != event.device}
        if isinstance(event, Measurement):
            self._heard[event.device, event.point] = (event, self._mono_s())
            if event.quality is not Quality.GOOD and (event.device, event.point) in self._watched:
                self._wake.set()

    def outputs(self) -> dict[Output, FarmOutput]:
        """Return what rules may drive now."""
        return farm_outputs(self._fleet)

    def seen(self, output: FarmOutput) -> Seen:
        """Return what an output was read to be just now."""
        found = self._heard.get((DeviceId(output.output.device), output.point.id))
        if found is None or self._mono_s() - found[1] > OUTPUT_STALE_S:
            return Seen.UNKNOWN
        return output.seen(found[0])

    def left_s(self, output: Output) -> float | None:
        """Return how long a person's word on an output still holds, None without one."""
        word = self._engine.override_of(output)
        return None if word is None else max(0.0, word.until_s - self._mono_s())

    async def reload(self) -> None:
        """Go by what the store says of plots, rules and lessons from now on."""
        now_ms = self._clock.now_ms()
        self._reads += 1
        number = self._reads
        read = await asyncio.to_thread(self._read, now_ms)
        if number < self._applied:
            return  # one that began later is done: this one may have missed what was entered
        self._applied = number
        self.plots, self.rules, self._school_days = read
        self._engine.set_rules(
            {each.name: each.rule for each in self.rules if each.is_enabled and each.rule}
        )
        adopted = self._fleet.devices
        self._heard = {key: heard for key, heard in self._heard.items() if key[0] in adopted}
        self._watched = frozenset(
            (device, source.point)
            for source in self._sources()
            for device in self.devices_of(source)
        )
        self._loaded_s = self._mono_s()
        self._wake.set()

    async def override(
        self, output: Output, *, is_on: bool | None, minutes: float, who: str
    ) -> None:
        """Switch by a person's word for some minutes; None gives the output back to the rules.

        Raises SetupError when it is no output of the farm, or the time is out of bounds.
        """
        if output not in self.outputs():
            raise SetupError(
                f"{output.device} {output.command} is no output that a rule may drive;"
                " its profile has to say what is safe"
            )
        if is_on is not None and not 0 < minutes <= OVERRIDE_MINUTES_MAX:
            raise SetupError(f"{minutes:g} minutes: choose up to {OVERRIDE_MINUTES_MAX}")
        word = None
        if is_on is not None:
            until_s = self._mono_s() + minutes * 60
            word = Override(is_on=is_on, until_s=until_s, who=who)
        self._engine.set_override(output, word)
        await self._keep()
        self._wake.set()

    async def run(self) -> Never:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._reload_when_due()
                await self._look(tasks)
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()

    async def close(self) -> None:
        """Write down how everything stands, at the end: the drivers make all outputs safe."""
        self._engine.rest(self._mono_s())
        try:
            await self._keep()
        except SetupError as error:
            _log.error("how long the farm's outputs were on is not remembered: %s", error)

    def _mono_s(self) -> float:
        return self._clock.boot_ms() / 1_000

    def _read(self, now_ms: int) -> tuple[tuple[Plot, ...], tuple[StoredRule, ...], frozenset[str]]:
        with closing(self._connect()) as connection:
            return (
                tuple(read_plots(connection, self._school)),
                tuple(read_rules(connection, self._school)),
                read_school_days(
                    connection,
                    self._school,
                    self._clock.zone,
                    from_ms=now_ms - 2 * DAY_MS,
                    until_ms=now_ms + 2 * DAY_MS,
                ),
            )

    async def _reload_when_due(self) -> None:
        if self._loaded_s is not None and self._mono_s() - self._loaded_s < RELOAD_EVERY_S:
            return
        try:
            await self.reload()
        except sqlite3.Error as error:
            _log.error("the farm's rules are not read again: %s", error)

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        outputs = self.outputs()
        before = dict(self._engine.standings)
        decisions = self._engine.look(self._world(outputs))
        to_switch_on = [each for each in decisions if each.argument]
        for decision in decisions:
            if not decision.argument:
                tasks.create_task(self._carry_out(decision, outputs))
        now_s = self._mono_s()
        is_due = self._engine.is_anything_on and now_s - self._kept_s >= KEEP_EVERY_S
        if is_due or any(not each.is_repeated for each in decisions):
            try:
                await self._keep()
            except SetupError as error:
                _log.error("nothing of the farm is switched on: %s", error)
                for decision in to_switch_on:
                    self._engine.note_failed(decision.output, now_s)
                to_switch_on = []
        for decision in to_switch_on:
            tasks.create_task(self._carry_out(decision, outputs))
        for output in outputs:
            if self._engine.is_told_on(output):
                self._hold(output)
        if decisions or before != self._engine.standings:
            self._changed()

    def _world(self, outputs: Mapping[Output, FarmOutput]) -> World:
        return World(
            mono_s=self._mono_s(),
            moment=self._clock.moment(),
            samples={source: self._samples(source) for source in self._sources()},
            seen={output: self.seen(known) for output, known in outputs.items()},
            school_days=self._school_days,
        )

    def _sources(self) -> set[Source]:
        return {
            condition.source
            for each in self.rules
            if each.rule and each.is_enabled
            for condition in each.rule.conditions
        }

    def devices_of(self, source: Source) -> tuple[DeviceId, ...]:
        """Return the devices of a source that are adopted and have its point."""
        devices: tuple[str, ...] = (source.device,)
        if source.plot:
            devices = next((each.devices for each in self.plots if each.plot == source.plot), ())
        return devices_with(self._fleet, source.point, devices)

    def _samples(self, source: Source) -> tuple[Sample | None, ...]:
        """Return what a source's devices said last; None for one that said nothing yet."""
        now_s = self._mono_s()
        samples: list[Sample | None] = []
        for device in self.devices_of(source):
            heard = self._heard.get((device, source.point))
            if heard is None:
                samples.append(None)
            else:
                reading, at_s = heard
                age_s = max(0.0, now_s - at_s)
                samples.append(Sample(value=reading.value, quality=reading.quality, age_s=age_s))
        return tuple(samples)

    def _hold(self, output: Output) -> None:
        try:
            self._fleet.buses.hold(DeviceId(output.device), output.command, HOLD_S)
        except SetupError as error:
            _log.warning("%s", error)  # released meanwhile: its driver has made it safe

    async def _carry_out(self, decision: Decision, outputs: Mapping[Output, FarmOutput]) -> None:
        at_ms, output = self._clock.now_ms(), outputs.get(decision.output)
        argument, outcome, detail = None, BLOCKED, ""
        if decision.argument is not None:
            if output is not None:
                argument = output.on if decision.argument else output.off
            result = await self._tell(decision.output, argument)
            outcome, detail = result.outcome.value, result.detail
            if decision.argument and result.outcome is Outcome.FAILED:
                self._engine.note_failed(decision.output, self._mono_s())
            elif decision.argument:
                self._engine.note_switched_on(decision.output)
        if decision.is_repeated:
            return
        facts = dict(decision.facts) | ({"detail": detail[:200]} if detail else {})
        row: Row = {
            "at_ms": at_ms,
            "rule": decision.rule,
            "device": decision.output.device,
            "command": f"{decision.output.command} {argument or ''}".strip(),
            "outcome": outcome,
            "reason": decision.because.value,
            "facts": write_facts(facts),
        }
        try:
            await self._record({"farm_action": [row]})
        except (sqlite3.Error, SyncError) as error:
            _log.error("a decision of the farm is not written down: %s", error)
        self._changed()

    async def _tell(self, output: Output, argument: str | None) -> CommandResult:
        """Tell an output its word; there is none when the output is no longer there."""
        device, command = DeviceId(output.device), output.command
        detail = "the device is no longer adopted"
        if argument is not None:
            try:
                return await self._fleet.command(device, command, argument)
            except DriverError as error:
                detail = str(error)
        return CommandResult(
            device=device,
            command=command,
            outcome=Outcome.FAILED,
            observed_ms=self._clock.now_ms(),
            detail=detail,
        )

    async def _keep(self) -> None:
        """Write the engine's memory down; raises SetupError when the disk refuses."""
        self._kept_s = self._mono_s()
        await self._memory.keep(self._engine.keep(self._kept_s))
