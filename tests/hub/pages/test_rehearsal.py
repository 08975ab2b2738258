"""A rehearsal from the district's form to the school that holds it, counted nowhere."""

from collections.abc import Mapping
from pathlib import Path

from hub.lesson.timetable import Row
from sync.schema import BY_NAME
from tests.drivers.serial_bench import until
from tests.edge.lesson_desk import lesson_desk
from tests.edge.school import new_box
from tests.hub.pages.browser import Browser
from tests.hub.pages.paper_hub import HOUR, MINUTE, PaperHub, fill

FORM = {
    "kind": "delivery",
    "title_zh": "水彩画 秋天的树",
    "title_en": "Watercolour",
    "subject": "美术",
    "teacher": "李老师",
    "day": "2026-11-21",
    "starts": "10:05",
    "ends": "10:45",
    "weeks": "1",
    "flagship_school": "1",
    "flagship_class_group": "3-2",
    "flagship_room": "301",
    "receiver_school": "2",
    "receiver_class_group": "3",
    "receiver_room": "A",
}
REHEARSAL = FORM | {"rehearsal": "1"}
NEXT = {"title_en": "Real lesson", "starts": "10:55", "ends": "11:35"}


async def scheduled(browser: Browser, form: Mapping[str, str]) -> str:
    """Send the form as a person does; return the lesson's name."""
    answer = await browser.post("/lessons", form)
    assert answer.status == 303, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def rows_of(hub: PaperHub, table: str) -> list[Row]:
    """Return a table's rows as sync carries them."""
    declared = BY_NAME[table]
    names = ", ".join(("school", *declared.column_names))
    connection = hub.connect()
    rows = [dict(row) for row in connection.execute(f"SELECT {names} FROM {table}")]  # noqa: S608 - names are the schema's
    connection.close()
    return rows


async def test_a_rehearsal_of_the_form_is_one_at_its_school(
    hub: PaperHub, browser: Browser, tmp_path: Path
) -> None:
    fill(hub)
    form = (await browser.get("/lessons/new?rehearsal=1")).text
    assert "Schedule a rehearsal" in form
    assert 'name="rehearsal" value="1" checked' in form

    lesson = await scheduled(browser, REHEARSAL)

    assert [(row["lesson"], row["rehearsal"]) for row in rows_of(hub, "lesson")] == [(lesson, 1)]
    for path in ("/lessons", f"/lessons/{lesson}"):
        assert ">rehearsal</span>" in (await browser.get(path)).text
    box = new_box(tmp_path, 1)
    box.district.clock.ms = hub.wall_ms
    async with lesson_desk(box, tmp_path) as desk:
        for table in ("lesson_party", "lesson"):
            box.plant(table, *rows_of(hub, table))
        await until(lambda: desk.state("301") is not None)
        assert (desk.view("301").lesson, desk.view("301").rehearsal) == (lesson, True)


async def test_a_lesson_of_the_form_is_no_rehearsal(hub: PaperHub, browser: Browser) -> None:
    fill(hub)
    assert 'name="rehearsal" value="1">' in (await browser.get("/lessons/new")).text

    lesson = await scheduled(browser, FORM)

    assert [row["rehearsal"] for row in rows_of(hub, "lesson")] == [0]
    assert ">rehearsal</span>" not in (await browser.get(f"/lessons/{lesson}")).text


async def test_a_rehearsal_that_is_moved_stays_one(hub: PaperHub, browser: Browser) -> None:
    fill(hub)
    lesson = await scheduled(browser, REHEARSAL)
    times = {"starts_ms": hub.wall_ms + HOUR, "ends_ms": hub.wall_ms + HOUR + 40 * MINUTE}
    moved = await browser.post_json(f"/api/lessons/{lesson}/move", times)
    assert moved.status == 200, moved.text
    (row,) = rows_of(hub, "lesson")
    assert (row["starts_ms"], row["rehearsal"]) == (hub.wall_ms + HOUR, 1)


async def test_a_rehearsal_counts_in_no_pairing_and_its_recording_stands_in_for_nothing(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    rehearsal = await scheduled(browser, REHEARSAL)
    assert (await browser.get("/api/lessons")).json()["pairings"] == []
    lesson = await scheduled(browser, FORM | NEXT)
    for name in (rehearsal, lesson):
        row: Row = {"school": 1, "lesson": name, "take": "01", "recorded_ms": hub.wall_ms}
        hub.record("recording", [row])

    (pairing,) = (await browser.get("/api/lessons")).json()["pairings"]
    form = (await browser.get("/lessons/new")).text

    assert (pairing["flagships"], pairing["receivers"], pairing["lessons"]) == ([1], [2], 1)
    assert f'<option value="{lesson}"' in form
    assert rehearsal not in form
