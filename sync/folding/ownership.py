"""Which rows a log may bring: each table has its owner, its lane and its audience."""

from collections.abc import Mapping, Sequence

from sync.errors import MalformedError, OwnershipError, UnknownTableError
from sync.logs.oplog import event_school
from sync.schema import BY_NUMBER
from sync.schema.model import Audience, Group, Owner, Table
from sync.segments.body import TableColumns
from sync.segments.columnar import Value
from sync.segments.segment import HUB, Header, LogName

_SCHOOLS = range(2**32)
_REACHED_BY = {"d": Audience.DISTRICT, "s": Audience.SCHOOL, "l": Audience.LESSON}
_TRAVEL_ANYWHERE = frozenset({"key_grant", "clock_clamp", "clock_correction"})
"""Tables whose rows go with the log that they tell something of."""


def writable_table(header: Header, group: Group, columns: TableColumns) -> Table:
    """Return the table of some rows, if their log may write it in that group.

    Raises UnknownTableError, OwnershipError, or MalformedError for rows that the header does not
    state.
    """
    log = header.log
    table = BY_NUMBER.get(columns.table)
    if table is None:
        raise UnknownTableError(
            f"table {columns.table} is not known to this version; kept, and folded after an upgrade"
        )
    allowed = Owner.HUB if log.origin == HUB else Owner.SCHOOL
    if table.owner not in (allowed, Owner.BOTH):
        raise OwnershipError(f"{log} may not write {table.name}, which is the {table.owner}'s")
    reached = _REACHED_BY[log.audience[0]]
    if table.lane is not log.lane or (
        table.audience is not reached and table.name not in _TRAVEL_ANYWHERE
    ):
        raise OwnershipError(f"{table.name} does not travel in {log}")
    if not any(column.group is group for column in table.columns):
        raise OwnershipError(f"{table.name} has nothing in the group {group}")
    stated = [each for each in header.tables if each.table == columns.table]
    if not stated or columns.rows > stated[0].rows:
        raise MalformedError(
            f"{columns.rows} rows of {table.name}, which the header does not state"
        )
    return table


def check_schools(log: LogName, named: set[int]) -> None:
    """See that a log writes rows of its own school, or as the hub of those that it reaches.

    Raises OwnershipError, or MalformedError for a school that cannot be.
    """
    if log.origin != HUB and named != {log.origin}:
        raise OwnershipError(f"{log} writes rows of another school; parked, nothing was changed")
    if any(school not in _SCHOOLS for school in named):
        raise MalformedError(f"{log} writes rows of a school that cannot be")
    if log.audience.startswith("s") and named != {event_school(log)}:
        raise OwnershipError(f"{log} writes rows of a school that it does not reach")


def check_lesson(log: LogName, table: Table, cells: Mapping[int, Sequence[Value]]) -> None:
    """See that a lesson's rows stand in that lesson's log, where its parties get them.

    ``cells`` are columns by number. Raises OwnershipError.
    """
    if table.audience is not Audience.LESSON:
        return
    if set(cells.get(table.numbers["lesson"], (None,))) != {log.audience[1:]}:
        raise OwnershipError(f"{log} holds rows of {table.name} for another lesson")
