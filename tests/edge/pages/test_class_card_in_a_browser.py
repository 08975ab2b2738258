"""The class card in Chromium: emergencies confirmed, taps kept offline, exams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, expect

from edge.attendance.rules import MINUTE_MS
from edge.class_cards.messages import MessageKind
from edge.class_cards.office import TAP_DAYS
from edge.class_cards.screen_health import ScreenHealth, ScreenTrouble
from edge.class_cards.screens import LostTaps
from edge.lesson.classroom.board import AskedQuestion
from edge.lesson.classroom.fan_out import FanOut
from edge.pages.app import build_pages
from edge.pages.assets import STATIC
from edge.pages.box_view import Change, LessonState
from sync.lessons.lesson_events import Answer
from tests.drivers.serial_bench import until
from tests.edge.pages.simulated_box import DAY_MS, NOW_MS, SimulatedBox, as_view
from tests.edge.pages.test_browser import ClassSays, open_page, wait_until_kept

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Line:
    """Between screens and box; while it is cut the box hangs up on whoever calls.

    Chromium alone is not enough: a page that is loaded anew may call before it is set offline.
    """

    def __init__(self) -> None:
        self.is_cut = False

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.is_cut and request.transport is not None:
            request.transport.abort()
            return web.Response()
        return await handler(request)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest_asyncio.fixture(loop_scope="module")
async def server(box: SimulatedBox, line: Line) -> AsyncIterator[TestServer]:
    app: web.Application = build_pages(as_view(box))
    app.middlewares.insert(0, line.guard)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def open_screen(
    browser: Browser,
    server: TestServer,
    box: SimulatedBox,
    language: str = "en",
    *,
    kept_max: int | None = None,
    is_talkative: bool = False,
) -> tuple[Page, list[str]]:
    """Open a screen, pair it as a person does, and wait for its card.

    ``kept_max``: how many taps it can keep, if fewer than in schools; to fill those takes minutes.
    ``is_talkative``: it says several times a second how it is.
    """
    page, complaints = await open_page(browser, language)
    if kept_max is not None:
        source = (STATIC / "card_taps.js").read_text()
        assert "KEPT_MAX = 240000" in source
        smaller = source.replace("KEPT_MAX = 240000", f"KEPT_MAX = {kept_max}")
        await page.route("**/card_taps.js*", lambda route: route.fulfill(body=smaller))
    if is_talkative:
        source = (STATIC / "card_health.js").read_text()
        for usual, quicker in (
            ("FIRST_MS = 4000", 0),
            ("EVERY_MS = 60000", 250),
            ("FRAME_MS = 2000", 200),
        ):
            assert usual in source
            source = source.replace(usual, f"{usual.partition('=')[0]}= {quicker}")
        await page.route("**/card_health.js*", lambda route: route.fulfill(body=source))
    await page.goto(str(server.make_url("/class-card/pair")))
    shown = await page.locator(".code").text_content()
    code = "".join((shown or "").split())
    await box.cards.screens.pair(code, room="r301", name="301", who="test")
    await page.wait_for_url("**/class-card")
    await expect(page.locator("#clock")).to_have_text("09:05")
    return page, complaints


def taps_of(box: SimulatedBox) -> list[tuple[int, str | None]]:
    with box.connect() as connection:
        rows = connection.execute(
            "SELECT at_ms, card FROM card_tap WHERE device LIKE 'screen-%' ORDER BY at_ms"
        ).fetchall()
    return [(row[0], row[1]) for row in rows]


async def until_taps(box: SimulatedBox, count: int) -> list[tuple[int, str | None]]:
    await until(lambda: len(taps_of(box)) >= count)
    return taps_of(box)


async def test_a_class_answers_its_teacher_by_a_touch_on_its_card(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, complaints = await open_screen(browser, server, box)
    await box.listening.wait()
    says = ClassSays(FanOut(box.now_ms), lambda: box.tell(Change.LESSON))
    box.receiving["r301"] = says
    box.set_lesson("r301", state=LessonState.LIVE, evidence_ms=NOW_MS)
    asked = AskedQuestion(
        question="q1", text="三乘四", choices=("7", "12"), asked_ms=NOW_MS, counts=None
    )
    await expect(page.locator("#question .question")).to_have_count(0)
    says.show(msgspec.structs.replace(says.view, question=asked))

    twelve = page.get_by_role("button", name="12", exact=True)
    await twelve.click()
    await expect(twelve).to_have_attribute("aria-pressed", "true")
    assert says.said == [Answer(question="q1", choice=1)]
    await page.get_by_role("button", name="7", exact=True).click()
    await expect(twelve).to_have_attribute("aria-pressed", "false")
    assert says.said[-1] == Answer(question="q1", choice=0)

    closed = msgspec.structs.replace(asked, counts=(3, 21))
    says.show(msgspec.structs.replace(says.view, question=closed))
    await expect(twelve).to_have_count(0)
    assert complaints == []


async def test_a_touch_that_reaches_nobody_is_said_on_the_card_and_a_stale_question_goes(
    browser: Browser, server: TestServer, box: SimulatedBox, line: Line
) -> None:
    page, _ = await open_screen(browser, server, box)
    await box.listening.wait()
    says = ClassSays(FanOut(box.now_ms), lambda: box.tell(Change.LESSON))
    box.receiving["r301"] = says
    box.set_lesson("r301", state=LessonState.LIVE, evidence_ms=NOW_MS)
    asked = AskedQuestion(question="q1", text="?", choices=("A", "B"), asked_ms=NOW_MS, counts=None)
    says.show(msgspec.structs.replace(says.view, question=asked))
    button = page.get_by_role("button", name="B", exact=True)
    await expect(button).to_be_visible()
    line.is_cut = True
    await button.click()
    await expect(page.locator("#question-trouble")).to_have_text(
        "That did not arrive. Touch it again."
    )
    line.is_cut = False
    del box.receiving["r301"]
    await button.click()
    await expect(page.locator("#question-trouble")).to_have_text(
        "no lesson comes to this room now; nobody hears it"
    )
    lasts_ms = box.lessons["r301"].ends_ms - NOW_MS
    await page.evaluate(
        "ms => { const real = Date.now; Date.now = () => real() + ms }", lasts_ms + 60_000
    )
    await expect(button).to_be_hidden()


@pytest.mark.parametrize(("language", "word"), [("zh-CN", "紧急通知"), ("en", "Emergency")])
async def test_an_emergency_covers_the_screen_and_the_screen_confirms_what_it_painted(
    browser: Browser, server: TestServer, box: SimulatedBox, language: str, word: str
) -> None:
    page, complaints = await open_screen(browser, server, box, language)
    await box.listening.wait()
    message = await box.cards.messages.raise_emergency(
        "到操场集合", "To the yard", room=None, who="t"
    )
    cover = page.locator(".emergency")
    await expect(cover.locator("h2")).to_have_text(word)
    assert await cover.evaluate("""cover => {
      const box = cover.getBoundingClientRect();
      return box.width === innerWidth && box.height === innerHeight;
    }""")
    await until(lambda: _receipts(box) != [])
    assert _receipts(box) == [(message.message, box.cards.screens.all()[0].screen)]
    box.clock_ms += 1
    await box.cards.messages.withdraw(message, "t")
    await expect(cover).to_have_count(0)
    assert complaints == []


async def test_a_screen_that_was_dark_shows_and_confirms_the_emergency_when_it_wakes(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, _ = await open_screen(browser, server, box)
    await page.goto("about:blank")
    await box.cards.messages.raise_emergency("集合", "", room="r301", who="t")
    await page.goto(str(server.make_url("/class-card")))
    await expect(page.locator(".emergency")).to_be_visible()
    await until(lambda: _receipts(box) != [])


async def test_a_wedge_reader_and_the_players_bridge_tap_cards_and_slow_typing_does_not(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, complaints = await open_screen(browser, server, box)
    box.cards_of["0012345678"] = 902
    await page.keyboard.type("0012345678")
    await page.keyboard.press("Enter")
    await expect(page.locator(".taps li").first).to_contain_text("李明")
    assert await page.evaluate("schoolnode.tap('6f007b3972')") is True
    assert await page.evaluate("schoolnode.tap('<b>')") is False
    await page.keyboard.type("188,48059")  # facility and number: 0xBCBBBB
    await page.keyboard.press("Enter")
    await page.keyboard.type("12345", delay=150)
    await page.keyboard.press("Enter")
    assert await page.evaluate("schoolnode.tap('AABBCCDD')") is True
    taps = await until_taps(box, 4)
    assert {card for _, card in taps} == {
        None, "0008075634", f"{0xBCBBBB:010}", f"{0xAABBCCDD:010}",
    }  # fmt: skip
    assert complaints == []


async def test_taps_of_a_cut_network_survive_a_reload_and_come_once(
    browser: Browser, server: TestServer, box: SimulatedBox, line: Line
) -> None:
    page, _ = await open_screen(browser, server, box)
    await wait_until_kept(page)
    line.is_cut = True
    await page.context.set_offline(True)
    assert await page.evaluate("schoolnode.tap('AABBCC01')") is True
    await expect(page.locator("#waiting")).to_contain_text("1")
    await page.reload()
    await expect(page.locator("#waiting")).to_contain_text("1")
    assert await page.evaluate("schoolnode.tap('AABBCC02')") is True
    await expect(page.locator("#waiting")).to_contain_text("2")
    assert taps_of(box) == []
    line.is_cut = False
    await page.context.set_offline(False)
    taps = await until_taps(box, 2)
    await expect(page.locator("#waiting")).to_be_hidden()
    assert [card for _, card in taps] == [f"{0xAABBCC01:010}", f"{0xAABBCC02:010}"]
    assert all(abs(at_ms - NOW_MS) < 10 * MINUTE_MS for at_ms, _ in taps)


@pytest.mark.parametrize(
    ("language", "full", "lost"),
    [
        ("zh-CN", "本屏已存满", "本屏未能记录的刷卡\N{FULLWIDTH COLON}2"),
        ("en", "NOT recorded", "taps that could not be recorded here: 2"),
    ],
)
async def test_a_card_that_is_full_takes_no_tap_says_so_and_tells_the_box_how_many(
    browser: Browser,
    server: TestServer,
    box: SimulatedBox,
    line: Line,
    *,
    language: str,
    full: str,
    lost: str,
) -> None:
    page, _ = await open_screen(browser, server, box, language, kept_max=3)
    trouble = page.locator("#tap-trouble")
    line.is_cut = True
    await page.context.set_offline(True)
    taps = "[1, 2, 3, 4].map((each) => schoolnode.tap('AABBCC0' + each))"
    assert await page.evaluate(taps) == [True, True, True, False]
    await page.keyboard.type("0012345678")
    await page.keyboard.press("Enter")
    await expect(page.locator("#waiting")).to_contain_text("3")
    await expect(trouble).to_contain_text(full)
    await expect(trouble).to_contain_text(lost)
    line.is_cut = False
    await page.context.set_offline(False)
    await until(lambda: box.cards.screens.all()[0].lost == LostTaps(full=2))
    await expect(trouble).to_have_text(lost)
    assert len(await until_taps(box, 3)) == 3
    assert await page.evaluate("schoolnode.tap('AABBCC05')") is True
    await until_taps(box, 4)


async def test_a_card_without_a_database_says_which_taps_reached_nobody(
    browser: Browser, server: TestServer, box: SimulatedBox, line: Line
) -> None:
    page, _ = await open_screen(browser, server, box)
    await page.add_init_script("indexedDB.open = () => { throw new Error('private'); };")
    await page.reload()
    await page.evaluate("schoolnode.tap('AABBCC01')")
    await until_taps(box, 1)
    line.is_cut = True
    await page.evaluate("schoolnode.tap('AABBCC02')")
    await expect(page.locator("#tap-trouble")).to_contain_text("recorded here: 1")


async def test_a_tap_of_thirty_days_ago_counts_and_one_that_is_too_old_is_dropped_and_told(
    browser: Browser, server: TestServer, box: SimulatedBox, line: Line
) -> None:
    page, complaints = await open_screen(browser, server, box)
    for days, card in ((30, "AABBCC01"), (9, "AABBCC02")):
        line.is_cut = True
        await page.context.set_offline(True)
        await page.evaluate(f"schoolnode.tap('{card}')")
        await expect(page.locator("#waiting")).to_contain_text("1")
        box.clock_ms += days * DAY_MS
        line.is_cut = False
        await page.context.set_offline(False)
        await expect(page.locator("#waiting")).to_be_hidden()
    trouble = page.locator("#tap-trouble")
    await expect(trouble).to_have_text(f"taps the box refused, older than {TAP_DAYS} days: 1")
    ((at_ms, counted),) = taps_of(box)
    assert abs(at_ms - NOW_MS) < 10 * MINUTE_MS
    assert counted == f"{0xAABBCC01:010}"
    await until(lambda: box.cards.screens.all()[0].lost == LostTaps(too_old=1))
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in complaints)


async def test_after_thirty_days_without_the_box_the_card_knows_the_day_its_duty_and_its_notice(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    day_30 = "2026-12-23"
    box.insert("duty", class_group="g3c1", day=day_30, person=902)
    box.insert(
        "timetable_slot",
        slot="far",
        class_group="g3c1",
        room="r301",
        subject="劳动",
        teacher="王老师",
        starts_ms=NOW_MS + 30 * DAY_MS - 10 * MINUTE_MS,
        ends_ms=NOW_MS + 30 * DAY_MS + 30 * MINUTE_MS,
    )
    await box.cards.messages.publish(
        MessageKind.NOTICE,
        "领取成绩单",
        "Reports are handed out",
        room="r301",
        from_ms=NOW_MS + 29 * DAY_MS,
        until_ms=NOW_MS + 31 * DAY_MS,
        who="t",
    )
    page, _ = await open_screen(browser, server, box)
    await page.add_init_script(
        "const real = Date.now; Date.now = () => real() + Number(sessionStorage.getItem('ahead'))"
    )
    await wait_until_kept(page)
    await page.context.set_offline(True)
    await page.evaluate(f"sessionStorage.setItem('ahead', {30 * DAY_MS})")
    await page.reload()
    await expect(page.locator("#date")).to_have_text("Wednesday, December 23, 2026")
    await expect(page.locator("#now .what")).to_have_text("劳动")
    await expect(page.locator("#timetable > section:not([hidden]) .roles")).to_contain_text("李明")
    await expect(page.get_by_text("Reports are handed out")).to_be_visible()
    await expect(page.get_by_text("Water safety")).to_be_hidden()


async def test_an_exam_begins_and_ends_on_the_screen_by_itself(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    await box.cards.messages.publish(
        MessageKind.EXAM,
        "期中数学",
        "Mathematics",
        room=None,
        from_ms=NOW_MS + 10 * MINUTE_MS,
        until_ms=NOW_MS + 20 * MINUTE_MS,
        who="t",
    )
    page, complaints = await open_page(browser, "en")
    await page.add_init_script(
        "const real = Date.now; Date.now = () => real() + Number(sessionStorage.getItem('ahead'))"
    )
    await page.goto(str(server.make_url("/class-card").with_query(room="r301")))
    await expect(page.locator("#timetable")).to_be_visible()
    await page.evaluate(f"sessionStorage.setItem('ahead', {12 * MINUTE_MS})")
    await expect(page.locator("#exam .what")).to_be_visible()
    for other in ("#timetable", "#taps", "#notices", "#now"):
        await expect(page.locator(other)).to_be_hidden()
    await page.evaluate(f"sessionStorage.setItem('ahead', {25 * MINUTE_MS})")
    await expect(page.locator("#timetable")).to_be_visible()
    await expect(page.locator("#exam .what")).to_be_hidden()
    assert complaints == []


async def test_a_revoked_screen_lets_go_of_its_room(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, _ = await open_screen(browser, server, box)
    await box.listening.wait()
    (screen,) = box.cards.screens.all()
    await box.cards.screens.revoke(screen.screen, "t")
    await expect(page.get_by_text("Which room is this screen in?")).to_be_visible()


def _receipts(box: SimulatedBox) -> list[tuple[str, str]]:
    with box.connect() as connection:
        rows = connection.execute("SELECT message, screen FROM card_receipt").fetchall()
    return [(row[0], row[1]) for row in rows]


async def test_a_screen_says_how_it_is_and_where_a_script_fails_but_not_what_it_said(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, _ = await open_screen(browser, server, box, is_talkative=True)

    def health() -> ScreenHealth:
        return box.cards.screens.all()[0].health

    await until(lambda: health().browser != "")
    # The page goes by the box's clock; the screen's own is the machine's.
    assert health().troubles == (ScreenTrouble.CLOCK_OFF,)
    assert health().browser.startswith("Chromium ")
    assert (health().data_ms, health().lacks, health().error) == (NOW_MS, (), "")
    for script, told in (
        ("setTimeout(() => { throw new RangeError('张伟'); })", "RangeError"),
        (
            "document.head.appendChild(document.createElement('script')).src = '/static/gone.js'",
            "LoadError gone.js",
        ),
        ("setTimeout(() => { Promise.reject(new EvalError('李明')); })", "EvalError"),
        ("document.getElementById('clock').remove()", "TypeError class_card.js:"),
    ):
        await page.evaluate(script)
        await until(partial(_has_told, box, told))
    assert health().troubles == (ScreenTrouble.ERRORS, ScreenTrouble.CLOCK_OFF)


def _has_told(box: SimulatedBox, error: str) -> bool:
    return box.cards.screens.all()[0].health.error.startswith(error)


async def test_a_page_that_is_not_drawn_says_so(
    browser: Browser, server: TestServer, box: SimulatedBox
) -> None:
    page, _ = await open_screen(browser, server, box, is_talkative=True)
    await until(lambda: box.cards.screens.all()[0].health.browser != "")
    await page.evaluate("window.requestAnimationFrame = function () {}")  # as of a dark panel
    await until(lambda: ScreenTrouble.DARK in (box.cards.screens.all()[0].health.troubles or ()))
