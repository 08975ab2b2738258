"""Attendance by its rules: examples a teacher would name, and properties against a slow twin."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.attendance.rules import (
    MINUTE_MS,
    Judgement,
    Leave,
    MakeUp,
    Period,
    Place,
    Rules,
    Status,
    Tap,
    find_sessions,
    judge,
)

RULES = Rules(grace_ms=5 * MINUTE_MS, early_ms=60 * MINUTE_MS, break_ms=40 * MINUTE_MS)
GROUP, ROOM, DAY = "g3c1", "r301", "2026-11-23"
PUPILS = (1, 2, 3)
EVENING = 24 * 60


def period(name: str, starts: int, ends: int, group: str = GROUP, room: str = ROOM) -> Period:
    """Return a lesson at minutes of the day."""
    return Period(
        day=DAY,
        slot=name,
        class_group=group,
        room=room,
        starts_ms=starts * MINUTE_MS,
        ends_ms=ends * MINUTE_MS,
    )


MORNING = (
    period("1", 480, 520),
    period("2", 530, 570),
    period("3", 590, 630),
    period("4", 640, 680),
)
AFTERNOON = (period("5", 840, 880), period("6", 890, 930))


def tap(minute: int, person: int, room: str = ROOM) -> Tap:
    return Tap(at_ms=minute * MINUTE_MS, person=person, room=room)


def leave(person: int, starts: int, ends: int) -> Leave:
    return Leave(person=person, from_ms=starts * MINUTE_MS, until_ms=ends * MINUTE_MS)


def judged(
    taps: Sequence[Tap],
    leaves: Sequence[Leave] = (),
    make_ups: Sequence[MakeUp] = (),
    *,
    periods: Sequence[Period] = (*MORNING, *AFTERNOON),
    now: int = EVENING,
) -> dict[Place, Judgement]:
    return judge(periods, {GROUP: PUPILS}, taps, leaves, make_ups, RULES, now * MINUTE_MS)


def day_of(person: int, found: dict[Place, Judgement]) -> dict[str, str]:
    return {place.slot: str(each.status) for place, each in found.items() if place.person == person}


def test_a_tap_in_the_morning_counts_until_noon_and_not_for_the_afternoon() -> None:
    found = judged([tap(465, 1), tap(830, 2)])
    assert day_of(1, found) == {
        **dict.fromkeys("1234", "present"),
        **dict.fromkeys("56", "absent"),
    }
    assert day_of(2, found) == {
        **dict.fromkeys("1234", "absent"),
        **dict.fromkeys("56", "present"),
    }


@pytest.mark.parametrize(
    ("minute", "status"), [(420, "present"), (485, "present"), (486, "late"), (519, "late")]
)
def test_who_comes_after_the_grace_is_late_in_that_lesson_and_present_in_the_next(
    minute: int, status: str
) -> None:
    found = day_of(1, judged([tap(minute, 1)]))
    assert (found["1"], found["2"]) == (status, "present")


def test_who_comes_in_the_break_missed_the_lesson_before() -> None:
    assert day_of(1, judged([tap(525, 1)], periods=MORNING)) == {
        "1": "absent",
        "2": "present",
        "3": "present",
        "4": "present",
    }


def test_a_dead_reader_makes_nobody_absent() -> None:
    assert judged([]) == {}
    assert set(day_of(1, judged([tap(470, 2)]))) == set("1234")


def test_leave_is_noted_also_where_nobody_tapped() -> None:
    assert day_of(1, judged([], [leave(1, 400, 600)])) == dict.fromkeys("123", "leave")


def test_who_taps_though_on_leave_is_present() -> None:
    assert day_of(1, judged([tap(475, 1)], [leave(1, 400, 1000)]))["1"] == "present"


def test_who_went_on_leave_has_to_be_seen_again() -> None:
    gone = [leave(1, 525, 580)]
    stayed_away = day_of(1, judged([tap(470, 1)], gone, periods=MORNING))
    assert stayed_away == {"1": "present", "2": "leave", "3": "absent", "4": "absent"}
    came_back = day_of(1, judged([tap(470, 1), tap(592, 1)], gone, periods=MORNING))
    assert came_back == {"1": "present", "2": "leave", "3": "present", "4": "present"}


def test_a_leave_that_ends_in_a_lesson_moves_the_moment_from_which_one_is_late() -> None:
    away = [leave(1, 400, 500)]
    assert day_of(1, judged([tap(504, 1)], away))["1"] == "present"
    assert day_of(1, judged([tap(506, 1)], away))["1"] == "late"


def test_nobody_is_absent_before_the_grace_is_over_and_no_lesson_before_it_begins() -> None:
    assert day_of(1, judged([tap(470, 2)], now=484)) == {}
    assert day_of(1, judged([tap(470, 2)], now=486)) == {"1": "absent"}
    assert day_of(2, judged([tap(470, 2)], now=475)) == {"1": "present"}
    assert judged([tap(470, 2)], now=469) == {}


def test_a_tap_at_another_door_proves_nothing_here() -> None:
    assert day_of(1, judged([tap(470, 1, "gym"), tap(470, 2)]))["1"] == "absent"


def test_a_missed_lesson_is_made_up_for_by_being_seen_in_the_lesson_named_instead() -> None:
    instead = period("x", 700, 740, group="g3c2", room="r302")
    word = MakeUp(person=1, day=DAY, slot="2", instead=instead)
    seen = [tap(470, 2), tap(705, 1, "r302")]
    assert day_of(1, judged(seen, make_ups=[word]))["2"] == "made_up"
    assert day_of(1, judged(seen, [leave(1, 525, 575)], [word]))["2"] == "made_up"
    assert day_of(1, judged(seen[:1], make_ups=[word]))["2"] == "absent"
    assert day_of(1, judged([tap(470, 1), *seen], make_ups=[word]))["2"] == "present"
    earlier = MakeUp(person=3, day="2026-11-20", slot="2", instead=instead)
    found = judged([tap(710, 3, "r302")], make_ups=[earlier])
    assert found[Place(day="2026-11-20", slot="2", person=3)].status is Status.MADE_UP


minutes = st.integers(400, 1_000)
taps_drawn = st.lists(st.builds(tap, minutes, st.sampled_from(PUPILS), st.just(ROOM)), max_size=12)
leaves_drawn = st.lists(
    st.builds(
        lambda person, start, length: leave(person, start, start + length),
        st.sampled_from(PUPILS),
        minutes,
        st.integers(1, 300),
    ),
    max_size=4,
)


@st.composite
def timetables(draw: st.DrawFn) -> tuple[Period, ...]:
    made, at = [], draw(st.integers(430, 520))
    for number in range(draw(st.integers(1, 7))):
        ends = at + draw(st.integers(10, 60))
        made.append(period(str(number), at, ends))
        at = ends + draw(st.sampled_from([0, 10, 40, 41, 120]))
    return tuple(made)


def slow_twin(
    periods: Sequence[Period], taps: Sequence[Tap], leaves: Sequence[Leave], now: int
) -> dict[tuple[str, int], str]:
    """Judge minute by minute, as the rules say it in words."""
    seen = {(each.at_ms // MINUTE_MS, each.person) for each in taps}
    seen = {each for each in seen if each[0] <= now}
    told = {}
    for number, lesson in enumerate(periods):
        first, opens, closes = slow_session(periods, number)
        watched = any(opens <= minute < closes for minute, _ in seen)
        starts, ends = lesson.starts_ms // MINUTE_MS, lesson.ends_ms // MINUTE_MS
        for person in PUPILS:
            own = sorted(
                (each.from_ms // MINUTE_MS, each.until_ms // MINUTE_MS)
                for each in leaves
                if each.person == person
            )
            due, here = starts + 5, opens
            for begins, finishes in own:
                if begins <= due:
                    here = max(here, begins)
                    due = finishes + 5 if finishes > due else due
            arrived = next((at for at in range(here, ends) if (at, person) in seen), None)
            if arrived is not None and (now >= starts or number == first):
                told[lesson.slot, person] = "present" if arrived <= due else "late"
            elif now >= starts and any(begins < ends and done > starts for begins, done in own):
                told[lesson.slot, person] = "leave"
            elif now > max(starts, due) and watched:
                told[lesson.slot, person] = "absent"
    return told


def slow_session(periods: Sequence[Period], number: int) -> tuple[int, int, int]:
    """Return the number of the session's first lesson, and the minutes in which taps count."""
    gaps = [
        after.starts_ms - before.ends_ms > RULES.break_ms for before, after in pairwise(periods)
    ]
    first = max((place + 1 for place in range(number) if gaps[place]), default=0)
    last = min((place for place in range(number, len(gaps)) if gaps[place]), default=len(gaps))
    opens = periods[first].starts_ms // MINUTE_MS - 60
    if first > 0:
        opens = max(opens, periods[first - 1].ends_ms // MINUTE_MS)
    return first, opens, periods[last].ends_ms // MINUTE_MS


@given(timetables(), taps_drawn, leaves_drawn, st.integers(400, 1_100))
def test_the_rules_agree_with_a_twin_that_goes_minute_by_minute(
    periods: tuple[Period, ...], taps: list[Tap], leaves: list[Leave], now: int
) -> None:
    found = judged(taps, leaves, periods=periods, now=now)
    told = {(place.slot, place.person): str(each.status) for place, each in found.items()}
    assert told == slow_twin(periods, taps, leaves, now)


@given(timetables(), taps_drawn, leaves_drawn, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_taps_matters(
    periods: tuple[Period, ...],
    taps: list[Tap],
    leaves: list[Leave],
    chance: random.Random,
) -> None:
    shuffled = [*taps, *taps]
    chance.shuffle(shuffled)
    assert judged(shuffled, leaves, periods=periods) == judged(taps, leaves, periods=periods)


RANK = {"present": 0, "late": 1, "leave": 2, "absent": 2}


@given(timetables(), taps_drawn, leaves_drawn, minutes)
def test_a_further_tap_never_makes_its_own_person_worse(
    periods: tuple[Period, ...], taps: list[Tap], leaves: list[Leave], minute: int
) -> None:
    before = day_of(1, judged([*taps, tap(700, 2)], leaves, periods=periods))
    after = day_of(1, judged([*taps, tap(700, 2), tap(minute, 1)], leaves, periods=periods))
    for slot, status in before.items():
        assert RANK[after[slot]] <= RANK[status]


@given(timetables())
def test_every_lesson_is_in_one_session_and_sessions_of_a_class_share_no_moment(
    periods: tuple[Period, ...],
) -> None:
    sessions = find_sessions(periods, RULES)
    assert sorted(each.slot for one in sessions for each in one.periods) == sorted(
        each.slot for each in periods
    )
    spans = sorted((one.from_ms, one.until_ms) for one in sessions)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
