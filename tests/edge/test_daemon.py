import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from drivers.codecs.card_numbers import card_of_hex
from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from drivers.errors import SetupError
from drivers.simulators.card_reader import CardReaderSimulator
from drivers.simulators.ledger import Ledger
from drivers.simulators.pjlink_projector import PjlinkProjector
from edge import adoptions
from edge import daemon as daemon_module
from edge.config import BoxConfig
from edge.daemon import Box, run_box
from edge.devices.adopted import AdoptedDevice
from edge.errors import BoxSetupError
from edge.pages.actions import Adopt, Discover
from provisioning import errors as provisioning_errors
from provisioning.tls import pages_context
from sync.store import connect_readonly
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import enrol
from tests.hub.running_hub import HOST, Clock
from tests.provisioning.district import make_district

NETWORK = "127.122.4.1/24"
CARDS = ["6F007B3972", "010063E9AE"]
ROSTER = "name,card,class_group\n张伟,6F007B3972,三年级\n".encode()


@dataclass
class School:
    """An enrolled box without a hub, and its simulated devices' places."""

    folder: Path
    config: BoxConfig
    clock: Clock

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(connect_readonly(self.config.folder / "box.db")) as reader:
            return [tuple(row) for row in reader.execute(query)]

    @asynccontextmanager
    async def box(self) -> AsyncIterator[RunningBox]:
        async with running_box(self.config, self.clock) as running_one:
            yield running_one

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[None]:
        reader = CardReaderSimulator(
            path=self.folder / "lines" / "gate",
            cards=CARDS,
            ledger=Ledger(self.folder / "cards.jsonl", now_ms),
            now_ms=now_ms,
            rng=random.Random(1),
            pause_s=(0.1, 0.3),
        )
        async with running(reader.run()):
            yield

    @asynccontextmanager
    async def board(self, host: str) -> AsyncIterator[None]:
        board = PjlinkProjector(
            IPv4Interface(f"{host}/24"),
            Ledger(self.folder / f"{host}.jsonl", now_ms),
            random.Random(1),
            lamp_times_s=(0.1, 0.1),
        )
        async with running(board.run()):
            await asyncio.sleep(0.05)
            yield
            await asyncio.sleep(0.1)


@pytest.fixture
def school(tmp_path: Path) -> School:
    (tmp_path / "lines").mkdir()
    enrol(make_district(tmp_path / "hub", port=9), tmp_path / "box", 17)
    config = daemon_config(tmp_path / "box", ports=(tmp_path / "lines",), network=NETWORK)
    return School(tmp_path, config, Clock())


async def no_further_way_in(_stack: AsyncExitStack, _box: Box) -> None:
    return None


async def find_and_adopt(box: RunningBox, kind: str, room: str = "101") -> str:
    await box.ask("POST", "/discover", {"kinds": [kind]})
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.1)
            found = await box.ask("GET", "/candidates")
            if found["candidates"]:
                identity: str = found["candidates"][0]["identity"]
                wish = Adopt(identity=identity, name="甲", room=room)
                answer = await box.ask("POST", "/adopt", wish)
                assert answer["device"] == identity
                return identity


async def test_a_reader_is_adopted_taps_are_kept_and_both_outlive_the_daemon(
    school: School,
) -> None:
    async with school.reader():
        async with school.box() as box:
            assert await box.box.import_roster(ROSTER)
            device = await find_and_adopt(box, "card_reader")
            await until(lambda: len(school.rows("SELECT person FROM card_tap")) > 3)
        before = len(school.rows("SELECT person FROM card_tap"))
        async with school.box() as box:
            assert [each["device"] for each in await box.devices()] == [device]
            await until(lambda: len(school.rows("SELECT person FROM card_tap")) > before)
    taps = school.rows("SELECT person, card, room FROM card_tap")
    assert {(person is None, card) for person, card, _ in taps} == {
        (False, None),
        (True, card_of_hex(CARDS[1])),
    }
    assert {room for *_, room in taps} == {"101"}


async def test_a_released_device_is_gone_for_good_and_can_be_adopted_anew(school: School) -> None:
    async with school.reader():
        async with school.box() as box:
            device = await find_and_adopt(box, "card_reader")
            answer = await box.ask("POST", "/release", {"device": device})
            assert answer == {"released": device}
            assert await box.devices() == []
            with pytest.raises(BoxSetupError, match="is not adopted"):
                await box.ask("POST", "/release", {"device": device})
            assert school.rows("SELECT action FROM audit_entry ORDER BY row") == [
                ("adopt",),
                ("release",),
            ]
        async with school.box() as box:
            assert await box.devices() == []
            assert await find_and_adopt(box, "card_reader") == device


