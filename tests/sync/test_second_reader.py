"""A reader that shares no code with ``sync`` reads committed vectors by the README."""

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from tests.sync import second_reader
from tests.sync.second_reader import (
    Cell,
    Key,
    Model,
    RangeReader,
    RefusedError,
    Rows,
    Write,
    check_follows,
    digests,
    merge_columns,
    merge_events,
    merge_states,
    open_bodies,
    open_cell,
    open_grant,
    read_column,
    read_part,
    read_rows,
    read_segment,
    stamp_of,
    tops_of,
)
from tests.sync.test_merge_vectors import orders

FOLDER = Path(__file__).parents[1] / "vectors" / "sync"
Vector = dict[str, Any]


def committed(name: str) -> Vector:
    vector: Vector = json.loads((FOLDER / f"{name}.json").read_text())
    return vector


def raw(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector[name])


SEGMENT, STREAM, GRANT, SNAPSHOT, CELL, MERGE = map(
    committed, ("segment", "stream", "grant", "snapshot", "person_cell", "merge")
)
PUBLIC, WIRE, KEY = (raw(SEGMENT, name) for name in ("signing_public", "wire", "key"))
DICTIONARY = raw(committed("body_dictionary"), "bytes")


def test_it_knows_nothing_of_sync() -> None:
    tree = ast.parse(Path(second_reader.__file__).read_text())
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.Import | ast.ImportFrom)]
    names = {
        name.split(".")[0]
        for each in imports
        for name in (
            [each.module or ""]
            if isinstance(each, ast.ImportFrom)
            else [alias.name for alias in each.names]
        )
    }
    standard = {"hashlib", "hmac", "struct", "collections", "dataclasses", "itertools", "typing"}
    assert names == standard | {"cryptography", "msgspec", "zstandard"}


def told(values: Sequence[object]) -> list[Cell]:
    """Return cells as a vector writes them."""
    cells: list[Cell] = []
    for value in values:
        match value:
            case {"bytes": str(hexed)}:
                cells.append(bytes.fromhex(hexed))
            case {"binary64": str(text)}:
                cells.append(float.fromhex(text))
            case None | int() | str():
                cells.append(value)
            case _:
                raise AssertionError(value)
    return cells


@pytest.mark.parametrize("name", committed("columns"))
def test_a_column_says_what_the_vector_says(name: str) -> None:
    vector = committed("columns")[name]
    values = told(vector["values"])
    read = read_column(msgspec.msgpack.decode(raw(vector, "encoded")), len(values))
    # Equal is not the same: 0.0 and -0.0, 1 and 1.0.
    assert list(map(repr, read)) == list(map(repr, values))


def test_a_column_of_too_few_planes_is_refused() -> None:
    encoded = msgspec.msgpack.decode(raw(committed("columns")["three bytes"], "encoded"))
    with pytest.raises(RefusedError):
        read_column([*encoded[:-1], encoded[-1][:-1]], 4)


def test_the_segment_opens_to_its_rows() -> None:
    segment = read_segment(WIRE, PUBLIC)
    assert segment.digest == raw(SEGMENT, "header_digest")
    bodies = open_bodies(segment, [KEY], DICTIONARY)
    assert bodies.pop("grant") == b"grants"
    numbers = SEGMENT["row_numbers"]
    expected: dict[str, Rows] = {}
    for group, columns in SEGMENT["columns_by_group"].items():
        rows = {
            number: {
                int(column): values[place]
                for column, values in columns.items()
                if values[place] is not None
            }
            for place, number in enumerate(numbers)
        }
        expected[group] = {SEGMENT["table"]: rows}
    assert {group: read_rows(content) for group, content in bodies.items()} == expected


def test_without_its_key_a_body_stays_closed() -> None:
    assert open_bodies(read_segment(WIRE, PUBLIC), [], DICTIONARY) == {"grant": b"grants"}


def test_each_byte_that_is_altered_is_refused() -> None:
    for place in range(len(WIRE)):
        altered = bytearray(WIRE)
        altered[place] ^= 1
        # What is cut elsewhere by an altered length is no msgpack, or too short to unpack.
        with pytest.raises((RefusedError, KeyError, ValueError, msgspec.DecodeError)):
            read_segment(bytes(altered), PUBLIC)


