"""The PE teacher's page: who sees heart rates, a lesson from band to figures, results."""

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from drivers.entities import BandReading, DeviceId, StationResult
from tests.drivers.serial_bench import running
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox


@pytest.fixture
async def gym(box: SimulatedBox) -> AsyncIterator[SimulatedBox]:
    for person in (901, 902):
        box.insert("person", person=person, kind="pupil")
        box.insert("enrolment", person=person, class_group="g3c1")
    box.cards_of["1001"] = 901
    async with running(box.sports.run()):
        yield box


LESSON = {"group": "g3c1", "teacher": "郑老师", "band_901": "7", "band_902": ""}


def beat(box: SimulatedBox, bpm: int) -> None:
    box.clock_ms += 5_000
    box.sports.take(
        BandReading(
            device=DeviceId("lines:gym"),
            band="7",
            bpm=bpm,
            observed_ms=box.clock_ms,
            source="test",
        )
    )


async def shown(client: Client, language: str = "en") -> str:
    answer = await client.get("/sports", headers={"Accept-Language": language})
    assert answer.status == 200
    return await answer.text()


async def test_without_the_code_nobody_sees_or_changes_anything(
    client: Client, gym: SimulatedBox
) -> None:
    await gym.sports.begin("g3c1", "郑老师", 200, {"7": 901})
    beat(gym, 143)
    page = await shown(client)
    assert "143" not in re.sub(r"\?v=\w+", "", page)  # an asset's digest may say so by chance
    assert "欧阳若琳" not in page
    for path in ("begin", "end", "list", "settle"):
        answer = await client.post(f"/sports/{path}", data={**LESSON, "band_901": "8"})
        assert answer.status == 403
    assert len(gym.sports.exercises()) == 1
    answer = await client.post(
        "/setup/session", data={"code": SETUP_CODE, "next": "/sports"}, allow_redirects=False
    )
    assert answer.headers["Location"] == "/sports"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("too high: let them rest", "density of exercise", "no figure below")),
        ("zh-CN", ("心率过高", "群体运动密度", "数据覆盖率")),
    ],
)
async def test_a_lesson_is_begun_watched_and_ended(
    staff: Client, gym: SimulatedBox, language: str, words: tuple[str, ...]
) -> None:
    assert (await staff.post("/sports/begin", data=LESSON)).status == 200
    for bpm in (150, 203, 204, 205):
        beat(gym, bpm)
    page = await shown(staff, language)
    for word in ("欧阳若琳", "205", *words):
        assert word in page
    (exercise,) = gym.sports.exercises()
    answer = await staff.post("/sports/end", data={"session": exercise.session})
    assert answer.status == 200
    assert gym.sports.exercises() == []
    page = await shown(staff)
    assert 'value="7"' in page, "the next lesson begins with the same bands"


async def test_what_does_not_fit_is_refused_with_a_sentence(
    staff: Client, gym: SimulatedBox
) -> None:
    cases: list[tuple[str, dict[str, str], int]] = [
        ("begin", {**LESSON, "band_901": ""}, 409),
        ("begin", {**LESSON, "band_902": "7"}, 400),
        ("begin", {**LESSON, "band_901": "", f"band_{'9' * 5_000}": "7"}, 409),
        ("begin", {**LESSON, "alarm_bpm": "20"}, 400),
        ("begin", {"group": "g3c1", "band_901": "7"}, 400),
        ("end", {"session": "gone"}, 409),
        ("settle", {"number": "9", "wearer": "x"}, 409),
        ("list", {"list": "nothing"}, 400),
    ]
    for path, fields, status in cases:
        answer = await staff.post(f"/sports/{path}", data=fields)
        assert answer.status == status, (path, fields)
        assert 'role="alert"' in await answer.text()
    assert gym.sports.exercises() == []


async def test_results_stand_in_the_table_and_doubtful_ones_wait(
    staff: Client, gym: SimulatedBox
) -> None:
    gym.sports.take(
        StationResult(
            device=DeviceId("lines:gym"),
            station="run_50m",
            wearer="whoever",
            result=8.75,
            unit="s",
            observed_ms=gym.clock_ms,
            source="test",
        )
    )
    page = await shown(staff)
    assert "whoever" in page
    (doubtful,) = gym.sports.doubtful()
    fields = {"number": str(doubtful.number), "wearer": "1001"}
    assert (await staff.post("/sports/settle", data=fields)).status == 200
    page = await shown(staff)
    assert "8.75" in page
    assert "whoever" not in page


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
async def test_a_stations_file_is_taken_as_windows_writes_it(
    staff: Client, gym: SimulatedBox, encoding: str
) -> None:
    form = aiohttp.FormData()
    form.add_field("file", "学号,50米跑\n1001,8.75\n9,8\n".encode(encoding), filename="a.csv")
    answer = await staff.post("/sports/list", data=form)
    page = await answer.text()
    assert "1 results taken, 1 not." in page
    assert "line 3" in page
    assert "8.75" in page
    assert gym.sports.doubtful() == []
