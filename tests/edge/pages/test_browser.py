"""The pages in Chromium: both languages, live changes, offline, and a lesson without a touch."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from drivers.entities import CommandResult, DeviceId, Outcome
from edge.lesson.classroom.board import AskedQuestion, BoardView, CaptionLine, ShownSlide
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.preparing.checks import LessonPlan
from edge.lesson.status import Cause, LessonStatus, Phase
from edge.lesson.way_back.return_path import AskedByTeacher
from edge.pages.app import build_pages
from edge.pages.box_view import Change, LessonState, Light, Sign
from sync.lessons.lesson_events import Answer, Hand, Help
from tests.edge.pages.simulated_box import NOW_MS, SCHOOL, SETUP_CODE, SimulatedBox, as_view
from tests.hub.running_hub import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY_MS = 24 * 3_600 * 1_000


SLIDE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def give_slide(_: web.Request) -> web.Response:
    return web.Response(body=SLIDE, content_type="image/png")


@pytest_asyncio.fixture(loop_scope="module")
async def fan_out() -> FanOut:
    return FanOut(lambda: NOW_MS)


@pytest_asyncio.fixture(loop_scope="module")
async def server(box: SimulatedBox, fan_out: FanOut) -> AsyncIterator[TestServer]:
    app: web.Application = build_pages(as_view(box))
    app.router.add_get("/classroom/stream", fan_out.serve)
    app.router.add_get("/classroom/materials/{digest}", give_slide)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def open_page(browser: Browser, language: str) -> tuple[Page, list[str]]:
    """Open an empty page and a list of all it will complain of."""
    context = await browser.new_context(locale=language, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    return page, complaints


@pytest.mark.parametrize(
    ("language", "title", "button", "adopted"),
    [
        ("zh-CN", "湖泗小学的设备与数据", "纳管", "已纳管"),
        ("en", "Devices and data of 湖泗小学", "Adopt", "Adopted. It now works for this school."),
    ],
)
async def test_staff_adopt_and_switch_devices_without_leaving_the_page(
    browser: Browser,
    server: TestServer,
    box: SimulatedBox,
    *,
    language: str,
    title: str,
    button: str,
    adopted: str,
) -> None:
    page, complaints = await open_page(browser, language)
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("h1")).to_have_text(title)
    await page.fill("input[name=code]", SETUP_CODE)
    await page.click("#sign-in button")
    await page.evaluate("window.never_reloaded = true")

    candidate = page.locator("#found article").filter(has_text="Air temperature")
    await candidate.locator("summary").click()
    await candidate.get_by_label({"zh-CN": "名称", "en": "Name"}[language]).fill("操场气象")
    await candidate.get_by_role("button", name=button, exact=True).click()
    await expect(page.locator("#tasks .message")).to_contain_text(adopted)
    await expect(page.locator("#devices h3").filter(has_text="操场气象")).to_be_visible()

    box.lights[1] = replace(
        box.lights[1],
        last_command=CommandResult(
            device=DeviceId("pjlink:00:11:22"),
            command="power",
            outcome=Outcome.VERIFIED,
            observed_ms=NOW_MS,
        ),
    )
    projector = page.locator("#devices article").filter(has_text="301 投影机")
    await projector.locator("button[value=on]").click()
    await expect(projector.locator(".light").nth(1)).to_have_text(
        {"zh-CN": "已核实", "en": "verified"}[language]
    )
    assert box.told[-1][:4] == ("command", "pjlink:00:11:22", "power", "on")
    assert await page.evaluate("window.never_reloaded") is True
    assert complaints == []


async def test_a_refused_form_keeps_what_was_typed_and_marks_the_field(
    browser: Browser, server: TestServer
) -> None:
    page, _ = await open_page(browser, "en")
    await page.goto(str(server.make_url("/")))
    await page.fill("input[name=code]", SETUP_CODE)
    await page.click("#sign-in button")

    search = page.locator("form[action='/setup/discover']")
    await search.locator("summary").click()
    await search.locator("input[name=scan]").fill("10.1.2.7/28")
    await search.locator("> button").click()
    await expect(page.locator("#tasks .message")).to_contain_text("is no subnet")
    await expect(search.locator("input[name=scan]")).to_have_value("10.1.2.7/28")

    await page.goto(str(server.make_url("/office")))
    emergency = page.locator("form[action='/office/emergency']")
    await emergency.evaluate("form => { form.noValidate = true; }")
    await emergency.locator("[name=text_en]").fill("Stay inside")
    await emergency.locator("button").click()
    await expect(page.locator(".message.bad")).to_contain_text("field “Text in Chinese”")
    await expect(emergency.locator("[name=text_en]")).to_have_value("Stay inside")
    await expect(emergency.locator("[name=text_zh]")).to_be_focused()
    await expect(emergency.locator("[aria-invalid=true]")).to_have_attribute("name", "text_zh")

    await page.goto(str(server.make_url("/office")))
    await expect(emergency.locator("[name=text_en]")).to_have_value("")


async def test_a_light_changes_while_the_page_is_open_and_ages_count_on(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, complaints = await open_page(browser, "en")
    await page.goto(str(server.make_url("/")))
    camera = page.locator("#devices article").filter(has_text="301 后墙摄像机")
    await expect(camera.locator(".light")).to_have_text("not working")
    age = page.locator("#devices article").filter(has_text="屋顶农场").locator(".evidence time")
    before = await age.first.text_content()
    await expect(age.first).not_to_have_text(before or "")
    await box.listening.wait()
    box.lights[2] = replace(
        box.lights[2], state=Light.GOOD, sign=Sign.ANSWERED, evidence_ms=NOW_MS, detail=""
    )
    box.tell(Change.DEVICES)
    await expect(camera.locator(".light")).to_have_text("working")
    assert complaints == []


async def test_a_page_that_lost_its_box_says_so_and_greys_its_lights(
    browser: Browser, server: TestServer
) -> None:
    page, _ = await open_page(browser, "en")
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("#head .lost")).to_be_hidden()
    await server.close()
    await expect(page.locator("#head .lost")).to_be_visible(timeout=20_000)
    light = page.locator("#devices .light").first
    assert await light.evaluate("light => getComputedStyle(light).filter") == "grayscale(1)"


@pytest.mark.parametrize(
    ("language", "words"),
    [("zh-CN", ["正在上课", "数学", "防溺水提醒"]), ("en", ["Now", "数学", "Water safety"])],
)
async def test_a_tap_appears_on_the_class_card_at_once(
    browser: Browser, server: TestServer, box: SimulatedBox, language: str, words: list[str]
) -> None:
    page, complaints = await open_page(browser, language)
    await page.goto(str(server.make_url("/class-card").with_query(room="r301")))
    for word in words:
        await expect(page.get_by_text(word, exact=True).first).to_be_visible()
    await expect(page.locator("#clock")).to_have_text("09:05")
    await box.listening.wait()
    box.insert("card_tap", at_ms=NOW_MS, person=901, room="r301")
    box.tell(Change.TAPS)
    await expect(page.locator(".taps li").first).to_contain_text("欧阳若琳")
    await expect(page.locator(".taps li").first).to_contain_text("09:05")
    assert complaints == []


async def test_the_class_card_goes_on_without_the_box_into_the_next_day(
    browser: Browser, server: TestServer
) -> None:
    page, _ = await open_page(browser, "en")
    await page.add_init_script(
        "const real = Date.now; Date.now = () => real() + Number(sessionStorage.getItem('ahead'))"
    )
    await page.goto(str(server.make_url("/class-card").with_query(room="r301")))
    await wait_until_kept(page)
    await server.close()
    await page.reload()
    await expect(page.locator("#date")).to_have_text("Monday, November 23, 2026")
    await expect(page.locator(".what").first).to_have_text("数学")
    await expect(page.locator(".lost")).to_be_visible(timeout=20_000)

    await page.evaluate(f"sessionStorage.setItem('ahead', {DAY_MS})")
    await expect(page.locator("#date")).to_have_text("Tuesday, November 24, 2026")
    await expect(
        page.locator("#timetable > section:not([hidden]) .slot.current .what")
    ).to_have_text("数学")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "zh-CN",
            ("正在加入课堂", "本节课的内容还没有到。", "画面已降低", "没有画面。", "本节课已结束"),
        ),
        (
            "en",
            (
                "Joining the lesson",
                "Nothing of the lesson has come yet.",
                "picture reduced, sound is safe",
                "The picture is missing.",
                "The lesson is over.",
            ),
        ),
    ],
)
async def test_a_class_joins_and_ends_its_lesson_without_a_touch(
    browser: Browser,
    server: TestServer,
    box: SimulatedBox,
    fan_out: FanOut,
    *,
    language: str,
    words: tuple[str, str, str, str, str],
) -> None:
    joining, nothing, degraded, cause, over = words
    plan = LessonPlan(has=("Nothing of the lesson has come yet.",), gets=())
    box.lessons["r301"] = replace(box.lessons["r301"], plan=plan)
    page, complaints = await open_page(browser, language)
    box.clock_ms = box.lessons["r301"].starts_ms - 3_000
    await page.goto(str(server.make_url("/classroom").with_query(room="r301")))
    await expect(page.locator("#countdown")).to_be_visible()
    await expect(page.get_by_text(joining)).to_be_visible()
    fan_out.show(lesson_status(Phase.WAITING, Cause.HUB_UNREACHABLE))
    await expect(page.get_by_role("listitem").filter(has_text=nothing)).to_be_visible()

    box.clock_ms += 6_000
    box.set_lesson("r301", state=LessonState.LIVE, evidence_ms=box.clock_ms)
    box.tell(Change.LESSON)
    fan_out.show(lesson_status(Phase.LIVE, Cause.NONE))
    strip = page.locator("#strip")
    await expect(strip.locator(".light")).to_have_class("light good")
    fan_out.show(lesson_status(Phase.DEGRADED, Cause.NO_PICTURE))
    await expect(strip.locator(".light")).to_contain_text(degraded)
    await expect(strip.get_by_text(cause)).to_be_visible()
    fan_out.show(lesson_status(Phase.DEGRADED, Cause.NO_SOUND))
    await expect(strip.locator(".light")).not_to_contain_text(degraded)

    box.set_lesson("r301", state=LessonState.DONE, evidence_ms=box.clock_ms)
    box.tell(Change.LESSON)
    await expect(page.get_by_text(over)).to_be_visible()
    await until(lambda: fan_out.viewers == 0)
    assert complaints == []


class ClassSays:
    """A room's way back to the teacher; what is said shows on the room's board."""

    trouble = ""

    def __init__(self, fan_out: FanOut, changed: Callable[[], None] = lambda: None) -> None:
        self.said: list[Hand | Answer | Help] = []
        self._changed = changed
        self.view = BoardView(school=SCHOOL)
        self._fan_out = fan_out

    @property
    def back(self) -> "ClassSays":
        return self

    @property
    def asked(self) -> AskedByTeacher | None:
        question = self.view.question
        if question is None or question.counts is not None:
            return None
        return AskedByTeacher(question=question, choice=self.view.choice)

    def show(self, view: BoardView) -> None:
        self.view = view
        self._fan_out.show_board(view)
        self._changed()

    async def say(self, said: Hand | Answer | Help) -> None:
        self.said.append(said)
        match said:
            case Hand(raised=raised):
                self.show(msgspec.structs.replace(self.view, hand_ms=NOW_MS if raised else None))
            case Help(wanted=wanted):
                self.show(msgspec.structs.replace(self.view, help_ms=NOW_MS if wanted else None))
            case Answer(choice=choice):
                self.show(msgspec.structs.replace(self.view, choice=choice))


async def test_a_class_raises_its_hand_answers_and_reads_along(
    browser: Browser, server: TestServer, box: SimulatedBox, fan_out: FanOut
) -> None:
    page, complaints = await open_page(browser, "en")
    await page.add_init_script(
        "const real = Date.now; Date.now = () => real() + Number(sessionStorage.getItem('ahead'))"
    )
    says = ClassSays(fan_out)
    box.receiving["r301"] = says
    box.clock_ms = box.lessons["r301"].starts_ms + 60_000
    box.set_lesson("r301", state=LessonState.LIVE, evidence_ms=box.clock_ms)
    fan_out.show(lesson_status(Phase.LIVE, Cause.NONE))
    await page.goto(str(server.make_url("/classroom").with_query(room="r301")))

    hand = page.get_by_role("button", name="Raise hand")
    await hand.click()
    up = page.get_by_role("button", name="Hand is up")
    await expect(up).to_have_attribute("aria-pressed", "true")
    await page.get_by_role("button", name="Call for help").click()
    await expect(page.get_by_role("button", name="Help is called")).to_be_visible()
    assert says.said == [Hand(raised=True), Help(wanted=True)]

    asked = AskedQuestion(
        question="q1",
        text="Three times four?",
        choices=("7", "12"),
        asked_ms=box.clock_ms,
        counts=None,
    )
    says.show(msgspec.structs.replace(says.view, question=asked))
    await page.get_by_role("button", name="12", exact=True).click()
    await expect(page.locator("#question")).to_be_hidden()
    assert says.said[-1] == Answer(question="q1", choice=1)
    await page.get_by_role("button", name="Quick answer").click()
    chosen = page.get_by_role("button", name="12", exact=True)
    await expect(chosen).to_have_attribute("aria-pressed", "true")
    closed = msgspec.structs.replace(asked, counts=(3, 21))
    says.show(msgspec.structs.replace(says.view, question=closed))
    await expect(page.locator("#choices .bar-line").nth(1)).to_contain_text("21")
    await expect(page.get_by_role("button", name="Quick answer")).to_be_disabled()

    lines = tuple(
        CaptionLine(
            language=language,
            from_ms=box.clock_ms - 1000,
            until_ms=box.clock_ms + 60_000,
            text=text,
        )
        for language, text in (("zh-CN", "三乘四"), ("en", "Three times four"))
    )
    says.show(BoardView(school=SCHOOL, called=SCHOOL, captions=lines))
    await expect(page.locator("#captions")).to_have_text("Three times four")
    await expect(page.locator("#called")).to_be_visible()
    await page.get_by_role("button", name="Captions").click()
    await expect(page.locator("#captions")).to_be_hidden()
    await page.reload()
    await expect(page.locator("#caption-switch")).to_have_attribute("aria-pressed", "false")

    first, second = (
        ShownSlide(digest=letter * 64, position=place, title="", at_ms=box.clock_ms + at_ms)
        for letter, place, at_ms in (("a", 1, -9000), ("b", 2, 600_000))
    )
    says.show(BoardView(school=SCHOOL, slide=second, slides=(first, second)))
    slide = page.locator("img.player-slide.is-large")
    await expect(slide).to_have_attribute("src", re.compile("a{64}"))
    await page.evaluate("sessionStorage.setItem('ahead', 700_000)")
    await expect(slide).to_have_attribute("src", re.compile("b{64}"))

    del box.receiving["r301"]
    await hand.click()
    await expect(page.get_by_role("alert")).to_contain_text("no lesson comes to this room now")
    assert [each for each in complaints if "409" not in each] == []


async def wait_until_kept(page: Page) -> None:
    """Wait for the service worker to have stored everything the card needs."""
    wanted = {
        "/class-card",
        "/class-card/taps",
        "/static/class_card.js",
        "/static/class_card.css",
        "/static/card_taps.js",
        "/static/live.js",
        "/static/schoolnode.css",
    }
    async with asyncio.timeout(20):
        while True:
            kept = await page.evaluate(
                """async () => {
                    const paths = [];
                    for (const name of await caches.keys()) {
                        const cache = await caches.open(name);
                        for (const one of await cache.keys()) {
                            paths.push(new URL(one.url).pathname);
                        }
                    }
                    return paths;
                }"""
            )
            if wanted <= set(kept):
                return
            await asyncio.sleep(0.1)


def lesson_status(phase: Phase, cause: Cause) -> LessonStatus:
    return LessonStatus(
        phase=phase,
        cause=cause,
        at_ms=NOW_MS,
        connected=True,
        sound_age_ms=40,
        picture_age_ms=None,
        missing=0,
    )
