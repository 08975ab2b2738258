"""The staff's pages in Chromium, in both languages: boards, safety, sports and the office.

Each does its main work by clicks, says nothing in another language than the reader's, and is no
wider than a telephone or a desk's screen.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Locator, Page, Route, expect

from drivers.entities import BandReading, DeviceId
from edge.pages.app import build_pages
from edge.pages.box_view import Light, Sign
from edge.safety.circuits import CircuitState
from edge.sports.fitness import STATIONS
from tests.chromium import running_chromium
from tests.drivers.serial_bench import running, until
from tests.edge.adopted_devices import CONTACTS, contact_board, contact_reading
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox, as_view
from tests.edge.pages.test_boards import hang_up_board
from tests.edge.pages.test_browser import open_page

WIDTHS = (390, 1280)
PICTURES = os.environ.get("SCHOOLNODE_PICTURES")
"""A folder to leave pictures of the pages in, for people to look at."""
READ = """() => {
  const said = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const isOption = element.closest("select") !== null;
    if (element.closest("[lang]:not(html), script")) { continue; }
    if (isOption || element.checkVisibility()) { said.push(walk.currentNode.textContent.trim()); }
  }
  for (const element of document.querySelectorAll("[placeholder], [title], [aria-label], [alt]")) {
    for (const name of ["placeholder", "title", "aria-label", "alt"]) {
      said.push(element.getAttribute(name) || "");
    }
  }
  return [document.title, ...said.filter(text => text)];
}"""
WIDE = """() => [...document.querySelectorAll("main *")].filter(element => {
  if (element.closest(".table-wrap") && !element.matches(".table-wrap")) { return false; }
  const box = element.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(element => element.outerHTML.slice(0, 120))"""
CUT = """() => [...document.querySelectorAll("main button, main .light, main h1, main h2, main h3")]
  .filter(element => element.scrollWidth > element.clientWidth + 1 && element.clientWidth)
  .map(element => element.outerHTML.slice(0, 120))"""
PEOPLE = "欧阳若琳 李明 张伟 王老师 李老师 郑老师 吴老师 周老师 语文 数学 美术 音乐 科学 体育"
THINGS = "湖泗小学 三年级1班 门卫室按钮 门卫室模块 咳嗽 请同学们到操场 evening /class-card/pair"
SPACED = (
    "Chen Lan",
    "三楼 301",
    "三楼 302",
    "Board r301",
    "301 投影机",
    "schoolnode roster import",
)
DATA = re.compile("|".join(map(re.escape, (*PEOPLE.split(), *THINGS.split(), *SPACED))))
"""What people entered, or have to type: it stands as it is."""
LATIN = re.compile(r"[A-Za-z]{2,}")
CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+")
AS_IT_IS = {"CSV", "HDMI", "DisplayPort"} | set(LATIN.findall(" ".join(STATIONS)))
"""What is written so in Chinese too: a format, sockets, what a list has to say."""


@dataclass
class Visit:
    """A person of the school's staff at the pages, with the setup code."""

    page: Page
    box: SimulatedBox
    server: TestServer
    language: str
    faults: list[str]

    async def go(self, path: str) -> None:
        await self.page.goto(str(self.server.make_url(path)))

    def word(self, zh: str, en: str) -> str:
        return zh if self.language == "zh-CN" else en

    def button(self, zh: str, en: str) -> Locator:
        return self.page.get_by_role("button", name=self.word(zh, en), exact=True)

    async def sign_in(self) -> None:
        await self.go("/boards")
        await self.look("/boards", "locked")
        await self.page.fill("input[name=code]", SETUP_CODE)
        await self.page.click("#sign-in button")
        await self.page.wait_for_url("**/boards")

    async def look(self, path: str, name: str) -> None:
        """Note what is in another language or does not fit, at each width."""
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": 844})
            where = f"{self.language} {path} {width}"
            wide = "document.documentElement.scrollWidth > innerWidth"
            if await self.page.evaluate(wide):
                self.faults.append(f"{where}: the page scrolls sideways")
            for script, fault in ((WIDE, "sticks out"), (CUT, "is cut")):
                self.faults += [f"{where}: {fault}: {e}" for e in await self.page.evaluate(script)]
            if PICTURES:
                file = f"{path[1:]}-{name}-{self.language}-{width}.png"
                await self.page.screenshot(path=Path(PICTURES) / file, full_page=True)
        strange = LATIN if self.language == "zh-CN" else CHINESE
        for text in await self.page.evaluate(READ):
            found = set(strange.findall(DATA.sub("", text))) - AS_IT_IS
            if found:
                self.faults.append(f"{self.language} {path}: {sorted(found)} in {text!r}")

    async def tell_all_boards(self) -> None:
        page = self.page
        await self.go("/boards")
        await page.locator("button[value='power off']").click()
        await expect(page.locator("#runs .light.bad").first).to_have_text(
            self.word("未成功", "failed")
        )
        await page.fill("form[action='/boards/daily'] [name=name]", "evening")
        await page.fill("form[action='/boards/daily'] [name=rooms]", "r9*")
        await self.button("登记", "Enter").click()
        nobody = self.word("这些教室还没有黑板", "no board in these rooms yet")
        await expect(page.locator("form[action='/boards/forget'] .light")).to_have_text(nobody)
        await page.locator("form[action='/boards/unlock'] button").click()
        again = self.word("重新锁定", "locks again at")
        await expect(page.locator("form[action='/boards/unlock']")).to_contain_text(again)
        await self.look("/boards", "told")
        await page.locator("form[action='/boards/forget'] button").click()
        await expect(page.locator("form[action='/boards/forget']")).to_have_count(0)

    async def answer_an_alarm(self) -> None:
        """Watch a button, see it pressed without a touch, take over, and give the all-clear.

        It is pressed between the page and its stream, when nobody is told of changes.
        """
        page, box, pressed = self.page, self.box, asyncio.Event()

        async def hold(route: Route) -> None:
            await pressed.wait()
            await route.continue_()

        await self.go("/safety")
        await page.route("**/api/events", hold)
        form = page.locator("form[action='/safety/circuit']")
        await form.locator("[name=kind]").select_option("panic")
        await form.locator("[name=name]").fill("门卫室按钮")
        await form.locator("[name=place]").select_option(f"input_1 {CONTACTS}")
        await form.locator("[name=active]").select_option("closed")
        await form.locator("button").click()
        await expect(page.locator("#circuits tbody tr")).to_have_count(1)
        contact(box, "open")
        contact(box, "closed")
        await until(lambda: bool(box.safety.incidents()))
        pressed.set()
        standing = page.locator("#standing article")
        await expect(standing).to_contain_text("门卫室按钮")
        await page.unroute("**/api/events")
        await self.look("/safety", "alarm")
        taking = standing.locator("form[action='/safety/acknowledge']")
        await taking.locator("[name=who]").fill("李老师")
        await taking.locator("button").click()
        await expect(standing.locator("ol")).to_contain_text("李老师")
        contact(box, "open")
        circuit = f"{CONTACTS}/input_1"
        await until(lambda: box.safety.board.state(circuit) is not CircuitState.ACTIVE)
        closing = page.locator("form[action='/safety/close']")
        await closing.locator("[name=who]").fill("李老师")
        await closing.locator("button").click()
        await expect(standing).to_have_count(0)
        await page.locator("main details summary").first.click()
        await expect(page.locator("main details ol").first).to_contain_text("李老师")
        await self.look("/safety", "past")
        await page.locator("#circuits form[action='/safety/remove'] button").click()
        await expect(page.locator("#circuits tbody tr")).to_have_count(0)

    async def teach_with_bands(self) -> None:
        page, box = self.page, self.box
        await self.go("/sports")
        await page.fill("[name=teacher]", "郑老师")
        await page.fill("[name=band_901]", "7")
        await page.fill("[name=band_902]", "8")
        await self.button("开始", "Begin").click()
        tile = page.locator("#going .tile").first
        await expect(tile).to_contain_text("欧阳若琳")
        while await tile.locator(".numeral").text_content() != "143":
            box.clock_ms += 5_000
            beat(box, "7", 143)
            await asyncio.sleep(0.2)
        await page.fill("textarea[name=list]", "card,station,result\n1001,run_50m,8.9\n1001,x,1\n")
        await self.button("导入", "Take").click()
        await expect(page.locator("#fitness tbody tr")).to_have_count(1)
        await expect(page).to_have_url(re.compile(r"/sports$"))  # told of a line, and lives on
        await self.look("/sports", "lesson")
        await page.locator("form[action='/sports/end'] button").click()
        await expect(page.locator("#going article")).to_have_count(0)
        await self.look("/sports", "over")

    async def run_the_day(self) -> None:
        """A finding, the others sound, a lesson swapped, a notice and an emergency."""
        page = self.page
        await self.go("/office")
        form = page.locator("form[action='/office/health']")
        await form.locator("[name=person]").select_option("902")
        await form.locator("[name=temperature_c]").fill("37.9")
        await form.locator("[name=symptoms]").fill("咳嗽")
        await form.locator("button").click()
        found = page.locator("#checks tbody tr").nth(1).locator(".light.bad")
        await expect(found).to_have_text(self.word("有异常", "something found"))
        await expect(page.locator("#well input[type=checkbox]")).to_have_count(2)
        await self.look("/office", "missing")
        await page.locator("#well input[value='903']").uncheck()
        await page.locator("#well button").click()
        await expect(page.locator("#well input[type=checkbox]")).to_have_count(1)
        await expect(page.locator("#checks thead")).to_contain_text(
            self.word("已检 2/3 人", "2 of 3 checked")
        )
        form = page.locator("form[action='/office/swap']")
        await form.locator("[name=slot]").select_option("d0p1")
        await form.locator("[name=subject]").fill("科学")
        await form.locator("[name=teacher]").fill("吴老师")
        await form.locator("button").click()
        await expect(page.locator("[role=status]")).to_be_visible()
        form = page.locator("form[action='/office/emergency']")
        await form.locator("[name=text_zh]").fill("请同学们到操场")
        await form.locator("button").click()
        await expect(page.locator("#emergencies article")).to_have_count(1)
        await page.locator("#checks-of-all").locator("xpath=ancestor::details/summary").click()
        await self.look("/office", "day")
        await page.locator("form[action='/office/lift'] button").click()
        await expect(page.locator("#emergencies article")).to_have_count(0)


def contact(box: SimulatedBox, word: str) -> None:
    box.clock_ms += 1_000
    box.safety.take(contact_reading(word, box.now_ms()))


def beat(box: SimulatedBox, band: str, bpm: int) -> None:
    box.sports.take(
        BandReading(
            device=DeviceId("lines:gym"),
            band=band,
            bpm=bpm,
            observed_ms=box.clock_ms,
            source="test",
        )
    )


@pytest.fixture
async def school(box: SimulatedBox) -> AsyncIterator[SimulatedBox]:
    """A school with three pupils, a board and a contact board that nobody plugged in."""
    box.clear("lesson")
    for person in (901, 902, 903):
        box.insert("person", person=person, kind="pupil")
        box.insert("enrolment", person=person, class_group="g3c1", since_ms=0)
    box.cards_of["1001"] = 901
    hang_up_board(box, "board:1", "r301")
    box.hang_up(contact_board(box.path.parent / "nobody"), Light.GOOD, Sign.ANSWERED)
    await box.safety.load()
    async with running(box.safety.run()), running(box.sports.run()), running(box.boards.run()):
        yield box


@pytest.mark.timeout(150)
async def test_staff_do_their_work_in_their_language_on_screens_of_any_width(
    school: SimulatedBox,
) -> None:
    faults: list[str] = []
    server = TestServer(build_pages(as_view(school)))
    await server.start_server()
    async with running_chromium() as browser:
        for language in ("zh-CN", "en"):
            page, complaints = await open_page(browser, language)
            visit = Visit(page, school, server, language, faults)
            await visit.sign_in()
            await visit.tell_all_boards()
            await visit.answer_an_alarm()
            await visit.teach_with_bands()
            await visit.run_the_day()
            faults += complaints
            school.clear("health_check")
            school.clear("audit_entry")
    await server.close()
    assert not faults, "\n".join(dict.fromkeys(faults))
