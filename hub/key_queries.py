"""Who may read a school's sealed data, as the school published it."""

import sqlite3
from dataclasses import dataclass
from typing import Final

READERS_MAX: Final = 200
_IN_PART = " in part"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReader:
    """Somebody whom a person at the school let read, or whose reading that person ended."""

    kind: str
    name: str
    who: str
    at_ms: int | None
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolKeys:
    """``released`` groups the hub reads until further notice, ``in_part`` it reads some epochs of.

    What the row of the hub itself says is not among ``readers``.
    """

    readers: tuple[KeyReader, ...] = ()
    released: tuple[str, ...] = ()
    in_part: tuple[str, ...] = ()


def read_keys(connection: sqlite3.Connection, school: int) -> SchoolKeys:
    rows = connection.execute(
        """SELECT coalesce(kind, '') AS kind, coalesce(name, '') AS name,
                  coalesce(who, '') AS who, at_ms, coalesce(revoked, 0) AS revoked
             FROM confirmed_recipient WHERE school = ? AND deleted = 0
            ORDER BY at_ms DESC LIMIT ?""",
        (school, READERS_MAX),
    ).fetchall()
    told = {each for row in rows if row["kind"] == "hub" for each in row["name"].split(", ")}
    told -= {""}
    return SchoolKeys(
        readers=tuple(
            KeyReader(
                kind=row["kind"],
                name=row["name"],
                who=row["who"],
                at_ms=row["at_ms"],
                revoked=bool(row["revoked"]),
            )
            for row in rows
            if row["kind"] != "hub"
        ),
        released=tuple(sorted(each for each in told if not each.endswith(_IN_PART))),
        in_part=tuple(
            sorted(each.removesuffix(_IN_PART) for each in told if each.endswith(_IN_PART))
        ),
    )