async def test_what_is_adopted_already_keeps_its_password(school: School) -> None:
    async with school.reader(), school.box() as box:
        device = await find_and_adopt(box, "card_reader")
        await box.box._notebook.keep_password(DeviceId(device), "right")
        wish = Adopt(identity=device, name="乙", password="wrong")
        with pytest.raises(BoxSetupError, match="adopted already"):
            await box.ask("POST", "/adopt", wish)
        assert box.box._notebook.password(DeviceId(device)) == "right"


async def test_what_nobody_confirmed_of_a_device_is_told_with_it(school: School) -> None:
    async with school.box() as box:
        box.box._fleet.add(
            AdoptedDevice(
                device=DeviceId("modbus:gate"),
                kind=DeviceKind.SAFETY_INPUT,
                name="甲",
                profile="input-moxa-e1210",
                address="modbus://127.0.0.1:9?unit=1",
                room=None,
            )
        )
        (light,) = box.box.device_lights()
        assert light.unconfirmed[:2] == ("input_1", "input_2")


async def test_a_device_that_cannot_be_remembered_is_not_driven(school: School) -> None:
    async with school.reader(), school.box() as box:
        store = box.box._store.node._connection
        await box.ask("POST", "/discover", Discover(kinds=()))
        await until(lambda: bool(box.box.candidates()))
        identity = box.box.candidates()[0].identity
        await box.box._writer.call(lambda: store.execute("PRAGMA query_only=ON").close())
        with pytest.raises(SetupError, match="cannot be remembered"):
            await box.box.adopt(Adopt(identity=identity, name="甲"), who="test")
        assert not box.box.device_lights()
        await box.box._writer.call(lambda: store.execute("PRAGMA query_only=OFF").close())


async def test_a_display_that_got_another_address_is_followed_when_the_old_one_is_silent(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoptions, "FOLLOW_EVERY_S", 0.1)
    monkeypatch.setattr(adoptions, "SEEK_EVERY_S", 0.2)
    async with school.box() as box:
        async with school.board("127.122.4.31"):
            device = await find_and_adopt(box, "blackboard")
            await until(lambda: _state(box, device) == "good")
        async with school.board("127.122.4.32"):
            await until(lambda: _state(box, device) == "good" and _is_at(box, "127.122.4.32"))
            held = "SELECT address, name, room FROM device WHERE deleted = 0"
            await until(lambda: school.rows(held) == [("pjlink://127.122.4.32:4352", "甲", "101")])
            assert school.rows("SELECT adopted_by FROM device") == [("command line",)]


async def test_a_fault_of_one_part_is_logged_and_the_box_goes_on(
    school: School, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon_module, "read_lanes", broken)
    async with school.box() as box:
        await until(lambda: "status failed and starts again" in caplog.text)
        assert (await box.ask("GET", "/status"))["school"] == 17


async def test_a_second_daemon_on_the_folder_is_refused(school: School) -> None:
    async with school.box():
        with pytest.raises(provisioning_errors.SetupError, match="another schoolnode daemon runs"):
            await run_box(school.config, school.clock, random.Random(1), no_further_way_in)


async def test_a_taken_port_is_named_with_the_remedy(school: School) -> None:
    taken = await asyncio.start_server(lambda *_: None, HOST, school.config.pages.port)
    async with taken:
        with pytest.raises(ExceptionGroup) as group:
            await run_box(school.config, school.clock, random.Random(1), no_further_way_in)
    assert group.group_contains(
        provisioning_errors.SetupError, match="change the port in the configuration"
    )


async def test_a_renewed_page_certificate_is_served_without_a_restart(
    school: School, tmp_path: Path
) -> None:
    async with school.box() as box:
        before = await _shown(school.config.pages.port)
        other = enrol(make_district(tmp_path / "other", port=9), tmp_path / "spare", 17)
        pages_context(other.page_pem)
        box.box._certificates.pages_context.load_cert_chain(other.page_pem)
        assert await _shown(school.config.pages.port) != before


async def test_nothing_of_the_daemon_stays_in_the_process(school: School) -> None:
    handlers = list(logging.getLogger().handlers)
    async with school.box():
        assert list(logging.getLogger().handlers) != handlers
    assert list(logging.getLogger().handlers) == handlers


def _state(box: RunningBox, device: str) -> str | None:
    return next((light.state for light in box.box.device_lights() if light.device == device), None)


def _is_at(box: RunningBox, host: str) -> bool:
    return any(host in light.address for light in box.box.device_lights())


async def _shown(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate
