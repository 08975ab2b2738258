"""A camera's ledger of outages: what was lost, why, and when it was back."""

from collections import deque
from collections.abc import Callable, Sequence
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
    """Unix time in milliseconds; ``until_ms`` is None while it lasts.

    Of one that is not ``is_watched`` nobody saw the end: who saw the loss looked no longer.
    """

    loss: Loss
    reason: str
    since_ms: int
    until_ms: int | None = None
    is_watched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWatch:
    """Where one who plays a camera's stream tells what became of it.

    ``lost`` takes the reason, ``back`` that a picture came again, ``leave`` that nobody plays it
    any more.
    """

    lost: Callable[[str], None] = lambda _: None
    back: Callable[[], object] = lambda: None
    leave: Callable[[], None] = lambda: None


UNWATCHED = StreamWatch()


class Outages:
    """Keeps the last ``OUTAGES_MAX`` outages of one camera.

    Several may see the same loss, or each its own of two streams: each (``seen_by``) sees its end.
    """

    def __init__(self) -> None:
        self._over: deque[Outage] = deque(maxlen=OUTAGES_MAX)
        self._open: dict[tuple[Loss, str], Outage] = {}

    def lost(self, loss: Loss, reason: str, now_ms: int, seen_by: str = "") -> None:
        """Note that something is lost; the first reason of an outage stays."""
        outage = Outage(loss=loss, reason=reason, since_ms=now_ms)
        self._open.setdefault((loss, seen_by), outage)

    def back(self, loss: Loss, now_ms: int, seen_by: str = "") -> Outage | None:
        """Note that something works; returns the outage that has ended with it."""
        outage = self._open.pop((loss, seen_by), None)
        if outage is None:
            return None
        # A clock that was set back meanwhile must not tell a negative time.
        ended = replace(outage, until_ms=max(now_ms, outage.since_ms))
        self._over.append(ended)
        return ended

    def leave(self, loss: Loss, seen_by: str) -> None:
        """Note that nobody will see the end of what is lost."""
        outage = self._open.pop((loss, seen_by), None)
        if outage is not None:
            self._over.append(replace(outage, is_watched=False))

    def ledger(self) -> Sequence[Outage]:
        """Return what was lost, oldest first; what is lost now stands last."""
        return [*self._over, *self._open.values()]
