import asyncio
import random
import sqlite3
import ssl
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edge.hub_stream import HubUnreachableError
from hub import exchange_api, server
from hub.exchange_api import SHORT_BYTES, STREAMS_OF_A_SCHOOL_MAX, ExchangeDesk
from sync.exchange import conversation
from sync.exchange.conversation import LONG_BYTES, Conversation
from sync.exchange.framing import STREAM_VERSION, frame
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX, MESSAGE_BYTES_MAX
from sync.exchange.session import EVERY_LANE
from sync.logs.oplog import Row
from sync.node import Node
from sync.schema.model import Lane
from sync.segments.varints import pack_uint
from tests.hub.box_call import BoxCall, calling
from tests.hub.running_hub import HOST, running_hub, until

BEGIN = bytes([STREAM_VERSION])


def long_rows(count: int) -> list[Row]:
    """Rows of about a kilobyte that do not compress."""
    chance = random.Random(count)
    return [
        {"at_ms": n, "device": "d", "event": "e", "detail": chance.randbytes(1000).hex()}
        for n in range(count)
    ]


async def test_what_is_no_message_is_refused_in_words_and_the_next_caller_is_answered(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        async with hub.session(identity) as http:
            for data, word in (
                (b"\x63", "version 99"),
                (BEGIN + frame(b"\xff" * 9), "bits"),
                (BEGIN + frame(b"\x00\x00\x00\x00\x07"), "after its end"),
                (BEGIN + pack_uint(MESSAGE_BYTES_MAX + 1), "a frame of"),
                (BEGIN + frame(b"\x00" * 4)[:2], "ended before"),
                (b"", "ended before"),
            ):
                async with http.post("/sync/exchange", data=data) as response:
                    assert response.status == 400
                    assert word in await response.text()
        async with calling(hub, identity, tmp_path / "store") as box:
            assert (await box.next_message()).credit_bytes == CREDIT_BYTES


async def test_a_stream_that_turns_to_nonsense_ends_and_takes_no_other_along(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        first, second = await hub.enrol(17, tmp_path / "17"), await hub.enrol(18, tmp_path / "18")
        async with (
            calling(hub, first, tmp_path / "a") as one,
            calling(hub, second, tmp_path / "b") as other,
        ):
            await one.next_message()
            await other.next_message()
            await one.stream.send(frame(b"\xc1" * 50))
            await one.until_ended()
            other.node.record("card_tap", [{"at_ms": 1}])
            await other.speak()
            await until(lambda: hub.rows("SELECT school FROM card_tap") == [(18,)])


async def test_a_caller_without_a_certificate_is_told_to_claim(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession() as http:
        url = f"https://{HOST}:{hub.config.boxes.port}/sync/exchange"
        async with http.post(url, ssl=_trusting()) as response:
            assert response.status == 401
            assert await response.json() == {"reason": "no_certificate"}


async def test_the_hub_speaks_first_when_something_waits_for_a_school_and_to_no_other(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        first, second = await hub.enrol(17, tmp_path / "17"), await hub.enrol(18, tmp_path / "18")
        async with (
            calling(hub, first, tmp_path / "a") as one,
            calling(hub, second, tmp_path / "b") as other,
        ):
            await _until_quiet(one)
            await _until_quiet(other)
            hub.record("timetable_slot", {"school": 17, "slot": "x", "subject": "数学"})
            assert "timetable_slot" in (await one.hear()).imported.tables
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await other.stream.receive()


async def test_an_idle_box_that_asks_is_answered_in_six_bytes(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        async with calling(hub, identity, tmp_path / "store") as box:
            await _until_quiet(box)
            before = box.stream.received_bytes
            await box.stream.send(frame(b""))
            assert (await box.hear()).message is None
            assert box.stream.received_bytes - before == 1


async def test_a_receipt_waits_for_company_unless_more_waits_or_much_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "RECEIPT_MS", 3_600_000)
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        async with calling(hub, identity, tmp_path / "store") as box:
            await _until_quiet(box)
            box.node.record("card_tap", [{"at_ms": 1}])
            await box.speak()
            await until(lambda: hub.rows("SELECT at_ms FROM card_tap") == [(1,)])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await box.stream.receive()
            box.node.record("device_event", long_rows(12))
            await box.speak()
            assert sum(box.conversation.under_way.values()) > LONG_BYTES
            told = await box.next_message()
            assert {each.log.lane for each in told.have} >= {Lane.ATTENDANCE, Lane.TELEMETRY}
            assert box.conversation.under_way == {}


async def test_a_school_has_only_so_many_streams_and_a_new_one_of_a_box_ends_the_former(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identities = [
            await hub.enrol(17, tmp_path / str(number)) for number in range(STREAMS_OF_A_SCHOOL_MAX)
        ]
        identity = identities[0]
        finish = asyncio.Event()
        async with AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(hub.session(each)) for each in identities]
            slow = [asyncio.create_task(_post_slowly(http, finish)) for http in callers]
            await asyncio.sleep(0.5)
            async with callers[0].post("/sync/exchange", data=b"x") as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "5")
            finish.set()
            assert await asyncio.gather(*slow) == [400] * STREAMS_OF_A_SCHOOL_MAX
        async with calling(hub, identity, tmp_path / "a") as former:
            await former.next_message()
            async with calling(hub, identity, tmp_path / "b") as later:
                await later.next_message()
                await former.until_ended()


async def test_calls_of_lines_that_were_cut_early_do_not_lock_their_box_out(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        never = asyncio.Event()
        async with hub.session(identity) as http:
            cut = []
            for _ in range(2 * STREAMS_OF_A_SCHOOL_MAX):
                cut.append(asyncio.create_task(_post_slowly(http, never)))
                await asyncio.sleep(0.2)
            async with calling(hub, identity, tmp_path / "store") as box:
                await box.next_message()
            ended = await asyncio.gather(*cut, return_exceptions=True)
            assert all(isinstance(each, aiohttp.ClientError) for each in ended), ended


async def test_a_full_hub_says_when_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_api, "STREAMS_MAX", 0)
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        with pytest.raises(HubUnreachableError, match="503") as refusal:
            async with calling(hub, identity, tmp_path / "store"):
                pass
        assert refusal.value.after_s == exchange_api.BUSY_AFTER_S


async def test_a_crowd_is_asked_for_less_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        async with calling(hub, identity, tmp_path / "store") as box:
            calm = await box.next_message()
            assert (calm.credit_bytes, calm.retry_after_ms) == (CREDIT_BYTES, 0)
            monkeypatch.setattr(exchange_api, "CALM_MESSAGES", -3)
            hub.record("timetable_slot", {"school": 17, "slot": "x", "subject": "数学"})
            crowded = await box.next_message()
            assert crowded.credit_bytes == FIRST_BYTES_MAX
            assert crowded.retry_after_ms > 0


async def test_an_alarm_queues_behind_no_long_message_of_any_school_its_own_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desks: list[ExchangeDesk] = []

    class RememberedDesk(ExchangeDesk):
        def add_routes(self, app: web.Application) -> None:
            super().add_routes(app)
            desks.append(self)

    monkeypatch.setattr(server, "ExchangeDesk", RememberedDesk)
    async with running_hub(tmp_path / "hub") as hub:
        first, second = await hub.enrol(17, tmp_path / "17"), await hub.enrol(18, tmp_path / "18")
        async with (
            calling(hub, first, tmp_path / "a") as one,
            calling(hub, second, tmp_path / "b") as other,
        ):
            await _until_quiet(one)
            await _until_quiet(other)
            async with desks[0]._turn:  # another school's long message is under work, without end
                one.node.record("device_event", long_rows(12))
                await one.speak()
                other.node.record("device_event", long_rows(2))  # there is room for them beside it
                other.node.record("alarm", [{"at_ms": 1, "device": "button", "alarm": "panic"}])
                await other.speak()
                assert sum(other.conversation.under_way.values()) > SHORT_BYTES
                await until(lambda: hub.rows("SELECT school FROM alarm") == [(18,)])
                assert hub.rows("SELECT count(*) FROM device_event") == [(0,)]
            await until(lambda: hub.rows("SELECT count(*) FROM device_event") == [(14,)])


async def test_the_first_answer_goes_before_what_came_behind_is_taken_in(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)

        def alarm_and_more(node: Node, conversation: Conversation) -> Iterator[bytes]:
            node.record("alarm", [{"at_ms": 1, "device": "button", "alarm": "panic"}])
            node.record("device_event", long_rows(2))
            node.seal_all()
            while data := conversation.speak(0):
                yield data

        async with calling(hub, identity, tmp_path / "store", alarm_and_more) as box:
            told = [await box.next_message(), await box.next_message()]
            assert [message.taken for message in told] == [1, 2]


async def test_a_store_that_fails_with_a_receipt_due_is_asked_once_and_the_stream_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desks: list[ExchangeDesk] = []
    failed: list[int] = []
    is_broken = False

    class RememberedDesk(ExchangeDesk):
        def add_routes(self, app: web.Application) -> None:
            super().add_routes(app)
            desks.append(self)

    class Failing(conversation.Conversation):
        def speak(
            self,
            now_ms: int,
            credit_bytes: int = CREDIT_BYTES,
            retry_after_ms: int = 0,
            lanes: Collection[Lane] = EVERY_LANE,
        ) -> bytes | None:
            if is_broken:
                failed.append(now_ms)
                raise sqlite3.OperationalError("disk I/O error")
            return super().speak(now_ms, credit_bytes, retry_after_ms, lanes)

    monkeypatch.setattr(server, "ExchangeDesk", RememberedDesk)
    monkeypatch.setattr(exchange_api, "Conversation", Failing)
    monkeypatch.setattr(conversation, "RECEIPT_MS", 0)
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        async with calling(hub, identity, tmp_path / "store") as box:
            await _until_quiet(box)
            box.node.record("alarm", [{"at_ms": 1, "device": "button", "alarm": "panic"}])
            box.node.seal_all()
            short = box.conversation.speak(0)
            box.node.record("device_event", long_rows(12))
            box.node.seal_all()
            long = box.conversation.speak(0)
            assert short
            assert long
            async with desks[0]._turn:  # its reader waits here, behind another school's message
                is_broken = True
                await box.stream.send(short + long)
                await until(lambda: hub.rows("SELECT school FROM alarm") == [(17,)])
                await until(lambda: bool(failed))
                await asyncio.sleep(0.3)
                assert len(failed) == 1
            await box.until_ended()
        is_broken = False
        async with calling(hub, identity, tmp_path / "store") as box:
            await box.next_message()


async def _until_quiet(box: BoxCall) -> None:
    """Hear what the hub has to say at first, until it says nothing for longer than it seals."""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(1.2):
                content = await box.stream.receive()
            box.conversation.hear(content, 0)
            await box.speak()


async def _post_slowly(http: aiohttp.ClientSession, finish: asyncio.Event) -> int:
    async def body() -> AsyncIterator[bytes]:
        yield BEGIN
        await finish.wait()
        yield b"\xff" * 20

    async with http.post("/sync/exchange", data=body()) as response:
        return response.status


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
