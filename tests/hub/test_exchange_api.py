import asyncio
import ssl
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from hub import exchange_api
from hub.exchange_api import CALLS_OF_A_SCHOOL_MAX
from sync.exchange import CREDIT_BYTES, FIRST_BYTES_MAX, MESSAGE_BYTES_MAX, Message, Session
from tests.hub.running_hub import HOST, box_session, running_hub


async def exchange(http: aiohttp.ClientSession, session: Session) -> Message:
    async with http.post("/sync/exchange", data=session.request()) as response:
        assert response.status == 200, await response.text()
        return session.receive_answer(await response.read())[1]


async def test_a_message_that_is_none_is_refused_and_the_next_is_answered(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        with box_session(identity, tmp_path, hub.now_ms) as session:
            async with hub.session(identity) as http:
                async with http.post("/sync/exchange", data=b"\xc1" * 100) as response:
                    assert response.status == 400
                    assert "does not parse" in await response.text()
                large = BytesIO(bytes(MESSAGE_BYTES_MAX + 1))
                async with http.post("/sync/exchange", data=large) as response:
                    assert response.status == 413
                assert (await exchange(http, session)).credit_bytes == CREDIT_BYTES


async def test_a_caller_without_a_certificate_is_told_to_claim(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession() as http:
        for method, path in (("POST", "/sync/exchange"), ("GET", "/sync/notify")):
            url = f"https://{HOST}:{hub.config.boxes.port}{path}"
            async with http.request(method, url, ssl=_trusting()) as response:
                assert response.status == 401
                assert await response.json() == {"reason": "no_certificate"}


async def test_news_wakes_the_school_it_concerns_and_no_other(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        first = await hub.enrol(17, tmp_path / "17")
        second = await hub.enrol(18, tmp_path / "18")
        async with hub.session(first) as one, hub.session(second) as other:
            waiting = [asyncio.create_task(_notify(http)) for http in (one, other)]
            await asyncio.sleep(1.5)  # what the enrolments had to tell is sealed and told
            held = [asyncio.create_task(_notify(http)) for http in (one, other)]
            await asyncio.sleep(0.3)
            for each in waiting:
                each.cancel()

            hub.record("timetable_slot", {"school": 17, "slot": "x", "subject": "数学"})

            async with asyncio.timeout(5):
                assert await held[0] == 200
            await asyncio.sleep(1.0)
            assert not held[1].done()
            held[1].cancel()


async def test_a_school_has_only_so_many_exchanges_under_way(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        finish = asyncio.Event()
        async with hub.session(identity) as http:
            slow = [
                asyncio.create_task(_post_slowly(http, finish))
                for _ in range(CALLS_OF_A_SCHOOL_MAX)
            ]
            await asyncio.sleep(0.5)
            async with http.post("/sync/exchange", data=b"x") as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "5")
            finish.set()
            assert await asyncio.gather(*slow) == [400] * CALLS_OF_A_SCHOOL_MAX
            async with http.post("/sync/exchange", data=b"x") as response:
                assert response.status == 400


async def test_a_crowd_is_asked_for_less_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path)
        with box_session(identity, tmp_path, hub.now_ms) as session:
            async with hub.session(identity) as http:
                calm = await exchange(http, session)
                assert (calm.credit_bytes, calm.retry_after_ms) == (CREDIT_BYTES, 0)
                monkeypatch.setattr(exchange_api, "CALM_CALLS", 0)
                crowded = await exchange(http, session)
                assert crowded.credit_bytes == FIRST_BYTES_MAX
                assert crowded.retry_after_ms > 0


async def _notify(http: aiohttp.ClientSession) -> int:
    async with http.get("/sync/notify") as response:
        return response.status


async def _post_slowly(http: aiohttp.ClientSession, finish: asyncio.Event) -> int:
    async def body() -> AsyncIterator[bytes]:
        yield b""
        await finish.wait()
        yield b"x"

    async with http.post("/sync/exchange", data=body()) as response:
        return response.status


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
