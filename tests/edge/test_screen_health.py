"""What of a class card's heartbeats needs somebody, and how seldom the hub is told."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.books import Record
from edge.class_cards.screen_health import (
    ERROR_MS,
    PAGE_OLD_MS,
    SILENT_MS,
    Heard,
    Heartbeat,
    ScreenTrouble,
    Sight,
    browser_name,
    find_troubles,
)
from edge.class_cards.screens import Screens, read_told
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.edge.school import Box, new_box

NOW_MS = 1_795_226_400_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HEARD = Heard(
    at_ms=NOW_MS,
    data_ms=NOW_MS - 5 * MINUTE_MS,
    clock_ahead_ms=300,
    browser="Chromium 83",
    lacks=(),
    is_painting=True,
    page_old_ms=None,
)
WELL = Sight(
    now_ms=NOW_MS,
    since_ms=NOW_MS - HOUR_MS,
    seen_ms=NOW_MS,
    opened_ms=NOW_MS - HOUR_MS,
    heard=HEARD,
    error_ms=None,
)


def sight(**changes: int | bool | Sequence[str] | None) -> Sight:
    """Return what there is to see of a screen that is well but for some changes."""
    heard = {name: changes.pop(name) for name in list(changes) if hasattr(HEARD, name)}
    return replace(WELL, heard=replace(HEARD, **heard), **changes)  # type: ignore[arg-type]  # fields of two


def test_a_screen_that_paints_what_is_new_is_well() -> None:
    assert find_troubles(WELL) == ()


@pytest.mark.parametrize(
    ("seen", "troubles"),
    [
        (sight(is_painting=False), [ScreenTrouble.DARK]),
        (sight(at_ms=NOW_MS - SILENT_MS - 1), [ScreenTrouble.DARK]),
        (sight(opened_ms=None, seen_ms=NOW_MS - SILENT_MS - 1), [ScreenTrouble.SILENT]),
        (sight(data_ms=NOW_MS - HOUR_MS), [ScreenTrouble.DATA_OLD]),
        (sight(page_old_ms=NOW_MS - PAGE_OLD_MS - 1), [ScreenTrouble.PAGE_OLD]),
        (sight(page_old_ms=NOW_MS - MINUTE_MS), []),  # it is told to reload, and does
        (sight(lacks=("IDBFactory",)), [ScreenTrouble.BROWSER_OLD]),
        (sight(error_ms=NOW_MS - MINUTE_MS), [ScreenTrouble.ERRORS]),
        (sight(error_ms=NOW_MS - ERROR_MS - 1), []),
        (sight(clock_ahead_ms=-2 * MINUTE_MS), [ScreenTrouble.CLOCK_OFF]),
        (
            sight(clock_ahead_ms=HOUR_MS, is_painting=False, lacks=("grid",)),
            [ScreenTrouble.DARK, ScreenTrouble.BROWSER_OLD, ScreenTrouble.CLOCK_OFF],
        ),
    ],
)
def test_each_trouble_is_told_apart(seen: Sight, troubles: list[ScreenTrouble]) -> None:
    assert find_troubles(seen) == tuple(troubles)


def test_nothing_is_said_before_there_was_time_to_hear_it() -> None:
    opened = replace(WELL, opened_ms=NOW_MS - MINUTE_MS, heard=None)
    assert find_troubles(opened) is None
    assert find_troubles(replace(opened, opened_ms=NOW_MS - HOUR_MS)) == (ScreenTrouble.DARK,)
    # A paired screen that shows a classroom's page opens no card and says nothing of one.
    assert find_troubles(sight(opened_ms=None, at_ms=NOW_MS - HOUR_MS)) is None
    started = replace(
        WELL, since_ms=NOW_MS - MINUTE_MS, seen_ms=NOW_MS - HOUR_MS, opened_ms=None, heard=None
    )
    assert find_troubles(started) is None
    assert find_troubles(replace(started, seen_ms=None)) is None
    assert find_troubles(replace(started, since_ms=NOW_MS - HOUR_MS)) == (ScreenTrouble.SILENT,)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (Linux; Android 7.1.2; rk3288; wv) Version/4.0 Chrome/83.0.4103.106",
            "Chromium 83",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128"),
        (
            "Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) Version/12.1.2 Safari/604.1",
            "Safari 12.1",
        ),
        ("", ""),
        ("Chrome/<script>", ""),
    ],
)
def test_a_browser_is_called_by_its_engine_and_version(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


@given(st.text(max_size=2_000))
def test_whatever_calls_itself_a_browser_has_a_short_name(user_agent: str) -> None:
    assert len(browser_name(user_agent)) <= 24


@dataclass
class Corridor:
    """One paired screen, the box's clock, and what the hub is told of it."""

    box: Box
    record: Record
    written: list[Row]
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        self.screens = self.started()

    def started(self) -> Screens:
        """Return the box's screens as after a start."""
        draw = map("secret {}".format, count(self.now_ms)).__next__
        screens = Screens(
            self.box.folder / "screens.json", self.record, lambda: self.now_ms, draw, lambda _: None
        )
        with closing(connect_readonly(self.box.folder / "box.db")) as connection:
            screens.remember(read_told(connection, 17))
        return screens

    async def pair(self) -> str:
        secret = self.screens.begin("10.8.3.5")
        code = self.screens.code_of(secret) or ""
        return (await self.screens.pair(code, room="301", name="301 门口", who="test")).screen

    async def pass_minutes(
        self, minutes: int, screen: str | None = None, **changes: str | int | bool | None
    ) -> None:
        """Let time pass; a ``screen`` says each minute how it is, as its page does."""
        for _ in range(minutes):
            self.now_ms += MINUTE_MS
            if screen is not None:
                said = Heartbeat(
                    version="4f1c", clock_ms=self.now_ms, data_ms=self.now_ms, is_painting=True
                )
                said = replace(said, **changes)  # type: ignore[arg-type]  # fields of one
                self.screens.note_health(screen, said, "Chromium 83", is_page_old=False)
            await self.screens.note_due()

    def row(self, columns: str) -> tuple[object, ...]:
        (row,) = self.box.rows(f"SELECT {columns} FROM card_screen")  # noqa: S608 - a test's own words
        return row


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Corridor]:
    box = new_box(tmp_path)
    with box.opened() as store, Writer() as writer:

        async def record(rows: Mapping[str, Sequence[Row]]) -> None:
            written.extend(rows["card_screen"])
            await writer.call(store.node.record_all, rows)

        written: list[Row] = []
        yield Corridor(box, record, written)


