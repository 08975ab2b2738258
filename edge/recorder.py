"""From device events to durable rows, in small batches; the latest values stay in memory."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Never, assert_never

from drivers.entities import (
    BandReading,
    CardRead,
    CommandResult,
    DeviceEvent,
    DeviceId,
    InputEdge,
    Measurement,
    Presence,
    Quality,
    RecordedEvent,
    StationResult,
)
from drivers.errors import UnreachableError
from edge.pages.box_view import Change
from edge.roster import Roster
from edge.thinning import Gap, Gaps, is_kept, note_left_out, take_gap
from sync.errors import RowError
from sync.logs.oplog import Row
from sync.node import Node
from sync.writer import Writer

_log = logging.getLogger(__name__)

EVENTS_MAX = 20_000
"""Events that wait for the disk; beyond it the oldest readings go, and taps last of all."""
BATCH_S = 0.5
DISK_RETRY_S = 1.0
REPEAT_MS = 15 * 60 * 1000
"""A value that does not change is still recorded this often."""

_Place = tuple[DeviceId, str]
Deadbands = Mapping[_Place, float]


class Recorder:
    """Takes events at once (:meth:`take`) and writes them in :meth:`run`.

    ``deadbands`` is asked at each value, so that devices may be adopted while it runs.
    ``room_of`` tells where a card reader hangs, ``is_far_behind`` when readings are thinned;
    ``tapped`` is told the moments of durable taps and their rooms.
    """

    def __init__(
        self,
        node: Node,
        writer: Writer,
        roster: Roster,
        *,
        deadbands: Deadbands,
        room_of: Callable[[DeviceId], str | None],
        changed: Callable[[Change], None],
        is_far_behind: Callable[[], bool] = lambda: False,
        tapped: Callable[[Mapping[int, str | None]], None] = lambda _: None,
    ) -> None:
        self._node = node
        self._writer = writer
        self._roster = roster
        self._deadbands = deadbands
        self._room_of = room_of
        self._changed = changed
        self._is_far_behind = is_far_behind
        self._tapped = tapped
        self._gaps: dict[DeviceId, Gap] = {}
        self._waiting: deque[RecordedEvent] = deque()
        self.disk_fails = False
        self._wake = asyncio.Event()
        self._recorded: dict[_Place, Measurement] = {}
        self.latest: dict[tuple[DeviceId, str], Measurement] = {}
        self.presence: dict[DeviceId, Presence] = {}
        self.last_command: dict[DeviceId, CommandResult] = {}
        self.last_heard_ms: dict[DeviceId, int] = {}
        self.dropped = 0

    def take(self, event: DeviceEvent) -> None:
        """Accept one event; never blocks. What bands and stations tell is the lessons' own."""
        if isinstance(event, BandReading | StationResult):
            self.last_heard_ms[event.device] = event.observed_ms
            return
        self._waiting.append(event)
        self._drop_beyond_the_limit()
        match event:
            case Measurement():
                self.latest[event.device, event.point] = event
                if event.quality is not Quality.BAD:
                    self.last_heard_ms[event.device] = event.observed_ms
                self._changed(Change.VALUES)
            case CardRead() | InputEdge():
                self.last_heard_ms[event.device] = event.observed_ms
                self._wake.set()
            case Presence():
                self.presence[event.device] = event
                self._changed(Change.DEVICES)
            case CommandResult():
                self.last_command[event.device] = event
                self._changed(Change.DEVICES)
            case _:
                assert_never(event)

    async def run(self) -> Never:
        """Write what arrives, every BATCH_S or at once for a tap."""
        while True:
            try:
                async with asyncio.timeout(BATCH_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.flush()
            except sqlite3.Error as error:
                if not self.disk_fails:
                    _log.error(
                        "the disk takes no rows (%s); %d wait in memory: free some space",
                        error,
                        len(self._waiting),
                    )
                self.disk_fails = True
                await asyncio.sleep(DISK_RETRY_S)

    async def flush(self) -> None:
        """Write everything that waits; durable on return.

        Raises sqlite3.Error when the disk does not take it; everything then goes on waiting.
        """
        events = list(self._waiting)
        self._waiting.clear()
        recorded: dict[_Place, Measurement] = {}
        gaps = dict(self._gaps)
        rows = self._rows(events, recorded, gaps)
        try:
            if rows:
                await self._writer.call(self._record, rows)
        except sqlite3.Error:
            self._waiting.extendleft(reversed(events))
            self._drop_beyond_the_limit()
            raise
        self.disk_fails = False
        self._recorded.update(recorded)
        self._gaps = gaps
        if "card_tap" in rows:
            self._tell_tapped([each for each in events if isinstance(each, CardRead)])

    async def deliver(self, taps: Sequence[CardRead]) -> None:
        """Write taps of a device that keeps them until they are durable, as they are on return.

        What was delivered before adds nothing. Raises UnreachableError when the disk does not take
        them: the device is to tell them again.
        """
        try:
            await self._writer.call(
                self._record, {"card_tap": [self._tap_row(tap) for tap in taps]}
            )
        except sqlite3.Error as error:
            raise UnreachableError(f"the disk takes no taps ({error}); free some space") from error
        for tap in taps:
            self.last_heard_ms[tap.device] = tap.observed_ms
        self._tell_tapped(taps)

    def forget(self, device: DeviceId) -> None:
        """Drop what is remembered of a device that is no longer adopted."""
        for table in (self.latest, self._recorded):
            for key in [key for key in table if key[0] == device]:
                del table[key]
        self.presence.pop(device, None)
        self.last_command.pop(device, None)
        self.last_heard_ms.pop(device, None)

    def _tell_tapped(self, taps: Sequence[CardRead]) -> None:
        self._tapped({tap.observed_ms: self._room_of(tap.device) for tap in taps})
        self._changed(Change.TAPS)

    def _record(self, rows: Mapping[str, list[Row]]) -> None:
        """Write rows in one step; a row that no table can hold is left out alone."""
        try:
            self._node.record_all(rows)
        except RowError:
            for table, of_table in rows.items():
                for row in of_table:
                    try:
                        self._node.record(table, [row])
                    except RowError as error:
                        _log.error("%s", error)

    def _rows(
        self,
        events: list[RecordedEvent],
        recorded: dict[_Place, Measurement],
        gaps: Gaps,
    ) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {}
        is_thinned = self._is_far_behind()
        for event in events:
            match event:
                case Measurement():
                    if is_thinned and not is_kept(
                        self._last_recorded(recorded, _point_of(event)), event
                    ):
                        note_left_out(gaps, event)
                    elif self._is_worth_recording(event, recorded):
                        for told in take_gap(gaps, event):
                            rows.setdefault("device_event", []).append(told)
                        rows.setdefault(_table_of(event), []).append(_value_row(event))
                case CardRead():
                    rows.setdefault("card_tap", []).append(self._tap_row(event))
                case Presence():
                    name = "online" if event.online else "offline"
                    rows.setdefault("device_event", []).append(
                        _event_row(event.device, event.observed_ms, name, event.reason)
                    )
                case CommandResult():
                    rows.setdefault("device_event", []).append(
                        _event_row(
                            event.device,
                            event.observed_ms,
                            f"command {event.command}: {event.outcome}",
                            event.detail,
                        )
                    )
                case InputEdge():
                    rows.setdefault("device_event", []).append(
                        _event_row(
                            event.device,
                            event.observed_ms,
                            f"input {event.event}",
                            f"{event.point}, {event.source}",
                        )
                    )
                case _:
                    assert_never(event)
        return rows

    def _tap_row(self, tap: CardRead) -> Row:
        person = self._roster.person_of(tap.card) if tap.card else None
        if person is None and tap.number:
            person = self._roster.person_numbered(tap.number)
        shown = tap.card or f"number {tap.number}"
        row: Row = {
            "at_ms": tap.observed_ms,
            "device": tap.device,
            "person": person,
            "room": self._room_of(tap.device),
            "card": shown if person is None else None,
        }
        return row if tap.key is None else {**row, "device_key": tap.key}

    def _last_recorded(
        self, recorded: Mapping[_Place, Measurement], key: _Place
    ) -> Measurement | None:
        """Return what was recorded last of a point, in this batch or before."""
        return recorded.get(key) or self._recorded.get(key)

    def _is_worth_recording(self, event: Measurement, recorded: dict[_Place, Measurement]) -> bool:
        key = _point_of(event)
        before = self._last_recorded(recorded, key)
        if before is not None and before.quality is event.quality is not Quality.BAD:
            # A clock that was set back must not silence a value until it has caught up.
            quiet = 0 <= event.observed_ms - before.observed_ms < REPEAT_MS
            if quiet and _is_within(before.value, event.value, self._deadbands.get(key, 0.0)):
                return False
        recorded[key] = event
        return True

    def _drop_beyond_the_limit(self) -> None:
        while len(self._waiting) > EVENTS_MAX:
            readings = (
                place for place, event in enumerate(self._waiting) if isinstance(event, Measurement)
            )
            del self._waiting[next(readings, 0)]
            self.dropped += 1
            if self.dropped == 1:
                _log.error("the disk is too slow: readings are dropped; check the box's storage")


def _point_of(event: Measurement) -> _Place:
    return event.device, event.point


def _is_within(before: float | str | None, after: float | str | None, deadband: float) -> bool:
    if isinstance(before, str) or isinstance(after, str) or before is None or after is None:
        return before == after
    return before == after or abs(after - before) < deadband


def _table_of(event: Measurement) -> str:
    return "device_state" if isinstance(event.value, str) else "reading"


def _value_row(event: Measurement) -> Row:
    if isinstance(event.value, str):
        return {
            "device": event.device,
            "point": event.point,
            "value": event.value,
            "observed_ms": event.observed_ms,
        }
    return {
        "at_ms": event.observed_ms,
        "device": event.device,
        "point": event.point,
        "value": None if event.value is None else float(event.value),
        "unit": event.unit,
        "quality": event.quality.value,
        "source": event.source,
        "reason": event.reason or None,
    }


def _event_row(device: DeviceId, at_ms: int, event: str, detail: str) -> Row:
    return {"at_ms": at_ms, "device": device, "event": event, "detail": detail[:500] or None}
