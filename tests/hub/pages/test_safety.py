"""What the district sees of alarms, drills and troubles, and what it answers."""

import dataclasses
import sqlite3
from collections.abc import Iterator

import pytest

from hub.lesson.timetable import Row
from hub.locale.catalogue import ENGLISH, Reader
from hub.pages.hub_view import SchoolLight
from hub.pages.lights import State, school_light
from hub.queries import SchoolNow, read_district
from hub.safety_queries import DRILL_MS_MAX
from tests.hub.pages.browser import Browser
from tests.hub.pages.paper_hub import HOUR, MINUTE, SECOND, TEN_O_CLOCK, PaperHub

NOW = TEN_O_CLOCK


@pytest.fixture
def connection(hub: PaperHub) -> Iterator[sqlite3.Connection]:
    hub.add_school(1, "一小", "No. 1")
    connection = hub.connect()
    yield connection
    connection.close()


def now_of(connection: sqlite3.Connection) -> SchoolNow:
    (school,) = read_district(connection, NOW - 10 * HOUR, NOW)
    return school


def alarm(hub: PaperHub, age_ms: int, *, drill: int = 0, kind: str = "panic") -> str:
    incident = f"gate:{NOW - age_ms}"
    hub.record(
        "alarm",
        [
            {
                "school": 1,
                "at_ms": NOW - age_ms,
                "alarm": kind,
                "place": "门卫室",
                "drill": drill,
                "incident": incident,
            }
        ],
    )
    return incident


def step(hub: PaperHub, incident: str, step: str, age_ms: int, who: str = "李老师") -> None:
    row: Row = {"school": 1, "at_ms": NOW - age_ms, "incident": incident, "step": step, "who": who}
    hub.record("alarm_step", [row])


def light_of(now: SchoolNow) -> tuple[State, str]:
    box = SchoolLight(school=1, heartbeat_ms=NOW - SECOND, stored_ms=NOW - SECOND, lag_ms=0)
    light = school_light(now, box, NOW)
    return light.state, Reader(ENGLISH).say(light.word)


def test_an_alarm_is_red_until_taken_over_amber_until_the_all_clear(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    incident = alarm(hub, 5 * MINUTE)
    step(hub, incident, "raised", 5 * MINUTE, "")
    assert light_of(now_of(connection)) == (State.BAD, "alarm")
    step(hub, incident, "acknowledged", 4 * MINUTE)
    assert light_of(now_of(connection)) == (State.WARN, "alarm taken over")
    assert now_of(connection).alarms[0].taken_by == "李老师"
    other = alarm(hub, MINUTE)
    assert light_of(now_of(connection)) == (State.BAD, "alarm"), "the one that nobody took counts"
    for each in (incident, other):
        step(hub, each, "closed", 30 * SECOND)
    assert light_of(now_of(connection)) == (State.GOOD, "connected")
    assert len(now_of(connection).alarms) == 2, "both stay in the day's list"


def test_a_drill_is_shown_as_a_drill_and_its_alarms_are_none(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    drill = alarm(hub, 10 * MINUTE, drill=1, kind="drill")
    in_it = alarm(hub, 5 * MINUTE, drill=1)
    now = now_of(connection)
    assert (now.alarms, len(now.drills)) == ((), 1)
    assert light_of(now) == (State.GOOD, "drill")
    hub.record(
        "alarm",
        [{"school": 1, "at_ms": NOW - 5 * MINUTE, "alarm": "fire", "drill": 0, "incident": in_it}],
    )
    assert light_of(now_of(connection)) == (State.BAD, "alarm"), "declared real"
    step(hub, drill, "closed", MINUTE)
    assert now_of(connection).drills == ()


def test_a_drill_that_nobody_ended_is_over_after_its_longest(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    alarm(hub, DRILL_MS_MAX, drill=1, kind="drill")
    assert now_of(connection).drills == ()


def test_an_input_in_trouble_is_amber_until_it_is_well_or_watched_no_more(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    state: Row = {"school": 1, "circuit": "gate", "state": "trouble", "since_ms": NOW - HOUR}
    hub.record("circuit_state", [{**state, "reason": "no answer"}])
    assert now_of(connection).troubles == (), "nothing is known of such a circuit"
    hub.record("safety_circuit", [{"school": 1, "circuit": "gate", "name": "门卫室按钮"}])
    assert light_of(now_of(connection)) == (State.WARN, "safety input")
    assert now_of(connection).troubles[0].name == "门卫室按钮"
    hub.record("circuit_state", [{**state, "state": "normal"}])
    assert light_of(now_of(connection)) == (State.GOOD, "connected")


async def test_the_districts_answer_goes_to_the_school_that_raised_the_alarm(
    browser: Browser, hub: PaperHub, connection: sqlite3.Connection
) -> None:
    incident = alarm(hub, MINUTE)
    page = (await browser.get("/schools/1")).text
    assert "panic button" in page
    assert "Seen: tell the school" in page
    answer = await browser.post("/schools/1/seen", data={"incident": incident, "who": "区教育局"})
    assert (answer.status, answer.headers["Location"]) == (303, "/schools/1")
    rows = connection.execute("SELECT school, incident, who, at_ms FROM alarm_answer").fetchall()
    assert [tuple(row) for row in rows] == [(1, incident, "区教育局", hub.wall_ms)]
    assert "区教育局" in (await browser.get("/schools/1")).text
    assert light_of(now_of(connection))[0] is State.BAD, "only the school ends it"


async def test_an_answer_that_says_nothing_is_refused(browser: Browser) -> None:
    refused: list[dict[str, str]] = [{}, {"incident": "x"}, {"incident": "x", "who": "x" * 99}]
    for fields in refused:
        assert (await browser.post("/schools/1/seen", data=fields)).status == 400


async def test_a_stranger_answers_no_alarm(
    stranger: Browser, connection: sqlite3.Connection
) -> None:
    answer = await stranger.post("/schools/1/seen", data={"incident": "x", "who": "x"})
    assert answer.status == 401
    assert connection.execute("SELECT count(*) FROM alarm_answer").fetchone()[0] == 0


def test_an_answer_of_another_version_shows_no_more_than_there_is(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    hub.record("alarm", [{"school": 1, "at_ms": NOW - MINUTE, "alarm": "panic"}])
    (told,) = now_of(connection).alarms
    assert dataclasses.astuple(told)[4:] == (None, False, None, None, None, None, None)
