"""The box's figures for Prometheus: bounded by lanes, groups and states, and without names.

A figure that is not known is left out; its age is a timestamp of its own beside it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge.clock_watch import ClockLight
from edge.pages.box_view import DeviceLight, LaneLight, Light, LinkState, SyncLights
from edge.sync_standing import SyncStanding
from edge.uplink import UplinkState
from sync.clock_spans import Trust
from sync.exchange.holdings import HeldLane
from sync.exposition import Family, Sample, count, labelled, one, seconds
from sync.schema.model import GROUPS, Group, Lane
from sync.segments.segment import HUB


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFigures:
    """All a scrape needs, taken from memory at once."""

    lights: SyncLights
    standing: SyncStanding | None
    uplink: UplinkState
    clock: ClockLight
    devices: tuple[DeviceLight, ...]


def box_families(figures: BoxFigures) -> Iterator[Family]:
    yield from _link(figures.lights, figures.uplink)
    yield from _lanes(figures.lights)
    if figures.standing is not None:
        yield from _standing(figures.standing)
    yield from _clock(figures.clock)
    states = Counter(device.state for device in figures.devices)
    yield labelled(
        "schoolnode_devices",
        "Adopted devices by the state of their light.",
        "state",
        {state.value: states[state] for state in Light},
    )


def _link(lights: SyncLights, uplink: UplinkState) -> Iterator[Family]:
    yield one(
        "schoolnode_sync_connected",
        "1 while the hub answers, by its last exchange.",
        float(lights.link is LinkState.CONNECTED),
    )
    yield one(
        "schoolnode_sync_last_exchange_timestamp_seconds",
        "When the hub was last heard.",
        seconds(lights.last_exchange_ms),
    )
    yield count(
        "schoolnode_sync_sent_bytes_total",
        "Bytes of messages sent since the start.",
        uplink.sent_bytes,
    )
    yield count(
        "schoolnode_sync_received_bytes_total",
        "Bytes of messages received since the start.",
        uplink.received_bytes,
    )


_Figure = Callable[[LaneLight], float | None]
_OF_LANES: tuple[tuple[str, str, _Figure], ...] = (
    ("unsealed_rows", "Rows not sealed yet.", lambda lane: lane.unsealed_rows),
    ("sealed_rows", "Rows sealed, of all logs of this school.", lambda lane: lane.sealed),
    ("in_flight_bytes", "Bytes sent and not receipted yet.", lambda lane: lane.under_way_bytes),
    ("stored_rows", "Rows that the hub said it stores.", lambda lane: lane.stored),
    ("applied_rows", "Rows that the hub said it went through.", lambda lane: lane.applied),
    ("waiting_rows", "Rows that the hub has not receipted.", lambda lane: lane.waiting_rows),
    (
        "waiting_bytes",
        "Bytes of sealed segments that the hub has not receipted.",
        lambda lane: lane.waiting_bytes,
    ),
    (
        "oldest_waiting_timestamp_seconds",
        "When the oldest waiting row arose.",
        lambda lane: seconds(lane.oldest_waiting_ms),
    ),
    (
        "receipt_timestamp_seconds",
        "When the hub last told what it stores.",
        lambda lane: seconds(lane.stored_ms),
    ),
)
"""Name behind ``schoolnode_sync_``, what it is, and the figure of one lane."""


def _lanes(lights: SyncLights) -> Iterator[Family]:
    for name, told, figure in _OF_LANES:
        values = {light.lane.name.lower(): figure(light) for light in lights.lanes}
        yield labelled(f"schoolnode_sync_{name}", told, "lane", values)
    yield labelled(
        "schoolnode_sync_held",
        "1 for lanes that wait although there is a connection.",
        "lane",
        {light.lane.name.lower(): float(light.lane in lights.held) for light in lights.lanes},
    )
    yield Family(
        "schoolnode_sync_sealed_only_segments",
        "Segments that the hub stores and cannot read, by group.",
        [
            Sample(each.segments, {"lane": light.lane.name.lower(), "group": each.group})
            for light in lights.lanes
            for each in light.sealed_only or ()
        ],
    )


def _standing(standing: SyncStanding) -> Iterator[Family]:
    yield one(
        "schoolnode_sync_looked_timestamp_seconds",
        "When the figures of what was received, parked, keys, checkpoints and recovery were read.",
        seconds(standing.at_ms),
    )
    yield from _received(standing.received)
    yield labelled(
        "schoolnode_sync_parked_rows",
        "Rows that are stored and could not be applied.",
        "retriable",
        {
            "yes": standing.parked_rows - standing.parked_for_good_rows,
            "no": standing.parked_for_good_rows,
        },
    )
    yield one(
        "schoolnode_sync_quarantined_segments",
        "Segments that were refused, of which a note is kept.",
        standing.quarantined_segments,
    )
    yield one(
        "schoolnode_sync_evicted",
        "1 while the hub waits for this school no longer.",
        float(standing.evicted_ms is not None),
    )
    yield one(
        "schoolnode_clock_clamped_segments",
        "Own segments with stamps from the future.",
        standing.clamped,
    )
    newest = max((each.at_ms for each in standing.checkpoints if not each.refused), default=None)
    dropped = sum(each.dropped_rows for each in standing.checkpoints)
    yield one(
        "schoolnode_sync_checkpoint_timestamp_seconds",
        "When the last checkpoint was made.",
        seconds(newest),
    )
    yield one("schoolnode_sync_truncated_rows", "Rows whose segments a checkpoint let go.", dropped)
    keys = standing.keys
    yield labelled(
        "schoolnode_keys_epochs",
        "Data keys made here.",
        "standing",
        {"yes": keys.standing, "no": keys.ended},
    )
    yield one("schoolnode_keys_recipients", "Recipients not revoked.", keys.recipients)
    yield one("schoolnode_keys_undecided", "Recipients that await a person.", keys.undecided)
    if standing.recovery is not None:
        recovery = standing.recovery
        yield one(
            "schoolnode_vault_stored_timestamp_seconds",
            "When the hub last stored the vault.",
            seconds(recovery.stored_ms),
        )
        yield one(
            "schoolnode_recovery_ready",
            "1 when the school could be rebuilt now.",
            float(recovery.has_code and not recovery.vault_waits and not recovery.keys_wait),
        )


def _received(held: tuple[HeldLane, ...]) -> Iterator[Family]:
    """Yield what others sent; partner schools together, whatever their number."""
    stored: Counter[tuple[str, Lane]] = Counter()
    applied: Counter[tuple[str, Lane]] = Counter()
    closed: Counter[tuple[str, Group]] = Counter()
    frozen: Counter[str] = Counter()
    for each in held:
        origin = "hub" if each.origin == HUB else "schools"
        stored[origin, each.lane] += each.stored
        applied[origin, each.lane] += each.applied
        frozen[origin] += each.frozen
        for sealed in each.sealed_only:
            closed[origin, sealed.group] += sealed.segments
    for name, told, counted in (
        ("received_segments", "Segments of others that are stored here.", stored),
        ("received_applied_segments", "Of these, how many were gone through.", applied),
    ):
        yield Family(
            f"schoolnode_sync_{name}",
            told,
            [
                Sample(segments, {"origin": origin, "lane": lane.name.lower()})
                for (origin, lane), segments in sorted(counted.items())
            ],
        )
    yield Family(
        "schoolnode_sync_received_sealed_only_segments",
        "Segments of others that this box cannot read, by group.",
        [
            Sample(closed[origin, group], {"origin": origin, "group": group})
            for origin in sorted(frozen)
            for group in GROUPS
        ],
    )
    yield labelled(
        "schoolnode_sync_frozen_logs", "Logs of others that forked.", "origin", dict(frozen)
    )


def _clock(clock: ClockLight) -> Iterator[Family]:
    yield one(
        "schoolnode_clock_offset_seconds",
        "How far the hub's clock is ahead of this one.",
        seconds(clock.hub_offset_ms),
    )
    yield labelled(
        "schoolnode_clock_trust",
        "1 for how far this clock is believed.",
        "trust",
        {trust.value: float(trust is clock.trust) for trust in Trust},
    )
