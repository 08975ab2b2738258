"""Releases: the sealed groups that a school lets its hub read until further notice.

What counts is a table that no peer writes. The school's own ``confirmed_recipient`` row of the
hub publishes it, and takes a release back where a newer one says so: a box restored from an older
copy must not go on with a release that was ended since.
"""

import sqlite3
from collections.abc import Callable, Sequence

from sync.directory import Directory
from sync.errors import RecipientError
from sync.schema.model import Group
from sync.segments.sealing import recipient_id
from sync.segments.segment import HUB
from sync.tables.row_check import Row

SEALED_GROUPS = (Group.HEALTH, Group.IDENTITY)
_SEPARATOR = ", "
IN_PART = " in part"
"""Beside a group's name: some epochs of it were let out, and what follows them is not."""

Record = Callable[[sqlite3.Cursor, str, Sequence[Row]], None]
"""Records rows of one table within the cursor's transaction."""


class Releases:
    """The releases of node ``origin``."""

    def __init__(self, origin: int, directory: Directory, record: Record) -> None:
        self._origin = origin
        self._directory = directory
        self._record = record

    def standing(self, cursor: sqlite3.Cursor) -> set[Group]:
        """Return the groups that are released now."""
        rows = cursor.execute("SELECT key_group, decided_hlc FROM released_group").fetchall()
        if not rows:
            return set()
        published, hlc = self._published(cursor)
        return {Group(group) for group, decided in rows if hlc <= decided or group in published}

    def begin(self, cursor: sqlite3.Cursor, group: Group, who: str, now_ms: int) -> None:
        self._write(cursor, self.standing(cursor) | {group}, set(), who, now_ms)

    def note_part(self, cursor: sqlite3.Cursor, group: Group, who: str, now_ms: int) -> None:
        """Publish that single epochs of a group were let out."""
        standing = self.standing(cursor)
        if group not in standing:
            self._write(cursor, standing, {group}, who, now_ms)

    def end(self, cursor: sqlite3.Cursor, group: Group, who: str, now_ms: int) -> None:
        """End a release; raises RecipientError when there is none."""
        standing = self.standing(cursor)
        if group not in standing:
            raise RecipientError(
                f"{group} is not released until further notice; single epochs end by themselves"
            )
        self._write(cursor, standing - {group}, {group}, who, now_ms)

    def _write(
        self,
        cursor: sqlite3.Cursor,
        groups: set[Group],
        in_part: set[Group],
        who: str,
        now_ms: int,
    ) -> None:
        keys = self._directory.sealing_keys(HUB)
        if self._origin == HUB or not keys:
            raise RecipientError("a school releases to its hub, once it knows the hub's key")
        before, _ = self._published(cursor)
        parts = {f"{each}{IN_PART}" for each in in_part} | {
            each for each in before if each.endswith(IN_PART)
        }
        told = groups | {each for each in parts if each.removesuffix(IN_PART) not in groups}
        row: Row = {
            "recipient": recipient_id(keys[0]),
            "kind": "hub",
            "name": _SEPARATOR.join(sorted(told)),
            "public": keys[0].public_bytes_raw(),
            "at_ms": now_ms,
            "who": who,
            "revoked": int(not told),
        }
        self._record(cursor, "confirmed_recipient", [row])
        _, hlc = self._published(cursor)
        cursor.execute("DELETE FROM released_group")
        cursor.executemany(
            "INSERT INTO released_group VALUES (?, ?, ?, ?)",
            [(group, now_ms, who, hlc) for group in sorted(groups)],
        )

    def _published(self, cursor: sqlite3.Cursor) -> tuple[set[str], int]:
        """Return what the newest published row names, and its stamp."""
        found = cursor.execute(
            "SELECT name, hlc FROM confirmed_recipient WHERE school = ? AND kind = 'hub'"
            " AND deleted = 0 ORDER BY hlc DESC LIMIT 1",
            (self._origin,),
        ).fetchone()
        if found is None:
            return set(), 0
        return {each for each in (found[0] or "").split(_SEPARATOR) if each}, found[1]
