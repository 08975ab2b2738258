"""What devices report and what they can be told, independent of how each one speaks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from msgspec import Struct

from drivers.errors import Trouble

DeviceId = NewType("DeviceId", str)
"""Stable identity of an adopted device within a school, e.g. ``modbus:bus0:17``."""


class Quality(StrEnum):
    """How far a value can be trusted."""

    GOOD = "good"
    UNCERTAIN = "uncertain"  # outside the profile's valid range, or older than it should be
    BAD = "bad"  # the device said so, or the read failed


class Outcome(StrEnum):
    """How far a command got; three different words on the screen."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    VERIFIED = "verified"  # read back and found as wished
    FAILED = "failed"


class Measurement(Struct, frozen=True, kw_only=True):
    """One value of one point.

    ``value`` is None only with ``Quality.BAD``; ``reason`` then says why. ``source`` is the
    provenance, e.g. ``serial:ttyBUS unit 17 fc3 0x0000``. ``observed_ms`` is Unix time.
    """

    device: DeviceId
    point: str
    value: float | str | None
    unit: str
    quality: Quality
    observed_ms: int
    source: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRead:
    """One card presented once, however often the reader repeated it.

    ``card`` is canonical (see :mod:`drivers.codecs.card_numbers`). A terminal may tell ``number``
    instead, its own name of a person, and ``key``, by which the same tap is known when it is told
    again.
    """

    device: DeviceId
    card: str
    observed_ms: int
    source: str
    number: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputEdge:
    """An input came to be what an event of the profile waits for: a button, a door, a float switch.

    ``event`` is the event's id in the profile, ``observed_ms`` when the input was first seen so.
    """

    device: DeviceId
    event: str
    point: str
    observed_ms: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A device or its link came or went; ``reason`` is a sentence for a person.

    ``trouble`` says what kind of reason it is, NONE where the driver cannot tell.
    """

    device: DeviceId
    online: bool
    observed_ms: int
    reason: str
    trouble: Trouble = Trouble.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What came of one command."""

    device: DeviceId
    command: str
    outcome: Outcome
    observed_ms: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandReading:
    """What one wristband or chest strap told: ``band`` is its own name for itself.

    ``bpm`` is the heart rate; ``moving`` whether it moves, None when it cannot tell.
    """

    device: DeviceId
    band: str
    bpm: int
    observed_ms: int
    source: str
    moving: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StationResult:
    """One attempt at a fitness-test station, in ``unit``; ``wearer`` is a card, code or number."""

    device: DeviceId
    station: str
    wearer: str
    result: float
    unit: str
    observed_ms: int
    source: str


RecordedEvent = Measurement | CardRead | Presence | CommandResult | InputEdge
SportsEvent = BandReading | StationResult
DeviceEvent = RecordedEvent | SportsEvent
EventSink = Callable[[DeviceEvent], None]
"""Takes an event at once and never blocks; the recorder behind it commits in batches."""
NowMs = Callable[[], int]
"""Wall clock, Unix time in milliseconds."""
