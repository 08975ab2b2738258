"""One machine: a node on a simulated disk, with a clock of its own, that can lose power."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import apsw

from sync.logs.oplog import Row
from sync.node import Node
from tests.simulation.connection import Connection
from tests.simulation.disk import CHANGES, Call, Disk, PowerCutError, Survival
from tests.simulation.skew import (
    UNKNOWN_TABLES,
    knows,
    older_store,
    older_version,
    upgraded,
)
from tests.sync.district import District, empty_store

STORE = "store.db"


class DownError(Exception):
    """The machine went down in the middle of the work, or was down before it."""


@dataclass
class DiskTrouble:
    """What ails a disk; set by the storm, heard before each call."""

    changes_until_cut: int | None = None
    every: int = 0  # each so many-th call fails; 0: none
    full: bool = False  # writes fail for want of room, or all calls with I/O errors
    fails_from: int | None = None  # or: so many calls from here on fail
    fails_times: int = 0
    cuts: int = 0
    failures: int = 0
    heard: Counter[Call] = field(default_factory=Counter)
    _calls: int = 0

    def heal(self) -> None:
        self.changes_until_cut = None
        self.every = 0
        self.fails_from = None

    def hear(self, disk: Disk, call: Call) -> None:
        self.heard[call] += 1
        if self.changes_until_cut is not None and call in CHANGES:
            self.changes_until_cut -= 1
            if self.changes_until_cut < 0:
                self.changes_until_cut = None
                self.cuts += 1
                disk.cut()
                raise PowerCutError
        if self.full and call is not Call.WRITE:
            return
        self._calls += 1
        begin = self.fails_from
        if (self.every and self._calls % self.every == 0) or (
            begin is not None and begin <= self._calls < begin + self.fails_times
        ):
            self.failures += 1
            raise (
                apsw.FullError("the disk is full") if self.full else apsw.IOError("the disk fails")
            )


@dataclass(eq=False)
class Machine:
    """A box or the hub. ``name`` tells twins apart that share an origin."""

    name: str
    origin: int
    district: District  # who is who
    chance: random.Random
    checkpoint_pages: int
    clock_offset_ms: int = 0
    generation: bytes = b"first"
    disk: Disk = field(default_factory=Disk)
    trouble: DiskTrouble = field(default_factory=DiskTrouble)
    survival: Survival = Survival.ALL
    node: Node | None = None
    is_older: bool = False  # of a version that knows less
    lives: int = 0  # how often the store was replaced by an older one
    _connection: Connection | None = None

    def __post_init__(self) -> None:
        self.disk.put(STORE, empty_store())
        self.disk.trouble = partial(self.trouble.hear, self.disk)

    def now_ms(self) -> int:
        return max(0, self.district.now + self.clock_offset_ms)

    def become_older(self) -> None:
        self.is_older = True
        self.disk.put(STORE, older_store())

    def upgrade(self) -> None:
        """Give the machine the present version, as a release does: a new start over its store."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        store = self.disk.content(STORE)
        self.go_down(Survival.ALL)
        self.disk.power_up(Survival.ALL, self.chance)
        self.is_older = False
        self.disk.put(STORE, upgraded(store))
        self.boot()
        with self.at_work() as node:
            while node.fold_parked():
                pass

    def boot(self) -> None:
        """Start the node over what the disk holds; raises DownError or sqlite3.Error."""
        assert self.node is None
        if self.disk.is_off:
            self.disk.power_up(self.survival, self.chance)
        with self._powered():
            self._connection = Connection(self.disk, STORE, self.checkpoint_pages)
            self.node = Node(
                self._connection.as_sqlite3,
                self.district.keys[self.origin],
                self.now_ms,
                self.random_bytes,
                self.district,
                self.generation,
            )

    def random_bytes(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    @contextmanager
    def at_work(self) -> Iterator[Node]:
        """Give the running node; raises DownError when the machine is, or goes, down."""
        if self.node is None:
            raise DownError(self.name)
        with self._powered():
            yield self.node

    def record(self, rows: Mapping[str, Sequence[Row]], audience: str | None = None) -> None:
        """Record rows in one transaction, as far as this machine's version knows them."""
        with self.at_work() as node, node.transaction() as cursor:
            for table, some in rows.items():
                if not self.is_older or table not in UNKNOWN_TABLES:
                    node.record_within(
                        cursor, table, [*map(partial(self._known, table), some)], audience
                    )

    def knows(self, table: str, column: str) -> bool:
        return not self.is_older or knows(table, column)

    def _known(self, table: str, row: Row) -> Row:
        return {name: cell for name, cell in row.items() if self.knows(table, name)}

    def go_down(self, survival: Survival) -> None:
        """Stop without warning; the disk keeps what ``survival`` says of the unsynced."""
        self.survival = survival
        self.disk.cut()
        self._drop()

    def replace_store(self, content: bytes, generation: bytes) -> None:
        """Put another store in the place of this one; the machine is down afterwards."""
        self.go_down(Survival.ALL)
        self.disk.power_up(Survival.ALL, self.chance)
        self.disk.put(STORE, content)
        self.generation = generation
        self.lives += 1

    def back_up(self) -> bytes:
        """Return a copy as a back-up job makes it: sealed first, the WAL folded in."""
        with self.at_work() as node:
            node.seal_all()
        return self.image()

    def image(self) -> bytes:
        """Return a copy of the store as it stands, whatever waits in it."""
        with self.at_work():
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            return self.disk.content(STORE)

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Look into the store, as it stands for the node."""
        assert self._connection is not None
        return self._connection.execute(query, values).fetchall()

    def reader(self) -> sqlite3.Connection:
        """Return the running node's store, for parts of the box that only read it."""
        assert self._connection is not None
        return self._connection.as_sqlite3

    def written(self) -> tuple[Node, int]:
        """Return what differs whenever the running node has written to its store since."""
        assert self.node is not None
        assert self._connection is not None
        return self.node, self._connection.total_changes

    @contextmanager
    def healthy(self) -> Iterator[Connection]:
        """Give the store to an onlooker, whom the disk's trouble spares."""
        assert self._connection is not None
        heard, self.disk.trouble = self.disk.trouble, None
        try:
            yield self._connection
        finally:
            self.disk.trouble = heard

    def scrap(self) -> None:
        self.disk.cut()
        self._drop()
        self.disk.remove()

    @contextmanager
    def _powered(self) -> Iterator[None]:
        try:
            with older_version() if self.is_older else nullcontext():
                yield
        except PowerCutError as cut:
            self._drop()
            raise DownError(self.name) from cut
        except sqlite3.Error:
            if self.node is None:  # it did not start
                self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abandon()
        self._connection = self.node = None
