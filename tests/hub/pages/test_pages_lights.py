"""What a light says is decided here, away from HTML: nothing is good without fresh evidence."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.lesson_queries import Lesson, LessonParty, Minutes, PlannedTimes, Quality
from hub.locale.catalogue import ENGLISH, Reader
from hub.pages.district import build_district
from hub.pages.hub_view import FlowLight, SchoolLight
from hub.pages.lesson_detail import build_detail
from hub.pages.lesson_grid import build_grid, find_periods
from hub.pages.lesson_lights import party_light
from hub.pages.lights import State, school_light
from hub.pages.tiles import WIDTH, lay_tiles
from hub.queries import School, SchoolNow
from hub.safety_queries import Alarm
from tests.hub.pages.paper_hub import DAY, HOUR, MINUTE, SECOND, TEN_O_CLOCK

NOW = TEN_O_CLOCK
ENGLISH_READER = Reader(ENGLISH)
HEARD = SchoolLight(
    school=2,
    heartbeat_ms=NOW - 12 * SECOND,
    stored_ms=NOW - 3 * SECOND,
    lag_ms=4 * MINUTE,
    waiting_bytes=1700,
    not_after_ms=NOW + 20 * DAY,
)
FULL = Minutes(live_s=2400, recorded_s=2400, missing_s=0, rung="main")
SHORT = Minutes(live_s=2000, recorded_s=2300, missing_s=100, rung="sub")
CUT = Minutes(live_s=1200, recorded_s=1200, missing_s=0, rung="main")
"""The line went in mid-lesson for good: no gap is known of, for nobody told of what followed."""
NOTHING = Minutes(live_s=0, recorded_s=0, missing_s=0, rung="")
CALM = SchoolNow(school=School(school=2, name="光明小学"), devices={})


def party(school: int, **known: Minutes | Quality | int | str | None) -> LessonParty:
    blank = LessonParty(
        school=school,
        role="receiver",
        class_group="3-2",
        room="301",
        quality=None,
        minutes=None,
        recorded_ms=None,
        recorded_bytes=None,
        recording_complete=False,
    )
    return dataclasses.replace(blank, **known)  # type: ignore[arg-type] # fields of several types


def lesson(
    lesson: str = "a1",
    schools: tuple[int, ...] = (1, 2, 3),
    starts_ms: int = NOW - 10 * MINUTE,
    *,
    cancelled: bool = False,
) -> Lesson:
    flagship, *receivers = schools
    return Lesson(
        lesson=lesson,
        flagship=flagship,
        kind="delivery",
        title_zh="水彩画",
        title_en="Watercolour",
        teacher="",
        starts_ms=starts_ms,
        ends_ms=starts_ms + 40 * MINUTE,
        rehearsal=False,
        cancelled=cancelled,
        planned=PlannedTimes(starts_ms=starts_ms, ends_ms=starts_ms + 40 * MINUTE),
        stopped=False,
        parties=(party(flagship, role="flagship"), *(party(school) for school in receivers)),
    )


def flow(school: int, ago_ms: int | None, missing: int | None = 0) -> FlowLight:
    return FlowLight(
        school=school,
        role="receiver",
        fragment_ms=None if ago_ms is None else NOW - ago_ms,
        fragments=100,
        bytes=2_000_000,
        missing=missing,
    )


def said(state: str, ago_ms: int, cause: str | None = None) -> Quality:
    return Quality(
        at_ms=NOW - ago_ms, hop="downlink", state=state, cause=cause, frames=25, late_ms=200
    )


def test_a_school_nobody_heard_of_is_grey_and_the_remedy_is_an_invitation() -> None:
    for unheard in (None, SchoolLight(school=2)):
        light = school_light(CALM, unheard, NOW)

        assert light.state is State.UNKNOWN
        assert light.remedy is not None
        assert "schoolnode-hub invite --school 2" in ENGLISH_READER.say(light.remedy)


def test_a_good_light_carries_its_evidence_and_each_age() -> None:
    light = school_light(CALM, HEARD, NOW)

    assert light.state is State.GOOD
    assert [ENGLISH_READER.say(fact) for fact in light.evidence] == [
        "heartbeat 12 s ago",
        "data stored 3 s ago",
        "sync lag 4 min",
        "1.7 KiB waiting",
    ]


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({"heartbeat_ms": NOW - 2 * MINUTE - 1}, State.WARN, "quiet"),
        ({"heartbeat_ms": NOW - 10 * MINUTE - 1}, State.BAD, "silent"),
        ({"lag_ms": 11 * MINUTE}, State.WARN, "behind"),
        ({"not_after_ms": NOW + 6 * DAY}, State.WARN, "certificate"),
        ({"lag_ms": None, "stored_ms": None, "not_after_ms": None}, State.GOOD, "connected"),
    ],
)
def test_a_box_that_is_not_well_says_what_and_what_to_do(
    changes: dict[str, int | None], state: State, word: str
) -> None:
    light = school_light(CALM, dataclasses.replace(HEARD, **changes), NOW)  # type: ignore[arg-type] # fields of two types

    assert (light.state, ENGLISH_READER.say(light.word)) == (state, word)
    assert (light.remedy is None) == (state is State.GOOD)


def test_an_alarm_is_shown_before_anything_slow_but_after_silence() -> None:
    alarmed = dataclasses.replace(
        CALM, alarms=(Alarm(school=2, at_ms=NOW - MINUTE, alarm="panic", place="gate"),)
    )
    silent = dataclasses.replace(HEARD, heartbeat_ms=NOW - HOUR)

    assert ENGLISH_READER.say(school_light(alarmed, HEARD, NOW).word) == "alarm"
    assert ENGLISH_READER.say(school_light(alarmed, silent, NOW).word) == "silent"


def test_a_district_counts_only_what_it_has_evidence_for() -> None:
    never = SchoolNow(school=School(school=3), devices={}, taps_today=5, tap_ms=NOW - HOUR)
    stray = dataclasses.replace(HEARD, school=9)

    district = build_district([CALM, never], [HEARD, stray], [lesson()], NOW, ENGLISH)

    assert (district.connected, district.attention) == (2, 1)
    assert (district.waiting_bytes, district.told) == (3400, 2)
    assert (district.taps_today, district.tap_ms, district.lessons_now) == (5, NOW - HOUR, 1)
    assert [(row.school, row.name) for row in district.rows] == [
        (2, "光明小学"),
        (3, "3"),
        (9, "9"),
    ]


@pytest.mark.parametrize(
    ("seen", "quality", "state", "word"),
    [
        (None, None, State.BAD, "nothing yet"),
        (flow(2, None), None, State.BAD, "nothing yet"),
        (flow(2, 400), None, State.GOOD, "live"),
        (flow(2, 400), said("degraded", 5 * SECOND), State.WARN, "degraded"),
        (flow(2, 400), said("degraded", 2 * MINUTE), State.GOOD, "live"),
        (flow(2, 400), said("catching_up", 5 * SECOND), State.WARN, "catching up"),
        (flow(2, 400, missing=12), None, State.WARN, "catching up"),
        (flow(2, 400, missing=None), None, State.GOOD, "live"),
        (flow(2, 6 * SECOND), said("live", SECOND), State.WARN, "stalling"),
        (flow(2, 16 * SECOND), said("live", SECOND), State.BAD, "interrupted"),
    ],
)
def test_a_running_end_is_judged_by_what_the_relay_saw_first(
    seen: FlowLight | None, quality: Quality | None, state: State, word: str
) -> None:
    light = party_light(lesson(), party(2, quality=quality), seen, NOW)

    assert (light.state, ENGLISH_READER.say(light.word)) == (state, word)


@pytest.mark.parametrize(
    ("evidence", "state", "word"),
    [
        ({}, State.UNKNOWN, "over"),
        ({"minutes": FULL}, State.GOOD, "complete"),
        ({"minutes": SHORT}, State.WARN, "incomplete"),
        ({"minutes": CUT}, State.WARN, "incomplete"),
        ({"minutes": NOTHING}, State.BAD, "nothing recorded"),
        ({"recorded_ms": 2_000_000}, State.WARN, "catching up"),
        ({"recorded_ms": 2_400_000, "recording_complete": True}, State.GOOD, "complete"),
    ],
)
def test_an_end_that_is_over_is_judged_by_what_the_school_has_on_record(
    evidence: dict[str, Minutes | int], state: State, word: str
) -> None:
    over = lesson(starts_ms=NOW - 2 * HOUR)
    flagship, *receivers = over.parties
    given = dataclasses.replace(flagship, minutes=FULL)
    over = dataclasses.replace(over, parties=(given, *receivers))

    light = party_light(over, party(2, **evidence), None, NOW)

    assert (light.state, ENGLISH_READER.say(light.word)) == (state, word)


def test_a_rehearsal_that_counts_for_nothing_is_complete() -> None:
    over = dataclasses.replace(lesson(starts_ms=NOW - 2 * HOUR), rehearsal=True)

    assert party_light(over, party(2, minutes=NOTHING), None, NOW).state is State.GOOD


@pytest.mark.parametrize(
    ("ahead_ms", "quality", "state", "word"),
    [
        (HOUR, said("live", 0), State.UNKNOWN, "scheduled"),
        (5 * MINUTE, None, State.UNKNOWN, "preparing"),
        (5 * MINUTE, said("preparing", SECOND), State.GOOD, "ready"),
        (5 * MINUTE, said("preparing", SECOND, "camera"), State.WARN, "preparing"),
    ],
)
def test_before_the_bell_an_end_is_grey_until_its_room_was_heard_of(
    ahead_ms: int, quality: Quality | None, state: State, word: str
) -> None:
    light = party_light(lesson(starts_ms=NOW + ahead_ms), party(2, quality=quality), None, NOW)

    assert (light.state, ENGLISH_READER.say(light.word)) == (state, word)


def test_a_lesson_just_begun_or_cancelled_accuses_nobody() -> None:
    begun = party_light(lesson(starts_ms=NOW - 20 * SECOND), party(2), None, NOW)
    off = party_light(lesson(cancelled=True), party(2), flow(2, 60 * SECOND), NOW)

    assert (begun.state, off.state) == (State.UNKNOWN, State.UNKNOWN)


@pytest.mark.parametrize(
    ("flagship_ms", "receiver_ms", "boxes", "cause"),
    [
        (400, 400, [HEARD], None),
        (20 * SECOND, 20 * SECOND, [HEARD], "flagship: nothing arrives"),
        (400, 20 * SECOND, [HEARD], "carries less than the lesson needs"),
        (400, 20 * SECOND, [], "does not hear this school's box"),
    ],
)
def test_the_cause_of_trouble_is_found_by_who_still_answers(
    flagship_ms: int, receiver_ms: int, boxes: list[SchoolLight], cause: str | None
) -> None:
    flows = [flow(1, flagship_ms), flow(2, receiver_ms)]
    by_school = {box.school: box for box in boxes}

    detail = build_detail(lesson(schools=(1, 2)), flows, by_school, {}, {}, NOW)

    found = detail.ends[1].cause
    assert (cause is None) == (found is None)
    assert found is None or (cause or "") in ENGLISH_READER.say(found)


def test_a_flagship_whose_box_answers_but_sends_nothing_has_camera_trouble() -> None:
    boxes = {1: dataclasses.replace(HEARD, school=1)}

    detail = build_detail(lesson(), [flow(1, 20 * SECOND)], boxes, {}, {}, NOW)

    assert detail.ends[0].cause is not None
    assert "camera or capture" in ENGLISH_READER.say(detail.ends[0].cause)


def test_what_a_school_says_of_the_cause_wins_over_what_the_hub_infers() -> None:
    troubled = dataclasses.replace(
        lesson(schools=(1, 2)),
        parties=(
            party(1, role="flagship"),
            party(2, quality=said("degraded", SECOND, "lan")),
        ),
    )

    detail = build_detail(troubled, [flow(1, 400), flow(2, 400)], {}, {}, {}, NOW)

    assert detail.ends[1].cause is not None
    assert ENGLISH_READER.say(detail.ends[1].cause).startswith("LAN:")


def test_bells_that_differ_a_little_share_a_column() -> None:
    lessons = [
        lesson("a1", starts_ms=NOW),
        lesson("a2", (4, 5), starts_ms=NOW + 10 * MINUTE),
        lesson("a3", starts_ms=NOW + 50 * MINUTE),
    ]

    assert [len(period.lessons) for period in find_periods(lessons)] == [2, 1]


def test_a_pairing_is_one_line_from_the_flagship_to_its_last_receiver() -> None:
    lessons = [lesson("a1", (5, 2, 9)), lesson("a2", (1, 7))]

    grid = build_grid(lessons, {}, {5: "五小"}, NOW)

    assert [row.school for row in grid.rows] == [1, 7, 5, 2, 9]
    assert [row.opens for row in grid.rows] == [True, False, True, False, False]
    assert [[wire.part for wire in row.cells[0].wires] for row in grid.rows] == [
        ["top"],
        ["bottom"],
        ["top"],
        ["through"],
        ["bottom"],
    ]
    assert grid.rows[2].name == "五小"


def test_lines_that_pass_each_other_keep_apart() -> None:
    lessons = [lesson("a1", (1, 3)), lesson("a2", (2, 4)), lesson("a3", (1, 4), NOW + HOUR)]

    grid = build_grid(lessons, {}, {}, NOW)
    lanes: dict[str, set[int]] = {}
    for row in grid.rows:
        wires = row.cells[0].wires
        assert len({wire.lane for wire in wires}) == len(wires)
        for wire in wires:
            lanes.setdefault(wire.lesson, set()).add(wire.lane)

    assert all(len(used) == 1 for used in lanes.values())


coordinates = st.none() | st.floats(20, 50)
schools = st.lists(
    st.builds(
        lambda latitude, longitude: School(school=1, latitude=latitude, longitude=longitude),
        coordinates,
        coordinates,
    ),
    max_size=80,
).map(lambda found: [dataclasses.replace(s, school=n) for n, s in enumerate(found)])


@given(schools)
def test_every_school_has_a_tile_of_its_own_inside_the_picture(found: list[School]) -> None:
    picture = lay_tiles(found)

    assert {tile.school for tile in picture.tiles} == {school.school for school in found}
    assert len({(round(tile.x), round(tile.y)) for tile in picture.tiles}) == len(found)
    for tile in picture.tiles:
        assert WIDTH / 2 <= tile.x <= picture.width - WIDTH / 2
        assert 100 <= tile.y <= picture.height - 100


def test_north_is_at_the_top_and_west_on_the_left() -> None:
    corners = {1: (31.0, 115.0), 2: (31.0, 114.0), 3: (30.0, 115.0), 4: (30.0, 114.0)}
    picture = lay_tiles(
        [
            School(school=n * 10 + copy, latitude=latitude, longitude=longitude)
            for n, (latitude, longitude) in corners.items()
            for copy in range(4)
        ]
    )
    at = {tile.school: tile for tile in picture.tiles}

    assert at[20].y < at[40].y
    assert at[20].x < at[10].x
