"""One adopted Hikvision access terminal: its pushes, and what it is asked for in between."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Never

from drivers.codecs import isapi
from drivers.codecs.digest import Credentials
from drivers.entities import CardRead, CommandResult, NowMs, Outcome
from drivers.errors import DriverError, ProtocolError, RefusedError, SetupError
from drivers.reports import CLOCK_POINT, Reports
from drivers.terminals.isapi_client import IsapiClient, parse_terminal_address
from drivers.terminals.office import DeviceMemory, TapOffice
from drivers.terminals.tap_keys import TapKeys
from drivers.terminals.tap_times import KEPT_DAYS, TerminalClock

_log = logging.getLogger(__name__)

PULL_EVERY_S = 60.0
REFUSED_PAUSE_S = 900.0
"""Terminals lock themselves after some wrong passwords: one try a quarter of an hour."""
OVERLAP = timedelta(minutes=2)
PAGES_MAX = 200
CLOCK_OFF_S = 30.0
CLOCK_SET_EVERY_S = 3600.0
_TIME = "/ISAPI/System/time"
_INFO = "/ISAPI/System/deviceInfo"
_SEARCH = "/ISAPI/AccessControl/AcsEvent?format=json"


class IsapiTerminal:
    """Takes pushes by :meth:`take`; :meth:`run` watches the clock and fetches what was not pushed.

    ``mac`` is the terminal's identity, ``address`` where it is asked and calls from. On the event
    loop's thread.
    """

    def __init__(
        self,
        mac: str,
        address: str,
        credentials: Credentials | None,
        office: TapOffice,
        memory: DeviceMemory,
        reports: Reports,
        now_ms: NowMs,
    ) -> None:
        facts = memory.read()
        self.device = reports.device
        self.mac = mac
        self.host = str(parse_terminal_address(address)[0])
        self._address = address
        self._credentials = credentials
        self._office = office
        self._memory = memory
        self._now_ms = now_ms
        self._reports = reports
        self._keys = TapKeys(facts.get("secret", ""))
        self._last = _moment(facts.get("last", ""))
        self._offset_s = 0.0
        self._clock = TerminalClock()
        self._clock_set_s = float("-inf")
        self._can_search = True
        self._client: IsapiClient | None = None

    async def take(self, event: isapi.AccessEvent | isapi.Caller, address: str) -> None:
        """Take a push; durable on return.

        Raises RefusedError when it does not come from the terminal, UnreachableError or SetupError
        when it cannot be kept.
        """
        if address != self.host:
            raise RefusedError(
                f"{address} calls itself {self.mac}, which is at {self.host}; find out which of"
                " the two is the terminal, or adopt it again where it is"
            )
        self._reports.presence.tell(online=True, reason=f"{self.mac} calls from {address}")
        if isinstance(event, isapi.AccessEvent):
            await self._deliver([event])
            if self._last is None:  # what it does not push from now on is fetched
                await self._note_fetched([event])

    async def order(self, command: str, argument: str) -> CommandResult:
        """Carry out a command; raises SetupError for one that terminals do not take."""
        if argument or command not in {"set_time", "reboot", "fetch_records"}:
            raise SetupError(f"{self.device} takes no {command} {argument}".rstrip())
        try:
            client = self._opened()
            if command == "set_time":
                return await self._set_time(client)
            if command == "reboot":
                await client.ask("PUT", "/ISAPI/System/reboot")
                return self._reports.result(command, Outcome.ACKNOWLEDGED)
            self._last = self._local(self._now_ms()) - timedelta(days=KEPT_DAYS)
            await self._fetch(client)
            return self._reports.result(command, Outcome.ACKNOWLEDGED)
        except DriverError as error:
            return self._reports.result(command, Outcome.FAILED, str(error))

    async def run(self) -> Never:
        """Ask for clock and missed events, for ever."""
        try:
            while True:
                pause_s = await self._look()
                await asyncio.sleep(pause_s)
        finally:
            await self.close()

    async def close(self) -> None:
        """Hang up; what is asked next dials again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _look(self) -> float:
        """Ask once; return how long to wait."""
        try:
            client = self._opened()
            info = isapi.read_device_info(await client.ask("GET", _INFO))
            if info.mac != self.mac:
                raise ProtocolError(f"{self._address}: {info.mac} answers, not {self.mac}")
            await self._compare_clocks(client)
            await self._fetch(client)
        except RefusedError as error:
            self._reports.presence.tell(online=False, reason=str(error))
            return REFUSED_PAUSE_S
        except DriverError as error:
            self._reports.presence.tell(online=False, reason=str(error))
            return PULL_EVERY_S
        self._reports.presence.tell(
            online=True, reason=f"{self._address}: {info.model} {info.firmware}"
        )
        return PULL_EVERY_S

    async def _compare_clocks(self, client: IsapiClient) -> None:
        asked_ms = self._now_ms()
        told = self._aware(isapi.read_time(await client.ask("GET", _TIME)))
        middle_ms = (asked_ms + self._now_ms()) / 2
        before, self._offset_s = self._offset_s, told.timestamp() - middle_ms / 1000
        now_s = asyncio.get_running_loop().time()
        is_off = abs(self._offset_s) > CLOCK_OFF_S
        if is_off or abs(before) > CLOCK_OFF_S:
            self._reports.reading(CLOCK_POINT, round(self._offset_s, 1), "s")
        if is_off and now_s - self._clock_set_s > CLOCK_SET_EVERY_S:
            self._clock_set_s = now_s
            await self._fetch(client)  # what was told by the wrong clock, while it is known
            await self._set_time(client)

    async def _set_time(self, client: IsapiClient) -> CommandResult:
        await client.ask("PUT", _TIME, isapi.write_time(self._local(self._now_ms())))
        told = self._aware(isapi.read_time(await client.ask("GET", _TIME)))
        self._offset_s = told.timestamp() - self._now_ms() / 1000
        if abs(self._offset_s) <= CLOCK_OFF_S:
            return self._reports.result("set_time", Outcome.VERIFIED)
        return self._reports.result(
            "set_time", Outcome.FAILED, f"it is still {self._offset_s:.0f} s off"
        )

    async def _fetch(self, client: IsapiClient) -> None:
        """Ask for events since the last one, by the terminal's clock."""
        now = self._local(self._now_ms()) + timedelta(seconds=self._offset_s)
        if self._last is None or self._last > now:  # its clock was set back
            self._last = now  # what happened before it was adopted is not the box's
            await self._remember()
        since, position = self._last - OVERLAP, 0
        until = now + timedelta(seconds=CLOCK_OFF_S)  # later ones were told by a clock since set
        fetched: list[isapi.AccessEvent] = []
        search_id = self._keys.name("search", now.isoformat())
        for _ in range(PAGES_MAX):
            asked = isapi.search(search_id, position, since, until)
            try:
                page = isapi.read_page(await client.ask("POST", _SEARCH, asked))
            except ProtocolError as error:
                if self._can_search:
                    self._can_search = False
                    _log.warning("%s; what it does not push is lost", error)
                return
            self._can_search = True
            await self._deliver(page.events)
            fetched += page.events
            position += page.size
            if page.is_last:
                break
        await self._note_fetched(fetched)

    async def _deliver(self, events: Sequence[isapi.AccessEvent]) -> None:
        if not events:
            return
        await self._remember()  # the secret by which taps are named
        offset_ms = int(self._offset_s * 1000) if abs(self._offset_s) > CLOCK_OFF_S else 0
        told_ms = [int(self._aware(event.at).timestamp() * 1000) - offset_ms for event in events]
        placed = self._clock.place(told_ms, self._now_ms())
        reads = [
            CardRead(
                device=self.device,
                card=event.card,
                number=event.number,
                key=self._key(event),
                observed_ms=moment_ms,
                source=self._reports.source,
            )
            for event, moment_ms in zip(events, placed.moments_ms, strict=True)
            if moment_ms is not None
        ]
        if reads:
            await self._office.deliver(reads)

    async def _note_fetched(self, events: Sequence[isapi.AccessEvent]) -> None:
        """Go on after these next time. A push tells nothing of what was missed before it."""
        if not events:
            return
        newest = max(self._aware(event.at) for event in events)
        ends = self._local(self._now_ms()) + timedelta(seconds=self._offset_s)
        if self._last is None or self._last < newest <= ends + OVERLAP:
            self._last = newest
            await self._remember()

    def _key(self, event: isapi.AccessEvent) -> str:
        at = event.at.replace(tzinfo=None).isoformat()
        count = "" if event.serial_no is None else str(event.serial_no)
        facts = (at, count) if count else (at, event.number, event.card)
        return f"{self.mac}:{self._keys.name(*facts)}"

    async def _remember(self) -> None:
        facts: Mapping[str, str] = {
            "secret": self._keys.secret_hex,
            "last": "" if self._last is None else self._last.isoformat(),
        }
        if facts != self._memory.read():
            await self._memory.keep(facts)

    def _opened(self) -> IsapiClient:
        if self._credentials is None:
            raise SetupError(f"{self._address}: no password is known; adopt the terminal with one")
        if self._client is None:
            self._client = IsapiClient(self._address, self._credentials)
        return self._client

    def _aware(self, at: datetime) -> datetime:
        return at if at.tzinfo is not None else at.replace(tzinfo=self._office.zone)

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, self._office.zone)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
