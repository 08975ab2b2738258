"""Attendance terminals, which call the box: ADMS, and ISAPI, which is asked in between too."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.codecs.adms import check_serial
from drivers.codecs.isapi import normal_mac
from drivers.entities import CardRead, CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import ProtocolError, SetupError
from drivers.reports import Reports
from drivers.terminals.adms_terminal import HERE, PEOPLE, AdmsTerminal
from drivers.terminals.isapi_terminal import IsapiTerminal
from drivers.terminals.office import TapOffice
from edge.devices.adopted import AdoptedDevice, Group
from edge.devices.programs import Programs
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from firmware_profiles.model import Profile

STRANGERS_S = 15 * 60.0
"""How long after a search a terminal that nobody adopted may call."""
ORDER_NUMBER_MAX = 900_000_000
ADMS_PREFIX = "adms:"
ISAPI_PREFIX = "isapi:"


@dataclass(frozen=True, slots=True)
class NotedFacts:
    """A terminal's memory in the box's notebook."""

    notebook: Notebook
    device: DeviceId

    def read(self) -> Mapping[str, str]:
        return self.notebook.facts(self.device)

    async def keep(self, facts: Mapping[str, str]) -> None:
        await self.notebook.keep_facts(self.device, facts)


class Terminals(Group):
    """Every attendance terminal; without an office its taps go to ``sink``."""

    link_types = frozenset({"adms", "isapi"})

    def __init__(
        self,
        programs: Programs,
        notebook: Notebook,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        office: TapOffice | None,
    ) -> None:
        async def tell(taps: Sequence[CardRead]) -> None:
            for tap in taps:
                sink(tap)

        self._programs = programs
        self._notebook = notebook
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._office = office or TapOffice(deliver=tell)
        self._adms: dict[str, AdmsTerminal] = {}
        self._isapi: dict[str, IsapiTerminal] = {}
        self._profiles: dict[DeviceId, Profile] = {}
        self._strangers_until_s = float("-inf")
        self._met_at: dict[str, str] = {}

    def add(self, adopted: AdoptedDevice, profile: Profile) -> None:
        if profile.links[0].type == "adms":
            terminal: AdmsTerminal | IsapiTerminal = self._add_adms(adopted)
        else:
            terminal = self._add_isapi(adopted)
        self._profiles[adopted.device] = profile
        self._programs.start(adopted.device, terminal.run)

    async def release(self, device: DeviceId) -> None:
        if self._profiles.pop(device, None) is None:
            return
        self._adms = {key: each for key, each in self._adms.items() if each.device != device}
        self._isapi = {key: each for key, each in self._isapi.items() if each.device != device}
        await self._programs.stop(device)

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        profile = self._profiles.get(device)
        if profile is None:
            return ()
        return tuple(
            CommandChoice(command=command.id, arguments=tuple(command.values))
            for command in profile.commands
        )

    async def command(self, device: DeviceId, command: str, argument: str) -> CommandResult:
        terminals: list[AdmsTerminal | IsapiTerminal] = [*self._adms.values()]
        terminals += self._isapi.values()
        for terminal in terminals:
            if terminal.device == device:
                return await terminal.order(command, argument)
        raise SetupError(f"{device} is no attendance terminal")

    def wishes(self) -> Mapping[DeviceId, Mapping[str, str]]:
        return {
            terminal.device: {PEOPLE: HERE} if terminal.wants_people else {}
            for terminal in self._adms.values()
        }

    def by_serial(self, serial: str) -> AdmsTerminal | None:
        """Return the adopted terminal of a serial number."""
        return self._adms.get(serial)

    def note_met(self, serial: str, address: str) -> None:
        """Note where a stranger called from: who is adopted next is that one."""
        self._met_at[serial] = address

    def by_mac(self, mac: str) -> IsapiTerminal | None:
        """Return the adopted terminal of a MAC address, as ``normal_mac`` writes it."""
        return self._isapi.get(mac)

    def expect_strangers(self) -> None:
        """Let terminals that nobody adopted call from now on, for a quarter of an hour."""
        if not self.expects_strangers:
            self._met_at.clear()
        self._strangers_until_s = asyncio.get_running_loop().time() + STRANGERS_S

    @property
    def expects_strangers(self) -> bool:
        return asyncio.get_running_loop().time() < self._strangers_until_s

    @property
    def wants_calls(self) -> bool:
        """Whether the port on which terminals call is to be open."""
        return bool(self._profiles) or self.expects_strangers

    def _add_adms(self, adopted: AdoptedDevice) -> AdmsTerminal:
        scheme, _, serial = adopted.address.partition(":")
        try:
            check_serial(serial)
        except ProtocolError as error:
            raise SetupError(f"{error}; write push:SERIAL as the terminal shows it") from error
        if scheme != "push":
            raise SetupError(f"{adopted.address!r} calls nobody; write push:SERIAL")
        if serial in self._adms:
            raise SetupError(f"{serial} is another adopted terminal's; release that one first")
        terminal = AdmsTerminal(
            serial,
            self._office,
            NotedFacts(self._notebook, adopted.device),
            self._reports(adopted.device, ADMS_PREFIX + serial),
            self._now_ms,
            key=self._notebook.password(adopted.device),
            first_order=self._rng.randrange(1, ORDER_NUMBER_MAX),
            met_at=self._met_at.get(serial, ""),
        )
        terminal.want_people(self._notebook.wishes(adopted.device).get(PEOPLE, ""))
        self._adms[serial] = terminal
        return terminal

    def _add_isapi(self, adopted: AdoptedDevice) -> IsapiTerminal:
        try:
            mac = normal_mac(adopted.device.removeprefix(ISAPI_PREFIX))
        except ProtocolError as error:
            raise SetupError(f"{error}; a terminal is known by isapi:MAC") from error
        terminal = IsapiTerminal(
            mac,
            adopted.address,
            self._notebook.credentials(adopted.device),
            self._office,
            NotedFacts(self._notebook, adopted.device),
            self._reports(adopted.device, ISAPI_PREFIX + mac),
            self._now_ms,
        )
        self._isapi[mac] = terminal
        return terminal

    def _reports(self, device: DeviceId, source: str) -> Reports:
        return Reports(device, source, self._now_ms, self._sink)
