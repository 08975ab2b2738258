"""A clock that is ahead spoils nothing: its stamps are clamped, and all come to the same rows."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.clock import AHEAD_MS_MAX, PLAUSIBLE_MS, wall_ms
from sync.folding.refold import parse_name
from sync.logs.oplog import Row
from sync.schema.model import Lane
from sync.segments.segment import LogName, parse_segment
from tests.sync.district import District

YEAR_MS = 365 * 24 * 3600 * 1000
SLOT = "SELECT subject, hlc >> 16 FROM timetable_slot"


@pytest.fixture
def district(tmp_path: Path) -> District:
    made = District(tmp_path, random.Random(11))
    for origin in (0, 17):
        made.add(origin)
    return made


def change_slot(district: District, origin: int, subject: str, slot: str = "1") -> None:
    district.now += 1000
    row: Row = {"school": 17, "slot": slot, "subject": subject}
    district.nodes[origin].record("timetable_slot", [row])


def agree(district: District, *origins: int) -> None:
    digests = [compared(district, origin) for origin in origins]
    for other in digests[1:]:
        assert other == digests[0]


def compared(district: District, origin: int) -> list[bytes]:
    digests = district.digests(origin)
    return [digests[table] for table in ("timetable_slot", "room", "clock_clamp")]


def test_a_write_from_the_future_does_not_win_over_a_later_one(district: District) -> None:
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.exchange(17)
    change_slot(district, 0, "maths")
    district.exchange(17)
    for origin in (0, 17):
        ((subject, at_ms),) = district.rows(origin, SLOT)
        assert subject == "maths"
        assert int(str(at_ms)) <= district.now
    agree(district, 0, 17)


def test_the_hub_says_which_segment_it_clamped_and_nobody_elses(district: District) -> None:
    change_slot(district, 17, "music")
    district.exchange(17)
    district.skew[17] = AHEAD_MS_MAX - 60_000
    change_slot(district, 17, "art")
    district.exchange(17)
    assert district.rows(0, "SELECT * FROM clock_clamp") == []
    district.skew[17] = AHEAD_MS_MAX + 60_000
    district.reopen(17)  # it has not heard the hub yet
    change_slot(district, 17, "maths")
    district.exchange(17)
    name = str(LogName(17, district.nodes[17].incarnation, "s17", Lane.LESSONS))
    said = district.rows(17, "SELECT clamped_log, clamped_seq FROM clock_clamp")
    assert said == [(name, 3)]
    agree(district, 0, 17)


def test_a_clock_comes_back_once_its_stamps_are_clamped(district: District) -> None:
    school = district.nodes[17]
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.skew[17] = 0
    assert wall_ms(school.clock.tick()) > district.now + YEAR_MS // 2
    district.exchange(17)
    change_slot(district, 17, "maths")
    assert wall_ms(school.clock.last) <= district.now
    reopened = district.reopen(17)
    assert wall_ms(reopened.clock.tick()) <= district.now
    district.exchange(17)
    assert [subject for subject, _ in district.rows(0, SLOT)] == ["maths"]
    agree(district, 0, 17)


def test_a_box_whose_clock_stays_ahead_stamps_by_the_hubs(district: District) -> None:
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.exchange(17)
    change_slot(district, 17, "maths")
    district.seal(17)
    assert wall_ms(district.nodes[17].clock.last) <= district.now + AHEAD_MS_MAX
    clamped = district.rows(0, "SELECT count(*) FROM clock_clamp")
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM clock_clamp") == clamped


def test_rows_not_sealed_yet_come_back_in_their_order(district: District) -> None:
    school = district.nodes[17]
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    school.record("room", [{"room": "r1", "name": "first"}])
    district.seal(17)
    change_slot(district, 17, "art")
    school.record("room", [{"room": "r1", "name": "second"}, {"room": "r2", "name": "other"}])
    # The clamps arrive while these wait.
    edge, hub = [*district.wires(17)], district.nodes[0]
    hub.import_segments([wire for _, _, wire in edge], 17, lambda _: True)
    district.seal(0)
    school.clock.hear_hub(district.now)
    school.import_segments([wire for _, _, wire in district.wires(0)], 0, lambda _: True)
    assert wall_ms(school.clock.last) <= district.now + AHEAD_MS_MAX
    change_slot(district, 17, "maths")
    district.exchange(17)
    for origin in (0, 17):
        assert [subject for subject, _ in district.rows(origin, SLOT)] == ["maths"]
        rooms = district.rows(origin, "SELECT name, hlc >> 16 FROM room ORDER BY room")
        assert [name for name, _ in rooms] == ["second", "other"]
        assert all(int(str(at_ms)) <= district.now + AHEAD_MS_MAX for _, at_ms in rooms)
    agree(district, 0, 17)


def test_what_the_hub_wrote_far_ahead_wins_over_rows_that_come_back(district: District) -> None:
    school = district.nodes[17]
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.seal(17)
    change_slot(district, 17, "art")
    hub = district.nodes[0]
    hub.import_segments([wire for _, _, wire in district.wires(17)], 17, lambda _: True)
    district.skew[0] = 2 * AHEAD_MS_MAX
    change_slot(district, 0, "the hub's")
    district.skew[0] = 0
    district.seal(0)
    school.clock.hear_hub(district.now)
    school.import_segments([wire for _, _, wire in district.wires(0)], 0, lambda _: True)
    assert wall_ms(school.clock.last) <= district.now + AHEAD_MS_MAX
    district.exchange(17)
    for origin in (0, 17):
        assert [subject for subject, _ in district.rows(origin, SLOT)] == ["the hub's"]
    agree(district, 0, 17)


def test_a_clock_stays_ahead_while_a_segment_of_its_own_is_not_clamped(district: District) -> None:
    school = district.nodes[17]
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.seal(17)
    first = [wire for _, _, wire in district.wires(17)]
    change_slot(district, 17, "art")
    district.seal(17)
    district.skew[17] = 0
    district.nodes[0].import_segments(first, 17, lambda _: True)
    district.seal(0)
    school.clock.hear_hub(district.now)
    school.import_segments([wire for _, _, wire in district.wires(0)], 0, lambda _: True)
    change_slot(district, 17, "maths")
    assert [subject for subject, _ in district.rows(17, SLOT)] == ["maths"]
    district.exchange(17)
    change_slot(district, 17, "sports")
    district.exchange(17)
    for origin in (0, 17):
        assert [subject for subject, _ in district.rows(origin, SLOT)] == ["sports"]
    agree(district, 0, 17)


def test_a_hub_whose_clock_was_never_set_clamps_nobody(district: District) -> None:
    district.skew[0] = 1000 - district.now
    change_slot(district, 17, "music")
    district.exchange(17)
    assert district.rows(0, "SELECT * FROM clock_clamp") == []


def test_a_hub_that_was_set_back_goes_by_what_it_knew(district: District) -> None:
    change_slot(district, 17, "music")
    district.exchange(17)
    change_slot(district, 0, "maths")
    district.skew[0] = PLAUSIBLE_MS + 1 - district.now
    change_slot(district, 17, "art")
    district.exchange(17)
    assert district.rows(0, "SELECT * FROM clock_clamp") == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hub", "school", "room", "seal", "exchange", "skew", "restart"]),
        st.integers(0, 3),
    ),
    max_size=18,
)
SKEWS = (0, 2 * AHEAD_MS_MAX, YEAR_MS, -YEAR_MS // 100)


def test_parties_of_a_lesson_follow_clamps_too(district: District) -> None:
    district.add(18)
    district.lessons["L1"] = frozenset({17, 18})
    minutes: Row = {"lesson": "L1", "live_s": 10}
    district.skew[17] = YEAR_MS
    district.nodes[17].record("lesson_minutes", [minutes])
    district.settle()
    district.skew[17] = 0
    district.reopen(17)
    district.nodes[17].record("lesson_minutes", [{**minutes, "live_s": 20}])
    district.settle()
    for origin in (0, 17, 18):
        ((live_s, at_ms),) = district.rows(origin, "SELECT live_s, hlc >> 16 FROM lesson_minutes")
        assert live_s == 20
        assert int(str(at_ms)) <= district.now + AHEAD_MS_MAX
    digests = [district.digests(origin) for origin in (0, 17, 18)]
    assert len({each["lesson_minutes"] for each in digests}) == 1
    name = f"17/{district.nodes[17].incarnation:016x}/lL1/lessons"
    said = "SELECT DISTINCT clamped_log FROM clock_clamp WHERE clamped_log LIKE '%/lL1/%'"
    assert (name,) in district.rows(18, said)


def test_a_restored_hub_that_clamps_again_changes_nothing_for_long(district: District) -> None:
    backup = district.back_up(0)
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.nodes[17].record("room", [{"room": "r1", "name": "first"}])
    district.exchange(17)
    district.skew[17] = 0
    district.now += 60_000
    district.restore(0, backup, b"second")
    change_slot(district, 0, "maths")
    for _ in range(3):
        district.exchange(17)
    assert len(district.rows(0, "SELECT DISTINCT clamped_ms FROM clock_clamp")) >= 2
    agree(district, 0, 17)
    assert [subject for subject, _ in district.rows(0, SLOT)] == ["maths"]


def test_two_clamps_of_a_segment_count_alike_whatever_comes_between_them(
    district: District,
) -> None:
    """One message brings the later clamp, then the segment, then the earlier clamp."""
    district.watchers = frozenset({90})
    district.add(90)
    backup = district.back_up(0)
    before = district.nodes[0].incarnation
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    district.nodes[17].record("room", [{"room": "r1", "name": "first"}])
    district.exchange(17)
    district.skew[17] = 0
    district.now += 60_000
    district.restore(0, backup, b"second")
    for _ in range(3):
        district.exchange(17)
    wires = [(name, wire) for origin in (0, 17) for name, _, wire in district.wires(origin)]
    former = f"0/{before:016x}/"
    latest = f"0/{district.nodes[0].incarnation:016x}/"
    order = sorted(wires, key=lambda each: (each[0].startswith(former), latest not in each[0]))
    observer = district.nodes[90]
    done = observer.import_segments([wire for _, wire in order], 0, lambda _: True)
    assert not done.refused
    said = "SELECT count(DISTINCT clamped_ms) FROM clock_clamp WHERE clamped_log LIKE '%/control'"
    assert district.rows(90, said) == [(2,)]
    agree(district, 0, 17, 90)


def test_a_write_of_the_same_stamp_wins_once_its_rival_is_clamped(district: District) -> None:
    """At one stamp the school's write wins over the hub's, until it is clamped."""
    school, hub = district.nodes[17], district.nodes[0]
    district.skew = {0: YEAR_MS, 17: YEAR_MS}
    change_slot(district, 17, "music")
    district.now -= 1000
    change_slot(district, 0, "maths")
    stamps = [district.rows(each, "SELECT hlc FROM timetable_slot") for each in (0, 17)]
    assert stamps[0] == stamps[1]
    district.exchange(17)
    assert [subject for subject, _ in district.rows(17, SLOT)] == ["music"]
    log = str(LogName(17, school.incarnation, "s17", Lane.LESSONS))
    said: Row = {"at_ms": 1, "clamped_log": log, "clamped_seq": 1, "clamped_ms": district.now}
    hub.record("clock_clamp", [said], audience="s17")
    district.exchange(17)
    assert [subject for subject, _ in district.rows(17, SLOT)] == ["maths"]


def test_what_a_new_incarnation_writes_is_clamped_above_the_former(district: District) -> None:
    backup = district.back_up(17)
    district.skew = {0: 3_600_000, 17: YEAR_MS}
    district.nodes[17].record("room", [{"room": "r1", "name": "former"}])
    district.exchange(17)
    district.skew[0] = 0
    box = district.restore(17, backup, b"second")
    box.record("room", [{"room": "r1", "name": "latter"}])
    for _ in range(3):
        district.exchange(17)
    for origin in (0, 17):
        assert district.rows(origin, "SELECT name FROM room") == [("latter",)]
    agree(district, 0, 17)


def test_what_lost_against_a_write_that_is_clamped_wins_by_its_own_clamped_stamp(
    district: District,
) -> None:
    backup = district.back_up(17)
    district.skew[17] = YEAR_MS + 60_000
    district.nodes[17].record("room", [{"room": "r1", "name": "former"}])
    district.exchange(17)
    clamped_ms = district.now - 60_000
    district.skew[17] = YEAR_MS
    box = district.restore(17, backup, b"second")
    box.record("room", [{"room": "r1", "name": "latter"}])
    district.exchange(17)
    assert district.rows(17, "SELECT name FROM room") == [("latter",)]
    log = str(LogName(17, box.incarnation, "s17", Lane.CONTROL))
    clamped = district.rows(0, f"SELECT clamped_seq FROM clock_clamp WHERE clamped_log = '{log}'")  # noqa: S608 - a log's name
    said: list[Row] = [
        {"at_ms": 1, "clamped_log": log, "clamped_seq": int(str(seq)), "clamped_ms": clamped_ms}
        for (seq,) in clamped
    ]
    district.nodes[0].record("clock_clamp", said, audience="s17")
    for _ in range(3):
        district.exchange(17)
    assert district.rows(17, "SELECT name FROM room") == [("former",)]


def test_a_hub_that_lies_about_the_moment_cannot_reorder_a_log(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    for name in ("first", "second", "third"):
        district.now += 1000
        school.record("room", [{"room": "r1", "name": name}])
        district.seal(17)
    district.exchange(17)
    log = str(LogName(17, school.incarnation, "s17", Lane.CONTROL))
    ((last,),) = district.rows(17, "SELECT stored FROM log WHERE origin = 17 AND lane = 1")
    lie: Row = {"at_ms": 1, "clamped_log": log, "clamped_seq": int(str(last)), "clamped_ms": 1}
    hub.record("clock_clamp", [lie], audience="s17")
    hub.record("clock_clamp", [{"clamped_log": "nonsense", "clamped_seq": 1}], audience="s17")
    district.exchange(17)
    district.now += 1000
    school.record("room", [{"room": "r2", "name": "after"}])
    district.exchange(17)
    assert district.rows(17, "SELECT name FROM room ORDER BY room") == [("third",), ("after",)]


def act(district: District, step: str, value: int) -> None:
    match step:
        case "hub" | "school":
            origin = 0 if step == "hub" else 17
            change_slot(district, origin, f"{step} {district.now}", str(value))
        case "room":
            district.nodes[17].record("room", [{"room": str(value), "name": str(district.now)}])
        case "seal":
            district.seal(17)
        case "exchange":
            district.exchange(17)
        case "skew":
            district.skew[17] = SKEWS[value]
        case _:
            district.reopen(17)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**32))
def test_all_come_to_the_same_rows_whenever_clamps_arrive(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, int]], seed: int
) -> None:
    district = District(
        tmp_path_factory.mktemp("clamps"), random.Random(seed), watchers=frozenset({90, 91})
    )
    for origin in (0, 17, 90, 91):
        district.add(origin)
    try:
        for step, value in steps:
            district.now += 777
            act(district, step, value)
        written = district.rows(17, "SELECT room, name FROM room ORDER BY room")
        district.skew[17] = 0
        district.exchange(17)
        change_slot(district, 17, "the last word")
        district.exchange(17)
        wires = [wire for origin in (0, 17) for _, _, wire in district.wires(origin)]
        for observer in (90, 91):
            shuffled = [*wires]
            random.Random(seed + observer).shuffle(shuffled)
            for _ in wires:
                district.nodes[observer].import_segments(shuffled, 0, lambda _: True)
                if compared(district, observer) == compared(district, 0):
                    break
        agree(district, 0, 17, 90, 91)
        assert district.rows(0, "SELECT room, name FROM room ORDER BY room") == written
        latest = district.rows(0, "SELECT subject FROM timetable_slot WHERE slot = '1'")
        assert latest == [("the last word",)]
    finally:
        for node in district.nodes.values():
            node.close()


@pytest.fixture
def standing_still(district: District) -> District:
    """A box whose stamps stand still, some minutes ahead, while it writes and seals twice."""
    district.skew[17] = AHEAD_MS_MAX - 60_000
    for subject in ("music", "art"):
        write_again(district, subject)
        district.seal(17)
        district.skew[17] = 0
    return district


def write_again(district: District, said: str) -> None:
    change_slot(district, 17, said)
    district.nodes[17].record("room", [{"room": "r1", "name": said}])


def clamp_all(district: District, moment_ms: int) -> None:
    """Let the hub say that everything a school sealed is of that moment."""
    sealed = [parse_segment(wire).header for _, _, wire in district.wires(17)]
    for header in sealed:
        row: Row = {
            "at_ms": district.now,
            "clamped_log": str(header.log),
            "clamped_seq": header.seq,
            "clamped_ms": moment_ms,
        }
        district.nodes[0].record("clock_clamp", [row], audience="s17")


def last_rows(district: District, origin: int) -> list[tuple[object, ...]]:
    return district.rows(origin, "SELECT name FROM room") + [
        (subject,) for subject, _ in district.rows(origin, SLOT)
    ]


def test_what_is_written_after_a_clamp_stands_above_it(standing_still: District) -> None:
    district = standing_still
    clamp_all(district, wall_ms(district.nodes[17].clock.last))
    district.exchange(17)
    write_again(district, "third")
    district.exchange(17)
    agree(district, 0, 17)
    assert last_rows(district, 0) == last_rows(district, 17) == [("third",)] * 2


def test_what_waits_when_a_clamp_comes_stands_above_it(standing_still: District) -> None:
    district = standing_still
    clamp_all(district, wall_ms(district.nodes[17].clock.last))
    district.seal(0)
    write_again(district, "third")
    write_again(district, "fourth")
    clamps = [wire for _, _, wire in district.wires(0)]
    district.nodes[17].import_segments(clamps, 0, lambda _: True)
    district.exchange(17)
    agree(district, 0, 17)
    assert last_rows(district, 0) == last_rows(district, 17) == [("fourth",)] * 2


def test_what_was_lifted_above_a_clamp_is_written_over(standing_still: District) -> None:
    district = standing_still
    clamp_all(district, wall_ms(district.nodes[17].clock.last))
    rooms = [f"r{number}" for number in range(1, 10)]
    district.nodes[17].record("room", [{"room": room, "name": "third"} for room in rooms])
    district.seal(17)  # all lift these above the clamps of what went before
    sealed = [wire for _, _, wire in district.wires(17)]
    district.nodes[0].import_segments(sealed, 17, lambda _: True)
    district.seal(0)
    clamps = [wire for _, _, wire in district.wires(0)]
    district.nodes[17].import_segments(clamps, 0, lambda _: True)
    reopened = district.reopen(17)
    reopened.record("room", [{"room": room, "name": "fourth"} for room in reversed(rooms)])
    district.exchange(17)
    agree(district, 0, 17)
    for origin in (0, 17):
        read = "SELECT DISTINCT name, count(*) FROM room GROUP BY 1"
        assert district.rows(origin, read) == [("fourth", 9)]


def test_what_waits_and_lost_wins_where_it_is_lifted(standing_still: District) -> None:
    """Everywhere alike: nobody else knows of the stamp that it had before it was sealed."""
    district = standing_still
    clamp_all(district, wall_ms(district.nodes[17].clock.last))
    write_again(district, "third")
    district.skew[0] = AHEAD_MS_MAX - 30_000
    change_slot(district, 0, "the hub's")
    district.seal(0)
    heard = [wire for _, _, wire in district.wires(0)]
    district.nodes[17].import_segments(heard, 0, lambda _: True)
    district.exchange(17)
    agree(district, 0, 17)
    assert last_rows(district, 0) == last_rows(district, 17) == [("third",)] * 2


def test_a_hub_that_lost_its_store_goes_on_behind_its_own_stamps(district: District) -> None:
    notice: Row = {"school": 0, "notice": "n1", "title_en": "first"}
    district.skew[0] = 46 * 60_000
    district.nodes[0].record("notice", [notice])
    district.settle()
    district.skew[0] = 0
    district.nodes[0].close()
    for path in district.folder.glob("0.db*"):
        path.unlink()
    hub = district.add(0, b"second")
    district.settle()
    hub.record("notice", [{**notice, "title_en": "second"}])
    district.settle()
    for origin in (0, 17):
        assert district.rows(origin, "SELECT title_en FROM notice") == [("second",)]


@pytest.mark.parametrize(
    "named",
    [
        f"{2**64}/0000000000000001/s17/lessons",
        f"17/{2**64:x}/s17/lessons",
        f"17/{1:016x}/s{10**30}/lessons",
        "-1/-1/s17/lessons",
        "17/1/s17/bulk",
        "17/0000000000000001/s17/lessons/",
        "",
        "9" * 5000 + "/1/d/bulk",
    ],
)
def test_a_clamp_of_a_log_that_cannot_be_stops_nothing(district: District, named: str) -> None:
    district.skew[17] = YEAR_MS
    change_slot(district, 17, "music")
    clamp: Row = {"at_ms": 1, "clamped_log": named, "clamped_seq": 1, "clamped_ms": 1}
    district.nodes[0].record("clock_clamp", [clamp], "s17")
    district.exchange(17)
    assert (named,) in district.rows(17, "SELECT clamped_log FROM clock_clamp")
    change_slot(district, 0, "maths")
    district.exchange(17)
    agree(district, 0, 17)
    assert parse_name(named) is None


@pytest.mark.parametrize("lane", Lane)
def test_a_log_is_named_in_one_way_only(lane: Lane) -> None:
    name = LogName(17, 2**63 - 1, "s17", lane)
    assert parse_name(str(name)) == name
    assert parse_name(str(name).upper()) is None
    assert parse_name("0" + str(name)) is None
