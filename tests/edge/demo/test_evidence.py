"""The demo's evidence counts as lost what a box had for good, and nothing else."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.demo.evidence import (
    KEPT_MS,
    Account,
    account_for_readings,
    account_for_taps,
    board_was_switched_on,
    lamp_was_switched,
    motion_was_told,
)
from edge.demo.plan import DemoConfig, SchoolPlan, make_plan
from edge.demo.roof import LAMP
from sync.persons.vault import PersonVault

ADOPTED_MS = 1_000_000
CARD = "6F007B3972"
UNIT = 17
SOIL = f"modbus:line-0:{UNIT}"
BOARD, PANEL = "panel:line-4", "panel:127.0.0.2:1515"
MODULE = "modbus:127.0.0.2:5020:1"
_READ = {"unit": UNIT, "fc": 3, "address": 0, "count": 3, "fault": None}
_TABLES = """
CREATE TABLE device (school, device, kind, profile, address, adopted_ms, deleted);
CREATE TABLE device_event (school, device, event);
CREATE TABLE farm_action (school, device, rule, command, outcome);
CREATE TABLE reading (school, device, point, value);
CREATE TABLE card_tap (school, person);
CREATE TABLE device_state (school, device, point, value, observed_ms);
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A school with a reader, a probe and a panel on lines of their own, and its hub's rows."""

    school: SchoolPlan
    hub: Path

    def tell(self, ledger: str, kind: str, **fields: object) -> None:
        path = self.school.ledgers / f"{ledger}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lines:
            lines.write(json.dumps({"kind": kind, **fields}) + "\n")

    def present_card(self, begun_ms: int, told_ms: int) -> None:
        self.tell("cards", "tap_begun", t_ms=begun_ms, card=CARD, begun_ms=begun_ms)
        self.tell("cards", "tap", t_ms=told_ms, card=CARD, begun_ms=begun_ms, heard=True)

    def reply(self, begun_ms: int, told_ms: int, moisture: float) -> None:
        fields = {**_READ, "begun_ms": begun_ms, "values": {"soil_moisture": moisture}}
        self.tell("bus", "reply_begun", t_ms=begun_ms, **fields)
        self.tell("bus", "reply", t_ms=told_ms, heard=True, **fields)

    def hub_has(self, device: str, event: str) -> None:
        with closing(sqlite3.connect(self.hub)) as store, store:
            store.execute("INSERT INTO device_event VALUES (1, ?, ?)", (device, event))

    def taps(self) -> Account:
        return account_for_taps(self.hub, self.school, os.urandom)

    def readings(self) -> Account:
        return account_for_readings(self.hub, self.school)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    school = make_plan(tmp_path, DemoConfig()).schools[0]
    box, hub = school.folder / "data", tmp_path / "hub.db"
    box.mkdir(parents=True)
    vault = PersonVault(box / "vault.db", os.urandom)
    person = vault.new_person()
    card = vault.seal(person, "card", CARD)
    vault.close()
    with closing(sqlite3.connect(box / "box.db")) as store, store:
        store.execute("CREATE TABLE person (school, person, card)")
        store.execute("INSERT INTO person VALUES (1, ?, ?)", (person, card))
    with closing(sqlite3.connect(hub)) as store, store:
        store.executescript(_TABLES)
        store.executemany(
            "INSERT INTO device VALUES (1, ?, ?, ?, ?, ?, 0)",
            [
                ("card:line-1", "card_reader", "rdm6300", "serial:line-1", ADOPTED_MS),
                ("onvif:1", "camera", "onvif-camera", "http://127.0.0.2/", ADOPTED_MS),
                (SOIL, "farm_sensor", "soil-sen0601", "serial:line-0", ADOPTED_MS),
                (BOARD, "blackboard", "samsung-mdc", "serial:line-4", ADOPTED_MS),
                (MODULE, "farm_actuator", "io-moxa-e1214", "modbus://127.0.0.2:5020", ADOPTED_MS),
                (PANEL, "blackboard", "samsung-mdc", "tcp://127.0.0.2:1515", ADOPTED_MS),
            ],
        )
    return Scene(school, hub)


def test_a_tap_of_an_adopted_reader_that_is_not_at_the_hub_is_lost(scene: Scene) -> None:
    scene.present_card(ADOPTED_MS, ADOPTED_MS + 900)
    assert scene.taps() == Account(stored=0, lost=1, doubled=0)


