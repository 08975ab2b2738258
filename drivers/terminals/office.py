"""What an attendance terminal needs of the school it stands in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Protocol

from drivers.entities import CardRead

Deliver = Callable[[Sequence[CardRead]], Awaitable[None]]
"""Writes taps, durable on return; raises UnreachableError when the disk does not take them."""


def _nobody() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TapOffice:
    """``people`` tells card by terminal number of everyone who has a card; it holds no names.

    ``zone`` is the school's time, by which terminals live.
    """

    deliver: Deliver
    people: Callable[[], Mapping[str, str]] = _nobody
    zone: tzinfo = UTC


class DeviceMemory(Protocol):
    """A few facts about one device that outlive a restart."""

    def read(self) -> Mapping[str, str]: ...

    async def keep(self, facts: Mapping[str, str]) -> None:
        """Replace the facts, durable on return; raises SetupError when the disk refuses."""
        ...
