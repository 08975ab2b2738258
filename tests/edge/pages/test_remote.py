"""The teacher's remote: opened by the lesson's code alone, bounded, in two languages."""

from dataclasses import dataclass, field, replace
from io import BytesIO

import pytest
from aiohttp import FormData

from drivers.errors import UnreachableError
from edge.lesson.capture.source_troubles import source_troubles
from edge.lesson.classroom.board import LessonBoard
from edge.lesson.preparing.checks import Check, Fixer, Item, SourceTrouble, Standing
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import LessonStatus, waiting
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import LessonId, TakeId
from sync.lessons.lesson_events import (
    CallOn,
    Chapter,
    LessonEvent,
    Slide,
    Stopped,
    TimedEvent,
    Times,
)
from sync.lessons.tracks import DOCUMENT
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import MINUTE_MS, NOW_MS, SimulatedBox
from tests.edge.planned_lesson import party, planned_lesson

CODE = "123456"
TAKE = TakeId(bytes(8))


@dataclass
class Given:
    """A lesson that is given here, and what was told in it."""

    lesson: ScheduledLesson
    status: LessonStatus = field(default_factory=lambda: waiting(NOW_MS))
    checks: tuple[Check, ...] = ()
    troubles: tuple[SourceTrouble, ...] = ()
    board: LessonBoard = field(default_factory=LessonBoard)
    told: list[LessonEvent] = field(default_factory=list)

    def tell(self, event: LessonEvent) -> None:
        self.told.append(event)
        number = len(self.told)
        self.board.add(TimedEvent(at_ms=NOW_MS + number, take=TAKE, number=number, event=event))
        if isinstance(event, Times):
            self.lesson = replace(self.lesson, starts_ms=event.starts_ms, ends_ms=event.ends_ms)


@pytest.fixture
def given(box: SimulatedBox) -> Given:
    starts_ms, ends_ms = NOW_MS - 5 * MINUTE_MS, NOW_MS + 35 * MINUTE_MS
    mine = party(17, LessonRole.FLAGSHIP, "r301", "301")
    other = party(18, LessonRole.RECEIVER, "r301", "301")
    lesson = Given(planned_lesson(LessonId("a1"), starts_ms, ends_ms, mine, other))
    box.given["r301"] = lesson
    return lesson


async def open_remote(client: Client, code: str = CODE) -> int:
    answer = await client.post("/lesson/remote/open?room=r301", data={"code": code})
    return answer.status


async def test_the_remote_shows_nothing_of_the_lesson_without_its_code(
    client: Client, given: Given
) -> None:
    page = await (await client.get("/lesson/remote?room=r301")).text()
    assert "six digits" in page
    assert "School 18" not in page
    assert CODE not in page
    answer = await client.post("/lesson/remote/stop?room=r301")
    assert answer.status == 403
    assert given.told == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\nno header\r\n\r\n",
        b"--b\r\n" + b"x: y\r\n" * 200 + b"\r\nmore\r\n--b--",
        b'--b\r\nContent-Disposition: form-data; name="photo"\r\n\r\nno end',
        b'--b\r\nContent-Disposition: form-data; name="title"\r\n\r\n\xff\r\n--b--\r\n',
    ],
)
async def test_an_upload_that_is_no_form_is_refused(
    client: Client, given: Given, body: bytes
) -> None:
    await open_remote(client)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await client.post("/lesson/remote/upload?room=r301", data=body, headers=headers)
    assert answer.status == 400
    assert given.told == []


async def test_the_code_opens_the_lesson_once_and_is_shown_no_more(
    client: Client, given: Given, box: SimulatedBox
) -> None:
    assert box.teacher.codes.shown("a1") == CODE
    assert await open_remote(client) == 200
    assert box.teacher.codes.shown("a1") == ""
    page = await (await client.get("/lesson/remote?room=r301")).text()
    assert "School 18" in page
    chinese = {"Accept-Language": "zh-CN"}
    page = await (await client.get("/lesson/remote?room=r301", headers=chinese)).text()
    assert "第18小学" in page
    client.session.cookie_jar.clear()
    assert await open_remote(client) == 403
    assert given.told == []


