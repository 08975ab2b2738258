"""Tells how sync stands: to the pages from memory, to the command line fresh, and to Prometheus."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Never, Protocol

import msgspec
from aiohttp import web

from edge.clock_watch import ClockLight
from edge.metrics import BoxFigures, box_families
from edge.pages.box_view import DeviceLight, SyncLights
from edge.recovery_office import RecoveryOffice, RecoveryStanding
from edge.sync_standing import RecoveryFigures, SyncStanding, read_standing
from edge.uplink import UplinkState
from provisioning.scrape_token import require_scraper
from sync.exposition import CONTENT_TYPE, expose
from sync.node import Node
from sync.writer import Writer

LOOK_EVERY_S = 20.0
FORMAT = 1
"""Of what ``schoolnode sync status --json`` prints; fields may be added without a new one."""


class Told(Protocol):
    """What the desk asks of the box; everything answers at once from memory."""

    @property
    def school(self) -> int: ...

    @property
    def school_name(self) -> str: ...

    def now_ms(self) -> int: ...

    def sync_lights(self) -> SyncLights: ...

    def uplink_state(self) -> UplinkState: ...

    def clock_light(self) -> ClockLight: ...

    def device_lights(self) -> Sequence[DeviceLight]: ...


class SyncDesk:
    """``reader`` belongs to the thread of ``writer``; ``scrape_token`` opens the metrics."""

    def __init__(
        self,
        box: Told,
        node: Node,
        reader: sqlite3.Connection,
        writer: Writer,
        recovery: RecoveryOffice,
        scrape_token: str,
        changed: Callable[[], None],
    ) -> None:
        self._box = box
        self._node = node
        self._reader = reader
        self._writer = writer
        self._recovery = recovery
        self._scrape_token = scrape_token
        self._changed = changed
        self.standing: SyncStanding | None = None

    def add_routes(self, app: web.Application) -> None:
        """Add what the command line asks, on the control socket."""
        app.router.add_get("/sync", self._tell)

    async def run(self) -> Never:
        """Look every LOOK_EVERY_S until cancelled."""
        while True:
            await self.look()
            self._changed()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> SyncStanding:
        """Return how sync stands now, and remember it."""
        standing = await self._writer.call(read_standing, self._node, self._reader)
        recovery = _figures(await self._recovery.standing())
        self.standing = replace(standing, recovery=recovery)
        return self.standing

    async def serve_metrics(self, request: web.Request) -> web.Response:
        """Answer Prometheus on the pages' port."""
        require_scraper(request, self._scrape_token)
        box = self._box
        figures = BoxFigures(
            lights=box.sync_lights(),
            standing=self.standing,
            uplink=box.uplink_state(),
            clock=box.clock_light(),
            devices=tuple(box.device_lights()),
        )
        return web.Response(
            body=expose(box_families(figures)),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )

    async def _tell(self, _: web.Request) -> web.Response:
        standing = await self.look()
        box = self._box
        told = {
            "format": FORMAT,
            "now_ms": box.now_ms(),
            "school": box.school,
            "school_name": box.school_name,
            "sync": _lights(box.sync_lights()),
            "uplink": _uplink(box.uplink_state()),
            "clock": box.clock_light(),
            "standing": _standing(standing),
        }
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")


def _lights(lights: SyncLights) -> dict[str, object]:
    """Return the link and its lanes, lanes by name and each with its peer."""
    shown: dict[str, object] = msgspec.to_builtins(lights)
    shown["held"] = [lane.name.lower() for lane in lights.held]
    shown["lanes"] = [
        {
            **msgspec.to_builtins(light),
            "lane": light.lane.name.lower(),
            "peer": "hub",
            "held": light.lane in lights.held,
        }
        for light in lights.lanes
    ]
    return shown


def _uplink(state: UplinkState) -> dict[str, object]:
    return {
        "sent_bytes": state.sent_bytes,
        "received_bytes": state.received_bytes,
        "refused": list(state.refused),
    }


def _standing(standing: SyncStanding) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(standing)
    shown["received"] = [
        {**msgspec.to_builtins(held), "lane": held.lane.name.lower()} for held in standing.received
    ]
    return shown


def _figures(recovery: RecoveryStanding) -> RecoveryFigures:
    stored = recovery.stored
    return RecoveryFigures(
        has_code=recovery.fingerprint is not None,
        number=recovery.number,
        stored_number=stored.number if stored else None,
        stored_generation=stored.generation if stored else None,
        stored_ms=stored.stored_ms if stored else None,
        vault_waits=recovery.vault_waits,
        keys_wait=recovery.keys_wait,
        detail=recovery.detail,
    )
