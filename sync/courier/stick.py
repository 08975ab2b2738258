"""Courier files on a USB stick: a pulled stick leaves old or new ones, and reading is wary.

All lie in one folder of the stick, named for who writes to whom. Whatever else is there, links,
pipes and huge files among it, is not opened.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sync.courier.parts import PART_BYTES_MAX
from sync.segments.segment import HUB

FOLDER = "schoolnode-courier"
FILES_MAX = 50_000
"""A folder with more entries is not searched through."""
_NAME = re.compile(
    r"(hub|school-([1-9][0-9]{0,9}))-to-(hub|school-([1-9][0-9]{0,9}))-([0-9]{5})\.courier"
)
_NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})


class StickError(Exception):
    """The stick cannot be read or written: the message names the file and the remedy."""


@dataclass(frozen=True, slots=True, order=True)
class CourierFile:
    """A file whose name says from whom, to whom, and which part it is."""

    origin: int
    recipient: int
    part: int
    path: Path


def file_name(origin: int, recipient: int, part: int) -> str:
    return f"{_end(origin)}-to-{_end(recipient)}-{part:05}.courier"


def find_files(stick: Path) -> list[CourierFile]:
    """Return the stick's courier files in order; raises StickError when it cannot be read."""
    folder = stick / FOLDER
    found = []
    try:
        if not stick.is_dir():
            raise StickError(f"{stick}: there is no such folder; is the stick mounted there?")
        if not folder.exists() and not folder.is_symlink():
            return []
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise StickError(f"{folder}: it is no folder; remove it and export again")
        with os.scandir(folder) as entries:
            for seen, entry in enumerate(entries):
                if seen >= FILES_MAX:
                    raise StickError(f"{folder}: more than {FILES_MAX} files; empty it")
                match = _NAME.fullmatch(entry.name)
                if match is not None:
                    origin, recipient = int(match[2] or HUB), int(match[4] or HUB)
                    part = int(match[5])
                    found.append(CourierFile(origin, recipient, part, folder / entry.name))
    except OSError as error:
        raise StickError(f"{folder}: cannot be read ({error.strerror}); try the stick again") from (
            error
        )
    return sorted(found)


def read_file(path: Path) -> bytes:
    """Return a file's bytes; raises StickError for what is no plain file of a courier's size."""
    try:
        # O_NONBLOCK: a pipe that has this name is not waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as file:
            described = os.fstat(descriptor)
            if not stat.S_ISREG(described.st_mode):
                raise StickError(f"{path.name}: it is no plain file; not opened")
            if described.st_size > PART_BYTES_MAX:
                raise StickError(f"{path.name}: {described.st_size} bytes; not a courier file")
            content = file.read(PART_BYTES_MAX + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StickError(f"{path.name}: it is a link; links are not followed") from error
        raise StickError(f"{path.name}: cannot be read ({error.strerror})") from error
    if len(content) > PART_BYTES_MAX:
        raise StickError(f"{path.name}: it grew while it was read; not a courier file")
    return content


def write_file(stick: Path, name: str, content: bytes) -> None:
    """Put a file on the stick: temporary name, fsync, rename, fsync of the folder, read back.

    Raises StickError; the file of that name is then the old one, or there is none.
    """
    folder = stick / FOLDER
    path, temporary = folder / name, folder / f".{name}.new"
    try:
        _make_folder(folder)
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # What is read back must come from the stick, not from memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        _read_back(temporary, content)
        temporary.replace(path)
        _sync(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StickError(_refusal(stick, name, error)) from error


def remove_others(stick: Path, origin: int, recipient: int, last_part: int) -> None:
    """Remove parts of an earlier, longer export, and what a pulled stick left half written."""
    for each in find_files(stick):
        if (each.origin, each.recipient) == (origin, recipient) and each.part > last_part:
            each.path.unlink(missing_ok=True)
    folder = stick / FOLDER
    prefix = f".{_end(origin)}-to-{_end(recipient)}-"
    for path in folder.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(".courier.new"):
            path.unlink(missing_ok=True)
    _sync(folder)


def free_bytes(stick: Path) -> int:
    """Return the space left on the stick; raises StickError when it is not there."""
    try:
        described = os.statvfs(stick)
    except OSError as error:
        raise StickError(f"{stick}: {error.strerror}; is the stick mounted there?") from error
    return described.f_bavail * described.f_frsize


def _make_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise StickError(f"{folder}: it is no folder; remove it and export again")


def _read_back(path: Path, content: bytes) -> None:
    if read_file(path) != content:
        path.unlink()
        name = path.name.removeprefix(".").removesuffix(".new")
        raise StickError(f"{name}: the stick gave back other bytes than were written; replace it")


def _refusal(stick: Path, name: str, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{name}: {stick} is full; what was written before is whole: use it, or free space"
    if error.errno == errno.EROFS:
        return f"{name}: {stick} is write-protected; open its lock, or mount it for writing"
    return f"{name}: cannot be written ({error.strerror}); try the stick again, or another"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some drivers of FAT and exFAT cannot sync a folder alone; then all is synced.
        if error.errno not in _NO_SUCH_CALL:
            raise
        os.sync()
    finally:
        os.close(descriptor)


def _end(origin: int) -> str:
    return "hub" if origin == HUB else f"school-{origin}"