async def test_codes_are_not_guessed_fast(client: Client, given: Given) -> None:
    del given
    statuses = [await open_remote(client, f"{guess:06}") for guess in range(7)]
    assert statuses[:5] == [403] * 5
    assert statuses[5:] == [429] * 2
    assert await open_remote(client) == 429


async def test_a_code_opens_its_own_lesson_alone(
    client: Client, given: Given, box: SimulatedBox
) -> None:
    await open_remote(client)
    box.given["r302"] = Given(replace(given.lesson, lesson=LessonId("b2")))
    answer = await client.post("/lesson/remote/stop?room=r302")
    assert answer.status == 403


async def test_a_longer_lesson_is_written_down_and_told(
    client: Client, given: Given, box: SimulatedBox
) -> None:
    await open_remote(client)
    ends_ms = given.lesson.ends_ms
    answer = await client.post("/lesson/remote/longer?room=r301", data={"minutes": "10"})
    assert answer.status == 200
    assert given.told == [Times(starts_ms=given.lesson.starts_ms, ends_ms=ends_ms + 10 * MINUTE_MS)]
    with box.connect() as store:
        (row,) = store.execute("SELECT lesson, planned_ends_ms, ends_ms FROM lesson_order")
    assert tuple(row) == ("a1", ends_ms, ends_ms + 10 * MINUTE_MS)


@pytest.mark.parametrize("minutes", ["0", "-5", "31", "1000000", "x", ""])
async def test_a_step_has_bounds(client: Client, given: Given, minutes: str) -> None:
    await open_remote(client)
    answer = await client.post("/lesson/remote/longer?room=r301", data={"minutes": minutes})
    assert answer.status == 400
    assert given.told == []


async def test_many_steps_do_not_go_beyond_an_hour_and_a_half(client: Client, given: Given) -> None:
    await open_remote(client)
    statuses = [
        (await client.post("/lesson/remote/longer?room=r301", data={"minutes": "30"})).status
        for _ in range(4)
    ]
    assert statuses == [200, 200, 200, 409]
    assert given.lesson.ends_ms == given.lesson.planned.ends_ms + 90 * MINUTE_MS


async def test_a_lesson_that_runs_is_not_put_off_and_one_to_come_not_stopped(
    client: Client, given: Given, box: SimulatedBox
) -> None:
    await open_remote(client)
    assert (
        await client.post("/lesson/remote/later?room=r301", data={"minutes": "5"})
    ).status == 409
    box.clock_ms = given.lesson.starts_ms - MINUTE_MS
    assert (await client.post("/lesson/remote/stop?room=r301")).status == 409
    answer = await client.post("/lesson/remote/later?room=r301", data={"minutes": "5"})
    assert answer.status == 200
    assert given.lesson.starts_ms == given.lesson.planned.starts_ms + 5 * MINUTE_MS


async def test_stopping_ends_the_lesson_for_all(client: Client, given: Given) -> None:
    await open_remote(client)
    await client.post("/lesson/remote/stop?room=r301")
    assert given.told == [Stopped(), Times(starts_ms=given.lesson.starts_ms, ends_ms=NOW_MS)]


async def test_a_class_is_called_on_given_the_stage_and_sent_back(
    client: Client, given: Given
) -> None:
    await open_remote(client)
    for form in ({"school": "18"}, {"stage": "18"}, {"school": "0"}):
        assert (await client.post("/lesson/remote/call?room=r301", data=form)).status == 200
    assert given.told == [
        CallOn(school=18),
        CallOn(school=18, stage=True),
        CallOn(school=0),
    ]
    answer = await client.post("/lesson/remote/call?room=r301", data={"school": "99"})
    assert answer.status == 409


async def test_a_chapter_is_marked_and_no_slide_is_shown_that_is_not_there(
    client: Client, given: Given
) -> None:
    await open_remote(client)
    await client.post("/lesson/remote/chapter?room=r301", data={"title": "例题"})
    answer = await client.post("/lesson/remote/slide?room=r301", data={"position": "3"})
    assert answer.status == 409
    await client.post("/lesson/remote/slide?room=r301", data={"position": "0"})
    assert given.told == [Chapter(title="例题"), Slide(digest="")]


