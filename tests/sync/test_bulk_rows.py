"""Many rows in few statements are the rows that were given, each once."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.segments.columnar import Value
from sync.tables.bulk_rows import ROWS_A_STATEMENT, execute_rows, fill_pages, value_marks


def insert_sql(rows: int) -> str:
    marks = value_marks(("?1", "?", "?2", "?"), 2, 2, rows)
    return f"INSERT INTO cell (school, place, log, text) VALUES {marks}"  # noqa: S608 - marks only


@pytest.mark.parametrize(
    "count", [1, ROWS_A_STATEMENT - 1, ROWS_A_STATEMENT, ROWS_A_STATEMENT + 1, 3 * ROWS_A_STATEMENT]
)
def test_every_row_arrives_once_with_what_all_share(count: int) -> None:
    texts = [f"t{place}" for place in range(count)]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE cell (school, log, place, text)")
        execute_rows(connection.cursor(), insert_sql, (17, 4), [range(count), texts])
        found = connection.execute("SELECT school, log, place, text FROM cell ORDER BY place")
        assert found.fetchall() == [(17, 4, place, text) for place, text in enumerate(texts)]


@given(st.integers(1, 1000))
def test_rows_that_fill_pages_are_the_same_rows(count: int) -> None:
    places, doubles = fill_pages([range(count), [2 * place for place in range(count)]])
    assert sorted(zip(places, doubles, strict=True)) == [
        (place, 2 * place) for place in range(count)
    ]


def test_pages_of_a_tree_are_filled_better_than_in_the_order_of_the_key() -> None:
    sizes = []
    for fills in (False, True):
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute(
                "CREATE TABLE cell (school, log, place, text, PRIMARY KEY (school, place))"
                " WITHOUT ROWID"
            )
            for first in range(0, 20_000, 1000):
                rows: list[Sequence[Value]] = [
                    range(first, first + 1000),
                    ["some forty characters of text in each row"] * 1000,
                ]
                execute_rows(
                    connection.cursor(), insert_sql, (17, 4), fill_pages(rows) if fills else rows
                )
            sizes.append(connection.execute("PRAGMA page_count").fetchone()[0])
    in_order, filled = sizes
    assert filled < 0.95 * in_order