def test_a_body_opens_only_where_it_was_sealed() -> None:
    segment = read_segment(WIRE, PUBLIC)
    segment.header[1] += 1
    with pytest.raises(RefusedError):
        open_bodies(segment, [KEY], DICTIONARY)


def test_without_the_dictionary_a_short_body_is_not_read() -> None:
    segment = read_segment(WIRE, PUBLIC)
    read = open_bodies(segment, [KEY], DICTIONARY)
    try:
        without = open_bodies(segment, [KEY], bytes(len(DICTIONARY)))
    except zstandard.ZstdError:
        return
    assert without != read


def test_a_hollow_segment_says_what_its_header_said() -> None:
    hollow = read_segment(raw(SEGMENT, "hollow"), PUBLIC)
    whole = read_segment(WIRE, PUBLIC)
    assert (hollow.header, hollow.digest, hollow.bodies) == (whole.header, whole.digest, [])
    with pytest.raises(RefusedError, match="behind the last body"):
        read_segment(raw(SEGMENT, "hollow") + b"x", PUBLIC)


def test_segments_follow_each_other_by_their_headers() -> None:
    wires = [bytes.fromhex(wire) for wire in STREAM["segments"]]
    first, second, third = (read_segment(wire, PUBLIC) for wire in wires)
    check_follows(first, None)
    check_follows(second, first)
    check_follows(third, second)
    elsewhere = replace(first, header=[[*first.header[0][:3], 3], *first.header[1:]])
    for segment, before in (
        (second, None),
        (first, second),
        (third, first),
        (second, elsewhere),
        (second, replace(first, digest=bytes(32))),
    ):
        with pytest.raises(RefusedError):
            check_follows(segment, before)


def test_the_grant_opens_to_the_key_it_names() -> None:
    private, wrapped = raw(GRANT, "recipient_private"), raw(GRANT, "wrapped")
    name, purpose, suite = raw(GRANT, "key_id"), GRANT["purpose"], GRANT["suite"]
    assert open_grant(private, purpose, suite, name, wrapped) == raw(GRANT, "key")
    altered = bytes([*wrapped[:-1], wrapped[-1] ^ 1])
    for wrong in (
        (private, purpose + "0", suite, name, wrapped),
        (private, purpose, suite + 1, name, wrapped),
        (private, purpose, suite, bytes(8), wrapped),
        (private, purpose, suite, name, altered),
    ):
        with pytest.raises(RefusedError):
            open_grant(*wrong)


