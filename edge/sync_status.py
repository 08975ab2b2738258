"""What waits, what is sealed and what the hub has receipted, lane by lane."""

import sqlite3
from collections.abc import Iterable

from edge.pages.box_view import LaneLight, LinkState, SyncLights
from edge.uplink import HEARTBEAT_S, UplinkState
from sync.clock import Stamp, wall_ms
from sync.fold import HUB
from sync.node import LogState, Node
from sync.schema.model import Lane
from sync.segment import Header, parse_segment

SILENT_MS = int(2 * HEARTBEAT_S * 1000) + 5_000
"""A hub that answered nothing for longer is not shown as connected, whatever the socket says."""


def read_lanes(node: Node, reader: sqlite3.Connection) -> tuple[LaneLight, ...]:
    """Return every lane's way home; blocking, for the store's thread.

    ``stored`` counts rows covered by the hub's receipt; ages are those of the last segment sealed,
    of the last receipt, and of the oldest row that waits.
    """
    cursors = node.peer_cursors(HUB)
    lanes = []
    for lane in Lane:
        logs = [
            log for log in node.logs() if log.name.lane is lane and log.name.origin == node.origin
        ]
        lights = [_log_light(node, reader, log, cursors.get(log.id, (0, 0))[0]) for log in logs]
        lanes.append(
            LaneLight(
                lane=lane,
                sealed=sum(light.sealed for light in lights),
                stored=sum(light.stored for light in lights),
                waiting_rows=sum(light.waiting_rows for light in lights),
                waiting_bytes=sum(light.waiting_bytes for light in lights),
                sealed_ms=_latest(light.sealed_ms for light in lights),
                stored_ms=_latest(light.stored_ms for light in lights),
                oldest_waiting_ms=min(
                    (light.oldest_waiting_ms for light in lights if light.oldest_waiting_ms),
                    default=None,
                ),
            )
        )
    return tuple(lanes)


def sync_lights(state: UplinkState, lanes: tuple[LaneLight, ...], now_ms: int) -> SyncLights:
    """Return what the lights may claim: the link is as good as its last exchange."""
    answered_ms = state.last_exchange_ms
    if state.connected and answered_ms is not None and now_ms - answered_ms > SILENT_MS:
        return SyncLights(
            link=LinkState.WAITING,
            since_ms=answered_ms,
            last_exchange_ms=answered_ms,
            detail=f"the hub has not answered for {(now_ms - answered_ms) // 1000} s",
            lanes=lanes,
        )
    return SyncLights(
        link=LinkState.CONNECTED if state.connected else LinkState.WAITING,
        since_ms=state.since_ms,
        last_exchange_ms=state.last_exchange_ms,
        detail="; ".join(state.refused) or state.detail,
        lanes=lanes,
    )


def _log_light(node: Node, reader: sqlite3.Connection, log: LogState, receipted: int) -> LaneLight:
    last_stored = _header_of(reader, log.id, receipted)
    stored_row = last_stored.last_row if last_stored else 0
    oldest = log.unsealed_since_ms
    waiting = _header_of(reader, log.id, receipted + 1)
    if waiting is not None:
        oldest = wall_ms(Stamp(waiting.first_stamp))
    told = reader.execute(
        "SELECT told_ms FROM peer_cursor WHERE peer = ? AND log = ?", (HUB, log.id)
    ).fetchone()
    return LaneLight(
        lane=log.name.lane,
        sealed=log.sealed_row,
        stored=stored_row,
        waiting_rows=log.last_row - stored_row,
        waiting_bytes=node.waiting_bytes(log.id, receipted)[1],
        sealed_ms=log.stored_ms,
        stored_ms=told[0] if told else None,
        oldest_waiting_ms=oldest if log.last_row > stored_row else None,
    )


def _header_of(reader: sqlite3.Connection, log_id: int, seq: int) -> Header | None:
    found = reader.execute(
        "SELECT wire FROM segment WHERE log = ? AND seq = ?", (log_id, seq)
    ).fetchone()
    return parse_segment(found[0]).header if found else None


def _latest(moments: Iterable[int | None]) -> int | None:
    return max((moment for moment in moments if moment), default=None)
