"""The hub's figures for Prometheus: of the district as a whole, bounded by lanes and states.

What concerns one school stands on its page and in the store (``docs/hub.md``): a series for each
would be thousands. The store is read in a thread, at most every READ_EVERY_S.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from aiohttp import web

from hub.pages.hub_view import SchoolLight
from hub.pages.lights import HEARTBEAT_FRESH_MS, HEARTBEAT_LOST_MS
from hub.sync_queries import DistrictSync, read_district_sync
from provisioning.scrape_token import require_scraper
from sync.exposition import CONTENT_TYPE, Family, Sample, expose, labelled, one, seconds
from sync.schema.model import Lane

READ_EVERY_S = 15.0
_STATES = ("connected", "quiet", "silent", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFigures:
    """All a scrape needs; ``sync`` is of ``read_ms``, the rest of ``now_ms`` (Unix ms)."""

    now_ms: int
    boxes: Sequence[SchoolLight]
    read_ms: int
    sync: DistrictSync


class MetricsDesk:
    """Answers Prometheus on the pages' port."""

    def __init__(
        self,
        token: str,
        now_ms: Callable[[], int],
        boxes: Callable[[], Sequence[SchoolLight]],
        connect: Callable[[], sqlite3.Connection],
    ) -> None:
        self._token = token
        self._now_ms = now_ms
        self._boxes = boxes
        self._connect = connect
        self._one_at_a_time = asyncio.Lock()
        self._read: tuple[float, int, DistrictSync] | None = None

    async def serve(self, request: web.Request) -> web.Response:
        require_scraper(request, self._token)
        read_ms, sync = await self._district()
        figures = HubFigures(now_ms=self._now_ms(), boxes=self._boxes(), read_ms=read_ms, sync=sync)
        return web.Response(
            body=expose(hub_families(figures)),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )

    async def _district(self) -> tuple[int, DistrictSync]:
        async with self._one_at_a_time:
            now_s = asyncio.get_running_loop().time()
            if self._read is None or now_s - self._read[0] >= READ_EVERY_S:
                sync = await asyncio.to_thread(self._count)
                self._read = (now_s, self._now_ms(), sync)
            return self._read[1], self._read[2]

    def _count(self) -> DistrictSync:
        with closing(self._connect()) as connection:
            return read_district_sync(connection)


def hub_families(figures: HubFigures) -> Iterator[Family]:
    yield from _boxes(figures.boxes, figures.now_ms)
    sync = figures.sync
    yield one(
        "schoolnode_hub_sync_read_timestamp_seconds",
        "When the figures of the store were read.",
        seconds(figures.read_ms),
    )
    yield _by_lane("stored_segments", "Segments of schools that are stored.", sync.stored.items())
    yield _by_lane(
        "applied_segments", "Of these, how many were gone through.", sync.applied.items()
    )
    yield Family(
        "schoolnode_hub_sync_sealed_only_segments",
        "Segments of schools that the hub cannot read, by group.",
        [
            Sample(segments, {"lane": lane.name.lower(), "group": group})
            for (lane, group), segments in sorted(sync.sealed_only.items())
        ],
    )
    yield labelled(
        "schoolnode_hub_sync_parked_rows",
        "Rows that are stored and could not be applied.",
        "retriable",
        {"yes": sync.parked_rows - sync.parked_for_good_rows, "no": sync.parked_for_good_rows},
    )
    for name, told, value in (
        ("quarantined_segments", "Segments that were refused.", sync.refused_segments),
        ("frozen_logs", "Logs of schools that forked.", sync.frozen_logs),
        ("clamped_segments", "Segments with stamps from the future.", sync.clamped_segments),
        ("evicted_schools", "Schools that were silent too long.", sync.evicted_schools),
        ("refused_checkpoints", "Checkpoints not found whole.", sync.refused_checkpoints),
    ):
        yield one(f"schoolnode_hub_sync_{name}", told, value)


def _boxes(boxes: Sequence[SchoolLight], now_ms: int) -> Iterator[Family]:
    states = Counter(_state(box, now_ms) for box in boxes)
    yield labelled(
        "schoolnode_hub_boxes",
        "Enrolled boxes by how long ago they were heard since the hub started.",
        "state",
        {state: states[state] for state in _STATES},
    )
    fresh = [box for box in boxes if _state(box, now_ms) == "connected"]
    yield one(
        "schoolnode_hub_boxes_caught_up",
        "Connected boxes that said that nothing sealed waits.",
        sum(box.waiting_bytes == 0 for box in fresh),
    )
    yield one(
        "schoolnode_hub_waiting_bytes",
        "Bytes of sealed segments that connected boxes said are waiting.",
        sum(box.waiting_bytes or 0 for box in fresh),
    )
    yield one(
        "schoolnode_hub_sync_lag_seconds",
        "How long ago the slowest connected box last had nothing sealed that is not here.",
        seconds(max((box.lag_ms for box in fresh if box.lag_ms is not None), default=None)),
    )
    yield one(
        "schoolnode_hub_certificate_end_timestamp_seconds",
        "When the first certificate of a box that was heard ends.",
        seconds(min((box.not_after_ms for box in boxes if box.not_after_ms), default=None)),
    )


def _state(box: SchoolLight, now_ms: int) -> str:
    if box.heartbeat_ms is None:
        return "never"
    silent_ms = now_ms - box.heartbeat_ms
    if silent_ms > HEARTBEAT_LOST_MS:
        return "silent"
    return "quiet" if silent_ms > HEARTBEAT_FRESH_MS else "connected"


def _by_lane(name: str, told: str, values: Iterable[tuple[Lane, int]]) -> Family:
    by_name = {lane.name.lower(): float(value) for lane, value in sorted(values)}
    return labelled(f"schoolnode_hub_sync_{name}", told, "lane", by_name)
