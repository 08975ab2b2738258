"""Photos of the grow log: small JPEGs without what a telephone writes into them, kept on the box.

A photo never leaves the school. What is stored is pixels only: places, times and names of
telephones (EXIF, XMP, comments, hidden thumbnails) are cut out.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from provisioning.durable_file import private_folder, write_private

PHOTO_BYTES_MAX = 1_500_000
PHOTOS_MAX = 2_000
BYTES_MAX = 600_000_000
"""All photos together; then somebody has to take some away."""
PIXELS_MAX = 40_000_000

_NAME = re.compile(r"\A[0-9a-f]{32}\Z")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_LONE = {0x01, *range(0xD0, 0xD8)}
_FRAMES = {0xC0, 0xC1, 0xC2}
_DROPPED = {*range(0xE1, 0xF0), 0xFE}  # APP1 to APP15 and comments; APP0 is JFIF's own


class PhotoError(Exception):
    """A photo is not taken: it is no JPEG, too large, or there is no room."""


def clean_jpeg(content: bytes) -> bytes:
    """Return a JPEG's pixels without metadata (ITU-T T.81 annex B).

    Raises PhotoError for what is no whole baseline or progressive JPEG of a sane size.
    """
    if len(content) > PHOTO_BYTES_MAX:
        raise PhotoError(f"the photo has {len(content)} bytes; {PHOTO_BYTES_MAX} are the most")
    kept = bytearray(b"\xff\xd8")
    has_frame = has_scan = False
    for marker, segment in _segments(content):
        if marker in _FRAMES:
            _check_size(segment)
            has_frame = True
        if marker == _SOS:
            has_scan = has_frame
        if marker not in _DROPPED:
            kept += segment
    if not has_scan:
        raise PhotoError("the photo holds no picture; take it again as JPEG")
    return bytes(kept + b"\xff\xd9")


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker with its bytes, a scan's data included, up to the first end of image."""
    if content[:2] != bytes((0xFF, _SOI)):
        raise PhotoError("the photo is no JPEG; choose another")
    at = 2
    while True:
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 2 > len(content) or content[at] != 0xFF:  # noqa: PLR2004 - a marker's first byte
            raise PhotoError("the photo is damaged; take it again")
        marker = content[at + 1]
        if marker == _EOI:
            return
        if marker in _LONE:
            at += 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(content):  # noqa: PLR2004 - the length counts itself
            raise PhotoError("the photo is damaged; take it again")
        if marker == _SOS:
            end = _end_of_scan(content, end)
        yield marker, content[at:end]
        at = end


def _end_of_scan(content: bytes, at: int) -> int:
    """Return where entropy-coded data ends: at a marker that is no restart and no stuffed byte."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            raise PhotoError("the photo ends too early; take it again")
        if content[at + 1] != 0 and content[at + 1] not in _LONE:
            return at
        at += 2


def _check_size(frame: bytes) -> None:
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (5, 7))
    if not 0 < height * width <= PIXELS_MAX:
        raise PhotoError(f"the photo has {width} x {height} pixels; make it smaller")


class PhotoShelf:
    """A folder of photos, each named by its content; call from a worker thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """Keep a photo and return its name; raises PhotoError, or SetupError from the disk."""
        cleaned = clean_jpeg(content)
        name = hashlib.sha256(cleaned).hexdigest()[:32]
        private_folder(self._folder)
        path = self._folder / f"{name}.jpg"
        if path.exists():
            return name
        with os.scandir(self._folder) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        if len(sizes) >= PHOTOS_MAX or sum(sizes) + len(cleaned) > BYTES_MAX:
            raise PhotoError(
                f"{len(sizes)} photos fill the space there is; remove some of {self._folder}"
            )
        write_private(path, cleaned)
        return name

    def find(self, name: str) -> bytes | None:
        """Return a photo by its name, None when there is none."""
        if _NAME.match(name) is None:
            return None
        try:
            return (self._folder / f"{name}.jpg").read_bytes()
        except OSError:
            return None
