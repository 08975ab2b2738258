"""The store's promises: durable, strict, and widened by a newer version."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from sync.logs.pending_writes import (
    DELETED_FIELD,
    HLC_FIELD,
    PRESENT_FIELD,
    SCHOOL_FIELD,
    unsealed_writes,
)
from sync.logs.waiting_batches import joined
from sync.schema import BY_NAME, TABLES
from sync.store import connect_readonly, open_store
from sync.tables.definition import index_positions
from sync.tables.merged_rows import read_version

SLOT = BY_NAME["timetable_slot"]


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


def test_what_is_committed_is_on_disk_and_what_is_deleted_is_gone(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "node.db")) as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)):
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_every_declared_table_is_there_after_any_number_of_starts(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(open_store(tmp_path / "node.db")) as connection:
            for table in TABLES:
                assert set(table.column_names) <= set(columns_of(connection, table.name))


def test_a_column_of_a_newer_version_is_added_to_an_older_store(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "node.db")) as connection:
        connection.execute(
            "INSERT INTO room (school, room, hlc, origin, log, row) VALUES (1,'r',1,1,1,1)"
        )
        connection.execute("ALTER TABLE room DROP COLUMN name")
        connection.execute("PRAGMA user_version=1")  # another version's store
    with closing(open_store(tmp_path / "node.db")) as connection:
        assert connection.execute("SELECT room, name FROM room").fetchall() == [("r", None)]


def test_a_wrong_type_is_refused_by_the_table_itself(tmp_path: Path) -> None:
    wrong = "INSERT INTO card_tap (school, log, row, at_ms) VALUES (1, 1, 1, 'noon')"
    with closing(open_store(tmp_path / "node.db")) as store, pytest.raises(sqlite3.IntegrityError):
        store.execute(wrong)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    open_store(tmp_path / "node.db").close()
    with closing(connect_readonly(tmp_path / "node.db")) as reader:
        assert reader.execute("SELECT count(*) AS logs FROM log").fetchone()["logs"] == 0
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM log")


def test_events_of_the_first_version_are_put_in_the_order_of_their_moments(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with closing(open_store(path)) as connection:
        connection.executescript(
            """DROP TABLE card_tap;
            CREATE TABLE card_tap (school INTEGER NOT NULL, log INTEGER NOT NULL,
                row INTEGER NOT NULL, at_ms INTEGER, device TEXT, device_key TEXT,
                PRIMARY KEY (school, log, row)) STRICT, WITHOUT ROWID;
            CREATE INDEX card_tap_at ON card_tap (school, at_ms);
            CREATE UNIQUE INDEX card_tap_once ON card_tap (school, device_key)
                WHERE device_key IS NOT NULL;
            INSERT INTO card_tap VALUES (17, 4, 1, 30, 'gate', 'k1'), (17, 4, 2, 10, NULL, NULL),
                (17, 4, 3, NULL, 'gate', 'k3');
            CREATE INDEX timetable_slot_position ON timetable_slot (log, row);
            DELETE FROM _sqlite_migrations WHERE name = 'events_by_time';
            PRAGMA user_version=1"""
        )
    with closing(open_store(path)) as connection:
        found = connection.execute("SELECT row, at_ms, device, device_key, person FROM card_tap")
        assert found.fetchall() == [
            (3, 0, "gate", "k3", None),
            (2, 10, None, None, None),
            (1, 30, "gate", "k1", None),
        ]
        indexes = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")
        }
        assert "card_tap_once" in indexes
        assert indexes.isdisjoint({"card_tap_at", "timetable_slot_position"})


def test_a_school_finds_its_rows_by_position_and_everyone_by_moment(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "node.db")) as connection:
        index_positions(connection.cursor(), TABLES)
        for where in ("log = 1 AND row > 5", "school = 1 AND at_ms > 5"):
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM card_tap WHERE {where}")  # noqa: S608 - a constant
            assert all("SEARCH" in line[-1] for line in plan)


def test_a_store_of_this_version_is_opened_without_what_only_an_older_one_needs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "node.db"
    open_store(path).close()
    program = (
        "import sys; from pathlib import Path; from sync.store import open_store;"
        f" open_store(Path({str(path)!r})).close(); print('sqlite_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "False"


def test_unsealed_writes_and_clocks_of_former_versions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    first = {-1: 17, -2: 9, -3: 0, -4: 2, 1: "a"}  # as the first version wrote them
    second = [2 | 1 << 4, 17, 10, 0, "b", "语文"]
    former = {"teacher": (5, 0), "deleted": (3, 17), "was_here_once": (1, 1)}
    with closing(open_store(path)) as connection:
        connection.executescript(
            """DROP TABLE waiting_write;
            CREATE TABLE pending_write (log INTEGER NOT NULL, row INTEGER NOT NULL,
                table_number INTEGER NOT NULL, content BLOB NOT NULL,
                PRIMARY KEY (log, row)) WITHOUT ROWID;
            DELETE FROM _sqlite_migrations
                WHERE name IN ('clocks_by_number', 'writes_in_batches');
            PRAGMA user_version=1"""
        )
        connection.executemany(
            "INSERT INTO pending_write VALUES (4, ?, 30, ?)",
            [(row, msgspec.msgpack.encode(each)) for row, each in ((7, first), (9, second))],
        )
        connection.executemany(
            "INSERT INTO timetable_slot (school, slot, hlc, origin, log, row, clocks)"
            " VALUES (17, ?, 9, 17, 4, 7, ?)",
            [("a", msgspec.msgpack.encode(former)), ("b", None)],
        )
    with closing(open_store(path)) as connection:
        cursor = connection.cursor()
        waiting = joined(unsealed_writes(cursor, 4, SLOT, 0))
        assert (waiting.rows, waiting.table) == ([7, 9], SLOT)
        named = (PRESENT_FIELD, SCHOOL_FIELD, HLC_FIELD, DELETED_FIELD, 1, 2, 4)
        assert [
            [*cells] for cells in zip(*(waiting.columns[each] for each in named), strict=True)
        ] == [
            [2, 17, 9, 0, "a", None, None],
            [2 | 1 << 4, 17, 10, 0, "b", None, "语文"],
        ]
        rows = [read_version(cursor, SLOT, (17, slot)) for slot in "ab"]
        assert [row.overrides for row in rows if row] == [
            {"teacher": (5, 0), "deleted": (3, 17)},
            {},
        ]
