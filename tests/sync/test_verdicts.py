"""What a school found of a checkpoint of its own counts for what goes by it, at its hub too."""

import random
import sqlite3
from pathlib import Path

import pytest

from sync.history.bounding import CheckpointState, HistoryPolicy
from sync.history.checkpoint import read_checkpoints
from sync.history.horizon import Horizon
from sync.history.part_writer import PartWriter
from sync.history.snapshot_part import StoredRow
from sync.history.standing import Purged
from sync.logs.oplog import Row
from sync.schema.model import Group
from sync.segments.segment import LogName
from tests.sync.district import District
from tests.sync.test_checkpoint import AT_ONCE, DAY, bound, bound_all, edit_rooms

KEPT = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=30 * DAY)
FOR_EVER = 2**62
TOMBSTONES = "SELECT room FROM room WHERE deleted = 1"


@pytest.fixture
def district(tmp_path: Path) -> District:
    made = District(tmp_path, random.Random(31))
    for origin in (0, 17):
        made.add(origin)
    return made


def live(district: District) -> None:
    school = district.nodes[17]
    for person in range(9):
        school.record("person", [{"person": person + 1, "name": b"sealed"}])
        school.seal_all()
    edit_rooms(district, 8)
    assert district.rows(17, TOMBSTONES)
    district.settle()


def steal(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stolen box of the school make a checkpoint that only the school can find bad.

    It leaves out sealed cells, and every tombstone there is.
    """
    add = PartWriter.add

    def add_what_the_hub_reads(
        self: PartWriter, cursor: sqlite3.Cursor, source: LogName, rows: list[StoredRow]
    ) -> None:
        for row in rows:
            row.cells.pop(Group.IDENTITY, None)
        add(self, cursor, source, rows)

    for_ever = Purged(one_writer=FOR_EVER, two_writers=0, carried_from=0)
    store = district.back_up(17)
    thief = district.restore(17, store, b"stolen")
    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "add", add_what_the_hub_reads)
        patch.setattr(Horizon, "reach", lambda *_: for_ever)
        list(thief.history._checkpoint("s17", AT_ONCE))
    district.settle()
    district.restore(17, store, b"first")
    district.settle()


def let_go(district: District) -> int:
    """Return how many of the school's segments the hub holds without their bodies."""
    ((count,),) = district.rows(
        0,
        "SELECT count(*) FROM segment s JOIN log l ON l.id = s.log"
        " WHERE l.origin = 17 AND substr(s.wire, 1, 4) = CAST('SNH1' AS BLOB)",
    )
    assert isinstance(count, int)
    return count


def newest(district: District, origin: int) -> CheckpointState:
    states = district.nodes[origin].history.states()
    return next(each for each in states if (each.origin, each.audience) == (17, "s17"))


def test_a_refused_checkpoint_clears_no_tombstone(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(district)
    before = district.rows(17, TOMBSTONES)
    steal(district, monkeypatch)
    bound(district, 17, policy=KEPT)
    assert "would be lost" in str(newest(district, 17).refused)
    assert district.rows(17, TOMBSTONES) == before


def test_what_a_refused_checkpoint_leaves_out_is_in_the_next(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(district)
    before = district.rows(17, TOMBSTONES)
    steal(district, monkeypatch)
    for _ in range(3):
        edit_rooms(district, 1)
        bound_all(district, KEPT)
    assert newest(district, 17).refused is None
    assert newest(district, 17).number > 1
    for origin in (0, 17):
        assert set(before) <= set(district.rows(origin, TOMBSTONES)) | {("r0",)}


def test_a_checkpoint_that_its_school_did_not_judge_yet_clears_nothing_at_the_next(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the school makes one of its own in the same round."""
    live(district)
    before = district.rows(17, TOMBSTONES)
    steal(district, monkeypatch)
    for each in range(40):
        district.nodes[17].record("room", [{"room": "r9", "name": f"name {each}"}])
        district.nodes[17].seal_all()
    district.settle()
    list(district.nodes[17].history._checkpoint("s17", KEPT))
    assert newest(district, 17).number == 2
    for _ in range(2):
        bound_all(district, KEPT)
    assert newest(district, 17).number > 2
    for origin in (0, 17):
        assert district.rows(origin, TOMBSTONES) == before


def test_the_hub_hears_of_a_refusal_and_lets_no_body_go(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(district)
    before = district.rows(0, TOMBSTONES)
    steal(district, monkeypatch)
    bound(district, 0)
    assert newest(district, 0).countersigned
    assert newest(district, 0).refused is None
    bound(district, 17)
    district.settle()
    district.now += 40 * DAY
    bound(district, 0)
    assert "would be lost" in str(newest(district, 0).refused)
    assert let_go(district) == 0
    assert district.rows(0, TOMBSTONES) == before


def test_the_hub_waits_for_the_schools_own_word(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(district)
    steal(district, monkeypatch)
    for _ in range(3):
        district.now += 40 * DAY
        bound(district, 0)
        district.settle()
    assert newest(district, 0).countersigned
    assert let_go(district) == 0
    assert district.rows(0, TOMBSTONES)


def word_of(district: District) -> Row:
    """Return the word of a box that finds the school's only checkpoint whole."""
    with district.nodes[17].transaction() as cursor:
        (checkpoint,) = read_checkpoints(cursor, 17, "s17")
    return {
        "at_ms": 1,
        "covered": "s17",
        "incarnation": checkpoint.snapshot.name.incarnation,
        "seq": checkpoint.seq,
        "digest": checkpoint.digest,
    }


def test_a_good_word_of_another_box_does_not_outweigh_a_refusal(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(district)
    steal(district, monkeypatch)
    district.nodes[17].record("checkpoint_verdict", [word_of(district)])
    bound(district, 17)
    district.nodes[17].record("checkpoint_verdict", [word_of(district)])
    for _ in range(2):
        district.settle()
        district.now += 40 * DAY
        bound(district, 0)
    assert newest(district, 0).refused is not None
    assert let_go(district) == 0


def test_the_hub_clears_nothing_of_its_own_by_a_refused_checkpoint(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a school knew of a delete is its checkpoint's word."""
    live(district)
    hub = district.nodes[0]
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "art"}])
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "deleted": True}])
    district.settle()
    steal(district, monkeypatch)
    bound(district, 17)
    district.settle()
    bound(district, 0)
    with hub.transaction() as cursor:
        (own, *_) = read_checkpoints(cursor, 0, "s17")
    assert own.record.purged_both == 0
