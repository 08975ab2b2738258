"""Everything that is wrong now stands in one list, with what to do about it, until it is mended."""

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.entities import DeviceId, Measurement, Quality
from drivers.errors import (
    DriverError,
    ProtocolError,
    RefusedError,
    SetupError,
    Trouble,
    UnreachableError,
    trouble_of,
)
from edge.class_cards.screens import Screen
from edge.clock_watch import ClockLight
from edge.lesson.capture.source_troubles import source_troubles
from edge.lesson.preparing.checks import Check, Fixer, Item, SourceTrouble, Standing
from edge.lesson.preparing.preflight import PageFacts, judge_page
from edge.pages.box_view import (
    Change,
    DeviceLight,
    Light,
    LinkState,
    RoomCheck,
    RoomTrouble,
    Sign,
)
from edge.pages.language import LANGUAGES, load_language
from edge.pages.repair_words import told, wrong_and_remedy
from edge.repair_desk import DAY_MS, RepairDesk
from edge.repairs import DISK_FREE_MIN, Condition, Repair, RepairKind, Undriven, find_repairs
from firmware_profiles.model import Firmware
from sync.clock_spans import Trust
from sync.lessons.tracks import DOCUMENT, PICTURE_SMALL
from sync.logs.oplog import Row

NOW_MS = 1_795_000_000_000
LINE = "serial:/dev/serial/by-id/farm"


def device(name: str, state: Light, address: str = f"{LINE}?baud=9600&unit=1") -> DeviceLight:
    return DeviceLight(
        device=DeviceId(name),
        kind=DeviceKind.FARM_SENSOR,
        name=f"called {name}",
        room=None,
        address=address,
        state=state,
        sign=Sign.LINK_LOST if state is Light.BAD else Sign.ANSWERED,
        evidence_ms=NOW_MS - 5_000,
    )


def condition(**changes: object) -> Condition:
    """Return the condition of a box where all is well, but for the changes."""
    well = Condition(
        now_ms=NOW_MS,
        since_ms=NOW_MS - 10 * DAY_MS,
        lights=[device("a", Light.GOOD)],
        values=(),
        candidates=(),
        clock=ClockLight(trust=Trust.SET, added_ms=0, hub_offset_ms=0),
        link=LinkState.CONNECTED,
        standing=None,
        undecided=0,
        offered=None,
        screens=(),
        disk_free_bytes=10 * DISK_FREE_MIN,
    )
    return replace(well, **changes)  # type: ignore[arg-type]  # the test's own names


def kinds(now: Condition) -> list[RepairKind]:
    return [repair.kind for repair in find_repairs(now)]


def candidate(needs: Need) -> Candidate:
    return Candidate(
        identity=f"x:{needs}",
        kind=DeviceKind.CAMERA,
        address="http://10.1.2.3/",
        name="a camera",
        profile=None,
        evidence=(),
        confidence=0.9,
        needs=needs,
    )


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    assert find_repairs(condition()) == []


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble.NONE, RepairKind.AWAY),
        (Trouble.LOST, RepairKind.AWAY),
        (Trouble.SILENT, RepairKind.SILENT),
        (Trouble.REFUSED, RepairKind.PASSWORD),
        (Trouble.SETUP, RepairKind.SETUP),
        (Trouble.GARBLED, RepairKind.LINE_GARBLED),
    ],
)
def test_what_ails_a_device_decides_what_to_do(trouble: Trouble, kind: RepairKind) -> None:
    ill = device("a", Light.BAD)
    (repair,) = find_repairs(condition(lights=[ill], troubles={ill.device: trouble}))
    assert (repair.kind, repair.target, repair.light) == (kind, "#device-a", ill)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (UnreachableError("x"), Trouble.LOST),
        (RefusedError("x"), Trouble.REFUSED),
        (ProtocolError("x"), Trouble.GARBLED),
        (SetupError("x"), Trouble.SETUP),
    ],
)
def test_every_error_of_a_driver_is_a_trouble(error: DriverError, trouble: Trouble) -> None:
    assert trouble_of(error) is trouble


