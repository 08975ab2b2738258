import asyncio
from datetime import datetime

import pytest

from drivers.entities import DeviceId, Outcome
from drivers.errors import ProtocolError, RefusedError, SetupError, UnreachableError
from drivers.reports import Reports
from drivers.terminals import adms_terminal
from drivers.terminals.adms_terminal import AdmsTerminal
from drivers.terminals.number_ranges import pack_numbers, unpack_numbers
from drivers.terminals.orders import ATTEMPTS_MAX, ORDERS_MAX, RESEND_S, Orders
from drivers.terminals.push import Push
from drivers.terminals.tap_times import TerminalClock
from tests.drivers.serial_bench import running, until
from tests.drivers.terminal_bench import NOW_MS, ZONE, School

SERIAL = "SIM0123456"
HOME, ELSEWHERE = "10.8.3.50", "10.8.3.66"


def terminal(school: School, *, key: str | None = None) -> AdmsTerminal:
    device = DeviceId(f"adms:{SERIAL}")
    return AdmsTerminal(
        SERIAL,
        school.office,
        school.facts,
        Reports(device, f"adms:{SERIAL}", school.clock, school.events.append),
        school.clock,
        key=key,
        first_order=100,
    )


def call(endpoint: str, body: str | None = None, address: str = HOME, **query: str) -> Push:
    content = None if body is None else body.encode()
    return Push(endpoint=endpoint, address=address, query={"SN": SERIAL, **query}, body=content)


def line(number: str, seconds_ago: float, school: School) -> str:
    at = datetime.fromtimestamp(school.now_ms / 1000 - seconds_ago, ZONE)
    return f"{number}\t{at:%Y-%m-%d %H:%M:%S}\t0\t4\t0\n"


def attlog(text: str, stamp: str = "9999") -> Push:
    return call("cdata", text, table="ATTLOG", Stamp=stamp)


async def begin(one: AdmsTerminal, **query: str) -> str:
    return await one.answer(call("cdata", options="all", pushver="2.4.1", **query))


async def test_records_are_acknowledged_once_they_are_kept_and_count_once() -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    school.is_disk_full = True
    body = line("1001", 3, school) + line("1002", 1, school)
    with pytest.raises(UnreachableError):
        await one.answer(attlog(body))
    school.is_disk_full = False
    assert await one.answer(attlog(body)) == "OK: 2"
    assert await one.answer(attlog(body + line("1003", 0, school))) == "OK: 3"
    assert [number for number, _, _ in school.seen()] == ["1001", "1002", "1003"]
    # The name of a tap is the same after a restart, and tells nothing of the person.
    assert await terminal(school).answer(attlog(body)) == "OK: 2"
    assert len(school.taps) == 3
    assert not any("1001" in key for key in school.taps)
    # Who taps again is seen again, and two in one second are two.
    assert await one.answer(attlog(line("1001", 9, school) + line("1002", 9, school))) == "OK: 2"
    assert len(school.taps) == 5


async def test_where_records_go_on_outlives_a_restart() -> None:
    school = School()
    one = terminal(school)
    assert "ATTLOGStamp=None\n" in await begin(one)
    await one.answer(attlog(line("1001", 3, school), stamp="17"))
    assert "ATTLOGStamp=17\n" in await begin(terminal(school))
    await one.answer(attlog(line("1001", 2, school), stamp="1\n2=x"))
    assert "ATTLOGStamp=17\n" in await begin(terminal(school))


async def test_a_clock_ahead_moves_what_it_told_back_and_is_set() -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    await one.answer(attlog(line("1001", -3590, school) + line("1002", -3600, school)))
    assert school.seen() == [("1001", "", 10), ("1002", "", 0)]
    assert school.offsets() == [3600.0]
    assert "SET OPTION DateTime=" in await one.answer(call("getrequest"))
    await one.answer(attlog(line("1003", 1, school)))
    assert school.offsets() == [3600.0, 0.0]


def test_a_clock_behind_shows_in_records_that_are_equally_late_and_a_backlog_does_not() -> None:
    now, late = 1_000_000_000, 600_000
    clock = TerminalClock()
    placed = [clock.place([now + step - late], now + step) for step in (0, 5000, 9000, 15_000)]
    assert [each.offset_ms for each in placed] == [0, 0, -late, -late]
    assert placed[2].moments_ms == (now + 9000,)
    backlog = TerminalClock()
    for ago in (900_000, 800_000, 700_000, 600_000):
        assert backlog.place([now - ago], now).offset_ms == 0


