"""Reads whatever kind of roster a person names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sync.errors import RosterError
from sync.rosters.files import Table, open_roster_files
from sync.rosters.oneroster import is_oneroster, read_oneroster, read_schools
from sync.rosters.people import Line
from sync.rosters.spreadsheet import left_out, read_spreadsheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A roster that was opened; ``lines`` may raise RosterError.

    ``schools`` are names by the files' own keys; a spreadsheet names schools on its lines alone.
    """

    kind: str  # OneRoster or spreadsheet
    encodings: Mapping[str, str]  # by file
    left_out: tuple[str, ...]  # columns of a spreadsheet that are not read
    schools: Mapping[str, str]
    lines: Iterator[Line]


@contextmanager
def open_reading(source: Path | bytes, name: str, bytes_max: int) -> Iterator[Reading]:
    """Open a CSV file, a ZIP archive or a folder; raises RosterError.

    ``bytes_max`` bounds what all files have once expanded.
    """
    with open_roster_files(source, name, bytes_max) as files:
        encodings = {table.name: table.encoding for table in files.tables.values()}
        if is_oneroster(files):
            yield Reading(
                kind="OneRoster",
                encodings=encodings,
                left_out=(),
                schools=read_schools(files),
                lines=read_oneroster(files),
            )
            return
        table = _only(name, list(files.tables.values()))
        yield Reading(
            kind="spreadsheet",
            encodings=encodings,
            left_out=tuple(left_out(table)),
            schools={},
            lines=read_spreadsheet(table),
        )


def _only(name: str, tables: list[Table]) -> Table:
    if len(tables) != 1:
        raise RosterError(
            f"{name}: {len(tables)} CSV files and no users.csv among them; name one CSV file, or"
            " the files of a OneRoster export"
        )
    return tables[0]
