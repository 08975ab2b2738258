from dataclasses import replace
from itertools import combinations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.lesson.pairing import UnknownLessonError, pairings, read_calendar, read_lesson
from hub.lesson.request import LessonRequest, Party
from hub.lesson.schedule import (
    Plan,
    PlanRefusedError,
    new_lesson_id,
    plan_cancel,
    plan_lesson,
    plan_lessons,
    plan_move,
    plan_swap,
    repeat_weekly,
)
from hub.lesson.timetable import Calendar, Slot, overlaps
from sync.schema import BY_NAME
from tests.hub.pages.paper_hub import DAY, HOUR, MINUTE, TEN_O_CLOCK, PaperHub, fill

NOW = TEN_O_CLOCK
SCHOOLS = {1: "一小", 2: "光明小学", 3: "湖泗小学", 4: "二小"}
FREE = Calendar(schools=SCHOOLS, rooms={}, slots=())


def party(school: int, room: str = "301", class_group: str = "3-2") -> Party:
    return Party(school=school, class_group=class_group, room=room)


def request(**changes: object) -> LessonRequest:
    asked = LessonRequest(
        kind="delivery",
        title_zh="水彩画",
        title_en="Watercolour",
        subject="美术",
        teacher="李老师",
        starts_ms=NOW + HOUR,
        ends_ms=NOW + HOUR + 40 * MINUTE,
        flagship=party(1),
        receivers=(party(2), party(3)),
    )
    return msgspec.structs.replace(asked, **changes)


def taken(school: int = 2, room: str = "301", **changes: object) -> Slot:
    fields = {
        "school": school,
        "slot": "own",
        "class_group": "5-1",
        "room": room,
        "subject": "语文",
        "teacher": "",
        "starts_ms": NOW + HOUR,
        "ends_ms": NOW + HOUR + 40 * MINUTE,
        "lesson": None,
        **changes,
    }
    return msgspec.convert(fields, Slot)


def calendar(*slots: Slot) -> Calendar:
    return Calendar(schools=SCHOOLS, rooms={}, slots=slots)


def refusal(asked: LessonRequest, known: Calendar = FREE) -> str:
    with pytest.raises(PlanRefusedError) as refused:
        plan_lesson("a1", asked, known, NOW)
    return str(refused.value)


def record_into(hub: PaperHub, asked: LessonRequest, lesson: str) -> Plan:
    connection = hub.connect()
    known = read_calendar(connection, asked.parties, asked.starts_ms, asked.ends_ms)
    connection.close()
    plan = plan_lesson(lesson, asked, known, hub.wall_ms)
    hub.record_all(plan.rows)
    return plan


def test_one_flagship_and_two_receivers_make_the_rows_of_all_three_tables() -> None:
    plan = plan_lesson("a1", request(), FREE, NOW)

    assert [(row["school"], row["role"]) for row in plan.rows["lesson_party"]] == [
        (1, "flagship"),
        (2, "receiver"),
        (3, "receiver"),
    ]
    assert [row["school"] for row in plan.rows["timetable_slot"]] == [1, 2, 3]
    assert {row["lesson"] for row in plan.rows["timetable_slot"]} == {"a1"}
    (lesson,) = plan.rows["lesson"]
    assert (lesson["school"], lesson["title_en"], lesson["cancelled"]) == (1, "Watercolour", 0)


def test_every_planned_row_has_exactly_the_columns_its_table_declares() -> None:
    plan = plan_lesson("a1", request(), FREE, NOW)

    for table, rows in plan.rows.items():
        for row in rows:
            assert row.keys() == {"school", *BY_NAME[table].column_names}


def test_a_lesson_is_recorded_after_its_parties_and_slots() -> None:
    plan = plan_lesson("a1", request(), FREE, NOW)

    assert list(plan.rows) == ["lesson_party", "timetable_slot", "lesson"]


def test_an_unknown_school_is_named_with_the_remedy() -> None:
    said = refusal(request(receivers=(party(9),)))

    assert said == "School 9 is not known here; invite it first, or correct the number."


def test_a_school_is_never_paired_with_itself() -> None:
    assert "一小 gives this lesson and cannot also receive it" in refusal(
        request(receivers=(party(1, "302"), party(2)))
    )


