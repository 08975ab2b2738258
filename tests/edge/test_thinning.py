from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.entities import DeviceId, Measurement, Quality
from edge.pages.box_view import LaneLight
from edge.recorder import Recorder
from edge.roster import Roster
from edge.thinning import FAR_BEHIND_MS, FAR_BEHIND_ROWS, KEPT_EVERY_MS, is_far_behind
from sync.schema.model import Lane
from sync.writer import Writer
from tests.edge.school import Box, new_box

PROBE, OTHER = DeviceId("modbus:bus0:17"), DeviceId("modbus:bus0:18")
READINGS = "SELECT at_ms, value FROM reading ORDER BY row"
TOLD = "SELECT device, at_ms, detail FROM device_event WHERE event = 'readings thinned'"


def reading(
    at_ms: int, value: float | str, device: DeviceId = PROBE, quality: Quality = Quality.GOOD
) -> Measurement:
    return Measurement(
        device=device,
        point="moisture",
        value=value,
        unit="%",
        quality=quality,
        observed_ms=at_ms,
        source="modbus:bus0",
    )


@dataclass
class Desk:
    box: Box
    recorder: Recorder
    is_behind: bool = True

    async def take(self, *events: Measurement) -> None:
        for event in events:
            self.recorder.take(event)
        await self.recorder.flush()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    box = new_box(tmp_path)
    with box.opened() as store, Writer() as writer:
        recorder = Recorder(
            store.node,
            writer,
            Roster(store.node, store.vault, store.reader),
            deadbands={},
            room_of=lambda _: None,
            changed=lambda _: None,
            is_far_behind=lambda: made.is_behind,
        )
        made = Desk(box, recorder)
        yield made


async def test_far_behind_one_reading_in_five_minutes_is_kept_and_the_gap_tells_itself(
    desk: Desk,
) -> None:
    await desk.take(*(reading(1000 * n, n) for n in range(301)))
    assert desk.box.rows(READINGS) == [(0, 0.0), (KEPT_EVERY_MS, 300.0)]
    ((device, at_ms, detail),) = desk.box.rows(TOLD)
    assert (device, at_ms) == (PROBE, KEPT_EVERY_MS)
    assert "299 readings left out from 1000 to 299000" in str(detail)


async def test_what_is_no_news_of_value_is_not_thinned(desk: Desk) -> None:
    await desk.take(
        reading(0, 1.0),
        reading(1, 1.5, quality=Quality.BAD),
        reading(2, 1.7),
        reading(3, 9.9),
    )
    assert [at_ms for at_ms, _ in desk.box.rows(READINGS)] == [0, 1, 2]
    await desk.take(reading(10, "on", OTHER), reading(11, "off", OTHER))
    assert desk.box.rows("SELECT value FROM device_state") == [("off",)]


async def test_once_the_hub_has_caught_up_everything_is_kept_and_the_last_gap_is_told(
    desk: Desk,
) -> None:
    await desk.take(reading(0, 1.0), reading(1000, 2.0), reading(0, 1.0, OTHER))
    desk.is_behind = False
    await desk.take(reading(2000, 3.0), reading(3000, 4.0), reading(3000, 2.0, OTHER))
    assert len(desk.box.rows(READINGS)) == 5
    ((device, at_ms, detail),) = desk.box.rows(TOLD)
    assert (device, at_ms) == (PROBE, 2000)
    assert "1 readings left out from 1000 to 1000" in str(detail)


def light(lane: Lane, rows: int, oldest_ms: int | None) -> LaneLight:
    return LaneLight(
        lane=lane,
        sealed=0,
        stored=0,
        waiting_rows=rows,
        waiting_bytes=0,
        sealed_ms=None,
        stored_ms=None,
        oldest_waiting_ms=oldest_ms,
    )


def test_far_behind_are_many_readings_that_have_waited_long() -> None:
    many, long_ago = FAR_BEHIND_ROWS + 1, 1
    now_ms = FAR_BEHIND_MS + 2
    assert is_far_behind([light(Lane.TELEMETRY, many, long_ago)], now_ms)
    assert not is_far_behind([light(Lane.TELEMETRY, many, now_ms - 1000)], now_ms)
    assert not is_far_behind([light(Lane.TELEMETRY, 1000, long_ago)], now_ms)
    assert not is_far_behind([light(Lane.TELEMETRY, many, None)], now_ms)
    assert not is_far_behind([light(Lane.BULK, many, long_ago)], now_ms)
