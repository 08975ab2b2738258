"""Writes merged by the hundred leave what merging them one by one would."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.schema import BY_NAME
from sync.segments.columnar import Value
from sync.store import open_store
from sync.tables.merge import TOMBSTONE, Version, Write, merge_columns
from sync.tables.merged_rows import Writes, merge_writes, read_version
from tests.sync.district import empty_store

SLOT = BY_NAME["timetable_slot"]
COLUMNS = ("subject", "teacher", TOMBSTONE)
Drawn = tuple[int, int, tuple[str, ...], list[tuple[str, int, int]]]
"""Origin, first stamp, columns named, and (slot, gap to the next stamp, value) of each write."""


def batches(
    stamps: st.SearchStrategy[int], gaps: st.SearchStrategy[int], size_max: int
) -> st.SearchStrategy[list[Drawn]]:
    return st.lists(
        st.tuples(
            st.sampled_from([0, 17]),
            stamps,
            st.sets(st.sampled_from(COLUMNS)).map(lambda names: tuple(sorted(names))),
            st.lists(
                st.tuples(st.sampled_from("abc"), gaps, st.integers(0, 2)),
                min_size=1,
                max_size=size_max,
            ),
        ),
        min_size=1,
        max_size=6,
    )


BATCHES = st.one_of(
    batches(st.integers(1, 60), st.integers(0, 3), 70),
    # Clocks that meet, and rows that all stand already.
    batches(st.integers(1, 3), st.just(1), 3),
)


def cell(column: str, value: int) -> Value:
    return value % 2 if column == TOMBSTONE else (None, "语文", "数学")[value]


def one_by_one(batch: Drawn) -> Iterator[tuple[str, Write]]:
    origin, stamp, names, drawn = batch
    for slot, gap, value in drawn:
        stamp += gap
        cells = {name: cell(name, value) for name in names}
        gone = cells.pop(TOMBSTONE, None)
        yield slot, Write((stamp, origin), cells, None if gone is None else bool(gone))


def together(batch: Drawn) -> Writes:
    _, _, names, drawn = batch
    stamps = [write.clock[0] for _, write in one_by_one(batch)]
    return Writes(
        keys=[(17, slot) for slot, _, _ in drawn],
        stamps=stamps,
        rows=range(1, len(drawn) + 1),
        values={name: [cell(name, value) for _, _, value in drawn] for name in names},
    )


@settings(max_examples=100, deadline=None)
@given(BATCHES)
def test_many_writes_at_once_leave_what_each_in_turn_leaves(batches: list[Drawn]) -> None:
    expected: dict[str, Version] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        path.write_bytes(empty_store())
        with closing(open_store(path)) as connection:
            cursor = connection.cursor()
            for batch in batches:
                merge_writes(cursor, SLOT, 1, batch[0], together(batch))
                for slot, write in one_by_one(batch):
                    expected[slot] = merge_columns(SLOT, expected.get(slot), write)
            for slot, version in expected.items():
                assert read_version(cursor, SLOT, (17, slot)) == version


def test_a_row_remembers_which_write_touched_it_last(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "store.db")) as connection:
        cursor = connection.cursor()
        batch: Drawn = (17, 5, ("subject",), [("a", 1, 1), ("b", 1, 1), ("a", 1, 2)])
        merge_writes(cursor, SLOT, 4, 17, together(batch))
        found = cursor.execute("SELECT slot, log, row, hlc FROM timetable_slot").fetchall()
        assert found == [("a", 4, 3, 8), ("b", 4, 2, 7)]
