"""Two nodes and a hub exchange what concerns them, once, and read what they may."""

import math
import random

import pytest

from sync.clock import wall_ms
from sync.errors import RowError
from sync.logs.oplog import ROW_BYTES_MAX, Row
from sync.node import Node, SealPolicy
from sync.schema.model import Group
from sync.segments.columnar import Value
from sync.segments.sealing import recipient_id
from sync.segments.segment import SEGMENT_BYTES_MAX
from tests.sync.district import District, segments_held
from tests.sync.turns import TurnSession

TAPS: list[Row] = [
    {"at_ms": 1_790_000_000_000 + 977 * number, "device": "card:door", "person": number % 40}
    for number in range(2500)
]


def test_taps_reach_the_hub_once_and_are_acknowledged(district: District) -> None:
    school = district.nodes[17]
    for start in range(0, len(TAPS), 100):
        school.record("card_tap", TAPS[start : start + 100])
    district.exchange(17)
    district.exchange(17)
    arrived = district.rows(0, "SELECT school, at_ms, person FROM card_tap")
    assert sorted(arrived) == sorted((17, tap["at_ms"], tap["person"]) for tap in TAPS)
    cursors = school.peers.cursors(0)
    assert all(
        cursors[log.id] == (log.stored, log.stored)
        for log in school.logs()
        if log.name.origin == 17
    )


def test_both_ends_have_equal_digests(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    school.record("card_tap", TAPS[:300])
    school.record("room", [{"room": "r1", "name": "一年级一班"}])
    hub.record(
        "notice", [{"school": 0, "notice": "n1", "title_zh": "运动会", "title_en": "Sports"}]
    )
    district.exchange(17)
    mine, theirs = district.digests(17), district.digests(0)
    for table in ("card_tap", "room", "notice"):
        assert mine[table] == theirs[table]


def test_the_hub_never_reads_a_name(district: District) -> None:
    district.nodes[17].record(
        "person", [{"person": 5, "kind": "pupil", "name": b"\xe5\xbc\xa0\xe4\xbc\x9f"}]
    )
    district.exchange(17)
    assert district.rows(0, "SELECT person, kind, name FROM person") == [(5, "pupil", None)]
    assert district.rows(0, "SELECT count(*) FROM unopened") == [(1,)]


def test_a_school_does_not_receive_what_concerns_another(district: District) -> None:
    hub = district.nodes[0]
    slot: Row = {"slot": "1", "subject": "maths", "starts_ms": 1, "ends_ms": 2}
    hub.record("timetable_slot", [{"school": 17, **slot}, {"school": 18, **slot}])
    district.exchange(17)
    assert district.rows(17, "SELECT school FROM timetable_slot") == [(17,)]


def test_two_writers_of_a_slot_merge_column_by_column(district: District) -> None:
    hub, school = district.nodes[0], district.nodes[17]
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "maths", "room": "r1"}])
    district.exchange(17)
    district.now += 1000
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "music"}])
    district.exchange(17)
    district.exchange(17)
    for origin in (0, 17):
        assert district.rows(origin, "SELECT subject, room FROM timetable_slot") == [
            ("music", "r2")
        ]


ROWS_OF_A_SCHOOL: dict[str, list[Row]] = {
    "timetable_slot": [{"slot": "1", "subject": "maths"}, {"slot": "2", "subject": "music"}],
    "person": [{"person": 1, "kind": "pupil"}, {"person": 2, "kind": "pupil"}],
}


@pytest.mark.parametrize("table", sorted(ROWS_OF_A_SCHOOL))
def test_of_rows_written_together_some_may_name_their_school_and_others_not(
    district: District, table: str
) -> None:
    first, second = ROWS_OF_A_SCHOOL[table]
    district.nodes[17].record(table, [first, {**second, "school": 17}])
    district.exchange(17)
    for origin in (0, 17):
        query = f"SELECT school, count(*) FROM {table}"  # noqa: S608 - the schema's names
        assert district.rows(origin, query) == [(17, 2)]


def test_a_lessons_key_grant_passes_through_the_hub_to_the_party_only(
    district: District,
) -> None:
    district.lessons["L1"] = frozenset({17, 18})
    district.add(19)
    grant: Row = {
        "lesson": "L1",
        "lesson_key": b"k",
        "recipient": b"r",
        "suite": 1,
        "wrapped": b"w",
    }
    district.nodes[17].record("lesson_key_grant", [grant])
    for school in (17, 18, 19):
        district.exchange(school)
    assert district.rows(18, "SELECT lesson FROM lesson_key_grant") == [("L1",)]
    assert district.rows(19, "SELECT lesson FROM lesson_key_grant") == []


