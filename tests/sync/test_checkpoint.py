"""History is bounded, and whoever joins later ends with the same rows."""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.history import compaction
from sync.history.bounding import CheckpointState, HistoryPolicy
from sync.history.checkpoint import (
    Cover,
    Record,
    Seen,
    Span,
    note_record,
    pack_record,
    parse_digests,
    parse_record,
    read_checkpoints,
)
from sync.history.compaction import Compaction
from sync.history.horizon import Applied, pack_stable, parse_stable
from sync.history.part_writer import PartWriter
from sync.history.snapshot_part import RECORD_TABLE, StoredRow, may_be_hollow, unpack_part
from sync.history.standing import Purged, Standing, standing_of
from sync.history.stored_rows import StoredRows
from sync.logs.log_state import find_log, log_id_of
from sync.logs.oplog import SCHOOL_FIELD, Row
from sync.node import Imported
from sync.schema import BY_NAME
from sync.schema.model import Group, Lane
from sync.segments.segment import LogName, parse_segment
from tests.sync.district import District

AT_ONCE = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=0)
DAY = 24 * 3600 * 1000


def bound(district: District, *origins: int, policy: HistoryPolicy = AT_ONCE) -> None:
    """Let nodes bound their history as far as it goes by now."""
    for origin in origins:
        for _ in district.nodes[origin].history.steps(policy):
            pass


def bound_all(district: District, policy: HistoryPolicy = AT_ONCE) -> None:
    """Make checkpoints, exchange them, have them countersigned, and drop what may go."""
    schools = sorted(district.nodes.keys() - {0} - district.watchers)
    for _ in range(3):
        bound(district, *schools, 0, policy=policy)
        district.settle()


def hollow(district: District, origin: int) -> int:
    """Return how many segments a node holds without their bodies."""
    wires = "SELECT count(*) FROM segment WHERE substr(wire, 1, 4) = CAST('SNH1' AS BLOB)"
    (count,) = district.rows(origin, wires)[0]
    assert isinstance(count, int)
    return count


def edit_rooms(district: District, times: int) -> None:
    school = district.nodes[17]
    for each in range(times):
        district.now += 1000
        school.record("room", [{"room": f"r{each % 5}", "name": f"name {each}"}])
        if each % 7 == 0:
            school.record("room", [{"room": f"r{each % 5}", "deleted": True}])
        school.seal_all()


def lose(district: District, origin: int, generation: bytes = b"second") -> None:
    """Let a node begin again with an empty store."""
    district.nodes[origin].close()
    for path in district.folder.glob(f"{origin}.db*"):
        path.unlink()
    district.add(origin, generation)


def assert_alike(district: District, first: int, second: int, *tables: str) -> None:
    mine, theirs = district.digests(first), district.digests(second)
    for table in tables:
        assert mine[table] == theirs[table], table


def test_bodies_go_at_both_ends_once_the_hub_countersigned(district: District) -> None:
    edit_rooms(district, 40)
    district.settle()
    before = district.digests(17)
    bound(district, 17)
    assert hollow(district, 17) == 0, "not countersigned yet"
    bound_all(district)
    assert hollow(district, 17) >= 40
    assert hollow(district, 0) >= 40
    assert district.digests(17)["room"] == before["room"] == district.digests(0)["room"]
    (reasons,) = district.rows(0, "SELECT count(*) FROM checkpoint WHERE refused IS NOT NULL")
    assert reasons == (0,)


def test_bodies_stay_as_long_as_the_hubs_backups_are_kept(district: District) -> None:
    month = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=30 * DAY)
    edit_rooms(district, 20)
    bound_all(district, month)
    district.now += 29 * DAY
    # A school that would keep less goes by the hub's word.
    bound(district, 17, policy=AT_ONCE)
    bound(district, 0, policy=month)
    assert hollow(district, 17) == hollow(district, 0) == 0
    district.now += 2 * DAY
    bound(district, 17, policy=AT_ONCE)
    bound(district, 0, policy=month)
    assert hollow(district, 17) >= 20
    assert hollow(district, 0) >= 20


def test_a_box_that_lost_its_store_comes_back_by_snapshot_and_suffix(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": each, "device": "door"} for each in range(50)])
    school.record("leave", [{"person": 3, "from_ms": 1, "reason": "ill"}])
    school.record("heart_rate", [{"at_ms": 1, "person": 3, "bpm": 90}])
    for each in range(20):
        district.now += 1000
        school.record("attendance_entry", [{"day": "d", "slot": "1", "person": each % 4}])
        school.record("card_tap", [{"at_ms": 100 + each, "device": "door"}])
        school.seal_all()
    edit_rooms(district, 20)
    district.nodes[0].record("timetable_slot", [{"school": 17, "slot": "1", "subject": "maths"}])
    district.settle()
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    bound_all(district)
    assert hollow(district, 0) > 0
    edit_rooms(district, 3)
    district.settle()
    held = district.digests(17, everything())
    lose(district, 17)
    district.exchange(17)
    district.exchange(17)
    now = district.digests(17, everything())
    for table in ("card_tap", "attendance_entry", "room", "leave", "heart_rate", "timetable_slot"):
        assert now[table] == held[table], table
    assert district.rows(17, "SELECT * FROM parked") == []
    waiting = district.rows(17, "SELECT count(*) FROM log WHERE applied < stored")
    assert waiting == [(0,)]


def test_a_clock_behind_a_lost_stores_own_stamps_loses_no_row_of_a_checkpoint(
    district: District,
) -> None:
    query = "SELECT room, name, hlc FROM room ORDER BY room"
    district.skew[17] = 4 * 60_000
    district.reopen(17)
    edit_rooms(district, 3)
    district.settle()
    held = district.rows(17, query)
    district.skew[17] = -4 * 60_000
    lose(district, 17)
    district.settle()
    bound_all(district)
    assert hollow(district, 17) > 0
    lose(district, 17, b"third")
    district.settle()
    assert district.rows(17, "SELECT reason FROM parked") == []
    assert district.rows(17, query) == held == district.rows(0, query)


def test_tombstones_go_everywhere_with_the_checkpoint_that_leaves_them_out(
    district: District,
) -> None:
    school = district.nodes[17]
    school.record("room", [{"room": "kept", "name": "one"}, {"room": "gone", "name": "two"}])
    district.settle()
    district.now += DAY
    school.record("room", [{"room": "gone", "deleted": True}])
    edit_rooms(district, 2)
    district.settle()
    tombstones = "SELECT room FROM room WHERE deleted = 1 AND room = 'gone'"
    month = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=30 * DAY)
    bound_all(district, month)
    edit_rooms(district, 3)
    bound_all(district, month)
    assert district.rows(17, tombstones) == district.rows(0, tombstones) == [("gone",)]
    district.now += 31 * DAY
    digests = district.digests(17)["room"]
    assert digests == district.digests(0)["room"]
    edit_rooms(district, 3)
    district.settle()
    bound(district, 17, policy=month)
    assert district.rows(17, tombstones) == []
    assert district.rows(0, tombstones) == [("gone",)]
    assert_alike(district, 17, 0, "room")
    bound_all(district, month)
    assert district.rows(0, tombstones) == []
    assert_alike(district, 17, 0, "room")
    lose(district, 17)
    district.exchange(17)
    assert district.rows(17, "SELECT room FROM room WHERE room IN ('kept', 'gone')") == [("kept",)]
    assert_alike(district, 17, 0, "room")


