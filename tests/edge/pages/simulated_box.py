"""A box for page tests: the pages' protocol over a real SQLite file and plain memory."""

import asyncio
import hashlib
import hmac
import random
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from drivers.codecs.card_numbers import canonical_card
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.entities import CommandResult, DeviceEvent, DeviceId, Measurement, Outcome, Quality
from drivers.errors import DriverError, Trouble
from edge.cameras.camera_desk import CameraDesk
from edge.changes import Changes
from edge.class_cards.office import CardOffice
from edge.clock_watch import ClockLight
from edge.devices.adopted import AdoptedDevice
from edge.devices.cameras import Cameras
from edge.devices.fleet import Fleet
from edge.devices.programs import Programs
from edge.farm.farm_memory import FarmClock
from edge.farm.farm_office import FarmOffice
from edge.farm.keeper import FarmKeeper
from edge.lesson.capture.shared_screen import SharedScreens
from edge.lesson.evidence.hop_quality import ScreenReport
from edge.lesson.recordings.library import Library
from edge.lesson.recordings.retention import Keeping
from edge.lesson.status import Cause
from edge.lesson.teaching.materials import Materials
from edge.lesson.teaching.teacher_code import TeacherCodes
from edge.lesson.teaching.teacher_desk import GivenLesson, SlidePicture, TeacherDesk
from edge.lesson.way_back.class_desk import ClassDesk, GivesLesson, ReceivesLesson
from edge.notebook import Notebook
from edge.pages.actions import Adopt
from edge.pages.box_view import (
    BoxView,
    Change,
    CommandChoice,
    DeviceLight,
    DiscoveryProgress,
    LaneLight,
    LessonRole,
    LessonState,
    LessonView,
    Light,
    LinkState,
    LogLine,
    RoomCheck,
    RoomTrouble,
    Sign,
    SyncLights,
)
from edge.panels.board_office import BoardOffice
from edge.panels.plan import PlanFile
from edge.repair_desk import RepairDesk
from edge.repairs import Condition
from edge.safety.card_covers import CardCovers
from edge.safety.circuit_board import CircuitBoard
from edge.safety.safety_office import SafetyOffice
from edge.sports.sports_office import SportsOffice
from edge.sync_standing import (
    CheckpointFigure,
    KeyFigures,
    RecoveryFigures,
    SyncStanding,
)
from firmware_profiles.catalog import load_catalog
from firmware_profiles.doubts import doubtful
from sync.clock_spans import Trust
from sync.exchange.holdings import HeldLane, SealedOnly
from sync.intake.set_aside import ParkedRows
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_minutes import Minutes, SignedMinutes
from sync.logs.oplog import Row
from sync.schema import BY_NAME, TABLES
from sync.schema.model import Group, Kind, Lane, Owner, Table
from sync.segments.sealing import DataKey, KeyId

SCHOOL = 17
FLAGSHIP = 3
SETUP_CODE = "73194028"
ZONE = ZoneInfo("Asia/Shanghai")
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW_MS = int(datetime(2026, 11, 23, 9, 5, tzinfo=ZONE).timestamp() * 1_000)
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300080606070605080707070909080a0c140d0c0b0b0c"
    "1912130f141d1a1f1e1d1a1c1c20242e2720222c231c1c2837292c30313434341f27393d38323c2e333432ffc000"
    "0b080001000101011100ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc400"
    "b5100002010303020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c1"
    "1552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a63"
    "6465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6"
    "b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008"
    "010100003f00fbd28a28ffd9"
)


