"""Alarms of a real contact board on a simulated line, over a real store: raised, kept, ended."""

import asyncio
import hashlib
import random
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from drivers.entities import DeviceEvent, DeviceId, Presence
from drivers.errors import SetupError
from drivers.simulators.ledger import Ledger
from drivers.simulators.modbus_rtu import Faults, ModbusRtuSimulator
from drivers.simulators.profile_unit import ProfileUnit
from edge.books import Books
from edge.box_store import BoxStore
from edge.class_cards.office import CardOffice
from edge.devices.fleet import Fleet
from edge.errors import NotNowError
from edge.metering import parse_night
from edge.notebook import Notebook
from edge.pages.box_view import Change
from edge.safety.card_covers import CardCovers
from edge.safety.circuit_board import CircuitBoard
from edge.safety.circuits import Circuit, CircuitKind, CircuitState, Effect
from edge.safety.incidents import DRILL, Incident, Step
from edge.safety.safety_office import SafetyOffice
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.drivers.serial_bench import now_ms, patient_catalog, running, until
from tests.edge.adopted_devices import CONTACTS, contact_board
from tests.edge.school import Box, new_box

BAUD = 19_200
PANIC = Circuit(
    circuit="gate",
    kind=CircuitKind.PANIC,
    name="门卫室",
    room=None,
    device=CONTACTS,
    point="input_1",
    active="closed",
    effects=frozenset({Effect.SIREN, Effect.CARDS}),
)
DOOR = replace(
    PANIC,
    circuit="lab",
    kind=CircuitKind.DOOR,
    name="实验室",
    point="input_3",
    effects=frozenset(),
    hours=parse_night("22:00-06:00"),
)
SIREN = replace(
    PANIC,
    circuit="roof",
    kind=CircuitKind.SIREN,
    name="楼顶警报",
    point="output_1",
    active="on",
    effects=frozenset(),
    longest_s=60,
)


@dataclass
class School:
    """One contact board on a line, and the office that watches it; ``refuses``: the disk does."""

    folder: Path
    box: Box
    store: BoxStore
    writer: Writer
    events: list[DeviceEvent] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    refuses: bool = False
    is_unreadable: bool = False
    hour: int | None = None
    disk: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.disk.set()
        self.is_writing = False
        self.unit = ProfileUnit(1, load_catalog().profiles[ProfileId("input-waveshare-io-8")])
        for number in range(1, 9):
            self.set(f"input_{number}", "open")
        self.simulator = ModbusRtuSimulator(
            path=self.folder / "board",
            baud=BAUD,
            units=[self.unit],
            ledger=Ledger(self.folder / "board.jsonl", now_ms),
            now_ms=now_ms,
            rng=random.Random(1),
        )
        self.start_anew()

    def start_anew(self) -> None:
        """Make another fleet and office on the same store, as after a restart."""
        self.fleet = Fleet(
            patient_catalog("input-waveshare-io-8"),
            Notebook(self.folder / "notebook.json"),
            now_ms,
            self.hear,
            random.Random(1),
        )
        self.fleet.add(contact_board(self.folder / "board", BAUD))
        numbers = count()
        self.cards = CardOffice(
            self.folder,
            self.record,
            person_of=lambda _: None,
            judge=lambda *_: None,
            now_ms=now_ms,
            draw=lambda: hashlib.sha256(f"{now_ms()} {next(numbers)}".encode()).hexdigest(),
            changed=self.changes.append,
        )
        self.office = SafetyOffice(
            self.store.identity.school,
            self.record,
            self.connect,
            self.fleet,
            CardCovers(self.store.identity.school, self.connect, self.cards, now_ms),
            CircuitBoard(UTC, lambda: True),
            now_ms=self.now_ms,
            changed=self.changes.append,
        )

    def now_ms(self) -> int:
        """Return today's moment of the hour a test set, else now."""
        if self.hour is None:
            return now_ms()
        midnight = datetime.now(UTC).replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return int(midnight.timestamp() * 1000)

    def hear(self, event: DeviceEvent) -> None:
        self.events.append(event)
        self.office.take(event)

    def connect(self) -> sqlite3.Connection:
        if self.is_unreadable:
            raise sqlite3.OperationalError("disk I/O error")
        return connect_readonly(self.store.path)

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.is_writing = True
        await self.disk.wait()
        self.is_writing = False
        if self.refuses:
            raise sqlite3.OperationalError("database or disk is full")
        await self.writer.call(self.store.node.record_all, rows)

    def set(self, point: str, word: str) -> None:
        self.unit.set(point, word)

    def reads(self, point: str) -> str:
        request_values = self.unit._held  # the simulated coil itself
        described = self.unit.profile.point(point)
        assert described.function is not None
        assert described.register is not None
        return described.enum[str(request_values[described.function, described.register])]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(self.connect()) as reader:
            return [tuple(row) for row in reader.execute(query)]

    def state(self, circuit: str) -> CircuitState:
        return self.office.board.state(circuit)

    @property
    def standing(self) -> list[Incident]:
        return self.office.incidents()

    def steps(self) -> list[object]:
        return [step for (step,) in self.rows("SELECT step FROM alarm_step ORDER BY row")]

    @property
    def is_here(self) -> bool:
        told = [event for event in self.events if isinstance(event, Presence)]
        return bool(told) and told[-1].online

    @asynccontextmanager
    async def open(self, *circuits: Circuit) -> AsyncIterator[None]:
        """Run the board and the office, watching circuits, until the board answers."""
        await self.office.load()
        async with running(self.fleet.run(), self.office.run()):
            for circuit in circuits:
                await self.office.add(circuit, "test")
            watched = [each.circuit for each in self.office.circuits()]
            inputs = [each.circuit for each in watched if not each.is_output]
            await until(
                lambda: all(self.state(each) is not CircuitState.UNKNOWN for each in inputs)
            )
            yield


