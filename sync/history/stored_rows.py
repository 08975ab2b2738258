"""Rows read back from stored segments, of ordinary logs and of snapshots alike."""

import sqlite3
from dataclasses import dataclass

import msgspec

from sync.errors import MalformedError
from sync.folding.told import Told, read_told
from sync.history.checkpoint import Checkpoint, parse_digests
from sync.history.snapshot_part import StoredRow, add_rows, unpack_part
from sync.keys.keyring import Keyring
from sync.logs.pending_writes import HLC_FIELD
from sync.logs.stored_segments import read_segment
from sync.schema import BY_NUMBER
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.columnar import decode_column, encode_column
from sync.segments.segment import Header, LogName, Segment


@dataclass(frozen=True, slots=True)
class Opened:
    """What could be opened of one segment: the log its rows stand in, and the rows.

    The stamps are those that count, where the hub clamped them; moments are as they were sealed.
    """

    log: LogName
    rows: list[StoredRow]
    groups: frozenset[Group]


class StoredRows:
    """Reads within one transaction's cursor."""

    def __init__(self, cursor: sqlite3.Cursor, keyring: Keyring) -> None:
        self._cursor = cursor
        self._keyring = keyring
        self._told: dict[int, Told | None] = {}

    def segment(self, log_id: int, seq: int) -> Segment | None:
        return read_segment(self._cursor, log_id, seq)

    def open(self, log_id: int, segment: Segment) -> Opened:
        """Return the rows of a segment that has its bodies; raises SyncError for a damaged one."""
        header = segment.header
        rows: dict[tuple[int, int], StoredRow] = {}
        groups = set()
        log = header.log
        for place, body in enumerate(header.bodies):
            group = GROUPS[body.group]
            content = self._content(segment, place, group)
            if content is None:
                continue
            if header.log.lane is Lane.SNAPSHOT:
                source, tables = unpack_part(header.log, content)
                log = source.log
            else:
                tables = self._counting(log_id, header, unpack_tables(content))
            add_rows(rows, group, tables)
            groups.add(group)
        return Opened(log, list(rows.values()), frozenset(groups))

    def contents(self, segment: Segment) -> dict[Group, bytes]:
        """Return the bodies in clear of a segment's groups that this node can open."""
        opened = {}
        for place, body in enumerate(segment.header.bodies):
            content = self._content(segment, place, GROUPS[body.group])
            if content is not None:
                opened[GROUPS[body.group]] = content
        return opened

    def parked(self, log_id: int, seq: int) -> bool:
        """Tell whether something of a segment waits to be applied, or never can be."""
        found = self._cursor.execute(
            "SELECT 1 FROM parked WHERE log = ? AND seq = ? LIMIT 1", (log_id, seq)
        )
        return found.fetchone() is not None

    def _content(self, segment: Segment, place: int, group: Group) -> bytes | None:
        key = None
        if group is not Group.GRANT:
            key = self._keyring.key_of(self._cursor, segment.header, place)
            if key is None:
                return None
        return segment.open(place, key)

    def _counting(
        self, log_id: int, header: Header, tables: list[TableColumns]
    ) -> list[TableColumns]:
        """Return tables with the stamps that count since the hub clamped this log."""
        if log_id not in self._told:
            self._told[log_id] = read_told(self._cursor, log_id, header.log)
        told = self._told[log_id]
        if told is None:
            return tables
        return [_restamped(header, told, table) for table in tables]


def stated_sums(rows: StoredRows, checkpoint: Checkpoint) -> dict[tuple[int, Group], bytes]:
    """Return the digests that a checkpoint states, of the groups that this node can open.

    Raises MalformedError.
    """
    sums = {
        (table, BY_NUMBER[table].primary_group if _is_unsealed(table) else Group.DISTRICT): digest
        for table, digest in checkpoint.record.digests
    }
    segment = rows.segment(checkpoint.snapshot.id, checkpoint.seq)
    assert segment is not None
    for group, content in rows.contents(segment).items():
        if group is not Group.DISTRICT:
            sums |= {(table, group): digest for table, digest in parse_digests(content).items()}
    return sums


def _is_unsealed(table: int) -> bool:
    return table in BY_NUMBER and BY_NUMBER[table].primary_group is Group.GRANT


def _restamped(header: Header, told: Told, table: TableColumns) -> TableColumns:
    columns = dict(table.columns)
    if HLC_FIELD not in columns:
        return table
    stamps = [
        value for value in decode_column(columns[HLC_FIELD], table.rows) if isinstance(value, int)
    ]
    if len(stamps) != table.rows:
        raise MalformedError("a state without its stamp")
    columns[HLC_FIELD] = encode_column(told.stamps(header, stamps))
    return msgspec.structs.replace(table, columns=sorted(columns.items(), key=lambda each: each[0]))
