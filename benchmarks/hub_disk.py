"""How much of a disk the hub's rows take, with the schools' sealed logs and without them."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sync.store import connect_readonly


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes in use; ``without_logs`` leaves out the schools' sealed segments."""

    with_logs: int
    without_logs: int


def read_disk_use(store: Path, scratch: Path) -> DiskUse:
    """Read a store that may be in use; ``scratch`` holds a copy for a moment."""
    copy = scratch / "copy.db"
    with closing(connect_readonly(store)) as connection:
        pages, free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        connection.execute("VACUUM INTO ?", (str(copy),))
    whole = copy.stat().st_size
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("DELETE FROM segment")
        connection.execute("VACUUM")
    used = (pages - free) * page_bytes
    without = used - (whole - copy.stat().st_size)
    copy.unlink()
    return DiskUse(with_logs=used, without_logs=without)


def count_taps(store: Path, school: int) -> dict[tuple[int, int], int]:
    """Return how often the hub holds each tap of a school, by moment and person."""
    with closing(connect_readonly(store)) as connection:
        rows = connection.execute(
            "SELECT at_ms, person, count(*) FROM card_tap WHERE school = ? GROUP BY 1, 2", (school,)
        ).fetchall()
    return {(at_ms, person): count for at_ms, person, count in rows}
