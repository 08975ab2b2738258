"""Steps from one version of a store to the next: what sync itself keeps, and how it changed.

A step is written once and never edited: stores that went through it do not go through it again.
The folded tables come from the schema (:mod:`sync.tables.definition`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sync.former_contents import pack_former_write, renumber_clocks
from sync.schema import TABLES
from sync.schema.model import Kind, Owner
from sync.tables.definition import ddl
from sync.tables.merge import TOMBSTONE

if TYPE_CHECKING:
    from sqlite_utils import Database

Step = Callable[["Database"], None]
STEPS: list[Step] = []


def migrations() -> Callable[[Step], Step]:
    """Declare a step from one version of the store to the next; the order is theirs."""

    def declare(step: Step) -> Step:
        STEPS.append(step)
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
            for statement in ddl(table):
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
