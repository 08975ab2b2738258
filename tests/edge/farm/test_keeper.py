"""The keeper over a real simulated relay board: switched, verified, written down, never left on."""

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import msgspec
import pytest

from drivers.entities import CommandResult, Quality
from drivers.errors import SetupError
from edge.errors import BoxSetupError
from edge.farm import keeper
from edge.farm.farm_office import FarmOffice
from edge.farm.farm_rows import PLOTS_MAX, RULES_MAX
from edge.farm.rule import Limits, Output, RuleId
from edge.farm.world import Seen
from sync.logs.oplog import Row
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.farm.garden import Garden
from tests.edge.farm.rules import PUMP, tank_empty, watering

R1, R3 = RuleId("r1"), RuleId("r3")


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    return Garden(tmp_path)


async def test_a_dry_bed_is_watered_for_true_and_a_bad_reading_ends_it(garden: Garden) -> None:
    garden.write_rule(watering(limits=Limits(pause_min=5)))
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(20)
        await until(lambda: bool(garden.rows))
        assert garden.is_on()
        assert garden.told() == [("relay_1 on", "verified", "conditions")]
        facts = msgspec.json.decode(str(garden.rows[0]["facts"]))
        assert (facts["point"], facts["value"], facts["limit"]) == ("soil_moisture", 20, 35)
        garden.measure(None, Quality.BAD)
        await until(lambda: len(garden.rows) == 2)
        assert not garden.is_on()
        assert garden.told()[1] == ("relay_1 off", "verified", "doubt")
        garden.measure(20)
        await until(lambda: garden.keeper.engine.standings[R1].because == "pause")
    assert garden.keeper.engine.usage_of(PUMP).runs == 1


async def test_a_rule_that_is_switched_off_or_cannot_be_read_drives_nothing(
    garden: Garden,
) -> None:
    garden.write_rule(watering(), is_enabled=False)
    garden.box.insert("farm_rule", rule="r2", plot="p1", definition="{}", enabled=1)
    garden.write_rule(watering(guards=(tank_empty(),)), "r3")  # no tank is adopted
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(20)
        await until(lambda: R3 in garden.keeper.engine.standings)
        garden.measure(20)
        await until(lambda: garden.keeper.engine.standings[R3].facts.get("how") == "missing")
    assert not garden.rows
    assert "cannot be read" in garden.keeper.rules[1].fault


async def test_a_person_waters_for_a_while_and_gives_the_pump_back(garden: Garden) -> None:
    garden.write_rule(watering())
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(80)
        await garden.keeper.override(PUMP, is_on=True, minutes=5, who="a person")
        await until(lambda: len(garden.rows) == 1)
        assert garden.is_on()
        await garden.keeper.override(PUMP, is_on=None, minutes=0, who="a person")
        await until(lambda: len(garden.rows) == 2)
        assert not garden.is_on()
    assert garden.told() == [
        ("relay_1 on", "verified", "hand_on"),
        ("relay_1 off", "verified", "hand_over"),
    ]


@pytest.mark.parametrize(
    ("output", "minutes"),
    [(PUMP, 0), (PUMP, 1_441), (Output(device="x", command="relay_1"), 5)],
)
async def test_a_word_without_an_end_or_an_output_is_refused(
    garden: Garden, output: Output, minutes: float
) -> None:
    with pytest.raises(SetupError):
        await garden.keeper.override(output, is_on=True, minutes=minutes, who="a person")
    assert not (garden.folder / "farm.json").exists()


async def test_what_was_on_when_the_box_died_is_counted_and_made_safe(garden: Garden) -> None:
    garden.write_rule(watering(limits=Limits(pause_min=1, minutes_a_day=10)))
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(20)
        await until(lambda: bool(garden.rows))
        kept = (garden.folder / "farm.json").read_bytes()
    # kill -9: nobody closed the keeper; the board stayed as it was for four minutes.
    (garden.folder / "farm.json").write_bytes(kept)
    garden.switch_by_hand(on=True)
    garden.moment = garden.moment.replace(minute=4)
    garden.boot, garden.rows = "second", []
    garden.restart()
    assert 240 <= garden.keeper.engine.usage_of(PUMP).on_s <= 260
    async with garden.running():
        await until(lambda: garden.is_board_here and not garden.is_on())
        garden.measure(20)
        await until(lambda: bool(garden.keeper.engine.standings))
    assert not [row for row in garden.rows if row["command"] == "relay_1 on"]