def create_tables(path: Path) -> None:
    """Create every declared table as box and hub hold them."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    for table in TABLES:
        columns = [f"{column.name} {column.type}" for column in table.columns]
        if table.kind is Kind.EVENT:
            extra, key = ["log INTEGER", "row INTEGER"], ["school", "log", "row"]
        else:
            extra = ["hlc INTEGER", "origin INTEGER", "log INTEGER", "row INTEGER"]
            extra.append("deleted INTEGER NOT NULL DEFAULT 0")
            key = ["school", *table.key]
        body = ", ".join(["school INTEGER", *columns, *extra, f"PRIMARY KEY ({', '.join(key)})"])
        connection.execute(f"CREATE TABLE {table.name} ({body})")
    connection.commit()
    connection.close()


class SimulatedBooks:
    """What the library of recordings reads and writes of a simulated box."""

    school = SCHOOL

    def __init__(self, box: "SimulatedBox") -> None:
        self._box = box

    def connect(self) -> sqlite3.Connection:
        return self._box.connect()

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self._box.record(rows)

    async def keys(self, _lesson: LessonId, _flagship: int) -> Mapping[KeyId, DataKey]:
        return self._box.lesson_keys

    async def sealing_key(self, _lesson: LessonId) -> DataKey:
        return next(iter(self._box.lesson_keys.values()))

    async def signed(self, minutes: Collection[SignedMinutes]) -> frozenset[int]:
        return frozenset(
            each.minutes.school
            for each in minutes
            if each.signature == self._box.signature(each.minutes)
        )


class Slides:
    """The slides of lessons, without a disk."""

    def __init__(self) -> None:
        self._pictures: dict[str, list[SlidePicture]] = {}

    async def pictures(self, lesson: str) -> list[SlidePicture]:
        return self._pictures.get(lesson, [])

    async def add(self, lesson: str, title: str, picture: bytes) -> SlidePicture:
        known = self._pictures.setdefault(lesson, [])
        digest = hashlib.sha256(picture).hexdigest()
        known.append(SlidePicture(position=len(known) + 1, title=title, digest=digest))
        return known[-1]


class SimulatedBox:
    """Everything settable from a test; ``told`` is what the pages asked it to do."""

    district = "jiangxia"
    school = SCHOOL
    language_default = "zh-CN"
    https_port = 8443
    timezone: tzinfo = ZONE

    def __init__(self, path: Path) -> None:
        create_tables(path)
        self.path = path
        self.school_name = "湖泗小学"
        self.root_certificate = make_root()
        self.clock_ms = NOW_MS
        self.names: dict[int, str] = {}
        self.found: list[Candidate] = []
        self.undecided = 0
        self.offered: int | None = None
        self.lights: list[DeviceLight] = []
        self.values: list[Measurement] = []
        self.lines: list[LogLine] = []
        self.lessons: dict[str, LessonView] = {}
        self.progress = DiscoveryProgress(running=False)
        self.sync = SyncLights(
            link=LinkState.UNENROLLED,
            since_ms=NOW_MS,
            last_exchange_ms=None,
            detail="",
            lanes=(),
        )
        self.standing: SyncStanding | None = None
        self.cameras = CameraDesk(
            Cameras(
                Programs(),
                Notebook(path.parent / "n.json"),
                self.now_ms,
                self.note,
                random.Random(5),
            ),
            self.now_ms,
            random.Random(6),
        )
        self.fleet = Fleet(
            load_catalog(),
            Notebook(path.parent / "fleet.json"),
            self.now_ms,
            self.note,
            random.Random(7),
        )
        self.boards = BoardOffice(
            PlanFile(path.parent / "boards.json"),
            self.fleet,
            lambda device, command, argument, _: self.fleet.command(device, command, argument),
            now_ms=self.now_ms,
            zone=ZONE,
            is_clock_known=lambda: True,
            changed=lambda: self.tell(Change.DEVICES),
        )
        self.clock = ClockLight(trust=Trust.SET, added_ms=0, hub_offset_ms=None)
        self.troubles: dict[DeviceId, Trouble] = {}
        self.lesson_troubles: list[RoomCheck] = []
        self.given: dict[str, GivenLesson] = {}
        self.teacher = TeacherDesk(
            TeacherCodes(lambda most: 123456 % most, lambda: self.clock_ms / 1000),
            self.given.get,
            Slides(),
            self.record_order,
            lambda _: None,
            self.now_ms,
        )
        self.shared_screens = SharedScreens()
        self.giving: dict[str, GivesLesson] = {}
        self.receiving: dict[str, ReceivesLesson] = {}
        self.classes = ClassDesk(self.giving.get, self.receiving.get)
        self.repairs = RepairDesk(
            path.parent / "repairs.json", self.condition, self.record, self.now_ms, self.tell
        )
        self.refusal: DriverError | None = None
        self.told: list[tuple[str, ...]] = []
        self.picture = JPEG
        self.changes = Changes()
        self.listening = asyncio.Event()
        self._rows = 0
        self.judged: list[int] = []
        self.cards_of: dict[str, int] = {}
        secrets = count(1)
        self.cards = CardOffice(
            path.parent,
            self.record,
            person_of=lambda card: self.cards_of.get(canonical_card(card)),
            judge=lambda *moments: self.judged.extend(moments),
            now_ms=self.now_ms,
            draw=lambda: hashlib.sha256(f"secret {next(secrets)}".encode()).hexdigest(),
            changed=self.tell,
        )
        self.sports = SportsOffice(
            SCHOOL,
            self.record,
            self.connect,
            person_of=self.cards_of.get,
            now_ms=self.now_ms,
            changed=self.tell,
        )
        self.safety = SafetyOffice(
            SCHOOL,
            self.record,
            self.connect,
            self.fleet,
            CardCovers(SCHOOL, self.connect, self.cards, self.now_ms),
            CircuitBoard(ZONE, lambda: True),
            now_ms=self.now_ms,
            changed=self.tell,
        )
        self.shelf = LessonShelf(path.parent / "lessons")
        self.lesson_keys: dict[KeyId, DataKey] = {}
        self.screens: list[tuple[str, ScreenReport]] = []
        self.held: set[LessonId] = set()
        self.materials = Materials(path.parent / "materials")
        self.recordings = Library(
            self.shelf,
            path.parent,
            SimulatedBooks(self),
            materials=self.materials,
            keeping=Keeping(),
            is_held=self.held.__contains__,
            now_ms=self.now_ms,
        )
        self.farm = FarmOffice(
            path.parent,
            self.fleet,
            FarmKeeper(
                path.parent / "farm.json",
                SCHOOL,
                self.fleet,
                self.record,
                self.connect,
                clock=FarmClock(
                    now_ms=self.now_ms,
                    boot_ms=self.now_ms,
                    boot="simulated",
                    zone=ZONE,
                    is_known=lambda: True,
                ),
                changed=lambda: self.tell(Change.FARM),
            ),
            self.record,
            now_ms=self.now_ms,
            draw=lambda: hashlib.sha256(f"farm {next(secrets)}".encode()).hexdigest(),
            changed=lambda: self.tell(Change.FARM),
        )

    def signature(self, minutes: Minutes) -> object:
        """Return what every school of this district signs such minutes with."""
        return minutes.row(SIGNING)["signature"]

    def condition(self) -> Condition:
        return Condition(
            now_ms=self.clock_ms,
            since_ms=NOW_MS - DAY_MS,
            lights=self.lights,
            values=self.values,
            candidates=self.found,
            clock=self.clock,
            link=self.sync.link,
            standing=self.standing,
            undecided=self.undecided,
            offered=self.offered,
            screens=self.cards.screens.all(),
            troubles=self.troubles,
            lesson_checks=self.lesson_troubles,
            source_troubles=self.source_troubles(),
        )

    async def record_order(self, row: Row) -> None:
        await self.record({"lesson_order": [row]})

    async def record(self, rows_by_table: Mapping[str, Sequence[Row]]) -> None:
        """Write rows as the node would, the latest of a key in the place of others."""
        for table, rows in rows_by_table.items():
            declared = BY_NAME[table]
            for row in rows:
                if declared.dedupe and self._has(table, declared.dedupe, row[declared.dedupe]):
                    continue
                merges = declared.owner is Owner.BOTH and declared.kind is Kind.STATE
                whole = self._standing(declared, row) if merges else {}
                self.insert(table, SCHOOL, **{**whole, **row})

    def insert(self, table: str, school: int = SCHOOL, **columns: object) -> None:
        self._rows += 1
        event = next(one for one in TABLES if one.name == table).kind is Kind.EVENT
        place = {"school": school, "log": 1, "row": self._rows}
        stamp = {} if event else {"hlc": self._rows, "origin": school}
        row = {**place, **stamp, **columns}
        marks = ", ".join("?" * len(row))
        into = f"INSERT OR REPLACE INTO {table} ({', '.join(row)})"
        self._write(f"{into} VALUES ({marks})", *row.values())
        if table in {"card_tap", "attendance_entry"}:
            self.cards.note_rooms({"r301", "r302"})

    def hang_up(self, adopted: AdoptedDevice, state: Light, sign: Sign) -> None:
        """Adopt a device that nobody plugged in."""
        self.fleet.add(adopted)
        unconfirmed = doubtful(self.fleet.profile_of(adopted.device))
        light = light_of(adopted, state, sign, self.fleet.commands_of(adopted.device))
        self.lights.append(replace(light, unconfirmed=unconfirmed))

    def clear(self, table: str) -> None:
        self._write(f"DELETE FROM {table}")  # noqa: S608 — the test's own names

    def set_lesson(
        self,
        room: str,
        *,
        state: LessonState,
        evidence_ms: int | None,
        cause: Cause = Cause.NONE,
    ) -> None:
        self.lessons[room] = replace(
            self.lessons[room], state=state, evidence_ms=evidence_ms, cause=cause
        )

    def note(self, event: DeviceEvent) -> None:
        """Keep a device's latest values, as the recorder does."""
        if isinstance(event, Measurement):
            self.values = [
                v for v in self.values if (v.device, v.point) != (event.device, event.point)
            ]
            self.values.append(event)

    def tell(self, change: Change) -> None:
        self.changes.tell(change)

    def now_ms(self) -> int:
        return self.clock_ms

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        return connection

    def person_names(self, persons: Collection[int]) -> dict[int, str]:
        return {person: self.names[person] for person in persons if person in self.names}

    def check_setup_code(self, code: str) -> bool:
        return hmac.compare_digest(code.encode(), SETUP_CODE.encode())

    def undecided_keys(self) -> int:
        return self.undecided

    def offered_pupils(self) -> int | None:
        return self.offered

    def candidates(self) -> list[Candidate]:
        return self.found

    def discovery_progress(self) -> DiscoveryProgress:
        return self.progress

    async def discover(
        self, kinds: Collection[DeviceKind] | None, networks: Sequence[IPv4Network] = ()
    ) -> None:
        self._do("discover", *sorted(kinds or ()), *map(str, networks))
        self.progress = DiscoveryProgress(
            running=True, step="bus0 4800 baud", done=61, total=247, started_ms=self.clock_ms
        )

    async def stop_discovery(self) -> None:
        self._do("stop discovery")
        self.progress = DiscoveryProgress(running=False)

    async def adopt(self, wish: Adopt, *, who: str) -> DeviceId:
        identity, chosen = wish.identity, (wish.profile,) if wish.profile else ()
        self._do("adopt", identity, wish.room or "", wish.name, wish.password or "", who, *chosen)
        candidate = next(one for one in self.found if one.identity == identity)
        self.found.remove(candidate)
        self.lights.append(
            DeviceLight(
                device=DeviceId(identity),
                kind=candidate.kind,
                name=wish.name,
                room=wish.room,
                address=candidate.address,
                state=Light.UNKNOWN,
                sign=Sign.NEVER,
                evidence_ms=None,
            )
        )
        return DeviceId(identity)

    async def dismiss(self, identity: str, *, who: str) -> None:
        self._do("dismiss", identity, who)
        self.found = [one for one in self.found if one.identity != identity]

    async def command(
        self, device: DeviceId, command: str, argument: str | None, *, who: str
    ) -> CommandResult:
        self._do("command", device, command, argument or "", who)
        return CommandResult(
            device=device,
            command=command,
            outcome=Outcome.VERIFIED,
            observed_ms=self.clock_ms,
            detail="read back",
        )

    async def snapshot(self, device: DeviceId) -> bytes:
        self._do("snapshot", device)
        return self.picture

    def device_lights(self) -> list[DeviceLight]:
        return self.lights

    def live_values(self) -> list[Measurement]:
        return self.values

    def sync_lights(self) -> SyncLights:
        return self.sync

    def sync_standing(self) -> SyncStanding | None:
        return self.standing

    def clock_light(self) -> ClockLight:
        return self.clock

    async def diagnostics(self) -> bytes:
        self._do("diagnostics")
        return b"PK"

    def log_lines(self, after: int) -> Iterable[LogLine]:
        return [line for line in self.lines if line.number > after]

    def note_screen(self, page: str, told: ScreenReport) -> None:
        self.screens.append((page, told))

    def lesson_now(self, room: str) -> LessonView | None:
        return self.lessons.get(room)

    def lesson_checks(self) -> list[RoomCheck]:
        return self.lesson_troubles

    def source_troubles(self) -> list[RoomTrouble]:
        return [
            RoomTrouble(room=room, gives=True, trouble=trouble)
            for room, given in self.given.items()
            for trouble in given.troubles
        ]

    async def events(self) -> AsyncIterator[Change]:
        self.listening.set()
        async for change in self.changes.follow():
            yield change

    def changes_told(self) -> int:
        return self.changes.told

    def changes_since(self, told: int) -> Sequence[Change]:
        return self.changes.since(told)

    def _has(self, table: str, column: str, value: object) -> bool:
        connection = self.connect()
        query = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608 — the test's own names
        found = connection.execute(query, (value,)).fetchone()
        connection.close()
        return found is not None

    def _standing(self, table: Table, row: Row) -> Row:
        """Return the columns that stand under a row's key: each merges on its own."""
        names = ", ".join(column.name for column in table.columns)
        where = " AND ".join(f"{name} = ?" for name in table.key)
        query = f"SELECT {names} FROM {table.name} WHERE school = ? AND {where}"  # noqa: S608 — declared names
        key = (row[name] for name in table.key)
        with closing(self.connect()) as connection:
            standing = connection.execute(query, (SCHOOL, *key)).fetchone()
        return dict(standing) if standing is not None else {}

    def _write(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(statement, values)
        connection.close()

    def _do(self, *words: str) -> None:
        self.told.append(words)
        if self.refusal is not None:
            raise self.refusal


def light_of(
    adopted: AdoptedDevice, state: Light, sign: Sign, commands: tuple[CommandChoice, ...]
) -> DeviceLight:
    """Return what is shown of an adopted device that never told anything."""
    return DeviceLight(
        device=adopted.device,
        kind=adopted.kind,
        name=adopted.name,
        room=adopted.room,
        address=adopted.address,
        state=state,
        sign=sign,
        evidence_ms=None,
        commands=commands,
    )


def make_root() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Jiangxia root")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=7_300))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def furnish(box: SimulatedBox) -> SimulatedBox:
    """Fill a box with a believable school morning."""
    box.insert("school", FLAGSHIP, name="纸坊中心小学", name_en="Zhifang Central Primary")
    box.insert("school", SCHOOL, name="湖泗小学", name_en="Husi Primary")
    box.insert("room", room="r301", name="三楼 301")
    box.insert("room", room="r302", name="三楼 302")
    box.insert("class_group", class_group="g3c1", name="三年级1班", grade=3, room="r301")
    first = NOW_MS - 65 * MINUTE_MS
    subjects = ("语文", "数学", None, "音乐", "科学", "体育")
    teachers = ("王老师", "李老师", "Chen Lan", "周老师", "吴老师", "郑老师")
    for day in range(7):
        for period, (subject, teacher) in enumerate(zip(subjects, teachers, strict=True)):
            starts_ms = first + day * DAY_MS + period * 55 * MINUTE_MS
            box.insert(
                "timetable_slot",
                slot=f"d{day}p{period}",
                class_group="g3c1",
                room="r301",
                subject=subject or "美术",
                teacher=teacher,
                starts_ms=starts_ms,
                ends_ms=starts_ms + 40 * MINUTE_MS,
                lesson="art-1" if period == 2 and day == 0 else None,
            )
    lesson_ms = first + 110 * MINUTE_MS
    box.insert(
        "lesson",
        FLAGSHIP,
        lesson="art-1",
        kind="delivery",
        title_zh="剪纸窗花",
        title_en="Paper-cut windows",
        teacher="Chen Lan",
        starts_ms=lesson_ms,
        ends_ms=lesson_ms + 40 * MINUTE_MS,
        rehearsal=0,
        cancelled=0,
    )
    for index, person in enumerate((901, 902, 903, 904, None, 906)):
        box.insert(
            "card_tap",
            at_ms=NOW_MS - 70 * MINUTE_MS + index * 37_000,
            device="card:bus0",
            person=person,
            room="r301",
        )
    box.names = {901: "欧阳若琳", 902: "李明", 903: "张伟", 904: "陈小红", 906: "刘洋"}
    box.insert(
        "notice",
        0,
        notice="n1",
        title_zh="防溺水提醒",
        title_en="Water safety",
        body_zh="放学后请勿独自到水边玩耍。",
        body_en="Do not play near water alone after school.",
        from_ms=NOW_MS - DAY_MS,
        until_ms=NOW_MS + DAY_MS,
    )
    box.lessons["r301"] = LessonView(
        lesson="art-1",
        title_zh="剪纸窗花",
        title_en="Paper-cut windows",
        teacher="Chen Lan",
        role=LessonRole.RECEIVER,
        state=LessonState.SCHEDULED,
        starts_ms=lesson_ms,
        ends_ms=lesson_ms + 40 * MINUTE_MS,
        flagship="纸坊中心小学",
        flagship_en="Zhifang Central Primary School",
        receivers=(("湖泗小学", "Husi Primary School"), ("舒安小学", "")),
        rehearsal=False,
        evidence_ms=None,
    )
    box.found = [camera_candidate(), probe_candidate()]
    box.lights = [
        DeviceLight(
            device=DeviceId("modbus:bus0:17"),
            kind=DeviceKind.FARM_SENSOR,
            name="屋顶农场 1 号地",
            room=None,
            address="serial:/dev/bus0?baud=4800&unit=17",
            state=Light.GOOD,
            sign=Sign.ANSWERED,
            evidence_ms=NOW_MS - 2_000,
        ),
        DeviceLight(
            device=DeviceId("pjlink:00:11:22"),
            kind=DeviceKind.BLACKBOARD,
            name="301 投影机",
            room="r301",
            address="pjlink://127.0.2.21:4352",
            state=Light.GOOD,
            sign=Sign.ANSWERED,
            evidence_ms=NOW_MS - 4_000,
            commands=(
                CommandChoice(command="power", arguments=("on", "off")),
                CommandChoice(command="source", arguments=("31", "32")),
                CommandChoice(command="test_picture"),
            ),
            last_command=CommandResult(
                device=DeviceId("pjlink:00:11:22"),
                command="power",
                outcome=Outcome.ACKNOWLEDGED,
                observed_ms=NOW_MS - 30_000,
            ),
        ),
        DeviceLight(
            device=DeviceId("onvif:cam-9"),
            kind=DeviceKind.CAMERA,
            name="301 后墙摄像机",
            room="r301",
            address="http://127.0.2.31:8000/onvif/device_service",
            state=Light.BAD,
            sign=Sign.SILENT,
            evidence_ms=NOW_MS - 11 * MINUTE_MS,
            detail="connect timed out after 5 s",
        ),
        DeviceLight(
            device=DeviceId("card:ttyCARD"),
            kind=DeviceKind.CARD_READER,
            name="301 读卡器",
            room="r301",
            address="serial:/dev/card?baud=9600",
            state=Light.UNKNOWN,
            sign=Sign.NEVER,
            evidence_ms=None,
        ),
    ]
    box.values = [
        measured("modbus:bus0:17", "soil_moisture", 31.4, "%"),
        measured("modbus:bus0:17", "soil_temperature", 17.2, "°C"),
        measured("modbus:bus0:17", "soil_ec", None, "", quality=Quality.BAD, reason="CRC error"),
        measured("pjlink:00:11:22", "power", "on", ""),
        measured("pjlink:00:11:22", "source", "31", ""),
    ]
    box.sync = SyncLights(
        link=LinkState.WAITING,
        since_ms=NOW_MS - 3 * MINUTE_MS,
        last_exchange_ms=NOW_MS - 3 * MINUTE_MS,
        detail="hub.jiangxia: connection refused",
        lanes=(
            LaneLight(
                lane=Lane.ATTENDANCE,
                sealed=1_204,
                unsealed_rows=2,
                applied=1_190,
                under_way_bytes=1_310,
                sealed_only=(SealedOnly(group=Group.IDENTITY, segments=41),),
                stored=1_198,
                waiting_rows=6,
                waiting_bytes=1_310,
                sealed_ms=NOW_MS - 5_000,
                stored_ms=NOW_MS - 3 * MINUTE_MS,
                oldest_waiting_ms=NOW_MS - 3 * MINUTE_MS,
            ),
            LaneLight(
                lane=Lane.TELEMETRY,
                sealed=88_120,
                applied=88_120,
                sealed_only=(),
                stored=88_120,
                waiting_rows=0,
                waiting_bytes=0,
                sealed_ms=NOW_MS - 61_000,
                stored_ms=NOW_MS - 60_000,
                oldest_waiting_ms=None,
            ),
        ),
    )
    box.lines = [
        LogLine(number=1, at_ms=NOW_MS - 60_000, level="INFO", source="bus", text="bus0: 1 unit"),
        LogLine(
            number=2,
            at_ms=NOW_MS - 30_000,
            level="WARNING",
            source="cameras",
            text="onvif:cam-9: silent for 11 min; check its power",
        ),
    ]
    return box


def standing(box: SimulatedBox) -> SyncStanding:
    """Return figures of a box that has seen some trouble."""
    return SyncStanding(
        at_ms=box.clock_ms - 9_000,
        incarnation="00c0ffee00c0ffee",
        received=(
            HeldLane(
                origin=0,
                lane=Lane.CONTROL,
                logs=2,
                stored=61,
                applied=61,
                rows=240,
                stored_ms=box.clock_ms - 3 * MINUTE_MS,
            ),
            HeldLane(
                origin=FLAGSHIP,
                lane=Lane.LESSONS,
                logs=1,
                stored=4,
                applied=4,
                rows=9,
                stored_ms=box.clock_ms - DAY_MS,
                sealed_only=(SealedOnly(group=Group.HEALTH, segments=3),),
            ),
        ),
        parked_rows=12,
        parked_for_good_rows=2,
        parked=(
            ParkedRows(
                log="0/00aa/d/control",
                seq=8,
                table=99,
                rows=10,
                reason=(
                    "table-unknown: table 99 is not known to this version; kept, and folded after"
                    " an upgrade"
                ),
                retriable=True,
                parked_ms=box.clock_ms - DAY_MS,
            ),
        ),
        quarantined_segments=0,
        quarantined=(),
        clamped=0,
        corrections=0,
        evicted_ms=None,
        checkpoints=(
            CheckpointFigure(
                audience="s17",
                number=4,
                at_ms=box.clock_ms - 2 * DAY_MS,
                verified_ms=box.clock_ms - 2 * DAY_MS,
                countersigned=True,
                refused=None,
                dropped_ms=box.clock_ms - DAY_MS,
                dropped_rows=51_200,
            ),
        ),
        keys=KeyFigures(
            standing=4,
            ended=2,
            oldest_standing_ms=box.clock_ms - 40 * DAY_MS,
            recipients=3,
            reading=3,
            undecided=0,
            released=("identity",),
        ),
        recovery=RecoveryFigures(
            has_code=True,
            number=412,
            stored_number=411,
            stored_generation=2,
            stored_ms=box.clock_ms - 3 * MINUTE_MS,
            vault_waits=True,
            keys_wait=False,
            detail="",
        ),
    )


def measured(
    device: str,
    point: str,
    value: float | str | None,
    unit: str,
    *,
    quality: Quality = Quality.GOOD,
    reason: str = "",
) -> Measurement:
    return Measurement(
        device=DeviceId(device),
        point=point,
        value=value,
        unit=unit,
        quality=quality,
        observed_ms=NOW_MS - 2_000,
        source="serial:bus0 unit 17 fc3 0x0000",
        reason=reason,
    )


def camera_candidate(name: str = "DS-2CD3T47 (Hikvision)") -> Candidate:
    return Candidate(
        identity="onvif:urn:uuid:4c4c4544",
        kind=DeviceKind.CAMERA,
        address="http://127.0.2.32:8000/onvif/device_service",
        name=name,
        profile="onvif-camera",
        evidence=(
            Evidence(method="ws-discovery", detail="answered a Probe", observed_ms=NOW_MS - 9_000),
        ),
        confidence=0.95,
        needs=Need.PASSWORD,
    )


def probe_candidate() -> Candidate:
    return Candidate(
        identity="modbus:bus0:83",
        kind=DeviceKind.FARM_SENSOR,
        address="serial:/dev/bus0?baud=4800&unit=83",
        name="Air temperature and humidity probe",
        profile="air-probe",
        evidence=(
            Evidence(
                method="modbus read", detail="fc3 0x0000: 652 214", observed_ms=NOW_MS - 40_000
            ),
        ),
        confidence=0.8,
    )


def as_view(box: SimulatedBox) -> BoxView:
    """Let the type checker hold the simulation to the protocol."""
    return box
