"""Searches a folder's files for byte strings: the proof that something is nowhere on the disk.

For a process of its own: closing a file here would drop the locks that a SQLite connection of the
same process holds on it (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks).
"""

import stat
from collections.abc import Mapping
from pathlib import Path

CHUNK_BYTES = 1024 * 1024
NEEDLE_BYTES_MAX = 4096


def find_in_files(folder: Path, needles: Mapping[str, bytes]) -> dict[str, list[Path]]:
    """Return, for each needle by its name, the regular files under ``folder`` that hold it.

    Links are not followed; a file that vanishes meanwhile holds nothing.
    """
    assert all(0 < len(needle) <= NEEDLE_BYTES_MAX for needle in needles.values())
    found: dict[str, list[Path]] = {name: [] for name in needles}
    for path in sorted(folder.rglob("*")):
        try:
            if stat.S_ISREG(path.lstat().st_mode):
                for name in _held_by(path, needles):
                    found[name].append(path.relative_to(folder))
        except FileNotFoundError:
            continue
    return found


def _held_by(path: Path, needles: Mapping[str, bytes]) -> set[str]:
    overlap = max(map(len, needles.values()), default=1) - 1
    held: set[str] = set()
    with path.open("rb") as file:
        window = b""
        while chunk := file.read(CHUNK_BYTES):
            window = window[-overlap:] + chunk if overlap else chunk
            held |= {name for name, needle in needles.items() if needle in window}
    return held
