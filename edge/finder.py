"""Discovery runs and their inbox: candidates wait here for a person."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection

from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.discovery.mdns import leave_out_doubles, listen_for_services
from drivers.discovery.onvif import discover_cameras, listen_for_cameras
from drivers.discovery.pjlink import discover_displays
from drivers.discovery.serial_bus import (
    FoundPort,
    SearchProgress,
    SearchReport,
    find_named_ports,
    find_ports,
    search_bus,
    search_port,
)
from drivers.entities import NowMs
from drivers.errors import DriverError, SetupError
from edge.config import BoxConfig
from edge.devices.fleet import Fleet
from edge.pages.box_view import Change, DiscoveryProgress
from firmware_profiles.catalog import Catalog

_log = logging.getLogger(__name__)

SERIAL_KINDS = frozenset(
    {
        DeviceKind.FARM_SENSOR,
        DeviceKind.FARM_ACTUATOR,
        DeviceKind.SAFETY_INPUT,
        DeviceKind.CARD_READER,
    }
)
CANDIDATES_MAX = 500


class Finder:
    """Runs one discovery at a time; what it finds stays until adopted or dismissed."""

    def __init__(
        self,
        config: BoxConfig,
        catalog: Catalog,
        fleet: Fleet,
        now_ms: NowMs,
        rng: random.Random,
        changed: Callable[[Change], None],
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._fleet = fleet
        self._now_ms = now_ms
        self._rng = rng
        self._changed = changed
        self._candidates: dict[str, Candidate] = {}
        self._wanted: asyncio.Queue[frozenset[DeviceKind]] = asyncio.Queue(1)
        self._steps: dict[str, tuple[int, int]] = {}
        self.progress = DiscoveryProgress(running=False)

    def candidates(self) -> list[Candidate]:
        """Return what was found and is not adopted, surest first."""
        adopted = self._fleet.devices
        waiting = leave_out_doubles(
            self._candidates.values(), [each.address for each in adopted.values()]
        )
        waiting = [each for each in waiting if each.identity not in adopted]
        return sorted(waiting, key=lambda each: (-each.confidence, each.identity))

    def candidate(self, identity: str) -> Candidate:
        """Return one candidate; raises SetupError when it is not among those found."""
        try:
            return self._candidates[identity]
        except KeyError as error:
            raise SetupError(f"{identity} is not among the devices found; search again") from error

    def seen_at(self, identity: str) -> str | None:
        """Return the address at which a device was seen last, None if it was not."""
        seen = self._candidates.get(identity)
        return None if seen is None else seen.address

    def dismiss(self, identity: str) -> None:
        self._candidates.pop(identity, None)
        self._changed(Change.CANDIDATES)

    def start(self, kinds: Collection[DeviceKind] | None) -> None:
        """Start a run, or leave the one that is running to go on."""
        if not self.progress.running and self._wanted.empty():
            self._wanted.put_nowait(frozenset(kinds) if kinds else frozenset(DeviceKind))

    async def run(self) -> None:
        """Carry out runs as they are asked for, until cancelled."""
        while True:
            kinds = await self._wanted.get()
            started_ms = self._now_ms()
            self.progress = DiscoveryProgress(running=True, started_ms=started_ms)
            self._steps.clear()
            self._changed(Change.CANDIDATES)
            try:
                await self.search(kinds)
            finally:  # also after a fault: a run that never ends would keep others from starting
                self.progress = DiscoveryProgress(
                    running=False,
                    started_ms=started_ms,
                    finished_ms=self._now_ms(),
                    step=f"{len(self.candidates())} devices wait to be adopted",
                )
                self._changed(Change.CANDIDATES)

    async def search(self, kinds: Collection[DeviceKind]) -> None:
        """Search once; a port or protocol that fails is logged and does not stop the others."""
        async with asyncio.TaskGroup() as tasks:
            if SERIAL_KINDS.intersection(kinds):
                find = find_ports if self._config.serial.usb else find_named_ports
                for port in await asyncio.to_thread(find, self._config.serial.ports):
                    if self._may_search(port):
                        tasks.create_task(self._search_serial(port))
            if DeviceKind.BLACKBOARD in kinds:
                tasks.create_task(self._search_displays())
            if DeviceKind.CAMERA in kinds:
                tasks.create_task(self._search_cameras())

    def _may_search(self, port: FoundPort) -> bool:
        """Return whether a port is free, or its driver lends it between polls."""
        is_free = port.path not in self._fleet.ports.taken()
        return is_free or port.path in self._fleet.buses.by_port

    async def _search_serial(self, port: FoundPort) -> None:
        report = SearchReport(progress=self._note_progress, found=self._add)
        profiles = list(self._catalog.profiles.values())
        bus = self._fleet.buses.by_port.get(port.path)
        try:
            if bus is None:
                await search_port(port, profiles, self._now_ms, report)
            else:
                skip = [unit.unit for unit in bus.units]
                await search_bus(port.path, bus, profiles, self._now_ms, report, skip)
        except DriverError as error:
            _log.warning("discovery on %s: %s", port.path, error)

    async def _search_displays(self) -> None:
        network = self._config.network
        try:
            found = await discover_displays(network.interface, self._now_ms, scan=network.scan)
        except DriverError as error:
            _log.warning("discovery of displays: %s", error)
            return
        for candidate in found:
            self._add(candidate)

    async def _search_cameras(self) -> None:
        interface = self._config.network.interface
        try:
            found = await discover_cameras(
                interface, self._now_ms, self._rng, by_scopes=self._catalog.by_scopes
            )
        except DriverError as error:
            _log.warning("discovery of cameras: %s", error)
            return
        for candidate in found:
            self._add(candidate)

    async def listen(self) -> None:
        """Take in cameras that announce themselves, until cancelled."""
        await listen_for_cameras(
            self._config.network.interface,
            self._now_ms,
            self._add,
            by_scopes=self._catalog.by_scopes,
        )

    async def listen_to_services(self) -> None:
        """Take in cameras that announce services by mDNS, until cancelled."""
        await listen_for_services(self._config.network.interface, self._now_ms, self._add)

    def _add(self, candidate: Candidate) -> None:
        if candidate.identity not in self._candidates and len(self._candidates) >= CANDIDATES_MAX:
            _log.warning("more than %d candidates; adopt or dismiss some", CANDIDATES_MAX)
            return
        self._candidates[candidate.identity] = candidate
        self._changed(Change.CANDIDATES)

    def _note_progress(self, progress: SearchProgress) -> None:
        self._steps[str(progress.port)] = (progress.unit, progress.units)
        self.progress = DiscoveryProgress(
            running=True,
            started_ms=self.progress.started_ms,
            step=f"{progress.port.name}: {progress.stage}, {progress.baud} baud, {progress.unit}",
            done=sum(done for done, _ in self._steps.values()),
            total=sum(total for _, total in self._steps.values()),
        )
