"""A rural school's link is pulled in mid-lesson and put back: what its class is shown, in Chromium.

Hub, both boxes and the camera are processes of their own (``benchmarks/lesson_district.py``).
Nobody touches the class's pages; the teacher holds the lesson with the remote on a telephone.
"""

from collections.abc import AsyncIterator, Callable
from itertools import groupby
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from benchmarks.lesson_camera import SMALL, WITH_SOUND
from benchmarks.lesson_district import RECEIVER, LessonDistrict, lesson_district
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.scenarios.classes_screens import (
    ClassScreen,
    Seen,
    act,
    add_slide,
    fits,
    in_language,
    open_class,
    open_remote,
)

pytestmark = [pytest.mark.timeout(480), pytest.mark.asyncio(loop_scope="module")]

STARTS_IN_S, LASTS_S = 10.0, 480.0
PUT_OFF_S = 600.0
LANGUAGES = ("zh-CN", "en")
LIVE = {"zh-CN": "直播中", "en": "live"}
INTERRUPTED = {"zh-CN": "传输中断", "en": "interrupted"}
WAITING = {"zh-CN": "正在等待画面和声音", "en": "waiting for picture and sound"}
REDUCED = {
    "zh-CN": "画面已降低，声音不受影响",  # noqa: RUF001 - Chinese
    "en": "picture reduced, sound is safe",
}
CATCHING_UP = {"zh-CN": "追赶中", "en": "catching up"}
NO_LINE = {
    "zh-CN": "暂时连不上区域中心，缺少的内容稍后补上。",  # noqa: RUF001 - Chinese
    "en": "The hub is not reached; what is missed comes later.",
}
WILL_COME = {
    "zh-CN": "线路恢复后，课堂从停下的地方继续",  # noqa: RUF001 - Chinese
    "en": "When it is back, the class goes on where it stopped",
}
MINUTE_MS = 60_000
PICTURES_A_S = 10
Screens = dict[str, ClassScreen]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def district(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LessonDistrict]:
    async with lesson_district(tmp_path_factory.mktemp("district"), main=SMALL) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium(SOUND_UNTOUCHED) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def screens(browser: Browser, district: LessonDistrict) -> Screens:
    """Schedule a lesson; its receiving class's pages, which count down to it."""
    await district.schedule(WITH_SOUND, STARTS_IN_S, LASTS_S)
    return {each: await open_class(browser, district, each) for each in LANGUAGES}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remote(browser: Browser, district: LessonDistrict, screens: Screens) -> Page:
    """Open the lesson's remote; its pages are shown already."""
    del screens
    return await open_remote(browser, district, "zh-CN")


async def test_a_pulled_link_is_told_waited_out_and_made_up_for_without_a_hand(
    browser: Browser, district: LessonDistrict, screens: Screens, remote: Page, tmp_path: Path
) -> None:
    await picture(screens, "counts down", tmp_path)
    await add_slide(browser, remote, tmp_path)
    before = {
        language: await screen.until(
            lambda now: now.slide > 0 and len(now.clocks) > PICTURES_A_S and now.sound > 0
        )
        for language, screen in screens.items()
    }
    for language, screen in screens.items():
        before[language] = await screen.until(advanced(before[language]))
    await picture(screens, "live", tmp_path)
    district.links[RECEIVER].cut()
    for language, screen in screens.items():
        cut = await screen.until(stands_at(INTERRUPTED[language]))
        assert cut.slide
    await picture(screens, "degraded", tmp_path)
    held = {}
    for language, screen in screens.items():
        held[language] = await screen.until(promises(WILL_COME[language]))
        assert held[language].slide, "the last slide stays beside the words"
    await picture(screens, "told its plan", tmp_path)
    district.links[RECEIVER].mend()
    for language, screen in screens.items():
        await screen.until(has_told(CATCHING_UP[language]))
    await picture(screens, "catching up", tmp_path)
    for language, screen in screens.items():
        await screen.until(advanced(held[language]))
        live = await screen.until(stands_at(LIVE[language]))
        await screen.until(advanced(live))
    await picture(screens, "live again", tmp_path)
    for language, screen in screens.items():
        seen = await screen.look()
        check_what_was_told(seen, language)
        assert seen.sound_runs == before[language].sound_runs, "none of its sound was left out"
        assert screen.complaints == []


