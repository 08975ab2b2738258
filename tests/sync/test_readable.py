"""What the search for names can see: every cell that any holder of the keys could make out."""

import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.history.snapshot_part import Source, pack_part
from sync.readable import keys_granted, readable, readable_in_file
from sync.schema.model import Group, Lane
from sync.segments.body import TableColumns, pack_tables
from sync.segments.body_dictionary import BODY_DICTIONARY
from sync.segments.columnar import Value, encode_column
from sync.segments.sealing import DataKey, KeyId, key_id
from sync.segments.segment import (
    FIRST_PREV,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    compress,
    frame_segment,
    parse_segment,
)
from sync.segments.signing import signer_id
from sync.tables.row_check import Row
from tests.sync.district import District
from tests.sync.second_reader import open_bodies, read_rows, read_segment

KEY, OTHER = DataKey(bytes(range(32))), DataKey(bytes(32))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = LogName(17, 5, "s17", Lane.BULK)
NAME = "欧阳梓涵"


def table(columns: Iterable[list[Value]], number: int = 60_000) -> TableColumns:
    """Return rows of a table and of columns that no schema has."""
    encoded = [(place, encode_column(column)) for place, column in enumerate(columns, start=1)]
    return TableColumns(number, 1, 3, encode_column([1, 2, 3]), encoded)


def sealed(content: bytes, log: LogName = LOG, name: KeyId | None = None) -> bytes:
    return build_segment(
        Place(
            log=log, seq=1, prev=FIRST_PREV, first_row=1, last_row=3, first_stamp=1, last_stamp=3
        ),
        [TableHeader(60_000, 1, 3)],
        [PlainBody(group=Group.DISTRICT, key=KEY, key_id=name or key_id(KEY), content=content)],
        bytes(16),
        (signer_id(SIGNING.public_key()), SIGNING),
    )


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["a", NAME, None], NAME.encode()),
        ([b"a", NAME.encode("gb18030"), b""], NAME.encode("gb18030")),
        ([1, 420_111_201_709_013, 3], b"420111201709013"),
        ([None, 2.25, 2.5], b"2.5"),
        ([NAME, NAME, NAME], NAME.encode()),
    ],
)
def test_a_cell_of_an_unknown_table_is_read_with_the_key_and_not_without(
    cells: list[Value], told: bytes
) -> None:
    wire = sealed(pack_tables([table([[7, 8, 9], cells])]))
    assert told in set(readable(wire, [OTHER, KEY]))
    assert told not in set(readable(wire, [OTHER]))
    assert told not in wire


def test_a_body_is_opened_by_a_key_that_it_does_not_name() -> None:
    wire = sealed(pack_tables([table([["a", NAME, "b"]])]), name=key_id(OTHER))
    assert NAME.encode() in set(readable(wire, [KEY]))


def test_a_body_that_nobody_sealed_is_read() -> None:
    packed = compress(pack_tables([table([["a", NAME, "b"]])]))
    told = parse_segment(sealed(b"x"))
    body = msgspec.structs.replace(
        told.header.bodies[0],
        length=len(packed),
        digest=hashlib.sha256(packed).digest(),
    )
    header = msgspec.msgpack.encode(msgspec.structs.replace(told.header, bodies=[body]))
    wire = frame_segment(header, bytes(64), [packed])
    assert NAME.encode() in set(readable(wire))


def test_a_part_of_a_snapshot_is_read() -> None:
    snapshot = LogName(17, 5, "s17", Lane.SNAPSHOT)
    part = pack_part(Source(LOG, 1, 3), [table([["a", NAME, "b"], [11, 1_234_567, 12]])])
    told = set(readable(sealed(part, snapshot), [KEY]))
    assert {NAME.encode(), b"1234567"} <= told


@pytest.mark.parametrize(
    "held",
    [
        gzip.compress(NAME.encode()),
        compress(NAME.encode()),
        msgspec.msgpack.encode({"told": [{"so": (1, NAME)}]}),
        msgspec.json.encode([{"name": NAME}]).replace(
            NAME.encode(), b"\\u6b27\\u9633\\u6893\\u6db5"
        ),
        b'{"a": 1}\n{"name": "' + NAME.encode() + b'"}\n',
        msgspec.msgpack.encode([gzip.compress(msgspec.json.encode({NAME: 1}))]),
    ],
    ids=["gzip", "zstd", "msgpack", "json", "lines", "nested"],
)
def test_what_lies_in_what_is_read(held: bytes) -> None:
    assert NAME.encode() in set(readable([held]))


def test_rows_that_wait_to_be_sealed_are_read_in_their_store(district: District) -> None:
    school = district.nodes[17]
    taps: list[Row] = [{"at_ms": n, "device": NAME, "person": 7_700_000 + n * n} for n in range(3)]
    school.record("card_tap", taps)
    waiting = district.rows(17, "SELECT content FROM waiting_batch")
    told = {*readable(waiting)}
    assert {NAME.encode(), b"7700004"} <= told
    assert told <= {*readable_in_file(district.store(17))}


def test_it_reads_no_less_than_the_second_reader(district: District) -> None:
    school = district.nodes[17]
    for minute in range(40):
        school.record("card_tap", [{"at_ms": minute * minute, "device": f"d{minute % 3}"}])
        school.record("room", [{"room": f"r{minute}", "name": NAME}])
    district.exchange(17)
    keys = keys_granted(district.store(0), district.keys[0].sealing)
    public = district.keys[17].signing.public_key().public_bytes_raw()
    read = 0
    for _, _, wire in district.wires(17):
        told = {*readable(wire, keys)}
        for content in open_bodies(read_segment(wire, public), keys, BODY_DICTIONARY).values():
            for rows in read_rows(content).values():
                cells = [cell for row in rows.values() for cell in row.values()]
                read += len(cells)
                assert {*readable(cells)} <= told
    assert read > 200


def test_a_copy_of_a_database_is_read_by_its_content_and_not_its_name(
    district: District, tmp_path: Path
) -> None:
    district.nodes[17].record("room", [{"room": "r", "name": NAME}])
    copy = tmp_path / "copy.of"
    copy.write_bytes(district.back_up(17))
    assert NAME.encode() in {*readable_in_file(copy)}
    other = tmp_path / "other.db"
    other.write_bytes(gzip.compress(NAME.encode()))
    assert NAME.encode() in {*readable_in_file(other)}
