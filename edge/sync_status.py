"""What waits, what is sealed and what the hub has receipted, lane by lane."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace

from edge.pages.box_view import LaneLight, LinkState, SyncLights
from edge.sealed_count import SEGMENTS_A_LOOK, SealedCount
from edge.uplink import HEARTBEAT_S, UplinkState
from sync.clock import Stamp, wall_ms
from sync.logs.stored_segments import read_segment
from sync.node import LogState, Node
from sync.schema.model import Lane
from sync.segments.segment import HUB, Header

SILENT_MS = int(2 * HEARTBEAT_S * 1000) + 5_000
"""A hub that answered nothing for longer is not shown as connected, whatever the socket says."""


def read_lanes(
    node: Node, reader: sqlite3.Connection, sealed: SealedCount | None = None
) -> tuple[LaneLight, ...]:
    """Return every lane's way home; blocking, for the store's thread.

    ``stored`` and ``applied`` count rows covered by the hub's receipts; ages are those of the last
    segment sealed, of the last receipt, and of the oldest row that waits. ``sealed`` counts on, at
    most SEGMENTS_A_LOOK segments a call; until it is through, what is sealed only is not known.
    """
    cursors = node.peers.cursors(HUB)
    told_ms = dict(
        reader.execute("SELECT log, told_ms FROM peer_cursor WHERE peer = ?", (HUB,)).fetchall()
    )
    own: dict[Lane, list[LogState]] = {lane: [] for lane in Lane}
    for log in node.logs():
        if log.name.origin == node.origin:
            own[log.name.lane].append(log)
    budget = SEGMENTS_A_LOOK
    lanes = []
    for lane, logs in own.items():
        lights = []
        is_counted = sealed is not None
        for log in logs:
            receipted, folded = cursors.get(log.id, (0, 0))
            lights.append(_log_light(node, reader, log, (receipted, folded), told_ms.get(log.id)))
            if sealed is not None:
                budget -= sealed.advance(log, receipted, budget)
                is_counted &= sealed.is_complete(log, receipted)
        lanes.append(
            LaneLight(
                lane=lane,
                unsealed_rows=sum(light.unsealed_rows for light in lights),
                oldest_unsealed_ms=_earliest(light.oldest_unsealed_ms for light in lights),
                sealed=sum(light.sealed for light in lights),
                stored=sum(light.stored for light in lights),
                applied=sum(light.applied for light in lights),
                sealed_only=sealed.sealed_only(lane) if sealed is not None and is_counted else None,
                waiting_rows=sum(light.waiting_rows for light in lights),
                waiting_bytes=sum(light.waiting_bytes for light in lights),
                sealed_ms=_latest(light.sealed_ms for light in lights),
                stored_ms=_latest(light.stored_ms for light in lights),
                oldest_waiting_ms=_earliest(light.oldest_waiting_ms for light in lights),
            )
        )
    return tuple(lanes)


def sync_lights(
    state: UplinkState,
    lanes: tuple[LaneLight, ...],
    now_ms: int,
    under_way: Mapping[Lane, int] | None = None,
) -> SyncLights:
    """Return what the lights may claim: the link is as good as its last exchange.

    ``under_way``: bytes by lane that were sent and are not receipted yet.
    """
    sent = under_way or {}
    lanes = tuple(replace(light, under_way_bytes=sent.get(light.lane, 0)) for light in lanes)
    flows = state.flows
    held = tuple(lane for lane in Lane if lane not in flows.lanes)
    answered_ms = state.last_exchange_ms
    if state.connected and answered_ms is not None and now_ms - answered_ms > SILENT_MS:
        return SyncLights(
            link=LinkState.WAITING,
            since_ms=answered_ms,
            last_exchange_ms=answered_ms,
            detail=f"the hub has not answered for {(now_ms - answered_ms) // 1000} s",
            lanes=lanes,
            held=held,
            held_reason=flows.reason,
            held_until_ms=flows.until_ms,
        )
    return SyncLights(
        link=LinkState.CONNECTED if state.connected else LinkState.WAITING,
        since_ms=state.since_ms,
        last_exchange_ms=state.last_exchange_ms,
        detail="; ".join(state.refused) or state.detail,
        lanes=lanes,
        held=held,
        held_reason=flows.reason,
        held_until_ms=flows.until_ms,
    )


def _log_light(
    node: Node,
    reader: sqlite3.Connection,
    log: LogState,
    cursors: tuple[int, int],
    told_ms: int | None,
) -> LaneLight:
    receipted, folded = cursors
    stored_row = _row_at(reader, log, receipted)
    oldest = log.unsealed_since_ms
    waiting_bytes = 0
    if receipted < log.stored:
        waiting_bytes = node.waiting_bytes(log.id, receipted)[1]
        waiting = _header_of(reader, log.id, receipted + 1)
        if waiting is not None:
            oldest = wall_ms(Stamp(waiting.first_stamp))
    return LaneLight(
        lane=log.name.lane,
        unsealed_rows=log.last_row - log.sealed_row,
        oldest_unsealed_ms=log.unsealed_since_ms,
        sealed=log.sealed_row,
        stored=stored_row,
        applied=_row_at(reader, log, folded),
        waiting_rows=log.last_row - stored_row,
        waiting_bytes=waiting_bytes,
        sealed_ms=log.stored_ms,
        stored_ms=told_ms,
        oldest_waiting_ms=oldest if log.last_row > stored_row else None,
    )


def _row_at(reader: sqlite3.Connection, log: LogState, seq: int) -> int:
    """Return the last row of a log's first ``seq`` segments."""
    if seq == log.stored:
        return log.sealed_row
    header = _header_of(reader, log.id, seq)
    return header.last_row if header else 0


def _header_of(reader: sqlite3.Connection, log_id: int, seq: int) -> Header | None:
    segment = read_segment(reader.cursor(), log_id, seq)
    return segment.header if segment else None


def _latest(moments: Iterable[int | None]) -> int | None:
    return max((moment for moment in moments if moment), default=None)


def _earliest(moments: Iterable[int | None]) -> int | None:
    return min((moment for moment in moments if moment), default=None)
