"""What really happened: the simulated devices' ledgers held against what the hub has.

Nothing here asks the code under test how it fared; counts come from the ledgers, which the
devices wrote, and from the rows of the hub's own database.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from drivers.codecs.card_numbers import canonical_card
from drivers.planner import plan_blocks
from drivers.simulators.ledger import read_ledger
from edge.class_cards.messages import EMERGENCY_MS
from edge.demo.plan import DemoPlan, SchoolPlan, roster
from edge.lesson.transfer.recording import recorded_takes
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import MODBUS, ProfileId
from sync.lessons.fragment_log import Kind, LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.persons.vault import PersonVault
from sync.segments.sealing import RandomBytes
from sync.store import connect_readonly

ENCODINGS = ("utf-8", "gb18030", "unicode-escape", "utf-16-le")


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
    """Hold the ledgers of card reader and terminal against the hub's taps.

    A tap the reader could not deliver whole (its line was closed on it), or that the terminal has
    no acknowledgement of, may be missing and may be there; others must be there once.
    """
    lines = read_ledger(school.ledgers / "cards.jsonl")
    begun = _cards(line for line in lines if line["kind"] == "tap_begun")
    heard = _cards(line for line in lines if line["kind"] == "tap" and line["heard"])
    punched = read_ledger(school.ledgers / "terminal.jsonl")
    begun += _cards(line for line in punched if line["kind"] == "punch")
    heard += _cards(line for line in punched if line["kind"] == "punched")
    cards = _cards_by_person(school, random_bytes)
    with closing(connect_readonly(hub)) as store:
        rows = store.execute(
            "SELECT person FROM card_tap WHERE school = ?", (school.number,)
        ).fetchall()
    stored = Counter(cards.get(row["person"], f"person {row['person']}") for row in rows)
    return Account(
        stored=stored.total(), lost=(heard - stored).total(), doubled=(stored - begun).total()
    )


def account_for_readings(hub: Path, school: SchoolPlan) -> Account:
    """Hold the bus's ledger against the hub's readings.

    Each sound reply to a poll, delivered whole after the unit was adopted, must be there once:
    with its values, or, where the box could not take it, as a bad reading of that point. A value
    within the point's deadband of the one before is no news, as after a restart of the unit.
    """
    lines = read_ledger(school.ledgers / "bus.jsonl")
    with closing(connect_readonly(hub)) as store:
        devices = store.execute(
            "SELECT device, profile, adopted_ms FROM device"
            " WHERE school = ? AND kind = 'farm_sensor' AND deleted = 0",
            (school.number,),
        ).fetchall()
        rows = store.execute(
            "SELECT r.device, r.point, r.value FROM reading r"
            " JOIN device d ON d.school = r.school AND d.device = r.device"
            " WHERE r.school = ? AND d.kind = 'farm_sensor'",
            (school.number,),
        ).fetchall()
    good = Counter(
        (row["device"], row["point"], row["value"]) for row in rows if row["value"] is not None
    )
    bad = Counter((row["device"], row["point"]) for row in rows if row["value"] is None)
    begun: Counter[tuple[str, str, float]] = Counter()
    heard: Counter[tuple[str, str, float]] = Counter()
    catalog = load_catalog()
    for device in devices:
        unit = int(device["device"].rsplit(":", 1)[1])
        profile = catalog.profiles[ProfileId(device["profile"])]
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
            values = _values(line, device["device"])
            if line["kind"] == "reply_begun":
                begun.update(values)
            elif line["heard"] and not line["fault"] and _begun(line) >= device["adopted_ms"]:
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


def count_names_at_hub(plan: DemoPlan) -> int:
    """Count pupils' names found in any file of the hub, in any of ENCODINGS, or as opened cells.

    The same search must find a name that is planted in a copy: see :func:`search_finds_names`.
    """
    names = [name for school in plan.schools for name, _ in roster(school)]
    hub_folder = plan.hub_config.parent
    found = sum(count_names(path.read_bytes(), names) for path in _files(hub_folder))
    return found + _number(
        hub_folder / "hub.db",
        "SELECT count(*) FROM person WHERE name IS NOT NULL OR card IS NOT NULL",
    )


def search_finds_names(plan: DemoPlan) -> bool:
    """Tell whether the search finds what is there: the schools' own names, and planted ones.

    A pupil's name is planted in every encoding between bytes of the hub's own database.
    """
    content = (plan.hub_config.parent / "hub.db").read_bytes()
    name = roster(plan.schools[0])[0][0]
    planted = [
        content[:500] + _encoded(name, encoding) + content[500:1000] for encoding in ENCODINGS
    ]
    in_clear = b"".join(path.read_bytes() for path in _files(plan.hub_config.parent))
    return all(count_names(each, [name]) for each in planted) and bool(
        count_names(in_clear, [plan.schools[0].name])
    )


def count_names(content: bytes, names: Iterable[str]) -> int:
    return sum(any(_encoded(name, encoding) in content for encoding in ENCODINGS) for name in names)


def schools_with_notice(plan: DemoPlan, notice: str) -> int:
    """Return how many schools' boxes hold a notice of the district."""
    count = 0
    for school in plan.schools:
        with closing(connect_readonly(school.folder / "data" / "box.db")) as store:
            found = store.execute(
                "SELECT 1 FROM notice WHERE notice = ? AND deleted = 0", (notice,)
            ).fetchone()
        count += found is not None
    return count


