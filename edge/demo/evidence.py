"""What really happened: the simulated devices' ledgers held against what the hub has.

Nothing here asks the code under test how it fared; counts come from the ledgers, which the
devices wrote, and from the rows of the hub's own database.
"""

import hashlib
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from drivers.codecs.card_numbers import canonical_card
from drivers.planner import plan_blocks
from drivers.simulators.ledger import read_ledger
from edge.demo.plan import DemoPlan, SchoolPlan
from edge.demo.roof import LAMP
from edge.lesson.transfer.recording import recorded_takes
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import MODBUS, ProfileId
from sync.lessons.fragment_log import Kind, LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.persons.vault import PersonVault
from sync.segments.sealing import RandomBytes
from sync.store import connect_readonly

KEPT_MS = 3000
"""How long a box may take until what it heard is durable; killed sooner, it may have lost it."""
MOTION_MS = 1500
"""A camera tells whole seconds."""
CARD_LEDGERS = {"rdm6300": "cards.jsonl", "wiegand-converter": "wiegand.jsonl"}
"""What readers of a model write down."""
TERMINAL_LEDGERS = ("terminal.jsonl", "door.jsonl")


@dataclass(frozen=True, slots=True)
class Account:
    """One kind of row: how many stand at the hub, are missing there, or stand there too often."""

    stored: int
    lost: int
    doubled: int

    def __add__(self, other: "Account") -> "Account":
        return Account(
            self.stored + other.stored, self.lost + other.lost, self.doubled + other.doubled
        )


def account_for_taps(hub: Path, school: SchoolPlan, random_bytes: RandomBytes) -> Account:
    """Hold the ledgers of card readers and terminals against the hub's taps.

    A tap that was begun before its reader was adopted, that the reader could not deliver whole (its
    line was closed on it, or soon after it), or that the terminal has no acknowledgement of, may be
    missing and may be there; others must be there once.
    """
    begun, heard = Counter[str](), Counter[str]()
    for reader in _devices(hub, school, "card_reader"):
        lines = read_ledger(school.ledgers / CARD_LEDGERS[reader.profile])
        closed_ms = _closed_ms(school, reader)
        begun += _cards(line for line in lines if line["kind"] == "tap_begun")
        heard += _cards(
            line
            for line in lines
            if line["kind"] == "tap" and _is_acknowledged(line, reader.adopted_ms, closed_ms)
        )
    for terminal in TERMINAL_LEDGERS:
        lines = read_ledger(school.ledgers / terminal)
        begun += _cards(line for line in lines if line["kind"] == "punch")
        heard += _cards(line for line in lines if line["kind"] == "punched")
    cards = _cards_by_person(school, random_bytes)
    rows = _ask(hub, "SELECT person FROM card_tap WHERE school = ?", school.number)
    stored = Counter(cards.get(row["person"], f"person {row['person']}") for row in rows)
    return Account(
        stored=stored.total(), lost=(heard - stored).total(), doubled=(stored - begun).total()
    )


def account_for_readings(hub: Path, school: SchoolPlan) -> Account:
    """Hold the bus's ledger against the hub's readings.

    Each sound reply to a poll, delivered whole after the unit was adopted, must be there once:
    with its values, or, where the box could not take it, as a bad reading of that point. One soon
    after which the box closed the line may be missing: nobody acknowledged it. A value within the
    point's deadband of the one before is no news, as after a restart of the unit.
    """
    lines = read_ledger(school.ledgers / "bus.jsonl")
    rows = _ask(
        hub,
        "SELECT r.device, r.point, r.value FROM reading r"
        " JOIN device d ON d.school = r.school AND d.device = r.device"
        " WHERE r.school = ? AND d.kind = 'farm_sensor'",
        school.number,
    )
    good = Counter(
        (row["device"], row["point"], row["value"]) for row in rows if row["value"] is not None
    )
    bad = Counter((row["device"], row["point"]) for row in rows if row["value"] is None)
    begun: Counter[tuple[str, str, float]] = Counter()
    heard: Counter[tuple[str, str, float]] = Counter()
    catalog = load_catalog()
    for device in _devices(hub, school, "farm_sensor"):
        unit = int(device.identity.rpartition(":")[2])
        closed_ms = _closed_ms(school, device)
        profile = catalog.profiles[device.profile]
        deadbands = {point.id: point.deadband for point in profile.points}
        before: dict[str, float] = {}
        shapes = {
            (block.request.function, block.request.address, block.request.count)
            for block in plan_blocks(profile, unit, profile.link(*MODBUS))
        }
        for line in lines:
            shape = (line["fc"], line["address"], line["count"]) if "fc" in line else None
            if line.get("unit") != unit or shape not in shapes:
                continue
            values = _values(line, device.identity)
            if line["kind"] == "reply_begun":
                begun.update(values)
            elif not line["fault"] and _is_acknowledged(line, device.adopted_ms, closed_ms):
                heard.update(
                    (device_id, point, value)
                    for device_id, point, value in values
                    if point not in before or abs(value - before[point]) > deadbands[point]
                )
                before |= {point: value for _, point, value in values}
    missing = Counter((device, point) for device, point, _ in (heard - good).elements())
    return Account(
        stored=good.total(), lost=(missing - bad).total(), doubled=(good - begun).total()
    )


