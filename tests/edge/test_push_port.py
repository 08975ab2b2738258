"""Terminals call a real port: strangers wait, the adopted are kept and told, floods end."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.entities import DeviceId
from drivers.errors import SetupError
from drivers.simulators.adms_terminal import AdmsSimulator, Habits
from drivers.simulators.isapi_terminal import IsapiSimulator
from drivers.simulators.ledger import Ledger, read_ledger
from edge.config import BoxConfig, TerminalsPort
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.notebook import Notebook
from edge.pages.actions import Adopt
from edge.pushes.calls import UNDER_WAY_PER_ADDRESS, Calls
from edge.pushes.limits import REQUESTS_AT_ONCE, STRANGERS_MAX, STRANGERS_PER_ADDRESS
from edge.pushes.push_port import LIMITS, PushPort
from firmware_profiles.catalog import load_catalog
from provisioning.caller_log import TOLD_AT_ONCE
from tests.drivers.serial_bench import now_ms, running, until
from tests.drivers.terminal_bench import ZONE, School
from tests.edge.running_box import daemon_config, running_box
from tests.edge.school import box_config, enrol
from tests.hub.running_hub import Clock
from tests.loopback import free_port, own_address
from tests.provisioning.district import make_district

BOX = own_address("71.1")
TERMINAL, OTHER = own_address("71.50"), own_address("71.66")
SERIAL = "SIM0123456"
MAC = "44:47:cc:01:02:03"


@dataclass
class Door:
    """The port with an adopted terminal behind it, and who was met there."""

    port: int
    fleet: Fleet
    school: School
    notebook: Notebook
    met: list[Candidate] = field(default_factory=list)

    async def send(self, head: str, body: bytes = b"", *, source: str = TERMINAL) -> bytes:
        """Send one request's bytes and return the whole answer."""
        reader, writer = await asyncio.open_connection(BOX, self.port, local_addr=(source, 0))
        try:
            writer.write(head.encode("latin-1") + body)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def call(
        self,
        endpoint: str,
        body: bytes | None = None,
        *,
        serial: str = SERIAL,
        source: str = TERMINAL,
        **query: str,
    ) -> tuple[int, str]:
        target = f"/iclock/{endpoint}?{urlencode({'SN': serial, **query})}"
        return await self._ask(target, body, source)

    async def _ask(self, target: str, body: bytes | None, source: str) -> tuple[int, str]:
        method, content = ("GET", b"") if body is None else ("POST", body)
        head = (
            f"{method} {target} HTTP/1.0\r\nHost: {BOX}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        answer = await self.send(head, content, source=source)
        begin, _, text = answer.partition(b"\r\n\r\n")
        return int(begin.split()[1]), text.decode()

    def adopt(self, serial: str = SERIAL) -> None:
        self.fleet.add(device(f"adms:{serial}", f"push:{serial}", "zkteco-adms"))


def device(identity: str, address: str, profile: str) -> AdoptedDevice:
    return AdoptedDevice(
        device=DeviceId(identity),
        kind=DeviceKind.ATTENDANCE_TERMINAL,
        name=identity,
        profile=profile,
        address=address,
        room="101",
    )


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Door]:
    school, notebook = School(now_ms()), Notebook(folder / "notebook.json")
    fleet = Fleet(
        load_catalog(), notebook, now_ms, school.events.append, random.Random(1), school.office
    )
    config = msgspec.structs.replace(
        box_config(folder, network=f"{BOX}/24"), terminals=TerminalsPort(port=free_port())
    )
    door = Door(config.terminals.port, fleet, school, notebook)
    port = PushPort(config, fleet.terminals, Calls(fleet.terminals, door.met.append, now_ms))
    async with running(port.run(), fleet.run()):
        fleet.terminals.expect_strangers()
        await until(lambda: is_open(door.port))
        yield door


def is_open(port: int) -> bool:
    """Tell whether somebody listens there, without calling: a call is counted."""
    listening = Path("/proc/net/tcp").read_text()
    address = "".join(f"{int(part):02X}" for part in reversed(BOX.split(".")))
    return f"{address}:{port:04X} 00000000:0000 0A" in listening


def punch(number: str) -> bytes:
    local = datetime.fromtimestamp(now_ms() / 1000, UTC).astimezone(ZONE)
    return f"{number}\t{local:%Y-%m-%d %H:%M:%S}\t0\t4\t0\n".encode()