def test_records_of_before_the_box_are_acknowledged_and_dropped() -> None:
    day_ms, now = 86_400_000, 100 * 86_400_000
    assert TerminalClock().place([now - 40 * day_ms, now], now).moments_ms == (None, now)
    assert TerminalClock().place([], now).moments_ms == ()


async def test_an_utc_offset_in_a_record_goes_before_the_schools_zone() -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    at = datetime.fromtimestamp(NOW_MS / 1000 - 5, ZONE)
    tail = "\t0\t4\t0" + "\t0" * 5 + "\t+28800\n"
    await one.answer(attlog(f"1001\t{at:%Y-%m-%d %H:%M:%S}{tail}"))
    assert school.seen() == [("1001", "", 5)]


async def test_a_number_with_a_card_on_the_terminal_is_told_with_the_card() -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    assert "DATA QUERY USERINFO" in await one.answer(call("getrequest"))
    users = "USER PIN=5\tName=x\tCard=[72397B00]\nUSER PIN=6\tName=y\tCard=\n"
    assert await one.answer(call("cdata", users, table="OPERLOG")) == "OK: 2"
    await one.answer(attlog(line("5", 1, school) + line("6", 0, school)))
    assert school.seen() == [("5", "0008075634", 1), ("6", "", 0)]


async def test_orders_are_told_until_they_have_a_result() -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    await one.answer(call("getrequest"))
    asked = asyncio.create_task(one.order("reboot", ""))
    await asyncio.sleep(0)
    told = await one.answer(call("getrequest"))
    number = told.split(":")[1]
    assert told == f"C:{number}:REBOOT\n"
    assert await one.answer(call("getrequest")) == "OK"
    await one.answer(call("devicecmd", f"ID={number}&Return=0&CMD=REBOOT\nID=1&Return=0\n"))
    assert (await asked).outcome is Outcome.ACKNOWLEDGED


async def test_a_refused_order_is_told_as_failed_and_one_that_waits_as_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adms_terminal, "ORDER_WAIT_S", 0.01)
    school = School()
    one = terminal(school)
    await begin(one)
    waiting = await one.order("set_time", "")
    assert waiting.outcome is Outcome.SENT
    told = await one.answer(call("getrequest"))
    (number,) = [each.split(":")[1] for each in told.splitlines() if "SET OPTION" in each]
    await one.answer(call("devicecmd", f"ID={number}&Return=-1&CMD=SET OPTION\n"))
    assert school.results()[-1].outcome is Outcome.FAILED
    assert "-1" in school.results()[-1].detail
    for command, argument in (("people", "sideways"), ("format", ""), ("reboot", "now")):
        with pytest.raises(SetupError):
            await one.order(command, argument)


async def settle_all(one: AdmsTerminal) -> list[str]:
    """Let the terminal do all it is told, and return that."""
    done: list[str] = []
    while (told := await one.answer(call("getrequest"))) != "OK":
        lines = [each.split(":", 2) for each in told.splitlines()]
        done += [text for _, _, text in lines]
        results = "".join(f"ID={number}&Return=0&CMD=DATA\n" for _, number, _ in lines)
        await one.answer(call("devicecmd", results))
    return done


async def test_the_rosters_cards_are_put_and_removed_and_names_never_leave() -> None:
    school = School(people={"900000017": "0008075634", "900000018": "0006547886"})
    one = terminal(school)
    await begin(one)
    await settle_all(one)
    assert (await one.order("people", "here")).outcome is Outcome.SENT
    put = await settle_all(one)
    assert [text.split("\t")[0][-9:] for text in put] == ["900000017", "900000018"]
    assert all("\tName=\t" in text for text in put)
    assert school.results()[-1].outcome is Outcome.ACKNOWLEDGED
    assert school.facts.kept["there"] == "900000017-900000018"

    school.people = {"900000017": "0000000042"}  # another card, and somebody left
    assert await settle_all(one) == [
        "DATA DELETE USERINFO PIN=900000018",
        put[0].replace("0008075634", "0000000042"),
    ]
    # After a restart it is still known who has to go; cards are put once more.
    school.people = {}
    again = terminal(school)
    again.want_people("here")
    assert await settle_all(again) == ["DATA DELETE USERINFO PIN=900000017"]
    assert school.facts.kept["there"] == ""


async def test_a_user_that_the_terminal_refuses_is_not_offered_at_each_call() -> None:
    school = School(people={"900000017": "0008075634"})
    one = terminal(school)
    await begin(one)
    await settle_all(one)
    one.want_people("here")
    number = (await one.answer(call("getrequest"))).split(":")[1]
    await one.answer(call("devicecmd", f"ID={number}&Return=-3&CMD=DATA\n"))
    assert await one.answer(call("getrequest")) == "OK"
    # It may be there all the same: who leaves is removed.
    school.people = {}
    assert await settle_all(one) == ["DATA DELETE USERINFO PIN=900000017"]


