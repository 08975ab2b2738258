"""The SQLite file of one node: its logs, their segments and cursors, and the folded tables.

WAL with ``synchronous=FULL``: what a transaction wrote is on disk before anything is sent or
acknowledged. One thread writes; pages read through connections of their own
(:func:`connect_readonly`).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sync.folding.merge import TOMBSTONE, pack_clocks, unpack_clocks
from sync.former_contents import pack_former_write, renumber_clocks
from sync.schema import TABLES
from sync.schema.model import Kind, Owner, Table

if TYPE_CHECKING:
    from sqlite_utils import Database

CACHE_KB = 2000
"""A writer works at the end of its logs; more cache made nothing faster (1,000,000 taps)."""
Step = Callable[["Database"], None]
_steps: list[Step] = []


def migrations() -> Callable[[Step], Step]:
    """Declare a step from one version of the store to the next; the order is theirs."""

    def declare(step: Step) -> Step:
        _steps.append(step)
        return step

    return declare


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


@migrations()
def keys_and_recipients(database: Database) -> None:
    """Create what a node alone decides: no peer's row may choose its keys or their readers."""
    for statement in (
        # Data keys made here. The one that seals is of the present incarnation and not ended.
        """CREATE TABLE own_key (
            key_id BLOB PRIMARY KEY, audience TEXT NOT NULL, key_group TEXT NOT NULL,
            epoch INTEGER NOT NULL, incarnation INTEGER NOT NULL,
            begun_ms INTEGER NOT NULL, ended_ms INTEGER,
            sealed_bytes INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID""",
        "CREATE INDEX own_key_scope ON own_key (audience, key_group, epoch)",
        """CREATE TABLE own_grant (
            key_id BLOB NOT NULL, recipient BLOB NOT NULL,
            PRIMARY KEY (key_id, recipient)) STRICT, WITHOUT ROWID""",
        # Whoever was seen, and what a person here decided of them.
        """CREATE TABLE recipient (
            recipient BLOB PRIMARY KEY, kind TEXT NOT NULL, school INTEGER NOT NULL,
            name TEXT NOT NULL, public BLOB NOT NULL, first_ms INTEGER NOT NULL,
            standing TEXT NOT NULL, decided_ms INTEGER, who TEXT, decided_hlc INTEGER)
            STRICT, WITHOUT ROWID""",
        # Lessons' media keys made here; the newest that has not ended seals.
        """CREATE TABLE lesson_key (
            key_id BLOB PRIMARY KEY, lesson TEXT NOT NULL, begun_ms INTEGER NOT NULL,
            ended_ms INTEGER) STRICT, WITHOUT ROWID""",
        "CREATE INDEX lesson_key_lesson ON lesson_key (lesson, begun_ms)",
        """CREATE TABLE released_group (
            key_group TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL,
            decided_hlc INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    ):
        database.execute(statement)


@migrations()
def clocks_and_parked(database: Database) -> None:
    """Create what tells a clock's spans apart, and say of parked rows whether to try again."""
    for statement in (
        # retriable: a later version may apply it. due: this version is one.
        "ALTER TABLE parked ADD COLUMN retriable INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE parked ADD COLUMN due INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX parked_due ON parked (log, seq, body) WHERE due = 1",
        # Corrections (log, row) that moved the rows which stood before them.
        """CREATE TABLE correction_applied (
            log INTEGER NOT NULL, row INTEGER NOT NULL,
            PRIMARY KEY (log, row)) STRICT, WITHOUT ROWID""",
        # Stretches of one boot in which the wall clock ran evenly: what it said when since_ms of
        # the boot's own clock had passed.
        """CREATE TABLE clock_span (
            id INTEGER PRIMARY KEY, boot TEXT NOT NULL, since_ms INTEGER NOT NULL,
            wall_ms INTEGER NOT NULL, last_wall_ms INTEGER NOT NULL, trust TEXT NOT NULL) STRICT""",
        # Where each own log stood when a span began.
        """CREATE TABLE clock_span_log (
            span INTEGER NOT NULL, log INTEGER NOT NULL, last_row INTEGER NOT NULL,
            PRIMARY KEY (span, log)) STRICT, WITHOUT ROWID""",
    ):
        database.execute(statement)


@migrations()
def events_by_time(database: Database) -> None:
    """Put events in the order of their moments; positions of merged rows lose their index."""
    for table in TABLES:
        name = table.name
        if not database[name].exists():
            continue
        if table.kind is Kind.STATE and table.owner is Owner.BOTH:
            database.execute(f"DROP INDEX IF EXISTS {name}_position")
        if table.is_by_time and "at_ms" not in database.table(name).pks:
            kept = [column.name for column in database[name].columns]
            read = ["coalesce(at_ms, 0)" if each == "at_ms" else each for each in kept]
            for index in ("at", "once", "position"):
                database.execute(f"DROP INDEX IF EXISTS {name}_{index}")
            database.execute(f"ALTER TABLE {name} RENAME TO former_{name}")
            for statement in _ddl(table):
                database.execute(statement)
            database.execute(
                f"INSERT INTO {name} ({', '.join(kept)})"  # noqa: S608 - names are the schema's
                f" SELECT {', '.join(read)} FROM former_{name}"
            )
            database.execute(f"DROP TABLE former_{name}")


@migrations()
def checkpoints(database: Database) -> None:
    """Create what bounds the history: checkpoints known here, and when each peer was heard."""
    for statement in (
        # Records of snapshot logs, this node's own too. settled: its tombstones are dropped here.
        # verified_ms, dropped_ms: when this node found it whole, and let bodies go by it.
        """CREATE TABLE checkpoint (
            log INTEGER NOT NULL, seq INTEGER NOT NULL, origin INTEGER NOT NULL,
            audience TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL,
            digest BLOB NOT NULL, content BLOB NOT NULL, settled INTEGER NOT NULL DEFAULT 0,
            verified_ms INTEGER, dropped_ms INTEGER, refused TEXT,
            PRIMARY KEY (log, seq)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX checkpoint_audience ON checkpoint (origin, audience, number)",
        # Up to which segment a log's content was taken from a snapshot.
        "CREATE TABLE adopted (log INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT",
        # Rows with two writers whose tombstones the hub dropped and the school may still have.
        """CREATE TABLE buried_row (
            table_number INTEGER NOT NULL, school INTEGER NOT NULL, row_key BLOB NOT NULL,
            purged INTEGER NOT NULL, PRIMARY KEY (table_number, school, row_key))
            STRICT, WITHOUT ROWID""",
        "CREATE TABLE peer_heard (peer INTEGER PRIMARY KEY, heard_ms INTEGER NOT NULL) STRICT",
    ):
        database.execute(statement)


@migrations()
def waiting_batches(database: Database) -> None:
    """Let events wait in batches; what waits already is left in its table, by its index."""
    database.execute(
        # count 0: events up to last_row are to be read back from their tables.
        """CREATE TABLE waiting_batch (
            log INTEGER NOT NULL, last_row INTEGER NOT NULL, first_row INTEGER NOT NULL,
            count INTEGER NOT NULL, text_max INTEGER NOT NULL, table_number INTEGER NOT NULL,
            content BLOB NOT NULL, PRIMARY KEY (log, last_row)) STRICT, WITHOUT ROWID"""
    )
    database.execute(
        "INSERT INTO waiting_batch SELECT id, last_row, 0, 0, 0, 0, x'' FROM log"
        " WHERE last_row > sealed_row"
    )
    for table in TABLES:
        if table.is_by_time:
            database.execute(f"DROP INDEX IF EXISTS {table.name}_position")


@migrations()
def clocks_by_number(database: Database) -> None:
    """Let overrides name their columns by number, no longer by name."""
    for table in TABLES:
        is_merged = table.kind is Kind.STATE and table.owner is Owner.BOTH
        if is_merged and database[table.name].exists():
            renumber = partial(renumber_clocks, {TOMBSTONE: 0, **table.numbers})
            database.conn.create_function("renumbered", 1, renumber)
            database.execute(
                f"UPDATE {table.name} SET clocks = renumbered(clocks) WHERE clocks IS NOT NULL"  # noqa: S608 - names are the schema's
            )


@migrations()
def writes_in_batches(database: Database) -> None:
    """Let writes to tables with two writers wait by columns; what waits becomes a batch a row."""
    database.execute(
        """CREATE TABLE waiting_write (
            log INTEGER NOT NULL, last_row INTEGER NOT NULL, first_row INTEGER NOT NULL,
            count INTEGER NOT NULL, text INTEGER NOT NULL, table_number INTEGER NOT NULL,
            content BLOB NOT NULL, PRIMARY KEY (log, last_row)) STRICT, WITHOUT ROWID"""
    )
    database.conn.create_function("batch_of_one", 3, pack_former_write)
    database.execute(
        "INSERT INTO waiting_write SELECT log, row, row, 1, length(content), table_number,"
        " batch_of_one(table_number, row, content) FROM pending_write"
    )
    database.execute("DROP TABLE pending_write")


@migrations()
def ended_incarnations(database: Database) -> None:
    """Create what the hub knows of schools that returned from an eviction."""
    database.execute(
        # Incarnations from before it: what they held beyond what came by then was written anew.
        """CREATE TABLE ended_incarnation (
            origin INTEGER NOT NULL, incarnation INTEGER NOT NULL,
            PRIMARY KEY (origin, incarnation)) STRICT, WITHOUT ROWID"""
    )


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


def _version() -> int:
    """Return what tells this version's store from others': of its steps and of its tables."""
    told = [
        *(step.__name__ for step in _steps),
        *(line for table in TABLES for line in _ddl(table)),
    ]
    return zlib.crc32("\n".join(told).encode()) & 0x7FFF_FFFF


def _bring_up(connection: sqlite3.Connection) -> None:
    """Bring a store to this version's schema."""
    # Only a store of another version needs these 20 MB, which a daemon would keep for good.
    from sqlite_utils import Database  # noqa: PLC0415 - see above
    from sqlite_utils.migrations import Migrations  # noqa: PLC0415 - see above

    database = Database(connection, execute_plugins=False)
    ordered = Migrations("sync")
    for step in _steps:
        ordered()(step)
    ordered.apply(database)
    for table in TABLES:
        _create_or_widen(database, table)
    for column in ("key_id", "purpose"):  # how a key ring finds grants
        database.execute(f"CREATE INDEX IF NOT EXISTS key_grant_{column} ON key_grant ({column})")
    database.execute("CREATE INDEX IF NOT EXISTS clock_clamp_log ON clock_clamp (clamped_log)")
    # What an earlier version could not apply is tried again by this one.
    database.execute("UPDATE parked SET due = 1 WHERE retriable = 1")
    for name in ("lesson", "lesson_party"):  # their keys begin with a school; who asks knows none
        database.execute(f"CREATE INDEX IF NOT EXISTS {name}_lesson ON {name} (lesson)")


def index_positions(cursor: sqlite3.Cursor, tables: Iterable[Table]) -> None:
    """Make rows of tables that stand by time be found by log and row too.

    Only a restored store, a wrong clock and a hub that reads further groups need that.
    """
    for table in tables:
        if table.is_by_time:
            cursor.execute(_position_index(table))


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
    added = [column for column in table.columns if column.name not in known]
    for column in added:
        database.table(table.name).add_column(column.name, column.type.value)
    if added and table.owner is Owner.BOTH and table.kind is Kind.STATE:
        _unwrite(database, table, [column.name for column in added])


def _unwrite(database: Database, table: Table, columns: list[str]) -> None:
    """Say of every row that nobody has written these columns yet; else its row clock would."""
    key = ("school", *table.key)
    where = " AND ".join(f"{name} = ?" for name in key)
    rows = database.execute(f"SELECT clocks, {', '.join(key)} FROM {table.name}").fetchall()  # noqa: S608 - names are the schema's
    for clocks, *cells in rows:
        overrides = {**unpack_clocks(table, clocks), **dict.fromkeys(columns, (0, 0))}
        database.execute(
            f"UPDATE {table.name} SET clocks = ? WHERE {where}",  # noqa: S608 - names are the schema's
            [pack_clocks(table, overrides), *cells],
        )


def _position_index(table: Table) -> str:
    return f"CREATE INDEX IF NOT EXISTS {table.name}_position ON {table.name} (log, row)"


def _ddl(table: Table) -> list[str]:
    columns = [f"{column.name} {column.type}" for column in table.columns]
    position = ["log INTEGER NOT NULL", "row INTEGER NOT NULL"]
    if table.kind is Kind.EVENT:
        statements = []
        if table.is_by_time:
            # Pages ask by school and moment; a second tree for that costs a third more of a disk.
            columns[table.column_names.index("at_ms")] += " NOT NULL"
            key = "PRIMARY KEY (school, at_ms, log, row)"
        else:
            key = "PRIMARY KEY (school, log, row)"
            if "at_ms" in table.column_names:
                statements.append(f"CREATE INDEX {table.name}_at ON {table.name} (school, at_ms)")
        columns = ["school INTEGER NOT NULL", *position, *columns, key]
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
        statements = []
        if table.owner is not Owner.BOTH:
            statements.append(_position_index(table))
    # STRICT: what another school's rows claim to be is what they are, or they are refused.
    create = f"CREATE TABLE {table.name} ({', '.join(columns)}) STRICT, WITHOUT ROWID"
    return [create, *statements]