def test_a_tombstone_waits_for_every_member_that_is_not_evicted(district: District) -> None:
    hub = district.nodes[0]
    hub.record("notice", [{"school": 0, "notice": "n1"}, {"school": 0, "notice": "n2"}])
    district.settle()
    hub.record("notice", [{"school": 0, "notice": "n1", "deleted": True}])
    district.exchange(17)
    tombstones = "SELECT notice FROM notice WHERE deleted = 1"
    for number in range(3):
        district.now += DAY
        hub.record("notice", [{"school": 0, "notice": "n2", "title_zh": str(number)}])
        district.exchange(17)
        bound(district, 0, 17)
    assert district.rows(0, tombstones) == [("n1",)], "school 18 has not applied it"
    district.exchange(18)
    for number in range(4):
        hub.record("notice", [{"school": 0, "notice": "n2", "title_zh": f"again {number}"}])
        district.settle()
    bound(district, 0)
    assert district.rows(0, tombstones) == []
    for school in (17, 18):
        district.exchange(school)
        assert_alike(district, 0, school, "notice")
        bound(district, school)
        assert district.rows(school, tombstones) == []
        assert_alike(district, 0, school, "notice")


def test_a_silent_member_is_evicted_and_returns_with_what_it_wrote(district: District) -> None:
    hub, school = district.nodes[0], district.nodes[18]
    slots: list[Row] = [{"school": 18, "slot": str(each), "subject": "maths"} for each in range(4)]
    hub.record("timetable_slot", slots)
    hub.record("notice", [{"school": 0, "notice": "n1"}, {"school": 0, "notice": "n2"}])
    school.record("room", [{"room": "r1", "name": "before"}])
    district.settle()
    bound_all(district)
    hub.record("notice", [{"school": 0, "notice": "n1", "deleted": True}])
    hub.record("timetable_slot", [{"school": 18, "slot": "1", "deleted": True}])
    district.now += DAY
    school.record("timetable_slot", [{"school": 18, "slot": "1", "room": "while away"}])
    school.record("room", [{"room": "r1", "name": "while away"}])
    school.record("card_tap", [{"at_ms": 5, "device": "door"}])
    school.seal_all()
    for _ in range(7):
        district.now += 30 * DAY
        hub.record("notice", [{"school": 0, "notice": "n2", "title_zh": str(district.now)}])
        district.exchange(17)
        bound(district, 0, 17)
    assert district.rows(0, "SELECT member FROM eviction") == [(18,)]
    assert district.rows(0, "SELECT * FROM notice WHERE deleted = 1") == []
    before = school.incarnation
    wires = [wire for _, _, wire in district.wires(18)]
    done = hub.import_segments(wires, 18, lambda _: True)
    assert (done.stored, done.refused) == (0, []), "it has not heard of its eviction"
    district.exchange(18)
    district.exchange(18)
    assert school.incarnation != before
    assert district.rows(0, "SELECT name FROM room") == [("while away",)]
    assert district.rows(0, "SELECT at_ms FROM card_tap") == [(5,)]
    assert district.rows(18, "SELECT notice FROM notice WHERE deleted = 0") == [("n2",)]
    returned = "SELECT returned_ms IS NOT NULL FROM eviction"
    assert district.rows(0, returned) == district.rows(18, returned) == [(1,)]
    assert_alike(district, 0, 18, "room", "card_tap", "timetable_slot", "notice")
    school.record("room", [{"room": "r1", "name": "after"}])
    district.exchange(18)
    assert district.rows(0, "SELECT name FROM room") == [("after",)]


def test_a_school_that_falls_silent_again_is_evicted_and_returns_again(district: District) -> None:
    school = district.nodes[18]
    lives = [school.incarnation]
    for name in ("first", "second", "third"):
        silence(district, 18)
        school.record("room", [{"room": "r1", "name": name}])
        district.exchange(18)
        district.exchange(18)
        lives.append(school.incarnation)
        assert district.rows(0, "SELECT name FROM room WHERE school = 18") == [(name,)]
        assert district.rows(18, "SELECT returned_ms IS NULL FROM eviction") == [(0,)]
    assert len({*lives}) == 4


def tap_and_return(district: District) -> tuple[list[bytes], bytes]:
    """Let a school tap while it is away, and return; give what it had sealed, and its store then.

    The second tap is on the log of a lane that was never used before.
    """
    school = district.nodes[18]
    school.record("card_tap", [{"at_ms": 1, "device": "door"}])
    silence(district, 18)
    school.record("card_tap", [{"at_ms": 2, "device": "door"}])
    school.record("farm_action", [{"at_ms": 3, "command": "water"}])
    school.seal_all()
    store = district.back_up(18)
    stick = [wire for _, _, wire in district.wires(18)]
    district.exchange(18)
    district.exchange(18)
    return stick, store


TAPS_OF_18 = "SELECT at_ms FROM card_tap WHERE school = 18 ORDER BY 1"


def test_a_stick_written_before_a_school_returned_doubles_nothing(district: District) -> None:
    stick, _ = tap_and_return(district)
    done = district.nodes[0].import_segments(stick, 18, lambda _: True)
    assert done.stored == 0
    assert any("was evicted" in reason for *_, reason in done.refused)
    district.settle()
    for origin in (0, 18):
        assert district.rows(origin, TAPS_OF_18) == [(1,), (2,)]
        assert district.rows(origin, "SELECT at_ms FROM farm_action") == [(3,)]


def test_a_box_restored_to_before_its_return_loses_nothing(district: District) -> None:
    """Nobody can tell whether it had written anew what it has: it may be there twice."""
    _, store = tap_and_return(district)
    district.restore(18, store, b"second")
    for _ in range(3):
        district.exchange(18)
    assert {*district.rows(0, TAPS_OF_18)} == {(1,), (2,)}
    assert_alike(district, 0, 18, "card_tap")


def test_an_eviction_that_is_told_again_begins_no_further_incarnation(district: District) -> None:
    hub, school = district.nodes[0], district.nodes[18]
    silence(district, 18)
    before = school.incarnation
    assert "eviction" in hear_hub(district, 18).tables
    after = school.incarnation
    assert after != before
    ((at_ms,),) = district.rows(0, "SELECT at_ms FROM eviction")
    assert isinstance(at_ms, int)
    hub.record("eviction", [{"school": 18, "member": 18, "at_ms": at_ms}])
    assert "eviction" in hear_hub(district, 18).tables
    assert school.incarnation == after


