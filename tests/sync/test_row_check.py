"""What a table cannot hold is refused before anything is written; what it can comes by columns."""

import math
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import RowError
from sync.schema import BY_NAME
from sync.tables.row_check import ROW_BYTES_MAX, Row, checked_rows, places_alike

TAP = BY_NAME["card_tap"]
READING = BY_NAME["reading"]
ROOM = BY_NAME["room"]


class Reader(StrEnum):
    GATE = "gate"


class Person(IntEnum):
    FIRST = 5


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["device", "person", "room"]), st.none() | st.just(3), max_size=3
        ).map(lambda row: {**row, "at_ms": 1}),
        min_size=1,
        max_size=8,
    )
)
def test_columns_hold_what_the_rows_said_and_null_elsewhere(rows: list[dict[str, int]]) -> None:
    given: list[Row] = [
        {
            name: "x" if value and name in {"device", "room"} else value
            for name, value in row.items()
        }
        for row in rows
    ]
    checked = checked_rows(TAP, given)
    for name in ("at_ms", "device", "person", "room"):
        assert list(checked.column(name)) == [row.get(name) for row in given]
    assert checked.count == len(rows)
    assert checked.blank.isdisjoint(checked.columns)


def test_numbers_become_what_their_column_is() -> None:
    rows: list[Row] = [
        {"at_ms": 1, "value": 2},
        {"at_ms": True, "value": math.nan},
        {"at_ms": Person.FIRST, "value": 0.5},
        {"at_ms": 2, "value": -math.inf},
    ]
    checked = checked_rows(READING, rows)
    assert [(type(each), each) for each in checked.columns["at_ms"]] == [
        (int, 1),
        (int, 1),
        (int, 5),
        (int, 2),
    ]
    assert checked.columns["value"] == [2.0, None, 0.5, -math.inf]


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ({"at_ms": 1, "persn": 5}, KeyError, "card_tap has no column persn"),
        (
            {"at_ms": 1, "person": "five"},
            RowError,
            "card_tap.person is INTEGER and cannot hold str",
        ),
        ({"at_ms": 1, "person": 1.5}, RowError, "cannot hold float"),
        ({"at_ms": 1, "person": 2**63}, RowError, "cannot hold int"),
        ({"at_ms": 1, "device": b"gate"}, RowError, "card_tap.device is TEXT"),
        ({"at_ms": None}, RowError, "card_tap lacks its moment at_ms"),
        ({"person": 5}, RowError, "card_tap lacks its moment at_ms"),
        ({"at_ms": 1, "room": "m" * (ROW_BYTES_MAX + 1)}, RowError, "the limit is"),
        ({"at_ms": 1, "room": "课" * (ROW_BYTES_MAX // 3 + 1)}, RowError, "the limit is"),
        ({"at_ms": 1, "room": "m" * (ROW_BYTES_MAX - 5), "card": "123456"}, RowError, "the limit"),
    ],
)
def test_one_row_that_cannot_be_held_is_refused_among_many(
    row: Row, error: type[Exception], words: str
) -> None:
    good: Row = {"at_ms": 1, "device": "d", "person": 5, "room": "r", "card": "c"}
    for rows in ([row], [good, row], [row, good]):
        with pytest.raises(error, match=words):
            checked_rows(TAP, rows)


def test_a_row_of_just_the_limit_is_taken() -> None:
    rows: list[Row] = [{"at_ms": 1, "room": "课" * (ROW_BYTES_MAX // 3)}]
    assert checked_rows(TAP, rows).count == 1


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="a row of room lacks its key room"):
        checked_rows(ROOM, [{"room": "r"}, {"name": "one"}])


def test_a_text_of_a_closed_set_is_a_text() -> None:
    assert checked_rows(TAP, [{"at_ms": 1, "device": Reader.GATE}]).columns["device"] == ["gate"]


def test_rows_are_told_apart_by_the_columns_they_name() -> None:
    rows: list[Row] = [{"a": 1, "b": 1}, {"b": 2, "a": 2}, {"a": 3}, {"a": 4, "b": 4}]
    assert [list(places) for places in places_alike(rows)] == [[0, 1, 3], [2]]
    assert [list(places) for places in places_alike(rows[:2])] == [[0, 1]]
