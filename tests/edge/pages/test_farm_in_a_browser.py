"""The farm in Chromium: a class waters, looks at its curves, keeps its log, and prints."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from drivers.entities import DeviceId
from edge.devices.adopted import AdoptedDevice
from edge.pages.app import build_pages
from tests.chromium import running_chromium
from tests.edge.farm.readings import record_readings
from tests.edge.pages.simulated_box import (
    DAY_MS,
    MINUTE_MS,
    NOW_MS,
    SETUP_CODE,
    SimulatedBox,
    as_view,
    measured,
)
from tests.edge.pages.test_browser import open_page
from tests.edge.pages.test_farm import BOARD, PROBE, RULE, farm

__all__ = ["farm"]  # the same roof

OTHER = "modbus:east"
PICTURES = os.environ.get("SCHOOLNODE_PICTURES")
"""A folder to leave pictures of the pages in, for people to look at."""


def grow(box: SimulatedBox) -> None:
    """Let two plots live for nine days, with a probe that was silent for half a day."""
    for device, level, phase in ((PROBE, 34, 0.0), (OTHER, 28, 0.7)):
        quarters = [
            (NOW_MS - quarter * 15 * MINUTE_MS, level + 6 * math.sin(quarter / 15 + phase))
            for quarter in range(9 * 96)
            if device == OTHER or not 200 < quarter < 250
        ]
        record_readings(box, device, "soil_moisture", quarters)
    for plot, device, name in (("east", PROBE, "东一区"), ("west", OTHER, "东二区")):
        box.insert("farm_plot", plot=plot, name=name, crop="生菜", devices=device)
    for day, heights in enumerate((31, 30, 38, 33, 47, 39)):
        box.insert(
            "grow_log",
            at_ms=NOW_MS - (8 - day) * DAY_MS,
            plot=("east", "west")[day % 2],
            height_mm=heights,
            class_group="g3c1",
        )
    for minute, argument, outcome, reason, facts in (
        (9, "on", "verified", "conditions", '"value":33.1,"test":"below","limit":35'),
        (4, "off", "verified", "reached", '"value":45.2,"test":"below","limit":45'),
        (2, "", "blocked", "guard", '"value":8,"test":"below","limit":10'),
    ):
        box.insert(
            "farm_action",
            at_ms=NOW_MS - minute * MINUTE_MS,
            rule="hand" if minute == 2 else "r0",
            device=BOARD,
            command=f"relay_1 {argument}".strip(),
            outcome=outcome,
            reason=reason,
            facts='{"point":"soil_moisture",' + facts + "}",
        )
    box.values += [
        measured(PROBE, "soil_moisture", 36.2, "%"),
        measured(PROBE, "soil_temperature", 17.4, "°C"),
    ]


@dataclass
class Visit:
    """A person with the setup code at the farm's pages."""

    page: Page
    server: TestServer
    language: str

    async def go(self, path: str) -> None:
        await self.page.goto(str(self.server.make_url(path)))

    async def picture(self, name: str) -> None:
        if PICTURES:
            path = Path(PICTURES) / f"{name}-{self.language}.png"
            await self.page.screenshot(path=path, full_page=True)

    def word(self, zh: str, en: str) -> str:
        return zh if self.language == "zh-CN" else en

    async def sign_in(self) -> None:
        await self.go("/rooftop")
        await self.page.fill("input[name=code]", SETUP_CODE)
        await self.page.click("#sign-in button")
        await self.page.wait_for_url("**/rooftop")

    async def enter_rule(self) -> None:
        """Try a rule, enter it, and find it said in words on the first page."""
        page = self.page
        await self.go("/rooftop/rule")
        for name, value in {**RULE, "days": "every_day", "starts": "", "ends": ""}.items():
            field = page.locator(f"[name={name}]")
            if await field.evaluate("each => each.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)
        await page.locator("button[value=try]").click()
        await expect(page.locator("#tried tr").first).to_be_visible()
        await expect(page.locator("[name=name]")).to_have_value("Morning water")
        await self.picture("rule")
        await page.locator("button[value=enter]").click()
        await expect(page.locator("#rules h3")).to_have_text("Morning water")
        output = page.locator("#outputs article").first
        await output.locator("button[value=off]").click()
        await expect(output).to_contain_text("09:10:00")
        await expect(page.locator("#decisions tbody tr")).to_have_count(3)
        await self.picture("farm")

    async def look_at_charts(self) -> None:
        """Two runs with a gap between them, inside the picture; on paper no forms."""
        await self.go("/rooftop/charts?plot=east&days=7")
        chart = self.page.get_by_role("img", name=self.word("土壤湿度", "soil moisture"))
        await expect(chart.locator("polyline")).to_have_count(2)
        assert await chart.locator("polyline").first.evaluate(
            "line => getComputedStyle(line).stroke !== 'none' && line.getBBox().width > 50"
        )
        await self.picture("charts")
        await self.page.emulate_media(media="print")
        await expect(self.page.locator(".bar")).to_be_hidden()
        await expect(self.page.locator("form")).to_be_hidden()
        await self.page.emulate_media(media="screen")

    async def experiment(self) -> None:
        """From the form to what the days allow to say."""
        page = self.page
        await self.go("/rooftop/experiments")
        for name, value in (("title", "浇水多少"), ("factor", "浇水量"), ("hypothesis", "多则高")):
            await page.fill(f"[name={name}]", value)
        await page.locator("select[name=plot_a]").select_option("east")
        await page.locator("select[name=plot_b]").select_option("west")
        await page.locator("select[name=points]").select_option("soil_moisture")
        await page.fill("[name=begins]", "2026-11-15")
        await page.fill("[name=ends]", "2026-11-30")
        await page.get_by_role("button", name=self.word("登记", "Enter")).last.click()
        findings = page.locator("main ul li")
        await expect(findings.first).to_contain_text(self.word("地块 A 更高", "Plot A had more"))
        await expect(findings.nth(1)).to_contain_text(self.word("数据不够", "Not enough data"))
        await self.picture("experiment")

    async def keep_log(self, folder: Path) -> None:
        """Enter a large photo, which the page makes small before it is sent."""
        page = self.page
        await self.go("/rooftop/log")
        large = folder / "IMG_0001.jpg"
        large.write_bytes(await _large_photo(page))
        await page.fill("[name=text]", "今天长出了第三片叶子")
        await page.fill("[name=height_cm]", "5.2")
        await page.locator("input[type=file]").set_input_files(large)
        await page.locator("form[data-photo] button").click()
        shown = page.locator("article img")
        await expect(shown).to_have_count(1)
        assert await shown.evaluate("img => img.decode().then(() => img.naturalWidth)") == 1280
        await self.picture("log")

    async def look_on_a_telephone(self) -> None:
        """No page is wider than a narrow screen."""
        await self.page.set_viewport_size({"width": 390, "height": 844})
        for path in (
            "/rooftop",
            "/rooftop/rule",
            "/rooftop/charts",
            "/rooftop/experiments",
            "/rooftop/log",
        ):
            await self.go(path)
            wide = "document.documentElement.scrollWidth > innerWidth"
            assert not await self.page.evaluate(wide), path
            await self.picture(f"narrow{path.replace('/', '-')}")


async def test_a_class_waters_looks_and_keeps_its_log(farm: SimulatedBox, tmp_path: Path) -> None:
    farm.fleet.add(_second_probe(farm, tmp_path))
    grow(farm)
    await farm.farm.keeper.reload()
    server = TestServer(build_pages(as_view(farm)))
    await server.start_server()
    async with running_chromium() as browser:
        page, complaints = await open_page(browser, "zh-CN")
        visit = Visit(page, server, "zh-CN")
        await visit.sign_in()
        await visit.enter_rule()
        await visit.look_at_charts()
        await visit.experiment()
        await visit.keep_log(tmp_path)
        await visit.look_on_a_telephone()
        english, more = await open_page(browser, "en")
        visit = Visit(english, server, "en")
        await visit.sign_in()
        await visit.look_at_charts()
        await visit.look_on_a_telephone()
        assert complaints + more == []
    await server.close()


async def _large_photo(page: Page) -> bytes:
    """Return a JPEG of 3000 pixels' width, as telephones take them."""
    numbers = await page.evaluate("""async () => {
      const canvas = document.createElement("canvas");
      canvas.width = 3000; canvas.height = 2000;
      const pen = canvas.getContext("2d");
      pen.fillStyle = "#3a7"; pen.fillRect(0, 0, 3000, 2000);
      pen.fillStyle = "#fff"; pen.fillRect(900, 600, 900, 700);
      const blob = await new Promise(done => canvas.toBlob(done, "image/jpeg", 0.9));
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    }""")
    return bytes(numbers)


def _second_probe(box: SimulatedBox, folder: Path) -> AdoptedDevice:
    address = f"serial:{folder / 'east'}?baud=9600&unit=3"
    return replace(box.fleet.devices[DeviceId(PROBE)], device=DeviceId(OTHER), address=address)
