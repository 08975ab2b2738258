"""Versions of devices' own programs, and the ranges by which profiles speak of them.

Devices write versions in many ways (``V5.5.82 build 190909``, ``Ver 8.0.4.7-20231212``): what
counts is the first run of numbers joined by dots, and the number after ``build``. A range is ``*``
or comparisons that must all hold, joined by commas: ``>=5.4, <5.5.800`` or ``build <210625``.
Missing numbers are zero, so 5.4 equals 5.4.0; a version without a build fits no range of builds.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from firmware_profiles.model import Firmware, Profile

NUMBERS_MAX = 8
_NUMBERS = rf"[0-9]{{1,18}}(?:\.[0-9]{{1,18}}){{0,{NUMBERS_MAX - 1}}}"
_VERSION = re.compile(_NUMBERS)
_BUILD = re.compile(r"build[ _:.]{0,2}([0-9]{1,18})", re.IGNORECASE)
_COMPARISON = re.compile(rf"(build\s*)?(<=|>=|<|>|=)\s*({_NUMBERS})")
_COMPARE: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One condition of a range, on the version or on its build."""

    of_build: bool
    sign: str
    bound: tuple[int, ...]


def parse_range(text: str) -> tuple[Comparison, ...]:
    """Return the comparisons of a range, none for ``*``; ValueError when it is no range."""
    if text.strip() == "*":
        return ()
    found = [_COMPARISON.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError(f'{text!r} is no range of versions; write "*" or ">=1.2, <2"')
    return tuple(
        Comparison(of_build=bool(match[1]), sign=match[2], bound=_padded(match[3]))
        for match in found
        if match
    )


def fits(version: str, versions: str) -> bool:
    """Tell whether a device's version lies in a range; ValueError when it is no range."""
    build = _BUILD.search(version)
    numbers = _VERSION.search(version)
    for comparison in parse_range(versions):
        found = build[1] if comparison.of_build and build else None
        if not comparison.of_build and numbers:
            found = numbers[0]
        if found is None or not _COMPARE[comparison.sign](_padded(found), comparison.bound):
            return False
    return True


def judge(profile: Profile, version: str) -> Firmware | None:
    """Return what the profile knows of a device's version, None when it says nothing of it."""
    return next((entry for entry in profile.firmware if fits(version, entry.versions)), None)


def _padded(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return (*numbers, *[0] * (NUMBERS_MAX - len(numbers)))
