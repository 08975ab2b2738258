import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from aiopjlink import PJLink, PJLinkERR1, PJLinkERR3, PJLinkPassword, Power, Sources

from drivers.discovery.candidate import DeviceKind, Need
from drivers.discovery.pjlink import discover_displays
from drivers.displays.desired_state import DesiredState
from drivers.displays.display import Display, Pace
from drivers.displays.display_link import Refusal
from drivers.displays.pjlink_link import DisplayAccess, PjlinkLink
from drivers.entities import (
    CommandResult,
    DeviceEvent,
    DeviceId,
    Measurement,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import ProtocolError, SetupError
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.pjlink_projector import Dialect, PjlinkProjector
from drivers.transports.udp import broadcast_socket, open_udp, sending_socket
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId

HOST = "127.0.61.21"
SITE = IPv4Interface("127.0.61.1/24")
PASSWORD = "JBMIAProjectorLink"
PACE = Pace(poll_s={"fast": 0.05, "normal": 0.2, "slow": 0.4}, settle_step_s=0.02)
LAMP_S = (0.2, 0.2)
CLASS_1 = [Dialect.CLASS_1_SILENT, Dialect.CLASS_1_ERR1]


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        self.ms += 1
        return self.ms


class Site:
    """A projector that can be unplugged, and what a display driver said."""

    def __init__(
        self,
        folder: Path,
        password: str | None = None,
        host: str = HOST,
        dialect: Dialect = Dialect.CLASS_2,
    ) -> None:
        self.ledger_path = folder / "ledger.jsonl"
        self.projector = PjlinkProjector(
            IPv4Interface(f"{host}/24"),
            Ledger(self.ledger_path, Clock()),
            random.Random(1),
            password=password,
            lamp_times_s=LAMP_S,
            dialect=dialect,
        )
        self.events: list[DeviceEvent] = []
        self.access = DisplayAccess(host=host, password=password)

    @asynccontextmanager
    async def plugged_in(self) -> AsyncIterator[PjlinkProjector]:
        before = self.kinds().count("plugged_in")
        task = asyncio.get_running_loop().create_task(self.projector.run())
        await until(lambda: self.kinds().count("plugged_in") > before or task.done())
        try:
            yield self.projector
        finally:
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def driven(
        self, access: DisplayAccess | None = None, desired: DesiredState | None = None
    ) -> AsyncIterator[Display]:
        profile = load_catalog().profiles[ProfileId("pjlink-projector")]
        display = Display(
            DeviceId("display"),
            partial(PjlinkLink.open, access or self.access),
            profile,
            Clock(),
            self.events.append,
            random.Random(2),
            desired=desired,
            pace=PACE,
        )
        task = asyncio.get_running_loop().create_task(display.run())
        await until(lambda: bool(self.presences()))
        try:
            yield display
        finally:
            task.cancel()
            await asyncio.wait([task])

    def kinds(self) -> list[object]:
        return [line["kind"] for line in read_ledger(self.ledger_path)]

    def told(self, name: str) -> list[object]:
        """Return the parameters of a command as the projector received them, questions left out."""
        return [
            line["parameter"]
            for line in read_ledger(self.ledger_path)
            if line["kind"] == "command" and line["name"] == name and line["parameter"] != "?"
        ]

    def asked(self, pjlink_class: int, name: str) -> int:
        """Return how often the projector was asked a question of a class."""
        wanted = (pjlink_class, name, "?")
        return [
            (line["pjlink_class"], line["name"], line["parameter"])
            for line in read_ledger(self.ledger_path)
            if line["kind"] == "command"
        ].count(wanted)

    def was_asked(self, pjlink_class: int, name: str, times: int) -> bool:
        return self.asked(pjlink_class, name) >= times

    def heard_classes(self) -> set[object]:
        lines = read_ledger(self.ledger_path)
        return {line["pjlink_class"] for line in lines if line["kind"] == "command"}

    def presences(self) -> list[bool]:
        return [event.online for event in self.events if isinstance(event, Presence)]

    def outcomes(self, command: str) -> list[Outcome]:
        return [
            event.outcome
            for event in self.events
            if isinstance(event, CommandResult) and event.command == command
        ]

    def has_verified(self, command: str, times: int) -> bool:
        return self.outcomes(command).count(Outcome.VERIFIED) == times

    def values(self, point: str) -> list[float | str | None]:
        return [
            event.value
            for event in self.events
            if isinstance(event, Measurement) and event.point == point
        ]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 — a ledger file announces nothing
        await asyncio.sleep(0.01)


async def test_an_independent_client_drives_the_simulated_projector(tmp_path: Path) -> None:
    site = Site(tmp_path, PASSWORD)
    async with site.plugged_in():
        link = PJLink(HOST, password=PASSWORD)
        assert await link.power.get() is Power.State.OFF
        with pytest.raises(PJLinkERR3):
            await link.sources.set(Sources.Mode.DIGITAL, "1")
        await link.power.turn_on()
        assert await link.power.get() is Power.State.WARMING
        await until(lambda: site.projector.power == "1")
        assert await link.power.get() is Power.State.ON
        await link.sources.set(Sources.Mode.DIGITAL, "1")
        assert await link.sources.get() == (Sources.Mode.DIGITAL, "1")
        assert (Sources.Mode.DIGITAL, "2") in await link.sources.available()
        assert await link.sources.get_source_name(Sources.Mode.DIGITAL, "1") == "HDMI 1"
        await link.mute.both(muted=True)
        assert await link.mute.status() == (True, True)
        await link.freeze.set(True)
        assert await link.freeze.get()
        assert (await link.errors.query())[link.errors.Category.LAMP] is link.errors.Level.OK
        assert await link.lamps.hours() == 1234
        assert (await link.info.pjlink_class()).value == "2"


async def test_an_independent_client_with_a_wrong_password_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, PASSWORD)
    async with site.plugged_in():
        with pytest.raises(PJLinkPassword):
            await PJLink(HOST, password="wrong").power.get()
    assert "password_refused" in site.kinds()
    assert "command" not in site.kinds()