def test_garbled_answers_of_one_unit_on_a_line_that_is_well_point_at_a_number_given_twice() -> None:
    ill, well = device("a", Light.BAD), device("b", Light.GOOD, f"{LINE}?baud=9600&unit=2")
    elsewhere = replace(well, address="serial:/dev/other?baud=9600&unit=2")
    troubles = {ill.device: Trouble.GARBLED}
    assert kinds(condition(lights=[ill, well], troubles=troubles)) == [RepairKind.UNIT_GARBLED]
    assert kinds(condition(lights=[ill, elsewhere], troubles=troubles)) == [RepairKind.LINE_GARBLED]


def test_an_adapter_that_was_pulled_is_one_repair_for_all_that_hung_on_it() -> None:
    lost = [device(name, Light.BAD) for name in "abc"]
    (repair,) = find_repairs(condition(lights=lost))
    assert repair.kind is RepairKind.UNPLUGGED
    assert repair.facts["n"] == 3
    assert "called b" in str(repair.facts["names"])
    cameras = [replace(each, address="http://10.1.2.3/x") for each in lost]
    assert kinds(condition(lights=cameras)) == 3 * [RepairKind.AWAY]


def test_a_clock_far_off_and_a_faulty_program_are_told_of_devices_that_answer() -> None:
    offset = Measurement(
        device=DeviceId("a"),
        point="clock_offset",
        value=-95_000.0,
        unit="ms",
        quality=Quality.GOOD,
        observed_ms=NOW_MS,
        source="x",
    )
    assert kinds(condition(values=[offset])) == [RepairKind.DEVICE_CLOCK]
    near = msgspec.structs.replace(offset, value=-9.0, unit="s")
    assert kinds(condition(values=[near])) == []
    faulty = Firmware(versions="<2", state="faulty", reason="loses events {how}", how="by its page")
    (repair,) = find_repairs(condition(firmwares={DeviceId("a"): faulty}))
    wrong, remedy = wrong_and_remedy(repair, load_language("en"))
    assert wrong == "Its own program is known to be faulty: loses events {how}"
    assert remedy == "Have it updated. by its page"
    good = Firmware(versions="*", state="good", reason="fine")
    assert kinds(condition(firmwares={DeviceId("a"): good})) == []


def test_what_was_found_is_counted_by_what_it_needs() -> None:
    found = [candidate(need) for need in (Need.NOTHING, Need.PASSWORD, Need.PROFILE, Need.ONVIF)]
    assert set(kinds(condition(candidates=found))) == {
        RepairKind.FOUND,
        RepairKind.LOCKED,
        RepairKind.NO_PROFILE,
        RepairKind.NO_ONVIF,
    }


def test_a_class_card_is_missed_after_a_day_of_a_box_that_could_have_seen_it() -> None:
    screen = Screen(screen="screen-1", room="r1", name="Door", paired_ms=NOW_MS - 9 * DAY_MS)
    assert kinds(condition(screens=[screen])) == [RepairKind.SCREEN_SILENT]
    seen = replace(screen, seen_ms=NOW_MS - DAY_MS // 2)
    assert kinds(condition(screens=[seen])) == []
    assert kinds(condition(screens=[screen], since_ms=NOW_MS - 1000)) == []
    assert kinds(condition(screens=[replace(screen, is_open=True)])) == []


def test_the_worst_stands_first() -> None:
    now = condition(
        lights=[device("a", Light.UNKNOWN)], undecided=1, disk_free_bytes=1, has_rooms=False
    )
    assert [repair.state for repair in find_repairs(now)] == [
        Light.BAD,
        Light.WARN,
        Light.UNKNOWN,
        Light.UNKNOWN,
    ]


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_repair_has_its_words_in_every_language(code: str) -> None:
    language = load_language(code)
    for kind in RepairKind:
        repair = Repair(
            kind=kind,
            state=Light.BAD,
            target="#x",
            facts={"n": 2, "name": "N", "names": "N", "port": "P", "reason": "R", "how": "H"},
            light=device("a", Light.BAD),
        )
        words = told(repair, language, NOW_MS)
        assert words.remedy
        assert words.wrong
        assert "{" not in words.wrong + words.remedy


class Desk:
    """A repairs desk over conditions that a test sets."""

    def __init__(self, folder: Path, now: Condition) -> None:
        self.now = now
        self.rows: list[Row] = []
        self.path = folder / "repairs.json"
        self.open()

    def open(self) -> None:
        self.desk = RepairDesk(
            self.path, lambda: self.now, self.record, lambda: self.now.now_ms, self.note
        )

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self.rows += rows["audit_entry"]

    def note(self, change: Change) -> None:
        assert change is Change.DEVICES

    def waiting(self) -> list[str]:
        return [repair.key for repair in self.desk.list().waiting]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, condition(lights=[device("a", Light.BAD)], undecided=2))