def test_a_school_takes_part_with_one_class_only() -> None:
    assert "光明小学 is named twice" in refusal(request(receivers=(party(2), party(2, "302"))))


def test_a_lesson_that_ends_before_it_starts_is_refused() -> None:
    said = refusal(request(ends_ms=NOW + 30 * MINUTE))

    assert said == "The lesson ends (10:30) before it starts (11:00); choose a later end."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"receivers": ()}, "no receiving class"),
        ({"receivers": tuple(party(n) for n in range(2, 63))}, "the most is 60"),
        ({"title_zh": " "}, "no title"),
        ({"subject": ""}, "no subject"),
        ({"kind": "party"}, "“party” is no kind of lesson"),
        ({"teacher": "李" * 121}, "longer than 120 characters"),
        ({"flagship": party(1, room=" ")}, "一小 has no room"),
        ({"flagship": party(1, class_group="")}, "一小 has no class"),
        ({"starts_ms": NOW - 2 * HOUR, "ends_ms": NOW - HOUR}, "would be over already"),
        ({"ends_ms": NOW + 10 * HOUR}, "longer than 8 hours"),
        ({"starts_ms": NOW + 401 * DAY, "ends_ms": NOW + 401 * DAY + HOUR}, "400 days ahead"),
    ],
)
def test_each_fault_of_a_request_is_said_in_a_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    assert sentence in refusal(request(**changes))


def test_every_fault_is_said_at_once() -> None:
    said = refusal(request(title_zh="", receivers=(party(9), party(2)), flagship=party(2)))

    assert "no title" in said
    assert "School 9" in said
    assert "cannot also receive it" in said


def test_a_lesson_that_has_begun_may_still_be_scheduled() -> None:
    late = request(starts_ms=NOW - 5 * MINUTE, ends_ms=NOW + 35 * MINUTE)

    assert plan_lesson("a1", late, FREE, NOW).lessons == ("a1",)


def test_an_overlap_in_the_same_room_is_refused_with_what_is_there() -> None:
    said = refusal(request(), calendar(taken(starts_ms=NOW + HOUR + 39 * MINUTE)))

    assert "光明小学: room 301 is taken by 语文 on Saturday, November 21, 2026, 11:39" in said
    assert "choose another time or room" in said


def test_an_overlap_of_the_same_class_in_another_room_is_refused() -> None:
    assert "class 3-2 has 语文" in refusal(
        request(), calendar(taken(room="gym", class_group="3-2"))
    )


def test_lessons_may_touch_without_overlapping() -> None:
    before = taken(starts_ms=NOW + 20 * MINUTE, ends_ms=NOW + HOUR)
    elsewhere = taken(school=4)

    assert plan_lesson("a1", request(), calendar(before, elsewhere), NOW).lessons == ("a1",)


def test_a_class_s_own_period_is_taken_over_and_given_back_on_cancel(hub: PaperHub) -> None:
    fill(hub)
    own = taken(class_group="3-2", subject="美术")
    hub.record("timetable_slot", [own.row()])

    plan = record_into(hub, request(), "a1")
    connection = hub.connect()
    scheduled = read_lesson(connection, "a1")
    connection.close()
    cancelled = plan_cancel(scheduled, NOW)

    assert {(row["school"], row["slot"]) for row in plan.rows["timetable_slot"]} == {
        (1, "a1"),
        (2, "own"),
        (3, "a1"),
    }
    by_school = {row["school"]: row for row in cancelled.rows["timetable_slot"]}
    assert (by_school[2]["lesson"], "deleted" in by_school[2]) == (None, False)
    assert by_school[1]["deleted"] == by_school[3]["deleted"] == 1
    assert cancelled.rows["lesson"][0]["cancelled"] == 1


def test_a_room_its_school_never_reported_is_a_warning_not_a_refusal() -> None:
    known = Calendar(schools=SCHOOLS, rooms={2: frozenset({"302", "303"})}, slots=())

    (warning,) = plan_lesson("a1", request(), known, NOW).warnings

    assert warning.arguments["rooms"] == "302, 303"


