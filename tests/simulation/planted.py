"""Bugs put in on purpose: the simulation has to find each by what it breaks, unnamed.

Each is a context in which one place of the product does what a careless change would make it do.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest

from edge import vault_keeper
from hub.vault_shelf import VaultShelf
from sync import node as node_module
from sync import peers
from sync.errors import ForkError
from sync.exchange.conversation import Conversation, Heard
from sync.folding.fold import Folded, fold_body
from sync.intake import bodies
from sync.intake.admission import Admission
from sync.intake.bodies import Bodies
from sync.keys.recipients import Recipients
from sync.logs import incarnation, sealer
from sync.logs.log_state import LogState
from sync.logs.stored_segments import StoredBody
from sync.node import Node
from sync.persons.vault_backup import VaultShare
from sync.schema import BY_NAME
from sync.schema.model import Kind, Table
from sync.segments.segment import HUB, Header, LogName, Place, build_segment
from sync.tables import merged_rows
from sync.tables.merge import Version, Write, merge_columns
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
        patch.setattr(bodies, "fold_body", fold)
        yield


@contextmanager
def reissue_that_leaves_the_row_behind() -> Iterator[None]:
    """Rows go to the new incarnation as copies: whoever seals, sends both."""

    def move(
        cursor: sqlite3.Cursor, table: Table, old: LogState, row: int, to: tuple[int, int]
    ) -> None:
        _move(cursor, table, old, row, to)
        if table.kind is Kind.EVENT and table.dedupe is None:
            names = [name for _, name, *_ in cursor.execute(f"PRAGMA table_info({table.name})")]
            placed = ", ".join({"log": "?1", "row": "?2"}.get(name, name) for name in names)
            cursor.execute(
                f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {placed} FROM {table.name}"  # noqa: S608 - the schema's names
                " WHERE log = ?3 AND row = ?4",
                (old.id, row, *to),
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incarnation, "move_row", move)
        yield


@contextmanager
def fork_that_stops_a_neighbour() -> Iterator[None]:
    """A frozen log takes the other logs of its lane with it: the origin was forgotten."""

    def freeze(self: Admission, name: LogName, reason: str) -> ForkError:
        error = _freeze(self, name, reason)
        self._cursor.execute(
            "UPDATE log SET frozen = ? WHERE lane = ? AND origin <> 0", (reason, int(name.lane))
        )
        return error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Admission, "_freeze", freeze)
        yield


@contextmanager
def third_party_that_is_not_kept() -> Iterator[None]:
    """A box clears away events of other schools, those of a lesson that it is in as well."""

    def fold(self: Bodies, body: StoredBody, row_log: int, header: Header, *rest: object) -> None:
        _fold_tables(self, body, row_log, header, *rest)
        if self._own != HUB and header.log.origin not in {HUB, self._own}:
            self._cursor.execute("DELETE FROM hand_raise WHERE log = ?", (row_log,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bodies, "_fold_tables", fold)
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
        patch.setattr(peers, "note_return", lambda *_: None)
        yield


@contextmanager
def eviction_that_is_not_heeded() -> Iterator[None]:
    """A school that comes back goes on where it was, as if nobody had stopped waiting for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_module, "heed_eviction", lambda *given: given[3][1])
        yield


@contextmanager
def stick_that_anybody_signed() -> Iterator[None]:
    """A courier's file is taken for its sender's because it is well-formed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "verify", lambda *_: None)
        yield


@contextmanager
def share_that_outlives_an_erasure() -> Iterator[None]:
    """The hub gives the share that stands, whatever generation the box has to leave behind."""

    def share_after(self: VaultShelf, school: int, after: int) -> VaultShare:
        present = self._shares(school).current
        return present or _share_after(self, school, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VaultShelf, "share_after", share_after)
        yield


@contextmanager
def vault_that_hears_of_no_erasure() -> Iterator[None]:
    """Who was forgotten stands in the logs, and a vault from before that is used as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault_keeper, "forgotten_here", lambda *_: {})
        yield


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    bug.__name__: bug
    for bug in (
        acknowledged_before_it_is_durable,
        salt_from_the_position,
        last_writer_without_the_origin,
        tombstones_dropped_at_once,
        reissue_that_leaves_the_row_behind,
        fork_that_stops_a_neighbour,
        third_party_that_is_not_kept,
        receipt_that_never_falls_due,
        revocation_that_ends_no_epoch,
        school_that_is_not_taken_back,
        eviction_that_is_not_heeded,
        stick_that_anybody_signed,
        share_that_outlives_an_erasure,
        vault_that_hears_of_no_erasure,
    )
}

_build: Callable[..., bytes] = build_segment
_merge = merge_columns
_win_sql = merged_rows._win_alike_sql
_fold: Callable[..., Folded] = fold_body
_freeze = Admission._freeze
_fold_tables: Callable[..., None] = Bodies._fold_tables
_move = incarnation.move_row
_hear = Conversation.hear
_share_after = VaultShelf.share_after