async def test_a_stranger_waits_in_the_inbox_and_nothing_else_is_kept_of_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        assert (await door.call("cdata", options="all", pushver="2.4.1"))[0] == 403
        assert (await door.call("cdata", punch("1001"), table="ATTLOG"))[0] == 403
        (met, again) = door.met
        assert (met.identity, met.address, met.needs) == (
            f"adms:{SERIAL}", f"push:{SERIAL}", Need.NOTHING,
        )  # fmt: skip
        assert TERMINAL in met.evidence[0].detail
        assert "2.4.1" in met.evidence[0].detail
        assert again.identity == met.identity
        door.adopt()
        assert (await door.call("cdata", punch("1001"), table="ATTLOG")) == (200, "OK: 1")
        assert [number for number, *_ in door.school.seen()] == ["1001"]


async def test_an_isapi_stranger_needs_a_password_and_its_event_is_not_kept(
    tmp_path: Path,
) -> None:
    login = Credentials(user="admin", password="Swing-low-7")
    async with opened(tmp_path) as door:
        terminal = IsapiSimulator(MAC, TERMINAL, login, now_ms, ZONE)
        forger = IsapiSimulator(MAC, OTHER, login, now_ms, ZONE)
        terminal.listener = forger.listener = f"http://{BOX}:{door.port}/isapi"
        event = terminal.swipe("0008075634", "7")
        assert not await terminal.push(event)
        (met,) = door.met
        assert (met.identity, met.address) == ("isapi:4447cc010203", f"http://{TERMINAL}")
        assert met.needs is Need.PASSWORD
        assert door.school.taps == {}
        door.fleet.add(device(met.identity, met.address, "hikvision-acs"))
        assert await terminal.push(event)
        assert await terminal.push(event)
        assert not await forger.push(event)
        assert [card for _, card, _ in door.school.seen()] == ["0008075634"]


