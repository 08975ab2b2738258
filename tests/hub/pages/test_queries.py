import sqlite3
from collections.abc import Iterator

import pytest

from hub.lesson.timetable import Row
from hub.lesson_queries import read_lesson_evidence, read_lessons, read_quality, read_upcoming
from hub.locale.catalogue import start_of_day
from hub.queries import read_district, read_school
from sync.lessons.lesson_times import LONGER_MS_MAX
from tests.hub.pages.paper_hub import DAY, HOUR, MINUTE, SECOND, TEN_O_CLOCK, PaperHub, fill

NOW = TEN_O_CLOCK
MIDNIGHT = start_of_day(NOW)


@pytest.fixture
def connection(hub: PaperHub) -> Iterator[sqlite3.Connection]:
    opened = hub.connect()
    yield opened
    opened.close()


def tap(school: int, at_ms: int) -> Row:
    return {"school": school, "at_ms": at_ms, "device": "gate", "person": 1}


def lesson(hub: PaperHub, lesson: str, starts_ms: int, **changes: int | str | None) -> None:
    row: Row = {
        "school": 1,
        "lesson": lesson,
        "kind": "delivery",
        "title_zh": "水彩画",
        "title_en": "Watercolour",
        "teacher": "李老师",
        "starts_ms": starts_ms,
        "ends_ms": starts_ms + 40 * MINUTE,
        "rehearsal": 0,
        "cancelled": 0,
    }
    hub.record("lesson", [row | changes])
    for school, role in ((2, "receiver"), (1, "flagship")):
        hub.record(
            "lesson_party",
            [
                {
                    "school": school,
                    "lesson": lesson,
                    "role": role,
                    "class_group": "3-2",
                    "room": "301",
                }
            ],
        )


def test_midnight_is_the_district_s_not_the_server_s() -> None:
    assert NOW - MIDNIGHT == 10 * HOUR
    assert start_of_day(MIDNIGHT) == MIDNIGHT
    assert start_of_day(MIDNIGHT - 1) == MIDNIGHT - DAY


