"""Stations of the national student physical fitness test, and what results can be. Pure.

Source of stations and units: 国家学生体质健康标准 (2014 年修订). The plausible ranges are ours,
wide enough for any pupil from six to eighteen: what lies outside is a slip of a station or a hand.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

ATTEMPTS_MAX = 3
"""Attempts that count; of them the best."""
LINES_MAX = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """``names`` are how lists of results call it; plausible results lie within low and high."""

    station: str
    unit: str
    low: float
    high: float
    is_less_better: bool = False
    names: tuple[str, ...] = ()


_ALL = (
    Station(station="height", unit="cm", low=80, high=220, names=("身高",)),
    Station(station="weight", unit="kg", low=10, high=180, names=("体重",)),
    Station(station="vital_capacity", unit="mL", low=300, high=9_000, names=("肺活量",)),
    Station(
        station="run_50m", unit="s", low=5.5, high=30, is_less_better=True, names=("50米跑", "50米")
    ),
    Station(station="sit_and_reach", unit="cm", low=-30, high=45, names=("坐位体前屈", "体前屈")),
    Station(station="rope_skipping", unit="count", low=0, high=330, names=("一分钟跳绳", "跳绳")),
    Station(station="sit_ups", unit="count", low=0, high=110, names=("一分钟仰卧起坐", "仰卧起坐")),
    Station(station="pull_ups", unit="count", low=0, high=60, names=("引体向上",)),
    Station(station="standing_jump", unit="cm", low=30, high=350, names=("立定跳远",)),
    Station(
        station="run_50x8",
        unit="s",
        low=60,
        high=300,
        is_less_better=True,
        names=("50米\u00d78往返跑", "50米8往返跑"),
    ),
    Station(
        station="run_800m", unit="s", low=120, high=600, is_less_better=True, names=("800米跑",)
    ),
    Station(
        station="run_1000m", unit="s", low=140, high=700, is_less_better=True, names=("1000米跑",)
    ),
)
STATIONS: Mapping[str, Station] = MappingProxyType({each.station: each for each in _ALL})
_CALLED = {name: each for each in _ALL for name in (each.station, *each.names)}
_FACTORS = {("ms", "s"): 0.001, ("m", "cm"): 100.0, ("L", "mL"): 1000.0, ("ml", "mL"): 1.0}
_WEARER = ("学号", "学籍号", "编号", "卡号", "code", "card", "wearer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of one pupil."""

    person: int
    station: str
    result: float
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedResult:
    """A result as a list tells it; ``line`` is where."""

    line: int
    wearer: str
    station: str
    result: float
    unit: str


class ResultError(ValueError):
    """A result cannot be; the message says what and what to do."""


def judge(station: str, result: float, unit: str) -> tuple[Station, float]:
    """Return the station and the result in its unit; raises ResultError."""
    known = _CALLED.get(station)
    if known is None:
        raise ResultError(f"no station is called {station[:40]!r}; there are {', '.join(STATIONS)}")
    factor = 1.0 if unit in {"", known.unit} else _FACTORS.get((unit, known.unit))
    if factor is None:
        raise ResultError(f"{known.station} is measured in {known.unit}, not in {unit[:16]!r}")
    value = result * factor
    if not math.isfinite(value) or not known.low <= value <= known.high:
        raise ResultError(
            f"{value:g} {known.unit} cannot be a result of {known.station}; enter it again"
        )
    return known, value


def best_of(attempts: Iterable[Attempt]) -> dict[tuple[int, str], Attempt]:
    """Return the best of each pupil's first attempts at each station."""
    by_place: dict[tuple[int, str], list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda each: each.at_ms):
        if attempt.station in STATIONS:
            by_place.setdefault((attempt.person, attempt.station), []).append(attempt)
    return {
        place: _best(STATIONS[place[1]], counted[:ATTEMPTS_MAX])
        for place, counted in by_place.items()
    }


def read_list(text: str) -> Iterator[ListedResult]:
    """Yield the results of a CSV list, one a line or a station a column; raises ResultError.

    The first line names the columns: one of code, card, 学号, 编号; then either station and result
    (项目, 成绩), perhaps unit (单位), or columns named as stations are. Empty cells are left out.
    """
    rows = csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        wearers = [index for index, cell in enumerate(header) if cell.lower() in _WEARER]
        if not wearers:
            raise ResultError("line 1 names no column code or 学号; write one above the numbers")
        columns = {cell.lower(): index for index, cell in enumerate(header)}
        station = _first(columns, ("station", "项目"))
        result = _first(columns, ("result", "成绩"))
        unit = _first(columns, ("unit", "单位"))
        wide = {index: cell for index, cell in enumerate(header) if cell in _CALLED}
        if (station is None or result is None) and not wide:
            raise ResultError("line 1 names neither station and result nor any known station")
        for number, row in enumerate(rows, start=2):
            if number > LINES_MAX:
                raise ResultError(f"line {number}: more than {LINES_MAX} lines; divide the list")
            cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
            wearer = cells[wearers[0]]
            if station is not None and result is not None:
                told = {cells[station]: cells[result]}
            else:
                told = {name: cells[index] for index, name in wide.items()}
            for name, cell in told.items():
                if wearer and cell:
                    yield ListedResult(
                        line=number,
                        wearer=wearer,
                        station=name,
                        result=_seconds_or_number(cell, number),
                        unit=cells[unit] if unit is not None else "",
                    )
    except csv.Error as error:
        raise ResultError(f"the list is no CSV ({error}); export it anew") from error


def _best(station: Station, attempts: Sequence[Attempt]) -> Attempt:
    if station.is_less_better:
        return min(attempts, key=lambda each: each.result)
    return max(attempts, key=lambda each: each.result)


def _first(columns: Mapping[str, int], names: tuple[str, ...]) -> int | None:
    return next((columns[name] for name in names if name in columns), None)


def _seconds_or_number(cell: str, line: int) -> float:
    """Read ``8.25``, or minutes and seconds as runs are written: ``3'45`` or ``3:45``."""
    plain = cell.replace("\u2032", "'").replace(":", "'").rstrip('"\u2033')
    minutes, divided, seconds = plain.partition("'")
    try:
        number = float(minutes) * 60 + float(seconds) if divided else float(cell)
    except ValueError as error:
        raise ResultError(f"line {line}: {cell[:20]!r} is no number; correct it") from error
    if not math.isfinite(number):
        raise ResultError(f"line {line}: {cell[:20]!r} is no number that can be; correct it")
    return number
