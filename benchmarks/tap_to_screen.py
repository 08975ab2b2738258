"""From a card at a reader to the name on the class card, and from an emergency to every screen.

A simulated RDM6300 on a real pty, the box's own daemon in its own process, and its class-card page
over HTTPS in Chromium. A tap counts from the reader's first byte to the second animation frame
after the page changed; an emergency until the box has the screen's word that it had painted it.
Further screens only listen, as a school's others do.
"""

import asyncio
import random
import re
import sqlite3
import tempfile
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from statistics import quantiles

import aiohttp
import msgspec
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.real_district import running_hub
from benchmarks.report import (
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from benchmarks.running_box import START_S_MAX, RunningBox, running_box, write_box_config
from drivers.discovery.candidate import DeviceKind
from drivers.simulators.card_reader import CardReaderSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from edge.control_client import ask_daemon
from edge.pages.actions import Adopt, Discover

ROOM = "301"
LINE = "gate"
"""The reader's line, beside the box's configuration."""
CARDS = [f"6F{number:08X}" for number in range(60)]
PAUSE_S = (0.5, 1.0)
GOAL_TAP_MS = 300.0
GOAL_EMERGENCY_MS = 1000.0
_AFTER_S = 2.0
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

# Notes the moment at which each change of the list of taps was on the screen.
WATCH = """() => {
  window.painted = [];
  new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame(
    () => window.painted.push(Date.now())
  ))).observe(document.getElementById("taps"), { childList: true });
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Milliseconds of each tap and of each screen's emergency; ``lost`` taps were never shown."""

    taps: Sequence[float]
    emergencies: Sequence[float]
    lost: int


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="length of a window of taps")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--screens", type=int, default=4, help="pages that paint in Chromium")
    options.add_argument("--listeners", type=int, default=46, help="further screens that listen")
    given = options.parse_args()
    machine = read_machine()
    windows = []
    with progress("tap_to_screen") as step, tempfile.TemporaryDirectory() as folder:
        for number in range(given.runs):
            step(f"window {number + 1} of {given.runs}, {given.seconds:.0f} s of taps")
            place = Path(folder) / str(number)
            place.mkdir()
            with _running_box(place) as box:
                windows.append(
                    asyncio.run(
                        _measure(box, number, given.seconds, given.screens, given.listeners)
                    )
                )
    report = Report(
        benchmark="tap_to_screen",
        machine=machine,
        versions=read_versions("aiohttp", "playwright"),
        figures=list(_figures(windows)),
        notes=[
            (
                f"One reader, a tap every {PAUSE_S[0]:g} to {PAUSE_S[1]:g} s; {given.screens}"
                f" screens paint, {given.listeners} more listen; all of one room, so that every tap"
                " is rendered for each of them."
            ),
            (
                "Reader, box, Chromium and its screens share this machine and its clock. A pty has"
                " no line speed: 14 bytes at 9,600 baud take 15 ms more."
            ),
            "Not tried here: a real LAN, a player's own browser on its own processor.",
        ],
    )
    publish(report, as_json=given.json)


def _figures(windows: Sequence[Window]) -> list[Figure]:
    def share(samples: Sequence[float], percent: int) -> float:
        return quantiles(samples, n=100, method="inclusive")[percent - 1]

    taps = [window.taps for window in windows]
    return [
        measured("tap to screen, median", [share(each, 50) for each in taps], "ms", "lower"),
        measured("tap to screen, p95", [share(each, 95) for each in taps], "ms", "lower"),
        measured(
            "tap to screen, p99", [share(each, 99) for each in taps], "ms", "lower", GOAL_TAP_MS
        ),
        measured("tap to screen, longest", [max(each) for each in taps], "ms", "lower"),
        measured("taps seen, all painting screens", [len(each) for each in taps], "", "higher"),
        measured("taps never shown", [window.lost for window in windows], "", "lower", 0.0),
        measured(
            "emergency to the last screen",
            [max(window.emergencies) for window in windows],
            "ms",
            "lower",
            GOAL_EMERGENCY_MS,
        ),
    ]


