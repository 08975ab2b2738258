from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.codecs.digest import Credentials
from drivers.codecs.isapi import AccessEvent, Caller, normal_mac
from drivers.entities import DeviceId, Outcome
from drivers.errors import RefusedError, SetupError, UnreachableError
from drivers.reports import Reports
from drivers.simulators.isapi_terminal import Event, IsapiSimulator
from drivers.terminals import isapi_terminal
from drivers.terminals.isapi_client import parse_terminal_address
from drivers.terminals.isapi_terminal import IsapiTerminal
from tests.drivers.serial_bench import running, until
from tests.drivers.terminal_bench import ZONE, School
from tests.loopback import own_address

MAC = "44:47:cc:01:02:03"
HOST = own_address("72.50")
LOGIN = Credentials(user="admin", password="Swing-low-7")


@asynccontextmanager
async def simulated(school: School) -> AsyncIterator[IsapiSimulator]:
    device = IsapiSimulator(MAC, HOST, LOGIN, school.clock, ZONE)
    await device.start()
    try:
        yield device
    finally:
        await device.stop()


def terminal(
    school: School, device: IsapiSimulator, login: Credentials | None = LOGIN
) -> IsapiTerminal:
    mac = normal_mac(MAC)
    return IsapiTerminal(
        mac,
        f"http://{HOST}:{device.port}",
        login,
        school.office,
        school.facts,
        Reports(DeviceId(f"isapi:{mac}"), f"isapi:{mac}", school.clock, school.events.append),
        school.clock,
    )


def pushed(event: Event) -> AccessEvent:
    return AccessEvent(
        mac=normal_mac(MAC),
        at=event.local.replace(microsecond=0),
        number=event.employee,
        card=event.card,
        serial_no=event.serial_no,
    )


async def test_what_was_not_pushed_is_fetched_and_counts_once() -> None:
    school = School()
    async with simulated(school) as device:
        before = device.swipe("0000000001", ago_s=3600)
        one = terminal(school, device)
        async with running(one.run()):
            await until(lambda: school.presence() == [True])
            await until(lambda: any("AcsEvent" in each for each in device.asked))
        assert school.taps == {}, "what happened before it was adopted is not the box's"
        await one.take(pushed(device.swipe("0008075634")), HOST)
        missed = [device.swipe(f"{number:010}") for number in range(100, 165)]
        async with running(terminal(school, device).run()):
            await until(lambda: len(school.taps) == 1 + len(missed))
            await until(lambda: len(device.asked) >= 8)
        cards = {card for _, card, _ in school.seen()}
        assert before.card not in cards
        assert cards == {"0008075634", *(event.card for event in missed)}


async def test_a_push_after_a_cut_does_not_hide_what_was_missed_before_it() -> None:
    school = School()
    async with simulated(school) as device:
        async with running(terminal(school, device).run()):
            await until(lambda: school.presence() == [True])
        school.now_ms += 3_600_000
        missed = device.swipe("0000000100", ago_s=1800)
        await terminal(school, device, None).take(pushed(device.swipe("0008075634")), HOST)
        async with running(terminal(school, device).run()):
            await until(lambda: len(school.taps) == 2)
        assert missed.card in {card for _, card, _ in school.seen()}


async def test_a_clock_that_was_set_back_hides_nothing_that_follows() -> None:
    school = School()
    async with simulated(school) as device:
        async with running(terminal(school, device).run()):
            await until(lambda: school.presence() == [True])
        device.clock_off_s = 7200.0
        device.swipe("0000000100")
        async with running(terminal(school, device).run()):
            await until(lambda: school.presence() == [True, True])
        assert abs(device.clock_off_s) < 2
        school.now_ms += 600_000
        device.swipe("0000000200")
        async with running(terminal(school, device).run()):
            await until(lambda: len(school.taps) == 2)
        assert school.seen() == [("", "0000000100", 600), ("", "0000000200", 0)]