async def test_a_box_that_stops_in_order_counts_no_time_while_it_is_off(garden: Garden) -> None:
    garden.write_rule(watering())
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(20)
        await until(lambda: bool(garden.rows))
    await garden.keeper.close()
    garden.moment = garden.moment.replace(hour=12)
    garden.boot = "second"
    garden.restart()
    assert garden.keeper.engine.usage_of(PUMP).on_s < 60


async def test_a_keeper_that_hangs_leaves_nothing_on(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "HOLD_S", 0.3)  # shorter than a look: nobody renews it in time
    garden.write_rule(watering())
    async with garden.running():
        await until(lambda: garden.is_board_here)
        garden.measure(20)
        await until(garden.is_on)
        await until(lambda: "nobody held it any more" in told_by_the_driver(garden))
        assert not garden.is_on()


def told_by_the_driver(garden: Garden) -> list[str]:
    return [each.detail for each in garden.events if isinstance(each, CommandResult)]


def test_a_damaged_memory_says_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "farm.json"
    path.write_text('{"kept": 7}')
    path.chmod(0o600)
    with pytest.raises(BoxSetupError, match="move it away"):
        Garden(tmp_path)


async def test_a_board_that_is_gone_counts_as_unknown_and_is_told_off_once(
    garden: Garden,
) -> None:
    garden.write_rule(watering())
    async with running(garden.fleet.run(), garden.keeper.run()):
        async with running(garden.simulator.run()):
            await until(lambda: garden.is_board_here)
            garden.measure(20)
            await until(lambda: bool(garden.rows))
            assert garden.told() == [("relay_1 on", "verified", "conditions")]
        await until(lambda: not garden.is_board_here)
        assert garden.keeper.seen(garden.keeper.outputs()[PUMP]) is Seen.UNKNOWN
        await until(lambda: len(garden.rows) == 2)
        assert garden.told()[1] == ("relay_1 off", "failed", "unseen")
    failed = [each for each in garden.events if isinstance(each, CommandResult)]
    assert [each.command for each in failed if each.detail == "the device is away"] == [
        "relay_1 off"
    ]


async def test_a_rule_that_is_switched_off_while_the_rules_are_read_stays_off(
    garden: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_read, goes_on = threading.Event(), threading.Event()

    class Slow(sqlite3.Connection):
        def close(self) -> None:
            has_read.set()
            goes_on.wait(10)
            super().close()

    connections = iter(
        [sqlite3.connect(garden.folder / "box.sqlite", factory=Slow, check_same_thread=False)]
    )
    connect = garden.box.connect
    monkeypatch.setattr(garden.box, "connect", lambda: next(connections, None) or connect())
    garden.restart()
    garden.write_rule(watering())
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(garden.keeper.reload())
        await asyncio.to_thread(has_read.wait, 10)
        garden.box.insert("farm_rule", rule="r0", plot="p1", definition="{}", enabled=0)
        await garden.keeper.reload()
        goes_on.set()
        await early
    assert [each.name for each in garden.keeper.rules] == ["r0", "r1"]


async def test_what_would_not_be_read_again_is_not_entered(garden: Garden) -> None:
    entered: list[str] = []
    numbers = count()

    async def record(rows: Mapping[str, Sequence[Row]]) -> None:
        entered.extend(rows)

    office = FarmOffice(
        garden.folder,
        garden.fleet,
        garden.keeper,
        record,
        now_ms=now_ms,
        draw=lambda: hashlib.sha256(str(next(numbers)).encode()).hexdigest(),
        changed=lambda: None,
    )
    for number in range(RULES_MAX):
        garden.write_rule(watering(), f"r{number}")
    for number in range(PLOTS_MAX):
        garden.box.insert("farm_plot", plot=f"p{number}", name="x", devices="")
    await garden.keeper.reload()
    with pytest.raises(SetupError, match="64 rules"):
        await office.enter_rule(None, "p1", watering(), "test")
    with pytest.raises(SetupError, match="64 plots"):
        await office.enter_plot(None, "Bed", "", "", [], "test")
    assert entered == []
    await office.enter_rule("r1", "p1", watering(), "test")
    assert entered == ["farm_rule", "audit_entry"]