@pytest.fixture
async def school(tmp_path: Path) -> AsyncIterator[School]:
    box = new_box(tmp_path)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(box.opened())
        writer = stack.enter_context(Writer())
        made = School(tmp_path, box, store, writer)
        await stack.enter_async_context(running(made.simulator.run()))
        yield made


async def test_a_pressed_button_is_on_the_disk_shown_and_sounds_until_a_person_comes(
    school: School,
) -> None:
    async with school.open(PANIC, SIREN):
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
        (alarm,) = school.standing
        assert school.rows("SELECT alarm, place, drill, incident, device FROM alarm") == [
            ("panic", "门卫室", 0, alarm.incident, CONTACTS)
        ]
        await until(lambda: school.reads("output_1") == "on")
        await until(lambda: school.rows("SELECT kind FROM card_message") == [("emergency",)])
        school.set("input_1", "open")
        await until(lambda: Step.RESTORED in school.steps())
        assert len(school.standing) == 1, "it stands though the button was let go"
        await school.office.acknowledge(alarm.incident, "李老师")
        await until(lambda: school.reads("output_1") == "off")
        await until(lambda: "siren_off" in school.steps())
        await school.office.close(alarm.incident, "李老师")
    assert school.standing == []
    assert school.rows("SELECT who FROM alarm_step WHERE step = 'closed'") == [("李老师",)]
    ((until_ms,),) = school.rows("SELECT until_ms FROM card_message")
    assert isinstance(until_ms, int)
    assert until_ms <= now_ms(), "the cards are lifted"


