"""Photos of the grow log: pixels only, bounded, named by content."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.farm import photos
from edge.farm.photos import PHOTO_BYTES_MAX, PhotoError, PhotoShelf, clean_jpeg
from tests.edge.pages.simulated_box import JPEG


def with_segment(marker: int, content: bytes) -> bytes:
    """Return the picture with one more segment in front."""
    length = (len(content) + 2).to_bytes(2, "big")
    return JPEG[:2] + bytes((0xFF, marker)) + length + content + JPEG[2:]


def test_what_a_telephone_writes_beside_the_pixels_is_cut_out() -> None:
    place = b"Exif\0\0GPS 30.0 114.3"
    for marker in (0xE1, 0xED, 0xFE):
        dirty = with_segment(marker, place)
        assert place in dirty
        assert clean_jpeg(dirty) == clean_jpeg(JPEG) == JPEG
    assert clean_jpeg(JPEG + b"a video behind the picture") == JPEG


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JPEG"),
        (b"\x89PNG\r\n", "no JPEG"),
        (JPEG[:-2], "too early"),
        (JPEG[:40], "damaged"),
        (b"\xff\xd8\xff\xd9", "no picture"),
        (JPEG + b"x" * PHOTO_BYTES_MAX, "bytes"),
        (JPEG.replace(b"\x00\x01\x00\x01\x01\x01", b"\xff\xff\xff\xff\x01\x01"), "pixels"),
    ],
)
def test_what_is_no_photo_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words):
        clean_jpeg(content)


@given(st.binary(max_size=200), st.integers(0, len(JPEG)))
def test_arbitrary_bytes_are_a_photo_or_a_photo_error(content: bytes, at: int) -> None:
    for tried in (
        content,
        b"\xff\xd8" + content,
        JPEG[:at] + content,
        JPEG[:at] + content + JPEG[at:],
    ):
        with suppress(PhotoError):
            assert clean_jpeg(clean_jpeg(tried)) == clean_jpeg(tried)


def test_a_photo_is_found_by_its_name_and_nothing_else_is(tmp_path: Path) -> None:
    shelf = PhotoShelf(tmp_path / "photos")
    name = shelf.put(JPEG)
    assert shelf.put(with_segment(0xE1, b"Exif")) == name
    assert shelf.find(name) == JPEG
    (tmp_path / "secret.jpg").write_bytes(b"x")
    for other in ("../secret", "0" * 32, name.upper(), name + "\n"):
        assert shelf.find(other) is None
    assert (tmp_path / "photos").stat().st_mode & 0o077 == 0


def test_a_full_shelf_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "PHOTOS_MAX", 1)
    shelf = PhotoShelf(tmp_path)
    shelf.put(JPEG)
    other = JPEG.replace(bytes.fromhex("fbd28a28"), bytes.fromhex("fbd28a29"))
    with pytest.raises(PhotoError, match="fill the space"):
        shelf.put(other)