async def test_what_fails_before_the_bell_is_said_with_its_remedy_and_who_applies_it(
    client: Client, given: Given, box: SimulatedBox
) -> None:
    given.checks = (
        Check(
            item=Item.SOUND,
            state=Standing.WARN,
            fact="The camera sends no sound.",
            remedy="Switch its microphone on in the camera's settings, or plug one in.",
            who=Fixer.IT,
        ),
    )
    box.clock_ms = given.lesson.starts_ms - MINUTE_MS
    box.lessons["r301"] = replace(
        box.lessons["r301"], starts_ms=given.lesson.starts_ms, ends_ms=given.lesson.ends_ms
    )
    await open_remote(client)
    english = await (await client.get("/lesson/remote?room=r301&lang=en")).text()
    assert "The camera sends no sound." in english
    chinese = await (await client.get("/lesson/remote?room=r301&lang=zh-CN")).text()
    assert "The camera sends no sound." not in chinese
    assert "本校信息技术人员" in chinese


async def test_a_source_that_does_not_come_is_said_to_teacher_and_staff_while_the_lesson_runs(
    client: Client, given: Given
) -> None:
    away = UnreachableError("camera 192.0.2.7 does not answer; check its power and network")
    given.troubles = source_troubles({DOCUMENT: away})
    assert "192.0.2.7 does not" not in await (await client.get("/lesson/remote?room=r301")).text()
    await open_remote(client)
    for page in ("/lesson/remote?room=r301&", "/?"):
        english = await (await client.get(f"{page}lang=en")).text()
        assert "document camera" in english
        assert str(away) in english
        assert "Check the camera&#39;s power and its network cable." in english
        chinese = await (await client.get(f"{page}lang=zh-CN")).text()
        assert "实物展台" in chinese
        assert "192.0.2.7 does not answer" not in chinese
        assert "请检查摄像机的电源和网线" in chinese
        given.troubles = ()
        assert "192.0.2.7" not in await (await client.get(f"{page}lang=en")).text()
        given.troubles = source_troubles({DOCUMENT: away})


async def test_a_room_that_gives_no_lesson_says_when_the_remote_opens(client: Client) -> None:
    page = await (await client.get("/lesson/remote?room=r302")).text()
    assert "ten minutes before" in page
    assert (await client.post("/lesson/remote/open?room=r302", data={"code": CODE})).status == 409


async def test_slides_are_added_shown_in_order_and_taken_away(client: Client, given: Given) -> None:
    await open_remote(client)
    for title in ("封面", "例题"):
        form = FormData()
        form.add_field("title", title)
        form.add_field("photo", b"\x89PNG" + title.encode() + bytes(200_000), filename="s.png")
        answer = await client.post("/lesson/remote/upload?room=r301", data=form)
        assert answer.status == 200
    for position in ("1", "2", "0"):
        await client.post("/lesson/remote/slide?room=r301", data={"position": position})
    shown = [each for each in given.told if isinstance(each, Slide)]
    assert [(each.position, each.title) for each in shown] == [(1, "封面"), (2, "例题"), (0, "")]
    assert shown[0].digest != shown[1].digest
    page = await (await client.get("/lesson/remote?room=r301&lang=en")).text()
    assert "No slide is shown." in page


async def test_a_slide_has_a_bound_and_wants_the_code(client: Client, given: Given) -> None:
    def form(count: int) -> FormData:
        made = FormData()
        made.add_field("photo", BytesIO(bytes(count)), filename="s.png")
        return made

    answer = await client.post("/lesson/remote/upload?room=r301", data=form(100))
    assert answer.status == 403
    await open_remote(client)
    answer = await client.post("/lesson/remote/upload?room=r301", data=form(4 * 1024 * 1024 + 1))
    assert answer.status == 413
    answer = await client.post("/lesson/remote/upload?room=r301", data=form(0))
    assert answer.status == 400
    assert given.told == []
