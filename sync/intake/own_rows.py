"""Rows of a former log that wait here, when a peer gives back the segment of their numbers.

A store that was copied, or went back in time, may have written other rows under these numbers than
the store that the peer heard. Rows that both hold alike are the same rows and stay; the others make
room. Events wait on behind the segment, since they may be in another of this school's logs, or in a
snapshot, that has yet to come (:func:`sync.logs.incarnation.reissue_settled`); states, of which one
too many does no harm, are reissued.

In a control log the store that the peer heard may have given its rows other numbers before it
sealed them (:mod:`sync.logs.grant_order`). There rows are the same that hold the same, and those
that have not come yet wait on, behind the segment.
"""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from sync.errors import SyncError
from sync.folding.correction import MOMENT
from sync.folding.told import Told, read_told
from sync.keys.keyring import Keyring
from sync.logs.incarnation import move_row, reissue
from sync.logs.log_state import LogState
from sync.logs.pending_writes import HLC_FIELD
from sync.logs.unsealed import read_waiting_rows
from sync.logs.waiting_batches import Waiting
from sync.schema import BY_NUMBER, TABLES
from sync.schema.model import GROUPS, Group, Kind, Lane
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.columnar import Value, decode_column, decode_rising
from sync.segments.segment import Header, Segment

_Rows = dict[tuple[int, int], dict[int, Value]]
"""Cells that hold something, by table and row, and by column."""


def make_room(
    cursor: sqlite3.Cursor,
    keyring: Keyring,
    log: LogState,
    segment: Segment,
    incarnation: int,
    now_ms: int,
) -> bool:
    """Let what waits in a former log leave the numbers of a segment that holds other rows.

    Return whether there was anything to compare.
    """
    header = segment.header
    is_control = header.log.lane is Lane.CONTROL
    waiting = [
        part
        for table in TABLES
        if table.lane is log.name.lane
        for part in read_waiting_rows(
            cursor, log, table, log.last_row if is_control else header.last_row
        )
    ]
    if not waiting:
        return False
    told = read_told(cursor, log.id, log.name)
    here, came = _cells_of(waiting), _rows_of(cursor, keyring, segment, told)
    if is_control:
        _follow_numbers(cursor, log, header, here, came)
        return True
    kept = {row for (table, row), cells in here.items() if came.get((table, row)) == cells}
    others = [place for place in sorted(here) if place[1] not in kept]
    log = _wait_behind(cursor, log, header.last_row, others)
    reissue(cursor, log, incarnation, now_ms, kept=kept, last_row=header.last_row)
    return True


def _wait_behind(
    cursor: sqlite3.Cursor, log: LogState, last_row: int, places: Sequence[tuple[int, int]]
) -> LogState:
    """Let the events among rows, by table and number, wait on behind ``last_row``."""
    end = max(log.last_row, last_row)
    for table, row in places:
        if BY_NUMBER[table].kind is Kind.EVENT:
            end += 1
            move_row(cursor, BY_NUMBER[table], log, row, (log.id, end))
    cursor.execute("UPDATE log SET last_row = max(last_row, ?) WHERE id = ?", (end, log.id))
    return msgspec.structs.replace(log, last_row=end)


def _follow_numbers(
    cursor: sqlite3.Cursor, log: LogState, header: Header, here: _Rows, came: _Rows
) -> None:
    """Give what waits in a control log the numbers under which it came, or others behind these."""
    places: dict[tuple[object, ...], list[int]] = {}
    for (table, row), cells in sorted(came.items(), reverse=True):
        places.setdefault((table, *sorted(cells.items())), []).append(row)
    moves: list[tuple[int, int, int]] = []
    behind = max(log.last_row, header.last_row)
    for (table, row), cells in sorted(here.items()):
        found = places.get((table, *sorted(cells.items())))
        if found:
            moves.append((found.pop(), table, row))
        elif row <= header.last_row:
            behind += 1
            moves.append((behind, table, row))
    # All leave their numbers before any takes another's.
    for between, (_, table, row) in enumerate(moves, start=behind + 1):
        move_row(cursor, BY_NUMBER[table], log, row, (log.id, between))
    for between, (place, table, _) in enumerate(moves, start=behind + 1):
        move_row(cursor, BY_NUMBER[table], log, between, (log.id, place))
    cursor.execute("UPDATE log SET last_row = ? WHERE id = ?", (behind, log.id))


def _cells_of(parts: list[Waiting]) -> _Rows:
    rows: _Rows = {}
    for part in parts:
        _note(rows, part.table.number, part.rows, part.columns)
    return rows


def _rows_of(
    cursor: sqlite3.Cursor, keyring: Keyring, segment: Segment, told: Told | None
) -> _Rows:
    """Return a segment's rows with the clocks that count; none if not all of it can be read."""
    rows: _Rows = {}
    if segment.is_hollow:
        return rows
    try:
        for place, body in enumerate(segment.header.bodies):
            key = None
            if GROUPS[body.group] is not Group.GRANT:
                key = keyring.key_of(cursor, segment.header, place)
                if key is None:
                    return {}
            for columns in unpack_tables(segment.open(place, key)):
                _note_columns(segment.header, told, rows, columns)
    except SyncError:
        return {}  # the fold parks it
    return rows


def _note_columns(header: Header, told: Told | None, rows: _Rows, columns: TableColumns) -> None:
    numbers = decode_rising(columns.row_numbers, columns.rows)
    decoded = {number: decode_column(cells, columns.rows) for number, cells in columns.columns}
    table = BY_NUMBER.get(columns.table)
    moment = table.numbers.get(MOMENT) if table and table.kind is Kind.EVENT else None
    if told is not None and moment in decoded:
        decoded[moment] = told.moments(numbers, decoded[moment])
    if told is not None and HLC_FIELD in decoded:
        # One that waits under its own stamp would win here against itself as it counts elsewhere.
        stamps = [each for each in decoded[HLC_FIELD] if isinstance(each, int)]
        if len(stamps) == columns.rows:
            decoded[HLC_FIELD] = [*told.stamps(header, stamps)]
    _note(rows, columns.table, numbers, decoded)


def _note(
    rows: _Rows, table: int, numbers: Sequence[int], columns: Mapping[int, Sequence[Value]]
) -> None:
    for place, row in enumerate(numbers):
        cells = rows.setdefault((table, row), {})
        for number, values in columns.items():
            if values[place] is not None:
                cells[number] = values[place]
