"""Panels spoken to in frames: every bundled profile drives the panel that its vectors make."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from drivers.displays.desired_state import DesiredState
from drivers.displays.display import Display, Pace
from drivers.displays.framed_link import FramedLink
from drivers.entities import (
    CommandResult,
    DeviceEvent,
    DeviceId,
    Measurement,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.panel import PanelFaults, SimulatedPanel
from drivers.transports.port_address import parse_port_address
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.serial_bench import now_ms, running, until

PACE = Pace(poll_s={"fast": 0.05, "normal": 0.1, "slow": 0.3}, settle_step_s=0.02)
FRAMED = ("samsung-mdc", "viewsonic-viewboard", "lg-signage", "nec-multisync", "nec-projector")
PORT = 1515
THREE = [Outcome.SENT, Outcome.ACKNOWLEDGED, Outcome.VERIFIED]


def quick(name: str) -> Profile:
    """Return a bundled profile whose times fit a test."""
    profile = load_catalog().profiles[ProfileId(name)]
    link = msgspec.structs.replace(profile.links[0], timeout_ms=150, quiet_ms=10, gap_ms=0)
    commands = tuple(
        msgspec.structs.replace(
            command,
            settle_ms=3000,
            verify=command.verify and msgspec.structs.replace(command.verify, delay_ms=10),
        )
        for command in profile.commands
    )
    return msgspec.structs.replace(profile, links=(link,), commands=commands)


class Room:
    """One simulated panel and the driver of it."""

    def __init__(self, folder: Path, name: str, *, seed: int = 1, hangs_up: bool = False) -> None:
        self.profile = quick(name)
        self.ledger_path = folder / "panel.jsonl"
        self.line = folder / "line"
        # An address of its own: nobody else's connection happens to hold the port.
        octets = random.Random(f"{folder}").randbytes(2)
        self.host = f"127.123.{octets[0]}.{octets[1] % 254 + 1}"
        self.panel = SimulatedPanel(
            self.profile,
            Ledger(self.ledger_path, now_ms),
            random.Random(seed),
            hangs_up=hangs_up,
        )
        self.events: list[DeviceEvent] = []
        self.desired = DesiredState()

    @asynccontextmanager
    async def plugged_in(self, scheme: str = "tcp") -> AsyncIterator[SimulatedPanel]:
        before = self.count("plugged_in")
        serve = (
            self.panel.serve_tcp(self.host, PORT)
            if scheme == "tcp"
            else self.panel.serve_line(self.line)
        )
        async with running(serve):
            await until(lambda: self.count("plugged_in") > before)
            yield self.panel

    @asynccontextmanager
    async def driven(self, scheme: str = "tcp") -> AsyncIterator[Display]:
        place = f"tcp://{self.host}:{PORT}?unit=1"
        if scheme == "serial":
            place = f"serial:{self.line}?baud={self.profile.links[0].baud[0]}&unit=1"
        display = Display(
            DeviceId("panel"),
            partial(FramedLink.open, parse_port_address(place), self.profile),
            self.profile,
            now_ms,
            self.events.append,
            random.Random(2),
            desired=self.desired,
            pace=PACE,
        )
        async with running(display.run()):
            yield display

    def count(self, kind: str) -> int:
        return [line["kind"] for line in read_ledger(self.ledger_path)].count(kind)

    def is_online(self) -> bool:
        told = [event.online for event in self.events if isinstance(event, Presence)]
        return bool(told) and told[-1]

    def outcomes(self, command: str) -> list[Outcome]:
        return [
            event.outcome
            for event in self.events
            if isinstance(event, CommandResult) and event.command == command
        ]

    def values(self, point: str) -> list[float | str | None]:
        return [
            event.value
            for event in self.events
            if isinstance(event, Measurement) and event.point == point
        ]


@pytest.mark.parametrize("scheme", ["tcp", "serial"])
@pytest.mark.parametrize("name", FRAMED)
async def test_every_command_of_a_profile_comes_true(
    tmp_path: Path, name: str, scheme: str
) -> None:
    room = Room(tmp_path, name)
    async with room.plugged_in(scheme), room.driven(scheme) as display:
        await until(room.is_online)
        assert (await display.command("power", "on")).outcome is Outcome.VERIFIED
        assert room.outcomes("power on") == THREE
        for command in room.profile.commands:
            if command.id == "power":
                continue
            told = "42" if command.range else next(iter(command.values))
            best = Outcome.VERIFIED if command.verify else Outcome.ACKNOWLEDGED
            result = await display.command(command.id, told)
            assert (command.id, result.outcome, result.detail) == (command.id, best, result.detail)
            if command.verify is not None:
                seen = room.panel.state[command.verify.point]
                assert seen == told
        assert (await display.command("power", "off")).outcome is Outcome.VERIFIED


async def test_a_number_is_told_within_its_range_only(tmp_path: Path) -> None:
    room = Room(tmp_path, "samsung-mdc")
    async with room.plugged_in(), room.driven() as display:
        await until(room.is_online)
        for value in ("101", "-1", "loud", "1e1", ""):
            with pytest.raises(ProtocolError, match="0 to 100"):
                await display.command("volume", value)
    assert not room.desired.wishes


async def test_what_only_a_picture_has_waits_for_the_power(tmp_path: Path) -> None:
    room = Room(tmp_path, "lg-signage")
    async with room.plugged_in(), room.driven() as display:
        await until(room.is_online)
        refused = await display.command("source", "hdmi2")
        assert refused.outcome is Outcome.FAILED
        assert "switch it on first" in refused.detail
        await display.command("power", "on")
        await until(lambda: room.panel.state["source"] == "hdmi2")


async def test_a_cut_in_the_middle_of_a_command_is_told_and_the_wish_comes_true_later(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, "samsung-mdc")
    async with room.driven() as display:
        async with room.plugged_in() as panel:
            await until(room.is_online)
            await display.command("power", "on")
            panel.faults = PanelFaults(lost=1.0)
            ordered = asyncio.get_running_loop().create_task(display.command("volume", "30"))
            asked = room.count("question")
            await until(lambda: room.count("question") > asked)
        cut = await ordered
        assert cut.outcome in {Outcome.SENT, Outcome.FAILED}
        assert "when back" in cut.detail
        room.panel.faults = PanelFaults()
        async with room.plugged_in() as panel:
            await until(lambda: (panel.state["power"], panel.state["volume"]) == ("on", "30"))


async def test_a_lock_holds_against_hands_and_returns_with_the_power(tmp_path: Path) -> None:
    room = Room(tmp_path, "viewsonic-viewboard")
    async with room.plugged_in() as panel, room.driven() as display:
        await until(room.is_online)
        await display.command("power", "on")
        assert (await display.command("lock", "on")).outcome is Outcome.VERIFIED
        panel._state["lock"] = "off"  # the secret keys of a repair menu
        await until(lambda: room.outcomes("lock on").count(Outcome.VERIFIED) == 2)
        panel._state |= {"power": "off", "lock": "off"}
        await until(lambda: room.values("power")[-1] == "off")
        panel._state["power"] = "on"
        await until(lambda: panel.state["lock"] == "on")
        assert room.desired.wishes["lock"] == "on"


async def test_somebody_at_the_panel_may_change_its_volume(tmp_path: Path) -> None:
    room = Room(tmp_path, "samsung-mdc")
    async with room.plugged_in() as panel, room.driven() as display:
        await until(room.is_online)
        await display.command("power", "on")
        await display.command("volume", "30")
        panel.press_remote("volume", "55")
        await until(lambda: "volume" not in room.desired.wishes)
        await until(lambda: room.values("volume")[-1] == 55.0)
        assert panel.state["volume"] == "55"


async def test_a_panel_that_comes_back_long_after_it_was_switched_off_stays_on(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, "samsung-mdc")
    pace = Pace(poll_s=PACE.poll_s, settle_step_s=0.02, off_holds_s=0.05)
    address = parse_port_address(f"tcp://{room.host}:{PORT}?unit=1")
    display = Display(
        DeviceId("panel"),
        partial(FramedLink.open, address, room.profile),
        room.profile,
        now_ms,
        room.events.append,
        random.Random(2),
        desired=room.desired,
        pace=pace,
    )
    async with running(display.run()):
        async with room.plugged_in():
            await until(room.is_online)
            await display.command("power", "on")
            assert (await display.command("power", "off")).outcome is Outcome.VERIFIED
        await until(lambda: not room.is_online())
        await asyncio.sleep(0.1)
        room.panel._lose_power = lambda: room.panel._state.update(power="on")  # type: ignore[method-assign] # a hand at the mains switch
        async with room.plugged_in() as panel:
            await until(room.is_online)
            seen = len(room.values("power"))
            await until(lambda: len(room.values("power")) > seen + 3)
            assert panel.state["power"] == "on"
            assert "power" not in room.desired.wishes


async def test_a_display_that_hangs_up_after_each_answer_is_there_all_the_same(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, "lg-signage", hangs_up=True)
    async with room.plugged_in(), room.driven() as display:
        await until(room.is_online)
        assert (await display.command("power", "on")).outcome is Outcome.VERIFIED
        presences = [event for event in room.events if isinstance(event, Presence)]
        assert [event.online for event in presences] == [True]


async def test_a_secured_panel_says_what_to_change() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"MDCSTART<<TLS>>")
        writer.close()

    profile = quick("samsung-mdc")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        link = await FramedLink.open(parse_port_address(f"tcp://127.0.0.1:{port}?unit=1"), profile)
        with pytest.raises(RefusedError, match="network menu"):
            await link.ask("11")
        await link.close()


async def test_a_silent_panel_is_unreachable_with_a_remedy(tmp_path: Path) -> None:
    room = Room(tmp_path, "nec-multisync")
    room.panel.faults = PanelFaults(lost=1.0)
    async with room.plugged_in():
        address = parse_port_address(f"tcp://{room.host}:{PORT}?unit=1")
        link = await FramedLink.open(address, room.profile)
        with pytest.raises(UnreachableError, match="external control"):
            await link.ask("A01D6")
        await link.close()
    assert room.count("question") == 3


@pytest.mark.parametrize(("seed", "name"), list(enumerate(FRAMED)))
async def test_through_noise_losses_and_refusals_no_value_is_invented_and_wishes_come_true(
    tmp_path: Path, seed: int, name: str
) -> None:
    room = Room(tmp_path, name, seed=seed)
    chance = random.Random(seed)
    told = ["power on", "source hdmi1"]
    async with room.driven() as display:
        async with room.plugged_in() as panel:
            await until(room.is_online)
            panel.faults = PanelFaults(lost=0.05, spoilt=0.1, noise=0.2, refused=0.1)
            await display.command("power", "on")
            for _ in range(4):
                source = chance.choice(("hdmi1", "hdmi2", "displayport"))
                if source in room.profile.command("source").values:
                    told.append(f"source {source}")
                    await display.command("source", source)
        room.panel.faults = PanelFaults()
        async with room.plugged_in() as panel:
            wished = room.desired.wishes.get("source")
            await until(lambda: panel.state["power"] == "on")
            if wished is not None:
                await until(lambda: panel.state["source"] == wished)
    words = {"hdmi1", "hdmi2", "displayport", None}
    words |= set(room.profile.point("source").enum.values()) & {"vga", "pc", "tv", "av"}
    good = [
        event
        for event in room.events
        if isinstance(event, Measurement) and event.quality is Quality.GOOD
    ]
    assert {event.value for event in good if event.point == "source"} <= words
    assert {event.value for event in good if event.point == "power"} <= {"on", "off"}