async def test_invented_serial_numbers_cannot_fill_the_inbox(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        for number in range(20):
            assert (await door.call("cdata", serial=f"FAKE{number:06}"))[0] == 403
        assert len(door.met) == STRANGERS_PER_ADDRESS
        await door.call("cdata", serial="TRUE000001", source=OTHER)
        assert door.met[-1].identity == "adms:TRUE000001"
        for last in range(1, STRANGERS_MAX + 5):
            source = BOX.rpartition(".")[0] + f".{100 + last}"
            await door.call("cdata", serial=f"MORE{last:06}", source=source)
        assert len(door.met) == STRANGERS_MAX


async def test_a_flood_is_told_to_slow_down_and_harms_nobody_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        await door.call("cdata")
        door.adopt()
        statuses = [(await door.call("ping", source=OTHER))[0] for _ in range(REQUESTS_AT_ONCE)]
        flood = await asyncio.gather(*(door.call("ping", source=OTHER) for _ in range(40)))
        assert 429 in {*statuses, *(status for status, _ in flood)}
        assert (await door.call("ping"))[0] == 200


async def test_nothing_is_read_of_who_claims_a_terminals_number(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        await door.call("cdata")
        door.adopt()
        assert (await door.call("ping"))[0] == 200
        head = f"POST /iclock/cdata?SN={SERIAL}&table=ATTLOG HTTP/1.0\r\nContent-Length: 99\r\n\r\n"
        answer = await door.send(head, source=OTHER)  # and the body never comes
        assert answer.split()[1] == b"403"


async def test_one_address_does_not_take_everybodys_turn(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        head = f"POST /isapi HTTP/1.0\r\nHost: {BOX}\r\nContent-Length: 99\r\n\r\n"
        slow = [
            asyncio.ensure_future(door.send(head, source=OTHER))
            for _ in range(UNDER_WAY_PER_ADDRESS + 1)
        ]
        (first,), waiting = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert first.result().split()[1] == b"503"
        assert (await door.call("ping"))[0] == 200
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)


@pytest.mark.parametrize(
    ("request_line", "headers", "body"),
    [
        ("GET /iclock/cdata?SN=X&pushcommkey=Swing-low\xff HTTP/1.0", "", b""),
        (f"POST /iclock/cdata?SN={SERIAL}&table=ATTLOG HTTP/1.0",
         "Content-Encoding: gzip\r\nContent-Length: 9\r\n", b"Swing-low"),
        (f"POST /iclock/cdata?SN={SERIAL}&table=ATTLOG HTTP/1.1",
         "Host: x\r\nTransfer-Encoding: chunked\r\n", b"Swing-low\r\n"),
    ],
)  # fmt: skip
async def test_what_is_no_http_fills_no_log_and_is_not_quoted_there(
    tmp_path: Path, request_line: str, headers: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        for _ in range(TOLD_AT_ONCE + 4):
            answer = await door.send(f"{request_line}\r\n{headers}\r\n", body)
            assert answer.split()[1] == b"400"
    assert 1 <= len(caplog.records) <= TOLD_AT_ONCE + 1
    assert "Swing-low" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_connections_that_say_nothing_are_hung_up_and_a_terminal_is_heard(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        idle = [
            await asyncio.open_connection(BOX, door.port, local_addr=(OTHER, 0)) for _ in range(140)
        ]
        await until(lambda: sum(not one.at_eof() for one, _ in idle) <= LIMITS.of_an_address)
        assert (await door.call("cdata", punch("1001"), table="ATTLOG"))[1] == "OK: 1"
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("GET /iclock/cdata?SN=';DROP%20TABLE", "", b"400"),
        ("GET /iclock/cdata", "", b"400"),
        ("POST /iclock/cdata?SN=SIM0123456&table=ATTLOG", "Content-Length: 99999999\r\n", b"413"),
        ("GET /iclock/../box.db?SN=SIM0123456", "", b"404"),
        ("GET /", "", b"405"),
        ("POST /isapi", "Content-Length: 5\r\n", b"400"),
        ("GET /iclock/cdata?" + "x" * 20_000, "", b"400"),
    ],
)
async def test_what_is_no_call_of_a_terminal_is_refused(
    tmp_path: Path, request_line: str, headers: str, status: bytes
) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        head = f"{request_line} HTTP/1.0\r\nHost: {BOX}\r\n{headers}\r\n"
        answer = await door.send(head, b"<a>/>" if "Content-Length: 5" in headers else b"")
        assert answer.split()[1] == status
        assert door.school.taps == {}


async def test_while_the_disk_is_full_a_terminal_keeps_its_records(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        body, door.school.is_disk_full = punch("1001"), True
        assert (await door.call("cdata", body, table="ATTLOG"))[0] == 503
        door.school.is_disk_full = False
        assert (await door.call("cdata", body, table="ATTLOG"))[0] == 200
        assert len(door.school.taps) == 1


async def test_the_port_closes_with_the_last_terminal_and_opens_for_an_adopted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as door:
        door.adopt()
        monkeypatch.setattr("edge.devices.terminals.STRANGERS_S", 0.0)
        door.fleet.terminals.expect_strangers()
        assert (await door.call("ping"))[0] == 200
        with pytest.raises(SetupError, match="push:SERIAL"):
            door.fleet.add(device("adms:x", "push:x", "zkteco-adms"))
        await door.fleet.remove(DeviceId(f"adms:{SERIAL}"))
        await until(lambda: not is_open(door.port))


def daemon(folder: Path) -> BoxConfig:
    enrol(make_district(folder / "hub", port=9), folder / "box", 17)
    config = daemon_config(folder / "box", network=f"{BOX}/24")
    return msgspec.structs.replace(config, terminals=TerminalsPort(port=free_port()))


async def test_a_terminal_is_searched_adopted_filled_and_its_taps_are_stored_once(
    tmp_path: Path,
) -> None:
    config, ledger = daemon(tmp_path), tmp_path / "terminal.jsonl"
    terminal = AdmsSimulator(
        SERIAL,
        (BOX, config.terminals.port),
        Ledger(ledger, now_ms),
        now_ms,
        random.Random(1),
        Habits(source=TERMINAL, zone=ZONE, call_s=0.05, pause_s=(0.1, 0.2), clock_off_s=900.0),
    )
    roster = "name,card,class_group\n张伟,0008075634,三\n王芳,123,14707,三\n"
    async with running_box(config, Clock()) as box, running(terminal.run()):
        assert await box.box.import_roster(roster.replace("123,14707", '"123,14707"').encode())
        await box.ask("POST", "/discover", {"kinds": ["attendance_terminal"]})
        await until(lambda: bool(box.box.candidates()), within_s=20)
        identity = box.box.candidates()[0].identity
        await box.ask("POST", "/adopt", Adopt(identity=identity, name="大门", room="101"))
        wish = {"device": identity, "command": "people", "argument": "here"}
        assert (await box.ask("POST", "/command", wish))["outcome"] == "sent"
        await until(lambda: len(terminal.users) == 2, within_s=20)
        assert sorted(terminal.users.values()) == ["0008075634", "0008075635"]
        await until(lambda: terminal.acknowledged >= 6, within_s=20)
    lines = [line for line in read_ledger(ledger) if line["kind"] == "punched"]
    # The same again after a restart of both: the terminal begins anew and tells everything again.
    terminal.status, terminal.acknowledged = 0, 0
    async with running_box(config, Clock()) as box:
        await until(lambda: is_open(config.terminals.port))
        await terminal.call()
        rows = box.box.connect().execute(
            "SELECT person, room, card, count(*) FROM card_tap GROUP BY device_key"
        )
        stored = [tuple(row) for row in rows]
    told = {(line["number"], line["local"]) for line in lines}
    assert len(stored) >= len(told) >= 3
    assert all(person is not None and card is None for person, _, card, _ in stored)
    assert {(room, count) for _, room, _, count in stored} == {("101", 1)}
    assert len(stored) == len({(record.number, record.local) for record in terminal.records})
