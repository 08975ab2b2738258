"""Folding again what was folded before something was known of it: a clamp of its stamps.

A clamp that comes after its segment was folded lowers the stamps of rows that stand, and lets
writes stand that lost against them. Both follow from the segments that are stored, so that the
rows end as if the clamp had come first.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sync.errors import MalformedError, SyncError
from sync.folding.clamps import Clamps, read_clamps
from sync.folding.correction import apply_new
from sync.folding.fold import fold_body
from sync.folding.told import Told, read_told
from sync.keys.keyring import Keyring
from sync.keys.recipients import follow_stamps
from sync.logs.log_state import LogState, find_log, read_logs
from sync.logs.oplog import HLC_FIELD, SCHOOL_FIELD, event_school
from sync.logs.stored_segments import read_segment
from sync.schema import BY_NAME, BY_NUMBER
from sync.schema.model import GROUPS, Group, Kind, Lane, Owner, Table
from sync.segments.body import TableColumns, unpack_tables
from sync.segments.columnar import Value, decode_column
from sync.segments.segment import HUB, Header, LogName, Segment, check_log_name
from sync.tables.merge import TOMBSTONE, pack_clocks
from sync.tables.merged_rows import read_version

CLOCK_TABLES = frozenset({"clock_clamp", "clock_correction"})
"""Tables whose rows tell how rows of other logs are to be read."""
DECISIONS = BY_NAME["confirmed_recipient"].number
"""What a store decided of recipients goes by the stamps of these rows."""


@dataclass(slots=True)
class News:
    """Clamps that one message brought: log text -> rows (log, row) of ``clock_clamp``."""

    clamps: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def note(self, cursor: sqlite3.Cursor, log_id: int, header: Header) -> None:
        """Take note of a segment's clamps, and apply its corrections."""
        apply_new(cursor, log_id, header)
        said = cursor.execute(
            "SELECT row, clamped_log FROM clock_clamp"
            " WHERE school = ? AND log = ? AND row BETWEEN ? AND ? AND clamped_log IS NOT NULL",
            (event_school(header.log), log_id, header.first_row, header.last_row),
        )
        for row, clamped in said:
            self.clamps.setdefault(clamped, set()).add((log_id, row))


FoldParts = Callable[[int, str], None]
"""Folds the states of two writers in an origin's snapshot of an audience again."""


