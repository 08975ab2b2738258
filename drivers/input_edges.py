"""Digital inputs: which readings are an edge, once they have held for long enough."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drivers.codecs.modbus_points import PointValue
from drivers.entities import DeviceId, InputEdge, Quality
from firmware_profiles.model import Event


@dataclass(slots=True)
class _Input:
    event: Event
    since: float | None = None
    since_ms: int = 0
    is_told: bool = False


class InputEdges:
    """The edges of one device's inputs; times are the event loop's.

    An edge is an input that comes to read what its event says and still does after the event's
    ``debounce_ms``; it carries the moment it was first seen. It counts again once the input was
    seen otherwise for as long. A reading that failed says nothing. The first reading after a start
    or an absence is an edge too: an alarm that was given meanwhile is not lost.
    """

    def __init__(self, device: DeviceId, events: Sequence[Event]) -> None:
        self._device = device
        self._inputs = [_Input(event) for event in events if event.format == "edge"]
        self._released: dict[str, float] = {}

    def take(
        self, point: str, value: PointValue, now: float, observed_ms: int, source: str
    ) -> Iterator[InputEdge]:
        """Take one reading of a point and yield the edges it completes."""
        if value.quality is Quality.BAD:
            return
        for each in self._inputs:
            event = each.event
            if event.point != point:
                continue
            if value.value != event.becomes:
                self._release(each, now)
                continue
            self._released.pop(event.id, None)
            if each.since is None:
                each.since, each.since_ms = now, observed_ms
            if not each.is_told and now - each.since >= event.debounce_ms / 1000:
                each.is_told = True
                yield InputEdge(
                    device=self._device,
                    event=event.id,
                    point=point,
                    observed_ms=each.since_ms,
                    source=source,
                )

    def forget(self) -> None:
        """Forget what was seen: the device was away."""
        for each in self._inputs:
            each.since, each.is_told = None, False
        self._released.clear()

    def _release(self, each: _Input, now: float) -> None:
        if not each.is_told:
            each.since = None
            return
        released = self._released.setdefault(each.event.id, now)
        if now - released >= each.event.debounce_ms / 1000:
            each.since, each.is_told = None, False
            del self._released[each.event.id]