def test_several_flagships_are_planned_together_or_not_at_all() -> None:
    first = request(receivers=(party(2),))
    second = request(flagship=party(4), receivers=(party(3),))
    clashing = request(flagship=party(4), receivers=(party(2),))

    both = plan_lessons([("a1", first), ("a2", second)], FREE, NOW)
    with pytest.raises(PlanRefusedError, match="光明小学: room 301"):
        plan_lessons([("a1", first), ("a2", clashing)], FREE, NOW)

    assert [row["school"] for row in both.rows["lesson"]] == [1, 4]


def test_a_weekly_lesson_keeps_its_weekday_and_hour_and_says_each_fault_once() -> None:
    weekly = repeat_weekly(request(), 26)

    assert [week.starts_ms - NOW for week in weekly[:3]] == [
        HOUR,
        HOUR + 7 * DAY,
        HOUR + 14 * DAY,
    ]
    with pytest.raises(PlanRefusedError) as refused:
        plan_lessons(
            [
                (str(n), msgspec.structs.replace(week, receivers=(party(9),)))
                for n, week in enumerate(weekly)
            ],
            FREE,
            NOW,
        )
    assert len(refused.value.reasons) == 1


def test_a_lesson_moves_to_a_time_that_overlaps_only_itself(hub: PaperHub) -> None:
    fill(hub)
    record_into(hub, request(), "a1")
    connection = hub.connect()
    scheduled = read_lesson(connection, "a1")
    starts_ms = NOW + HOUR + 20 * MINUTE
    known = read_calendar(connection, scheduled.request.parties, starts_ms, starts_ms + HOUR)
    connection.close()

    plan = plan_move(scheduled, starts_ms, starts_ms + 40 * MINUTE, known, NOW)

    assert {row["starts_ms"] for row in plan.rows["timetable_slot"]} == {starts_ms}
    assert not any(row.get("deleted") for row in plan.rows["timetable_slot"])
    assert plan.rows["lesson"][0]["starts_ms"] == starts_ms


def test_two_lessons_of_the_same_room_trade_times(hub: PaperHub) -> None:
    fill(hub)
    record_into(hub, request(), "a1")
    record_into(hub, request(starts_ms=NOW + 3 * HOUR, ends_ms=NOW + 4 * HOUR), "a2")
    connection = hub.connect()
    first, second = read_lesson(connection, "a1"), read_lesson(connection, "a2")
    known = read_calendar(connection, first.request.parties, NOW, NOW + 5 * HOUR)
    connection.close()

    plan = plan_swap(first, second, known, NOW)

    times = {row["lesson"]: row["starts_ms"] for row in plan.rows["lesson"]}
    assert times == {"a1": NOW + 3 * HOUR, "a2": NOW + HOUR}
    with pytest.raises(PlanRefusedError, match="itself"):
        plan_swap(first, first, known, NOW)


def test_what_is_over_cancelled_or_begun_is_not_changed(hub: PaperHub) -> None:
    fill(hub)
    record_into(hub, request(), "a1")
    connection = hub.connect()
    scheduled = read_lesson(connection, "a1")
    hub.record_all(plan_cancel(scheduled, NOW).rows)
    cancelled = read_lesson(connection, "a1")
    connection.close()

    with pytest.raises(PlanRefusedError, match="is over"):
        plan_cancel(scheduled, NOW + DAY)
    with pytest.raises(PlanRefusedError, match="cancelled already"):
        plan_cancel(cancelled, NOW)
    with pytest.raises(PlanRefusedError, match="has begun"):
        plan_move(scheduled, NOW + DAY, NOW + DAY + HOUR, FREE, NOW + HOUR)
    assert cancelled.slots == ()


