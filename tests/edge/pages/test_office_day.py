"""A class's day at the office: checks in the morning and at noon, and lessons swapped."""

import re

import pytest

from edge.class_cards.office import SWAP
from edge.pages import health_checks
from edge.pages.health_checks import FEVER_C
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import DAY_MS, MINUTE_MS, NOW_MS, SimulatedBox
from tests.edge.pages.test_office import CARD, DAY, post, read

OFFICE = f"/office?group=g3c1&day={DAY}"
TO_NOON_MS = 4 * 60 * MINUTE_MS
TAG = re.compile(r"<[^>]+>|\s+")


@pytest.fixture
def pupils(box: SimulatedBox) -> SimulatedBox:
    for person in (901, 902, 903, 904):
        box.insert("person", person=person, kind="pupil")
        box.insert("enrolment", person=person, class_group="g3c1", since_ms=0)
    return box


def rows_of(page: str, table: str) -> dict[str, list[str]]:
    """Return what a table of the page tells, by the first cell of each line."""
    body = page.split(f'id="{table}"')[1].split("</table>", maxsplit=1)[0]
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in body.split("<tr>")[1:]]
    cells = [[TAG.sub(" ", cell).strip() for cell in line] for line in lines]
    return {line[0]: [re.sub(r" +", " ", cell) for cell in line[1:]] for line in cells}


def ticks(page: str) -> dict[int, bool]:
    """Return whom the form of who is missing offers, and who is ticked."""
    found = re.findall(r'name="persons" value="(\d+)"( checked)?', page)
    return {int(person): bool(ticked) for person, ticked in found}


async def in_chinese(client: Client, path: str) -> str:
    return await (await client.get(path, headers={"Accept-Language": "zh-CN"})).text()


async def test_the_list_tells_what_was_found_and_who_is_missing(
    staff: Client, pupils: SimulatedBox
) -> None:
    await post(staff, "health", person=903, temperature_c="37.9", symptoms="咳嗽")
    await post(staff, "health", person=902, temperature_c="36.4")
    page = await read(staff, OFFICE)
    checks = rows_of(page, "checks")
    assert checks["Pupil"] == ["Morning check 2 of 4 checked something found with 1", "Noon check"]
    assert checks["张伟"] == ["something found 09:05 · 37.9 °C · 咳嗽", "—"]
    assert checks["李明"] == ["nothing found 09:05 · 36.4 °C", "—"]
    assert checks["欧阳若琳"] == ["not checked", "—"]
    assert ticks(page) == {901: True, 904: True}
    chinese = rows_of(await in_chinese(staff, OFFICE), "checks")
    assert chinese["学生"] == ["晨检 已检 2/4 人 1 人有异常", "午检"]
    assert chinese["欧阳若琳"] == ["未检", "—"]
    assert pupils.judged == []


@pytest.mark.parametrize(
    ("temperature_c", "symptoms", "word"),
    [
        (FEVER_C, None, "something found"),
        (FEVER_C - 0.1, None, "nothing found"),
        (36.4, "咳嗽", "something found"),
        (None, "咳嗽", "something found"),
        (None, None, "nothing found"),
    ],
)
async def test_a_fever_and_a_symptom_are_findings(
    staff: Client,
    pupils: SimulatedBox,
    temperature_c: float | None,
    symptoms: str | None,
    word: str,
) -> None:
    pupils.insert(
        "health_check", at_ms=NOW_MS, person=901, temperature_c=temperature_c, symptoms=symptoms
    )
    checks = rows_of(await read(staff, OFFICE), "checks")
    assert checks["欧阳若琳"][0].startswith(word)


@pytest.mark.usefixtures("pupils")
async def test_a_later_sound_check_hides_no_fever(staff: Client) -> None:
    await post(staff, "health", person=903, temperature_c="38.2")
    await post(staff, "health", person=903, temperature_c="36.9")
    page = await read(staff, OFFICE)
    assert "38.2 °C" in rows_of(page, "checks")["张伟"][0]
    assert "something found with 1" in rows_of(page, "checks")["Pupil"][0]


async def test_those_ticked_are_entered_as_sound_and_those_away_are_not_ticked(
    staff: Client, pupils: SimulatedBox
) -> None:
    await post(staff, "leave", person=902, begins=f"{DAY}T08:00", ends=f"{DAY}T12:00")
    pupils.insert("attendance_entry", day=DAY, slot="d0p1", person=904, status="absent")
    assert ticks(await read(staff, OFFICE)) == {901: True, 902: False, 903: True, 904: False}
    answer = await staff.post(
        "/office/health/well",
        data=[("persons", "901"), ("persons", "903"), ("group", "g3c1"), ("day", DAY)],
    )
    assert (answer.status, str(answer.url.relative())) == (200, f"{OFFICE}&said=done")
    page = await answer.text()
    assert ticks(page) == {902: False, 904: False}
    checks = rows_of(page, "checks")
    assert checks["欧阳若琳"][0] == "nothing found 09:05"
    assert checks["李明"][0] == "not checked on leave"
    assert checks["陈小红"][0] == "not checked absent"
    with pupils.connect() as connection:
        told = connection.execute("SELECT action, subject FROM audit_entry").fetchall()
    assert ("enter health check: nothing found", "901 903") in [tuple(row) for row in told]


