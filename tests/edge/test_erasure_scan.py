"""What is on the disk is found, wherever in a file it lies; what is not is not."""

import os
import random
from pathlib import Path

import pytest

from edge.erasure_scan import CHUNK_BYTES, find_in_files

NEEDLE = b"a person's key, 32 bytes of it.."


@pytest.mark.parametrize(
    "place", [0, 1, CHUNK_BYTES - 31, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES - 7]
)
def test_a_needle_is_found_across_the_edges_of_what_is_read_at_once(
    tmp_path: Path, place: int
) -> None:
    content = bytearray(random.Random(1).randbytes(2 * CHUNK_BYTES + 100))
    content[place : place + len(NEEDLE)] = NEEDLE
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".hidden").write_bytes(content)
    (tmp_path / "other").write_bytes(NEEDLE[:-1])
    found = find_in_files(tmp_path, {"key": NEEDLE, "one byte": b"\x00", "absent": b"x" * 40})
    assert found["key"] == [Path("deep/.hidden")]
    assert found["one byte"] == [Path("deep/.hidden")]
    assert found["absent"] == []


def test_links_sockets_and_empty_files_are_passed_over(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(NEEDLE)
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")
    assert find_in_files(folder, {"key": NEEDLE}) == {"key": []}