async def test_while_the_true_terminal_calls_nobody_else_is_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    school = School()
    one = terminal(school)
    await begin(one)
    forged = call("cdata", line("1001", 0, school), ELSEWHERE, table="ATTLOG")
    with pytest.raises(RefusedError, match=ELSEWHERE):
        await one.answer(forged)
    assert school.taps == {}
    with pytest.raises(RefusedError):  # nor is who is first after the box was started again
        await terminal(school).answer(forged)
    # A terminal that a router gave another address calls after the old one has been silent.
    monkeypatch.setattr("drivers.terminals.push.ADDRESS_KEPT_S", 0.0)
    assert await terminal(school).answer(forged) == "OK: 1"


async def test_with_a_communication_key_only_who_began_with_it_is_heard() -> None:
    school = School()
    one = terminal(school, key="4a9594af")
    for query in ({}, {"pushcommkey": "wrong"}):
        with pytest.raises(RefusedError, match="communication key"):
            await begin(one, **query)
    with pytest.raises(RefusedError, match="did not begin"):
        await one.answer(attlog(line("1001", 0, school)))
    await begin(one, pushcommkey="4a9594af")
    assert await one.answer(attlog(line("1001", 0, school))) == "OK: 1"


async def test_other_endpoints_are_answered_as_a_terminal_expects() -> None:
    school = School()
    one = terminal(school)
    code = await one.answer(call("registry", "~DeviceName=SpeedFace,FWVersion=Ver 8.0.4"))
    assert code.startswith("RegistryCode=")
    assert code == await one.answer(call("registry", ""))
    assert "Realtime=1\n" in await one.answer(call("push", ""))
    assert (await one.answer(call("rtdata", type="time"))).startswith("DateTime=")
    assert await one.answer(call("cdata", table="RemoteAtt", PIN="7")) == "OK"
    assert await one.answer(call("cdata", "\xff\xd8\n" * 30_000, table="ATTPHOTO")) == "OK"
    for endpoint in ("ping", "fdata", "edata"):
        assert await one.answer(call(endpoint)) == "OK"
    with pytest.raises(ProtocolError):
        await one.answer(attlog("x\n" * 30_000))


async def test_a_terminal_that_calls_no_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adms_terminal, "SILENT_S", 0.05)
    monkeypatch.setattr(adms_terminal, "_LOOK_S", 0.01)
    school = School()
    one = terminal(school)
    await begin(one)
    async with running(one.run()):
        await until(lambda: school.presence() == [True, False])
        await one.answer(call("ping"))
        assert school.presence()[-1] is True


async def test_a_queue_of_orders_is_bounded_and_gives_up_what_nobody_does() -> None:
    orders = Orders(999_999_999)
    first = orders.add(lambda: "A")
    assert [number for number, _ in orders.due(0.0)] == [999_999_999]
    assert orders.due(1.0) == []
    for attempt in range(1, ATTEMPTS_MAX + 1):
        orders.due(attempt * RESEND_S)
    assert first.done.result() is None
    many = [orders.add(lambda: "B") for _ in range(ORDERS_MAX + 1)]
    assert (len(orders), many[0].number, many[0].done.result()) == (ORDERS_MAX, 1, None)


def test_numbers_are_packed_as_ranges_and_nonsense_unpacks_to_nothing() -> None:
    numbers = [str(900_000_000 + each) for each in (1, 2, 3, 7, 9, 10)]
    assert pack_numbers(numbers) == "900000001-900000003,900000007,900000009-900000010"
    assert unpack_numbers(pack_numbers(reversed(numbers))) == numbers
    assert unpack_numbers("x,-,3-1,²") == []
    assert len(unpack_numbers("1-999999999")) == 20_000


async def test_a_card_that_is_no_number_is_left_out_and_holds_nobody_up() -> None:
    school = School(people={"900000017": "LOST-CARD", "900000018": "0006547886"})
    one = terminal(school)
    await begin(one)
    one.want_people("here")
    told = await one.answer(call("getrequest"))
    assert "PIN=900000018" in told
    assert "PIN=900000017" not in told


async def test_lines_that_are_no_records_are_told_once_and_not_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    school = School()
    one = terminal(school)
    for _ in range(3):
        assert await one.answer(attlog("1001\tyesterday\n" + line("1002", 1, school))) == "OK: 2"
    (warning,) = [record.getMessage() for record in caplog.records]
    assert SERIAL in warning
    assert "1001" not in warning
