"""One adopted ZKTeco terminal, without sockets: pushes go in, what they are answered comes out."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Never

from drivers.codecs import adms
from drivers.codecs.device_text import decode_text
from drivers.entities import CardRead, CommandResult, NowMs, Outcome
from drivers.errors import RefusedError, SetupError
from drivers.reports import CLOCK_POINT, Reports
from drivers.terminals.number_ranges import pack_numbers, unpack_numbers
from drivers.terminals.office import DeviceMemory, TapOffice
from drivers.terminals.orders import Orders
from drivers.terminals.push import Caller, Push
from drivers.terminals.roster_sync import RosterSync
from drivers.terminals.tap_keys import TapKeys
from drivers.terminals.tap_times import KEPT_DAYS, TerminalClock

_log = logging.getLogger(__name__)

DELAY_S = 5
"""How often a terminal is to ask for commands."""
SILENT_S = 60.0
ORDER_WAIT_S = 12.0
CLOCK_SET_EVERY_S = 3600.0
USERS_KEPT_MAX = 5_000
STAMP_CHARS_MAX = 32
READ_TABLES = frozenset({"ATTLOG", "RTLOG", "OPTIONS", "", "OPERLOG", "USERINFO", "USER"})
PEOPLE, HERE, GONE = "people", "here", "gone"
_LOOK_S = 5.0


class AdmsTerminal:
    """Answers one terminal, writes its taps down before it acknowledges them, tells it orders.

    ``key`` is the communication key that the terminal must name when it begins, None for none;
    ``first_order`` makes commands of before a restart another's; ``met_at`` is where it called from
    before it was adopted. On the event loop's thread.
    """

    def __init__(
        self,
        serial: str,
        office: TapOffice,
        memory: DeviceMemory,
        reports: Reports,
        now_ms: NowMs,
        *,
        key: str | None,
        first_order: int,
        met_at: str = "",
    ) -> None:
        facts = memory.read()
        self.device = reports.device
        self.serial = serial
        self._office = office
        self._memory = memory
        self._now_ms = now_ms
        self._reports = reports
        self._key = key
        self._keys = TapKeys(facts.get("secret", ""))
        self._stamp = facts.get("stamp", "None")
        begun_s = asyncio.get_running_loop().time()
        self._caller = Caller(facts.get("address") or met_at, begun_s)
        self._people = RosterSync(unpack_numbers(facts.get("there", "")), office.people)
        self._orders = Orders(first_order)
        self._clock = TerminalClock()
        self._clock_off_s = 0
        self._clock_set_s = float("-inf")
        self._cards: dict[str, str] = {}
        self._heard_s: float | None = None
        self._firmware = ""
        self._were_missing = 0
        self._tells_nonsense = False

    async def answer(self, push: Push) -> str:
        """Return what a push is answered.

        Raises RefusedError for one that is not the terminal's, ProtocolError for one that cannot be
        read, UnreachableError or SetupError when it cannot be kept: the terminal sends it again.
        """
        self.check(push)
        now_s = asyncio.get_running_loop().time()
        self._note_heard(push, now_s)
        text = "OK"
        match push.endpoint:
            case "cdata" if push.body is None:
                text = await self._begin() if push.parameter("options") else "OK"
            case "cdata" | "querydata":
                text = await self._take(push)
            case "registry":
                self._note_firmware(adms.firmware_of_options(_text(push)))
                text = f"RegistryCode={self._keys.name('registry')[:16]}"
            case "push":
                text = (await self._begin()).partition("\n")[2]
            case "getrequest":
                self._note_firmware(adms.firmware_of_info(push.parameter("INFO")))
                text = await self._tell(now_s)
            case "devicecmd":
                await self._settle(push)
            case "rtdata":
                text = adms.write_time(self._local_now())
        return text

    async def order(self, command: str, argument: str) -> CommandResult:
        """Carry out a command; raises SetupError for one that terminals do not take."""
        if command == PEOPLE and argument in {HERE, GONE}:
            self.want_people(argument)
            detail = f"{self._people.missing} cards follow as it calls"
            return self._reports.result(command, Outcome.SENT, detail)
        writers: dict[str, Callable[[], str]] = {
            "set_time": lambda: adms.set_time(self._local_now()),
            "reboot": lambda: adms.REBOOT,
            "fetch_records": lambda: adms.query_records(
                self._local_now() - timedelta(days=KEPT_DAYS), self._local_now()
            ),
        }
        if command not in writers or argument:
            raise SetupError(f"{self.device} takes no {command} {argument}".rstrip())
        order = self._orders.add(writers[command])
        await asyncio.wait([order.done], timeout=ORDER_WAIT_S)
        if order.done.done():
            return self._result(command, order.done.result())
        order.done.add_done_callback(lambda done: self._result(command, done.result()))
        return self._reports.result(command, Outcome.SENT, "waits until the terminal calls")

    @property
    def wants_people(self) -> bool:
        return self._people.is_wanted

    def want_people(self, argument: str) -> None:
        """Have the roster's cards on the terminal from now on, or none of them."""
        self._people.is_wanted = argument == HERE

    async def run(self) -> Never:
        """Watch that the terminal calls; its taps come through :meth:`answer`."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while True:
            await asyncio.sleep(_LOOK_S)
            silent_s = loop.time() - (self._heard_s or begun_s)
            if silent_s > SILENT_S:
                self._reports.presence.tell(
                    online=False,
                    reason=f"{self.serial} has not called for {silent_s:.0f} s; check its power and"
                    " the server address it is set to",
                )

    def check(self, push: Push) -> None:
        """Raise RefusedError for a push that is not the terminal's; its body is not looked at."""
        now_s = asyncio.get_running_loop().time()
        key = push.parameter("pushcommkey")
        begins = push.endpoint == "cdata" and bool(push.parameter("options"))
        named = self._key is not None and hmac.compare_digest(key.encode(), self._key.encode())
        if self._key is not None and begins and not named:
            raise RefusedError(
                f"{push.address} calls itself {self.serial} with another communication key; enter"
                " the same key at the terminal and at its adoption"
            )
        if self._key is not None and not begins and push.address != self._caller.address:
            raise RefusedError(f"{push.address} did not begin with the key of {self.serial}")
        if not named and self._caller.is_taken(push.address, now_s):
            raise RefusedError(
                f"{push.address} calls itself {self.serial}, which calls from"
                f" {self._caller.address}; find out which of the two is the terminal"
            )

    def _note_heard(self, push: Push, now_s: float) -> None:
        self._caller.note(push.address, now_s)
        self._heard_s = now_s
        self._reports.presence.tell(online=True, reason=f"{self.serial} calls from {push.address}")

    async def _begin(self) -> str:
        await self._remember()
        if not self._cards:
            self._orders.add(lambda: adms.QUERY_USERS)
        offset = self._local_now().utcoffset()
        return adms.write_options(
            self.serial, stamp=self._stamp, delay_s=DELAY_S, utc_offset=offset or timedelta()
        )

    async def _settle(self, push: Push) -> None:
        for result in adms.read_results(_text(push)):
            self._orders.note(result.command, result.code)
        await asyncio.sleep(0)  # results reach who waits before what is there is written
        await self._remember()

    async def _take(self, push: Push) -> str:
        await self._remember()  # the secret by which taps are named
        table = push.parameter("table").upper() or push.parameter("tablename").upper()
        text = _text(push) if table in READ_TABLES else ""
        if table in {"ATTLOG", "RTLOG"}:
            found = adms.read_attlog(text) if table == "ATTLOG" else adms.read_rtlog(text)
            await self._deliver(found.punches)
            if found.refused and not self._tells_nonsense:
                self._tells_nonsense = True
                _log.warning("%s sends lines that are no records; they are lost", self.serial)
            stamp = push.parameter("Stamp")
            if stamp.isascii() and stamp.isalnum() and len(stamp) <= STAMP_CHARS_MAX:
                self._stamp = stamp
                await self._remember()
            return f"OK: {found.lines}"
        if table == "OPTIONS":
            self._note_firmware(adms.firmware_of_options(text))
            return "OK"
        if table not in READ_TABLES:  # photographs, templates: acknowledged and not read
            return "OK"
        users, lines = adms.read_enrolled(text)
        for user in users:
            if user.card and (user.number in self._cards or len(self._cards) < USERS_KEPT_MAX):
                self._cards[user.number] = user.card
            else:
                self._cards.pop(user.number, None)
        return f"OK: {lines}"

    async def _deliver(self, punches: Sequence[adms.Punch]) -> None:
        told_ms = [self._moment_ms(punch) for punch in punches]
        placed = self._clock.place(told_ms, self._now_ms())
        if punches:
            self._note_clock(round(placed.offset_ms / 1000))
        reads = [
            CardRead(
                device=self.device,
                card=punch.card or self._cards.get(punch.number, ""),
                number=punch.number,
                key=self._tap_key(punch),
                observed_ms=moment_ms,
                source=self._reports.source,
            )
            for punch, moment_ms in zip(punches, placed.moments_ms, strict=True)
            if moment_ms is not None
        ]
        if reads:
            await self._office.deliver(reads)

    def _tap_key(self, punch: adms.Punch) -> str:
        # By the terminal's own time: how far its clock was off may be judged otherwise next time.
        told = self._keys.name(punch.local.isoformat(), punch.number, punch.card)
        return f"{self.serial}:{told}"

    def _moment_ms(self, punch: adms.Punch) -> int:
        zone = self._office.zone
        if punch.offset_s is not None:
            zone = timezone(timedelta(seconds=punch.offset_s))
        return int(punch.local.replace(tzinfo=zone).timestamp() * 1000)

    def _note_clock(self, off_s: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if off_s and now_s - self._clock_set_s > CLOCK_SET_EVERY_S:
            self._clock_set_s = now_s
            self._orders.add(lambda: adms.set_time(self._local_now()))
        if off_s or self._clock_off_s:
            self._reports.reading(CLOCK_POINT, float(off_s), "s")
        self._clock_off_s = off_s

    async def _tell(self, now_s: float) -> str:
        missing = self._people.order_difference(self._orders, now_s)
        await self._remember()  # who may be there is on the disk before they are told
        if self._were_missing and not missing:
            self._reports.result(
                PEOPLE, Outcome.ACKNOWLEDGED, f"cards on it: {len(self._people.there)}"
            )
        self._were_missing = missing
        return adms.write_commands(self._orders.due(now_s))

    async def _remember(self) -> None:
        facts = {
            "secret": self._keys.secret_hex,
            "stamp": self._stamp,
            "address": self._caller.address,
            "there": pack_numbers(self._people.there),
        }
        if facts != self._memory.read():
            await self._memory.keep(facts)

    def _note_firmware(self, firmware: str) -> None:
        if firmware and firmware != self._firmware:
            self._firmware = firmware
            self._reports.reading("firmware", firmware)

    def _local_now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, self._office.zone)

    def _result(self, command: str, code: int | None) -> CommandResult:
        if code is None:
            return self._reports.result(command, Outcome.FAILED, "the terminal gave no result")
        if code:
            return self._reports.result(command, Outcome.FAILED, f"the terminal answered {code}")
        return self._reports.result(command, Outcome.ACKNOWLEDGED)


def _text(push: Push) -> str:
    return decode_text(push.body or b"")