def test_taps_are_counted_from_midnight_and_the_newest_is_known(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    hub.add_school(1, "一小", "No. 1")
    hub.record("card_tap", [tap(1, MIDNIGHT - 1), tap(1, MIDNIGHT), tap(1, NOW - SECOND)])

    (school,) = read_district(connection, MIDNIGHT, NOW)

    assert (school.taps_today, school.tap_ms) == (2, NOW - SECOND)


def test_rows_from_a_clock_that_runs_ahead_never_look_fresh(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    hub.add_school(1, "一小", "No. 1")
    hub.record("card_tap", [tap(1, NOW + DAY)])
    hub.record("alarm", [{"school": 1, "at_ms": NOW + DAY, "alarm": "panic", "drill": 0}])

    (school,) = read_district(connection, MIDNIGHT, NOW)

    assert (school.taps_today, school.tap_ms, school.alarms) == (0, None, ())


def test_alarms_of_a_day_count_and_drills_do_not(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    hub.add_school(1, "一小", "No. 1")
    for age, drill in ((25 * HOUR, 0), (HOUR, 0), (MINUTE, 1), (2 * MINUTE, None)):
        hub.record(
            "alarm",
            [{"school": 1, "at_ms": NOW - age, "alarm": "panic", "place": "gate", "drill": drill}],
        )

    (school,) = read_district(connection, MIDNIGHT, NOW)

    assert [NOW - alarm.at_ms for alarm in school.alarms] == [2 * MINUTE, HOUR]


def test_withdrawn_schools_and_devices_are_gone(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    fill(hub)
    hub.record("school", [{"school": 3, "name": "x", "deleted": 1}])
    hub.record("device", [{"school": 2, "device": "camera:a1", "kind": "camera", "deleted": 1}])

    first, second = read_district(connection, MIDNIGHT, NOW)

    assert first.devices == {"camera": 1, "card_reader": 1, "farm_sensor": 1}
    assert second.devices == {"card_reader": 1, "farm_sensor": 1}


def test_a_school_shows_the_newest_value_of_each_point(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    fill(hub)
    bad: Row = {
        "school": 2,
        "at_ms": NOW - 3 * SECOND,
        "device": "modbus:bus0:17",
        "point": "soil_ec",
        "value": None,
        "quality": "bad",
        "reason": "no answer",
    }
    hub.record("reading", [bad])

    detail = read_school(connection, 2, MIDNIGHT, NOW)

    assert detail is not None
    assert [(r.point, r.at_ms, r.value, r.reason) for r in detail.readings] == [
        ("soil_ec", NOW - 3 * SECOND, None, "no answer"),
        ("soil_moisture", NOW - SECOND, pytest.approx(31.517, abs=0.001), None),
    ]
    assert len(detail.devices) == 3
    assert read_school(connection, 99, MIDNIGHT, NOW) is None


def test_a_point_of_words_is_without_an_answer_only_until_its_next_word(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    fill(hub)
    door: Row = {"school": 2, "device": "modbus:bus0:17", "point": "input_1"}
    missed: Row = {"value": None, "quality": "bad", "reason": "no answer"}

    def points() -> list[str]:
        detail = read_school(connection, 2, MIDNIGHT, NOW)
        assert detail is not None
        return [reading.point for reading in detail.readings]

    hub.record("device_state", [door | {"value": "open", "observed_ms": NOW - 9 * SECOND}])
    hub.record("reading", [door | missed | {"at_ms": NOW - 3 * SECOND}])
    assert points() == ["input_1", "soil_moisture"]
    hub.record("device_state", [door | {"value": "open", "observed_ms": NOW - 2 * SECOND}])
    assert points() == ["soil_moisture"]


def test_lessons_of_a_day_come_with_their_parties_and_what_each_has_on_record(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    lesson(hub, "a1", MIDNIGHT)
    lesson(hub, "a0", MIDNIGHT - 1)
    lesson(hub, "a2", MIDNIGHT + DAY)
    hub.record(
        "lesson_minutes",
        [
            {
                "school": 2,
                "lesson": "a1",
                "live_s": 2000,
                "recorded_s": 2400,
                "missing_s": 0,
                "rung": "main",
            }
        ],
    )
    for take, complete in (("t1", 1), ("t2", 0)):
        hub.record(
            "recording",
            [
                {
                    "school": 2,
                    "lesson": "a1",
                    "take": take,
                    "recorded_ms": 1000,
                    "bytes": 10,
                    "complete": complete,
                }
            ],
        )

    (found,) = read_lessons(connection, MIDNIGHT, MIDNIGHT + DAY)
    flagship, receiver = found.parties

    assert (found.lesson, flagship.school, flagship.minutes) == ("a1", 1, None)
    assert receiver.minutes is not None
    assert receiver.minutes.live_s == 2000
    assert (receiver.recorded_bytes, receiver.recording_complete) == (20, False)


def test_what_a_school_said_last_about_a_lesson_is_its_quality(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    lesson(hub, "a1", NOW - 10 * MINUTE)
    for age, state, of in ((60, "live", "a1"), (20, "degraded", "a1"), (5, "live", "other")):
        hub.record(
            "lesson_quality",
            [{"school": 2, "at_ms": NOW - age * SECOND, "lesson": of, "state": state}],
        )

    found = read_lesson_evidence(connection, "a1")

    assert found is not None
    assert found.parties[0].quality is None
    assert found.parties[1].quality is not None
    assert found.parties[1].quality.state == "degraded"
    history = read_quality(connection, 2, found, NOW)
    assert [quality.state for quality in history] == ["degraded", "live"]
    assert read_lesson_evidence(connection, "nope") is None


def test_only_lessons_that_have_not_begun_are_offered_for_a_swap(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    lesson(hub, "begun", NOW)
    lesson(hub, "later", NOW + DAY)
    lesson(hub, "soon", NOW + HOUR)
    lesson(hub, "off", NOW + 2 * HOUR, cancelled=1)

    assert [other.lesson for other in read_upcoming(connection, 1, NOW)] == ["soon", "later"]


def test_figures_of_a_district_never_walk_through_whole_tables(hub: PaperHub) -> None:
    fill(hub)
    walked: list[str] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
            plan = super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)  # type: ignore[arg-type] # passed on
            walked.extend(row["detail"] for row in plan if row["detail"].startswith("SCAN"))
            return super().execute(sql, parameters)  # type: ignore[arg-type] # passed on

    watched = sqlite3.connect(hub.path, factory=Watched)
    watched.row_factory = sqlite3.Row
    read_district(watched, MIDNIGHT, NOW)
    read_school(watched, 2, MIDNIGHT, NOW)
    watched.close()

    small = ("school", "device", "card_screen", "(subquery", "newest")
    assert [step for step in walked if not step.removeprefix("SCAN ").startswith(small)] == []


def order(hub: PaperHub, school: int = 1, **changes: int) -> None:
    """Let a school's teacher make lesson a1, planned for forty minutes, ten minutes longer."""
    row: Row = {
        "school": school,
        "lesson": "a1",
        "planned_starts_ms": NOW,
        "planned_ends_ms": NOW + 40 * MINUTE,
        "starts_ms": NOW,
        "ends_ms": NOW + 50 * MINUTE,
        "stopped": 0,
        "at_ms": NOW,
    }
    hub.record("lesson_order", [row | changes])


def test_a_lesson_stands_where_its_teacher_moved_it_beside_what_was_planned(
    hub: PaperHub, connection: sqlite3.Connection
) -> None:
    lesson(hub, "a1", NOW)
    order(hub)

    found = read_lesson_evidence(connection, "a1")

    assert found is not None
    assert found.ends_ms == NOW + 50 * MINUTE
    assert found.planned.ends_ms == NOW + 40 * MINUTE
    assert [each.ends_ms for each in read_lessons(connection, MIDNIGHT, MIDNIGHT + DAY)] == [
        NOW + 50 * MINUTE
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"school": 2},
        {"planned_starts_ms": NOW - HOUR},
        {"ends_ms": NOW + 40 * MINUTE + LONGER_MS_MAX + 1},
        {"starts_ms": NOW - 1},
        {"ends_ms": NOW},
        {"deleted": 1},
    ],
)
def test_an_order_that_the_boxes_pass_over_counts_at_the_hub_neither(
    hub: PaperHub, connection: sqlite3.Connection, changes: dict[str, int]
) -> None:
    lesson(hub, "a1", NOW)
    order(hub, **changes)

    found = read_lesson_evidence(connection, "a1")

    assert found is not None
    assert (found.starts_ms, found.ends_ms) == (NOW, NOW + 40 * MINUTE)