async def test_a_day_of_a_screen_that_is_well_costs_a_row_an_hour(corridor: Corridor) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(10 * 60, screen)
    assert len(corridor.written) == 2 + 10  # paired, well, and well each hour
    assert corridor.row("trouble, version, browser, clock_ahead_s") == (
        "",
        "4f1c",
        "Chromium 83",
        0,
    )


async def test_a_screen_that_falls_silent_is_told_of_once_and_with_its_last_moment(
    corridor: Corridor,
) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(15, screen)
    last_ms = corridor.now_ms
    before = len(corridor.written)
    await corridor.pass_minutes(3 * 24 * 60)
    assert len(corridor.written) == before + 1
    assert corridor.row("trouble, seen_ms") == ("silent", last_ms)
    await corridor.pass_minutes(1, screen)
    assert corridor.row("trouble, seen_ms") == ("", corridor.now_ms)


async def test_what_changes_is_told_at_once_and_what_flickers_seldom(corridor: Corridor) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(15, screen)
    await corridor.pass_minutes(1, screen, error="TypeError live.js:42")
    assert corridor.row("trouble, error, error_ms") == (
        "errors",
        "TypeError live.js:42",
        corridor.now_ms,
    )
    before = len(corridor.written)
    for minute in range(120):
        await corridor.pass_minutes(1, screen, is_painting=minute % 2 == 0)
    assert len(corridor.written) - before <= 12


async def test_a_start_of_the_box_tells_nothing_anew_and_forgets_no_error(
    corridor: Corridor,
) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(15, screen)
    await corridor.pass_minutes(1, screen, error="TypeError live.js:42")
    before, seen_ms = len(corridor.written), corridor.now_ms
    corridor.screens = corridor.started()
    (shown,) = corridor.screens.all()
    assert (shown.seen_ms, shown.health.error) == (seen_ms, "TypeError live.js:42")
    await corridor.pass_minutes(2)
    await corridor.pass_minutes(5, screen)
    assert len(corridor.written) == before


async def test_a_screen_that_does_not_come_back_after_a_start_is_told_as_silent(
    corridor: Corridor,
) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(15, screen)
    seen_ms = corridor.written[-1]["seen_ms"]
    corridor.screens = corridor.started()
    await corridor.pass_minutes(30)
    assert corridor.row("trouble, seen_ms") == ("silent", seen_ms)


async def test_a_screens_clock_is_told_and_its_drift_costs_nothing(corridor: Corridor) -> None:
    screen = await corridor.pair()
    await corridor.pass_minutes(1, screen)
    for minute in range(30):
        await corridor.pass_minutes(1, screen, clock_ms=corridor.now_ms + 10 * MINUTE_MS + minute)
    assert corridor.row("trouble, clock_ahead_s") == ("clock_off", 540)
    assert len(corridor.written) == 3


def test_an_hour_of_fifty_screens_that_are_well_is_less_than_a_kilobyte(tmp_path: Path) -> None:
    box = new_box(tmp_path)
    with box.opened() as store:
        for hour in range(3):
            at_ms = NOW_MS + hour * HOUR_MS
            rows: list[Row] = [
                {
                    "screen": f"screen-{number * 7919:06}",
                    "room": f"{number // 10}0{number % 10}",
                    "seen_ms": at_ms - number * 37,
                    "version": "4f1c9a07b2d3",
                    "name": f"{number}班门口",
                    "paired_ms": NOW_MS - number * 999,
                    "trouble": "",
                    "data_ms": at_ms - number * 1_111,
                    "browser": "Chromium 83",
                    "clock_ahead_s": number % 3,
                }
                for number in range(50)
            ]
            store.node.record_all({"card_screen": rows})
            store.node.seal_all()
    *_, (last,) = box.rows("SELECT length(wire) FROM segment ORDER BY log, seq")
    assert isinstance(last, int)
    assert last < 1_000
