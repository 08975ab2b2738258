"""The files of a roster: one CSV file, a ZIP archive or a folder of them, none trusted.

Every file is read as a stream, once or twice; nothing is unpacked to the disk.
"""

import codecs
import csv
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sync.errors import RosterError

FILES_MAX = 64
LINE_CHARACTERS_MAX = 64 * 1024
_RECORD_LINES_MAX = 64
_BLOCK_BYTES = 256 * 1024
_ZIP = b"PK\x03\x04"
_WORKBOOK = ("xl/", "[Content_Types].xml")
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SHOWN_CHARACTERS = 60
_ENCRYPTED = 1  # bit 0 of a ZIP entry's flags
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_UNREADABLE = (
    OSError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the readers of files and archives raise on what is damaged."""


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file. ``columns`` are its first line, trimmed, in small letters."""

    name: str
    encoding: str  # UTF-8 or GB18030
    columns: tuple[str, ...]
    _open: Callable[[], IO[bytes]]

    def lines(self, wanted: Sequence[str]) -> Iterator[tuple[int, list[str] | None]]:
        """Yield each line's number and its cells of the columns wanted, in that order.

        A column that is not there yields empty cells; a line with more or fewer cells than the
        first yields None. Empty lines are passed over. Raises RosterError.
        """
        places = [self.columns.index(each) if each in self.columns else -1 for each in wanted]
        count = len(self.columns)
        records = _records(self.name, self.encoding, self._open)
        next(records, None)
        for number, cells in records:
            if not any(cells):
                continue
            if len(cells) != count:
                yield number, None
                continue
            yield number, [cells[place] if place >= 0 else "" for place in places]

    def need(self, columns: Sequence[str]) -> None:
        """Raise RosterError unless all these columns are there."""
        missing = [each for each in columns if each not in self.columns]
        if missing:
            raise RosterError(
                f"{self.name}: its first line lacks {', '.join(missing)}; export it again"
            )


@dataclass(frozen=True, slots=True)
class RosterFiles:
    """The CSV files of one roster by their names in small letters, without folders."""

    name: str
    tables: dict[str, Table]


@contextmanager
def open_roster_files(source: Path | bytes, name: str, bytes_max: int) -> Iterator[RosterFiles]:
    """Open a file, an archive, a folder, or a file's content.

    ``bytes_max`` bounds what all files have once expanded. Raises RosterError.
    """
    if isinstance(source, Path) and source.is_dir():
        yield RosterFiles(name, _tables(_of_folder(source), bytes_max))
        return
    opener = _opener(source) if isinstance(source, Path) else lambda: io.BytesIO(source)
    with _told(name), closing(opener()) as file:
        start = file.read(len(_ZIP))
    if start.startswith(_OLD_WORKBOOK):
        raise RosterError(f"{name}: it is an old Excel workbook; {_SAVE_AS_CSV}")
    if start != _ZIP:
        yield RosterFiles(name, _tables([(name, opener)], bytes_max))
        return
    with _undecodable(name), _told(name):
        archive = zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source))
    with archive:
        yield RosterFiles(name, _tables(_of_archive(name, archive), bytes_max))


_SAVE_AS_CSV = "in Excel, save it as “CSV UTF-8”, and name that file"


