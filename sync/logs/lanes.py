"""Whose segment goes next: lanes share a link by weight, the logs of one lane evenly.

Start-time fair queueing (Goyal, Vin, Cheng 1996), counted in bytes: a lane or log that wakes up
begins at the present turn, so that it neither waits behind a backlog nor claims a past share.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from sync.schema.model import Lane

LANE_WEIGHTS = {
    Lane.ALARM: 32,
    Lane.CONTROL: 16,
    Lane.ATTENDANCE: 8,
    Lane.LESSONS: 8,
    Lane.TELEMETRY: 2,
    Lane.BULK: 1,
    Lane.SNAPSHOT: 1,
}
"""Share of bytes a lane gets while several wait; none starves."""

_Flow = TypeVar("_Flow", bound=Hashable)


class Turns(Generic[_Flow]):
    """Turns among flows, earliest first; equals go in the order in which they are given."""

    def __init__(self) -> None:
        self._next: dict[_Flow, float] = {}
        self._now = 0.0

    def first(self, waiting: Iterable[_Flow]) -> _Flow:
        self._next = {flow: self._next.get(flow, self._now) for flow in waiting}
        chosen = min(self._next, key=lambda flow: self._next[flow])
        self._now = max(self._now, self._next[chosen])
        return chosen

    def charge(self, flow: _Flow, cost: float) -> None:
        self._next[flow] += cost


class LaneTurns:
    """Picks among logs by number, given each one's lane."""

    def __init__(self) -> None:
        self._lanes: Turns[Lane] = Turns()
        self._logs: dict[Lane, Turns[int]] = {lane: Turns() for lane in Lane}

    def first(self, waiting: Mapping[int, Lane]) -> int:
        """Return the log whose turn it is; ``waiting`` holds at least one."""
        lane = self._lanes.first(sorted(set(waiting.values())))
        return self._logs[lane].first(log for log, its in waiting.items() if its is lane)

    def charge(self, log: int, lane: Lane, sent_bytes: int) -> None:
        """Count what was sent for the log that :meth:`first` just returned."""
        self._lanes.charge(lane, sent_bytes / LANE_WEIGHTS[lane])
        self._logs[lane].charge(log, sent_bytes)