def test_a_persons_cell_opens_to_its_text() -> None:
    key, sealed = raw(CELL, "key"), raw(CELL, "sealed")
    person, column = CELL["person"], CELL["column"]
    assert open_cell(key, person, column, sealed) == CELL["text"]
    for wrong in (
        (key, person + 1, column, sealed),
        (key, person, "card", sealed),
        (key, person, column, bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(RefusedError):
            open_cell(*wrong)


def test_a_snapshots_parts_hold_the_rows_that_its_record_sums() -> None:
    sources = set()
    for group, vectors in SNAPSHOT["digests"].items():
        source, tables = read_part(raw(SNAPSHOT["bodies"], group))
        incarnation, lane, *_ = source
        sums = {table: digest.hex() for table, digest in digests(incarnation, lane, tables).items()}
        assert sums == dict(vectors)
        sources.add(source)
    assert sources == {(0x0123_4567_89AB_CDEF, 1, 3, 8)}


def test_a_snapshots_rows_are_those_of_their_log() -> None:
    _, district = read_part(raw(SNAPSHOT["bodies"], "district"))
    stamped = {-1: 17, 1: "r1", -2: 9 << 16}
    assert district[2] == {
        3: stamped | {2: "一年级一班"},
        8: stamped | {1: "r2", -2: 11 << 16, -3: 1},
    }
    assert read_part(raw(SNAPSHOT["bodies"], "identity"))[1] == {4: {5: {3: b"x"}}}


def test_a_record_reads_in_the_order_of_its_fields() -> None:
    version, number, moment, stamp, covers, seen, *rest = msgspec.msgpack.decode(
        raw(SNAPSHOT, "record")
    )
    assert (version, number, stamp) == (1, 3, moment << 16)
    assert covers == [[0x0123_4567_89AB_CDEF, 1, 4, bytes(range(32)), 9]]
    assert seen == [[0, 7, 3, 2]]
    purged, both, cleared, events, states, sums = rest
    assert (purged, both, cleared) == (1_780_000_000_000 << 16, 0, 0)
    assert (events, states) == ([[0x0123_4567_89AB_CDEF, 1, 4]], [[0x0123_4567_89AB_CDEF, 5, 6]])
    assert sums == [[2, bytes(32)]]


@pytest.mark.parametrize("name", MERGE)
def test_in_every_order_it_merges_to_what_the_vector_says(name: str) -> None:
    case = MERGE[name]
    for order in orders(case):
        assert merged(case, order) == case["expected"], order


def merged(case: Vector, order: Sequence[int]) -> list[Vector]:
    """Return what stands after the segments came in this order, as the vector writes it."""
    last_stamps: dict[str, dict[int, int]] = {}
    for segment in case["segments"]:
        last_stamps.setdefault(str(segment["log"]), {})[segment["seq"]] = segment["stamps"][1]
    writes = []
    for segment in map(case["segments"].__getitem__, order):
        log = segment["log"]
        tops = tops_of(log, map(tuple, case["clamps"]), last_stamps[str(log)])
        for place, (row, cells) in enumerate(segment["rows"], 1):
            held = dict(cells)
            stamp = stamp_of(held.get(-2, 0), place, segment["seq"], tops)
            writes.append(Write(tuple(log), row, stamp, held))
    keys = case["keys"]
    rows: list[Vector] = []
    if case["kind"] == "two writers":
        merged_rows = merge_columns(writes, keys, case["columns"])
        rows = [_two_writers(key, keys, row) for key, row in merged_rows.items()]
    elif case["kind"] == "state":
        for (school, *_), write in merge_states(writes, keys).items():
            deleted = int(write.cells.get(-3) == 1)
            stands = {"deleted": deleted, "stamp": write.stamp, "cells": _cells(write)}
            rows.append({"school": school, "log": [*write.log], "row": write.row} | stands)
    else:
        for school, write in merge_events(writes, case["device_key"]):
            rows.append(
                {
                    "school": school,
                    "log": [*write.log],
                    "row": write.row,
                    "cells": _cells(write),
                }
            )
    return sorted(rows, key=json.dumps)


def _cells(write: Write) -> list[list[object]]:
    return [[number, cell] for number, cell in sorted(write.cells.items()) if number > 0]


def _two_writers(key: Key, keys: Sequence[int], row: dict[int, second_reader.Column]) -> Vector:
    stamp, origin = max(clock for clock, _ in row.values())
    held = {number: cell for number, (_, cell) in row.items() if number and cell is not None}
    held |= dict(zip(keys, key[1:], strict=True))
    return {
        "school": key[0],
        "stamp": stamp,
        "origin": origin,
        "clocks": [[number, *clock] for number, (clock, _) in sorted(row.items())],
        "deleted": row[0][1],
        "cells": [[number, cell] for number, cell in sorted(held.items())],
    }


def test_it_reads_what_the_range_coder_wrote_and_refuses_what_is_left_over() -> None:
    vector = committed("range_coder")
    reader = RangeReader(raw(vector, "coded"))
    numbers: Model = {}
    assert [reader.integer(numbers) for _ in vector["integers"]] == vector["integers"]
    choices: Model = {}
    assert [reader.decide(choices, 0) for _ in vector["decisions"]] == vector["decisions"]
    assert [[reader.even(bits), bits] for _, bits in vector["even"]] == vector["even"]
    reader.finish()
    with pytest.raises(RefusedError):
        RangeReader(raw(vector, "coded") + bytes(7)).finish()