def test_pairings_tell_one_flagship_from_several_that_share_receivers(hub: PaperHub) -> None:
    fill(hub)
    for school in (4, 5, 6):
        hub.add_school(school, f"第{school}小学", f"School {school}")
    record_into(hub, request(receivers=(party(2),)), "a1")
    record_into(hub, request(starts_ms=NOW + 2 * HOUR, ends_ms=NOW + 3 * HOUR), "a2")
    record_into(hub, request(flagship=party(4), receivers=(party(5),)), "a3")
    later = {"starts_ms": NOW + 4 * HOUR, "ends_ms": NOW + 5 * HOUR}
    record_into(hub, request(flagship=party(6), receivers=(party(5),), **later), "a4")
    connection = hub.connect()

    one, several = pairings(connection, NOW, NOW + DAY)
    none = pairings(connection, NOW + DAY, NOW + 2 * DAY)
    connection.close()

    assert (one.pattern, one.flagships, one.receivers, one.lessons) == ("1+N", (1,), (2, 3), 2)
    assert (several.pattern, several.flagships, several.receivers) == ("N+N", (4, 6), (5,))
    assert none == []


def test_a_lesson_nobody_scheduled_is_unknown(hub: PaperHub) -> None:
    connection = hub.connect()
    with pytest.raises(UnknownLessonError):
        read_lesson(connection, "nope")
    connection.close()


def test_lesson_ids_come_from_the_chance_given() -> None:
    assert new_lesson_id(Random(1)) == new_lesson_id(Random(1)) != new_lesson_id(Random(2))


times = st.integers(0, 12).map(lambda n: NOW + HOUR + n * 20 * MINUTE)
requests = st.builds(
    lambda flagship, receivers, starts_ms, length, room: request(
        flagship=party(flagship, room),
        receivers=tuple(party(school, room) for school in sorted(receivers - {flagship})),
        starts_ms=starts_ms,
        ends_ms=starts_ms + length * MINUTE,
    ),
    st.integers(1, 4),
    st.sets(st.integers(1, 4), min_size=1),
    times,
    st.sampled_from([20, 40, 60]),
    st.sampled_from(["301", "302"]),
)


@given(st.lists(requests, max_size=12))
def test_no_two_accepted_lessons_ever_share_a_room_or_a_class(asked: list[LessonRequest]) -> None:
    slots: list[Slot] = []
    for number, one in enumerate(asked):
        try:
            plan = plan_lesson(str(number), one, calendar(*slots), NOW)
        except PlanRefusedError:
            continue
        slots += [msgspec.convert(row, Slot) for row in plan.rows["timetable_slot"]]

    assert not any(overlaps(one, other) for one, other in combinations(slots, 2))


def test_a_recording_that_is_to_stand_in_is_one_that_is_known() -> None:
    with pytest.raises(PlanRefusedError, match="is not known here"):
        plan_lesson("a1", request(substitute="earlier"), FREE, NOW)
    recorded = replace(FREE, recorded={"earlier": frozenset({1, 2, 3})})
    plan = plan_lesson("a1", request(substitute="earlier"), recorded, NOW)
    assert plan.rows["lesson"][0]["substitute"] == "earlier"
    assert plan.warnings == ()
    with pytest.raises(PlanRefusedError, match="is not known here"):
        plan_lesson("earlier", request(substitute="earlier"), recorded, NOW)


def test_a_class_that_cannot_have_the_recording_is_pointed_out() -> None:
    recorded = replace(FREE, recorded={"earlier": frozenset({1, 2})})
    plan = plan_lesson("a1", request(substitute="earlier"), recorded, NOW)
    assert [sentence.arguments["school"] for sentence in plan.warnings] == ["湖泗小学"]


def test_a_lesson_that_is_moved_keeps_its_recording(hub: PaperHub) -> None:
    fill(hub)
    hub.record("recording", [{"school": 1, "lesson": "earlier", "take": "t", "bytes": 1}])
    hub.record("lesson_party", [{"school": 1, "lesson": "earlier", "role": "flagship"}])
    connection = hub.connect()
    calendar = read_calendar(connection, request().parties, NOW, NOW + DAY)
    hub.record_all(plan_lesson("a1", request(substitute="earlier"), calendar, NOW).rows)
    calendar = read_calendar(connection, request().parties, NOW, NOW + DAY)
    scheduled = read_lesson(connection, "a1")
    plan = plan_move(scheduled, NOW + 2 * HOUR, NOW + 3 * HOUR, calendar, NOW)
    connection.close()
    assert plan.rows["lesson"][0]["substitute"] == "earlier"
