"""Lines of text by which sports gateways tell heart rates and results; a profile says how.

Pure. A line is JSON or divided into columns, with an NMEA 0183 checksum or none.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from drivers.errors import ProtocolError
from firmware_profiles.model import Event, LineField, LineFormat

LINE_BYTES_MAX = 1024
NAME_CHARS_MAX = 64
BPM_MAX = 300
NESTING_MAX = 4
_NUMBERS: frozenset[LineField] = frozenset({"bpm", "result"})
_YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartLine:
    """One heart rate; ``moving`` None: the line does not say."""

    event: str
    band: str
    bpm: int
    moving: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLine:
    """One attempt at a station; ``unit`` is empty when the line does not say."""

    event: str
    station: str
    wearer: str
    result: float
    unit: str = ""


class LineSplitter:
    """Divides a stream into lines; holds at most one. A longer one is dropped and counted."""

    def __init__(self) -> None:
        self.overlong = 0
        self._rest = b""
        self._skips = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that became complete, without their ends; empty ones are left out."""
        *whole, rest = (self._rest + data.replace(b"\r", b"\n")).split(b"\n")
        lines: list[bytes] = []
        for line in whole:
            if self._skips:
                self._skips = False
            elif len(line) > LINE_BYTES_MAX:
                self.overlong += 1
            elif line.strip():
                lines.append(line.strip())
        if len(rest) > LINE_BYTES_MAX:
            self.overlong += not self._skips
            self._skips, rest = True, b""
        self._rest = rest
        return lines


def read_line(line: bytes, events: Iterable[Event]) -> HeartLine | ResultLine | None:
    """Return what a line tells by the first event that fits it, None when none does.

    Raises ProtocolError for a line that fits and is damaged or tells what cannot be.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a line is no UTF-8; check the baud rate") from error
    for event in events:
        if event.line is None:
            continue
        cells = _cells(text, event.line)
        if cells is not None:
            return _told(event, event.line, cells)
    return None


def nmea_sum(text: str) -> str:
    """Return NMEA 0183's checksum of what stands between ``$`` and ``*``."""
    total = 0
    for byte in text.encode():
        total ^= byte
    return f"{total:02X}"


def _cells(text: str, line: LineFormat) -> Mapping[str, str] | None:
    """Return a line's cells by key or column, None when it is of another kind."""
    cells = _json_cells(text, line) if line.style == "json" else _columns(text, line)
    if cells is None or any(cells.get(key) != word for key, word in line.where.items()):
        return None
    return cells if all(place in cells for place in line.fields.values()) else None


def _columns(text: str, line: LineFormat) -> Mapping[str, str] | None:
    if not text.startswith(line.starts):
        return None
    if line.checksum == "nmea":
        body, star, told = text.removeprefix("$").rpartition("*")
        if not star or nmea_sum(body) != told.upper():
            raise ProtocolError("a line's checksum is wrong")
        text = text[: -len(told) - 1]
    cells = text.split(line.separator)
    return {str(number): cell.strip() for number, cell in enumerate(cells, start=1)}


def _json_cells(text: str, line: LineFormat) -> Mapping[str, str] | None:
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    cells: dict[str, str] = {}
    for path in {*line.fields.values(), *line.where}:
        value: object = told
        for key in path.split(".")[:NESTING_MAX]:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            cells[path] = "1" if value else "0"
        elif isinstance(value, str | int | float):
            cells[path] = str(value)
    return cells


def _told(event: Event, line: LineFormat, cells: Mapping[str, str]) -> HeartLine | ResultLine:
    fields: dict[LineField, str] = {name: cells[place] for name, place in line.fields.items()}
    fields.update(line.fixed)
    for name, text in fields.items():
        if not text.isprintable() or len(text) > NAME_CHARS_MAX:
            raise ProtocolError(f"{name} of {event.id} is no printable word")
    numbers = {name: _number(name, fields[name], line) for name in _NUMBERS & fields.keys()}
    if event.capability == "heart_rate":
        bpm = round(numbers["bpm"])
        if not 0 <= bpm <= BPM_MAX or not fields["band"]:
            raise ProtocolError(f"{event.id} tells {bpm} beats of {fields['band']!r}")
        moving = fields.get("moving", "")
        return HeartLine(
            event=event.id,
            band=fields["band"],
            bpm=bpm,
            moving=moving.lower() in _YES if moving else None,
        )
    if not fields["wearer"]:
        raise ProtocolError(f"{event.id} does not say whose result it is")
    return ResultLine(
        event=event.id,
        station=line.words.get(fields["station"], fields["station"]),
        wearer=fields["wearer"],
        result=numbers["result"],
        unit=fields.get("unit", ""),
    )


def _number(name: LineField, text: str, line: LineFormat) -> float:
    try:
        number = float(text) * line.scale.get(name, 1.0)
    except ValueError as error:
        raise ProtocolError(f"{name} is {text[:20]!r}, no number") from error
    if not math.isfinite(number):
        raise ProtocolError(f"{name} is {text[:20]!r}, no number that can be")
    return number
