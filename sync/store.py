"""The SQLite file of one node: its logs, their segments and cursors, and the folded tables.

WAL with ``synchronous=FULL``: what a transaction wrote is on disk before anything is sent or
acknowledged. One thread writes; pages read through connections of their own
(:func:`connect_readonly`).
"""

import sqlite3
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from sync.schema import TABLES
from sync.schema.model import Kind, Owner, Table

migrations = Migrations("sync")


@migrations()
def logs_and_segments(database: Database) -> None:
    """Create what sync itself keeps; the folded tables come from the schema."""
    for statement in (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        # stored: contiguous segments held; applied: contiguous segments folded.
        """CREATE TABLE log (
            id INTEGER PRIMARY KEY, origin INTEGER NOT NULL, incarnation INTEGER NOT NULL,
            audience TEXT NOT NULL, lane INTEGER NOT NULL,
            last_row INTEGER NOT NULL DEFAULT 0, sealed_row INTEGER NOT NULL DEFAULT 0,
            unsealed_since_ms INTEGER,
            stored INTEGER NOT NULL DEFAULT 0, applied INTEGER NOT NULL DEFAULT 0,
            head BLOB NOT NULL DEFAULT (zeroblob(32)), last_stamp INTEGER NOT NULL DEFAULT 0,
            stored_ms INTEGER, frozen TEXT,
            UNIQUE (origin, incarnation, audience, lane))""",
        "CREATE INDEX log_audience ON log (audience)",
        """CREATE TABLE segment (
            log INTEGER NOT NULL, seq INTEGER NOT NULL, wire BLOB NOT NULL,
            PRIMARY KEY (log, seq))""",
        # A body nobody could open yet; folded when its key is granted.
        """CREATE TABLE unopened (
            log INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL,
            origin INTEGER NOT NULL, key_id BLOB NOT NULL, granted INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (log, seq, body)) WITHOUT ROWID""",
        "CREATE INDEX unopened_key ON unopened (origin, key_id)",
        "CREATE INDEX unopened_granted ON unopened (log, seq, body) WHERE granted = 1",
        # What a peer says it holds of a log. claimed: the same, also where its head is another.
        """CREATE TABLE peer_cursor (
            peer INTEGER NOT NULL, log INTEGER NOT NULL, stored INTEGER NOT NULL,
            applied INTEGER NOT NULL, claimed INTEGER NOT NULL, told_ms INTEGER NOT NULL,
            PRIMARY KEY (peer, log)) WITHOUT ROWID""",
        # This node's unsealed writes to tables with two writers.
        """CREATE TABLE pending_write (
            log INTEGER NOT NULL, row INTEGER NOT NULL, table_number INTEGER NOT NULL,
            content BLOB NOT NULL, PRIMARY KEY (log, row)) WITHOUT ROWID""",
        # A body, or one table's rows of it (0: the whole body), that could not be applied, with a
        # reason a person can read. What it holds stays in its segment.
        """CREATE TABLE parked (
            log INTEGER NOT NULL, seq INTEGER NOT NULL, body INTEGER NOT NULL,
            table_number INTEGER NOT NULL, reason TEXT NOT NULL, rows INTEGER NOT NULL,
            parked_ms INTEGER NOT NULL,
            PRIMARY KEY (log, seq, body, table_number)) WITHOUT ROWID""",
        # Segments that were refused; only the latest of each peer are kept.
        """CREATE TABLE quarantine (
            peer INTEGER NOT NULL, log TEXT NOT NULL, seq INTEGER NOT NULL,
            reason TEXT NOT NULL, times INTEGER NOT NULL, refused_ms INTEGER NOT NULL,
            PRIMARY KEY (peer, log, seq)) WITHOUT ROWID""",
    ):
        database.execute(statement)


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
        "cache_size=-8000",
        "journal_size_limit=8388608",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    database = Database(connection, execute_plugins=False)
    migrations.apply(database)
    for table in TABLES:
        _create_or_widen(database, table)
    for column in ("key_id", "purpose"):  # how a key ring finds grants
        database.execute(f"CREATE INDEX IF NOT EXISTS key_grant_{column} ON key_grant ({column})")
    for name in ("lesson", "lesson_party"):  # their keys begin with a school; who asks knows none
        database.execute(f"CREATE INDEX IF NOT EXISTS {name}_lesson ON {name} (lesson)")
    return connection


def connect_readonly(path: Path) -> sqlite3.Connection:
    """Open a store for reading; rows answer by column name."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout=10000").close()
    return connection


def _create_or_widen(database: Database, table: Table) -> None:
    if not database[table.name].exists():
        for statement in _ddl(table):
            database.execute(statement)
        return
    known = {column.name for column in database[table.name].columns}
    for column in table.columns:
        if column.name not in known:
            database.table(table.name).add_column(column.name, column.type.value)


def _ddl(table: Table) -> list[str]:
    columns = [f"{column.name} {column.type}" for column in table.columns]
    position = ["log INTEGER NOT NULL", "row INTEGER NOT NULL"]
    if table.kind is Kind.EVENT:
        columns = ["school INTEGER NOT NULL", *position, *columns]
        columns.append("PRIMARY KEY (school, log, row)")
        statements = []
        if "at_ms" in table.column_names:
            statements.append(f"CREATE INDEX {table.name}_at ON {table.name} (school, at_ms)")
        if table.dedupe:
            statements.append(
                f"CREATE UNIQUE INDEX {table.name}_once ON {table.name} (school, {table.dedupe})"
                f" WHERE {table.dedupe} IS NOT NULL"
            )
    else:
        columns = ["school INTEGER NOT NULL", *columns, "hlc INTEGER NOT NULL"]
        columns += ["origin INTEGER NOT NULL", "deleted INTEGER NOT NULL DEFAULT 0", *position]
        if table.owner is Owner.BOTH:
            columns.append("clocks BLOB")
        columns.append(f"PRIMARY KEY ({', '.join(('school', *table.key))})")
        statements = [f"CREATE INDEX {table.name}_position ON {table.name} (log, row)"]
    # STRICT: what another school's rows claim to be is what they are, or they are refused.
    create = f"CREATE TABLE {table.name} ({', '.join(columns)}) STRICT, WITHOUT ROWID"
    return [create, *statements]