def schools_with_notice(plan: DemoPlan, notice: str) -> int:
    """Return how many schools' boxes hold a notice of the district."""
    held = "SELECT 1 FROM notice WHERE notice = ? AND deleted = 0"
    return sum(bool(_ask(_box_store(school), held, notice)) for school in plan.schools)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a classroom without a screen saw; latencies are camera clock to decoded pixels."""

    frames: int
    tones: int
    latencies_ms: tuple[int, ...]
    frames_after_ms: int


def read_watch(report: Path, after_ms: int) -> Watched:
    """Read a watcher's report; ``frames_after_ms`` counts frames seen after that moment."""
    lines = read_ledger(report)
    latencies: list[int] = []
    frames = tones = later = 0
    for line in lines:
        told = line["latencies_ms"]
        assert isinstance(told, list)
        latencies += told
        seen, heard, at_ms = line["frames"], line["tones"], line["t_ms"]
        assert isinstance(seen, int)
        assert isinstance(heard, int)
        assert isinstance(at_ms, int)
        frames += seen
        tones += heard
        later += seen if at_ms > after_ms else 0
    return Watched(frames=frames, tones=tones, latencies_ms=tuple(latencies), frames_after_ms=later)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One node's recording of a lesson, and how much of it is known to be missing."""

    seconds: float
    gap_seconds: float
    digest: str


def read_recording(folder: Path, lesson: str) -> Recorded:
    """Read a node's recording from its files; its daemon must have ended.

    ``digest`` is over every sealed media record, so that two nodes with the same recording agree.
    """
    shelf = LessonShelf(folder)
    takes = recorded_takes(shelf, LessonId(lesson))
    digest = hashlib.sha256()
    for store in shelf.takes(LessonId(lesson)):
        for stream in sorted(each for each in store.streams if each.kind is Kind.MEDIA):
            for number in store.index(stream).present.numbers():
                digest.update(store.read(stream, number) or b"")
    shelf.close_lesson(LessonId(lesson))
    return Recorded(
        seconds=round(sum(max(take.seconds.values(), default=0.0) for take in takes), 1),
        gap_seconds=round(sum(gap.seconds for take in takes for gap in take.gaps), 1),
        digest=digest.hexdigest(),
    )


def motion_was_told(hub: Path, school: SchoolPlan) -> bool:
    """Tell whether what the hub knows last of motion is what the camera saw then, by its ledger.

    It has to be of after somebody moved before the adopted camera.
    """
    noted = [
        (_ms(line, "t_ms"), line["moves"]) for line in read_ledger(school.ledgers / "motion.jsonl")
    ]
    rows = _ask(
        hub,
        "SELECT s.value, s.observed_ms, d.adopted_ms FROM device_state s"
        " JOIN device d ON d.school = s.school AND d.device = s.device"
        " WHERE s.school = ? AND s.point = 'motion' AND d.kind = 'camera'",
        school.number,
    )
    return any(
        began_ms - MOTION_MS <= row["observed_ms"] <= ended_ms + MOTION_MS
        and (row["value"] == "yes") is moves
        and any(row["adopted_ms"] <= at_ms <= began_ms and so for at_ms, so in noted)
        for row in rows
        for (began_ms, moves), (ended_ms, _) in pairwise([*noted, (math.inf, False)])
    )


def camera_was_turned(school: SchoolPlan) -> bool:
    """Tell whether the camera itself noted a kept position, a turn and the return, in order."""
    noted = [str(line["kind"]) for line in read_ledger(school.ledgers / "camera.jsonl")]
    steps = iter(noted)
    return all(step in steps for step in ("preset_set", "move", "stop", "preset"))