async def test_a_wrong_clock_is_measured_its_events_are_put_right_and_it_is_set() -> None:
    school = School()
    async with simulated(school) as device:
        device.clock_off_s = -7200.0
        async with running(terminal(school, device).run()):
            await until(lambda: school.results() != [])
            assert school.results()[0].outcome is Outcome.VERIFIED
        assert school.offsets() == [-7200.0]
        assert abs(device.clock_off_s) < 2
        device.clock_off_s = 600.0
        one = terminal(school, device)
        async with running(one.run()):
            device.swipe("0008075634", ago_s=60)
            await until(lambda: len(school.taps) == 1)
        assert school.seen() == [("", "0008075634", 60)]


async def test_a_wrong_password_is_tried_once_and_told() -> None:
    school = School()
    async with simulated(school) as device:
        wrong = Credentials(user="admin", password="guess")
        async with running(terminal(school, device, wrong).run()):
            await until(lambda: school.presence() == [False])
        assert device.refused == 2  # the question, and the one answer to its challenge
        assert device.asked == []
        reasons = [event.reason for event in school.events if hasattr(event, "reason")]
        assert "user name or password refused" in reasons[0]
        assert "guess" not in reasons[0]


async def test_without_a_password_pushes_count_and_commands_fail_with_the_remedy() -> None:
    school = School()
    async with simulated(school) as device:
        one = terminal(school, device, None)
        await one.take(pushed(device.swipe("0008075634")), HOST)
        assert len(school.taps) == 1
        result = await one.order("reboot", "")
        assert result.outcome is Outcome.FAILED
        assert "adopt the terminal with one" in result.detail


async def test_another_host_is_not_taken_for_the_terminal_and_another_terminal_neither() -> None:
    school = School()
    async with simulated(school) as device:
        one = terminal(school, device)
        with pytest.raises(RefusedError, match="find out which"):
            await one.take(pushed(device.swipe("0008075634")), own_address("72.66"))
        device.mac = "44:47:cc:09:09:09"
        async with running(one.run()):
            await until(lambda: school.presence() == [False])
        assert school.taps == {}


async def test_a_push_is_not_acknowledged_while_the_disk_is_full() -> None:
    school = School(is_disk_full=True)
    async with simulated(school) as device:
        one = terminal(school, device)
        event = pushed(device.swipe("0008075634"))
        with pytest.raises(UnreachableError):
            await one.take(event, HOST)
        school.is_disk_full = False
        await one.take(event, HOST)
        await one.take(Caller(normal_mac(MAC)), HOST)
        assert len(school.taps) == 1


async def test_a_terminal_without_a_search_goes_on_with_its_pushes() -> None:
    school = School()
    async with simulated(school) as device:
        device.knows_search = False
        one = terminal(school, device)
        async with running(one.run()):
            await until(lambda: school.presence() == [True])
            await one.take(pushed(device.swipe("0008075634")), HOST)
        assert len(school.taps) == 1


async def test_commands_are_carried_out_and_what_is_none_is_refused() -> None:
    school = School()
    async with simulated(school) as device:
        one = terminal(school, device)
        device.clock_off_s = 90.0
        assert (await one.order("set_time", "")).outcome is Outcome.VERIFIED
        assert (await one.order("reboot", "")).outcome is Outcome.ACKNOWLEDGED
        device.swipe("0000000001", ago_s=3600)
        assert (await one.order("fetch_records", "")).outcome is Outcome.ACKNOWLEDGED
        assert len(school.taps) == 1
        assert "PUT /ISAPI/System/reboot" in device.asked
        with pytest.raises(SetupError):
            await one.order("people", "here")
        await device.stop()
        assert (await one.order("reboot", "")).outcome is Outcome.FAILED
        await one.close()


async def test_a_terminal_that_is_away_is_told_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isapi_terminal, "PULL_EVERY_S", 0.02)
    school = School()
    async with simulated(school) as device, running(terminal(school, device).run()):
        await until(lambda: school.presence() == [True])
        await device.stop()
        await until(lambda: school.presence() == [True, False])
        await device.start()
        await until(lambda: school.presence() == [True, False, True])


@pytest.mark.parametrize(
    "address", ["https://10.1.2.3", "http://terminal", "http://10.1.2.3/x", "push:1", "http://u@10.1.2.3"]
)  # fmt: skip
def test_what_is_no_terminals_address_is_refused(address: str) -> None:
    with pytest.raises(SetupError):
        parse_terminal_address(address)