def test_a_restart_finds_its_keys_in_its_grants(district: District) -> None:
    district.nodes[17].record("card_tap", TAPS[:10])
    district.exchange(17)
    district.nodes[17].close()
    again = district.add(17)
    again.record("card_tap", TAPS[10:20])
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(20,)]
    assert district.rows(17, "SELECT count(DISTINCT incarnation) FROM log WHERE origin = 17") == [
        (1,)
    ]
    own = "SELECT count(DISTINCT key_id) FROM key_grant WHERE purpose LIKE '17/s17/district/%'"
    assert district.rows(17, own) == [(1,)]


def test_a_restored_store_opens_a_new_incarnation_before_any_append(
    district: District,
) -> None:
    before = district.nodes[17].incarnation
    district.nodes[17].close()
    assert district.add(17, generation=b"second").incarnation != before


def test_a_lost_answer_doubles_nothing(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    school.record("card_tap", TAPS[:500])
    school.seal_all()
    request = TurnSession(school, 0).request()
    TurnSession(hub, 17).answer(request)
    TurnSession(hub, 17).answer(request)
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(500,)]


def test_an_altered_segment_is_refused_and_hinders_nothing_else(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    school.record("card_tap", TAPS[:300])
    school.record("device_event", [{"at_ms": 1, "device": "d", "event": "online"}])
    school.seal_all()
    wires = [wire for log in school.logs() for _, wire in segments_held(school, log.id)]
    spoiled = [wires[0][:-1] + bytes([wires[0][-1] ^ 1]), *wires[1:]]
    imported = hub.import_segments(spoiled, 17, lambda _: True)
    assert len(imported.refused) == 1
    assert imported.stored == len(wires) - 1


def test_one_school_cannot_write_for_another(district: District) -> None:
    mallory = district.nodes[18]
    forged: Row = {"school": 17, "room": "r1", "name": "mine now"}
    mallory.record("room", [forged], audience="s18")
    district.exchange(18)
    assert district.rows(0, "SELECT count(*) FROM room") == [(0,)]
    (reason,) = district.rows(0, "SELECT reason FROM parked")[0]
    assert "another school" in str(reason)


def test_two_segments_of_one_name_freeze_only_that_log(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    school.record("card_tap", TAPS[:10])
    district.exchange(17)
    school.close()
    fork = (district.folder / "17.db").read_bytes()
    clone = district.folder / "clone"
    clone.mkdir()
    (clone / "17.db").write_bytes(fork)
    twin = type(district)(clone, district.chance, keys=district.keys)
    node, twin_node = district.add(17), twin.add(17)
    for each, taps in ((node, TAPS[10:20]), (twin_node, TAPS[20:30])):
        each.record("card_tap", taps)
        each.record("device_event", [{"at_ms": 1, "device": "d", "event": "online"}])
    district.exchange(17)
    twin_node.seal_all()
    wires = [
        wire
        for log in twin_node.logs()
        if log.name.lane == 2
        for _, wire in segments_held(twin_node, log.id)
    ]
    refused = hub.import_segments(wires, 17, lambda _: True).refused
    twin_node.close()
    assert any("two different segments" in reason for _, _, reason in refused)
    frozen = [log.name.lane for log in hub.logs() if log.frozen]
    assert frozen == [2]


def test_a_thousand_rows_of_backlog_stay_under_eight_bytes_each(district: District) -> None:
    school = district.nodes[17]
    at_ms = 1_790_000_000_000
    taps: list[Row] = []
    for _ in range(1000):
        at_ms += district.chance.randrange(200, 20_000)
        taps.append(
            {"at_ms": at_ms, "device": "card:door", "person": district.chance.randrange(1, 2000)}
        )
    school.record("card_tap", taps)
    school.seal_all()
    sealed = sum(school.waiting_bytes(log.id, 0)[1] for log in school.logs() if log.name.lane == 2)
    assert sealed <= 8 * len(taps)


def test_rows_that_arise_faster_than_they_are_sealed_are_all_there(district: District) -> None:
    school: Node = district.nodes[17]
    for tap in TAPS[:700]:
        school.record("card_tap", [tap])
    assert school.seal_due(SealPolicy(rows=250)) >= 1
    school.record("card_tap", TAPS[700:800])
    district.exchange(17)
    assert district.rows(0, "SELECT count(*), count(DISTINCT at_ms) FROM card_tap") == [(800, 800)]


def test_a_row_too_large_for_a_segment_says_what_to_do(district: District) -> None:
    school = district.nodes[17]
    noise = district.chance.randbytes(7_000).hex()
    event: Row = {"at_ms": 1, "device": "d", "event": "x", "detail": noise}
    with pytest.raises(RowError, match="store large content as a resource"):
        school.record_all({"card_tap": TAPS[:3], "device_event": [event]})
    assert district.rows(17, "SELECT count(*) FROM card_tap") == [(0,)]


def test_the_largest_row_fits_a_segment_whatever_it_holds(district: District) -> None:
    school = district.nodes[17]
    noise = district.chance.randbytes(ROW_BYTES_MAX // 2).hex()
    event: Row = {"at_ms": 1, "device": "d", "event": "", "detail": noise[: ROW_BYTES_MAX - 1]}
    school.record("device_event", [event] * 3)
    assert school.seal_all() > 1
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM device_event") == [(3,)]


def test_rows_that_compress_badly_are_cut_into_segments_that_fit(district: District) -> None:
    school, chance = district.nodes[17], random.Random(5)
    rows: list[Row] = [{"at_ms": each, "device": chance.randbytes(60).hex()} for each in range(900)]
    school.record("card_tap", rows)
    school.seal_all()
    sizes = [len(wire) for _, _, wire in district.wires(17)]
    assert len(sizes) > 3
    assert max(sizes) <= SEGMENT_BYTES_MAX
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(900,)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at_ms", "noon"),
        ("at_ms", 1.5),
        ("at_ms", 2**63),
        ("at_ms", b"1"),
        ("value", "warm"),
        ("device", 5),
        ("device", b"d"),
    ],
)
def test_a_value_its_column_cannot_hold_is_refused_where_it_arises(
    district: District, column: str, value: Value
) -> None:
    reading: Row = {"at_ms": 1, "device": "d", "point": "p", "value": 1.5, column: value}
    with pytest.raises(RowError, match=column):
        district.nodes[17].record("reading", [reading])


def test_a_number_that_is_none_is_stored_as_no_value(district: District) -> None:
    readings: list[Row] = [
        {"at_ms": 1, "device": "d", "point": "p", "value": value} for value in (math.nan, 3, 0.5)
    ]
    district.nodes[17].record("reading", readings)
    district.exchange(17)
    for origin in (17, 0):
        values = district.rows(origin, "SELECT value FROM reading ORDER BY row")
        assert values == [(None,), (3.0,), (0.5,)]


def test_a_column_or_table_that_does_not_exist_is_named(district: District) -> None:
    with pytest.raises(KeyError, match="colour"):
        district.nodes[17].record("room", [{"room": "r1", "colour": "red"}])
    with pytest.raises(KeyError, match="lacks its key room"):
        district.nodes[17].record("room", [{"name": "r1"}])
    with pytest.raises(KeyError, match="cupboard"):
        district.nodes[17].record("cupboard", [{"room": "r1"}])
    with pytest.raises(RowError, match="no audience"):
        district.nodes[17].record("hand_raise", [{"at_ms": 1, "lesson": "a/b"}])


def test_a_transaction_that_fails_leaves_the_node_usable(district: District) -> None:
    school = district.nodes[17]
    with pytest.raises(KeyError, match="nothing"):
        school.record_all({"card_tap": TAPS[:5], "room": [{"nothing": 1}]})
    school.record("card_tap", TAPS[:2])
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(2,)]