def stands_at(state: str) -> Callable[[Seen], bool]:
    return lambda now: now.states[-1] == state


def has_told(state: str) -> Callable[[Seen], bool]:
    return lambda now: state in now.states


def promises(words: str) -> Callable[[Seen], bool]:
    return lambda now: words in now.plan


def advanced(before: Seen) -> Callable[[Seen], bool]:
    """Return what tells that two more seconds were shown and heard."""
    return lambda now: (
        len(now.clocks) > len(before.clocks) + PICTURES_A_S
        and now.clocks[-1] > before.clocks[-1] + 2000
        and now.sound > before.sound + 5000
    )


def check_what_was_told(seen: Seen, language: str) -> None:
    live, cut, waits = LIVE[language], INTERRUPTED[language], WAITING[language]
    states = seen.states[seen.states.index(live) :]
    # A machine that is slower than its lesson is reduced, catches up, and says so, at any time.
    passing = {waits, REDUCED[language]}
    said = [each for each, _ in groupby(each for each in states if each not in passing)]
    before, after = said[: said.index(cut)], said[said.index(cut) :]
    assert set(before) <= {CATCHING_UP[language], live}
    assert after[:3] == [cut, CATCHING_UP[language], live]
    assert set(after[3:]) <= {CATCHING_UP[language], live}, "nothing is cut again"
    causes = {cause for state, cause, _ in seen.told if state == cut}
    assert causes == {NO_LINE[language]}
    assert [plan for state, _, plan in seen.told if state == cut] == [False, True]
    assert not any(cause for state, cause, _ in seen.told if state == waits and cut not in states)
    assert seen.clocks == sorted(seen.clocks)


async def test_what_the_teacher_decides_on_the_telephone_reaches_the_class(
    screens: Screens, remote: Page, tmp_path: Path
) -> None:
    class_screen = screens["en"]
    school = 2
    for language, stage in zip(LANGUAGES, ("school", "stage"), strict=True):
        await in_language(remote, language)
        ends_ms = await class_screen.ends_ms()
        await act(remote, "longer", "minutes", 5)
        await class_screen.until_it_ends((ends_ms + 5 * MINUTE_MS).__eq__)
        await act(remote, "call", stage, school)
        await class_screen.until(lambda now: now.is_called)
        await remote.screenshot(path=tmp_path / f"remote-{language}.png", full_page=True)
        assert await fits(remote)
        await act(remote, "call", "school", 0)
        await class_screen.until(lambda now: not now.is_called)
    await remote.locator("#remote-times summary").click()
    await remote.locator("button.stop").click()
    await class_screen.until_it_ends(ends_ms.__gt__)
    for screen in screens.values():
        await screen.until(stands_at("done"))


async def test_a_lesson_put_off_on_the_telephone_is_counted_down_to_its_new_bell(
    browser: Browser, district: LessonDistrict, screens: Screens, tmp_path: Path
) -> None:
    await district.schedule(WITH_SOUND, PUT_OFF_S - 60, LASTS_S)
    for screen in screens.values():
        await screen.until(lambda now: now.countdown.startswith("8:"))
    remote = await open_remote(browser, district, "en")
    await act(remote, "later", "minutes", 5)
    for screen in screens.values():
        await screen.until(lambda now: now.countdown.startswith("13:"))
    await in_language(remote, "zh-CN")
    await remote.screenshot(path=tmp_path / "remote-before.png", full_page=True)
    assert await fits(remote)
    await act(remote, "later", "minutes", 10)
    for screen in screens.values():
        await screen.until(lambda now: now.countdown.startswith("23:"))


async def picture(screens: Screens, name: str, folder: Path) -> None:
    """Keep what the class is shown; removed with the test's folder when it passes."""
    for language, screen in screens.items():
        await screen.page.screenshot(path=folder / f"{name} {language}.png")
