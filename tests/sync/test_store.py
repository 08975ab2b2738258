"""The store's promises: durable, strict, and widened by a newer version."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sync.schema import TABLES
from sync.store import connect_readonly, open_store


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
