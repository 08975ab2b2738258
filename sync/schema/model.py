"""What a table declares: lane, kind, owner, audience; and beside each column its group and merge.

The numbers of tables and columns are the wire's names: additive, never reused.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property


class Lane(IntEnum):
    """Which queue a row travels in; lanes are served weighted by bytes so that none starves."""

    ALARM = 0  # sealed at once
    CONTROL = 1  # keys, policy, commands
    ATTENDANCE = 2
    LESSONS = 3
    TELEMETRY = 4
    BULK = 5
    SNAPSHOT = 6  # what checkpoints keep of the other lanes' logs; no table's rows


class Kind(StrEnum):
    """How rows of a table come about."""

    EVENT = "event"  # an add-only set, identified by log position
    STATE = "state"  # the latest version of each key


class Owner(StrEnum):
    """Who may write a table's rows."""

    SCHOOL = "school"
    HUB = "hub"
    BOTH = "both"  # the few tables with two writers, merged column by column


class Audience(StrEnum):
    """Who receives a table's rows."""

    SCHOOL = "school"  # one school and the hub
    LESSON = "lesson"  # the parties of one lesson and the hub
    DISTRICT = "district"  # every school and the hub


class Group(StrEnum):
    """The unit of release: one data key per (audience, group, epoch)."""

    DISTRICT = "district"  # the hub may read
    HEALTH = "health"  # sealed to the school
    IDENTITY = "identity"  # sealed to the school
    GRANT = "grant"  # already sealed to its recipient by HPKE; only key_grant


GROUPS = (Group.DISTRICT, Group.HEALTH, Group.IDENTITY, Group.GRANT)


class Merge(StrEnum):
    """How two versions of a column become one."""

    ADD = "add"  # a column of an event: written once, never changed
    ROW = "row"  # one writer: the whole row with the greater (hlc, origin)
    LAST_WRITER = "last_writer"  # two writers: each column on its own by (hlc, origin)
    KEY = "key"  # part of the row's identity


class Type(StrEnum):
    """What a column holds, on the wire and in SQLite."""

    INTEGER = "INTEGER"
    REAL = "REAL"
    TEXT = "TEXT"
    BLOB = "BLOB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    number: int
    name: str
    type: Type
    group: Group
    merge: Merge


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is kept
class Table:
    """One replicated table.

    Every row also carries ``school`` (whose row it is: the origin for a school's rows, the school
    meant for the hub's), its log position and, for states, ``hlc``, ``origin`` and ``deleted``.
    ``dedupe`` names a column by which a device's own repetition is recognised; of rows that agree
    in it (and it is not null) only one stays.
    """

    number: int
    name: str
    lane: Lane
    kind: Kind
    owner: Owner
    audience: Audience
    columns: tuple[Column, ...]
    dedupe: str | None = None
    version: int = 1

    @cached_property
    def key(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.merge is Merge.KEY)

    @cached_property
    def primary_group(self) -> Group:
        """The group whose body creates the row; other groups' bodies fill their columns."""
        return self.columns[0].group

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {column.name: column.number for column in self.columns}

    @cached_property
    def is_by_time(self) -> bool:
        """Whether a store keeps its rows by school and moment, as pages ask for them.

        Rows of the control lane are few, and are found by log and row.
        """
        is_event = self.kind is Kind.EVENT and self.lane is not Lane.CONTROL
        return is_event and "at_ms" in self.column_names

    def holds_text(self, number: int) -> bool:
        """Return whether a column's cells are texts or bytes."""
        return number in self._text_numbers

    @cached_property
    def _text_numbers(self) -> frozenset[int]:
        long = {Type.TEXT, Type.BLOB}
        return frozenset(column.number for column in self.columns if column.type in long)

    @cached_property
    def types(self) -> dict[str, Type]:
        return {column.name: column.type for column in self.columns}


def events(
    number: int,
    name: str,
    lane: Lane,
    audience: Audience,
    columns: str,
    *,
    owner: Owner = Owner.SCHOOL,
    dedupe: str | None = None,
) -> Table:
    """Declare an add-only table; ``columns`` as in :func:`parse_columns`."""
    return Table(
        number=number,
        name=name,
        lane=lane,
        kind=Kind.EVENT,
        owner=owner,
        audience=audience,
        columns=parse_columns(columns, default=Merge.ADD),
        dedupe=dedupe,
    )


def states(
    number: int, name: str, lane: Lane, audience: Audience, owner: Owner, columns: str
) -> Table:
    """Declare a table of latest versions; ``columns`` as in :func:`parse_columns`."""
    return Table(
        number=number,
        name=name,
        lane=lane,
        kind=Kind.STATE,
        owner=owner,
        audience=audience,
        columns=parse_columns(
            columns, default=Merge.LAST_WRITER if owner is Owner.BOTH else Merge.ROW
        ),
    )


def parse_columns(text: str, default: Merge) -> tuple[Column, ...]:
    """Read a table's columns, one a line: ``name TYPE group [merge]``, numbered from 1.

    A line's place is its number on the wire: append only.
    """
    columns = []
    for number, line in enumerate(text.strip().splitlines(), start=1):
        name, type_name, group, *merge = line.split()
        columns.append(
            Column(
                number=number,
                name=name,
                type=Type(type_name),
                group=Group(group),
                merge=Merge(merge[0]) if merge else default,
            )
        )
    return tuple(columns)
