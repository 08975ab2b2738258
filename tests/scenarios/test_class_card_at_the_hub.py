"""How a class card is, from its own page over the school's box to the district's page.

Hub and box are processes of their own; the screen and both pages are Chromium's.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.scenarios.browsing import chromium, open_page, require_chromium, trust_root
from tests.scenarios.small_district import PAGES_PORT, SmallDistrict, claim

NETWORK = 95
SCHOOL = 17
ROOM, NAME = "三年级", "前门"
TOLD_MS_MAX = 150_000
"""The box tells the hub once a minute how its screens are."""
WELL, WELL_ZH = "well: 1 of 1", re.compile("正常.1/1 块")
NOT_KNOWN = "not known: 1"


@pytest.mark.timeout(300)
def test_a_screen_that_was_paired_and_is_well_is_told_so_at_the_hub(tmp_path: Path) -> None:
    require_chromium()
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    box = district.write_box(SCHOOL)
    with district.hub_running():
        assert claim(box, district.invite(SCHOOL)).code == 0
        home = tmp_path / "home"
        trust_root(home, district.hub_config.parent / "authority" / "authority.pem")
        with district.box_running(box), chromium(home) as browser:
            screen = open_page(browser, "zh-CN", 1280, 800)
            screen.page.goto(f"{origin(district, SCHOOL)}/class-card/pair")
            code = screen.page.locator(".code").inner_text().replace(" ", "")
            pair(browser, origin(district, SCHOOL), box, code)
            screen.page.wait_for_url("**/class-card")
            hub = sign_in_at_the_hub(browser, district)
            expect(hub.locator("#cards")).to_contain_text(WELL, timeout=TOLD_MS_MAX)
            expect(hub.locator("#cards")).not_to_contain_text(NOT_KNOWN)
            expect(hub.locator("#cards")).to_contain_text(NAME)
            hub.goto(f"{hub.url}?lang=zh-CN")
            expect(hub.locator("#cards")).to_contain_text(WELL_ZH)
            hub.screenshot(path=tmp_path / "hub.png", full_page=True)
            assert screen.complaints == []


def origin(district: SmallDistrict, school: int) -> str:
    return f"https://{district.address(school)}:{PAGES_PORT}"


def pair(browser: Browser, box_origin: str, box: Path, code: str) -> None:
    """Enter, at the office's page, the code that a screen shows."""
    office = open_page(browser, "en").page
    office.goto(f"{box_origin}/office")
    office.fill("input[name=code]", (box.parent / "data" / "setup-code").read_text())
    office.click("#sign-in button")
    form = office.locator("form[action='/office/pair']")
    form.locator("[name=code]").fill(code)
    form.locator("[name=room]").fill(ROOM)
    form.locator("[name=name]").fill(NAME)
    form.locator("button").click()
    expect(office.get_by_text(NAME).first).to_be_visible()
    office.context.close()


def sign_in_at_the_hub(browser: Browser, district: SmallDistrict) -> Page:
    page = open_page(browser, "en").page
    page.goto(f"{origin(district, 0)}/schools/{SCHOOL}")
    page.fill("input[name=code]", (district.hub_config.parent / "admin-code").read_text())
    page.click("button.primary")
    page.wait_for_url(f"**/schools/{SCHOOL}")
    return page
