from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.box_store import BoxStore
from edge.sync_standing import read_standing
from sync.history.bounding import HistoryPolicy
from sync.history.checkpoint import Record, note_record, pack_record
from sync.history.snapshot_part import RECORD_TABLE
from sync.logs.log_state import log_id_of
from sync.schema.model import Group, Lane
from sync.segments.segment import LogName
from sync.store import open_store
from tests.edge.school import Box, new_box
from tests.edge.test_sync_status import acknowledge


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


@pytest.fixture
def store(box: Box) -> Iterator[BoxStore]:
    with box.opened() as opened:
        yield opened


def test_a_new_box_has_keys_and_nothing_went_wrong(box: Box, store: BoxStore) -> None:
    store.node.record("person", [{"person": 1, "name": b"sealed"}])
    store.node.seal_all()

    standing = read_standing(store.node, store.reader)

    assert (standing.at_ms, standing.incarnation) == (
        box.now_ms,
        f"{store.node.incarnation:016x}",
    )
    assert (standing.parked_rows, standing.quarantined_segments, standing.clamped) == (0, 0, 0)
    assert (standing.received, standing.checkpoints, standing.evicted_ms) == ((), (), None)
    assert (standing.keys.standing, standing.keys.ended) == (2, 0)
    assert standing.keys.oldest_standing_ms == box.now_ms
    assert standing.keys.released == ()


def test_a_checkpoint_is_told_with_what_the_hub_says_of_it(box: Box, store: BoxStore) -> None:
    for _ in range(40):
        store.node.record("room", [{"room": f"r{n}", "name": "教室" * 20} for n in range(30)])
        store.node.seal_all()
        box.district.clock.ms += 1_000
    for log in store.node.logs():
        if log.stored:
            acknowledge(store, log.name.lane, log.stored)
    policy = HistoryPolicy(written_bytes=1, apart_ms=0)
    for _ in store.node.history.steps(policy):
        pass

    (checkpoint,) = read_standing(store.node, store.reader).checkpoints

    assert (checkpoint.audience, checkpoint.number, checkpoint.at_ms) == ("s17", 1, box.now_ms)
    assert (checkpoint.countersigned, checkpoint.refused) == (False, None)
    assert (checkpoint.dropped_ms, checkpoint.dropped_rows) == (None, 0)


def test_a_checkpoint_passed_over_for_its_number_is_told_and_nothing_went_by_it(
    store: BoxStore,
) -> None:
    records = [
        Record(1, number, number, 1, [], [], 0, 0, 0, [], [], []) for number in (3, 2**63 - 1)
    ]
    name = LogName(17, store.node.incarnation, "s17", Lane.SNAPSHOT)
    with store.node.transaction() as cursor:
        for record in records:
            contents = {Group.DISTRICT: pack_record(record)}
            segment = store.node._sealer.append_part(
                cursor, name, contents, {RECORD_TABLE: 1}, (1, 1)
            )
            assert segment is not None
            note_record(cursor, log_id_of(cursor, name), segment, contents[Group.DISTRICT])
        cursor.execute("UPDATE checkpoint SET dropped_ms = 7 WHERE number = 3")

    counted, passed_over = read_standing(store.node, store.reader).checkpoints

    assert (counted.number, counted.refused, counted.dropped_ms) == (3, None, 7)
    assert (passed_over.number, passed_over.dropped_ms) == (2**63 - 1, None)
    assert "far above number 3" in str(passed_over.refused)


def test_trouble_is_counted_and_told_with_its_reasons(box: Box, store: BoxStore) -> None:
    box.plant("eviction", {"school": 17, "member": 17, "at_ms": 640})
    with closing(open_store(store.path)) as beside:
        beside.execute(
            "INSERT INTO log (id, origin, incarnation, audience, lane, stored, applied, frozen)"
            " VALUES (900, 0, 7, 'd', 1, 9, 8, 'two segments 9')"
        )
        beside.executemany(
            "INSERT INTO parked (log, seq, body, table_number, reason, rows, parked_ms, retriable)"
            " VALUES (900, ?, 0, 99, ?, ?, ?, ?)",
            [(1, "not known", 12, 50, 1), (2, "malformed", 3, 60, 0)],
        )
        beside.execute("INSERT INTO quarantine VALUES (0, '0/7/d/alarm', 1, 'forged', 2, 70)")

    standing = read_standing(store.node, store.reader)

    assert standing.evicted_ms == 640
    assert (standing.parked_rows, standing.parked_for_good_rows) == (15, 3)
    assert [each.reason for each in standing.parked] == ["malformed", "not known"]
    assert [(each.reason, each.times) for each in standing.quarantined] == [("forged", 2)]
    (held,) = standing.received
    assert (held.origin, held.stored, held.applied, held.frozen) == (0, 9, 8, 1)
    assert held.parked_rows == 15
