import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from drivers.entities import DeviceId
from drivers.errors import SetupError
from edge.errors import NotNowError
from edge.lesson import orchestration
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.classroom.room_streams import SHOW_AFTER_MS
from edge.lesson.evidence.hop_quality import HopCount, ScreenReport
from edge.lesson.evidence.live_count import LiveCount
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.keys.partners import Partners
from edge.lesson.preparing.checks import Item
from edge.lesson.status import LessonStatus, Phase
from edge.pages.box_view import LessonState
from sync.lessons.fragment_log import Kind, LessonId, TakeId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.lesson_events import Chapter
from sync.lessons.tracks import PICTURE
from tests.drivers.serial_bench import until
from tests.edge.adopted_devices import adopted_camera, described_camera
from tests.edge.lesson_blackboard import blackboard
from tests.edge.lesson_desk import LessonDesk, lesson_desk, quicken
from tests.edge.school import MINUTE, Box, certificate_row, enrol, new_box, schedule
from tests.loopback import free_port

PNG = b"\x89PNG\r\n\x1a\n"
GRANTS = "SELECT count(*) FROM lesson_key_grant"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def test_a_lesson_is_prepared_ten_minutes_before_it_begins(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now + 11 * MINUTE, now + 50 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.state("101") is LessonState.SCHEDULED)
        assert desk.held() == set()
        box.district.clock.ms += MINUTE
        await until(lambda: desk.held() == {"a1"})
        assert desk.state("101") is LessonState.PREPARING


async def test_a_box_that_comes_back_in_mid_lesson_holds_it_at_once(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestration, "LOOK_EVERY_S", 3600)
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})


