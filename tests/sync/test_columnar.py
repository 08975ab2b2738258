"""Columns come back as they were; nothing from outside makes a decoder fail otherwise."""

import math
import random
from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.segments.body import ROWS_MAX, TableColumns, pack_tables, text_length, unpack_tables
from sync.segments.columnar import (
    Value,
    decode_column,
    decode_rising,
    encode_column,
    encode_rising,
    text_bound,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
DECIMALS = st.integers(-(10**9), 10**9).flatmap(
    lambda whole: st.sampled_from([1, 10, 100, 1000]).map(lambda factor: whole / factor)
)
COLUMNS: st.SearchStrategy[list[Value]] = st.one_of(
    *(
        st.lists(st.one_of(st.none(), values), min_size=1, max_size=60)
        for values in (
            INTEGERS,
            st.integers(0, 300),
            FLOATS,
            DECIMALS,
            st.sampled_from([0.0, -0.0]),
            st.text(max_size=8),
            st.sampled_from(["on", "off"]),
            st.binary(max_size=8),
        )
    )
)


def through_the_wire(encoded: object) -> list[object]:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(encoded), type=list[object])


def bits(value: Value) -> object:
    """Tell 0.0 from -0.0 and 1 from 1.0."""
    if isinstance(value, float):
        return value.hex()
    return type(value), value


@given(COLUMNS)
def test_a_column_comes_back_bit_for_bit(values: list[Value]) -> None:
    encoded = through_the_wire(encode_column(values))
    decoded = decode_column(encoded, len(values))
    assert list(map(bits, decoded)) == list(map(bits, values))
    assert text_length(values) <= text_bound(encoded, decoded)


@pytest.mark.parametrize(
    "values",
    [
        [-(2**63), 2**63 - 1],
        [2**63 - 1, -(2**63), 2**63 - 1],
        [None, 2**63 - 1],
        [math.inf, -math.inf, 0.0],
        [-0.0, 0.0],
        [-0.0, -0.0],
        [None, -0.0, 0.0],
        [1e300, 0.1, 5e-324],
        [2.0**53, 1.0],
        [None, None],
        ["", None],
        [b"", None, b"\x00"],
    ],
)
def test_extremes_come_back(values: list[Value]) -> None:
    decoded = decode_column(through_the_wire(encode_column(values)), len(values))
    assert list(map(bits, decoded)) == list(map(bits, values))


def test_rising_moments_cost_the_bytes_of_their_steps() -> None:
    moments: list[Value] = [1_790_000_000_000 + 977 * number for number in range(1000)]
    assert len(msgspec.msgpack.encode(encode_column(moments))) < 32


def test_the_same_few_people_cost_their_places_and_not_their_numbers() -> None:
    chance = random.Random(4)
    people = [chance.randrange(2**24) for _ in range(200)]
    taps: list[Value] = [chance.choice(people) for _ in range(1000)]
    encoded = through_the_wire(encode_column(taps))
    assert len(msgspec.msgpack.encode(encoded)) < 200 * 4 + 1000 + 40
    assert decode_column(encoded, 1000) == taps


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9, unique=True),
    st.integers(1, 400),
    st.integers(0, 2**32),
)
def test_integers_of_a_small_set_come_back(few: list[int], rows: int, seed: int) -> None:
    values: list[Value] = [*random.Random(seed).choices(few, k=rows)]
    assert decode_column(through_the_wire(encode_column(values)), rows) == values


@given(st.lists(st.integers(1, 2**48), min_size=1, max_size=80, unique=True).map(sorted))
def test_row_numbers_come_back_whatever_is_left_out(rows: list[int]) -> None:
    encoded = through_the_wire(encode_rising(rows))
    assert decode_column(encoded, len(rows)) == [*decode_rising(encoded, len(rows))] == rows
    run: list[Value] = list(range(rows[0], rows[0] + len(rows)))
    assert encode_rising(range(rows[0], rows[0] + len(rows))) == encode_column(run)