def silence(district: District, school: int) -> None:
    """Let a school be silent for as long as it takes to be evicted."""
    district.settle()
    for _ in range(7):
        district.now += 30 * DAY
        district.exchange(17)
        bound(district, 0)
    evicted = "SELECT member FROM eviction WHERE returned_ms IS NULL"
    assert district.rows(0, evicted) == [(school,)]


def hear_hub(district: District, school: int) -> Imported:
    """Bring a school what the hub wrote, and the hub nothing."""
    district.nodes[0].seal_all()
    wires = [wire for _, _, wire in district.wires(0)]
    return district.nodes[school].import_segments(wires, 0, lambda _: True)


def test_who_takes_a_second_snapshot_folds_nothing_that_it_covers(district: District) -> None:
    hub = district.nodes[0]
    daily = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=DAY)

    def edit(title: str, **changes: int) -> None:
        district.now += 1000
        hub.record("notice", [{"school": 0, "notice": "n1", "title_zh": title, **changes}] * 2)
        hub.record("notice", [{"school": 0, "notice": "n2", "title_zh": title}] * 2)
        hub.seal_all()
        district.settle()

    for each in range(4):
        edit(f"first {each}")
    bound_all(district)
    lose(district, 18)
    district.exchange(18)
    places = "SELECT a.seq FROM adopted a JOIN log l ON l.id = a.log WHERE l.audience = 'd'"
    (first,) = district.rows(18, places)
    early = district.back_up(18)
    for each in range(4):
        edit(f"second {each}")
    bound_all(district)
    dropped = hollow(district, 18)
    edit("third", deleted=1)
    edit("fourth", deleted=1)
    district.now += 2 * DAY
    edit("fifth", deleted=1)
    district.now += 2 * DAY
    bound(district, 0, policy=daily)
    district.settle()
    tombstones = "SELECT notice FROM notice WHERE deleted = 1"
    assert district.rows(0, tombstones) == []
    assert hollow(district, 18) == dropped, "what the last one covers has its bodies still"
    district.restore(18, early, b"third")
    district.exchange(18)
    assert district.rows(18, tombstones) == []
    assert district.rows(18, places) > [first]
    assert_alike(district, 0, 18, "notice")


def test_events_alone_keep_their_bodies_and_no_event_is_copied_twice(district: District) -> None:
    school = district.nodes[17]
    for each in range(30):
        school.record("card_tap", [{"at_ms": each, "device": "door"}])
        school.seal_all()
        school.record("attendance_entry", [{"day": "d", "slot": "1", "person": 1}])
        school.record("card_tap", [{"at_ms": 100 + each, "device": "door"}])
        school.seal_all()
    district.settle()
    bound_all(district)
    for origin in (17, 0):
        whole = [
            segment
            for (wire,) in district.rows(
                origin, "SELECT wire FROM segment s JOIN log l ON l.id = s.log WHERE l.lane = 2"
            )
            if isinstance(wire, bytes) and not (segment := parse_segment(wire)).is_hollow
        ]
        assert len(whole) == 30
    lose(district, 17)
    district.exchange(17)
    moments = district.rows(17, "SELECT at_ms FROM card_tap ORDER BY at_ms")
    assert moments == [(each,) for each in [*range(30), *range(100, 130)]]
    assert_alike(district, 0, 17, "card_tap", "attendance_entry")


def test_a_hub_takes_no_segment_of_events_without_its_bodies(district: District) -> None:
    school = district.nodes[17]
    school.record("alarm", [{"at_ms": 1, "device": "d", "alarm": "fire"}])
    school.seal_all()
    wires = [
        parse_segment(wire).hollow() for name, _, wire in district.wires(17) if "alarm" in name
    ]
    done = district.nodes[0].import_segments(wires, 17, lambda _: True)
    assert done.stored == 0
    assert "no checkpoint drops" in done.refused[0][2]


def test_segments_without_bodies_wait_for_their_snapshot_and_hinder_nothing(
    district: District,
) -> None:
    edit_rooms(district, 5)
    wires = [
        segment.hollow() if may_be_hollow(segment.header) else wire
        for _, _, wire in district.wires(17)
        for segment in [parse_segment(wire)]
    ]
    district.nodes[17].record("card_tap", [{"at_ms": 1, "device": "door"}])
    district.seal(17)
    taps = [wire for name, _, wire in district.wires(17) if "attendance" in name]
    done = district.nodes[0].import_segments([*wires, *taps], 17, lambda _: True)
    assert not done.refused
    assert done.stored == len(wires) + len(taps)
    waits = "SELECT lane FROM log WHERE origin = 17 AND applied < stored"
    assert district.rows(0, waits) == [(Lane.CONTROL,)]
    assert district.rows(0, "SELECT at_ms FROM card_tap") == [(1,)]


def test_a_checkpoint_that_would_lose_a_row_is_refused_and_no_body_goes(
    district: District,
) -> None:
    edit_rooms(district, 6)
    district.settle()
    district.nodes[17]._connection.execute("DELETE FROM room WHERE room = 'r2'")
    # As a broken box would: the row is not there, and it says that its tombstone was left out.
    later = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=-DAY)
    district.nodes[0].record_all(
        {
            "checkpoint_countersigned": [
                {"school": 17, "covered": "s17", "stable": all_stable(district, 17)}
            ]
        }
    )
    district.settle()
    bound(district, 17, policy=later)
    district.settle()
    bound(district, 0)
    ((reason,),) = district.rows(0, "SELECT refused FROM checkpoint WHERE origin = 17")
    assert "would be lost" in str(reason)
    bound_all(district)
    wires = "SELECT wire FROM segment s JOIN log l ON l.id = s.log WHERE l.origin = 17"
    for origin in (17, 0):
        kept = [
            parse_segment(wire)
            for (wire,) in district.rows(origin, wires)
            if isinstance(wire, bytes)
        ]
        assert not any(segment.is_hollow for segment in kept)


@pytest.mark.parametrize(
    "stable",
    [
        [[-1, Lane.BULK, 1]],
        [[1, Lane.BULK, 2**64 - 1]],
        [[1, 99, 1]],
        [[1, Lane.BULK]],
        "applied",
        [[1, Lane.BULK, 1]] * 5000,
        None,
    ],
)
def test_what_members_applied_is_refused_out_of_bounds(stable: object) -> None:
    with pytest.raises(MalformedError):
        parse_stable(msgspec.msgpack.encode(stable))


def test_a_hub_that_says_members_applied_less_than_nothing_hinders_no_checkpoint(
    district: District,
) -> None:
    edit_rooms(district, 6)
    district.settle()
    said = [
        Applied(log.name.incarnation, log.name.lane, -7)
        for log in district.nodes[17].logs()
        if log.name.origin == 17
    ]
    told: Row = {"school": 17, "covered": "s17", "stable": pack_stable(said)}
    district.nodes[0].record("checkpoint_countersigned", [told])
    district.settle()
    bound(district, 17)
    district.settle()
    bound(district, 0)
    assert district.rows(0, "SELECT refused FROM checkpoint WHERE origin = 17") == [(None,)]


