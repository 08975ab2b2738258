"""The merge rules as cases in committed bytes; ``python -m tests.sync.test_merge_vectors`` remakes.

A case has segments, which may come in any order and twice, and what then stands. What stands was
computed by the fold; tests/sync/second_reader.py comes to the same without code of ``sync``.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from itertools import permutations
from pathlib import Path
from sqlite3 import Cursor
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.folding.fold import fold_body
from sync.folding.told import read_told
from sync.logs.log_state import log_id_of
from sync.logs.stored_segments import store_wire
from sync.schema import BY_NAME
from sync.schema.model import Group, Kind, Lane, Owner, Table
from sync.segments.body import TableColumns
from sync.segments.columnar import Value, encode_column
from sync.segments.sealing import UNSEALED
from sync.segments.segment import (
    FIRST_PREV,
    Header,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.segments.signing import signer_id
from sync.store import open_store
from sync.tables.merged_rows import read_version
from tests.sync.district import empty_store

FILE = Path(__file__).parents[1] / "vectors" / "sync" / "merge.json"
FIRST, SECOND = 0x0123_4567_89AB_CDEF, 0x0222_2222_2222_2222
NOW_MS = 1_790_000_000_000
NOW = NOW_MS << 16
AHEAD_MS = 30 * 86_400_000
AHEAD = AHEAD_MS << 16
KINDS = ("event", "state", "two writers")
Case = dict[str, Any]
Cells = dict[int, Value]


def part(
    *rows: tuple[int, Cells],
    origin: int = 17,
    seq: int = 1,
    incarnation: int = FIRST,
    audience: str = "s17",
    last: int = 0,
) -> Case:
    """Return a segment's place in its log and its rows; ``last`` is its last stamp if it is later.

    The log's lane is its table's.
    """
    stamps = [cast("int", row.get(-2, NOW)) for _, row in rows]
    return {
        "log": [origin, incarnation, audience],
        "seq": seq,
        "stamps": [min(stamps), max(*stamps, last)],
        "rows": [[number, [[*cell] for cell in sorted(row.items())]] for number, row in rows],
    }


def case(table: str, *segments: Case, clamps: Sequence[tuple[LogName, int, int]] = ()) -> Case:
    declared = BY_NAME[table]
    placed = [each | {"log": [*each["log"], int(declared.lane)]} for each in segments]
    kind = KINDS[0] if declared.kind is Kind.EVENT else KINDS[1 + (declared.owner is Owner.BOTH)]
    return {
        "table": declared.number,
        "kind": kind,
        "keys": [declared.numbers[name] for name in declared.key],
        "columns": sorted(declared.numbers.values()),
        "device_key": declared.numbers[declared.dedupe] if declared.dedupe else None,
        "clamps": [[str(log), seq, moment] for log, seq, moment in clamps],
        "segments": placed,
    }


def group(stamp: int, key: str = "g1", **cells: Value) -> Cells:
    """Return a row of ``class_group``: 1 the group, 2 its name, 3 the grade, 4 the room."""
    own: Cells = {-2: stamp, -1: 17, 1: key}
    return own | {BY_NAME["class_group"].numbers[column]: cell for column, cell in cells.items()}


def slot(stamp: int, gone: int | None = None, **cells: Value) -> Cells:
    """Return a write to ``timetable_slot`` that names ``cells``, and the tombstone if told."""
    numbers = BY_NAME["timetable_slot"].numbers
    named = {numbers[column]: cell for column, cell in cells.items()}
    bits = sum(1 << number for number in named) | (gone is not None)
    told = {number: cell for number, cell in named.items() if cell is not None}
    dead: Cells = {-3: 1} if gone else {}
    return {-4: bits, -2: stamp, -1: 17, 1: "1", **dead, **told}


def tap(at_ms: int, key: str | None = None) -> Cells:
    return {1: at_ms, 2: "door", **({} if key is None else {6: key})}


SCHOOL = LogName(17, FIRST, "s17", Lane.LESSONS)
HUB = LogName(0, FIRST, "s17", Lane.LESSONS)
CONTROL = LogName(17, FIRST, "s17", Lane.CONTROL)

CASES: dict[str, Case] = {
    "a state: the greater stamp wins, and what it did not send is null": case(
        "class_group",
        part((1, group(NOW, name="one", grade=3)), (2, group(NOW + 1, room="r2"))),
        part((3, group(NOW + 5, "g2", grade=1)), seq=2),
        part((1, group(NOW + 4, "g2", grade=2, room="r1")), incarnation=SECOND),
    ),
    "a state: deleted, and written again": case(
        "class_group",
        part((1, group(NOW, grade=3)), (2, group(NOW + 2, "g2", grade=3))),
        part((3, group(NOW + 1) | {-3: 1}), (4, group(NOW + 3, "g2") | {-3: 1}), seq=2),
        part((5, group(NOW + 4, "g2", grade=4)), seq=3),
    ),
    "a state: at one stamp the greater incarnation, then the greater row": case(
        "class_group",
        part((8, group(NOW, grade=1)), (9, group(NOW, grade=2))),
        part((1, group(NOW, grade=3)), (2, group(NOW, grade=4)), incarnation=SECOND),
    ),
    "two writers: each column has its own last writer": case(
        "timetable_slot",
        part((1, slot(NOW + 2, room="r2", teacher="李"))),
        part((2, slot(NOW + 1, room="r1", subject="数学")), seq=2),
        part((1, slot(NOW + 3, subject="音乐")), origin=0),
    ),
    "two writers: at one stamp the greater origin wins": case(
        "timetable_slot",
        part((1, slot(NOW, subject="数学", room="r1")), origin=17),
        part((1, slot(NOW, subject="音乐", teacher="李")), origin=0),
    ),
    "two writers: at one clock the greater encoding wins, null above a short text": case(
        "timetable_slot",
        part((1, slot(NOW, subject="a", room="rr", teacher=None, starts_ms=127, ends_ms=-1))),
        part(
            (1, slot(NOW, subject="b", room="r", teacher="李", starts_ms=128, ends_ms=255)),
            incarnation=SECOND,
        ),
    ),
    "two writers: a column that is named and not sent is cleared": case(
        "timetable_slot",
        part((1, slot(NOW, room="r1", subject="数学"))),
        part((1, slot(NOW + 1, room=None)), origin=0),
    ),
    "two writers: a tombstone stays until a write names it": case(
        "timetable_slot",
        part((1, slot(NOW, 0, room="r1"))),
        part((1, slot(NOW + 1, 1)), origin=0),
        part((2, slot(NOW + 2, room="r2")), seq=2),
    ),
    "two writers: a tombstone is lifted by a later write that names it": case(
        "timetable_slot",
        part((1, slot(NOW + 1, 1)), origin=0),
        part((1, slot(NOW + 2, 0))),
        part((1, slot(NOW, 1, room="r1")), incarnation=SECOND),
    ),
    "two writers: at one clock the tombstone wins": case(
        "timetable_slot",
        part((1, slot(NOW, 1))),
        part((1, slot(NOW, 0)), incarnation=SECOND),
    ),
    "two writers: a write that names nothing makes the row": case(
        "timetable_slot", part((1, slot(NOW)))
    ),
    "clamps: a write from the future loses against a later one": case(
        "timetable_slot",
        part((1, slot(NOW + AHEAD, subject="音乐", room="r1"))),
        part((1, slot(NOW + (1 << 16) + 4, subject="数学")), origin=0),
        clamps=[(SCHOOL, 1, NOW_MS)],
    ),
    "clamps: the log keeps its order, and what follows is lifted above it": case(
        "class_group",
        part((1, group(NOW + 9, grade=1))),
        part(
            (2, group(NOW + AHEAD, grade=2)),
            (3, group(NOW + AHEAD + 1, grade=3)),
            (4, group(NOW + AHEAD + 2, "g2", grade=5)),
            seq=2,
        ),
        part((5, group(NOW + AHEAD + 3, grade=4)), (6, group(NOW + AHEAD + 3, "g3")), seq=3),
        part((7, group(NOW + 10, "g4", grade=9)), (8, group(NOW + 11, "g2")), seq=4),
        clamps=[(CONTROL, 2, NOW_MS - 60_000), (CONTROL, 3, NOW_MS - 60_000)],
    ),
    "clamps: down to what the segment before ends with, and none is raised to it": case(
        "class_group",
        part((1, group(NOW + 9, grade=1)), last=NOW + 700),
        part((2, group(NOW + AHEAD, grade=2)), (3, group(NOW + 3, "g2")), seq=2),
        clamps=[(CONTROL, 2, NOW_MS - 1)],
    ),
    "clamps: of several for one segment the earliest moment counts": case(
        "class_group",
        part((1, group(NOW + AHEAD, grade=1))),
        part((1, group(NOW + (5 << 16), grade=2)), incarnation=SECOND),
        clamps=[(CONTROL, 1, NOW_MS + 9), (CONTROL, 1, NOW_MS + 2), (CONTROL, 1, NOW_MS + 7)],
    ),
    "clamps: moments and segments out of range, and the hub's own logs, are passed over": case(
        "timetable_slot",
        part((1, slot(NOW + AHEAD, subject="音乐"))),
        part((2, slot(NOW + AHEAD + 2, teacher="李")), seq=2),
        part((1, slot(NOW + AHEAD + 1, room="r1")), origin=0),
        clamps=[
            (SCHOOL, 1, 2**46 + 1),
            (SCHOOL, 1, -1),
            (SCHOOL, 0, NOW_MS),
            (HUB, 1, NOW_MS),
            (CONTROL, 1, NOW_MS),
        ],
    ),
    "events: each row of a log once": case(
        "card_tap",
        part((1, tap(5)), (2, tap(5))),
        part((3, tap(5)), seq=2),
        part((1, tap(5)), incarnation=SECOND),
    ),
    "events: of one device key the lower incarnation and row stays, in each school": case(
        "card_tap",
        part((4, tap(7, "k1")), (5, tap(8, "k1")), (6, tap(8, "k2"))),
        part((1, tap(9, "k1")), (2, tap(9, "k3")), incarnation=SECOND),
        part((1, tap(6, "k1")), audience="s18", origin=18),
    ),
}


def fold_case(told: Case, order: Sequence[int]) -> list[Case]:
    """Return what stands after the segments came in this order."""
    table = next(each for each in BY_NAME.values() if each.number == told["table"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        path.write_bytes(empty_store())
        with closing(open_store(path)) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            _fold_clamps(cursor, told["clamps"])
            headers = [_store(cursor, table, segment) for segment in told["segments"]]
            for place in order:
                _fold(cursor, table, headers[place], told["segments"][place])
            return sorted(_standing(cursor, table, told["kind"]), key=json.dumps)


def _fold_clamps(cursor: Cursor, clamps: Sequence[tuple[str, int, int]]) -> None:
    if clamps:
        rows: list[tuple[int, Cells]] = [
            (row, {1: NOW_MS, 2: log, 3: seq, 4: moment})
            for row, (log, seq, moment) in enumerate(clamps, 1)
        ]
        table = BY_NAME["clock_clamp"]
        segment = part(*rows, origin=0)
        segment["log"].append(int(table.lane))
        _fold(cursor, table, _store(cursor, table, segment), segment)


def _store(cursor: Cursor, table: Table, segment: Case) -> Header:
    """Store a segment that says in its header what the case says; nobody opens its body."""
    origin, incarnation, audience, lane = segment["log"]
    log = LogName(origin, incarnation, audience, Lane(lane))
    numbers = [number for number, _ in segment["rows"]]
    place = Place(
        log=log,
        seq=segment["seq"],
        prev=FIRST_PREV if segment["seq"] == 1 else bytes([1]) * 32,
        first_row=numbers[0],
        last_row=numbers[-1],
        first_stamp=segment["stamps"][0],
        last_stamp=segment["stamps"][1],
    )
    body = PlainBody(group=Group.GRANT, key=None, key_id=UNSEALED, content=b"-")
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signer = (signer_id(private.public_key()), private)
    wire = build_segment(
        place, [TableHeader(table.number, 1, len(numbers))], [body], bytes(16), signer
    )
    store_wire(cursor, log_id_of(cursor, log), segment["seq"], wire)
    return parse_segment(wire).header


def _fold(cursor: Cursor, table: Table, header: Header, segment: Case) -> None:
    numbers = [number for number, _ in segment["rows"]]
    cells = [dict(row) for _, row in segment["rows"]]
    present = sorted({number for row in cells for number in row})
    columns = [(each, encode_column([row.get(each) for row in cells])) for each in present]
    body = TableColumns(table.number, 1, len(numbers), encode_column(numbers), columns)
    log_id = log_id_of(cursor, header.log)
    told = read_told(cursor, log_id, header.log)
    folded = fold_body(cursor, log_id, header, Group.DISTRICT, [body], told)
    assert folded.parked == []


def _standing(cursor: Cursor, table: Table, kind: str) -> list[Case]:
    names = [column.name for column in table.columns]
    own = "deleted, hlc, r.origin" if kind != KINDS[0] else "0, 0, 0"
    read = ", ".join(f"r.{name}" for name in names)
    rows = cursor.execute(
        f"SELECT l.origin, l.incarnation, l.audience, l.lane, r.row, r.school, {own}, {read}"  # noqa: S608 - names are the schema's
        f" FROM {table.name} r JOIN log l ON l.id = r.log"
    ).fetchall()
    standing: list[Case] = []
    for origin, incarnation, audience, lane, number, school, gone, stamp, writer, *cells in rows:
        row: Case = {"school": school}
        if kind == KINDS[2]:
            keys = [cells[names.index(name)] for name in table.key]
            version = read_version(cursor, table, (school, *keys))
            assert version is not None
            merged = {0: "deleted"} | {
                table.numbers[name]: name for name in names if name not in table.key
            }
            clocks = [[each, *version.clock_of(merged[each])] for each in sorted(merged)]
            row |= {"stamp": stamp, "origin": writer, "clocks": clocks}
        else:
            row |= {"log": [origin, incarnation, audience, lane], "row": number}
        if kind != KINDS[0]:
            row["deleted"] = gone
        if kind == KINDS[1]:
            row["stamp"] = stamp
        named = zip(names, cells, strict=True)
        present = [[table.numbers[name], cell] for name, cell in named if cell is not None]
        standing.append(row | {"cells": sorted(present)})
    return standing


def make_vectors() -> dict[str, Case]:
    return {
        name: told | {"expected": fold_case(told, range(len(told["segments"])))}
        for name, told in CASES.items()
    }


def written(vectors: dict[str, Case]) -> str:
    """Return JSON with a line for each segment and each row that stands."""
    cases = []
    for name, told in vectors.items():
        facts = [f"  {_line(fact)}: {_lines(value)}" for fact, value in told.items()]
        cases.append(f" {_line(name)}: {{\n" + ",\n".join(facts) + "\n }")
    return "{\n" + ",\n".join(cases) + "\n}\n"


def _lines(value: object) -> str:
    if not isinstance(value, list) or not value or isinstance(value[0], int):
        return _line(value)
    return "[\n" + ",\n".join(f"   {_line(each)}" for each in value) + "\n  ]"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def orders(told: Case) -> list[tuple[int, ...]]:
    """Return every order of a case's segments, and with each of them all again."""
    every = [*permutations(range(len(told["segments"])))]
    return every + [(*order, *every[-1]) for order in every]


COMMITTED: dict[str, Case] = json.loads(FILE.read_text()) if FILE.exists() else {}


def test_the_committed_cases_are_what_this_version_makes() -> None:
    assert written(make_vectors()) == FILE.read_text()


@pytest.mark.parametrize("name", CASES)
def test_in_every_order_the_same_rows_stand(name: str) -> None:
    told = COMMITTED[name]
    for order in orders(told):
        assert fold_case(told, order) == told["expected"], order


if __name__ == "__main__":
    FILE.write_text(written(make_vectors()))
