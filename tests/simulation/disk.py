"""A machine's disk as SQLite sees it: what was not synced may be lost, in part or torn, at a cut.

An APSW VFS. Files live in memory, each as what is durable and what was written since; a power cut
keeps any of the unsynced sectors. ``Disk.trouble`` hears of every call before it is made and may
raise: a power cut, an I/O error, a full disk.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import TypeAlias

import apsw

SECTOR_BYTES = 512
_numbers = count(1)


class PowerCutError(BaseException):
    """The machine is off: whatever ran there has stopped where it stood."""


class Call(Enum):
    READ = auto()
    WRITE = auto()
    TRUNCATE = auto()
    SYNC = auto()
    DELETE = auto()


CHANGES = frozenset({Call.WRITE, Call.TRUNCATE, Call.SYNC, Call.DELETE})
"""Calls by which a disk's state moves; a crash is tried at each."""


class Survival(Enum):
    """What a power cut leaves of the writes that were not synced."""

    NONE = auto()
    ALL = auto()
    SOME = auto()  # any sectors, some of them torn


@dataclass(slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(slots=True)
class _Truncate:
    size: int


_Change: TypeAlias = _Write | _Truncate


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    live: bytearray = field(default_factory=bytearray)
    pending: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        _apply(self.live, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()


class Disk:
    """One machine's files; survives its programs, not what it never synced."""

    def __init__(self) -> None:
        self.vfs_name = f"simulated-disk-{next(_numbers)}"
        self.trouble: Callable[[Call], None] | None = None
        self.is_off = False
        self._files: dict[str, _File] = {}
        self._vfs = _Vfs(self)

    def put(self, name: str, content: bytes) -> None:
        """Place a durable file, as a restore from a backup does; its companions go."""
        for other in [each for each in self._files if each.startswith(name)]:
            del self._files[other]
        self._files[name] = _File(bytearray(content), bytearray(content))

    def content(self, name: str) -> bytes:
        """Return a file as a program on this machine reads it."""
        return bytes(self._files[name].live)

    def names(self) -> list[str]:
        return sorted(self._files)

    def cut(self) -> None:
        """Turn the machine off: what its programs still do does not reach the disk."""
        self.is_off = True

    def power_up(self, survival: Survival, chance: random.Random) -> None:
        """Turn the machine on with what survived; the programs that ran are gone."""
        for file in self._files.values():
            for change in file.pending:
                _survive(file.durable, change, survival, chance)
            file.live = bytearray(file.durable)
            file.pending = []
        self.is_off = False

    def remove(self) -> None:
        """Take the disk out of SQLite's sight; it is not used again."""
        self._vfs.unregister()

    def file(self, name: str) -> _File:
        return self._files.setdefault(name, _File())

    def has(self, name: str) -> bool:
        return name in self._files

    def delete(self, name: str) -> None:
        self.note(Call.DELETE)
        if not self.is_off:
            self._files.pop(name, None)

    def note(self, call: Call) -> None:
        """Let the disk's trouble happen; raises what the trouble raises."""
        if self.trouble is not None and not self.is_off:
            self.trouble(call)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.vfs_name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_OpenFile":  # type: ignore[override]  # apsw takes whatever has its file's methods  # noqa: N802
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        return _OpenFile(self._disk, filename or f"temporary-{next(_numbers)}")

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002, N802
        return self._disk.has(pathname)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002, N802
        self._disk.delete(filename)

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


class _OpenFile:
    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._file = disk.file(name)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.note(Call.READ)
        return bytes(self._file.live[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._change(Call.WRITE, _Write(offset, data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._change(Call.TRUNCATE, _Truncate(newsize))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        self._disk.note(Call.SYNC)
        if not self._disk.is_off:
            self._file.sync()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._file.live)

    def xLock(self, level: int) -> None:  # noqa: N802
        """One program has the disk: nothing to lock against."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """As xLock."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002, N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0

    def xClose(self) -> None:  # noqa: N802
        """The file stays on the disk."""

    def _change(self, call: Call, change: _Change) -> None:
        self._disk.note(call)
        if not self._disk.is_off:
            self._file.change(change)


def _apply(content: bytearray, change: _Change) -> None:
    if isinstance(change, _Truncate):
        del content[change.size :]
        return
    offset, data = change.offset, change.data
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _survive(
    content: bytearray, change: _Change, survival: Survival, chance: random.Random
) -> None:
    if survival is Survival.NONE:
        return
    if survival is Survival.ALL:
        _apply(content, change)
        return
    match change:
        case _Truncate():
            if chance.random() < 0.5:
                _apply(content, change)
        case _Write(offset, data):
            begin = 0
            while begin < len(data):
                end = min(len(data), begin + SECTOR_BYTES - (offset + begin) % SECTOR_BYTES)
                fate = chance.random()
                if fate < 0.45:
                    _apply(content, _Write(offset + begin, data[begin:end]))
                elif fate < 0.55:
                    torn = chance.randrange(begin, end)
                    _apply(content, _Write(offset + begin, data[begin:torn]))
                begin = end