@pytest.mark.parametrize("values", [[2, 1], [5, 5], [1, None], ["1", "2"], [1.0, 2.0]])
def test_row_numbers_that_do_not_rise_are_called_malformed(values: list[Value]) -> None:
    with pytest.raises(MalformedError):
        decode_rising(through_the_wire(encode_column(values)), len(values))


def test_a_run_of_row_numbers_ends_within_64_bits() -> None:
    last = 2**63 - 1
    assert list(decode_rising([1, None, last - 2, 1, 0, b""], 3)) == [last - 2, last - 1, last]
    with pytest.raises(MalformedError):
        decode_rising([1, None, last - 1, 1, 0, b""], 3)


def test_a_few_integers_of_any_size_cost_no_empty_bytes() -> None:
    people: list[Value] = [2**23 + 1, 5, 2**24 - 1, 77_000, 2**20]
    assert len(msgspec.msgpack.encode(encode_column(people))) <= 3 * len(people) + 8


def test_a_null_does_not_spoil_the_deltas_around_it() -> None:
    moments: list[Value] = [1_790_000_000_000 + 977 * number for number in range(1000)]
    moments[500] = None
    assert len(msgspec.msgpack.encode(encode_column(moments))) < 32 + 125 + 2 * 1000


SMALL = st.integers(-3, 9)
JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.binary(max_size=40),
        st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)


@given(
    st.one_of(
        st.lists(JUNK, max_size=7),
        st.tuples(st.integers(0, 7), st.none(), JUNK, JUNK, JUNK, JUNK).map(list),
        st.tuples(st.integers(0, 7), st.none(), JUNK).map(list),
        st.tuples(
            st.just(7),
            st.none(),
            st.integers(-1, 21),
            st.tuples(st.integers(1, 2), st.none(), SMALL, SMALL, SMALL, st.binary(max_size=9)).map(
                list
            ),
            SMALL,
            st.binary(max_size=21),
        ).map(list),
        st.tuples(st.integers(0, 7), st.binary(max_size=3), JUNK, JUNK, JUNK).map(list),
    ),
    st.integers(1, 20),
)
def test_a_column_that_is_none_is_called_malformed(encoded: list[object], rows: int) -> None:
    with suppress(MalformedError):
        assert all(before < after for before, after in pairwise(decode_rising(encoded, rows)))
    try:
        values = decode_column(encoded, rows)
    except MalformedError:
        return
    assert len(values) == rows
    assert text_length(values) <= text_bound(encoded, values)
    for value in values:
        assert value is None or type(value) in {int, float, str, bytes}
        assert not isinstance(value, int) or -(2**63) <= value < 2**63
        assert value == value  # noqa: PLR0124 - NaN is the one value that is not itself


@given(st.binary(max_size=200))
def test_a_body_that_is_none_is_called_malformed(body: bytes) -> None:
    try:
        tables = unpack_tables(body)
    except MalformedError:
        return
    assert tables


def columns(**changed: object) -> bytes:
    plain = TableColumns(20, 1, 2, encode_column([1, 2]), [(1, encode_column([5, 6]))])
    return msgspec.msgpack.encode([msgspec.structs.replace(plain, **changed)])


@pytest.mark.parametrize(
    "body",
    [
        pack_tables([]),
        columns(rows=0),
        columns(rows=-1),
        columns(rows=ROWS_MAX + 1),
        columns(rows=2**63),
        columns(columns=[(1, [0, None, 5])] * 2),
        columns(columns=[(2, [0, None, 5]), (1, [0, None, 5])]),
        columns(columns=[(number, [0, None, 5]) for number in range(-2, 63)]),
        columns(columns=[(63, [0, None, 5])]),
        columns(columns=[(-17, [0, None, 5])]),
        pack_tables([TableColumns(20, 1, 1, [0, None, 1], [])] * 2),
        pack_tables(
            [TableColumns(number, 1, ROWS_MAX // 2, [0, None, 1], []) for number in (1, 2, 3)]
        ),
        b"\x91" * 100_000,
    ],
)
def test_a_body_that_claims_more_than_it_may_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        unpack_tables(body)


def test_a_body_within_its_limits_is_read() -> None:
    (table,) = unpack_tables(columns())
    assert decode_column(table.columns[0][1], table.rows) == [5, 6]
