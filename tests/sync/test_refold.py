"""What a version could not apply is applied by the next, as if it had known from the start."""

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.folding import fold
from sync.intake.intake import Intake
from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import Group, Table
from sync.segments.body import TableColumns, pack_tables
from sync.segments.columnar import encode_column
from sync.store import open_store
from sync.tables import merge, merged_rows
from tests.sync.district import District
from tests.sync.test_fold import CHANGES, OBSERVERS, Change, deliver, written
from tests.sync.test_hostile_school import Mallory, sealed

NOT_KNOWN: Mapping[str, frozenset[str]] = {
    "card_tap": frozenset({"person", "card"}),
    "attendance_entry": frozenset({"status"}),
    "timetable_slot": frozenset({"room", "subject"}),
    "notice": frozenset({"title_zh"}),
}
NO_TABLES = frozenset({"leave", "heart_rate"})


@contextmanager
def an_older_version() -> Iterator[None]:
    """Let this process be of a version that knew fewer columns and tables."""
    older = {
        table.name: replace(
            table,
            columns=tuple(
                column
                for column in table.columns
                if column.name not in NOT_KNOWN.get(table.name, frozenset())
            ),
        )
        for table in TABLES
        if table.name not in NO_TABLES
    }
    by_number = {table.number: table for table in older.values()}
    with ExitStack() as stack:
        stack.enter_context(patch.dict(BY_NAME, older, clear=True))
        stack.enter_context(patch.dict(BY_NUMBER, by_number, clear=True))
        for name, module in [*sys.modules.items()]:
            if name.startswith("sync.") and getattr(module, "TABLES", None) is TABLES:
                stack.enter_context(patch.object(module, "TABLES", tuple(older.values())))
        forget_statements()
        stack.callback(forget_statements)
        yield


def forget_statements() -> None:
    """Drop what was derived from the tables of the version before."""
    for module in (merge, merged_rows, fold):
        for derived in vars(module).values():
            if hasattr(derived, "cache_clear"):
                derived.cache_clear()


def open_as_older(district: District, origin: int) -> None:
    district.nodes[origin].close()
    for path in district.folder.glob(f"{origin}.db*"):
        path.unlink()
    open_store(district.store(origin)).close()
    district.add(origin)


def upgrade(district: District, origin: int) -> None:
    node = district.reopen(origin)
    while node.fold_parked(bodies_max=2):
        pass


@settings(max_examples=15, deadline=None)
@given(CHANGES, st.integers(0, 2**32), st.booleans())
@example(
    changes=[
        Change(0, "timetable_slot", {"school": 17, "slot": "1", "room": "r1"}, False),
        Change(17, "timetable_slot", {"school": 17, "slot": "1", "room": None}, False),
    ],
    seed=1,
    released=False,
).via("a column that is not known yet is cleared")
def test_an_upgraded_node_ends_as_one_that_knew_everything(
    changes: list[Change], seed: int, released: bool
) -> None:
    with written(changes, len(changes) // 2) as district:
        if released:
            district.nodes[17].seal_all()
        wires = [*district.wires(0), *district.wires(17)]
        chance = random.Random(seed)
        upgraded, knowing, _ = OBSERVERS
        before = chance.sample(wires, k=chance.choice([len(wires), len(wires) // 2]))
        with an_older_version():
            open_as_older(district, upgraded)
            for _ in range(len(before)):
                district.nodes[upgraded].import_segments([w for *_, w in before], 0, lambda _: True)
            district.nodes[upgraded].close()
            district.add(upgraded)
        upgrade(district, upgraded)
        for observer in (upgraded, knowing):
            deliver(district.nodes[observer], wires, chance)
        assert district.digests(upgraded) == district.digests(knowing)
        assert district.nodes[upgraded].parked() == []
        assert district.nodes[knowing].parked() == []


def test_a_column_that_two_write_is_merged_by_its_own_clocks(district: District) -> None:
    district.watchers = frozenset({90})
    district.add(90)
    hub, school = district.nodes[0], district.nodes[17]
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "maths"}])
    district.exchange(17)
    district.now += 1000
    # The row's clock is the school's from now on, but not the subject's.
    school.record("timetable_slot", [{"slot": "1", "teacher": "Li"}])
    school.seal_all()
    wires = [wire for origin in (17, 0) for _, _, wire in district.wires(origin)]
    with an_older_version():
        open_as_older(district, 90)
        district.nodes[90].import_segments(wires, 0, lambda _: True)
        assert district.rows(90, "SELECT teacher FROM timetable_slot") == [("Li",)]
    upgrade(district, 90)
    assert district.rows(90, "SELECT teacher, subject FROM timetable_slot") == [("Li", "maths")]
    assert district.digests(90)["timetable_slot"] == district.digests(17)["timetable_slot"]


def test_sealed_groups_of_an_unknown_table_are_folded_after_the_upgrade(
    district: District,
) -> None:
    school = district.nodes[17]
    school.keys.release(Group.HEALTH, "head")
    school.keys.release(Group.IDENTITY, "head")
    school.record("heart_rate", [{"at_ms": 1, "person": 5, "bpm": 90}])
    school.record("leave", [{"person": 5, "from_ms": 1, "reason": "ill"}])
    school.record("card_tap", [{"at_ms": 1, "device": "d", "person": 5, "card": "04:A1"}])
    school.seal_all()
    with an_older_version():
        open_as_older(district, 0)
        wires = [wire for _, _, wire in district.wires(17)]
        district.nodes[0].import_segments(wires, 17, lambda _: True)
        parked = district.nodes[0].parked()
        assert all(each.retriable for each in parked)
        assert {each.table for each in parked} >= {20, BY_TABLE["leave"].number}
        district.nodes[0].close()
        district.add(0)
    upgrade(district, 0)
    everything = tuple(Group)
    mine, theirs = district.digests(17, everything), district.digests(0, everything)
    for table in ("card_tap", "leave", "heart_rate"):
        assert mine[table] == theirs[table]
    assert district.nodes[0].parked() == []


BY_TABLE: Mapping[str, Table] = {table.name: table for table in TABLES}


def test_a_start_without_an_upgrade_tries_nothing_again(district: District) -> None:
    mallory = Mallory(district)
    unknown = TableColumns(900, 1, 2, encode_column([1, 2]), [])
    mallory.send(mallory.segment([sealed(pack_tables([unknown]))], tables=[(900, 2)]))
    (before,) = district.nodes[0].parked()
    assert (before.table, before.rows, before.retriable) == (900, 2, True)
    assert before.log == f"18/{99:016x}/s18/attendance"
    district.now += 1000
    assert district.reopen(0).fold_parked() == 0
    assert district.nodes[0].parked() == [before]


def test_malformed_rows_are_not_tried_again(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory = Mallory(district)
    mallory.send(mallory.segment([sealed(b"\xc1")]))
    (parked,) = district.nodes[0].parked()
    assert not parked.retriable
    with an_older_version():
        district.nodes[0].close()
        open_store(district.store(0)).close()
    monkeypatch.setattr(Intake, "fold_due", None)  # whoever calls it fails
    assert district.reopen(0).fold_parked() == 0


def test_refused_segments_are_listed_with_their_sender(district: District) -> None:
    district.nodes[0].import_segments([b"SNS1 nonsense"], 17, lambda _: True)
    (refused,) = district.nodes[0].quarantined()
    assert (refused.peer, refused.seq, refused.times) == (17, 0, 1)
    assert "segment" in refused.reason
