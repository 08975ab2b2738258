from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import sync_status
from edge.box_store import BoxStore
from edge.pages.box_view import LaneLight, LinkState
from edge.sealed_count import SealedCount
from edge.sync_status import SILENT_MS, read_lanes, sync_lights
from edge.uplink import UplinkState
from sync.exchange.holdings import SealedOnly
from sync.logs.log_state import holding_of
from sync.schema.model import Group, Lane
from sync.segments.segment import parse_segment
from tests.edge.school import MINUTE, Box, new_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


@pytest.fixture
def store(box: Box) -> Iterator[BoxStore]:
    with box.opened() as opened:
        yield opened


def telemetry(store: BoxStore) -> LaneLight:
    (lane,) = [each for each in read_lanes(store.node, store.reader) if each.lane is Lane.TELEMETRY]
    return lane


def record(store: BoxStore, rows: int) -> None:
    store.node.record(
        "reading", [{"at_ms": n, "device": "d", "value": float(n)} for n in range(rows)]
    )


def receipt(store: BoxStore, segments: int) -> None:
    acknowledge(store, Lane.TELEMETRY, segments)


def acknowledge(store: BoxStore, lane: Lane, segments: int) -> None:
    """Let the hub say that it holds the first segments of a lane's log."""
    (log,) = [each for each in store.node.logs() if each.name.lane is lane]
    wire = store.node.segment(log.id, segments)
    assert wire is not None
    held = holding_of(log)
    head = parse_segment(wire).header_digest[: len(held.head)]
    holding = type(held)(log.name, segments, segments, head, frozen=False)
    store.node.peers.note_holdings(0, [holding], complete=False)


def test_what_waits_is_as_old_as_its_oldest_row(box: Box, store: BoxStore) -> None:
    begun_ms = box.now_ms
    for _ in range(3):
        record(store, 5)
        store.node.seal_all()
        box.district.clock.ms += 10 * MINUTE
    lane = telemetry(store)
    assert (lane.waiting_rows, lane.stored, lane.sealed) == (15, 0, 15)
    assert lane.oldest_waiting_ms == pytest.approx(begun_ms, abs=1)

    receipt(store, 2)

    lane = telemetry(store)
    assert (lane.waiting_rows, lane.stored) == (5, 10)
    assert lane.oldest_waiting_ms == pytest.approx(begun_ms + 20 * MINUTE, abs=1)
    receipt(store, 3)
    lane = telemetry(store)
    assert (lane.waiting_rows, lane.waiting_bytes, lane.oldest_waiting_ms) == (0, 0, None)


def test_rows_that_are_not_sealed_wait_too(box: Box, store: BoxStore) -> None:
    record(store, 4)
    lane = telemetry(store)
    assert (lane.sealed, lane.waiting_rows, lane.oldest_waiting_ms) == (0, 4, box.now_ms)


def test_a_lane_without_rows_waits_for_nothing(store: BoxStore) -> None:
    assert [lane.lane for lane in read_lanes(store.node, store.reader)] == list(Lane)
    lane = telemetry(store)
    assert (lane.sealed, lane.waiting_rows, lane.oldest_waiting_ms) == (0, 0, None)


def test_a_link_is_shown_as_good_as_its_last_answer() -> None:
    state = UplinkState(connected=True, since_ms=1, last_exchange_ms=100_000, detail="connected")
    fresh = sync_lights(state, (), 100_000 + SILENT_MS)
    assert (fresh.link, fresh.since_ms) == (LinkState.CONNECTED, 1)

    silent = sync_lights(state, (), 100_001 + SILENT_MS)

    assert (silent.link, silent.since_ms) == (LinkState.WAITING, 100_000)
    assert silent.detail == f"the hub has not answered for {SILENT_MS // 1000} s"


def test_what_the_hub_refuses_is_said_before_anything_else() -> None:
    state = UplinkState(connected=True, last_exchange_ms=1, refused=["17/…/control segment 4: no"])
    assert sync_lights(state, (), 2).detail == "17/…/control segment 4: no"


def test_unsealed_rows_are_told_apart_from_those_that_wait_sealed(
    box: Box, store: BoxStore
) -> None:
    begun_ms = box.now_ms
    record(store, 3)
    store.node.seal_all()
    box.district.clock.ms += MINUTE
    record(store, 2)

    lane = telemetry(store)

    assert (lane.unsealed_rows, lane.sealed, lane.waiting_rows) == (2, 3, 5)
    assert (lane.oldest_unsealed_ms, lane.oldest_waiting_ms) == (begun_ms + MINUTE, begun_ms)


def test_what_the_hub_stores_and_cannot_read_is_not_known_until_it_was_counted(
    store: BoxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_status, "SEGMENTS_A_LOOK", 2)
    sealed = SealedCount(store.reader, store.acquaintances)
    segments = seal_three_names(store)
    acknowledge(store, Lane.CONTROL, segments)
    assert segments > 2

    looks = [control(store, sealed).sealed_only for _ in range(segments)]

    assert looks[0] is None
    assert looks[-1] == (SealedOnly(group=Group.IDENTITY, segments=3),)
    store.node.keys.release(Group.IDENTITY, "headteacher")
    assert control(store, sealed).sealed_only == ()


def test_a_hub_set_back_to_a_backup_is_counted_anew(store: BoxStore) -> None:
    sealed = SealedCount(store.reader, store.acquaintances)
    segments = seal_three_names(store)
    acknowledge(store, Lane.CONTROL, segments)
    assert control(store, sealed).sealed_only == (SealedOnly(group=Group.IDENTITY, segments=3),)

    acknowledge(store, Lane.CONTROL, segments - 1)

    assert control(store, sealed).sealed_only == (SealedOnly(group=Group.IDENTITY, segments=2),)


def seal_three_names(store: BoxStore) -> int:
    """Return how many segments of the control log that makes, with the keys' grants."""
    for person in range(3):
        store.node.record("person", [{"person": person, "name": b"sealed under a key"}])
        store.node.seal_all()
    (log,) = [each for each in store.node.logs() if each.name.lane is Lane.CONTROL]
    return log.stored


def control(store: BoxStore, sealed: SealedCount) -> LaneLight:
    lanes = read_lanes(store.node, store.reader, sealed)
    (lane,) = [each for each in lanes if each.lane is Lane.CONTROL]
    return lane