async def test_nothing_is_shown_nor_sounds_before_it_is_on_the_disk(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.books.WAIT_S", 60.0)
    async with school.open(PANIC, SIREN):
        school.disk.clear()
        school.set("input_1", "closed")
        await until(lambda: school.is_writing)
        assert school.standing == []
        assert school.reads("output_1") == "off"
        school.disk.set()
        await until(lambda: bool(school.standing))
        assert school.rows("SELECT alarm FROM alarm") == [("panic",)]


async def test_an_alarm_outlives_the_box_and_is_raised_once(school: School) -> None:
    async with school.open(PANIC, SIREN):
        school.set("input_1", "closed")
        await until(lambda: "siren_on" in school.steps())
    school.start_anew()
    async with school.open():
        (alarm,) = school.standing
        assert alarm.kind == "panic"
        await until(lambda: school.state("gate") is CircuitState.ACTIVE)
        await until(lambda: school.steps().count("siren_on") == 2)
        assert school.reads("output_1") == "on"
        await school.office.acknowledge(alarm.incident, "李老师")
        with pytest.raises(NotNowError, match="reset it first"):
            await school.office.close(alarm.incident, "李老师")
    assert school.rows("SELECT count(*) FROM alarm") == [(1,)]
    assert "again" not in school.steps()


async def test_a_power_cut_before_the_disk_had_it_raises_what_is_still_pressed_once(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.books.WAIT_S", 60.0)
    async with school.open(PANIC):
        school.disk.clear()
        school.set("input_1", "closed")
        await until(lambda: school.is_writing)
    assert school.rows("SELECT count(*) FROM alarm") == [(0,)]
    school.disk.set()
    school.start_anew()
    async with school.open():
        await until(lambda: bool(school.standing))
        assert school.rows("SELECT alarm FROM alarm") == [("panic",)]


async def test_a_press_while_the_box_was_off_is_raised_when_it_starts(school: School) -> None:
    async with school.open(PANIC):
        pass
    school.set("input_1", "closed")
    school.start_anew()
    async with school.open():
        await until(lambda: bool(school.standing))


async def test_a_disk_that_refuses_delays_an_alarm_and_does_not_silence_it(
    school: School,
) -> None:
    async with school.open(PANIC, SIREN):
        school.refuses = True
        school.set("input_1", "closed")
        await until(lambda: school.reads("output_1") == "on")
        (alarm,) = school.standing
        assert not alarm.is_durable
        assert school.office.is_behind
        assert school.rows("SELECT count(*) FROM alarm") == [(0,)]
        school.refuses = False
        await until(lambda: school.rows("SELECT count(*) FROM alarm") == [(1,)])
        await until(lambda: school.standing[0].is_durable)
        await until(lambda: not school.office.is_behind)
    assert school.steps()[0] == "raised"


async def test_a_disk_that_hangs_delays_many_alarms_no_longer_than_one(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.books.WAIT_S", 0.2)
    books = Books(school.record)
    async with running(books.run()), asyncio.timeout(20):  # one after the other takes 60 s
        school.disk.clear()
        for number in range(300):
            row: Row = {"at_ms": number, "alarm": "panic", "incident": f"gate:{number}"}
            assert not await books.write({"alarm": [row]})
        assert books.is_behind
        school.disk.set()
        await until(lambda: not books.is_behind)
    assert school.rows("SELECT count(*) FROM alarm") == [(300,)]


async def test_a_disk_that_refuses_at_the_end_keeps_the_box_from_nothing_else(
    school: School, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(school.record)
    school.refuses = True
    books.enter({"alarm": [{"at_ms": 1, "alarm": "panic", "incident": "gate:1"}]})
    await books.flush()
    assert "1 changes are lost" in caplog.text


async def test_a_siren_whose_board_was_away_sounds_again_while_the_alarm_stands(
    school: School,
) -> None:
    async with school.open(PANIC, SIREN):
        school.set("input_1", "closed")
        await until(lambda: "siren_on" in school.steps())
        school.simulator.link.unplug()
        await until(lambda: not school.is_here)
        school.set("output_1", "off")  # it lost its power
        school.simulator.link.plug()
        await until(lambda: school.is_here)
        await until(lambda: school.reads("output_1") == "on")


async def test_a_cut_line_is_trouble_that_the_hub_hears_of_and_leaves_the_alarm_standing(
    school: School,
) -> None:
    async with school.open(PANIC):
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
        school.simulator.link.unplug()
        await until(lambda: school.state("gate") is CircuitState.TROUBLE)
        await until(lambda: "trouble" in school.steps())
        await until(
            lambda: (
                ("trouble",) in school.rows("SELECT state FROM circuit_state WHERE reason <> ''")
            )
        )
        school.simulator.link.plug()
        await until(lambda: school.state("gate") is CircuitState.ACTIVE)
        assert len(school.standing) == 1
        school.set("input_1", "open")
        await until(lambda: school.rows("SELECT state FROM circuit_state") == [("normal",)])
    assert school.rows("SELECT count(*) FROM alarm") == [(1,)]


async def test_noise_on_the_line_makes_no_alarm_and_hides_none(school: School) -> None:
    school.simulator.faults = Faults(lost=0.05, corrupt=0.1, half=0.05)
    async with school.open(PANIC, DOOR):
        heard = len(school.events)
        await until(lambda: len(school.events) > heard + 10)
        assert school.standing == []
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
    assert school.rows("SELECT DISTINCT circuit FROM alarm") == [("gate",)]


async def test_a_door_is_an_alarm_in_its_hours_also_when_it_was_left_open(school: School) -> None:
    school.hour = 12
    async with school.open(DOOR):
        school.set("input_3", "closed")  # this contact closes when the door opens
        await until(lambda: school.state("lab") is CircuitState.ACTIVE)
        assert school.standing == []
        school.hour = 22
        await until(lambda: bool(school.standing))
    assert school.rows("SELECT alarm FROM alarm") == [("door",)]


async def test_a_door_is_tried_by_day_too_and_being_open_is_no_trial(school: School) -> None:
    school.hour = 12
    async with school.open(DOOR):
        school.set("input_3", "closed")
        await until(lambda: school.state("lab") is CircuitState.ACTIVE)
        await school.office.begin_test(["lab"], 5, "李老师")
        (view,) = school.office.circuits()
        school.set("input_3", "open")
        await until(lambda: school.state("lab") is CircuitState.NORMAL)
        assert view.is_in_test
        assert view.tested is None
        school.set("input_3", "closed")
        await until(lambda: school.rows("SELECT tested_by FROM circuit_state") == [("李老师",)])
        school.hour = 22
        await until(lambda: bool(school.standing))


async def test_trying_a_button_is_noted_and_no_alarm_and_the_next_press_is_one(
    school: School,
) -> None:
    async with school.open(replace(PANIC, test_days=30), SIREN):
        (view,) = [each for each in school.office.circuits() if each.circuit.circuit == "gate"]
        assert view.is_due
        await school.office.begin_test(["gate", "roof"], 5, "李老师")
        school.set("input_1", "closed")
        await until(lambda: school.rows("SELECT tested_by FROM circuit_state") == [("李老师",)])
        school.set("input_1", "open")
        await until(lambda: school.state("gate") is CircuitState.NORMAL)
        (view,) = [each for each in school.office.circuits() if each.circuit.circuit == "gate"]
        assert not view.is_due
        assert school.standing == []
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
        with pytest.raises(NotNowError, match="choose 1 to"):
            await school.office.begin_test(["gate"], 999, "x")
        with pytest.raises(NotNowError, match="none of these"):
            await school.office.begin_test(["roof"], 5, "x")


async def test_a_siren_is_tried_for_a_moment_and_read_back(school: School) -> None:
    async with school.open(PANIC, SIREN):
        await until(lambda: school.is_here)
        assert await school.office.try_output("roof", "李老师") == ""
        assert school.reads("output_1") == "on"
        await until(lambda: school.reads("output_1") == "off")
        school.simulator.link.unplug()
        await until(lambda: not school.is_here)
        assert await school.office.try_output("roof", "李老师")
        assert school.office.outputs.failure(SIREN)


async def test_a_drill_marks_what_happens_in_it_and_keeps_the_times(school: School) -> None:
    async with school.open(PANIC, SIREN):
        await school.office.begin_drill("消防演练", 20, [Effect.CARDS], "王校长")
        with pytest.raises(NotNowError, match="on already"):
            await school.office.begin_drill("another", 20, [], "x")
        drill = school.office.drill()
        assert drill is not None
        await until(lambda: "cards_covered" in school.steps())
        ((text_zh, text_en),) = school.rows("SELECT text_zh, text_en FROM card_message")
        assert (text_zh, text_en) == ("【演练】 消防演练", "DRILL. 消防演练")
        message = str(school.rows("SELECT message FROM card_message")[0][0])
        await school.record(
            {
                "card_receipt": [
                    {
                        "at_ms": now_ms(),
                        "message": message,
                        "screen": f"s{number}",
                        "after_ms": 100 * number,
                        "receipt": f"{message}:s{number}",
                    }
                    for number in (1, 2)
                ]
            }
        )
        school.set("input_1", "closed")
        await until(lambda: len(school.standing) == 2)
        await until(lambda: school.reads("output_1") == "on")
        await school.office.mark(drill.incident, Step.ASSEMBLED, "王校长", "操场")
        with pytest.raises(NotNowError):
            await school.office.mark(drill.incident, Step.CLOSED, "王校长")
        await school.office.close(drill.incident, "王校长")
        assert school.standing == []
        await until(lambda: school.reads("output_1") == "off")
    assert school.rows("SELECT alarm, drill FROM alarm ORDER BY row") == [(DRILL, 1), ("panic", 1)]
    assert school.rows("SELECT alarm, acknowledged, slowest_ms, led_by FROM drill") == [
        ("消防演练", 2, 200, "王校长")
    ]


async def test_a_real_alarm_in_a_drill_is_made_real_and_outlives_the_drill(
    school: School,
) -> None:
    async with school.open(PANIC):
        await school.office.begin_drill("演练", 20, [], "王校长")
        school.set("input_1", "closed")
        await until(lambda: len(school.standing) == 2)
        alarm, drill = school.standing
        await school.office.declare_real(alarm.incident, "李老师")
        await school.office.close(drill.incident, "王校长")
        assert [each.incident for each in school.standing] == [alarm.incident]
    assert school.rows("SELECT drill FROM alarm WHERE alarm = 'panic' ORDER BY row") == [(1,), (0,)]


async def test_a_drill_ends_on_the_disk_also_while_the_store_cannot_be_read(
    school: School,
) -> None:
    async with school.open():
        await school.office.begin_drill("演练", 20, [Effect.CARDS], "王校长")
        await until(lambda: "cards_covered" in school.steps())
        school.is_unreadable = True
        school.office.note_answers()
        await school.office.close(school.standing[0].incident, "王校长")
        school.is_unreadable = False
        assert "closed" in school.steps()
        assert school.rows("SELECT alarm, led_by FROM drill") == [("演练", "王校长")]


async def test_a_clock_that_is_set_back_makes_no_drill_longer(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with school.open(PANIC):
        await school.office.begin_drill("演练", 1, [], "王校长")
        school.hour = 0
        later = asyncio.get_running_loop().time() + 61
        monkeypatch.setattr("edge.safety.safety_office._now", lambda: later)
        await until(lambda: school.office.drill() is None)
        await until(lambda: school.standing == [])
    await until(lambda: school.rows("SELECT count(*) FROM drill") == [(1,)])


async def test_what_is_still_pressed_when_a_forgotten_drill_is_over_is_an_alarm(
    school: School,
) -> None:
    school.hour = 12
    async with school.open(PANIC):
        await school.office.begin_drill("演练", 20, [], "王校长")
        school.set("input_1", "closed")
        await until(lambda: len(school.standing) == 2)
        school.hour = 13
        await until(lambda: [each.is_drill for each in school.standing] == [False])
    assert school.rows("SELECT drill FROM alarm WHERE alarm = 'panic' ORDER BY row") == [(1,), (0,)]


async def test_an_alarm_that_was_ended_by_a_clock_set_back_does_not_stand_again(
    school: School,
) -> None:
    async with school.open(PANIC):
        school.hour = 23
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
        name = school.standing[0].incident
        school.set("input_1", "open")
        await until(lambda: school.state("gate") is CircuitState.NORMAL)
        school.hour = 0
        await school.office.acknowledge(name, "李老师")
        school.start_anew()
        await school.office.load()
        assert [each.is_acknowledged for each in school.standing] == [True]
        await school.record(
            {"alarm_step": [{"at_ms": school.now_ms(), "incident": name, "step": "closed"}]}
        )
    school.start_anew()
    await school.office.load()
    assert school.standing == []


async def test_the_districts_answer_stands_beside_the_alarm(school: School) -> None:
    async with school.open(PANIC):
        school.set("input_1", "closed")
        await until(lambda: bool(school.standing))
        name = school.standing[0].incident
        school.box.plant(
            "alarm_answer", {"school": 17, "incident": name, "at_ms": 5, "who": "区教育局"}
        )
        school.office.note_answers()
        await until(lambda: school.standing[0].seen_by == "区教育局")
        assert not school.standing[0].is_acknowledged, "only a person at the school ends it"


async def test_a_circuit_that_cannot_be_is_refused(school: School) -> None:
    async with school.open():
        for circuit, reason in (
            (replace(PANIC, device=DeviceId("nobody")), "not adopted"),
            (replace(PANIC, point="input_9"), "never reads"),
            (replace(PANIC, active="pressed"), "never reads"),
            (replace(PANIC, partner="input_1"), "partner of itself"),
            (replace(SIREN, point="input_1"), "no output"),
            (replace(SIREN, active="loud"), "no output"),
        ):
            with pytest.raises(SetupError, match=reason):
                await school.office.add(circuit, "test")
    assert school.rows("SELECT count(*) FROM safety_circuit") == [(0,)]


async def test_a_circuit_that_is_removed_is_watched_no_more_and_stays_gone(school: School) -> None:
    async with school.open(PANIC):
        await school.office.remove("gate", "test")
        with pytest.raises(NotNowError):
            await school.office.remove("gate", "test")
    school.start_anew()
    await school.office.load()
    assert school.office.circuits() == []
