"""Versions of devices' own programs, and the ranges by which profiles speak of them.

Devices write versions in many ways (``V5.5.82 build 190909``, ``Ver 8.0.4.7-20231212``): what
counts is the first run of numbers joined by dots. A range is ``*`` or comparisons that must all
hold, joined by commas: ``>=5.4, <5.5.800``. Missing numbers are zero, so 5.4 equals 5.4.0.
"""

import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from firmware_profiles.model import Firmware, Profile

NUMBERS_MAX = 8
_VERSION = re.compile(rf"[0-9]{{1,18}}(?:\.[0-9]{{1,18}}){{0,{NUMBERS_MAX - 1}}}")
_COMPARISON = re.compile(rf"(<=|>=|<|>|=)\s*({_VERSION.pattern})")
_COMPARE: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
)
_Comparison = tuple[str, tuple[int, ...]]


def parse_range(text: str) -> tuple[_Comparison, ...]:
    """Return the comparisons of a range, none for ``*``; ValueError when it is no range."""
    if text.strip() == "*":
        return ()
    found = [_COMPARISON.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError(f'{text!r} is no range of versions; write "*" or ">=1.2, <2"')
    return tuple((match[1], _padded(match[2])) for match in found if match)


def fits(version: str, versions: str) -> bool:
    """Tell whether a device's version lies in a range; one without numbers lies only in ``*``."""
    comparisons = parse_range(versions)
    found = _VERSION.search(version)
    if found is None:
        return not comparisons
    own = _padded(found[0])
    return all(_COMPARE[sign](own, other) for sign, other in comparisons)


def judge(profile: Profile, version: str) -> Firmware | None:
    """Return what the profile knows of a device's version, None when it says nothing of it."""
    return next((entry for entry in profile.firmware if fits(version, entry.versions)), None)


def _padded(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in version.split(".")]
    return (*numbers, *[0] * (NUMBERS_MAX - len(numbers)))
