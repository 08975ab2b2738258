"""The farm in the whole daemon: a box that woke in 1970, without a hub, waters all the same."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from drivers.entities import DeviceId, Measurement, Quality
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.modbus_rtu import ModbusRtuSimulator
from drivers.simulators.profile_unit import ProfileUnit
from edge.box_store import open_box
from edge.farm.rule import Limits, Window
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from sync.clock_spans import Trust
from sync.logs.oplog import Row
from sync.store import connect_readonly
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.farm.rules import PUMP, SOIL, VENT, watering
from tests.edge.running_box import daemon_config, running_box
from tests.edge.school import enrol, plant
from tests.hub.running_hub import Clock
from tests.provisioning.district import make_district

UNIT = 9
READING = Measurement(
    device=DeviceId(SOIL.device),
    point=SOIL.point,
    value=20.0,
    unit="%",
    quality=Quality.GOOD,
    observed_ms=5_000,
    source="test",
)


def device(name: str, kind: str, profile: str, path: Path, unit: int) -> Row:
    return {
        "school": 17,
        "device": name,
        "kind": kind,
        "name": name,
        "profile": profile,
        "address": f"serial:{path}?baud=9600&unit={unit}",
    }


async def test_a_box_that_knows_no_time_waters_by_what_it_reads(tmp_path: Path) -> None:
    enrol(make_district(tmp_path / "hub", port=9), tmp_path / "box", 17)
    config = daemon_config(tmp_path / "box", network="127.122.46.1/24")
    with open_box(config, now_ms):
        pass
    rows = (
        device(PUMP.device, "farm_actuator", "relay-waveshare-rtu-8", tmp_path / "line", UNIT),
        device(SOIL.device, "farm_sensor", "soil-sen0601", tmp_path / "soil", 1),
    )
    with closing(sqlite3.connect(config.folder / "box.db", isolation_level=None)) as store:
        plant(store, "device", *rows)
    board = ModbusRtuSimulator(
        path=tmp_path / "line",
        baud=9_600,
        units=[ProfileUnit(UNIT, load_catalog().profiles[ProfileId("relay-waveshare-rtu-8")])],
        ledger=Ledger(tmp_path / "line.jsonl", now_ms),
        now_ms=now_ms,
        rng=random.Random(1),
    )
    clock = Clock()
    clock.ahead_ms = 1_000 - clock()
    async with running(board.run()), running_box(config, clock) as running_one:
        box = running_one.box
        assert box.clock_light().trust is Trust.UNKNOWN
        await until(lambda: any(each.evidence_ms for each in box.device_lights()))
        hours = (Window(starts="00:00", ends="23:59"),)
        by_day = await box.farm.enter_rule(None, "", watering(output=VENT, windows=hours), "test")
        await box.farm.enter_rule(None, "", watering(limits=Limits(longest_on_min=1)), "test")
        box._take(READING)
        await until(lambda: box.farm.keeper.engine.is_told_on(PUMP))
        box._take(READING)
        found = [each for each in box.live_values() if each.device == SOIL.device]
        assert (found[0].quality, found[0].reason) == (Quality.UNCERTAIN, "clock not known")
        standings = box.farm.keeper.engine.standings
        resting = next(standing for name, standing in standings.items() if name == by_day)
        assert resting.because == "clock"
        with closing(connect_readonly(config.folder / "box.db")) as reader:
            query = "SELECT command, reason FROM farm_action WHERE outcome = 'verified'"
            await until(lambda: len(reader.execute(query).fetchall()) > 0)
            assert [tuple(row) for row in reader.execute(query)] == [("relay_1 on", "conditions")]
    # The box stopped in order: the board is safe, and the time on is not forgotten.
    kept = msgspec.json.decode((config.folder / "farm.json").read_bytes())
    assert {each["output"]["command"]: each["is_on"] for each in kept["kept"]["outputs"]} == {
        "relay_1": False,
        "relay_2": False,
    }
    told = [line["written"] for line in _ledger(tmp_path) if line.get("fc") == 5]
    assert told[-1] == [0]


def _ledger(folder: Path) -> list[dict[str, object]]:
    return [line for line in read_ledger(folder / "line.jsonl") if line["kind"] == "reply_begun"]
