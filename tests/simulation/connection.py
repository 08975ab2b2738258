"""A store on a simulated disk: apsw in the manner of the standard library's sqlite3.

A node is given this in the place of a ``sqlite3.Connection``. Pragmas are read from a store that
:func:`sync.store.open_store` opened, so that durability here is what the product asks for; only
the locking is exclusive, for which a WAL needs no shared memory.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Self, cast

import apsw

from sync.history.verification import PART_ROWS_DDL
from sync.store import open_store
from tests.simulation.disk import Disk, PowerCutError

if not apsw.connections():
    # One thread uses this SQLite, which is not the standard library's: its locks and counters of
    # memory are a tenth of all it does.
    apsw.shutdown()
    apsw.config(apsw.SQLITE_CONFIG_SINGLETHREAD)
    apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)

Row = tuple[object, ...]
_STATEMENTS = 1000
"""How many a connection keeps parsed; a hundred, as shipped, are fewer than a node uses in turn."""
_PRAGMAS = ("synchronous", "secure_delete", "cache_size", "journal_size_limit", "foreign_keys")
_ERRORS: tuple[tuple[type[apsw.Error], type[sqlite3.Error]], ...] = (
    (apsw.ConstraintError, sqlite3.IntegrityError),
    (apsw.MismatchError, sqlite3.IntegrityError),
    (apsw.TooBigError, sqlite3.DataError),
    (apsw.CorruptError, sqlite3.DatabaseError),
    (apsw.NotADBError, sqlite3.DatabaseError),
    (apsw.MisuseError, sqlite3.ProgrammingError),
    (apsw.Error, sqlite3.OperationalError),
)


class Connection:
    """The part of ``sqlite3.Connection`` that a node uses."""

    def __init__(self, disk: Disk, name: str, checkpoint_pages: int) -> None:
        self._disk = disk
        try:
            self._inner = apsw.Connection(name, vfs=disk.vfs_name, statementcachesize=_STATEMENTS)
        except apsw.Error as error:
            raise _translated(error) from error
        try:
            self._set_up(checkpoint_pages)
        except BaseException:
            self.abandon()
            raise

    @property
    def in_transaction(self) -> bool:
        return not self._disk.is_off and self._inner.in_transaction

    @property
    def total_changes(self) -> int:
        return self._inner.total_changes()

    @property
    def as_sqlite3(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", self)

    def cursor(self) -> "Cursor":
        return Cursor(self._disk, self._inner)

    def execute(self, sql: str, values: Sequence[object] = ()) -> "Cursor":
        return self.cursor().execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> "Cursor":
        return self.cursor().executemany(sql, rows)

    def close(self) -> None:
        """Close as a program that ends in order does."""
        try:
            self._inner.close(force=True)
        except apsw.Error as error:
            raise _translated(error) from error

    def abandon(self) -> None:
        """Close as a program that is no more: nothing further reaches the disk."""
        was_off, self._disk.is_off = self._disk.is_off, True
        self._inner.close(force=True)
        self._disk.is_off = was_off

    def _set_up(self, checkpoint_pages: int) -> None:
        self.execute("PRAGMA locking_mode=EXCLUSIVE")
        for pragma, value in _product_pragmas():
            self.execute(f"PRAGMA {pragma}={value}")
        self.execute(PART_ROWS_DDL)  # now, while no statement is parsed yet
        ((mode,),) = self.execute("PRAGMA journal_mode=WAL")
        assert mode == "wal"
        self.execute(f"PRAGMA wal_autocheckpoint={checkpoint_pages}").fetchall()


class Cursor:
    """The part of ``sqlite3.Cursor`` that a node uses."""

    def __init__(self, disk: Disk, inner: apsw.Connection) -> None:
        self._disk = disk
        self._connection = inner
        self._inner = inner.cursor()
        self._changes_before = 0

    def execute(self, sql: str, values: Sequence[object] = ()) -> Self:
        self._begin()
        try:
            self._inner.execute(sql, cast("tuple[apsw.SQLiteValue, ...]", values))
        except apsw.Error as error:
            raise _translated(error) from error
        return self

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> Self:
        self._begin()
        try:
            self._inner.executemany(sql, cast("Iterable[tuple[apsw.SQLiteValue, ...]]", rows))
        except apsw.Error as error:
            raise _translated(error) from error
        return self

    @property
    def as_sqlite3(self) -> sqlite3.Cursor:
        return cast("sqlite3.Cursor", self)

    def fetchone(self) -> Row | None:
        return next(self, None)

    def fetchall(self) -> list[Row]:
        try:
            return cast("list[Row]", self._inner.fetchall())
        except apsw.Error as error:
            raise _translated(error) from error

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        try:
            return cast("Row", next(self._inner))
        except apsw.Error as error:
            raise _translated(error) from error

    @property
    def rowcount(self) -> int:
        return self._connection.total_changes() - self._changes_before

    @property
    def lastrowid(self) -> int:
        return self._connection.last_insert_rowid()

    def close(self) -> None:
        self._inner.close(force=True)

    def _begin(self) -> None:
        if self._disk.is_off:
            raise PowerCutError
        self._changes_before = self._connection.total_changes()


@cache
def _product_pragmas() -> tuple[tuple[str, int], ...]:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(Path(folder) / "product.db")) as store,
    ):
        return tuple(
            (pragma, store.execute(f"PRAGMA {pragma}").fetchone()[0]) for pragma in _PRAGMAS
        )


def _translated(error: apsw.Error) -> sqlite3.Error:
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error))
    raise AssertionError(f"{error!r} is of no family of apsw's")
