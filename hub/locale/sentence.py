"""A sentence for a person, kept apart from the language it will be read in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago, in milliseconds; read as "12 s"."""

    ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment (Unix ms), read as the district's time of day."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Day:
    """A moment (Unix ms), read as the district's date."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """An amount of data, read as "1.2 MB"."""

    count: int


Argument: TypeAlias = "str | int | Age | Clock | Day | Bytes | Sentence"


@dataclass(frozen=True, slots=True)
class Sentence:
    """An English sentence, which is also its name in the catalogues, and what to fill in.

    ``message`` has ``%(name)s`` places; ``arguments`` fills them.
    """

    message: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