async def _measure(
    box: RunningBox, seed: int, seconds: float, screens: int, listeners: int
) -> Window:
    ledger = box.folder / "cards.jsonl"
    reader = CardReaderSimulator(
        path=box.folder.with_name(LINE),
        cards=CARDS,
        ledger=Ledger(ledger, _now_ms),
        now_ms=_now_ms,
        rng=random.Random(seed),
        pause_s=PAUSE_S,
    )
    async with AsyncExitStack() as stack:
        presenting = await stack.enter_async_context(_running(reader.run()))
        await _adopt(box)
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=which("chromium"), args=ARGUMENTS
        )
        stack.push_async_callback(browser.close)
        pages = [await _open_screen(browser, box) for _ in range(screens)]
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=0))
        )
        for _ in range(listeners):
            await stack.enter_async_context(_running(box.listen(http, ROOM)))
        await asyncio.sleep(_AFTER_S)
        for page in pages:
            await page.evaluate(WATCH)
        from_ms = _now_ms()
        await asyncio.sleep(seconds)
        until_ms = _now_ms()
        presenting.cancel()
        await asyncio.sleep(_AFTER_S)
        painted = [await page.evaluate("window.painted") for page in pages]
        begun = [
            int(str(tap["begun_ms"])) for tap in read_ledger(ledger) if tap["kind"] == "tap_begun"
        ]
        taps = [each for each in begun if from_ms <= each < until_ms]
        found = [_delays(taps, moments) for moments in painted]
        emergencies = await _raise_emergency(box, pages)
    return Window(
        taps=[each for of_page in found for each in of_page],
        emergencies=emergencies,
        lost=sum(len(taps) - len(of_page) for of_page in found),
    )


def _delays(begun: Sequence[int], painted: Sequence[int]) -> list[float]:
    """Return how long after each tap a page changed, before the next tap began."""
    delays = []
    for number, moment in enumerate(begun):
        place = bisect_left(painted, moment)
        ends = begun[number + 1] if number + 1 < len(begun) else moment + int(_AFTER_S * 1000)
        if place < len(painted) and painted[place] < ends:
            delays.append(float(painted[place] - moment))
    return delays


async def _raise_emergency(box: RunningBox, pages: Sequence[Page]) -> list[float]:
    """Cover the screens from the office's page; return after how many ms each had painted it."""
    office = await pages[0].context.new_page()
    await office.goto(f"{box.origin}/office")
    await office.fill("#sign-in input[name=code]", _setup_code(box))
    await office.click("#sign-in button")
    await office.fill("form[action='/office/emergency'] input[name=text_zh]", "立即到操场集合")
    await office.click("form[action='/office/emergency'] button")
    async with asyncio.timeout(START_S_MAX):
        while True:
            receipts = await asyncio.to_thread(_read_receipts, box)
            if len(receipts) >= len(pages):
                return receipts
            await asyncio.sleep(0.1)
    raise AssertionError("the screens confirm, or the time is over")


def _read_receipts(box: RunningBox) -> list[float]:
    with closing(sqlite3.connect(f"file:{box.folder / 'box.db'}?mode=ro", uri=True)) as store:
        return [float(row[0]) for row in store.execute("SELECT after_ms FROM card_receipt")]


async def _open_screen(browser: Browser, box: RunningBox) -> Page:
    """Open a screen and pair it at the office's page, as a person does."""
    context = await browser.new_context(ignore_https_errors=True, locale="zh-CN")
    page = await context.new_page()
    await page.goto(f"{box.origin}/class-card/pair")
    code = re.sub(r"\s", "", await page.locator(".code").text_content() or "")
    desk = await (await browser.new_context(ignore_https_errors=True)).new_page()
    await desk.goto(f"{box.origin}/office")
    await desk.fill("#sign-in input[name=code]", _setup_code(box))
    await desk.click("#sign-in button")
    await desk.fill("form[action='/office/pair'] input[name=code]", code)
    await desk.select_option("form[action='/office/pair'] select[name=room]", ROOM)
    await desk.click("form[action='/office/pair'] button")
    await desk.wait_for_url("**said=done*")
    await desk.context.close()
    await page.wait_for_url("**/class-card", timeout=START_S_MAX * 1000)
    return page


async def _adopt(box: RunningBox) -> None:
    """Find the reader by listening to its line, and hang it at the room's door."""
    await _ask(box, "POST", "/discover", Discover(kinds=(DeviceKind.CARD_READER,)))
    async with asyncio.timeout(START_S_MAX):
        while True:
            found = (await _ask(box, "GET", "/candidates"))["candidates"]
            if found:
                break
            await asyncio.sleep(0.2)
    wish = Adopt(identity=str(found[0]["identity"]), name="301 门口", room=ROOM)
    await _ask(box, "POST", "/adopt", wish)


def _setup_code(box: RunningBox) -> str:
    return (box.folder / "setup-code").read_text()


async def _ask(
    box: RunningBox, method: str, path: str, wish: object = None
) -> dict[str, list[dict[str, object]]]:
    body = None if wish is None else msgspec.json.encode(wish)
    return await ask_daemon(box.folder, method, path, body)


@contextmanager
def _running_box(folder: Path) -> Iterator[RunningBox]:
    """Enrol a box with a hub that then goes, and run its daemon in a process of its own."""
    with running_hub(folder / "hub") as hub:
        config = hub.enrol(1, folder / "box")
    write_box_config(config, "127.101.11.1/24", [config.with_name(LINE)])
    with running_box(config) as box:
        yield box


@asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, aiohttp.ClientError):
            await task


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