def test_a_checkpoint_with_another_head_is_refused_with_a_reason(district: District) -> None:
    edit_rooms(district, 6)
    district.settle()
    bound(district, 17)
    district.settle()
    hub = district.nodes[0]._connection
    ((log, seq, content),) = hub.execute("SELECT log, seq, content FROM checkpoint").fetchall()
    record = parse_record(content, LogName(17, 1, "s17", Lane.SNAPSHOT))
    covers = [msgspec.structs.replace(each, head=bytes(32)) for each in record.covers]
    forged = pack_record(msgspec.structs.replace(record, covers=covers))
    hub.execute("UPDATE checkpoint SET content = ? WHERE log = ? AND seq = ?", (forged, log, seq))
    bound(district, 0)
    ((reason,),) = district.rows(0, "SELECT refused FROM checkpoint WHERE origin = 17")
    assert "is another here than the checkpoint says" in str(reason)
    assert district.rows(0, "SELECT * FROM checkpoint_countersigned") == []


def test_digests_that_the_parts_do_not_make_are_refused(district: District) -> None:
    edit_rooms(district, 6)
    district.settle()
    bound(district, 17)
    district.settle()
    hub = district.nodes[0]._connection
    ((log, seq, content),) = hub.execute("SELECT log, seq, content FROM checkpoint").fetchall()
    record = parse_record(content, LogName(17, 1, "s17", Lane.SNAPSHOT))
    digests = [(table, bytes(32)) for table, _ in record.digests]
    forged = pack_record(msgspec.structs.replace(record, digests=digests))
    hub.execute("UPDATE checkpoint SET content = ? WHERE log = ? AND seq = ?", (forged, log, seq))
    bound(district, 0)
    ((reason,),) = district.rows(0, "SELECT refused FROM checkpoint WHERE origin = 17")
    assert "do not hold what the checkpoint states" in str(reason)


def test_a_part_with_a_row_that_has_no_stamp_is_refused_and_stops_no_hub(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = PartWriter.add
    stampless = StoredRow(BY_NAME["room"].number, 10**6, {Group.DISTRICT: {SCHOOL_FIELD: 17}})

    def add_one_more(
        self: PartWriter, cursor: sqlite3.Cursor, source: LogName, rows: list[StoredRow]
    ) -> None:
        add(self, cursor, source, [*rows, stampless] if rows else rows)

    def forget_it(
        cursor: sqlite3.Cursor, origin: int, log_id: int, row: StoredRow, purged: Purged
    ) -> Standing:
        if row.number == stampless.number:
            return Standing.SUPERSEDED
        return standing_of(cursor, origin, log_id, row, purged)

    edit_rooms(district, 1)
    district.settle()
    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "add", add_one_more)
        list(district.nodes[17].history._checkpoint("s17", AT_ONCE))
    district.settle()
    bound(district, 0)
    edit_rooms(district, 9)
    district.settle()
    monkeypatch.setattr("sync.history.compaction.standing_of", forget_it)
    list(district.nodes[17].history._checkpoint("s17", AT_ONCE))
    district.settle()
    monkeypatch.undo()
    bound(district, 0)
    ((number, reason),) = district.rows(
        0, "SELECT number, refused FROM checkpoint WHERE origin = 17 AND refused IS NOT NULL"
    )
    assert (number, "without its stamp" in str(reason)) == (2, True)