def schools_with_minutes(hub: Path, lesson: str) -> int:
    """Return how many schools have written a lesson's minutes down, as the hub knows."""
    return _number(
        hub, "SELECT count(*) FROM lesson_minutes WHERE lesson = ? AND deleted = 0", lesson
    )


def count_rows_at_hub(hub: Path) -> int:
    """Return how many rows of the schools the hub has folded, over all tables."""
    with closing(connect_readonly(hub)) as store:
        return sum(
            int(
                store.execute(
                    f"SELECT count(*) FROM {table} t JOIN log l ON l.id = t.log"  # noqa: S608 - names from the schema
                    " WHERE l.origin <> 0"
                ).fetchone()[0]
            )
            for table in _tables(store)
        )


def sealed_bytes_at_hub(hub: Path) -> int:
    """Return the bytes of all segments that schools sent."""
    return _number(
        hub,
        "SELECT coalesce(sum(length(wire)), 0) FROM segment s JOIN log l ON l.id = s.log"
        " WHERE l.origin <> 0",
    )


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


def terminals_heard(hub: Path) -> int:
    """Return from how many schools' calling terminals the hub has taps of known pupils."""
    return _number(
        hub,
        "SELECT count(DISTINCT school) FROM card_tap"
        " WHERE device LIKE 'adms:%' AND person IS NOT NULL",
    )


def panels_on(hub: Path) -> int:
    """Return from how many schools the hub knows a framed panel's order that was read back.

    Not how many are on now: one whose power was cut a moment ago is still warming up.
    """
    return _number(
        hub,
        "SELECT count(DISTINCT d.school) FROM device d"
        " JOIN device_event e ON e.school = d.school AND e.device = d.device"
        " WHERE d.kind = 'blackboard' AND d.profile <> 'pjlink-projector'"
        " AND e.event = 'command power on: verified'",
    )


def roofs_watered(hub: Path) -> int:
    """Return in how many schools a farm rule switched a pump on and off again, both read back."""
    return _number(
        hub,
        "SELECT count(*) FROM (SELECT school FROM farm_action"
        " WHERE outcome = 'verified' AND rule <> 'hand' GROUP BY school"
        " HAVING sum(command LIKE '% on') > 0 AND sum(command LIKE '% off') > 0)",
    )


def camera_was_turned(school: SchoolPlan) -> bool:
    """Tell whether the camera itself noted a kept position, a turn and the return, in order."""
    noted = [str(line["kind"]) for line in read_ledger(school.ledgers / "camera.jsonl")]
    steps = iter(noted)
    return all(step in steps for step in ("preset_set", "move", "stop", "preset"))


