"""The same segments make the same tables, whatever the order, duplication or segmentation."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.logs.oplog import Row
from sync.node import Node
from sync.schema.model import Group
from tests.sync.district import District, Wire

OBSERVERS = (90, 91, 92)


@dataclass(frozen=True)
class Change:
    """One row that a writer writes, and whether it seals afterwards."""

    origin: int
    table: str
    row: Row
    seals: bool


def of_school(table: str, rows: st.SearchStrategy[Row]) -> st.SearchStrategy[Change]:
    return st.builds(Change, st.just(17), st.just(table), rows, st.booleans())


def rows_of(
    given: dict[str, st.SearchStrategy[Any]], maybe: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Row]:
    return cast("st.SearchStrategy[Row]", st.fixed_dictionaries(given, optional=maybe))


few = st.integers(0, 2)
TAPS = rows_of(
    {"at_ms": few, "device": st.just("door")},
    {"device_key": st.sampled_from(["k1", "k2"]), "card": st.just("04:A1"), "person": few},
)
ENTRIES = rows_of(
    {"day": st.just("d"), "slot": st.just("1"), "person": few},
    {"status": st.sampled_from(["late", "present"]), "deleted": st.booleans()},
)
LEAVES = rows_of(
    {"person": few, "from_ms": st.just(1)}, {"reason": st.sampled_from(["ill", "away"])}
)
RATES = rows_of({"at_ms": few, "person": few, "bpm": few}, {})
SLOTS = rows_of(
    {"school": st.just(17), "slot": st.sampled_from(["1", "2"])},
    {
        "room": st.sampled_from(["r1", "r2", None]),
        "subject": st.sampled_from(["maths", "music"]),
        "deleted": st.booleans(),
    },
)
NOTICES = rows_of(
    {"school": st.sampled_from([0, 17]), "notice": st.just("n")},
    {"title_zh": st.sampled_from(["运动会", "放假"])},
)
CHANGES = st.lists(
    st.one_of(
        of_school("card_tap", TAPS),
        of_school("attendance_entry", ENTRIES),
        of_school("leave", LEAVES),
        of_school("heart_rate", RATES),
        st.builds(
            Change, st.sampled_from([0, 17]), st.just("timetable_slot"), SLOTS, st.booleans()
        ),
        st.builds(Change, st.just(0), st.just("notice"), NOTICES, st.booleans()),
    ),
    min_size=1,
    max_size=14,
)


@contextmanager
def written(
    changes: Sequence[Change], restored_at: int | None = None, *, seals: bool = True
) -> Iterator[District]:
    """Let the hub and school 17 write; before one change the school begins a new incarnation."""
    with tempfile.TemporaryDirectory() as folder:
        district = District(Path(folder), random.Random(3), watchers=frozenset(OBSERVERS))
        for origin in (0, 17, *OBSERVERS):
            district.add(origin)
        for place, change in enumerate(changes):
            district.now += 1
            if place == restored_at:
                district.nodes[17].seal_all()
                district.reopen(17, generation=b"second")
            district.nodes[change.origin].record(change.table, [change.row])
            if seals and change.seals:
                district.nodes[change.origin].seal_all()
        for origin in (0, 17):
            district.nodes[origin].seal_all()
        try:
            yield district
        finally:
            for node in district.nodes.values():
                node.close()


def deliver(node: Node, wires: Sequence[Wire], chance: random.Random) -> None:
    """Send segments in any order, many twice, a few at a time, until all are stored."""
    lacking = {(name, seq) for name, seq, _ in wires}
    while lacking:
        batch = chance.choices(wires, k=min(len(wires), 5))
        done = node.import_segments([wire for _, _, wire in batch], 0, lambda _: True)
        assert not done.refused
        for log in node.logs():
            lacking -= {(str(log.name), seq) for seq in range(1, log.stored + 1)}


@settings(max_examples=15, deadline=None)
@given(CHANGES, st.integers(0, 2**32))
def test_any_order_and_duplication_gives_the_same_digests(changes: list[Change], seed: int) -> None:
    with written(changes, len(changes) // 2) as district:
        wires = [*district.wires(0), *district.wires(17)]
        chance = random.Random(seed)
        for observer in OBSERVERS[:2]:
            deliver(district.nodes[observer], wires, chance)
        in_order = [wire for _, _, wire in wires]
        district.nodes[OBSERVERS[2]].import_segments(in_order, 0, lambda _: True)
        digests = [district.digests(observer) for observer in OBSERVERS]
        assert digests[0] == digests[1] == digests[2]
        assert district.rows(OBSERVERS[0], "SELECT reason FROM parked") == []
        own = district.digests(17)
        for table in ("card_tap", "attendance_entry", "leave"):
            assert digests[0][table] == own[table]


def test_of_a_tap_pushed_in_two_incarnations_the_same_one_stays_everywhere(
    tmp_path: Path,
) -> None:
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        district = District(
            tmp_path / str(seed), random.Random(seed), watchers=frozenset(OBSERVERS)
        )
        for origin in (0, 17, *OBSERVERS):
            district.add(origin)
        first: Row = {"at_ms": 1, "device": "door", "device_key": "k", "card": "04:A1"}
        again: Row = {"at_ms": 2, "device": "door", "device_key": "k", "person": 5}
        empty = district.back_up(17)
        district.nodes[17].record("card_tap", [first])
        district.nodes[17].seal_all()
        before = [wire for _, _, wire in district.wires(17)]
        district.restore(17, empty, b"second").record("card_tap", [again])
        district.nodes[17].seal_all()
        after = [wire for _, _, wire in district.wires(17)]
        for observer, wires in ((90, before + after), (91, after + before)):
            district.nodes[observer].import_segments(wires, 0, lambda _: True)
        assert district.digests(90) == district.digests(91)
        assert len(district.rows(90, "SELECT * FROM card_tap")) == 1
        for node in district.nodes.values():
            node.close()


@settings(max_examples=12, deadline=None)
@given(CHANGES)
def test_segmentation_changes_nothing(changes: list[Change]) -> None:
    digests = []
    for seals in (True, False):
        with written(changes, seals=seals) as district:
            wires = [wire for origin in (0, 17) for _, _, wire in district.wires(origin)]
            district.nodes[90].import_segments(wires, 0, lambda _: True)
            digests.append(district.digests(90, groups=[Group.DISTRICT]))
    assert digests[0] == digests[1]


@settings(max_examples=10, deadline=None)
@given(CHANGES, st.integers(0, 2**32))
def test_a_group_released_late_gives_what_its_school_has(changes: list[Change], seed: int) -> None:
    with written(changes, len(changes) // 2) as district:
        chance = random.Random(seed)
        hub, school = district.nodes[0], district.nodes[17]
        deliver(hub, district.wires(17), chance)
        assert district.rows(0, "SELECT reason FROM leave WHERE reason IS NOT NULL") == []
        assert district.rows(0, "SELECT * FROM heart_rate") == []
        for group in (Group.IDENTITY, Group.HEALTH):
            school.keys.release(group, "head")
        school.seal_all()
        deliver(hub, district.wires(17), chance)
        everything = tuple(Group)
        mine, theirs = district.digests(17, everything), district.digests(0, everything)
        for table in ("card_tap", "leave", "heart_rate"):
            assert mine[table] == theirs[table]


def test_a_digest_notices_one_changed_cell(district: District) -> None:
    district.nodes[17].record("room", [{"room": "r1", "name": "one"}])
    district.exchange(17)
    assert district.digests(0)["room"] == district.digests(17)["room"]
    district.nodes[0]._connection.execute("UPDATE room SET name = 'two'")
    assert district.digests(0)["room"] != district.digests(17)["room"]
