"""All lessons' takes under one folder, ``<root>/<lesson>/<take>/``, opened when asked for."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sync.errors import MalformedError
from sync.lessons.fragment_files import LOG_NAME, PendingSync
from sync.lessons.fragment_log import Kind, LessonId, TakeId, parse_lesson_id, parse_take_id
from sync.lessons.fragment_store import FragmentStoreError, TakeStore

_log = logging.getLogger(__name__)

TAKES_MAX = 64
"""Capture starts of one lesson that are kept; with one more the shortest gives way."""


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """A take whose bytes were given up for space."""

    lesson: LessonId
    take: TakeId
    freed_bytes: int


class LessonShelf:
    """Opens each take once and keeps it open until its lesson is closed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[tuple[LessonId, TakeId], TakeStore] = {}

    def lessons(self) -> list[LessonId]:
        return [lesson for lesson, _ in _lessons(self._root)]

    def takes(self, lesson: LessonId) -> list[TakeStore]:
        """Return a lesson's takes with at least one record, in order of capture."""
        stores = [self.take(lesson, take) for take, _ in _takes(self._root / lesson)]
        begun = [store for store in stores if store.started_ms is not None]
        return sorted(begun, key=_began)

    def open_lessons(self) -> set[LessonId]:
        """Return the lessons of which takes are open."""
        return {lesson for lesson, _ in self._open}

    def open_takes(self, lesson: LessonId) -> list[TakeStore]:
        """Return the takes of a lesson that are open already; no disk is read."""
        return [store for (owner, _), store in self._open.items() if owner == lesson]

    def find(self, lesson: LessonId, take: TakeId) -> TakeStore | None:
        """Return a take that exists, or None."""
        known = self._open.get((lesson, take))
        if known is not None:
            return known
        if not (self._root / lesson / take.hex()).is_dir():
            return None
        return self.take(lesson, take)

    def take(self, lesson: LessonId, take: TakeId) -> TakeStore:
        """Return a take, made if it is new; raises FragmentStoreError when the disk refuses.

        A new one may have another give way: ask only for takes that are known to be the lesson's.
        """
        known = self._open.get((lesson, take))
        if known is not None:
            return known
        folder = self._root / lesson / take.hex()
        if not folder.is_dir():
            self._make_room(lesson)
        store = self._open[lesson, take] = TakeStore(folder, lesson, take)
        return store

    def _make_room(self, lesson: LessonId) -> None:
        """Give up a take where a lesson has as many as it may: a camera that fails again and again.

        It is the one that went on for least: how far its numbers came is known at every node,
        whatever of them is here. Events and slides go last. The newest goes on.
        """
        names = _takes(self._root / lesson)
        if len(names) < TAKES_MAX:
            return
        stores = sorted((self.take(lesson, take) for take, _ in names), key=_began)
        given_up = min(stores[:-1], key=_worth)
        del self._open[lesson, given_up.take]
        given_up.remove()
        _log.warning(
            "lesson %s has %d takes: %s, the shortest, is given up",
            lesson,
            TAKES_MAX,
            given_up.take.hex(),
        )

    def sizes(self) -> dict[LessonId, tuple[int, int]]:
        """Return each lesson's bytes, and when it was last added to (Unix ms)."""
        found: dict[LessonId, tuple[int, int]] = {}
        for lesson, folder in _lessons(self._root):
            takes = [take for _, take in _takes(folder)]
            touched_s = max((_touched_s(take) for take in takes), default=0.0)
            found[lesson] = sum(_log_bytes(take) for take in takes), int(touched_s * 1000)
        return found

    def note_path(self, lesson: LessonId, name: str) -> Path:
        """Return where a node keeps a file of its own on a lesson, which goes with the lesson."""
        return self._root / lesson / name

    def stored_bytes(self) -> int:
        return sum(
            _log_bytes(folder) for _, lesson in _lessons(self._root) for _, folder in _takes(lesson)
        )

    def reclaim(self, bytes_max: int, keep: Collection[LessonId]) -> list[Reclaimed]:
        """Give up whole takes, those longest untouched first, until ``bytes_max`` holds.

        Lessons in ``keep`` (those running) are never touched.
        """
        stored = self.stored_bytes()
        takes = [
            (folder, lesson, take)
            for lesson, lesson_folder in _lessons(self._root)
            if lesson not in keep
            for take, folder in _takes(lesson_folder)
        ]
        reclaimed: list[Reclaimed] = []
        for folder, lesson, take in sorted(takes, key=lambda found: _touched_s(found[0])):
            if stored <= bytes_max:
                break
            freed = _log_bytes(folder)
            opened = self._open.pop((lesson, take), None)
            if opened is not None:
                opened.close()
            shutil.rmtree(folder)
            stored -= freed
            reclaimed.append(Reclaimed(lesson, take, freed))
        return reclaimed

    async def sync(self) -> None:
        """Make every open take durable; the fsyncs run in a thread."""
        pending: list[tuple[TakeStore, PendingSync]] = []
        for store in self._open.values():
            begun = store.begin_sync()
            if begun is not None:
                pending.append((store, begun))
        if not pending:
            return
        try:
            await asyncio.to_thread(_wait_all, [begun for _, begun in pending])
        except OSError as error:
            raise FragmentStoreError(
                f"{self._root}: the disk does not keep the lesson ({error.strerror}); check it"
            ) from error
        for store, begun in pending:
            if self._open.get((store.lesson, store.take)) is store:
                store.end_sync(begun)

    def forget(self, lesson: LessonId) -> int:
        """Remove all that is stored of a lesson; return how many bytes that were."""
        self.close_lesson(lesson)
        folder = self._root / lesson
        freed = sum(_log_bytes(take) for _, take in _takes(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return freed

    def untouched_since(self, moment_s: float) -> list[LessonId]:
        """Return the lessons to which nothing was added since then, Unix seconds."""
        return [
            lesson
            for lesson, folder in _lessons(self._root)
            if all(_touched_s(take) < moment_s for _, take in _takes(folder))
        ]

    def close_lesson(self, lesson: LessonId) -> None:
        for name in [name for name in self._open if name[0] == lesson]:
            self._open.pop(name).close()

    def close(self) -> None:
        for lesson in self.open_lessons():
            self.close_lesson(lesson)


def _lessons(root: Path) -> list[tuple[LessonId, Path]]:
    """Return the lessons' folders; anything else that lies there is not ours to touch."""
    found: list[tuple[LessonId, Path]] = []
    for folder in _folders(root):
        with contextlib.suppress(MalformedError):
            found.append((parse_lesson_id(folder.name), folder))
    return found


def _takes(lesson: Path) -> list[tuple[TakeId, Path]]:
    found: list[tuple[TakeId, Path]] = []
    for folder in _folders(lesson):
        with contextlib.suppress(MalformedError):
            found.append((parse_take_id(folder.name), folder))
    return found


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(folder for folder in parent.iterdir() if folder.is_dir())


def _began(store: TakeStore) -> tuple[int, TakeId]:
    return store.started_ms or 0, store.take


def _worth(store: TakeStore) -> tuple[bool, bool, int, TakeId]:
    heads = {stream: store.index(stream).head for stream in store.streams}
    media = [head for stream, head in heads.items() if stream.kind is Kind.MEDIA]
    told = [head for stream, head in heads.items() if stream.kind in {Kind.EVENT, Kind.FILE}]
    is_begun = store.started_ms is not None
    return is_begun, bool(told) and not media, max(media or told, default=-1), store.take


def _log_bytes(take: Path) -> int:
    log = take / LOG_NAME
    return log.stat().st_size if log.exists() else 0


def _touched_s(take: Path) -> float:
    log = take / LOG_NAME
    return log.stat().st_mtime if log.exists() else 0.0


def _wait_all(pending: list[PendingSync]) -> None:
    errors: list[OSError] = []
    for begun in pending:
        try:
            begun.wait()
        except OSError as error:
            errors.append(error)
    if errors:
        raise errors[0]