async def test_a_lesson_that_is_cancelled_ends_where_it_is_held(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        schedule(box, "a1", now - MINUTE, now + 40 * MINUTE, cancelled=1)
        await until(lambda: not desk.held() and desk.state("101") is None)


async def test_a_lesson_put_off_ends_and_is_held_again_at_its_new_time(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now + MINUTE, now + 41 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        schedule(box, "a1", now + 60 * MINUTE, now + 100 * MINUTE)
        await until(lambda: not desk.held())
        assert desk.state("101") is LessonState.SCHEDULED
        box.district.clock.ms += 55 * MINUTE
        await until(lambda: desk.held() == {"a1"})


async def test_a_lesson_ends_at_the_end_it_has_now(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        schedule(box, "a1", now - MINUTE, now + 10 * MINUTE)
        box.district.clock.ms += 11 * MINUTE
        await until(lambda: desk.state("101") is LessonState.CATCHING_UP)
        schedule(box, "a1", now - MINUTE, now + 20 * MINUTE)
        await until(lambda: desk.view("101").ends_ms == now + 20 * MINUTE)
        assert desk.held() == {"a1"}


async def test_the_hours_in_which_a_recording_is_filled_are_no_minutes_of_the_lesson(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[LessonStatus] = []
    minutes: list[LessonStatus] = []

    async def look(_: LiveCount, status: LessonStatus) -> None:
        looks.append(status)

    def count(_: HopCount, status: LessonStatus, *__: object) -> None:
        minutes.append(status)

    monkeypatch.setattr(LiveCount, "tick", look)
    monkeypatch.setattr(HopCount, "tick", count)
    now = box.now_ms
    schedule(box, "over", now - 60 * MINUTE, now - 20 * MINUTE)
    async with lesson_desk(box, tmp_path):
        await until(lambda: len(looks) > 1 and looks[-2].phase is Phase.CATCHING_UP)
    assert not minutes


async def test_a_lesson_moved_to_another_room_is_held_there(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        schedule(box, "a1", now - MINUTE, now + 40 * MINUTE, rooms={17: ("flagship", "102")})
        await until(lambda: desk.held() == {"a1"} and desk.state("101") is None)
        assert desk.view("102").lesson == "a1"


async def test_a_box_that_starts_after_the_lesson_leaves_the_blackboard_as_it_is(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "over", now - 60 * MINUTE, now - 20 * MINUTE)
    async with blackboard(box, tmp_path, "31.5") as board:
        await until(lambda: board.desk.held() == {"over"})
        await asyncio.sleep(0.5)
        assert ("POWR", "1") not in board.orders()
        schedule(box, "now", now - MINUTE, now + 40 * MINUTE)
        await until(lambda: ("POWR", "1") in board.orders())


async def test_a_partner_confirmed_while_the_lesson_runs_is_granted_its_key(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: box.rows(GRANTS) == [(1,)])
        await asyncio.sleep(0.2)
        assert box.rows(GRANTS) == [(1,)]
        (shown,) = await desk.lessons.grants.partners_of(18)

        await desk.lessons.grants.confirm(18, shown.fingerprint, "head")

        await until(lambda: box.rows(GRANTS) == [(2,)])


async def test_a_partner_confirmed_days_later_still_gets_the_recordings_key(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    schedule(box, "a1", now - 5000 * MINUTE, now - 4960 * MINUTE)
    box.plant("lesson_minutes", {"school": 17, "lesson": "a1", "live_s": 2400})
    async with lesson_desk(box, tmp_path) as desk:
        await asyncio.sleep(0.3)
        assert desk.held() == set()
        (shown,) = await desk.lessons.grants.partners_of(18)
        await desk.lessons.grants.confirm(18, shown.fingerprint, "head")
        await until(lambda: box.rows(GRANTS) == [(2,)])


async def test_a_confirmation_before_a_restart_needs_no_hand_after_it(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    with box.opened() as store:
        partners = Partners(store.node, store.acquaintances, box.folder / "partners.json")
        partners.confirm(18, partners.of(18)[0].fingerprint, "head")
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path):
        await until(lambda: box.rows(GRANTS) == [(2,)])


async def test_a_room_belongs_to_one_lesson_while_another_still_fills_its_recording(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "first", now - 40 * MINUTE, now + MINUTE)
    schedule(box, "second", now + 5 * MINUTE, now + 45 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"first", "second"})
        await until(lambda: desk.lessons.rooms.is_on_stage("101", LessonId("first")))
        assert desk.view("101").lesson == "first"
        box.district.clock.ms += 2 * MINUTE
        await until(lambda: desk.lessons.rooms.is_on_stage("101", LessonId("second")))
        assert desk.held() == {"first", "second"}


async def test_a_lesson_that_began_while_another_had_the_room_is_played_once_it_has_it(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = box.now_ms
    schedule(box, "first", now - 40 * MINUTE, now + MINUTE)
    schedule(box, "second", now + MINUTE, now + 45 * MINUTE)
    played: list[StreamItem] = []
    monkeypatch.setattr(FanOut, "publish", lambda _, item: played.append(item))
    init = StreamItem(
        take=TakeId(b"take-two"),
        kind=Kind.INIT,
        track=PICTURE,
        number=0,
        keyframe=False,
        capture_ms=now,
        decode_us=0,
        data=b"init",
    )
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"first", "second"})
        await until(lambda: desk.lessons.rooms.is_on_stage("101", LessonId("first")))
        desk.lessons._held[LessonId("second")].run._publish(init)
        assert not played
        box.district.clock.ms += MINUTE
        await until(lambda: played == [init])


async def test_a_disk_that_takes_no_event_is_told_to_the_teacher(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> TakeStore:
        raise FragmentStoreError("the disk does not take the lesson; free space")

    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        run = desk.lessons._held[LessonId("a1")].run
        assert isinstance(run, FlagshipRun)
        await until(lambda: run._publisher is not None)
        monkeypatch.setattr(LessonShelf, "take", refuse)
        with pytest.raises(NotNowError, match="free space"):
            run.tell(Chapter(title="一"))


async def test_a_room_speaks_of_a_lesson_that_is_over_for_ten_minutes(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now - 40 * MINUTE, now - MINUTE)
    box.plant("lesson_minutes", {"school": 17, "lesson": "a1", "live_s": 2400})
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.state("101") is LessonState.ARCHIVED)
        box.district.clock.ms += SHOW_AFTER_MS
        assert desk.state("101") is None


@pytest.mark.parametrize("room", ["no such room", "", "../101", "x" * 5000, "三年级 2班%20"])
async def test_a_stream_is_opened_for_rooms_of_the_school_alone(
    box: Box, tmp_path: Path, room: str
) -> None:
    box.plant("room", {"school": 17, "room": "三年级&2班?", "name": "三年级2班"})
    async with lesson_desk(box, tmp_path) as desk, streams(desk) as url:
        async with aiohttp.ClientSession() as http:
            async with http.get(url, params={"room": room}) as refused:
                assert refused.status == 404
            async with http.ws_connect(url, params={"room": "三年级&2班?"}) as socket:
                assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
        assert set(desk.lessons.rooms._rooms) == {"三年级&2班?"}


async def test_a_lesson_that_cannot_be_held_does_not_stop_another(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    folder = box.folder / "lessons"
    folder.mkdir()
    (folder / "broken").write_text("a file where a folder belongs")
    schedule(box, "broken", now - MINUTE, now + 40 * MINUTE)
    schedule(box, "sound", now - MINUTE, now + 40 * MINUTE, rooms={17: ("receiver", "102")})
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"broken", "sound"})
        await asyncio.sleep(0.5)
        assert "sound" in desk.held()


async def test_a_teachers_word_is_kept_through_a_restart_and_shown_at_once(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        await told(lambda: desk.lessons.teacher.extend("101", 10))
        await until(lambda: desk.view("101").ends_ms == now + 50 * MINUTE)
    assert box.rows("SELECT school, lesson, ends_ms FROM lesson_order") == [
        (17, "a1", now + 50 * MINUTE)
    ]
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.state("101") is not None)
        assert desk.view("101").ends_ms == now + 50 * MINUTE


async def test_a_lesson_put_off_by_its_teacher_stays_prepared(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now + MINUTE, now + 41 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        for _ in range(3):
            await told(lambda: desk.lessons.teacher.put_off("101", 10))
        await until(lambda: desk.view("101").starts_ms == now + 31 * MINUTE)
        await asyncio.sleep(0.3)
        assert desk.held() == {"a1"}
        assert desk.state("101") is LessonState.PREPARING
        box.district.clock.ms += 32 * MINUTE
        with pytest.raises(NotNowError):
            await desk.lessons.teacher.put_off("101", 10)


async def test_a_lesson_stopped_by_its_teacher_is_over_for_the_room(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now - 5 * MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        await told(lambda: desk.lessons.teacher.stop("101"))
        await until(lambda: desk.state("101") is LessonState.CATCHING_UP)
        assert box.rows("SELECT stopped, ends_ms FROM lesson_order") == [(1, now)]


async def test_a_lesson_is_not_made_longer_than_its_room_is_free(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    schedule(box, "b2", now + 55 * MINUTE, now + 95 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"a1"})
        await told(lambda: desk.lessons.teacher.extend("101", 10))
        with pytest.raises(NotNowError, match="next lesson in this room"):
            await desk.lessons.teacher.extend("101", 10)
        await told(lambda: desk.lessons.teacher.stop("101"))


async def test_the_code_for_the_remote_is_shown_in_the_room_that_gives_the_lesson_alone(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "given", now - MINUTE, now + 40 * MINUTE)
    schedule(
        box,
        "taken",
        now - MINUTE,
        now + 40 * MINUTE,
        rooms={18: ("flagship", "201"), 17: ("receiver", "102")},
    )
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.held() == {"given", "taken"})
        assert len(desk.view("101").teacher_code) == 6
        assert desk.view("102").teacher_code == ""
        assert desk.lessons.teacher.lesson("102") is None
        with pytest.raises(NotNowError, match="gives no lesson"):
            await desk.lessons.teacher.stop("102")


async def test_what_fails_before_the_bell_is_a_repair_of_the_box_until_the_bell(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: bool(desk.lessons.lesson_checks()))
        found = {(each.room, each.check.item.value) for each in desk.lessons.lesson_checks()}
        assert {("101", "camera"), ("101", "line"), ("101", "key")} <= found
        assert {check.item for check in desk.view("101").preflight} >= {"camera", "line"}
        box.district.clock.ms += 2 * MINUTE
        assert desk.lessons.lesson_checks() == []


async def test_what_is_shown_beside_the_teacher_is_tried_before_the_bell(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        for name in ("front", "desk"):
            device = DeviceId(f"onvif:serial:{name}")
            desk.fleet.add(adopted_camera(device, "http://127.0.0.1:9/onvif", name=name))
            host = f"127.0.0.1:{free_port()}"
            desk.fleet.cameras.camera(device).description = described_camera(name, host)
        await until(lambda: Item.CAMERA in desk.failing())
        assert Item.DOCUMENT not in desk.failing(), "nobody said that there is one"
        await desk.fleet.command(device, "shows", "document")
        await until(lambda: Item.DOCUMENT in desk.failing())
        assert Item.BOARD_PICTURE not in desk.failing()


async def test_a_recording_that_could_not_stand_in_is_told_before_the_bell(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    rooms = {18: ("flagship", "201"), 17: ("receiver", "101")}
    schedule(box, "a1", now + MINUTE, now + 40 * MINUTE, rooms, substitute="earlier")
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: Item.STAND_IN in desk.failing())
        schedule(box, "a1", now + MINUTE, now + 40 * MINUTE, rooms, substitute="")
        await until(lambda: Item.STAND_IN not in desk.failing())


async def test_a_camera_that_does_not_come_is_told_while_the_lesson_runs(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now + MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: bool(desk.lessons.lesson_checks()))
        assert desk.lessons.source_troubles() == [], "before the bell it is one of the checks"
        box.district.clock.ms += 2 * MINUTE
        await until(lambda: bool(desk.lessons.source_troubles()))
        (found,) = desk.lessons.source_troubles()
        assert (found.room, found.trouble.track) == ("101", PICTURE)
        assert "no adopted camera" in found.trouble.fact
        remote = await desk.lessons.teacher.remote("101")
        assert remote is not None
        assert remote.troubles == (found.trouble,)
        box.district.clock.ms += 40 * MINUTE
        await until(lambda: not desk.lessons.source_troubles())


async def test_a_class_whose_page_is_closed_or_silent_is_told_while_its_lesson_is_held(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lesson.classroom.class_pages.FRESH_S", 1.0)
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    schedule(
        box,
        "a1",
        now - MINUTE,
        now + 40 * MINUTE,
        rooms={18: ("flagship", "201"), 17: ("receiver", "101")},
    )
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: bool(desk.lessons.lesson_checks()))
        (found,) = desk.lessons.lesson_checks()
        assert (found.room, found.is_held, found.check.item) == ("101", True, Item.PAGE)
        assert "No classroom page" in found.check.fact
        desk.lessons.note_screen("10.0.0.5", ScreenReport(room="101", sound=False))
        (found,) = desk.lessons.lesson_checks()
        assert "The browser at 10.0.0.5 plays no sound" in found.check.fact
        desk.lessons.note_screen("10.0.0.5", ScreenReport(room="101", frames=9, sound=True))
        assert desk.lessons.lesson_checks() == []
        await until(lambda: bool(desk.lessons.lesson_checks()))  # closed
        box.district.clock.ms += 41 * MINUTE
        assert desk.lessons.lesson_checks() == [], "what is over needs no page"


async def test_a_class_without_its_hub_has_a_plan(box: Box, tmp_path: Path) -> None:
    now = box.now_ms
    box.plant("box_certificate", certificate_row(enrol(box.district, tmp_path / "18", 18)))
    schedule(
        box,
        "a1",
        now - MINUTE,
        now + 40 * MINUTE,
        rooms={18: ("flagship", "201"), 17: ("receiver", "101")},
    )
    async with lesson_desk(box, tmp_path) as desk:
        await until(lambda: desk.state("101") is not None and desk.view("101").plan is not None)
        await until(lambda: desk.view("101").cause == "hub_unreachable")
        plan = desk.view("101").plan
        assert plan is not None
        assert plan.has == ("Nothing of the lesson has come yet.",)
        assert "tries again every two seconds" in plan.gets[0]


async def test_both_ends_go_through_the_same_states_by_the_clock_alone(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    other = new_box(tmp_path, 18, box.district)
    with other.opened():
        pass
    for each in (box, other):
        schedule(each, "a1", now + 15 * MINUTE, now + 55 * MINUTE)
    (tmp_path / "b").mkdir()
    steps = [
        (0, LessonState.SCHEDULED),
        (4, LessonState.SCHEDULED),
        (6, LessonState.PREPARING),
        (14, LessonState.PREPARING),
        (20, LessonState.PREPARING),  # nothing has come, for there is no hub
        (56, LessonState.CATCHING_UP),
        (66, None),
    ]
    async with lesson_desk(box, tmp_path) as flagship, lesson_desk(other, tmp_path / "b") as class_:
        for minute, state in steps:
            box.district.clock.ms = now + minute * MINUTE
            await until(lambda: flagship.state("101") is state and class_.state("201") is state)  # noqa: B023 - awaited here


async def test_a_slide_is_kept_with_its_order_and_shown_by_its_digest(
    box: Box, tmp_path: Path
) -> None:
    now = box.now_ms
    schedule(box, "a1", now - MINUTE, now + 40 * MINUTE)
    async with lesson_desk(box, tmp_path) as desk:
        teacher = desk.lessons.teacher
        await until(lambda: desk.held() == {"a1"})
        await teacher.add_slide("101", "封面", PNG + b"1")
        await teacher.add_slide("101", "", PNG + b"2")
        with pytest.raises(SetupError, match="no PNG"):
            await teacher.add_slide("101", "x", b"MZ")
        await told(lambda: teacher.show_slide("101", 2))
        remote = await teacher.remote("101")
        assert remote is not None
        assert [(each.position, each.title) for each in remote.slides] == [(1, "封面"), (2, "2")]
        assert remote.shown == remote.slides[1]
        assert (remote.before, remote.after) == (remote.slides[0], None)
    assert box.rows("SELECT position, title, media_type FROM resource ORDER BY position") == [
        (1, "封面", "image/png"),
        (2, "2", "image/png"),
    ]


async def told(order: Callable[[], Awaitable[None]]) -> None:
    """Give an order once the lesson can be told of it."""
    async with asyncio.timeout(10):
        while True:
            with suppress(NotNowError):
                await order()
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def streams(desk: LessonDesk) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/classroom/stream", desk.lessons.rooms.serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/classroom/stream"))
