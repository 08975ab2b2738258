"""A snapshot's wire in committed bytes; ``python -m tests.sync.test_snapshot_vectors`` remakes it.

Parts and records are sealed like any body; what is committed here is what stands inside.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.history.checkpoint import Cover, Record, Seen, Span, pack_record, parse_record
from sync.history.snapshot_part import RowSums, Source, StoredRow, add_rows, bodies_of, unpack_part
from sync.schema.model import Group, Lane
from sync.segments.segment import LogName, parse_segment
from tests.sync.district import District

FILE = Path(__file__).parents[1] / "vectors" / "sync" / "snapshot.json"
SOURCE = LogName(17, 0x0123_4567_89AB_CDEF, "s17", Lane.CONTROL)
SNAPSHOT = LogName(17, 0x0123_4567_89AB_CDEF, "s17", Lane.SNAPSHOT)
ROOM, PERSON = 2, 4
ROWS = [
    StoredRow(ROOM, 3, {Group.DISTRICT: {-2: 9 << 16, -1: 17, 1: "r1", 2: "一年级一班"}}),
    StoredRow(
        PERSON, 5, {Group.DISTRICT: {-2: 10 << 16, -1: 17, 1: 40}, Group.IDENTITY: {3: b"x"}}
    ),
    StoredRow(ROOM, 8, {Group.DISTRICT: {-3: 1, -2: 11 << 16, -1: 17, 1: "r2"}}),
]
RECORD = Record(
    version=1,
    number=3,
    at_ms=1_790_000_000_000,
    stamp=1_790_000_000_000 << 16,
    covers=[Cover(SOURCE.incarnation, Lane.CONTROL, 4, bytes(range(32)), 9)],
    seen=[Seen(0, 7, Lane.LESSONS, 2)],
    purged=1_780_000_000_000 << 16,
    purged_both=0,
    cleared=0,
    events=[Span(SOURCE.incarnation, 1, 4)],
    states=[Span(SOURCE.incarnation, 5, 6)],
    digests=[(ROOM, bytes(32))],
)


def make_vectors() -> dict[str, Any]:
    sums = RowSums()
    for row in ROWS:
        sums.add(SOURCE, row)
    return {
        "record": pack_record(RECORD).hex(),
        "bodies": {str(group): body.hex() for group, body in bodies_of(SOURCE, ROWS).items()},
        "digests": {
            str(group): [[table, digest.hex()] for table, digest in sums.of_group(group)]
            for group in (Group.DISTRICT, Group.IDENTITY)
        },
    }


def test_the_committed_bytes_are_what_this_version_makes() -> None:
    assert json.loads(FILE.read_text()) == make_vectors()


def test_the_committed_bytes_are_read() -> None:
    vectors = json.loads(FILE.read_text())
    assert parse_record(bytes.fromhex(vectors["record"]), SNAPSHOT) == RECORD
    rows: dict[tuple[int, int], StoredRow] = {}
    for group in (Group.DISTRICT, Group.IDENTITY):
        source, tables = unpack_part(SNAPSHOT, bytes.fromhex(vectors["bodies"][str(group)]))
        assert source == Source(SOURCE, 3, 8)
        add_rows(rows, group, tables)
    assert sorted(rows.values(), key=lambda row: row.number) == ROWS


def test_a_segment_without_bodies_says_all_its_header_said(district: District) -> None:
    district.nodes[17].record("room", [{"room": "r1", "name": "one"}])
    district.seal(17)
    whole = parse_segment(district.wires(17)[-1][2])
    hollow = parse_segment(whole.hollow())
    public = district.keys[17].signing.public_key()
    hollow.verify(public)
    assert (hollow.header, hollow.header_digest) == (whole.header, whole.header_digest)
    assert hollow.is_hollow
    assert hollow.hollow() == whole.hollow()
    with pytest.raises(MalformedError, match="no bodies left"):
        hollow.open(0, None)
    with pytest.raises(MalformedError, match="after its last body"):
        parse_segment(whole.hollow() + b"x")
    with pytest.raises(ForgedError):
        parse_segment(whole.hollow()[:-1] + b"x").verify(district.keys[18].signing.public_key())


@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_a_hollow_prefix_raise_nothing_but_their_errors(tail: bytes) -> None:
    try:
        parse_segment(b"SNH1" + tail)
    except (MalformedError, ForgedError):
        return


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_vectors(), indent=1) + "\n")
