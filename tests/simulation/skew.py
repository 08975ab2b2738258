"""Versions: a machine whose program knows fewer tables and columns than the others'."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

from sync.schema import BY_NAME, BY_NUMBER, TABLES
from sync.schema.model import Table
from sync.store import open_store

UNKNOWN_TABLES = frozenset({"duty", "person"})
UNKNOWN_COLUMNS = {
    "audit_entry": frozenset({"action"}),
    "card_tap": frozenset({"card"}),
    "farm_action": frozenset({"command"}),
    "notice": frozenset({"title_en"}),
    "timetable_slot": frozenset({"subject"}),
}


def knows(table: str, column: str) -> bool:
    """Tell whether the older version has heard of a column."""
    return table not in UNKNOWN_TABLES and column not in UNKNOWN_COLUMNS.get(table, ())


@contextmanager
def older_version() -> Iterator[None]:
    """Let this process be of the older version for a while."""
    present = dict(BY_NAME)
    older = _older_tables()
    _become(older, tuple(older.values()))
    try:
        yield
    finally:
        _become(present, TABLES)


@cache
def older_store() -> bytes:
    """Return an empty store of the older version."""
    with older_version():
        return _opened(b"")


def upgraded(store: bytes) -> bytes:
    """Return a store as the present version makes it of an older one."""
    return _opened(store)


def _opened(store: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        if store:
            path.write_bytes(store)
        open_store(path).close()
        return path.read_bytes()


@cache
def _older_tables() -> dict[str, Table]:
    return {
        table.name: replace(
            table,
            columns=tuple(column for column in table.columns if knows(table.name, column.name)),
        )
        for table in TABLES
        if table.name not in UNKNOWN_TABLES
    }


@cache
def _holders() -> list[object]:
    """Return the modules that name all tables."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("sync.") and getattr(module, "TABLES", None) is TABLES
    ]


class _Cached(Protocol):
    def cache_clear(self) -> None: ...


@cache
def _derived() -> list[_Cached]:
    """Return what sync derives from the tables and keeps."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("sync.")]
    found = {id(each): each for module in modules for each in vars(module).values()}
    return [each for each in found.values() if hasattr(each, "cache_clear")]


def _become(tables: dict[str, Table], in_order: tuple[Table, ...]) -> None:
    holders = _holders()
    BY_NAME.clear()
    BY_NAME.update(tables)
    BY_NUMBER.clear()
    BY_NUMBER.update({table.number: table for table in tables.values()})
    for module in holders:
        module.TABLES = in_order  # type: ignore[attr-defined]  # those that have it
    for derived in _derived():
        derived.cache_clear()
