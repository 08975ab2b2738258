"""What the engine sees of the farm at one look: readings with their ages, outputs, the clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from drivers.entities import Quality
from edge.farm.rule import Output, Source


class Seen(StrEnum):
    """What an output was read to be; what nobody read just now is unknown."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A point's latest value, and how long ago it came by the machine's own clock."""

    value: float | str | None
    quality: Quality
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One look. ``mono_s`` never jumps; ``moment`` is local time, None while it is not known.

    ``samples`` has what each source's devices said, one for each device, None for one that said
    nothing yet. ``school_days`` are the ISO dates with lessons.
    """

    mono_s: float
    moment: datetime | None
    samples: Mapping[Source, tuple[Sample | None, ...]]
    seen: Mapping[Output, Seen]
    school_days: frozenset[str] = frozenset()

    def seen_of(self, output: Output) -> Seen:
        return self.seen.get(output, Seen.UNKNOWN)