async def test_what_a_person_put_aside_comes_back_when_its_days_are_over(desk: Desk) -> None:
    assert desk.waiting() == ["away:a", "keys"]
    await desk.desk.shelve("away:a", 7, "Li")
    assert desk.waiting() == ["keys"]
    ((repair, shelved),) = desk.desk.list().shelved
    assert (repair.key, shelved.who) == ("away:a", "Li")
    desk.open()  # the box starts again
    assert desk.waiting() == ["keys"]
    desk.now = replace(desk.now, now_ms=NOW_MS + 7 * DAY_MS + 1)
    assert desk.waiting() == ["away:a", "keys"]
    assert [(row["who"], row["subject"]) for row in desk.rows] == [("Li", "away:a")]
    assert desk.path.stat().st_mode & 0o777 == 0o600


async def test_what_was_dismissed_is_news_when_it_comes_again(desk: Desk) -> None:
    await desk.desk.shelve("keys", None, "Li")
    desk.now = replace(desk.now, now_ms=NOW_MS + 400 * DAY_MS)
    await desk.desk.tidy()
    assert desk.waiting() == ["away:a"]
    again, desk.now = desk.now, replace(desk.now, undecided=0)
    await desk.desk.tidy()
    desk.now = again
    assert desk.waiting() == ["away:a", "keys"]


async def test_a_repair_can_be_taken_up_again(desk: Desk) -> None:
    await desk.desk.shelve("keys", 7, "Li")
    await desk.desk.unshelve("keys", "Wang")
    assert desk.waiting() == ["away:a", "keys"]
    with pytest.raises(SetupError, match="reload"):
        await desk.desk.shelve("away:gone", 7, "Li")


async def test_the_disk_is_waited_for_beside_the_event_loop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(descriptor: int) -> None:
        waiting.add(threading.get_ident())
        fsync(descriptor)

    waiting: set[int] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", note)
    await asyncio.gather(desk.desk.shelve("keys", 7, "Li"), desk.desk.shelve("away:a", 7, "Li"))
    await desk.desk.unshelve("keys", "Wang")
    desk.now = replace(desk.now, lights=[])
    await desk.desk.tidy()
    assert waiting
    assert threading.get_ident() not in waiting


async def test_two_persons_put_aside_at_once_and_both_are_kept(desk: Desk) -> None:
    await asyncio.gather(desk.desk.shelve("keys", 7, "Li"), desk.desk.shelve("away:a", 7, "Wang"))
    desk.open()
    assert desk.waiting() == []


async def test_a_shelf_that_cannot_be_read_shows_everything_again(desk: Desk) -> None:
    await desk.desk.shelve("keys", None, "Li")
    desk.path.write_bytes(b"\xff no JSON")
    desk.open()
    assert desk.waiting() == ["away:a", "keys"]


