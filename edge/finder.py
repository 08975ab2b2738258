"""Discovery runs and their inbox: candidates wait here for a person."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.discovery.line_search import (
    SERIAL_KINDS,
    SearchProgress,
    SearchReport,
    place_name,
)
from drivers.discovery.mdns import leave_out_doubles, listen_for_services
from drivers.discovery.onvif import discover_cameras, listen_for_cameras
from drivers.discovery.pjlink import discover_displays
from drivers.discovery.serial_bus import listen_to_port, search_bus, search_port
from drivers.discovery.serial_ports import FoundPort, find_named_ports, find_ports
from drivers.discovery.subnet_scan import ScanProgress, SubnetScan, hosts_to_scan
from drivers.entities import NowMs
from drivers.errors import DriverError, SetupError
from drivers.transports.serial_address import SerialAddress
from edge.config import BoxConfig
from edge.devices.fleet import Fleet
from edge.pages.box_view import Change, DiscoveryProgress
from firmware_profiles.catalog import Catalog
from firmware_profiles.doubts import doubtful
from firmware_profiles.model import Profile, ProfileId

_log = logging.getLogger(__name__)

CANDIDATES_MAX = 500
UNSEARCHED_MAX = 50
PORTS_EVERY_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What one run looks for; ``networks`` are tried address by address."""

    kinds: frozenset[DeviceKind]
    networks: tuple[IPv4Network, ...]


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
        self._wanted: asyncio.Queue[_Wish] = asyncio.Queue(1)
        self._going_on: asyncio.Task[None] | None = None
        self._steps: dict[str, tuple[int, int]] = {}
        self._unsearched: list[str] = []
        self._lines: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._fresh: dict[Path, FoundPort] = {}
        self._plugged: frozenset[Path] | None = None
        self.progress = DiscoveryProgress(running=False)

    def candidates(self) -> list[Candidate]:
        """Return what was found and is not adopted, surest first."""
        adopted = self._fleet.devices
        waiting = leave_out_doubles(
            self._candidates.values(), [each.address for each in adopted.values()]
        )
        waiting = [self._marked(each) for each in waiting if each.identity not in adopted]
        return sorted(waiting, key=lambda each: (-each.confidence, each.identity))

    def _marked(self, candidate: Candidate) -> Candidate:
        """Say of a candidate what of its profile nobody has confirmed."""
        model = self._catalog.profiles.get(ProfileId(candidate.profile or ""))
        return candidate if model is None else replace(candidate, unconfirmed=doubtful(model))

    def candidate(self, identity: str) -> Candidate:
        """Return one candidate; raises SetupError when it is not among those found."""
        try:
            return self._candidates[identity]
        except KeyError as error:
            raise SetupError(f"{identity} is not among the devices found; search again") from error

    def adoptable(self, identity: str, profile: str | None) -> tuple[Candidate, ProfileId]:
        """Return a candidate of its model's kind, and the model.

        ``profile`` is the one that a person chose of those that fit; None takes the surest. Raises
        SetupError when there is no such choice, or one has to be made.
        """
        candidate = self.candidate(identity)
        offered = {*candidate.choices, *filter(None, [candidate.profile])}
        if not offered:
            raise SetupError(
                f"no profile fits {candidate.name}; add one to the profiles folder and search again"
            )
        model = profile or candidate.profile
        if model is None or model not in offered:
            raise SetupError(
                f"{candidate.name} may be one of {', '.join(sorted(offered))}; look at it and say"
                " which"
            )
        kind = DeviceKind(self._catalog.profiles[ProfileId(model)].kind)
        return replace(candidate, kind=kind), ProfileId(model)

    def seen_at(self, identity: str) -> str | None:
        """Return the address at which a device was seen last, None if it was not."""
        seen = self._candidates.get(identity)
        return None if seen is None else seen.address

    def dismiss(self, identity: str) -> None:
        self._candidates.pop(identity, None)
        self._changed(Change.CANDIDATES)

    def fresh_ports(self) -> list[FoundPort]:
        """Return serial ports that were plugged in while the box ran and were not searched yet."""
        taken = self._fleet.ports.taken()
        return [port for path, port in sorted(self._fresh.items()) if path not in taken]

    def start(
        self, kinds: Collection[DeviceKind] | None, networks: Sequence[IPv4Network] = ()
    ) -> None:
        """Start a run, or leave the one that is running to go on.

        ``networks`` are tried address by address, beside those of the configuration. Raises
        SetupError when they may not be.
        """
        hosts_to_scan(networks, self._config.network.interface)
        if not self.progress.running and self._wanted.empty():
            wish = _Wish(
                kinds=frozenset(kinds) if kinds else frozenset(DeviceKind),
                networks=(*self._config.network.scan, *networks),
            )
            self._wanted.put_nowait(wish)

    def stop(self) -> None:
        """End the run that goes on, with what it found; harmless when there is none."""
        if self._going_on is not None:
            self._going_on.cancel()

    async def run(self) -> None:
        """Carry out runs as they are asked for, until cancelled."""
        while True:
            wish = await self._wanted.get()
            started_ms = self._now_ms()
            self.progress = DiscoveryProgress(running=True, started_ms=started_ms)
            self._steps.clear()
            self._unsearched.clear()
            self._changed(Change.CANDIDATES)
            try:
                async with asyncio.TaskGroup() as tasks:
                    searching = self.search(wish.kinds, wish.networks)
                    self._going_on = tasks.create_task(searching)
            finally:  # also after a fault: a run that never ends would keep others from starting
                self._going_on = None
                self.progress = DiscoveryProgress(
                    running=False,
                    started_ms=started_ms,
                    finished_ms=self._now_ms(),
                    step=f"{len(self.candidates())} devices wait to be adopted",
                    unsearched=tuple(self._unsearched),
                )
                self._changed(Change.CANDIDATES)

    async def search(
        self, kinds: Collection[DeviceKind], networks: Sequence[IPv4Network] = ()
    ) -> None:
        """Search once; a port or protocol that fails is told and does not stop the others."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.seek(kinds, networks))
            if (SERIAL_KINDS | {DeviceKind.BLACKBOARD}).intersection(kinds):
                for port in await asyncio.to_thread(self._find_ports):
                    if self._may_search(port):
                        tasks.create_task(self._search_serial(port, kinds))

    async def seek(
        self, kinds: Collection[DeviceKind], networks: Sequence[IPv4Network] = ()
    ) -> None:
        """Search the network alone."""
        if DeviceKind.ATTENDANCE_TERMINAL in kinds:
            self._fleet.terminals.expect_strangers()  # they call; nothing is asked of them
        async with asyncio.TaskGroup() as tasks:
            if DeviceKind.BLACKBOARD in kinds:
                tasks.create_task(self._search_displays())
            if DeviceKind.CAMERA in kinds:
                tasks.create_task(self._search_cameras())
        # Who answered a search told more of itself: a scan leaves it alone.
        if networks:
            await self._scan(kinds, networks)

    async def seek_again(self, kinds: Collection[DeviceKind]) -> None:
        """Search the network alone for what was found before, and in the configured subnets."""
        await self.seek(kinds, self._config.network.scan)

    async def watch_ports(self) -> None:
        """Hear what is on serial ports that are plugged in from now on, until cancelled.

        Listening only: a question might disturb whom the line belongs to, so a person starts those.
        """
        self._plugged = frozenset(await self._seen_ports())
        while True:
            await asyncio.sleep(PORTS_EVERY_S)
            seen = await self._seen_ports()
            gone, come = self._plugged - seen.keys(), seen.keys() - self._plugged
            self._plugged = frozenset(seen)
            for path in gone:
                self._fresh.pop(path, None)
            for path in come - self._fleet.ports.taken():
                self._fresh[path] = seen[path]
                await self._listen_to(seen[path])
            if gone or come:
                self._changed(Change.CANDIDATES)

    async def _seen_ports(self) -> dict[Path, FoundPort]:
        return {port.path: port for port in await asyncio.to_thread(self._find_ports)}

    async def _listen_to(self, port: FoundPort) -> None:
        profiles = list(self._catalog.profiles.values())
        async with self._lines[port.path]:
            try:
                await listen_to_port(port, profiles, self._now_ms, self._report())
            except DriverError as error:
                _log.info("%s was plugged in and is not listened to: %s", port.path, error)

    def _find_ports(self) -> list[FoundPort]:
        find = find_ports if self._config.serial.usb else find_named_ports
        return find(self._config.serial.ports)

    def _may_search(self, port: FoundPort) -> bool:
        """Return whether a port is free, or its driver lends it between polls."""
        is_free = port.path not in self._fleet.ports.taken()
        return is_free or port.path in self._fleet.buses.by_port

    async def _search_serial(self, port: FoundPort, kinds: Collection[DeviceKind]) -> None:
        was_listened_to = self._lines[port.path].locked()
        report = self._report()
        async with self._lines[port.path]:
            if (was_listened_to and self._is_known(port)) or not self._may_search(port):
                self._fresh.pop(port.path, None)
                return  # whoever adopts what was heard must find the port free
            profiles = self._serial_profiles(kinds)
            bus = self._fleet.buses.by_port.get(port.path)
            try:
                if bus is None:
                    await search_port(port, profiles, self._now_ms, report)
                else:
                    skip = [unit.unit for unit in bus.units]
                    await search_bus(bus.address, bus, profiles, self._now_ms, report, skip)
            except DriverError as error:
                self._note_unsearched(f"discovery on {port.path}", error)
            else:
                self._fresh.pop(port.path, None)

    def _is_known(self, port: FoundPort) -> bool:
        """Tell whether something that hangs on a port was found."""
        place = str(SerialAddress(path=port.path, baud=0)).partition("?")[0]
        return any(each.address.partition("?")[0] == place for each in self._candidates.values())

    def _serial_profiles(self, kinds: Collection[DeviceKind]) -> list[Profile]:
        """Return what to ask for; of Modbus models all or none, as they are told apart."""
        displays, others = DeviceKind.BLACKBOARD in kinds, SERIAL_KINDS.intersection(kinds)
        return [
            profile
            for profile in self._catalog.profiles.values()
            if (displays if DeviceKind(profile.kind) is DeviceKind.BLACKBOARD else others)
        ]

    async def _scan(self, kinds: Collection[DeviceKind], networks: Sequence[IPv4Network]) -> None:
        interface = self._config.network.interface
        try:
            hosts = hosts_to_scan(networks, interface)
        except DriverError as error:
            self._note_unsearched("discovery by scan", error)
            return
        scan = SubnetScan(
            interface,
            list(self._catalog.profiles.values()),
            self._now_ms,
            self._report(),
            self._note_scan,
            by_scopes=self._catalog.by_scopes,
            kinds=kinds,
            skip=self._known_places(),
        )
        await scan.run(hosts, self._config.network.modbus_ports)

    def _known_places(self) -> set[str]:
        """Return where network devices are that were adopted or found already, ``host:port``."""
        known = [each.address for each in self._fleet.devices.values()]
        known += [each.address for each in self._candidates.values()]
        return {place for address in known if (place := _network_place(address))}

    def _report(self) -> SearchReport:
        return SearchReport(progress=self._note_progress, found=self.note)

    async def _search_displays(self) -> None:
        network = self._config.network
        try:
            found = await discover_displays(network.interface, self._now_ms)
        except DriverError as error:
            self._note_unsearched("discovery of displays", error)
            return
        for candidate in found:
            self.note(candidate)

    async def _search_cameras(self) -> None:
        interface = self._config.network.interface
        try:
            found = await discover_cameras(
                interface, self._now_ms, self._rng, by_scopes=self._catalog.by_scopes
            )
        except DriverError as error:
            self._note_unsearched("discovery of cameras", error)
            return
        for candidate in found:
            self.note(candidate)

    async def listen(self) -> None:
        """Take in cameras that announce themselves, until cancelled."""
        await listen_for_cameras(
            self._config.network.interface,
            self._now_ms,
            self.note,
            by_scopes=self._catalog.by_scopes,
        )

    async def listen_to_services(self) -> None:
        """Take in cameras that announce services by mDNS, until cancelled."""
        await listen_for_services(self._config.network.interface, self._now_ms, self.note)

    def note(self, candidate: Candidate) -> None:
        if candidate.identity not in self._candidates and len(self._candidates) >= CANDIDATES_MAX:
            _log.warning("more than %d candidates; adopt or dismiss some", CANDIDATES_MAX)
            return
        self._candidates[candidate.identity] = candidate
        self._changed(Change.CANDIDATES)

    def _note_unsearched(self, what: str, error: DriverError) -> None:
        """Log what could not be searched, and keep its sentence for who asked for the run."""
        _log.warning("%s: %s", what, error)
        sentence = str(error)
        if sentence not in self._unsearched and len(self._unsearched) < UNSEARCHED_MAX:
            self._unsearched.append(sentence)

    def _note_progress(self, progress: SearchProgress) -> None:
        line = place_name(progress.port)
        self._steps[line] = (progress.unit, progress.units)
        self._show(f"{line}: {progress.stage}, {progress.baud} baud, {progress.unit}")

    def _note_scan(self, progress: ScanProgress) -> None:
        self._steps["scan"] = (progress.done, progress.hosts)
        self._show(f"{progress.done} of {progress.hosts} addresses, {progress.found} found")

    def _show(self, step: str) -> None:
        if self.progress.running:  # listening to a port that was plugged in is no run
            self.progress = DiscoveryProgress(
                running=True,
                started_ms=self.progress.started_ms,
                step=step,
                done=sum(done for done, _ in self._steps.values()),
                total=sum(total for _, total in self._steps.values()),
                unsearched=tuple(self._unsearched),
            )


def _network_place(address: str) -> str | None:
    """Return where a network device is, as ``host:port``; None for another kind of address."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"http": 80}.get(parts.scheme)
        return f"{IPv4Address(parts.hostname or '')}:{port}"
    except ValueError:
        return None
