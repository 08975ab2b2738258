"""A simulated ZKTeco terminal: it calls the box, keeps what is not acknowledged, obeys commands."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Never
from urllib.parse import urlencode

from drivers.codecs.adms import read_card
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger

CALL_S = 1.0
TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 256 * 1024
RECORDS_A_PUSH = 100
_OK = 200


@dataclass(frozen=True, slots=True)
class Record:
    number: str
    local: str

    @property
    def line(self) -> str:
        return f"{self.number}\t{self.local}\t0\t4\t0\t0\t0\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """``source`` is the address it calls from, ``pause_s`` the shortest and longest between taps.

    Its clock is ``clock_off_s`` ahead until a command sets it.
    """

    source: str
    zone: tzinfo
    pause_s: tuple[float, float] = (2.0, 6.0)
    call_s: float = CALL_S
    clock_off_s: float = 0.0


class AdmsSimulator:
    """Calls ``server`` (host, port) for ever; its users tap at seeded times.

    Its texts are GB 2312. Ledger: ``punch`` with number, card and local time when somebody taps,
    ``punched`` with the same once the box has acknowledged it.
    """

    def __init__(
        self,
        serial: str,
        server: tuple[str, int],
        ledger: Ledger,
        now_ms: NowMs,
        rng: random.Random,
        habits: Habits,
    ) -> None:
        self.serial = serial
        self.users: dict[str, str] = {}
        self.records: list[Record] = []
        self.acknowledged = 0
        self.executed: list[str] = []
        self.status = 0
        self._server = server
        self._ledger = ledger
        self._now_ms = now_ms
        self._rng = rng
        self._habits = habits
        self._clock_off_s = habits.clock_off_s

    async def run(self) -> Never:
        """Call and be tapped, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._go_on_calling())
            while True:
                await asyncio.sleep(self._rng.uniform(*self._habits.pause_s))
                if self.users:
                    self.punch(self._rng.choice(sorted(self.users)))
        raise AssertionError("a simulated terminal never ends")

    def punch(self, number: str) -> Record:
        """Have somebody tap now."""
        local = self._local().strftime("%Y-%m-%d %H:%M:%S")
        record = Record(number, local)
        self.records.append(record)
        self._note("punch", record)
        return record

    async def call(self) -> bool:
        """Call once: begin if that is due, tell records, take commands. False when refused."""
        if self.status != _OK:
            query = {"options": "all", "pushver": "2.4.1", "language": "83"}
            self.status, _ = await self._ask("GET", "cdata", query)
        if self.status != _OK:
            return False
        await self._push_records()
        self.status, answer = await self._ask(
            "GET", "getrequest", {"INFO": f"Ver 8.0.4-SIM,{len(self.users)},0,{len(self.records)}"}
        )
        results = [self._obey(line) for line in answer.splitlines() if line.startswith("C:")]
        if results:
            self.status, _ = await self._ask("POST", "devicecmd", {}, "\n".join(results) + "\n")
        return self.status == _OK

    async def _go_on_calling(self) -> Never:
        while True:
            try:
                await self.call()
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                self.status = 0
            await asyncio.sleep(self._habits.call_s)

    async def _push_records(self) -> None:
        while self.status == _OK and (due := self.records[self.acknowledged :]):
            batch = due[:RECORDS_A_PUSH]
            body = "".join(record.line for record in batch)
            query = {"table": "ATTLOG", "Stamp": str(self.acknowledged + len(batch))}
            self.status, _ = await self._ask("POST", "cdata", query, body)
            if self.status == _OK:
                self.acknowledged += len(batch)
                for record in batch:
                    self._note("punched", record)

    def _obey(self, line: str) -> str:
        _, number, text = line.split(":", 2)
        self.executed.append(text)
        words = text.split(" ", 3)
        fields = dict(part.partition("=")[::2] for part in words[-1].split("\t"))
        code = 0
        match words[:3]:
            case ["DATA", "UPDATE", "USERINFO"]:
                self.users[fields["PIN"]] = read_card(fields.get("Card", ""))
            case ["DATA", "DELETE", "USERINFO"]:
                code = 0 if self.users.pop(fields["PIN"], None) is not None else -10
            case ["SET", "OPTION", _]:
                self._clock_off_s = 0.0
            case ["DATA", "QUERY", "ATTLOG"]:
                self.acknowledged = 0
        return f"ID={number}&Return={code}&CMD={words[0]}"

    async def _ask(
        self, method: str, endpoint: str, query: dict[str, str], body: str = ""
    ) -> tuple[int, str]:
        """Send one request as old firmware does, HTTP/1.0, and return status and text."""
        target = f"/iclock/{endpoint}?{urlencode({'SN': self.serial, **query})}"
        content = body.encode("gb2312", "replace")
        head = (
            f"{method} {target} HTTP/1.0\r\nHost: {self._server[0]}\r\n"
            f"User-Agent: iClock Proxy/1.09\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                *self._server, local_addr=(self._habits.source, 0)
            )
            try:
                writer.write(head.encode() + content)
                answer = await reader.read(ANSWER_BYTES_MAX)
                while chunk := await reader.read(ANSWER_BYTES_MAX - len(answer)):
                    answer += chunk
            finally:
                writer.close()
        begin, _, text = answer.partition(b"\r\n\r\n")
        return int(begin.split(b" ", 2)[1]), text.decode("gb2312", "replace")

    def _local(self) -> datetime:
        true = datetime.fromtimestamp(self._now_ms() / 1000, self._habits.zone)
        return true + timedelta(seconds=self._clock_off_s)

    def _note(self, kind: str, record: Record) -> None:
        card = self.users.get(record.number, "")
        self._ledger.write(kind, number=record.number, card=card, local=record.local)