def test_an_undriven_device_and_a_fresh_port_are_told() -> None:
    now = condition(
        undriven=[Undriven(device=DeviceId("z"), name="the hub", reason="x was unplugged")],
        fresh_ports=["/dev/ttyUSB3"],
        profile_faults=["x.toml:3: broken"],
    )
    assert set(kinds(now)) == {
        RepairKind.NOT_DRIVEN,
        RepairKind.FRESH_PORT,
        RepairKind.PROFILE_FAULT,
    }
    undriven = next(each for each in find_repairs(now) if each.kind is RepairKind.NOT_DRIVEN)
    wrong, _ = wrong_and_remedy(undriven, load_language("zh-CN"))
    assert "the hub" in wrong  # a name, whatever it reads like
    assert "x 被拔出" in wrong


def test_what_a_lesson_needs_before_its_bell_is_said_with_its_remedy() -> None:
    check = Check(
        item=Item.SOUND,
        state=Standing.WARN,
        fact="The camera sends no sound.",
        remedy="Switch its microphone on in the camera's settings, or plug one in.",
        who=Fixer.IT,
    )
    now = condition(lesson_checks=[RoomCheck(room="101", is_held=False, check=check)])
    (found,) = (each for each in find_repairs(now) if each.kind is RepairKind.LESSON)
    assert found.key == "lesson:101 sound"
    wrong, remedy = wrong_and_remedy(found, load_language("zh-CN"))
    assert wrong.startswith("101 教室")
    assert "没有声音" in wrong
    assert "麦克风" in remedy


def test_a_class_that_hears_nothing_of_its_lesson_is_said_with_its_remedy() -> None:
    check = judge_page(PageFacts(is_open=True, mute=("10.0.0.5",)))
    now = condition(lesson_checks=[RoomCheck(room="101", is_held=True, check=check)])
    (found,) = find_repairs(now)
    assert found.key == "lesson_room:101 page"
    wrong, remedy = wrong_and_remedy(found, load_language("en"))
    assert wrong == f"A lesson is held in room 101: {check.fact}"
    assert remedy == check.remedy
    wrong, remedy = wrong_and_remedy(found, load_language("zh-CN"))
    assert "10.0.0.5" in wrong
    assert "不播放声音" in wrong
    assert remedy.startswith("请触摸")


def test_a_camera_that_does_not_come_while_a_lesson_runs_is_said_with_its_remedy() -> None:
    away = UnreachableError("camera 192.0.2.7 does not answer; check its power and network")
    (trouble,) = source_troubles({DOCUMENT: away})
    now = condition(source_troubles=[RoomTrouble(room="101", gives=True, trouble=trouble)])
    (found,) = find_repairs(now)
    assert found.key == f"lesson_source:101 {DOCUMENT}"
    assert found.state is Light.WARN
    wrong, remedy = wrong_and_remedy(found, load_language("en"))
    assert "room 101 gives" in wrong
    assert f"document camera. {away}" in wrong
    assert remedy == "Check the camera's power and its network cable."
    wrong, remedy = wrong_and_remedy(found, load_language("zh-CN"))
    assert "实物展台" in wrong
    assert "does not answer" not in wrong
    assert "请检查摄像机的电源和网线" in remedy


def test_a_class_that_its_teacher_does_not_see_is_said_at_its_own_school() -> None:
    trouble = SourceTrouble(
        track=PICTURE_SMALL,
        state=Standing.WARN,
        fact="onvif:9 offers no second stream; switch one on in the camera",
        remedy="Set it on the camera's own page.",
        who=Fixer.IT,
    )
    (found,) = find_repairs(
        condition(source_troubles=[RoomTrouble(room="301", gives=False, trouble=trouble)])
    )
    wrong, remedy = wrong_and_remedy(found, load_language("en"))
    assert wrong == f"The teacher does not see the class in room 301: {trouble.fact}"
    assert remedy == trouble.remedy
    wrong, remedy = wrong_and_remedy(found, load_language("zh-CN"))
    assert wrong.startswith("教师看不到 301 教室的班级")
    assert "second stream" not in wrong
