"""What a camera's events mean to the box: states as measurements, beginnings as edges.

Pure. Topics are the profile's; whatever else a camera tells is not heard.
"""

from collections.abc import Iterator, Sequence

from drivers.codecs.pull_point import CameraEvent
from drivers.entities import DeviceId, InputEdge, Measurement, Quality
from firmware_profiles.model import Event

KEPT_MAX = 64
"""States kept apart, one for each event and source of a camera."""


class EventStates:
    """The states that one camera's events have told so far."""

    def __init__(self, device: DeviceId, events: Sequence[Event], source: str) -> None:
        self._device = device
        self._source = source
        self._events = {_path(event.topic): event for event in events if event.format == "onvif"}
        self._on: dict[tuple[str, str], bool] = {}
        self._edge_ms: dict[str, int] = {}

    def forget(self) -> None:
        """Start anew: nobody knows what happened since."""
        self._on.clear()

    def take(
        self, told: Sequence[CameraEvent], now_ms: int, clock_offset_ms: int
    ) -> Iterator[Measurement | InputEdge]:
        """Yield what events mean, in their order.

        A state that a subscription begins with is no edge: it says what is, not what happened.
        """
        for event in told:
            known = self._events.get(event.topic)
            if known is None:
                continue
            where = " ".join(value for _, value in event.source)
            at_ms = now_ms if event.at_ms is None else min(event.at_ms - clock_offset_ms, now_ms)
            if event.state is not None:
                was_on = self._keep((known.id, where), event.state)
                yield self._state(known.id, at_ms)
                if was_on or not event.state or event.operation == "Initialized":
                    continue
            last_ms = self._edge_ms.get(known.id)
            # Either way: a camera whose clock went back has not told the same thing again.
            if last_ms is None or abs(at_ms - last_ms) >= known.repeat_ms:
                self._edge_ms[known.id] = at_ms
                yield InputEdge(
                    device=self._device,
                    event=known.id,
                    point=where or known.topic,
                    observed_ms=at_ms,
                    source=self._source,
                )

    def _keep(self, key: tuple[str, str], state: bool) -> bool:  # noqa: FBT001 — the state itself
        """Remember a state; returns what it was before."""
        was_on = self._on.pop(key, False)
        self._on[key] = state
        if len(self._on) > KEPT_MAX:
            del self._on[next(iter(self._on))]
        return was_on

    def _state(self, event: str, at_ms: int) -> Measurement:
        is_on = any(on for (known, _), on in self._on.items() if known == event)
        return Measurement(
            device=self._device,
            point=event,
            value="yes" if is_on else "no",
            unit="",
            quality=Quality.GOOD,
            observed_ms=at_ms,
            source=self._source,
        )


def _path(topic: str) -> str:
    """Return a topic without prefixes, which every maker may choose."""
    return "/".join(step.rpartition(":")[2] for step in topic.split("/"))