def emergencies_at_hub(hub: Path) -> dict[int, int]:
    """Return by school how many ms a class card took to show an emergency that was lifted again."""
    with closing(connect_readonly(hub)) as store:
        rows = store.execute(
            "SELECT m.school, min(r.after_ms) FROM card_message m"
            " JOIN card_receipt r ON r.school = m.school AND r.message = m.message"
            " JOIN card_screen s ON s.school = r.school AND s.screen = r.screen"
            " WHERE m.kind = 'emergency' AND s.deleted = 0 AND m.until_ms - m.from_ms < ?"
            " GROUP BY m.school",
            (EMERGENCY_MS,),
        ).fetchall()
    return {row[0]: row[1] for row in rows}


def drills_at_hub(hub: Path) -> int:
    """Count schools that held a drill in which a button was pressed and a siren sounded."""
    return _number(
        hub,
        "SELECT count(DISTINCT drill.school) FROM drill WHERE EXISTS (SELECT 1 FROM alarm"
        " JOIN alarm_step AS step ON step.school = alarm.school"
        " AND step.incident = alarm.incident AND step.step = 'siren_on'"
        " WHERE alarm.school = drill.school AND alarm.drill = 1 AND alarm.alarm = 'panic')",
    )


def exercise_lessons_at_hub(hub: Path) -> int:
    """Count schools of which the hub has a lesson with bands, and its figures."""
    return _number(
        hub,
        "SELECT count(DISTINCT school) FROM exercise_session WHERE ends_ms IS NOT NULL"
        " AND density IS NOT NULL AND intensity_bpm IS NOT NULL",
    )


def heart_rates_at_hub(hub: Path) -> int:
    """Count heart rates that the hub can read: none, they stay in the schools."""
    return _number(hub, "SELECT count(*) FROM heart_rate")


def devices_at_hub(hub: Path) -> Counter[str]:
    """Return how many devices of each kind the hub knows as adopted."""
    with closing(connect_readonly(hub)) as store:
        rows = store.execute("SELECT kind FROM device WHERE deleted = 0").fetchall()
    return Counter(row["kind"] for row in rows)


def _number(store: Path, sql: str, *values: object) -> int:
    """Return the one number that a question to a store comes to."""
    with closing(connect_readonly(store)) as connection:
        (number,) = connection.execute(sql, values).fetchone()
    return int(number)


def _tables(store: sqlite3.Connection) -> list[str]:
    rows = store.execute(
        "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'row'"
        " WHERE m.type = 'table'"
    ).fetchall()
    return [row[0] for row in rows]


def _cards(lines: Iterable[dict[str, object]]) -> Counter[str]:
    return Counter(canonical_card(str(line["card"])) for line in lines)


def _cards_by_person(school: SchoolPlan, random_bytes: RandomBytes) -> dict[int, str]:
    """Open the school's sealed card numbers with the school's own vault."""
    folder = school.folder / "data"
    vault = PersonVault(folder / "vault.db", random_bytes)
    try:
        with closing(connect_readonly(folder / "box.db")) as store:
            rows = store.execute(
                "SELECT person, card FROM person WHERE school = ?", (school.number,)
            ).fetchall()
        return {
            row["person"]: canonical_card(vault.open(row["person"], "card", row["card"]))
            for row in rows
        }
    finally:
        vault.close()


def _values(line: dict[str, object], device: str) -> list[tuple[str, str, float]]:
    values = line["values"]
    assert isinstance(values, dict)
    return [(device, point, float(value)) for point, value in values.items() if value is not None]


def _begun(line: dict[str, object]) -> int:
    begun_ms = line["begun_ms"]
    assert isinstance(begun_ms, int)
    return begun_ms


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _encoded(name: str, encoding: str) -> bytes:
    if encoding == "unicode-escape":
        return json.dumps(name)[1:-1].encode()
    return name.encode(encoding)
