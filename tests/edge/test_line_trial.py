"""The way to the hub is tried before a lesson: bounded on both ends, for its parties alone."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from edge.lesson.preparing import line_trial
from edge.lesson.preparing.line_trial import TRIAL_BYTES, try_line
from edge.lesson.preparing.preflight import LineFacts
from edge.lesson.transfer.hub_link import HubRoute
from edge.pages.box_view import LessonRole
from hub.lesson import line_trial as hub_trial
from hub.lesson.line_trial import TRIALS_MAX, LineTrial
from sync.lessons.fragment_log import LessonId
from tests.loopback import free_port

LESSON = LessonId("a1")
NOISE = random.Random(1).randbytes(TRIAL_BYTES)


class Parties:
    """School 17 gives lesson a1 and 18 takes it."""

    def may_publish(self, school: int, lesson: str) -> bool:
        return (school, lesson) == (17, LESSON)

    def may_receive(self, school: int, lesson: str) -> bool:
        return school in {17, 18} and lesson == LESSON


def school_of(request: web.Request) -> int:
    return int(request.headers["X-School"])


@pytest.fixture
async def hub() -> AsyncIterator[TestServer]:
    app = web.Application()
    LineTrial(Parties(), school_of, random.Random(2).randbytes).add_routes(app)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@asynccontextmanager
async def route(url: str, school: int) -> AsyncIterator[HubRoute]:
    async with aiohttp.ClientSession(headers={"X-School": f"{school}"}) as session:
        yield HubRoute(session, url.rstrip("/"), random.Random(1))


@pytest.mark.parametrize(("school", "role"), [(17, LessonRole.FLAGSHIP), (18, LessonRole.RECEIVER)])
async def test_each_end_learns_what_its_way_carries(
    hub: TestServer, school: int, role: LessonRole
) -> None:
    async with route(str(hub.make_url("")), school) as way:
        found = await try_line(way, LESSON, role, NOISE)
    assert found.fault == ""
    assert found.bits_a_s is not None
    assert found.bits_a_s > 1_000_000


@pytest.mark.parametrize(("school", "lesson"), [(19, LESSON), (18, LessonId("b2"))])
async def test_a_school_without_a_part_is_refused(
    hub: TestServer, school: int, lesson: LessonId
) -> None:
    async with route(str(hub.make_url("")), school) as way:
        found = await try_line(way, lesson, LessonRole.RECEIVER, NOISE)
    assert found == LineFacts(fault="The hub refuses the trial of the line (403).")


async def test_a_school_tries_its_line_so_often_and_no_more(hub: TestServer) -> None:
    async with route(str(hub.make_url("")), 18) as way:
        url = f"{way.url}/lessons/{LESSON}/line"
        statuses = []
        for _ in range(TRIALS_MAX + 1):
            async with way.session.post(url, data=b"x") as answer:
                statuses.append(answer.status)
    assert statuses == [204] * TRIALS_MAX + [429]


async def test_the_hub_takes_no_more_than_a_trial(hub: TestServer) -> None:
    async with route(str(hub.make_url("")), 17) as way:
        url = f"{way.url}/lessons/{LESSON}/line"
        async with way.session.post(url, data=NOISE + b"x") as answer:
            assert answer.status == 413


async def test_a_line_that_is_too_slow_for_a_trial_ends_it_and_is_no_fault_of_the_hub(
    hub: TestServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub_trial, "TRIAL_S_MAX", 0.05)

    async def drip() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    async with route(str(hub.make_url("")), 17) as way:
        with pytest.raises(aiohttp.ClientError):
            await way.session.post(f"{way.url}/lessons/{LESSON}/line", data=drip())
        monkeypatch.undo()
        async with way.session.post(f"{way.url}/lessons/{LESSON}/line", data=b"x") as answer:
            assert answer.status == 204
    assert not caplog.records


async def test_who_finds_every_turn_taken_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_trial, "TRIAL_S_MAX", 0.05)
    monkeypatch.setattr(hub_trial, "AT_ONCE_MAX", 0)
    app = web.Application()
    LineTrial(Parties(), school_of, random.Random(2).randbytes).add_routes(app)
    async with (
        TestServer(app) as server,
        route(str(server.make_url("")), 18) as way,
        way.session.get(f"{way.url}/lessons/{LESSON}/line") as answer,
    ):
        assert answer.status == 503


async def test_a_hub_that_is_away_is_told_as_that() -> None:
    async with route(f"http://127.0.0.1:{free_port()}", 18) as way:
        found = await try_line(way, LESSON, LessonRole.RECEIVER, NOISE)
    assert found.bits_a_s is None
    assert found.fault.startswith("The hub cannot be reached: ")


async def test_a_hub_that_sends_without_end_is_left_after_a_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_trial, "TRIAL_S_MAX", 5.0)

    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(bytes(65536))

    app = web.Application()
    app.router.add_get("/lessons/{lesson}/line", flood)
    async with TestServer(app) as server, route(str(server.make_url("")), 18) as way:
        found = await try_line(way, LESSON, LessonRole.RECEIVER, NOISE)
    assert found.bits_a_s is not None


async def test_a_hub_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_trial, "TRIAL_S_MAX", 0.3)
    ended = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/lessons/{lesson}/line", silent)
    async with TestServer(app) as server, route(str(server.make_url("")), 18) as way:
        found = await try_line(way, LESSON, LessonRole.RECEIVER, NOISE)
        ended.set()
    assert found == LineFacts(fault="The hub did not answer within 0 s.")