async def test_noon_is_another_round_and_another_day_has_neither(
    staff: Client, pupils: SimulatedBox
) -> None:
    await post(staff, "health", person=901, temperature_c="36.4")
    pupils.clock_ms += TO_NOON_MS
    page = await read(staff, OFFICE)
    assert rows_of(page, "checks")["欧阳若琳"] == ["nothing found 09:05 · 36.4 °C", "not checked"]
    assert sorted(ticks(page)) == [901, 902, 903, 904]
    assert 'id="well"' in page
    pupils.clock_ms += DAY_MS
    page = await read(staff, OFFICE)
    assert 'id="well"' not in page
    assert rows_of(page, "checks")["李明"] == ["not checked", "not checked"]
    page = await read(staff, "/office?group=g3c1&day=2026-11-25")
    assert rows_of(page, "checks")["李明"] == ["—", "—"]


async def test_of_more_checks_than_are_read_the_latest_count(
    staff: Client, pupils: SimulatedBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_checks, "CHECKS_MAX", 2)
    for person in (901, 902, 903):
        await post(staff, "health", person=person, temperature_c="36.4")
        pupils.clock_ms += 60_000
    assert sorted(ticks(await read(staff, OFFICE))) == [901, 904]


async def test_every_class_with_pupils_is_counted(staff: Client, pupils: SimulatedBox) -> None:
    pupils.insert("class_group", class_group="g4c1", name="四年级1班", grade=4)
    pupils.insert("class_group", class_group="g5c1", name="五年级1班", grade=5)
    pupils.insert("person", person=950, kind="pupil")
    pupils.insert("enrolment", person=950, class_group="g4c1", since_ms=0)
    await post(staff, "health", person=950, symptoms="皮疹")
    counted = rows_of(await read(staff, OFFICE), "checks-of-all")
    assert counted["三年级1班"] == ["0 of 4 checked", "—"]
    assert counted["四年级1班"] == ["1 of 1 checked something found with 1", "—"]
    assert "五年级1班" not in counted


@pytest.mark.usefixtures("pupils")
@pytest.mark.parametrize(
    "persons", [[], ["0"], ["x"], [str(number) for number in range(1, 300)]], ids=len
)
async def test_a_list_of_nobody_or_of_too_many_is_refused(
    staff: Client, box: SimulatedBox, persons: list[str]
) -> None:
    fields = [("persons", person) for person in persons]
    answer = await staff.post("/office/health/well", data=[*fields, ("group", "g3c1")])
    assert answer.status in {400, 413}
    with box.connect() as connection:
        assert connection.execute("SELECT count(*) FROM health_check").fetchone()[0] == 0


async def test_who_has_no_setup_code_reads_and_enters_no_check(
    client: Client, pupils: SimulatedBox
) -> None:
    pupils.insert("health_check", at_ms=NOW_MS, person=901, temperature_c=38.4, symptoms="咳嗽")
    assert "38.4" not in await read(client, OFFICE)
    assert (await client.post("/office/health/well", data={"persons": "901"})).status == 403


def slots_of(page: str) -> dict[str, str]:
    """Return what today's lessons tell beside their subject, by subject."""
    today = page.split('id="timetable"')[1].split("</section>", maxsplit=1)[0]
    lessons = re.findall(r'class="what">(.*?)</span> <span class="who">(.*?)</span></li>', today)
    return {subject: TAG.sub(" ", who).strip() for subject, who in lessons}


async def test_a_swap_entered_at_the_office_is_marked_on_the_class_card(
    staff: Client,
) -> None:
    before = slots_of(await read(staff))
    assert before["数学"] == "李老师"
    page = await post(
        staff, "swap", group="g3c1", day=DAY, slot="d0p1", subject="科学", teacher="吴"
    )
    assert "Entered." in page
    after = slots_of(await read(staff))
    assert "数学" not in after
    assert len(after) == len(before) - 1  # the day has two of science now
    page = await read(staff)
    assert len(re.findall(r'<b class="swapped">swapped</b> · 吴', page)) == 2  # list and "now"
    assert page.count('class="swapped"') == 2
    chinese = await in_chinese(staff, CARD)
    assert chinese.count('<b class="swapped">调课</b> · 吴') == 2
    assert 'class="swapped"' not in await read(staff, "/class-card?room=r302")


async def test_a_delivery_lesson_in_place_of_a_swapped_one_is_no_swap(
    staff: Client, box: SimulatedBox
) -> None:
    await post(staff, "swap", slot="d0p2", subject="书法", teacher="吴")
    with box.connect() as connection:
        audit = connection.execute("SELECT action, subject FROM audit_entry").fetchall()
    assert [tuple(row) for row in audit] == [(SWAP, "d0p2")]
    page = await read(staff)
    assert "Paper-cut windows" in page
    assert 'class="swapped"' not in page


@pytest.mark.parametrize(
    "fields", [{"slot": "d0p1", "subject": "科学"}, {"subject": "科学", "teacher": "吴"}]
)
async def test_a_swap_without_slot_or_teacher_is_refused(
    staff: Client, fields: dict[str, str]
) -> None:
    await post(staff, "swap", 400, **fields)
    assert 'class="swapped"' not in await read(staff)
