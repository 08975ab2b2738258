"""Slides of lessons on a box's disk: pictures named by their SHA-256, a folder a lesson.

At the flagship a person adds them; at the other schools they grow from chunks that come with the
lesson, and are shown only when they are whole and have the hash they are named by.
"""

import contextlib
import hashlib
import os
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from sync.errors import MalformedError, SyncError
from sync.lessons.fragment_log import LessonId, parse_lesson_id
from sync.lessons.materials import FILE_BYTES_MAX, Chunk, chunk_count
from sync.logs.oplog import Row

MATERIALS_MAX = 200
GROWING_MAX = 64
"""Files of one lesson that are not whole yet."""
TITLE_CHARACTERS_MAX = 120
_DIGEST_DIGITS = 64


class MaterialError(SyncError):
    """A file cannot be a lesson's material: tell the person who brought it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A slide: ``digest`` is its SHA-256, ``position`` its place in the lesson from 1."""

    lesson: LessonId
    position: int
    title: str
    media_type: str
    digest: bytes
    size: int

    @property
    def row(self) -> Row:
        """The material as the table ``resource`` has it."""
        return {
            "lesson": self.lesson,
            "position": self.position,
            "title": self.title,
            "media_type": self.media_type,
            "digest": self.digest,
            "bytes": self.size,
        }


def media_type_of(head: bytes) -> str | None:
    """Tell PNG, JPEG and WebP by their first bytes; None for anything else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return None


class Materials:
    """All lessons' materials under one folder, ``<root>/<lesson>/<SHA-256>``; blocking."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._growing: dict[LessonId, OrderedDict[bytes, set[int]]] = {}

    def add(self, lesson: LessonId, position: int, title: str, data: bytes) -> Material:
        """Keep a picture for a lesson; the same one again is no second.

        Raises MaterialError for what is no PNG, JPEG or WebP of at most 4 MiB, for one too many,
        and when the disk does not take it.
        """
        media_type = media_type_of(data)
        if media_type is None:
            raise MaterialError("the file is no PNG, JPEG or WebP picture; save the slide as one")
        if len(data) > FILE_BYTES_MAX:
            raise MaterialError("the picture is larger than 4 MB; save it smaller")
        if not title or len(title) > TITLE_CHARACTERS_MAX:
            raise MaterialError(f"a title has 1 to {TITLE_CHARACTERS_MAX} characters; change it")
        digest = hashlib.sha256(data).digest()
        if self.find(lesson, digest) is None:
            if len(self.digests(lesson)) >= MATERIALS_MAX:
                raise MaterialError(
                    f"the lesson has {MATERIALS_MAX} slides already; leave some out"
                )
            part = self._part(lesson, digest)
            try:
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data)
                _finish(part, digest)
            except OSError as error:
                raise MaterialError(
                    f"the disk does not take the slide ({error.strerror}); free space"
                ) from error
        return Material(
            lesson=lesson,
            position=position,
            title=title,
            media_type=media_type,
            digest=digest,
            size=len(data),
        )

    def digests(self, lesson: LessonId) -> list[bytes]:
        """Return the hashes of a lesson's whole files, small files first."""
        folder = self._root / lesson
        found = [
            (path.stat().st_size, path.name)
            for path in (folder.iterdir() if folder.is_dir() else ())
            if is_digest(path.name)
        ]
        return [bytes.fromhex(name) for _, name in sorted(found)]

    def find(self, lesson: LessonId, digest: bytes) -> Path | None:
        """Return where a lesson's file lies once it is whole."""
        path = self._root / lesson / digest.hex()
        return path if path.is_file() else None

    def grow(self, lesson: LessonId, chunk: Chunk) -> bool:
        """Put a chunk that came into its file; True when that made the file whole.

        One thread a lesson at a time. Raises MalformedError when the whole is not what its name
        says, or no picture, and OSError when the disk does not take it.
        """
        if self.find(lesson, chunk.digest) is not None:
            return False
        growing = self._growing.setdefault(lesson, OrderedDict())
        offsets = growing.get(chunk.digest)
        part = self._part(lesson, chunk.digest)
        if offsets is None:
            if len(self.digests(lesson)) >= MATERIALS_MAX:
                raise MalformedError(f"lesson {lesson} has more than {MATERIALS_MAX} slides")
            if len(growing) >= GROWING_MAX:
                oldest, _ = growing.popitem(last=False)
                self._part(lesson, oldest).unlink(missing_ok=True)
            offsets = growing[chunk.digest] = set()
            part.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, chunk.data, chunk.offset)
        finally:
            os.close(descriptor)
        offsets.add(chunk.offset)
        if len(offsets) < chunk_count(chunk.total):
            return False
        del growing[chunk.digest]
        _finish(part, chunk.digest)
        return True

    def sizes(self) -> dict[LessonId, tuple[int, int]]:
        """Return the bytes of each lesson that has any, and when it was last added to (Unix ms)."""
        found: dict[LessonId, tuple[int, int]] = {}
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            with contextlib.suppress(MalformedError, OSError):  # not ours, or gone meanwhile
                lesson = parse_lesson_id(folder.name)
                size = sum(path.stat().st_size for path in folder.iterdir())
                found[lesson] = size, int(folder.stat().st_mtime * 1000)
        return found

    def forget(self, lesson: LessonId) -> None:
        """Give up a lesson's materials."""
        self._growing.pop(lesson, None)
        shutil.rmtree(self._root / lesson, ignore_errors=True)

    def _part(self, lesson: LessonId, digest: bytes) -> Path:
        return self._root / lesson / f"{digest.hex()}.part"


def _finish(part: Path, digest: bytes) -> None:
    """Give a whole file its name; raises MalformedError for one that must not have it."""
    data = part.read_bytes()
    if hashlib.sha256(data).digest() != digest or media_type_of(data) is None:
        part.unlink()
        raise MalformedError("a slide is not the picture its name says; the flagship adds it anew")
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.rename(part.with_suffix(""))


def is_digest(name: str) -> bool:
    """Tell whether a name is that of a whole file: its SHA-256 in lower-case hexadecimal."""
    return len(name) == _DIGEST_DIGITS and set(name) <= set("0123456789abcdef")