def board_was_switched_on(hub: Path, school: SchoolPlan) -> bool:
    """Tell whether the panel on a serial line noted that it was told so, and the hub that it is.

    The hub's word is the box's, which read it back.
    """
    noted = read_ledger(school.ledgers / "board.jsonl")
    rows = _ask(
        hub,
        "SELECT 1 FROM device d JOIN device_event e ON e.school = d.school AND e.device = d.device"
        " WHERE d.school = ? AND d.kind = 'blackboard' AND d.address LIKE 'serial:%'"
        " AND e.event = 'command power on: verified'",
        school.number,
    )
    told = ("told", "power", "on")
    return bool(rows) and told in [
        (line["kind"], line.get("point"), line.get("word")) for line in noted
    ]


def lamp_was_switched(hub: Path, school: SchoolPlan) -> bool:
    """Tell whether a relay on the network went on and off by its own ledger, as the hub knows.

    The hub's rows are of a person's hand, read back by the box.
    """
    noted = read_ledger(school.ledgers / "module.jsonl")
    shown = iter([line["word"] for line in noted if line.get("point") == LAMP])
    rows = _ask(
        hub,
        "SELECT a.command FROM farm_action a"
        " JOIN device d ON d.school = a.school AND d.device = a.device"
        " WHERE a.school = ? AND a.rule = 'hand' AND a.outcome = 'verified'"
        " AND d.address LIKE 'modbus://%'",
        school.number,
    )
    words = ("on", "off")
    told = {row["command"] for row in rows}
    return told >= {f"{LAMP} {word}" for word in words} and all(word in shown for word in words)


def _cards(lines: Iterable[dict[str, object]]) -> Counter[str]:
    return Counter(canonical_card(str(line["card"])) for line in lines)


def _cards_by_person(school: SchoolPlan, random_bytes: RandomBytes) -> dict[int, str]:
    """Open the school's sealed card numbers with the school's own vault."""
    sealed = "SELECT person, card FROM person WHERE school = ?"
    with closing(PersonVault(school.folder / "data" / "vault.db", random_bytes)) as vault:
        return {
            row["person"]: canonical_card(vault.open(row["person"], "card", row["card"]))
            for row in _ask(_box_store(school), sealed, school.number)
        }


def _values(line: dict[str, object], device: str) -> list[tuple[str, str, float]]:
    values = line["values"]
    assert isinstance(values, dict)
    return [(device, point, float(value)) for point, value in values.items() if value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """One adopted device, as the hub knows it."""

    identity: str
    profile: ProfileId
    adopted_ms: int

    @property
    def line(self) -> str:
        """The name of its serial line: ``line-0`` of ``modbus:line-0:17``."""
        return self.identity.split(":")[1]


def _devices(hub: Path, school: SchoolPlan, kind: str) -> list[_Device]:
    rows = _ask(
        hub,
        "SELECT device, profile, adopted_ms FROM device"
        " WHERE school = ? AND kind = ? AND deleted = 0",
        school.number,
        kind,
    )
    return [
        _Device(
            identity=row["device"],
            profile=ProfileId(row["profile"]),
            adopted_ms=row["adopted_ms"],
        )
        for row in rows
    ]


def _ask(store: Path, question: str, *values: object) -> list[sqlite3.Row]:
    with closing(connect_readonly(store)) as connection:
        return connection.execute(question, values).fetchall()


def _box_store(school: SchoolPlan) -> Path:
    return school.folder / "data" / "box.db"


def _closed_ms(school: SchoolPlan, device: _Device) -> list[int]:
    """Return when the box closed a device's line."""
    lines = read_ledger(school.ledgers / "closings.jsonl")
    return [_ms(line, "t_ms") for line in lines if line["line"] == device.line]


def _is_acknowledged(line: dict[str, object], adopted_ms: int, closed_ms: Iterable[int]) -> bool:
    """Tell whether the box had what a ledger's line tells of for long enough to keep it."""
    told_ms = _ms(line, "t_ms")
    return (
        line["heard"] is True
        and _ms(line, "begun_ms") >= adopted_ms
        and not any(told_ms <= each <= told_ms + KEPT_MS for each in closed_ms)
    )


def _ms(line: dict[str, object], name: str) -> int:
    moment = line[name]
    assert isinstance(moment, int)
    return moment
