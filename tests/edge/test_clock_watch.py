"""A box that starts in 1970 ends with the right times, and says how far its clock is believed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.clock_watch import BoxClock, ClockWatch, boot_ms, read_boot
from sync.clock_spans import ClockSpans, Trust
from sync.logs.oplog import Row
from sync.writer import Writer
from tests.sync.district import District

START_MS = 60_000
"""What a machine without a battery says when the daemon starts."""


@dataclass
class Machine:
    """Its own clock and its wall clock, as the daemon sees them; the district's time is true."""

    district: District
    writer: Writer
    boot: str = "first"
    running_ms: int = 40_000
    wall_ms: int = START_MS
    watch: ClockWatch = field(init=False)
    clock: BoxClock = field(init=False)

    async def start(self, boot: str = "first", wall_ms: int | None = None) -> None:
        """Start the daemon, on another start of the machine if ``boot`` is another."""
        if boot != self.boot:
            self.boot, self.running_ms = boot, 40_000
        if wall_ms is not None:
            self.wall_ms = wall_ms
        node = self.district.reopen(17)
        self.clock = BoxClock(lambda: self.wall_ms)
        node.clock._now_ms = self.clock
        spans = ClockSpans(node, self.boot)
        self.watch = ClockWatch(self.clock, node.clock, spans, self.writer, lambda: self.running_ms)
        await self.watch.load()

    def wait(self, ms: int = 1000) -> None:
        self.district.now += ms
        self.running_ms += ms
        self.wall_ms += ms

    def tap(self) -> int:
        self.wait()
        row: Row = {"at_ms": self.clock(), "device": "door"}
        self.district.nodes[17].record("card_tap", [row])
        return self.district.now

    async def meet_the_hub(self) -> None:
        self.district.exchange(17)
        await self.watch.look()
        self.district.exchange(17)

    def moments(self, origin: int = 0) -> list[int]:
        rows = self.district.rows(origin, "SELECT at_ms FROM card_tap ORDER BY at_ms")
        return [int(str(at_ms)) for (at_ms,) in rows]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    district = District(tmp_path, random.Random(5))
    for origin in (0, 17):
        district.add(origin)
    with Writer() as writer:
        yield Machine(district, writer)
    for node in district.nodes.values():
        node.close()


async def test_what_was_recorded_in_1970_is_put_right_by_the_hubs_word(machine: Machine) -> None:
    await machine.start()
    assert machine.watch.light().trust is Trust.UNKNOWN
    really = [machine.tap(), machine.tap()]
    await machine.meet_the_hub()
    assert machine.watch.light().trust is Trust.HUB
    really.append(machine.tap())
    await machine.meet_the_hub()
    assert machine.moments() == machine.moments(17) == really
    assert machine.clock() == machine.district.now


async def test_it_is_put_right_when_somebody_sets_the_clock(machine: Machine) -> None:
    await machine.start()
    really = [machine.tap()]
    machine.wall_ms = machine.district.now
    await machine.watch.look()
    assert machine.watch.light().trust is Trust.SET
    assert machine.moments(17) == really
    really.append(machine.tap())
    machine.district.exchange(17)
    assert machine.moments() == machine.moments(17) == really


async def test_a_daemon_that_starts_anew_still_knows_what_the_hub_said(machine: Machine) -> None:
    await machine.start()
    really = [machine.tap()]
    await machine.meet_the_hub()
    machine.wait()
    await machine.start()
    assert machine.watch.light().trust is Trust.HUB
    really.append(machine.tap())
    await machine.meet_the_hub()
    assert machine.moments() == really


async def test_a_clock_set_after_the_hub_spoke_is_not_shifted_twice(machine: Machine) -> None:
    await machine.start()
    really = [machine.tap()]
    await machine.meet_the_hub()
    machine.wall_ms = machine.district.now
    await machine.watch.look()
    really.append(machine.tap())
    await machine.meet_the_hub()
    assert machine.clock() == machine.district.now
    assert machine.moments() == really


async def test_two_starts_in_1970_are_told_apart(machine: Machine) -> None:
    await machine.start()
    machine.tap()
    machine.wait(3_600_000)
    await machine.start(boot="second", wall_ms=START_MS)
    really = machine.tap()
    await machine.meet_the_hub()
    # Nobody knows when the first start was; its rows keep what its clock said.
    assert machine.moments() == [START_MS + 1000, really]


async def test_a_clock_behind_what_was_recorded_is_not_believed(machine: Machine) -> None:
    right = machine.district.now
    await machine.start(wall_ms=right)
    assert machine.watch.light().trust is Trust.SET
    machine.tap()
    await machine.start(boot="second", wall_ms=right - 86_400_000)
    assert machine.watch.light().trust is Trust.UNKNOWN
    really = machine.tap()
    await machine.meet_the_hub()
    assert machine.moments()[-1] == really


async def test_a_hub_does_not_move_a_clock_that_is_set(machine: Machine) -> None:
    await machine.start(wall_ms=machine.district.now - 3_600_000)
    at_ms = machine.tap() - 3_600_000
    await machine.meet_the_hub()
    light = machine.watch.light()
    assert (light.trust, light.added_ms, light.hub_offset_ms) == (Trust.SET, 0, 3_600_000)
    assert machine.moments() == [at_ms]


def test_the_machine_says_which_start_it_is_and_for_how_long() -> None:
    assert len(read_boot()) == 36
    assert 0 < boot_ms() <= boot_ms()