class Refold:
    """Folds stored segments again, inside the caller's transaction.

    ``fold_parts`` does it for what a checkpoint left without bodies.
    """

    def __init__(self, cursor: sqlite3.Cursor, keyring: Keyring, fold_parts: FoldParts) -> None:
        self._cursor = cursor
        self._keyring = keyring
        self._fold_parts = fold_parts

    def heed(self, news: News) -> set[str]:
        """Let rows that stand follow clamps that came after them; return the tables concerned."""
        tables: set[str] = set()
        for text, rows in sorted(news.clamps.items()):
            name = parse_name(text)
            log = find_log(self._cursor, name) if name else None
            if log is not None and log.applied:
                before = read_clamps(self._cursor, log.id, log.name, frozenset(rows))
                after = read_clamps(self._cursor, log.id, log.name)
                if after is not None:
                    tables |= self._follow(log, before or Clamps({}, ()), after)
        return tables

    def let_rivals_win(self, log: LogState, low: int, high: int) -> None:
        """Let the other writer's writes stand that lost to rows of ``log`` brought down to ``low``.

        ``low`` and ``high`` are the lowest new and the highest former stamp of these rows.
        """
        for rival in self._rivals(log, has_rivals=True):
            if rival.name.origin != log.name.origin:
                self._fold_between(rival, low, high)

    def _follow(self, log: LogState, before: Clamps, after: Clamps) -> set[str]:
        """Restamp what stands of a log's segments, then let what lost against it have its turn."""
        changed = [seq for seq, top in after.tops.items() if before.tops.get(seq) != top]
        tables: set[str] = set()
        spans: list[tuple[int, int]] = []
        moved: set[int] = set()
        has_rivals = False
        for changed_segment in self._segments(log, min(changed, default=log.applied + 1)):
            header = changed_segment.header
            floor = max(before.floor(header.seq), after.floor(header.seq))
            if header.seq > max(changed) and header.first_stamp > floor:
                continue  # not the last: what waited for long may come behind it
            for table, columns in self._states(changed_segment):
                span = self._restamp(log, header, table, columns, before, after)
                if span is not None:
                    spans.append(span)
                    moved.add(header.seq)
                    tables.add(table.name)
                    has_rivals |= table.owner is Owner.BOTH
        told = read_told(self._cursor, log.id, log.name)
        for seq in sorted(moved):
            # Rows whose stamps rose, behind a clamp that came late, may win now.
            segment = read_segment(self._cursor, log.id, seq)
            assert segment is not None
            self._fold_states(log, segment, told)
        if spans:
            low, high = min(low for low, _ in spans), max(high for _, high in spans)
            for rival in self._rivals(log, has_rivals=has_rivals):
                self._fold_between(rival, low, high)
        return tables

    def _restamp(
        self,
        log: LogState,
        header: Header,
        table: Table,
        columns: TableColumns,
        before: Clamps,
        after: Clamps,
    ) -> tuple[int, int] | None:
        """Give one table's rows of one segment the stamps that count now.

        Return the span from the lowest new to the highest former one, None when nothing changed.
        """
        cells = dict(columns.columns)
        try:
            rows = _integers(decode_column(columns.row_numbers, columns.rows))
            stamps = _integers(decode_column(cells[HLC_FIELD], columns.rows))
            schools = decode_column(cells[SCHOOL_FIELD], columns.rows)
            keys = [
                decode_column(cells[column.number], columns.rows)
                for column in table.columns
                if column.name in table.key
            ]
        except (MalformedError, KeyError):
            return None  # such rows were parked: none of them stands
        former, present = before.stamps(header, stamps), after.stamps(header, stamps)
        moved = {old: new for old, new in zip(former, present, strict=True) if old != new}
        if not moved:
            return None
        if table.number == DECISIONS:
            follow_stamps(self._cursor, moved)
        if table.owner is Owner.BOTH:
            for key in {*zip(schools, *keys, strict=True)}:
                reclock(self._cursor, table, key, log.name.origin, moved)
        else:
            where = " AND ".join(f"{name} = ?" for name in ("school", *table.key))
            self._cursor.executemany(
                f"UPDATE {table.name} SET hlc = ?"  # noqa: S608 - names are the schema's
                f" WHERE {where} AND log = ? AND row = ? AND hlc = ?",
                [
                    (new, *key, log.id, row, old)
                    for key, row, old, new in zip(
                        zip(schools, *keys, strict=True), rows, former, present, strict=True
                    )
                    if old != new
                ],
            )
        return min(moved.values()), max(moved)

    def _rivals(self, log: LogState, *, has_rivals: bool) -> list[LogState]:
        """Return the logs whose writes meet those of ``log``, itself among them."""
        name = log.name
        origins = (name.origin, HUB if has_rivals else name.origin)
        return read_logs(
            self._cursor,
            "WHERE audience = ? AND lane = ? AND origin IN (?, ?) AND applied > 0",
            name.audience,
            name.lane,
            *origins,
        )

    def _fold_between(self, log: LogState, low: int, high: int) -> None:
        """Fold the states of a log's segments again that may have stamps between these."""
        told = read_told(self._cursor, log.id, log.name)
        in_parts = False
        for seq in range(log.applied, 0, -1):
            segment = read_segment(self._cursor, log.id, seq)
            if segment is None:
                continue
            header, clamps = segment.header, told.clamps if told else None
            first = clamps.first_stamp(header) if clamps else header.first_stamp
            last = clamps.last_stamp(header) if clamps else header.last_stamp
            # At one stamp the origin decides, or the row: bounds are among what may win now.
            if last < low:
                break
            if first <= high:
                in_parts |= segment.is_hollow
                self._fold_states(log, segment, told)
        if in_parts:
            self._fold_parts(log.name.origin, log.name.audience)

    def _fold_states(self, log: LogState, segment: Segment, told: Told | None) -> None:
        for group, tables in self._bodies(segment):
            states = [each for each in tables if _is_state(each.table)]
            if states:
                fold_body(self._cursor, log.id, segment.header, group, states, told)

    def _states(self, segment: Segment) -> Iterator[tuple[Table, TableColumns]]:
        """Yield what a segment holds of states with their stamps."""
        for group, tables in self._bodies(segment):
            for columns in tables:
                if _is_state(columns.table) and BY_NUMBER[columns.table].primary_group is group:
                    yield BY_NUMBER[columns.table], columns

    def _bodies(self, segment: Segment) -> Iterator[tuple[Group, list[TableColumns]]]:
        """Yield the bodies that open and parse; the others stand nowhere."""
        # A segment whose bodies went with a checkpoint has none.
        for place, body in enumerate(segment.header.bodies[: len(segment.bodies)]):
            group = GROUPS[body.group]
            if group is Group.GRANT:
                continue
            key = self._keyring.key_of(self._cursor, segment.header, place)
            if key is None:
                continue
            try:
                tables = unpack_tables(segment.open(place, key))
            except SyncError:
                continue
            yield group, tables

    def _segments(self, log: LogState, first: int) -> Iterator[Segment]:
        for seq in range(first, log.applied + 1):
            segment = read_segment(self._cursor, log.id, seq)
            if segment is not None:
                yield segment


def reclock(
    cursor: sqlite3.Cursor, table: Table, key: Sequence[Value], origin: int, moved: dict[int, int]
) -> None:
    """Replace stamps of one writer in a row of a table with two; ``moved`` maps old to new."""
    version = read_version(cursor, table, key)
    if version is None:
        return
    clocks = {}
    for column in (*version.values, TOMBSTONE):
        hlc, writer = version.clock_of(column)
        clocks[column] = (moved.get(hlc, hlc) if writer == origin else hlc, writer)
    newest = max(clocks.values())
    overrides = {column: clock for column, clock in clocks.items() if clock != newest}
    where = " AND ".join(f"{name} = ?" for name in ("school", *table.key))
    cursor.execute(
        f"UPDATE {table.name} SET hlc = ?, origin = ?, clocks = ? WHERE {where}",  # noqa: S608 - names are the schema's
        (*newest, pack_clocks(table, overrides), *key),
    )


def _is_state(number: int) -> bool:
    return number in BY_NUMBER and BY_NUMBER[number].kind is Kind.STATE


def _integers(values: Sequence[Value]) -> list[int]:
    if not all(isinstance(value, int) for value in values):
        raise MalformedError("a row without its number or stamp")
    return [value for value in values if isinstance(value, int)]


def parse_name(text: str) -> LogName | None:
    """Return the log that ``str(LogName)`` made this of; None of whatever else a clamp names."""
    parts = text.split("/")
    lanes = {lane.name.lower(): lane for lane in Lane}
    try:
        origin, incarnation, audience, lane = parts
        name = LogName(int(origin), int(incarnation, 16), audience, lanes[lane])
        check_log_name(name)
    except (ValueError, KeyError, MalformedError):
        return None
    return name if str(name) == text else None
