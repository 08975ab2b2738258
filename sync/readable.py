"""What can be read in bytes that nodes make, by whoever holds certain keys: every cell and field.

A name in a column stands behind range coding, columns, zstd and a seal; who searches bytes for it
finds nothing, though any holder of the key reads it. Searches for what should not be there look
here as well as in the bytes: those of the tests, and the demo's own.
"""

import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.courier.parts import parse_part
from sync.errors import SyncError
from sync.history.snapshot_part import unpack_part
from sync.persons.vault_backup import read_header
from sync.rosters.sealed import parse_roster
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.columnar import decode_column
from sync.segments.sealing import DataKey, KeyId, unwrap
from sync.segments.segment import BODY_BYTES_MAX, LogName, decompress, parse_segment
from sync.store import connect_readonly

DEPTH_MAX = 12
"""So deep do fields lie within fields; what is deeper is not told apart."""
_SQLITE = b"SQLite format 3\x00"
_ANY_FRAME = 32 + zlib.MAX_WBITS  # zlib's or gzip's
_UNREADABLE = (
    SyncError,
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    TypeError,  # a map of msgpack under keys that Python cannot look up
    zlib.error,
)
_json_decoder = msgspec.json.Decoder()
_batch_decoder = msgspec.msgpack.Decoder(TableColumns)

Keys = Collection[DataKey]


def readable(value: object, keys: Keys = ()) -> Iterator[bytes]:
    """Yield every text (in UTF-8), byte string and number (in decimals) that ``value`` holds.

    ``value`` is bytes, or what decoders make of them. Bytes are yielded as they are and taken
    apart: segments, whose bodies are opened by each of ``keys``, whichever they name; courier
    files; sealed rosters and vault backups as far as they are clear; zstd, zlib, msgpack and JSON.
    Of a body come its cells, of known and unknown columns. What cannot be read is passed over.
    """
    yield from _fields(value, keys, 0)


def readable_in_file(path: Path, keys: Keys = ()) -> Iterator[bytes]:
    """Yield the same of a file; of a SQLite database, of each cell of each table."""
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        yield from readable(path.read_bytes(), keys)
        return
    with closing(connect_readonly(path)) as store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in store.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the store's own
                yield from readable(tuple(row), keys)


def keys_granted(path: Path, private: X25519PrivateKey) -> set[DataKey]:
    """Return the key of every grant in a store that ``private`` opens.

    Grants of lessons' keys are no such: their recordings are searched as they are.
    """
    with closing(connect_readonly(path)) as store:
        grants = store.execute(
            "SELECT key_id, purpose, suite, wrapped FROM key_grant"
            " WHERE purpose IS NOT NULL AND wrapped IS NOT NULL"
        ).fetchall()
    keys = set()
    for name, purpose, suite, wrapped in grants:
        with suppress(SyncError):
            keys.add(unwrap(wrapped, suite, private, purpose.encode(), KeyId(name)))
    return keys


def _fields(value: object, keys: Keys, depth: int) -> Iterator[bytes]:
    if depth > DEPTH_MAX:
        return
    match value:
        case bytes():
            yield value
            yield from _taken_apart(value, keys, depth + 1)
        case str():
            yield from _fields(value.encode(errors="surrogatepass"), keys, depth)
        case int() | float():
            yield str(value).encode()
        case dict():
            yield from _fields([*value.keys(), *value.values()], keys, depth)
        case list() | tuple():
            for each in value:
                yield from _fields(each, keys, depth + 1)
        case msgspec.Struct():
            yield from _fields(msgspec.structs.astuple(value), keys, depth)


def _taken_apart(data: bytes, keys: Keys, depth: int) -> Iterator[bytes]:
    for begins, read in _FORMATS:
        if not data.startswith(begins):
            continue
        try:
            found = read(data, keys)
        except _UNREADABLE:
            continue
        yield from _fields(found, keys, depth)


def _segment_fields(wire: bytes, keys: Keys) -> list[object]:
    segment = parse_segment(wire)
    # Bodies stand here as they are, too: one that nobody sealed would be read so.
    fields: list[object] = [segment.header, segment.bodies]
    for place in range(len(segment.bodies)):
        for key in (None, *keys):
            try:
                content = segment.open(place, key)
            except SyncError:
                continue
            fields += [content, _body_cells(content, segment.header.log)]
    return fields


def _body_cells(content: bytes, log: LogName) -> list[object]:
    """Return the cells of a body, or of a snapshot's part; of neither, none."""
    readers: tuple[Callable[[], list[TableColumns]], ...] = (
        lambda: unpack_tables(content),
        lambda: unpack_part(log, content)[1],
    )
    for read in readers:
        try:
            tables = read()
        except SyncError:
            continue
        return [_cells(table) for table in tables]
    return []


def _cells(table: TableColumns) -> list[object]:
    found: list[object] = []
    for column in (table.row_numbers, *(each for _, each in table.columns)):
        try:
            found += decode_column(column, table.rows)
        except SyncError:
            found.append(column)
    return found


def _courier_fields(data: bytes, _: Keys) -> object:
    part = parse_part(data)
    return [part.manifest, part.segments]


def _msgpack_fields(data: bytes, _: Keys) -> object:
    try:
        return _cells(_batch_decoder.decode(data))  # rows that wait to be sealed
    except _UNREADABLE:
        return msgspec.msgpack.decode(data)


def _json_fields(data: bytes, _: Keys) -> object:
    try:
        return _json_decoder.decode(data)
    except msgspec.DecodeError:
        return _json_decoder.decode_lines(data)


def _inflated(data: bytes, _: Keys) -> object:
    return zlib.decompressobj(_ANY_FRAME).decompress(data, BODY_BYTES_MAX)


_FORMATS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[bytes, Keys], object]], ...] = (
    ((b"SNS1", b"SNH1"), _segment_fields),
    (b"SNC1", _courier_fields),
    (b"SNR1", lambda data, _: parse_roster(data).header),
    (b"SNV1", lambda data, _: read_header(data)),
    (b"\x28\xb5\x2f\xfd", lambda data, _: decompress(data)),
    ((b"\x1f\x8b", b"\x78"), _inflated),
    ((b"{", b"["), _json_fields),
    (tuple(bytes([first]) for first in (*range(0x80, 0xA0), *range(0xDC, 0xE0))), _msgpack_fields),
)
"""How bytes begin, and who reads them; of msgpack only what holds others."""