def test_a_tap_begun_before_its_reader_was_adopted_is_none(scene: Scene) -> None:
    scene.present_card(ADOPTED_MS - 53, ADOPTED_MS + 900)
    assert scene.taps() == Account(stored=0, lost=0, doubled=0)


def test_what_a_box_had_just_heard_when_it_was_killed_may_have_gone_with_it(scene: Scene) -> None:
    told_ms = ADOPTED_MS + 900
    scene.present_card(ADOPTED_MS, told_ms)
    scene.reply(ADOPTED_MS, told_ms, 12.3)
    assert scene.readings().lost == scene.taps().lost == 1
    scene.tell("closings", "closed", t_ms=told_ms + KEPT_MS + 1, line="line-0")
    scene.tell("closings", "closed", t_ms=told_ms + KEPT_MS + 1, line="line-1")
    assert scene.readings().lost == scene.taps().lost == 1, "there was time to keep it"
    scene.tell("closings", "closed", t_ms=told_ms + 100, line="line-1")
    assert (scene.readings().lost, scene.taps().lost) == (1, 0), "another line's closing"
    scene.tell("closings", "closed", t_ms=told_ms + 100, line="line-0")
    assert (scene.readings().lost, scene.taps().lost) == (0, 0)


@pytest.mark.parametrize(
    ("value", "after_ms", "is_told"),
    [
        ("yes", 5_000, True),
        ("yes", 6_900, True),
        ("no", 10_000, True),
        ("no", 30_000, True),
        ("no", 7_000, False),
        ("yes", 30_000, False),
        ("no", 1_000, False),
    ],
)
def test_what_the_hub_knows_of_motion_is_what_the_camera_saw_then(
    scene: Scene, value: str, after_ms: int, *, is_told: bool
) -> None:
    for at_ms, moves in ((-9_000, True), (0, False), (5_000, True), (9_000, False)):
        scene.tell("motion", "motion", t_ms=ADOPTED_MS + at_ms, moves=moves)
    with closing(sqlite3.connect(scene.hub)) as store, store:
        row = ("onvif:1", "motion", value, ADOPTED_MS + after_ms)
        store.execute("INSERT INTO device_state VALUES (1, ?, ?, ?, ?)", row)
    assert motion_was_told(scene.hub, scene.school) is is_told


def test_a_panel_on_a_line_was_switched_on_when_itself_and_the_hub_say_so(scene: Scene) -> None:
    on = "command power on: verified"
    scene.tell("board", "told", point="power", word="on")
    scene.hub_has(PANEL, on)
    scene.hub_has(BOARD, "command power on: acknowledged")
    assert not board_was_switched_on(scene.hub, scene.school), "another's, and not read back"
    scene.hub_has(BOARD, on)
    assert board_was_switched_on(scene.hub, scene.school)
    (scene.school.ledgers / "board.jsonl").unlink()
    scene.tell("board", "told", point="power", word="off")
    assert not board_was_switched_on(scene.hub, scene.school), "it knows nothing of it"


@pytest.mark.parametrize(
    ("shown", "outcomes", "is_told"),
    [
        (["on", "off"], ["verified", "verified"], True),
        (["on", "off"], ["verified", "failed"], False),
        (["off", "on"], ["verified", "verified"], False),
        (["on"], ["verified", "verified"], False),
    ],
)
def test_a_lamp_was_switched_when_its_module_showed_it_and_the_hub_knows_it_read_back(
    scene: Scene, shown: list[str], outcomes: list[str], *, is_told: bool
) -> None:
    for word in shown:
        scene.tell("module", "relay", point=LAMP, word=word)
    rows = [
        (MODULE, "hand", f"{LAMP} {word}", outcome)
        for word, outcome in zip(("on", "off"), outcomes, strict=True)
    ]
    of_others = [
        (SOIL, "hand", f"{LAMP} off", "verified"),
        (MODULE, "r", f"{LAMP} off", "verified"),
    ]
    with closing(sqlite3.connect(scene.hub)) as store, store:
        store.executemany("INSERT INTO farm_action VALUES (1, ?, ?, ?, ?)", [*rows, *of_others])
    assert lamp_was_switched(scene.hub, scene.school) is is_told
