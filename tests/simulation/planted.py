"""Bugs put in on purpose: the simulation has to find each by what it breaks, unnamed.

Each is a context in which one place of the product does what a careless change would make it do.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest

from sync import node as node_module
from sync.errors import ForkError
from sync.exchange.conversation import Conversation, Heard
from sync.folding import intake, merged_rows
from sync.folding.fold import Folded, fold_body
from sync.folding.intake import Intake
from sync.folding.merge import Version, Write, merge_columns
from sync.keys.recipients import Recipients
from sync.logs import sealer
from sync.schema import BY_NAME
from sync.schema.model import Kind, Table
from sync.segments.segment import LogName, Place, build_segment
from tests.simulation import connection


@contextmanager
def acknowledged_before_it_is_durable() -> Iterator[None]:
    """``synchronous=NORMAL``: a commit in WAL mode no longer waits for the disk."""
    pragmas = dict(connection._product_pragmas()) | {"synchronous": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_product_pragmas", lambda: tuple(pragmas.items()))
        yield


@contextmanager
def salt_from_the_position() -> Iterator[None]:
    """Salts counted instead of drawn: a restored node counts the same ones again."""

    def build(place: Place, tables: object, bodies: object, salt: bytes, signer: object) -> bytes:
        position = f"{place.log.audience}/{place.log.lane}/{place.seq}".encode()
        counted = hashlib.sha256(position).digest()[: len(salt)]
        return _build(place, tables, bodies, counted, signer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealer, "build_segment", build)
        yield


@contextmanager
def last_writer_without_the_origin() -> Iterator[None]:
    """Of two writes with one stamp the one that comes last wins, wherever it comes from."""

    def merge(table: Table, before: Version | None, write: Write) -> Version:
        if before is None or before.clock[0] != write.clock[0]:
            return _merge(table, before, write)
        # A cell that seems older by one counter, so that the write wins over it.
        older = Version(
            clock=(before.clock[0] - 1, before.clock[1]),
            overrides=before.overrides,
            values=before.values,
            deleted=before.deleted,
        )
        return _merge(table, older, write)

    def win_sql(table_name: str, named: tuple[str, ...], rows: int) -> str:
        newer = f"(excluded.hlc, excluded.origin) > ({table_name}.hlc, {table_name}.origin)"
        return _win_sql(table_name, named, rows).replace(newer, f"excluded.hlc >= {table_name}.hlc")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merged_rows, "merge_columns", merge)
        patch.setattr(merged_rows, "_win_alike_sql", win_sql)
        yield


@contextmanager
def tombstones_dropped_at_once() -> Iterator[None]:
    """A deleted row goes when it is deleted, not when everyone has applied past it."""

    def fold(cursor: sqlite3.Cursor, *rest: object) -> Folded:
        folded = _fold(cursor, *rest)
        for name in folded.tables:
            if BY_NAME[name].kind is Kind.STATE:
                cursor.execute(f"DELETE FROM {name} WHERE deleted = 1")  # noqa: S608 - the schema's names
        return folded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "fold_body", fold)
        yield


@contextmanager
def fork_that_stops_a_neighbour() -> Iterator[None]:
    """A frozen log takes the other logs of its lane with it: the origin was forgotten."""

    def freeze(self: Intake, name: LogName, reason: str) -> ForkError:
        error = _freeze(self, name, reason)
        self._cursor.execute(
            "UPDATE log SET frozen = ? WHERE lane = ? AND origin <> 0", (reason, int(name.lane))
        )
        return error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Intake, "_freeze", freeze)
        yield


@contextmanager
def receipt_that_never_falls_due() -> Iterator[None]:
    """A receipt waits for something else to be said; on a busy line there always is something."""

    def hear(self: Conversation, content: bytes, now_ms: int) -> Heard:
        heard = _hear(self, content, now_ms)
        self._receipt_due_ms = None
        return heard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conversation, "hear", hear)
        yield


@contextmanager
def revocation_that_ends_no_epoch() -> Iterator[None]:
    """Who was granted the standing key goes on reading what is sealed with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recipients, "revoke", lambda *_: None)
        yield


@contextmanager
def school_that_is_not_taken_back() -> Iterator[None]:
    """The hub does not notice that an evicted school heeded its eviction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_module, "note_return", lambda *_: None)
        yield


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    bug.__name__: bug
    for bug in (
        acknowledged_before_it_is_durable,
        salt_from_the_position,
        last_writer_without_the_origin,
        tombstones_dropped_at_once,
        fork_that_stops_a_neighbour,
        receipt_that_never_falls_due,
        revocation_that_ends_no_epoch,
        school_that_is_not_taken_back,
    )
}

_build: Callable[..., bytes] = build_segment
_merge = merge_columns
_win_sql = merged_rows._win_alike_sql
_fold: Callable[..., Folded] = fold_body
_freeze = Intake._freeze
_hear = Conversation.hear
