"""A camera's ledger of outages: what was lost, why, and when it was back."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

OUTAGES_MAX = 32


class Loss(StrEnum):
    """What of a camera can be lost by itself."""

    CONTROL = "control"  # it does not answer, or not as itself
    EVENTS = "events"  # it answers, and tells no events
    STREAM = "stream"  # its picture stands still


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Unix time in milliseconds; ``until_ms`` is None while it lasts."""

    loss: Loss
    reason: str
    since_ms: int
    until_ms: int | None = None


class Outages:
    """Keeps the last ``OUTAGES_MAX`` outages of one camera."""

    def __init__(self) -> None:
        self._over: deque[Outage] = deque(maxlen=OUTAGES_MAX)
        self._open: dict[Loss, Outage] = {}

    def lost(self, loss: Loss, reason: str, now_ms: int) -> None:
        """Note that something is lost; the first reason of an outage stays."""
        self._open.setdefault(loss, Outage(loss=loss, reason=reason, since_ms=now_ms))

    def back(self, loss: Loss, now_ms: int) -> Outage | None:
        """Note that something works; returns the outage that has ended with it."""
        outage = self._open.pop(loss, None)
        if outage is None:
            return None
        # A clock that was set back meanwhile must not tell a negative time.
        ended = replace(outage, until_ms=max(now_ms, outage.since_ms))
        self._over.append(ended)
        return ended

    def ledger(self) -> Sequence[Outage]:
        """Return what was lost, oldest first; what is lost now stands last."""
        return [*self._over, *self._open.values()]