def test_a_schools_own_checkpoint_that_leaves_a_sealed_group_out_is_refused_there(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a stolen box, or of a box that the hub made: it knows what the hub can read."""
    add = PartWriter.add

    def add_what_the_hub_reads(
        self: PartWriter, cursor: sqlite3.Cursor, source: LogName, rows: list[StoredRow]
    ) -> None:
        for row in rows:
            del row.cells[Group.IDENTITY]
        add(self, cursor, source, rows)

    school = district.nodes[17]
    for person in range(9):
        school.record("person", [{"person": person + 1, "name": b"sealed"}])
        school.seal_all()
    district.settle()
    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "add", add_what_the_hub_reads)
        list(school.history._checkpoint("s17", AT_ONCE))
    district.settle()
    bound(district, 17)
    bound(district, 0)
    district.settle()
    bound(district, 17)
    ((reason,), *_) = district.rows(
        17, "SELECT refused FROM checkpoint WHERE origin = 17 ORDER BY number"
    )
    assert "would be lost" in str(reason)
    assert hollow(district, 17) == 0
    edit_rooms(district, 9)
    bound_all(district)
    bound_all(district)
    assert hollow(district, 17) > 0
    lose(district, 17)
    district.exchange(17)
    district.exchange(17)
    assert district.rows(17, "SELECT count(name) FROM person") == [(9,)]


@pytest.mark.parametrize("number", [2**63 - 1, 2**48])
def test_no_box_uses_up_the_numbers_of_the_checkpoints_that_come_after_it(
    district: District, number: int
) -> None:
    edit_rooms(district, 6)
    bound_all(district)
    dropped = hollow(district, 0)
    write_record(district, number)
    for origin in (17, 0):
        counted, passed_over = states(district, origin)
        assert (counted.number, counted.refused, passed_over.number) == (1, None, number)
        assert "is far above number 1" in str(passed_over.refused)
    edit_rooms(district, 12)
    bound_all(district)
    assert [each.number for each in states(district, 17)] == [2, number]
    assert hollow(district, 0) > dropped
    lose(district, 17)
    district.exchange(17)
    assert_alike(district, 0, 17, "room")


def test_the_first_number_known_is_bounded_and_what_counts_does_not_depend_on_what_came_first(
    district: District,
) -> None:
    write_record(district, 2**63 - 1)
    (passed_over,) = states(district, 0)
    assert "is far above any first one" in str(passed_over.refused)
    write_record(district, 2**48)
    counted, passed_over = states(district, 0)
    assert (counted.number, passed_over.number) == (2**48, 2**63 - 1)
    write_record(district, 3)
    write_record(district, 3 + 2**24)
    counted, passed_over = states(district, 0)
    assert (counted.number, passed_over.number) == (3 + 2**24, 2**48)
    edit_rooms(district, 6)
    bound_all(district)
    assert states(district, 17)[0].number == 4 + 2**24
    assert hollow(district, 0) > 0


def states(district: District, origin: int) -> list[CheckpointState]:
    """Return how the checkpoints of school 17 stand at a node."""
    return [each for each in district.nodes[origin].history.states() if each.origin == 17]


def write_record(district: District, number: int) -> None:
    """Let a further box of school 17, a stolen one maybe, say that it made a checkpoint."""
    school = district.nodes[17]
    name = LogName(17, school.incarnation, "s17", Lane.SNAPSHOT)
    record = Record(
        version=1,
        number=number,
        at_ms=1,
        stamp=1,
        covers=[],
        seen=[],
        purged=0,
        purged_both=0,
        cleared=0,
        events=[],
        states=[],
        digests=[],
    )
    content = pack_record(record)
    with school.transaction() as cursor:
        segment = school._sealer.append_part(
            cursor, name, {Group.DISTRICT: content}, {RECORD_TABLE: 1}, (1, 1)
        )
        assert segment is not None
        note_record(cursor, log_id_of(cursor, name), segment, content)
    district.settle()


def test_rows_of_the_future_that_came_with_a_snapshot_count_as_they_did(
    district: District,
) -> None:
    """A hub that believed them lost its store: their segments come back without bodies."""
    for origin in (0, 17):
        district.skew[origin] = DAY
    edit_rooms(district, 40)
    district.settle()
    bound_all(district)
    district.skew.clear()
    lose(district, 0)
    district.settle()
    assert hollow(district, 0) > 0
    edit_rooms(district, 3)
    district.settle()
    assert_alike(district, 0, 17, "room")


def test_no_word_of_a_schools_makes_the_hub_forget_its_own_deletes(district: District) -> None:
    hub = district.nodes[0]
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "maths"}])
    district.settle()
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "deleted": True}])
    edit_rooms(district, 6)
    district.settle()
    bound(district, 17)
    district.settle()
    ((log, seq, content),) = hub._connection.execute(
        "SELECT log, seq, content FROM checkpoint"
    ).fetchall()
    record = parse_record(content, LogName(17, 1, "s17", Lane.SNAPSHOT))
    forged = pack_record(msgspec.structs.replace(record, purged_both=2**62))
    change = "UPDATE checkpoint SET content = ? WHERE log = ? AND seq = ?"
    hub._connection.execute(change, (forged, log, seq))
    bound(district, 0, policy=HistoryPolicy(written_bytes=1, apart_ms=0))
    assert district.rows(0, "SELECT slot FROM timetable_slot WHERE deleted = 1") == [("1",)]


def test_an_altered_part_is_refused_on_arrival(district: District) -> None:
    edit_rooms(district, 6)
    district.settle()
    bound(district, 17)
    wires = [wire for name, _, wire in district.wires(17) if "snapshot" in name]
    spoiled = [wires[0][:-1] + bytes([wires[0][-1] ^ 1]), *wires[1:]]
    done = district.nodes[0].import_segments(spoiled, 17, lambda _: True)
    assert done.stored == 0
    assert "was altered" in done.refused[0][2]


def test_a_countersignature_of_something_else_lets_no_body_go(district: District) -> None:
    edit_rooms(district, 6)
    district.settle()
    bound(district, 17)
    for _ in range(2):
        district.settle()
        bound(district, 0)
    district.nodes[0].record(
        "checkpoint_countersigned",
        [{"school": 17, "covered": "s17", "incarnation": 1, "seq": 1, "digest": bytes(32)}],
    )
    district.settle()
    bound(district, 17)
    assert hollow(district, 17) == 0
    assert not any(
        each.countersigned for each in district.nodes[17].history.states() if each.origin == 17
    )


def test_no_checkpoint_is_made_over_parked_rows_and_none_is_lost(district: District) -> None:
    edit_rooms(district, 6)
    district.settle()
    control = "SELECT id FROM log WHERE origin = 17 AND lane = 1"
    for origin in (17, 0):
        connection = district.nodes[origin]._connection
        ((log,),) = district.rows(origin, control)
        connection.execute(
            "INSERT INTO parked (log, seq, body, table_number, reason, rows, parked_ms)"
            " VALUES (?, 3, 0, 2, 'a test', 1, 1)",
            (log,),
        )
    bound_all(district)
    assert district.rows(17, "SELECT * FROM checkpoint WHERE origin = 17") == []
    district.nodes[17]._connection.execute("DELETE FROM parked")
    bound_all(district)
    assert hollow(district, 17) > 0
    third = f"SELECT wire FROM segment WHERE seq = 3 AND log = ({control})"  # noqa: S608 - a constant
    ((wire,),) = district.rows(0, third)
    assert isinstance(wire, bytes)
    assert not parse_segment(wire).is_hollow, "the hub still has something of it to apply"


def test_a_deleted_row_of_two_writers_is_forgotten_by_both_and_by_who_joins(
    district: District,
) -> None:
    hub, school = district.nodes[0], district.nodes[17]
    hub.record(
        "timetable_slot", [{"school": 17, "slot": each, "subject": "maths"} for each in "ab"]
    )
    district.exchange(17)
    school.record("timetable_slot", [{"school": 17, "slot": "a", "room": "r2"}])
    district.exchange(17)
    old = district.back_up(17)
    hub.record("timetable_slot", [{"school": 17, "slot": "a", "deleted": 1}])
    slots = "SELECT slot, room, subject, deleted FROM timetable_slot ORDER BY slot"
    for each in range(12):
        district.now += DAY
        school.record("timetable_slot", [{"school": 17, "slot": "b", "teacher": f"{each}"}] * 3)
        hub.record("timetable_slot", [{"school": 17, "slot": "b", "room": f"{each}"}] * 3)
        bound_all(district)
    left = [("b", "11", "maths", 0)]
    assert district.rows(0, slots) == district.rows(17, slots) == left
    district.restore(17, old, b"second")
    district.exchange(17)
    bound(district, 17)
    assert district.rows(17, slots) == left
    assert_alike(district, 0, 17, "timetable_slot")
    school = district.nodes[17]
    school.record("timetable_slot", [{"school": 17, "slot": "a", "teacher": "anew"}])
    district.exchange(17)
    assert_alike(district, 0, 17, "timetable_slot")
    assert ("a", None, None, 0) in district.rows(0, slots)


def delete_while_the_school_writes(district: District) -> None:
    """Let the hub delete slot a while the school, unaware, changes its room; clear it at the hub.

    The school has applied the delete, and still has the tombstone.
    """
    hub, school = district.nodes[0], district.nodes[17]
    hub.record(
        "timetable_slot", [{"school": 17, "slot": each, "subject": "maths"} for each in "ab"]
    )
    district.exchange(17)
    hub.record("timetable_slot", [{"school": 17, "slot": "a", "deleted": 1}])
    district.now += 1000
    school.record("timetable_slot", [{"school": 17, "slot": "a", "room": "unaware"}])
    school.seal_all()
    for each in range(4):
        district.now += DAY
        school.record("timetable_slot", [{"school": 17, "slot": "b", "teacher": f"{each}"}])
        hub.record("timetable_slot", [{"school": 17, "slot": "b", "room": f"{each}"}] * 4)
        district.exchange(17)
    bound(district, 17)
    district.exchange(17)
    bound(district, 0)
    gone = "SELECT deleted, room FROM timetable_slot WHERE slot = 'a'"
    assert district.rows(0, gone) == []
    assert district.rows(17, gone) == [(1, "unaware")]


@pytest.mark.parametrize("origin", [0, 17])
def test_it_makes_no_difference_who_has_a_tombstone_still_when_a_row_comes_anew(
    district: District, origin: int
) -> None:
    delete_while_the_school_writes(district)
    anew: Row = {"school": 17, "slot": "a", "teacher": "anew", "deleted": 0}
    district.nodes[origin].record("timetable_slot", [anew])
    district.exchange(17)
    assert_alike(district, 0, 17, "timetable_slot")
    slots = "SELECT room, subject, teacher FROM timetable_slot WHERE slot = 'a'"
    assert district.rows(17, slots) == [(None, None, "anew")]


def test_who_joins_meets_no_write_that_a_forgotten_tombstone_buried(district: District) -> None:
    delete_while_the_school_writes(district)
    lose(district, 17)
    district.exchange(17)
    assert_alike(district, 0, 17, "timetable_slot")


def test_a_group_released_later_opens_from_the_parts(district: District) -> None:
    school = district.nodes[17]
    for each in range(12):
        school.record("leave", [{"person": each % 3, "from_ms": 1, "reason": f"reason {each}"}])
        school.record("heart_rate", [{"at_ms": each, "person": 1, "bpm": 80}])
        school.record("device_state", [{"device": "d", "point": "p", "value": str(each)}])
        school.seal_all()
    district.settle()
    bound_all(district)
    assert hollow(district, 0) > 0
    assert district.rows(0, "SELECT * FROM leave WHERE reason IS NOT NULL") == []
    for group in (Group.HEALTH, Group.IDENTITY):
        school.keys.release(group, "head")
    district.settle()
    reasons = district.rows(0, "SELECT person, reason FROM leave ORDER BY person")
    assert reasons == [(0, "reason 9"), (1, "reason 10"), (2, "reason 11")]
    assert district.rows(0, "SELECT count(*) FROM heart_rate") == [(12,)]


def test_a_year_of_edits_ends_within_a_constant_of_the_live_data(district: District) -> None:
    school = district.nodes[17]
    policy = HistoryPolicy(written_bytes=32 * 1024, apart_ms=DAY, retention_ms=30 * DAY)

    def sizes(origin: int) -> tuple[int, int]:
        """Return the bytes of segments that have bodies, and of those that have none."""
        (found,) = district.rows(
            origin,
            "SELECT coalesce(sum(CASE WHEN substr(wire, 1, 4) = CAST('SNS1' AS BLOB)"
            " THEN length(wire) ELSE 0 END), 0), sum(length(wire)) FROM segment",
        )
        whole, everything = found
        assert isinstance(whole, int)
        assert isinstance(everything, int)
        return whole, everything - whole

    kept = []
    for _ in range(120):
        district.now += 3 * DAY
        school.record(
            "room",
            [
                {"room": f"r{each}", "name": district.chance.randbytes(40).hex()}
                for each in range(40)
            ],
        )
        district.exchange(17)
        bound(district, 17, 0, policy=policy)
        kept.append(sizes(0)[0])
    written = 120 * 40 * 40  # bytes of chance, which nothing compresses
    assert written > 5 * policy.written_bytes
    assert max(kept) < 3 * policy.written_bytes, "the same after a month as after a year"
    for origin in (17, 0):
        segments = district.rows(origin, "SELECT count(*) FROM segment")[0][0]
        assert isinstance(segments, int)
        assert sizes(origin)[1] <= 400 * segments, "headers and signatures stay"
    assert_alike(district, 0, 17, "room")


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_with_losses_restores_and_crashes_end_alike(
    tmp_path: Path, seed: int
) -> None:
    story = Story(tmp_path, random.Random(seed))
    for step in range(70):
        story.go_on(step)
    district = story.district
    for _ in range(3):
        district.settle()
        bound_all(district)
    moments = district.rows(17, "SELECT at_ms FROM card_tap ORDER BY at_ms")
    assert moments == [(each,) for each in story.taps]
    standing = {room: name for room, name in story.rooms.items() if name is not None}
    rooms = district.rows(0, "SELECT room, name FROM room WHERE deleted = 0")
    assert sorted(rooms) == sorted(standing.items())
    tables = ("card_tap", "room", "attendance_entry", "leave", "timetable_slot", "notice")
    assert_alike(district, 0, 17, *tables)
    assert_alike(district, 0, 18, "notice")
    assert hollow(district, 0) > 0
    lose(district, 17, b"last")
    district.exchange(17)
    bound(district, 17)
    assert_alike(district, 0, 17, *tables)
    for node in district.nodes.values():
        node.close()


class Story:
    """A random history of school 17 with its hub, and what must be left of it."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.district = District(folder, chance)
        for origin in (0, 17, 18):
            self.district.add(origin)
        self.district.settle()
        self.taps: list[int] = []
        self.rooms: dict[str, str | None] = {}
        self._generations = {0: b"first", 17: b"first", 18: b"first"}
        self._copies = [self.district.back_up(17)]

    def go_on(self, step: int) -> None:
        chance, district = self.chance, self.district
        district.now += chance.randrange(1, DAY)
        deeds: dict[Callable[[int], None], int] = {
            self._write: 10,
            self._write_at_hub: 5,
            self._talk: 6,
            self._bound: 6,
            self._crash: 3,
            self._lose: 1,
            self._restore: 1,
            self._copy: 1,
        }
        (deed,) = chance.choices([*deeds], [*deeds.values()])
        deed(step)

    def _write(self, step: int) -> None:
        chance, school, name = self.chance, self.district.nodes[17], f"{step}"
        self.taps.append(step)
        room = f"r{chance.randrange(4)}"
        is_gone = chance.random() < 0.3
        self.rooms[room] = None if is_gone else name
        school.record("room", [{"room": room, "name": name, "deleted": is_gone}])
        school.record("card_tap", [{"at_ms": step, "device": "door"}])
        entry: Row = {"day": "d", "slot": "1", "person": chance.randrange(4), "status": name}
        school.record("attendance_entry", [entry])
        leave: Row = {"person": chance.randrange(3), "from_ms": 1, "reason": name}
        school.record("leave", [leave])
        school.record("timetable_slot", [self._slot(name)])
        school.seal_all()

    def _write_at_hub(self, step: int) -> None:
        chance, hub = self.chance, self.district.nodes[0]
        notice: Row = {"school": 0, "notice": f"n{chance.randrange(3)}", "title_zh": f"{step}"}
        hub.record("notice", [{**notice, "deleted": chance.random() < 0.3}])
        hub.record("timetable_slot", [self._slot(f"hub {step}")])
        hub.seal_all()

    def _slot(self, name: str) -> Row:
        row: Row = {"school": 17, "slot": f"s{self.chance.randrange(3)}"}
        if self.chance.random() < 0.25:
            return {**row, "deleted": 1}
        return {**row, self.chance.choice(["room", "subject", "teacher"]): name}

    def _talk(self, _: int) -> None:
        self.district.exchange(self.chance.choice([17, 17, 18]))

    def _bound(self, _: int) -> None:
        bound(self.district, self.chance.choice([0, 17, 18]))

    def _crash(self, _: int) -> None:
        """Stop a node in the middle of its work."""
        origin = self.chance.choice([0, 17])
        steps = self.district.nodes[origin].history.steps(AT_ONCE)
        for _step in islice(steps, self.chance.randrange(12)):
            pass
        del steps
        self.district.reopen(origin, self._generations[origin])

    def _lose(self, step: int) -> None:
        self.district.exchange(17)
        lose(self.district, 17, self._renew(step))
        self.district.exchange(17)

    def _restore(self, step: int) -> None:
        self.district.exchange(17)
        copy = self.chance.choice(self._copies[-2:])
        self.district.restore(17, copy, self._renew(step))
        self.district.exchange(17)

    def _copy(self, _: int) -> None:
        self.district.nodes[17].seal_all()
        self._copies.append(self.district.back_up(17))

    def _renew(self, step: int) -> bytes:
        self._generations[17] = str(step).encode()
        return self._generations[17]


@given(st.binary(max_size=200) | st.builds(lambda tail: b"\x9b\x01" + tail, st.binary()))
def test_arbitrary_bytes_are_no_checkpoint_and_no_part(data: bytes) -> None:
    name = LogName(17, 1, "s17", Lane.SNAPSHOT)
    for parse in (lambda: parse_record(data, name), lambda: unpack_part(name, data)):
        with suppress(MalformedError):
            parse()
    with suppress(MalformedError):
        parse_digests(data)


def test_a_record_survives_its_own_encoding_and_a_wrong_one_is_refused() -> None:
    name = LogName(17, 1, "s17", Lane.SNAPSHOT)
    record = Record(
        version=1,
        number=3,
        at_ms=5,
        stamp=6,
        covers=[Cover(1, Lane.CONTROL, 4, bytes(32), 9)],
        seen=[Seen(0, 1, Lane.LESSONS, 2)],
        purged=0,
        purged_both=0,
        cleared=0,
        events=[Span(1, 1, 4)],
        states=[Span(1, 5, 6)],
        digests=[(2, bytes(32))],
    )
    assert parse_record(pack_record(record), name) == record
    wrong: list[dict[str, Any]] = [
        {"version": 2},
        {"number": -1},
        {"covers": [Cover(1, Lane.SNAPSHOT, 4, bytes(32), 9)]},
        {"covers": [Cover(1, Lane.CONTROL, 4, bytes(31), 9)]},
        {"seen": [Seen(-1, 1, Lane.LESSONS, 2)]},
        {"events": [Span(1, 4, 1)]},
        {"states": [Span(1, 1, 2**40)]},
        {"states": [Span(1, 4, 6)]},
        {"states": [Span(1, 5, 6), Span(1, 5, 6)]},
        {"covers": [*record.covers, *record.covers]},
    ]
    for change in wrong:
        with pytest.raises(MalformedError):
            parse_record(pack_record(msgspec.structs.replace(record, **change)), name)


def all_stable(district: District, origin: int) -> bytes:
    return pack_stable(
        [
            Applied(log.name.incarnation, log.name.lane, log.stored)
            for log in district.nodes[origin].logs()
            if log.name.origin == origin
        ]
    )


def everything() -> tuple[Group, ...]:
    return tuple(Group)


def test_a_disk_set_back_before_its_checkpoint_doubles_nothing_it_held_unsealed(
    district: District,
) -> None:
    """What comes back has no bodies to compare with: its rows are in the snapshot."""
    school = district.nodes[17]
    taps: list[Row] = [{"at_ms": at_ms, "device": "door"} for at_ms in range(5)]
    school.record("card_tap", taps)
    school.record("duty", [{"class_group": "c1", "day": "mon"}])
    copy = district.back_up(17)
    district.settle()
    bound_all(district)
    assert hollow(district, 0)
    district.restore(17, copy, b"second")
    for _ in range(3):
        district.settle()
    for origin in (0, 17):
        found = district.rows(origin, "SELECT at_ms FROM card_tap ORDER BY at_ms")
        assert found == [(at_ms,) for at_ms in range(5)]


@pytest.mark.parametrize(("checkpoints", "heard"), [(1, 1), (4, 4), (4, 1)])
def test_a_hubs_writes_before_its_store_was_lost_stand_beside_its_later_checkpoints(
    district: District, checkpoints: int, heard: int
) -> None:
    """The school hears of the hub's last ``heard``, before the hub hears of what it holds."""
    write_slot(district, "before", "maths")
    district.nodes[0].record("notice", [{"school": 0, "notice": "n", "title_zh": "before"}])
    district.settle()
    bound_all(district)
    write_slot(district, "since", "music")
    district.settle()
    bound_all(district)
    assert hollow(district, 17) > 0
    lose(district, 0)
    for each in range(checkpoints):
        district.now += DAY
        for version in range(3):
            write_slot(district, "after", f"{each} {version}")
        bound(district, 0)
        if each >= checkpoints - heard:
            hear_hub(district, 17)
            bound(district, 17)
            bound(district, 17)
    assert newest_number(district) == checkpoints
    left = [("after", f"{checkpoints - 1} 2"), ("before", "maths"), ("since", "music")]
    refused = "SELECT refused FROM checkpoint WHERE refused IS NOT NULL"
    assert district.rows(17, SLOTS) == left
    assert district.rows(17, refused) == []
    district.exchange(17)
    assert district.rows(17, SLOTS) == left
    for _ in range(2):
        bound(district, 17, 0)
        district.settle()
        assert district.rows(17, SLOTS) == district.rows(0, SLOTS) == left
    for subject in ("old", "new", "anew"):
        write_slot(district, "before", subject)
    before = newest_number(district)
    bound_all(district)
    assert newest_number(district) > before, "its next checkpoint covers all of them"
    known = "SELECT count(*) FROM checkpoint WHERE origin = 0 AND audience = 's17'"
    assert district.rows(0, known) == district.rows(17, known) == [(1,)]
    left[1] = ("before", "anew")
    lose(district, 17)
    district.settle()
    assert district.rows(17, SLOTS) == district.rows(0, SLOTS) == left
    assert_alike(district, 0, 17, "timetable_slot", "notice")
    assert district.rows(0, refused) == []


NUMBERS = "SELECT number FROM checkpoint WHERE origin = 0 AND audience = 's17' ORDER BY number"
NEWEST_REFUSED = (
    "SELECT refused FROM checkpoint WHERE origin = 0 AND audience = 's17' ORDER BY number DESC"
)
SLOTS = "SELECT slot, subject FROM timetable_slot ORDER BY slot"


def write_slot(district: District, slot: str, subject: str) -> None:
    row: Row = {"school": 17, "slot": slot, "subject": subject}
    district.nodes[0].record("timetable_slot", [row])
    district.nodes[0].seal_all()


def newest_number(district: District) -> int:
    numbers = "SELECT max(number) FROM checkpoint WHERE origin = 0 AND audience = 's17'"
    number = district.rows(0, numbers)[0][0]
    assert isinstance(number, int)
    return number


def test_a_checkpoint_that_leaves_out_what_counted_beside_is_refused(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own maker refuses it, and so does the school; what stood beside goes on standing."""
    left = stand_beside(district)
    for subject in ("old", "new", "last"):
        write_slot(district, "after", subject)
    with monkeypatch.context() as patch:
        patch.setattr(Compaction, "_copy_beside", lambda *_: iter(()))
        list(district.nodes[0].history._checkpoint("s17", AT_ONCE))
    district.settle()
    for origin in (17, 0):
        bound(district, origin)
        assert "would be lost" in str(district.rows(origin, NEWEST_REFUSED)[0][0])
    left[0] = ("after", "last")
    for _ in range(3):
        write_slot(district, *left[0])
    before = newest_number(district)
    bound_all(district)
    assert newest_number(district) > before, "the next one leaves nothing out"
    for origin in (17, 0):
        lose(district, origin, b"third")
        district.settle()
        assert district.rows(17, SLOTS) == district.rows(0, SLOTS) == left


def stand_beside(district: District) -> list[tuple[str, str]]:
    """Let the hub lose its store, and make a checkpoint before what it had written is back."""
    write_slot(district, "before", "maths")
    district.settle()
    bound_all(district)
    write_slot(district, "before", "music")
    bound_all(district)
    lose(district, 0)
    for each in range(3):
        district.now += DAY
        for version in range(3):
            write_slot(district, "after", f"{each} {version}")
        bound(district, 0)
        hear_hub(district, 17)
        bound(district, 17)
        bound(district, 17)
    district.settle()
    assert district.rows(17, NUMBERS) == [(1,), (3,)]
    return [("after", "2 2"), ("before", "music")]


@pytest.mark.parametrize("is_merged", [False, True], ids=["beside", "covered by the next"])
def test_events_in_parts_of_a_checkpoint_beside_are_there_once_whatever_becomes_of_it(
    district: District, is_merged: bool
) -> None:
    """Through adoption, pruning and the next checkpoint, which has each of them once."""
    for number in range(6):
        write_event(district, number)
    stand_beside(district)
    assert sum(events_in_parts(district, 17).values()) == 6
    known = list(range(6))
    for number in (6, 7) if is_merged else ():
        write_event(district, number)
        for subject in ("old", "new", "last"):
            write_slot(district, "after", subject)
        bound_all(district)
        known.append(number)
    for turn in range(3):
        assert set(events_in_parts(district, 17).values()) == {1}
        for origin in (17, 0):
            assert district.rows(origin, EVENTS) == [(number,) for number in known]
        lose(district, 17 if turn % 2 else 0, f"turn {turn}".encode())
        district.settle()
        bound_all(district)


EVENTS = "SELECT at_ms FROM audit_entry WHERE subject = 'event' ORDER BY at_ms"


def write_event(district: District, number: int) -> None:
    """Let the hub write an event in one segment with a state, so that a checkpoint copies it."""
    district.nodes[0].record("key_request", [{"school": 17, "request": "r", "wish": f"{number}"}])
    district.nodes[0].record("audit_entry", [{"at_ms": number, "subject": "event"}], "s17")
    district.nodes[0].seal_all()


def events_in_parts(district: District, origin: int) -> Counter[tuple[LogName, int]]:
    """Count each of the hub's events in all parts that its checkpoints for school 17 have."""
    node = district.nodes[origin]
    found: Counter[tuple[LogName, int]] = Counter()
    with node.transaction() as cursor:
        rows = StoredRows(cursor, node._keyring)
        for checkpoint in read_checkpoints(cursor, 0, "s17"):
            for span in checkpoint.record.events:
                log = find_log(cursor, checkpoint.part_log(span))
                assert log is not None
                for seq in range(span.first, span.last + 1):
                    segment = rows.segment(log.id, seq)
                    assert segment is not None
                    part = rows.open(log.id, segment)
                    found.update((part.log, row.number) for row in part.rows if row.table == AUDIT)
    return found


AUDIT = BY_NAME["audit_entry"].number


def test_one_that_is_not_verified_yet_stands_in_for_none_that_counted_beside(
    district: District,
) -> None:
    """Bodies and parts go by what was found whole here: what covers all may be refused yet."""
    month = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=30 * DAY)
    write_slot(district, "before", "maths")
    district.settle()
    bound_all(district)
    lose(district, 0)
    for each in range(2):
        district.now += DAY
        for version in range(3):
            write_slot(district, "after", f"{each} {version}")
        bound(district, 0, policy=month)
    hear_hub(district, 17)
    bound(district, 17, policy=month)
    district.settle()
    for version in range(9):
        write_slot(district, "since", f"{version}")
    bound(district, 0, policy=month)
    parts = [wire for name, _, wire in district.wires(0) if name.endswith("snapshot")]
    district.nodes[17].import_segments(parts, 0, lambda _: True)
    district.now += 31 * DAY
    bound(district, 17, policy=month)
    assert hollow(district, 17) > 0
    assert district.rows(17, NUMBERS) == [(1,), (2,), (3,)], "what the third covers is not here yet"
    district.settle()
    for _ in range(2):
        district.now += 31 * DAY
        bound(district, 17, 0, policy=month)
        district.settle()
    assert district.rows(17, NUMBERS)[-1:] == district.rows(17, NUMBERS)
    left = [("after", "1 2"), ("before", "maths"), ("since", "8")]
    assert district.rows(17, SLOTS) == district.rows(0, SLOTS) == left


def test_a_checkpoint_that_forgets_the_events_of_the_one_before_it_is_refused(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_event(district, number)
    district.settle()
    bound_all(district)
    assert set(events_in_parts(district, 17).values()) == {1}
    number = newest_number(district)
    with monkeypatch.context() as patch:
        patch.setattr(Compaction, "_event_sums", lambda *_: {})
        patch.setattr(compaction, "Record", record_without_former_events(district))
        for subject in ("old", "new", "last"):
            write_slot(district, "after", subject)
        list(district.nodes[0].history._checkpoint("s17", AT_ONCE))
    assert newest_number(district) > number
    district.settle()
    for origin in (17, 0):
        bound(district, origin)
        assert "would be lost" in str(district.rows(origin, NEWEST_REFUSED)[0][0])
        assert set(events_in_parts(district, origin).values()) == {1}


def record_without_former_events(district: District) -> Callable[..., Record]:
    with district.nodes[0].transaction() as cursor:
        former = read_checkpoints(cursor, 0, "s17")[0].record.events

    def make(**fields: Any) -> Record:  # noqa: ANN401 - a record's own fields
        fields["events"] = [span for span in fields["events"] if span not in former]
        return Record(**fields)

    return make


def test_what_the_next_checkpoint_cannot_cover_is_not_copied_into_each(
    district: District,
) -> None:
    """A log that forked is covered by none any more; what covered it goes on counting beside."""
    for number in range(6):
        write_event(district, number)
    stand_beside(district)
    hub = district.nodes[0]
    hub._connection.execute(
        "UPDATE log SET frozen = 'forked' WHERE origin = 0 AND incarnation <> ? AND lane <> ?",
        (hub.incarnation, Lane.SNAPSHOT),
    )
    for each in range(3):
        for version in range(9):
            write_slot(district, "after", f"{each} {version}")
        before = newest_number(district)
        bound(district, 0)
        assert newest_number(district) == before + 1
        assert set(events_in_parts(district, 0).values()) == {1}
        assert [(1,), (before + 1,)] == district.rows(0, NUMBERS)
