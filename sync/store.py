"""The SQLite file of one node: its logs, their segments and cursors, and the folded tables.

WAL with ``synchronous=FULL``: what a transaction wrote is on disk before anything is sent or
acknowledged. One thread writes; pages read through connections of their own
(:func:`connect_readonly`).
"""

import sqlite3
import zlib
from pathlib import Path

from sync.migrations import STEPS
from sync.schema import TABLES
from sync.tables.definition import create_or_widen, ddl

CACHE_KB = 2000
"""A writer works at the end of its logs; more cache made nothing faster (1,000,000 taps)."""


def open_store(path: Path) -> sqlite3.Connection:
    """Open or create a node's store and bring it to this version's schema.

    The connection is in autocommit; writers open transactions with ``BEGIN IMMEDIATE``. It may be
    used from one thread at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "busy_timeout=10000",
        f"cache_size=-{CACHE_KB}",
        "journal_size_limit=8388608",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    present = _version()
    if connection.execute("PRAGMA user_version").fetchone() != (present,):
        _bring_up(connection)
        connection.execute(f"PRAGMA user_version={present}")
    return connection


def connect_readonly(path: Path) -> sqlite3.Connection:
    """Open a store for reading; rows answer by column name."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout=10000").close()
    return connection


def _version() -> int:
    """Return what tells this version's store from others': of its steps and of its tables."""
    told = [
        *(step.__name__ for step in STEPS),
        *(line for table in TABLES for line in ddl(table)),
    ]
    return zlib.crc32("\n".join(told).encode()) & 0x7FFF_FFFF


def _bring_up(connection: sqlite3.Connection) -> None:
    """Bring a store to this version's schema."""
    # Only a store of another version needs these 20 MB, which a daemon would keep for good.
    from sqlite_utils import Database  # noqa: PLC0415 - see above
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415 - see above

    database = Database(connection, execute_plugins=False)
    ordered = Migrations("sync")
    for step in STEPS:
        ordered()(step)
    ordered.apply(database)
    for table in TABLES:
        create_or_widen(database, table)
    for column in ("key_id", "purpose"):  # how a key ring finds grants
        database.execute(f"CREATE INDEX IF NOT EXISTS key_grant_{column} ON key_grant ({column})")
    database.execute("CREATE INDEX IF NOT EXISTS clock_clamp_log ON clock_clamp (clamped_log)")
    # What an earlier version could not apply is tried again by this one.
    database.execute("UPDATE parked SET due = 1 WHERE retriable = 1")
    for name in ("lesson", "lesson_party"):  # their keys begin with a school; who asks knows none
        database.execute(f"CREATE INDEX IF NOT EXISTS {name}_lesson ON {name} (lesson)")