def _of_folder(folder: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with _told(str(folder)):
        found = sorted(each for each in folder.iterdir() if each.suffix.lower() == ".csv")
    if not 0 < len(found) <= FILES_MAX:
        raise RosterError(f"{folder}: holds {len(found)} CSV files; a roster has 1 to {FILES_MAX}")
    for path in found:
        yield path.name, _opener(path)


def _of_archive(
    name: str, archive: zipfile.ZipFile
) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    infos = archive.infolist()
    if any(each.filename.startswith(_WORKBOOK) for each in infos):
        raise RosterError(f"{name}: it is an Excel workbook; {_SAVE_AS_CSV}")
    if len(infos) > FILES_MAX:
        raise RosterError(f"{name}: holds {len(infos)} files; a roster has 1 to {FILES_MAX}")
    seen: set[str] = set()
    for info in infos:
        base = info.filename.rpartition("/")[2].lower()
        if not base.endswith(".csv") or info.filename.startswith("__MACOSX/"):
            continue
        if base in seen:
            raise RosterError(f"{name}: two files are named {_shown(base)}; remove one")
        seen.add(base)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise RosterError(
                f"{name}: {_shown(base)} has a password or is packed in an unusual way; pack it"
                " again without"
            )
        yield base, _entry_opener(archive, info)
    if not seen:
        raise RosterError(f"{name}: holds no CSV file; pack the files themselves")


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        # O_NONBLOCK: a pipe is not waited for; it is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise RosterError(f"{path}: it is no plain file; name a CSV file, a ZIP or a folder")
        return file

    return opened


def _entry_opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    # An entry never yields more than the size that it states.
    return lambda: archive.open(info)


def _tables(
    files: Iterable[tuple[str, Callable[[], IO[bytes]]]], bytes_max: int
) -> dict[str, Table]:
    """Find out each file's encoding, reading it through once, and its columns."""
    tables = {}
    left = bytes_max
    for name, opener in files:
        encoding, size = _encoding(name, opener, left)
        left -= size
        _, first = next(_records(name, encoding, opener), (0, []))
        columns = tuple(each.strip().lower() for each in first)
        named = [each for each in columns if each]
        if len(set(named)) != len(named):
            raise RosterError(f"{name}: two columns have one name; rename one")
        base = Path(name).name
        tables[base.lower()] = Table(base, encoding, columns, opener)
    return tables


def _encoding(name: str, opener: Callable[[], IO[bytes]], bytes_max: int) -> tuple[str, int]:
    """Return the encoding and the size."""
    for encoding in ("UTF-8", "GB18030"):  # the second is what Excel saves in China
        try:
            return encoding, _decode_all(name, encoding, opener, bytes_max)
        except UnicodeDecodeError:
            continue
    raise RosterError(f"{name}: it is neither UTF-8 nor GB18030; save it as UTF-8")


def _decode_all(name: str, encoding: str, opener: Callable[[], IO[bytes]], bytes_max: int) -> int:
    decoder = codecs.getincrementaldecoder(encoding)()
    total = 0
    with _told(name), closing(opener()) as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            if not total and block.startswith(_WIDE):
                raise RosterError(f"{name}: it is UTF-16; save it as UTF-8")
            total += len(block)
            if total > bytes_max:
                raise RosterError(f"{name}: too much to read; split it by schools")
            decoder.decode(block, final=not block)
            if not block:
                return total


class _BoundedLines:
    """Lines of a text, none too long, and not too many of them in one record."""

    def __init__(self, name: str, text: io.TextIOWrapper) -> None:
        self._name = name
        self._text = text
        self.in_record = 0

    def __iter__(self) -> "_BoundedLines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_CHARACTERS_MAX + 1)
        if not line:
            raise StopIteration
        self.in_record += 1
        if len(line) > LINE_CHARACTERS_MAX or self.in_record > _RECORD_LINES_MAX:
            raise RosterError(
                f"{self._name}: a line is longer than any of a roster; a quotation mark may be"
                " open: save the file as CSV again"
            )
        return line


def _records(
    name: str, encoding: str, opener: Callable[[], IO[bytes]]
) -> Iterator[tuple[int, list[str]]]:
    codec = "utf-8-sig" if encoding == "UTF-8" else "gb18030"
    with _undecodable(name), _told(name), io.TextIOWrapper(opener(), codec, newline="") as text:
        lines = _BoundedLines(name, text)
        reader = csv.reader(lines, strict=True)
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise RosterError(
                    f"{name} line {reader.line_num}: {error}; save the file as CSV again"
                ) from error
            if cells is None:
                return
            lines.in_record = 0
            yield reader.line_num, cells


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell of a file that cannot be read; what does not decode is the caller's matter."""
    try:
        yield
    except UnicodeDecodeError:
        raise
    except _UNREADABLE as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RosterError(f"{name}: cannot be read ({told}); name another, or copy it anew") from (
            error
        )


@contextmanager
def _undecodable(name: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise RosterError(
            f"{name}: a text in it is damaged, or it changed while it was read; copy it anew"
        ) from error


def _shown(name: str) -> str:
    return "".join(each for each in name[:_SHOWN_CHARACTERS] if each.isprintable())