def test_a_clock_set_back_over_a_restart_loses_no_change(district: District) -> None:
    district.nodes[17].record("room", [{"room": "r1", "name": "before"}])
    district.now -= 10 * 365 * 86_400_000
    district.reopen(17).record("room", [{"room": "r1", "name": "after"}])
    district.exchange(17)
    for origin in (17, 0):
        assert district.rows(origin, "SELECT name FROM room") == [("after",)]


def test_an_alarm_is_sealed_before_what_waited_longer(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": n, "device": "door"} for n in range(4000)])
    school.record("alarm", [{"at_ms": 4000, "device": "button", "alarm": "panic"}])
    school.seal_due(SealPolicy(rows=1000), 1)
    sealed = [name for name, _, _ in district.wires(17)]
    assert any(name.endswith("alarm") for name in sealed)
    assert not any(name.endswith("attendance") for name in sealed)


def test_rows_that_waited_while_the_clock_was_set_back_are_sealed(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", TAPS[:2])
    district.now -= 86_400_000
    assert school.seal_due(SealPolicy()) > 0


def test_a_box_with_a_clock_in_the_past_is_heard_all_the_same(district: District) -> None:
    right = district.now
    district.now = 86_400_000
    school = district.nodes[17]
    school.record("card_tap", TAPS[:3])
    school.record("room", [{"room": "r1", "name": "one"}])
    school.seal_all()
    wires = [wire for _, _, wire in district.wires(17)]
    district.now = right
    district.nodes[0].import_segments(wires, 17, lambda _: True)
    school.record("room", [{"room": "r1", "name": "two"}])
    district.exchange(17)
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(3,)]
    assert district.rows(0, "SELECT name FROM room") == [("two",)]


def test_a_clock_in_the_future_is_followed_by_nobody(district: District) -> None:
    right = district.now
    district.now += 30 * 86_400_000
    district.nodes[17].record("room", [{"room": "r1", "name": "one"}])
    district.nodes[17].seal_all()
    wires = [wire for _, _, wire in district.wires(17)]
    district.now = right
    district.nodes[0].import_segments(wires, 17, lambda _: True)
    assert 0 <= wall_ms(district.reopen(0).clock.tick()) - right < 1000


def test_a_tap_that_a_terminal_pushes_twice_stays_one(district: District) -> None:
    school = district.nodes[17]
    tap: Row = {**TAPS[0], "device_key": "door:7"}
    school.record("card_tap", [tap, tap, TAPS[1], TAPS[1]])
    school.record("card_tap", [tap])
    district.exchange(17)
    for origin in (17, 0):
        assert district.rows(origin, "SELECT count(*) FROM card_tap") == [(3,)]


def test_a_name_that_is_taken_back_is_gone_wherever_it_can_be_read(district: District) -> None:
    school = district.nodes[17]
    school.record("leave", [{"person": 5, "from_ms": 1, "reason": "ill"}])
    district.exchange(17)
    school.keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert district.rows(0, "SELECT reason FROM leave") == [("ill",)]
    school.record("leave", [{"person": 5, "from_ms": 1, "until_ms": 9}])
    district.exchange(17)
    for origin in (17, 0):
        assert district.rows(origin, "SELECT until_ms, reason FROM leave") == [(9, None)]


def test_a_school_that_joins_later_reads_what_was_sealed_before(district: District) -> None:
    hub = district.nodes[0]
    slot: Row = {"school": 30, "slot": "1", "subject": "maths"}
    hub.record("timetable_slot", [slot])
    hub.record("notice", [{"school": 0, "notice": "n1", "title_zh": "运动会"}])
    hub.seal_all()
    district.add(30)
    hub.record("box_certificate", [{"school": 30, "box": "b1", "certificate": b"c"}])
    district.exchange(30)
    assert district.rows(30, "SELECT subject FROM timetable_slot") == [("maths",)]
    assert district.rows(30, "SELECT title_zh FROM notice") == [("运动会",)]


def test_a_party_named_later_reads_the_lessons_log_from_its_beginning(
    district: District,
) -> None:
    district.lessons["L1"] = frozenset({17})
    school = district.nodes[17]
    school.record("hand_raise", [{"at_ms": 1, "lesson": "L1", "room": "r1", "raised": 1}])
    district.settle()
    district.lessons["L1"] = frozenset({17, 18})
    party: Row = {"school": 18, "lesson": "L1", "role": "receiver"}
    district.nodes[0].record("lesson_party", [party])
    district.settle()
    assert district.rows(18, "SELECT school, room FROM hand_raise") == [(17, "r1")]


def test_a_grant_of_the_districts_key_goes_to_its_school_only(district: District) -> None:
    district.nodes[0].record("notice", [{"school": 0, "notice": "n1", "title_zh": "运动会"}])
    district.settle()
    ids = {
        origin: recipient_id(district.keys[origin].sealing.public_key()) for origin in (0, 17, 18)
    }
    held = {row[0] for row in district.rows(17, "SELECT recipient FROM key_grant")}
    assert ids[17] in held
    assert ids[18] not in held


def test_what_a_policy_does_not_find_due_waits(district: District) -> None:
    school, policy = district.nodes[17], SealPolicy(rows=250, age_ms=30_000)
    school.record("card_tap", TAPS[:249])
    assert school.seal_due(policy) == 0
    school.record("card_tap", TAPS[249:250])
    assert school.seal_due(policy) > 0
    school.record("card_tap", TAPS[250:251])
    district.now += 29_999
    assert school.seal_due(policy) == 0
    district.now += 1
    assert school.seal_due(policy) == 1
    school.record("alarm", [{"at_ms": 1, "device": "d", "alarm": "panic"}])
    assert school.seal_due(policy) > 0


def test_whoever_seals_is_told_of_a_full_log_once_its_rows_are_durable(district: District) -> None:
    school = district.nodes[17]
    told: list[int] = []
    school.heed_full(1000, lambda: told.append(len(district.rows(17, "SELECT 1 FROM card_tap"))))
    school.record("card_tap", TAPS[:600])
    with pytest.raises(RowError):
        school.record_all({"card_tap": TAPS[600:1000], "notice": [{"notice": 5}]})
    assert told == []
    school.record("card_tap", TAPS[600:1000])
    assert told == [1000]
    assert school.seal_due(SealPolicy(rows=1000)) >= 1
    school.record("card_tap", TAPS[1000:1999])
    school.ignore_full()
    school.record("card_tap", TAPS[1999:])
    assert told == [1000]
