"""Two writers' changes merge alike in any order."""

import functools
import random

from hypothesis import given
from hypothesis import strategies as st

from sync.schema import BY_NAME
from sync.segments.columnar import Value
from sync.tables.merge import (
    TOMBSTONE,
    Version,
    Write,
    clocks_prefix,
    merge_columns,
    pack_clocks,
    unpack_clocks,
)

SLOT = BY_NAME["timetable_slot"]
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.text(max_size=3), st.integers(0, 3), st.sampled_from([0.0, -0.0, 1.5])
)
WRITES = st.builds(
    Write,
    clock=st.tuples(st.integers(1, 6), st.integers(0, 2)),
    values=st.dictionaries(st.sampled_from(["room", "subject", "teacher"]), VALUES),
    deleted=st.one_of(st.none(), st.booleans()),
)


def merge_all(writes: list[Write]) -> Version | None:
    start: Version | None = None
    return functools.reduce(lambda row, write: merge_columns(SLOT, row, write), writes, start)


@given(st.lists(WRITES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_row(writes: list[Write], chance: random.Random) -> None:
    shuffled = list(writes)
    chance.shuffle(shuffled)
    assert repr(merge_all(shuffled)) == repr(merge_all(writes))


@given(st.lists(WRITES, min_size=1, max_size=6), st.data())
def test_a_write_that_comes_again_changes_nothing(writes: list[Write], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(writes))
    assert repr(merge_all([*writes, again])) == repr(merge_all(writes))


def test_each_column_keeps_its_own_last_writer() -> None:
    row = merge_all(
        [
            Write(clock=(2, 17), values={"room": "r2"}),
            Write(clock=(1, 0), values={"room": "r1", "subject": "maths"}),
            Write(clock=(3, 0), values={"subject": "music"}),
        ]
    )
    assert row is not None
    assert (row.values["room"], row.values["subject"]) == ("r2", "music")
    assert row.clock == (3, 0)
    assert row.clock_of("room") == (2, 17)


def test_a_tombstone_stays_until_someone_lifts_it() -> None:
    deleted = Write(clock=(2, 0), values={}, deleted=True)
    unaware = Write(clock=(3, 17), values={"room": "r2"})
    lifted = Write(clock=(4, 0), values={}, deleted=False)
    for writes, gone in (([deleted, unaware], True), ([deleted, unaware, lifted], False)):
        row = merge_all(writes)
        assert row is not None
        assert row.deleted is gone


NAMES = st.sampled_from([*SLOT.column_names, TOMBSTONE])


@given(st.dictionaries(NAMES, st.tuples(st.integers(0, 2**62), st.integers(0, 2**32 - 1))))
def test_clocks_come_back_from_the_store(clocks: dict[str, tuple[int, int]]) -> None:
    assert unpack_clocks(SLOT, pack_clocks(SLOT, clocks)) == clocks


@given(
    st.dictionaries(NAMES, st.tuples(st.integers(0, 2**62), st.integers(0, 2**32 - 1)), min_size=1),
    st.sets(NAMES, min_size=1),
)
def test_packed_clocks_begin_with_what_tells_of_which_columns_they_are(
    clocks: dict[str, tuple[int, int]], names: set[str]
) -> None:
    packed = pack_clocks(SLOT, clocks)
    assert packed is not None
    first = clocks_prefix(SLOT, names)
    assert packed.startswith(first) is (first <= packed < first + b"\xff") is (names == set(clocks))