async def test_an_independent_client_meets_a_projector_of_class_1(tmp_path: Path) -> None:
    site = Site(tmp_path, dialect=Dialect.CLASS_1_ERR1)
    async with site.plugged_in():
        link = PJLink(HOST)
        assert (await link.info.pjlink_class()).value == "1"
        with pytest.raises(PJLinkERR1):
            await link.freeze.get()
        await link.power.turn_on()
        await until(lambda: site.projector.power == "1")
        await link.mute.video(muted=True)
        assert await link.mute.status() == (True, False)


async def test_a_command_is_sent_then_acknowledged_then_verified(tmp_path: Path) -> None:
    site = Site(tmp_path, PASSWORD)
    async with site.plugged_in() as projector, site.driven() as display:
        result = await display.command("power", "on")
        assert result.outcome is Outcome.VERIFIED
        assert (await display.command("source", "31")).outcome is Outcome.VERIFIED
        assert projector.source == "31"
    three = [Outcome.SENT, Outcome.ACKNOWLEDGED, Outcome.VERIFIED]
    assert site.outcomes("power on") == three
    assert site.outcomes("source 31") == three
    assert site.told("POWR") == ["1"]
    assert site.told("INPT") == ["31"]


async def test_power_source_and_errors_are_measured_with_their_provenance(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in() as projector, site.driven() as display:
        await until(lambda: bool(site.values("lamp_hours")))
        assert not site.values("source"), "a display that is off has no source to ask for"
        await display.command("power", "on")
        projector.fail("010000")
        await until(lambda: "010000" in site.values("errors"))
        await until(lambda: "11" in site.values("source"))
    assert site.values("power")[0] == "off"
    assert site.values("power")[-1] == "on"
    first = next(event for event in site.events if isinstance(event, Measurement))
    assert (first.source, first.quality) == (f"pjlink {HOST}:4352 %1POWR ?", Quality.GOOD)
    assert site.values("lamp_hours")[0] == 1234.0


async def test_power_on_while_cooling_down_waits_for_the_lamp(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in() as projector, site.driven() as display:
        await display.command("power", "on")
        projector.press_remote(on=False)
        assert projector.power == "2"
        assert (await display.command("power", "on")).outcome is Outcome.VERIFIED
    refused = [line for line in read_ledger(site.ledger_path) if line.get("reply") == "ERR3"]
    assert not [line for line in refused if line["name"] == "POWR"]


async def test_a_source_is_not_selected_on_a_display_that_is_off(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in(), site.driven() as display:
        result = await display.command("source", "31")
    assert result.outcome is Outcome.FAILED
    assert "switch it on first" in result.detail


async def test_a_picture_is_blanked_and_frozen_and_read_back(tmp_path: Path) -> None:
    site = Site(tmp_path, PASSWORD)
    async with site.plugged_in() as projector, site.driven() as display:
        await display.command("power", "on")
        for command, on in (("blank", "both"), ("freeze", "on")):
            assert (await display.command(command, on)).outcome is Outcome.VERIFIED
        assert (projector.shows_nothing, projector.is_silent, projector.is_frozen) == (True,) * 3
        assert (site.values("blank")[-1], site.values("freeze")[-1]) == ("both", "on")
        for command in ("blank", "freeze"):
            assert (await display.command(command, "off")).outcome is Outcome.VERIFIED
        assert (projector.shows_nothing, projector.is_silent, projector.is_frozen) == (False,) * 3
        assert (site.values("blank")[-1], site.values("freeze")[-1]) == ("off", "off")
    assert site.told("AVMT") == ["31", "30"]
    assert site.told("FREZ") == ["1", "0"]


@pytest.mark.parametrize("dialect", CLASS_1)
async def test_a_projector_of_class_1_stays_online_and_is_switched(
    tmp_path: Path, dialect: Dialect
) -> None:
    site = Site(tmp_path, PASSWORD, dialect=dialect)
    async with site.plugged_in() as projector, site.driven() as display:
        for command, value in (("power", "on"), ("source", "31"), ("blank", "both")):
            assert (await display.command(command, value)).outcome is Outcome.VERIFIED
        assert (projector.power, projector.source, projector.shows_nothing) == ("1", "31", True)
        polls = len(site.values("blank"))
        await until(lambda: len(site.values("blank")) > polls + 4)
        assert (await display.command("power", "off")).outcome is Outcome.VERIFIED
    assert site.presences() == [True]
    assert site.heard_classes() == {1}, "class 2 is not for its ears"
    assert site.asked(1, "CLSS") == 1
    (freeze,) = [e for e in site.events if isinstance(e, Measurement) and e.point == "freeze"]
    assert freeze.quality is Quality.BAD
    assert freeze.reason == "the display has no freeze (it speaks PJLink class 1 only)"


@pytest.mark.parametrize("dialect", CLASS_1)
async def test_a_projector_of_class_1_is_not_frozen_and_it_is_said_why(
    tmp_path: Path, dialect: Dialect
) -> None:
    site = Site(tmp_path, dialect=dialect)
    async with site.plugged_in(), site.driven() as display:
        await display.command("power", "on")
        result = await display.command("freeze", "on")
        assert display.online
    assert result.outcome is Outcome.FAILED
    assert result.detail == "the display has no freeze (it speaks PJLink class 1 only)"
    assert Outcome.ACKNOWLEDGED not in site.outcomes("freeze on")
    assert site.heard_classes() == {1}


async def test_the_class_is_asked_once_a_connection(tmp_path: Path) -> None:
    site = Site(tmp_path)
    desired = DesiredState()
    desired.wish("power", "on")
    async with site.driven(desired=desired):
        for times in (1, 2):
            async with site.plugged_in():
                await until(partial(site.was_asked, 2, "FREZ", 4 * times))
                assert site.asked(1, "CLSS") == times
            await until(lambda: not site.presences()[-1])


@pytest.mark.parametrize(
    ("says", "refusals", "asked"),
    [
        (
            [b"%1CLSS=ERR3", b"%1CLSS=2", b"%2FREZ=0"],
            [Refusal.BUSY, None],
            ["CLSS", "CLSS", "FREZ"],
        ),
        ([b"%1CLSS=ERR4", b"%1CLSS=1"], [Refusal.FAULTY, Refusal.UNSPOKEN], ["CLSS", "CLSS"]),
        ([b"%1CLSS=ERR1"], [Refusal.UNSPOKEN, Refusal.UNSPOKEN], ["CLSS"]),
        ([b"%1CLSS=Class 1"], [Refusal.UNSPOKEN, Refusal.UNSPOKEN], ["CLSS"]),
        (
            [b"%1CLSS=2", b"%2FREZ=ERR1", b"%2FREZ=0"],
            [Refusal.LACKING, None],
            ["CLSS"] + ["FREZ"] * 2,
        ),
    ],
)
async def test_a_class_that_cannot_be_told_now_is_asked_again(
    says: list[bytes], refusals: list[Refusal | None], asked: list[str]
) -> None:
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PJLINK 0\r")
        for answer in says:
            heard.append((await reader.readuntil(b"\r"))[2:6].decode())
            writer.write(answer + b"\r")
        await reader.read()
        writer.close()

    host = "127.0.61.28"
    async with await asyncio.start_server(serve, host, 4352):
        link = await PjlinkLink.open(DisplayAccess(host=host), answer_s=2.0)
        try:
            answers = [await link.ask("%2FREZ ?") for _ in refusals]
        finally:
            await link.close()
    assert [answer.refusal for answer in answers] == refusals
    assert heard == asked


async def test_a_source_the_display_lacks_fails_with_its_own_words(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in(), site.driven() as display:
        await display.command("power", "on")
        result = await display.command("source", "66")
    assert result.outcome is Outcome.FAILED
    assert "ERR2" in result.detail


@pytest.mark.parametrize(("command", "value"), [("source", "31\r%1POWR 0"), ("power", "maybe")])
async def test_a_value_outside_the_profile_never_reaches_the_wire(
    tmp_path: Path, command: str, value: str
) -> None:
    site = Site(tmp_path)
    async with site.plugged_in(), site.driven() as display:
        with pytest.raises(ProtocolError):
            await display.command(command, value)
    assert not site.told("POWR")


async def test_what_was_wished_is_true_again_after_the_plug_was_pulled(tmp_path: Path) -> None:
    site = Site(tmp_path, PASSWORD)
    desired = DesiredState()
    desired.wish("source", "32")
    desired.wish("power", "on")
    async with site.driven(desired=desired) as display:
        assert site.presences() == [False]
        for times in (1, 2):
            async with site.plugged_in() as projector:
                await until(partial(site.has_verified, "source 32", times))
                assert (projector.power, projector.source) == ("1", "32")
            await until(lambda: not site.presences()[-1])
        away = await display.command("power", "off")
        assert away.outcome is Outcome.FAILED
        assert "done when back" in away.detail
        async with site.plugged_in() as projector:
            await until(lambda: site.presences()[-1])
            await until(lambda: len(site.values("errors")) > 2)
            assert projector.power == "0"
    assert site.presences()[:5] == [False, True, False, True, False]


async def test_the_inputs_a_display_lists_are_what_it_can_be_told(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in(), site.driven() as display:
        await until(lambda: bool(display.choices("source")))
        assert display.choices("source") == ("11", "31", "32", "51")
        assert display.choices("power") == ("on", "off")
    assert site.values("sources")[0] == "11 31 32 51"
    assert display.choices("source"), "a list once heard is good while the display is away"


async def test_nobody_wrestles_with_the_remote_control(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in() as projector, site.driven() as display:
        await display.command("power", "on")
        await display.command("source", "31")
        projector.press_remote(source="32")
        await until(lambda: "source" not in display.desired.wishes)
        assert display.desired.wishes == {"power": "on"}
        await asyncio.sleep(0.2)
        assert projector.source == "32"


async def test_a_wrong_password_is_told_and_not_hammered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = Site(tmp_path, PASSWORD)
    access = DisplayAccess(host=HOST, password="not-the-password")
    async with site.plugged_in(), site.driven(access):
        await asyncio.sleep(1.2)  # longer than the first pause after any other trouble
    presence = next(event for event in site.events if isinstance(event, Presence))
    assert not presence.online
    assert "password is wrong" in presence.reason
    assert site.kinds().count("password_refused") == 1
    assert "not-the-password" not in caplog.text + repr(access) + repr(site.events)


async def test_something_else_on_the_port_is_no_display(tmp_path: Path) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    site = Site(tmp_path, host="127.0.61.29")
    server = await asyncio.start_server(serve, "127.0.61.29", 4352)
    async with server, site.driven():
        pass
    presence = next(event for event in site.events if isinstance(event, Presence))
    assert "not a PJLink display" in presence.reason


async def test_a_reply_to_another_question_is_not_taken_for_this_one(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PJLINK 0\r")
        await reader.readuntil(b"\r")
        writer.write(b"%1INPT=1\r")
        writer.close()

    site = Site(tmp_path, host="127.0.61.29")
    async with await asyncio.start_server(serve, "127.0.61.29", 4352), site.driven():
        pass
    presence = next(event for event in site.events if isinstance(event, Presence))
    assert "answers INPT to POWR" in presence.reason
    assert not site.values("power")


async def test_an_order_given_while_the_display_hangs_is_reported_as_sent_only(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    async with site.driven() as display:
        async with site.plugged_in() as projector:
            await until(lambda: site.presences()[-1])
            ordered = asyncio.get_running_loop().create_task(display.command("power", "on"))
            await until(lambda: bool(site.told("POWR")))
            assert projector.power == "3"
        result = await ordered
    assert result.outcome is Outcome.SENT
    assert "asserted again" in result.detail


async def test_displays_are_found_in_their_own_network_only(tmp_path: Path) -> None:
    locked = Site(tmp_path / "locked", PASSWORD, host="127.0.61.22")
    other = Site(tmp_path / "other", host="127.0.62.21")
    older = Site(tmp_path / "older", host="127.0.61.23", dialect=Dialect.CLASS_1_SILENT)
    ours = Site(tmp_path / "ours")
    async with ours.plugged_in(), locked.plugged_in(), other.plugged_in(), older.plugged_in():
        found = await discover_displays(SITE, Clock(), gather_s=0.8)
    first, second = found
    assert first.address == f"pjlink://{HOST}:4352"
    assert first.identity == f"pjlink:{ours.projector.mac}"
    assert (first.kind, first.profile) == (DeviceKind.BLACKBOARD, "pjlink-projector")
    assert first.needs is Need.NOTHING
    assert [evidence.method for evidence in first.evidence] == ["pjlink search", "pjlink greeting"]
    assert "INST=11 31 32 51" in first.evidence[1].detail
    assert second.identity == f"pjlink:{locked.projector.mac}"
    assert second.needs is Need.PASSWORD
    assert other.kinds() == ["plugged_in", "unplugged"]
    assert older.kinds() == ["plugged_in", "unplugged"], "class 1 knows no search"


async def test_a_display_that_answers_from_outside_the_network_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer() -> None:
        async with (
            open_udp(broadcast_socket(4352)) as heard,
            open_udp(sending_socket(IPv4Address("127.0.62.66"))) as ours,
        ):
            while True:
                search = await heard.receive()
                ours.send(b"%2ACKN=02:00:00:00:00:66\r", str(search.source), search.port)

    task = asyncio.get_running_loop().create_task(answer())
    assert await discover_displays(SITE, Clock(), gather_s=0.8) == []
    task.cancel()
    await asyncio.wait([task])
    assert "pjlink answer from 127.0.62.66: not in 127.0.61.0/24; refused" in caplog.text


async def test_discovery_asks_nothing_that_changes_a_display(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.plugged_in():
        await discover_displays(SITE, Clock(), gather_s=0.2)
    commands = [line for line in read_ledger(site.ledger_path) if line["kind"] == "command"]
    assert commands
    assert {line["parameter"] for line in commands} == {"?"}


async def test_an_address_that_is_not_ours_is_a_set_up_error() -> None:
    with pytest.raises(SetupError, match="address of this box"):
        await discover_displays(IPv4Interface("203.0.113.1/24"), Clock(), gather_s=0.1)
