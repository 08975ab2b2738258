"""Trying the addresses of subnets that an administrator named, politely: questions only.

One connection at a time to a host, IN_FLIGHT_MAX hosts at once; a neighbour that nobody answers
for is left after its first port. A place that is adopted or found already is not touched.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import aiohttp

from drivers.codecs import pjlink
from drivers.discovery.arp import is_silent_neighbour, mac_by_arp
from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.discovery.line_search import SERIAL_KINDS, SearchReport
from drivers.discovery.modbus_models import UnitQuestions
from drivers.discovery.onvif import ByScopes, open_http
from drivers.discovery.onvif_scan import ask_camera
from drivers.discovery.panels import ask_panel, by_way
from drivers.discovery.pjlink import ask_display
from drivers.discovery.serial_bus import search_server
from drivers.entities import NowMs
from drivers.errors import DriverError, SetupError, UnreachableError
from drivers.modbus_line import SilentUnitError
from drivers.modbus_tcp_line import TcpLine
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import MODBUS_PORT, TcpAddress
from drivers.transports.tcp_port import TcpPort
from firmware_profiles.model import Link, LinkType, Profile

IN_FLIGHT_MAX = 64
HOSTS_MAX = 1024
CONNECT_S = 1.0
PAUSE_S = 0.1
"""Small devices take one connection, and a moment to see that the last one ended."""
CAMERA_PORTS = frozenset({80, 8080})
"""Beside those of the profiles."""
SERVER_PORTS = frozenset({4001, 4196, 8899})
"""Of serial servers as they leave Moxa (NPort), Waveshare, and USR or Hi-Flying (Elfin)."""
SERVERS_AT_ONCE = 4
UNITS = (1, 255, 0)
"""Ids by which a Modbus TCP device is asked for first, beside its profile's."""
_LINE = LineSettings(baud=9600)  # TCP has no speed


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProgress:
    """How many hosts were tried, of how many."""

    done: int
    hosts: int
    found: int


Ask = Callable[[IPv4Address], Awaitable[Sequence[Candidate]]]


def hosts_to_scan(networks: Iterable[IPv4Network], interface: IPv4Interface) -> list[IPv4Address]:
    """Return every address but the box's own.

    SetupError: a network is no private one, or there are more than HOSTS_MAX addresses.
    """
    hosts: set[IPv4Address] = set()
    for network in networks:
        if not network.is_private:
            raise SetupError(f"scan of {network}: not a school's own; name a private subnet")
        if network.num_addresses > HOSTS_MAX:
            raise SetupError(
                f"scan of {network}: {network.num_addresses} addresses, more than {HOSTS_MAX};"
                " name smaller subnets"
            )
        hosts.update(network.hosts())
    if len(hosts) > HOSTS_MAX:
        raise SetupError(f"scan of {len(hosts)} addresses: more than {HOSTS_MAX}; name fewer")
    return sorted(hosts - {interface.ip})


class SubnetScan:
    """One scan; ``run`` may be cancelled at any time and leaves nothing open."""

    def __init__(
        self,
        interface: IPv4Interface,
        profiles: Collection[Profile],
        now_ms: NowMs,
        report: SearchReport,
        progress: Callable[[ScanProgress], None],
        *,
        by_scopes: ByScopes = lambda _: None,
        kinds: Collection[DeviceKind] = tuple(DeviceKind),
        skip: Collection[str] = (),
    ) -> None:
        """Ask for devices of some kinds; ``skip`` names places, ``host:port``, of known ones."""
        self._interface = interface
        self._profiles = profiles
        self._now_ms = now_ms
        self._report = report
        self._progress = progress
        self._by_scopes = by_scopes
        self._kinds = frozenset(kinds)
        self._skip = frozenset(skip)
        self._servers = asyncio.Semaphore(SERVERS_AT_ONCE)
        self._done = self._found = 0

    async def run(
        self, hosts: Sequence[IPv4Address], modbus_ports: Collection[int] = (MODBUS_PORT,)
    ) -> None:
        """Try all hosts; what answers is reported as it is found.

        ``modbus_ports``: where Modbus TCP is asked for; gateways have a port for each line.
        """
        waiting = iter(hosts)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(open_http(self._interface))
            knocks = self._knocks(http, modbus_ports)

            async def work() -> None:
                for host in waiting:
                    await self._try_host(host, knocks)
                    self._done += 1
                    self._progress(
                        ScanProgress(done=self._done, hosts=len(hosts), found=self._found)
                    )

            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(IN_FLIGHT_MAX, len(hosts))):
                    tasks.create_task(work())

    def _knocks(
        self, http: aiohttp.ClientSession, modbus_ports: Collection[int]
    ) -> Mapping[int, Sequence[Ask]]:
        """Return what is asked at each port, in the order in which a host is tried."""
        knocks: dict[int, list[Ask]] = {}
        if DeviceKind.CAMERA in self._kinds:
            cameras = {link.port for link in self._links("onvif") if link.port} | CAMERA_PORTS
            for port in sorted(cameras):
                knocks.setdefault(port, []).append(partial(self._ask_camera, http, port))
        if DeviceKind.BLACKBOARD in self._kinds:
            knocks.setdefault(pjlink.PORT, []).append(self._ask_display)
            for way, models in by_way(self._profiles).items():
                for port in sorted({each.links[0].port or 0 for each in models} - {0}):
                    at_port = [each for each in models if each.links[0].port == port]
                    knocks.setdefault(port, []).append(partial(self._ask_panel, port, way, at_port))
        if self._kinds & SERIAL_KINDS:
            for port in sorted(set(modbus_ports)):
                knocks.setdefault(port, []).append(partial(self._ask_modbus, port))
            for port in sorted(SERVER_PORTS):
                knocks.setdefault(port, []).append(partial(self._ask_server, port))
        return knocks

    async def _try_host(self, host: IPv4Address, knocks: Mapping[int, Sequence[Ask]]) -> None:
        for port, asks in knocks.items():
            if f"{host}:{port}" in self._skip:
                continue
            is_open = await self._is_open(host, port)
            if is_open:
                await asyncio.sleep(PAUSE_S)
                for ask in asks:
                    try:
                        found = await ask(host)
                    except DriverError:
                        continue  # somebody else's service
                    for candidate in found:
                        self._found += 1
                        self._report.found(candidate)
            elif is_open is None and await asyncio.to_thread(is_silent_neighbour, host):
                return

    async def _is_open(self, host: IPv4Address, port: int) -> bool | None:
        """Return whether a port takes connections, None where nothing says no either."""
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(
                    str(host), port, local_addr=(str(self._interface.ip), 0)
                )
        except ConnectionRefusedError:
            return False
        except (OSError, TimeoutError):
            return None
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    async def _ask_camera(
        self, http: aiohttp.ClientSession, port: int, host: IPv4Address
    ) -> Sequence[Candidate]:
        return _some(await ask_camera(http, host, port, self._now_ms, self._by_scopes))

    async def _ask_display(self, host: IPv4Address) -> Sequence[Candidate]:
        return _some(await ask_display(host, None, str(self._interface.ip), self._now_ms))

    async def _ask_panel(
        self, port: int, way: tuple[LinkType, int], models: Sequence[Profile], host: IPv4Address
    ) -> Sequence[Candidate]:
        line = await TcpPort.connect(str(host), port, _LINE)
        try:
            panel = await ask_panel(line, way, models, lambda _: None)
        finally:
            line.close()
        if panel is None:
            return ()
        address = TcpAddress(scheme="tcp", host=str(host), port=port, unit=panel.link.unit)
        mac = await asyncio.to_thread(mac_by_arp, host)
        identity = f"panel:{mac or host}:{port}"
        return (panel.candidate(self._now_ms, identity=identity, address=str(address)),)

    async def _ask_modbus(self, port: int, host: IPv4Address) -> Sequence[Candidate]:
        """Ask the ids that Modbus TCP devices leave the factory with, each model's probe."""
        models = [each for each in self._profiles if "modbus_tcp" in _types(each)]
        own = [link.unit for link in self._links("modbus_tcp") if link.unit is not None]
        found: list[Candidate] = []
        for unit in dict.fromkeys((*UNITS[:1], *own, *UNITS)):
            line = await TcpPort.connect(str(host), port, _LINE)
            try:
                questions = UnitQuestions(TcpLine(line), unit, "modbus_tcp", None)
                fits = await questions.fitting(models)
                perhaps = [] if fits else await questions.answering(models)
            except (SilentUnitError, UnreachableError):
                continue
            finally:
                line.close()
            if not questions.was_answered:
                continue
            address = TcpAddress(scheme="modbus", host=str(host), port=port, unit=unit)
            mac = await asyncio.to_thread(mac_by_arp, host)
            identity = f"modbus:{mac or host}:{port}:{unit}"
            found.append(
                questions.candidate(
                    fits,
                    self._now_ms,
                    identity=identity,
                    address=str(address),
                    perhaps=perhaps,
                )
            )
            break  # such a device answers to every id
        return found

    async def _ask_server(self, port: int, host: IPv4Address) -> Sequence[Candidate]:
        """Search the line behind a serial server; what it finds is reported meanwhile."""
        address = TcpAddress(scheme="tcp", host=str(host), port=port)
        async with self._servers:
            found = await search_server(address, self._profiles, self._now_ms, self._report)
        self._found += len(found)
        return ()

    def _links(self, link_type: LinkType) -> list[Link]:
        return [link for each in self._profiles for link in each.links if link.type == link_type]


def _types(profile: Profile) -> set[LinkType]:
    return {link.type for link in profile.links}


def _some(candidate: Candidate | None) -> Sequence[Candidate]:
    return () if candidate is None else (candidate,)
