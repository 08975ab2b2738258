"""Readings left out while the hub is far behind, before they are sealed; each gap tells itself.

A box that was cut off for weeks would otherwise fill its disk, and its line for weeks more, with
readings that nobody reads one by one.
"""

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from drivers.entities import DeviceId, Measurement
from edge.pages.box_view import LaneLight
from sync.logs.oplog import Row
from sync.schema.model import Lane

FAR_BEHIND_MS = 24 * 3600 * 1000
FAR_BEHIND_ROWS = 100_000
"""The hub is far behind when so many readings wait and the oldest has waited so long."""
KEPT_EVERY_MS = 5 * 60 * 1000
"""Of each point one reading in this time is kept then."""
THINNED = "readings thinned"


@dataclass(frozen=True, slots=True)
class Gap:
    """How many readings of a device were left out, the first and the last of them (Unix ms)."""

    count: int
    first_ms: int
    last_ms: int


Gaps = MutableMapping[DeviceId, Gap]


def is_far_behind(lanes: Iterable[LaneLight], now_ms: int) -> bool:
    """Tell whether telemetry waits in such numbers, and for so long, that it is thinned."""
    return any(
        lane.waiting_rows > FAR_BEHIND_ROWS
        and lane.oldest_waiting_ms is not None
        and now_ms - lane.oldest_waiting_ms > FAR_BEHIND_MS
        for lane in lanes
        if lane.lane is Lane.TELEMETRY
    )


def is_kept(before: Measurement | None, event: Measurement) -> bool:
    """Tell whether a reading is kept while thinning; ``before`` is the last kept of its point.

    Words are a device's state, which stands once however often it is told.
    """
    if before is None or before.quality is not event.quality or isinstance(event.value, str):
        return True
    # A clock that was set back must not silence a value until it has caught up.
    return not 0 <= event.observed_ms - before.observed_ms < KEPT_EVERY_MS


def note_left_out(gaps: Gaps, event: Measurement) -> None:
    gap = gaps.get(event.device, Gap(0, event.observed_ms, event.observed_ms))
    gaps[event.device] = Gap(
        gap.count + 1,
        min(gap.first_ms, event.observed_ms),
        max(gap.last_ms, event.observed_ms),
    )


def take_gap(gaps: Gaps, event: Measurement) -> list[Row]:
    """Return the row that tells of a device's gap, which ends with this kept reading."""
    gap = gaps.pop(event.device, None)
    if gap is None:
        return []
    told = f"{gap.count} readings left out from {gap.first_ms} to {gap.last_ms} (Unix ms)"
    row: Row = {
        "at_ms": event.observed_ms,
        "device": event.device,
        "event": THINNED,
        "detail": f"{told}: the hub was far behind",
    }
    return [row]
