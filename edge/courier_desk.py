"""The courier at the box: writes a stick for the hub, reads one from it, one trip at a time."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Never

import msgspec
from aiohttp import web

from edge.errors import BoxSetupError
from sync.courier.stick import (
    StickError,
    find_files,
    free_bytes,
    read_file,
    remove_others,
    write_file,
)
from sync.courier.trip import Inbound, Outbound, batches
from sync.errors import SyncError
from sync.node import Imported, Node
from sync.segments.sealing import RandomBytes
from sync.segments.segment import HUB
from sync.writer import Writer

_log = logging.getLogger(__name__)

MARGIN_BYTES = 4 * 1024 * 1024
"""Left free on a stick."""
OUTCOMES_MAX = 1000
Errand = Literal["export", "import", "receipt"]


class Trip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person asks for; ``stick`` is the folder where the stick is mounted."""

    errand: Errand
    stick: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    bytes_max: Annotated[int, msgspec.Meta(ge=0, le=2**40)] = 2**30


@dataclass(slots=True)
class TripState:
    """How far the present or last trip is; ``done`` of ``total`` files."""

    errand: str = ""
    stick: str = ""
    running: bool = False
    done: int = 0
    total: int = 0
    segments: int = 0
    left_bytes: int = 0
    receipts: str = "none"  # taken, old or none
    files: list[tuple[str, str]] = field(default_factory=list)
    """What was refused: (file, why)."""
    error: str = ""


class CourierDesk:
    """Makes trips in :meth:`run`; ``on_import`` hears, on the event loop, what came."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        district: str,
        random_bytes: RandomBytes,
        on_import: Callable[[Imported], None],
    ) -> None:
        self._node = node
        self._writer = writer
        self._district = district
        self._random_bytes = random_bytes
        self._on_import = on_import
        self._wishes: asyncio.Queue[Trip] = asyncio.Queue(maxsize=1)
        self.state = TripState()

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/courier", self._show)
        app.router.add_post("/courier", self._begin)

    async def run(self) -> Never:
        """Make the trips that are asked for, until cancelled."""
        while True:
            trip = await self._wishes.get()
            try:
                await self._make(trip)
            except (StickError, SyncError) as error:
                self.state.error = str(error)
            except (OSError, sqlite3.Error) as error:
                self.state.error = f"{trip.stick}: {error}; try again"
            finally:
                self.state.running = False
            if self.state.error:
                _log.warning("courier %s: %s", trip.errand, self.state.error)

    async def _show(self, _: web.Request) -> web.Response:
        return _json(self.state)

    async def _begin(self, request: web.Request) -> web.Response:
        trip = msgspec.json.decode(await request.read(), type=Trip)
        if self.state.running:
            raise BoxSetupError(
                f"a courier {self.state.errand} on {self.state.stick} is under way; wait for it"
            )
        if not Path(trip.stick).is_absolute():
            raise BoxSetupError(f"{trip.stick}: give the stick's whole path, beginning with /")
        self.state = TripState(errand=trip.errand, stick=trip.stick, running=True)
        self._wishes.put_nowait(trip)
        return _json({"started": True})

    async def _make(self, trip: Trip) -> None:
        stick = Path(trip.stick)
        if trip.errand == "export":
            await self._export(stick, trip.bytes_max)
        else:
            await self._import(stick, with_segments=trip.errand == "import")

    async def _export(self, stick: Path, bytes_max: int) -> None:
        free = await asyncio.to_thread(free_bytes, stick)
        outbound = await self._writer.call(
            Outbound,
            self._node,
            HUB,
            self._district,
            max(0, min(bytes_max, free - MARGIN_BYTES)),
            self._random_bytes,
        )
        state = self.state
        state.total, state.left_bytes = outbound.parts, outbound.left_bytes
        for number in range(1, outbound.parts + 1):
            name, content = await self._writer.call(outbound.part, number)
            await asyncio.to_thread(write_file, stick, name, content)
            state.done = number
        await asyncio.to_thread(remove_others, stick, self._node.origin, HUB, outbound.parts)
        state.segments = outbound.segments

    async def _import(self, stick: Path, *, with_segments: bool) -> None:
        own = self._node.origin
        found = [
            each
            for each in await asyncio.to_thread(find_files, stick)
            if (each.origin, each.recipient) == (HUB, own)
        ]
        if not found:
            raise StickError(
                f"{stick}: holds no courier file from the hub for school {own}; at the hub:"
                " schoolnode-hub courier import, with this stick"
            )
        state = self.state
        state.total = len(found)
        inbound = Inbound(self._node, self._district)
        for each in found:
            try:
                content = await asyncio.to_thread(read_file, each.path)
                part = await self._writer.call(inbound.open, content)
            except (StickError, SyncError) as error:
                if len(state.files) < OUTCOMES_MAX:
                    state.files.append((each.path.name, str(error)))
                state.done += 1
                continue
            if part.manifest.part == 1:
                fresh = await self._writer.call(inbound.take_receipts, part)
                state.receipts = "taken" if fresh else "old"
            for some in batches(part) if with_segments else ():
                imported = await self._writer.call(inbound.take, part, some)
                state.segments += imported.stored
                for log, seq, reason in imported.refused[: OUTCOMES_MAX - len(state.files)]:
                    state.files.append((each.path.name, f"{log} segment {seq}: {reason}"))
                if imported.stored:
                    self._on_import(imported)
            state.done += 1


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
