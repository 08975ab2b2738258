"""Tombstones: when a delete may be forgotten.

A delete ends with the checkpoint that leaves it out; every node drops it when it has applied what
that checkpoint covers. Until then it stands, and no digest counts it. How it is written, so that
whether a node still has it makes no difference: :mod:`sync.logs.explicit_writes`.
"""

import sqlite3

from sync.history.checkpoint import Checkpoint
from sync.logs.explicit_writes import packed_key
from sync.logs.log_state import find_log
from sync.schema import TABLES
from sync.schema.model import Kind, Owner
from sync.segments.segment import HUB


def bury(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Remember which rows with two writers are cleared by a checkpoint of the hub's own.

    Until the school has cleared them too, what is written to them anew names every column.
    """
    for table in TABLES:
        if table.owner is Owner.BOTH and table.kind is Kind.STATE:
            names = ", ".join(("school", *table.key))
            keys = cursor.execute(
                f"SELECT {names} FROM {table.name} WHERE school = ? AND deleted = 1 AND hlc <= ?",  # noqa: S608 - names are the schema's
                (int(checkpoint.audience[1:]), checkpoint.record.purged_both),
            ).fetchall()
            cursor.executemany(
                "INSERT OR REPLACE INTO buried_row VALUES (?, ?, ?, ?)",
                [
                    (table.number, key[0], packed_key(key), checkpoint.record.purged_both)
                    for key in keys
                ],
            )


def forget_buried(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> None:
    """Forget what a school has cleared by now, by its own checkpoint."""
    cursor.execute(
        "DELETE FROM buried_row WHERE school = ? AND purged <= ?",
        (checkpoint.origin, checkpoint.record.purged_both),
    )


def drop_tombstones(cursor: sqlite3.Cursor, checkpoint: Checkpoint) -> int:
    """Drop what a checkpoint leaves out, where all that it covers was applied; return how many."""
    record = checkpoint.record
    dropped = 0
    for table in TABLES:
        if table.kind is not Kind.STATE:
            continue
        if table.owner is Owner.BOTH:
            # A school leaves out only what the hub's own checkpoint has cleared here before.
            if checkpoint.origin == HUB and checkpoint.audience.startswith("s"):
                dropped += cursor.execute(
                    f"DELETE FROM {table.name} WHERE school = ? AND deleted = 1 AND hlc <= ?",  # noqa: S608 - names are the schema's
                    (int(checkpoint.audience[1:]), record.purged_both),
                ).rowcount
            continue
        for cover in record.covers:
            log = find_log(cursor, checkpoint.source(cover))
            if log is not None and table.lane is cover.lane:
                dropped += cursor.execute(
                    f"DELETE FROM {table.name} WHERE log = ? AND row <= ?"  # noqa: S608 - names are the schema's
                    " AND deleted = 1 AND hlc <= ?",
                    (log.id, cover.last_row, record.purged),
                ).rowcount
    return dropped
