"""What a flagship lost comes back when the line bears it, and never at the lesson's cost."""

import random
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from edge.lesson.transfer.healing import Healing
from edge.lesson.transfer.hub_link import HubRoute
from sync.lessons.fragment_exchange import Holdings, StreamHoldings, TakeHoldings
from sync.lessons.fragment_log import RECORD_BYTES_MAX, SIGNATURES, TakeId
from sync.lessons.fragment_sealing import TakeSealer
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from tests.edge.lesson_bench import KEY, LESSON, SIGNING
from tests.loopback import free_port

TAKE = TakeId(b"take-one")
HELD = Holdings(
    durable=True,
    current=None,
    media_age_ms=None,
    takes=[
        TakeHoldings(
            take=TAKE.hex(),
            started_ms=0,
            final=True,
            streams=[
                StreamHoldings(kind=SIGNATURES.kind, track=SIGNATURES.track, have=[(0, 0)]),
            ],
        )
    ],
)
"""The hub has a signature that is lost here."""


def broken_off(folder: Path) -> tuple[LessonShelf, TakeStore]:
    """Return a shelf with a take that was left open."""
    shelf = LessonShelf(folder)
    store = shelf.take(LESSON, TAKE)
    store.append(TakeSealer(LESSON, TAKE, KEY).seal_init(1, "video/mp4", b"init", 0))
    return shelf, store


async def test_a_hub_that_gives_nothing_back_does_not_end_the_link_of_the_lesson(
    tmp_path: Path,
) -> None:
    shelf, store = broken_off(tmp_path)
    async with aiohttp.ClientSession() as session:
        route = HubRoute(session, f"http://127.0.0.1:{free_port()}", random.Random(1))
        healing = Healing(LESSON, shelf, route, SIGNING)
        await healing.heal(HELD, [])
    assert not store.final  # signed once what the hub has is here again
    assert not healing.is_over(HELD, [])
    shelf.close()


async def test_a_record_that_does_not_end_is_given_up_at_the_size_of_the_largest(
    tmp_path: Path,
) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(bytes(RECORD_BYTES_MAX))
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", flood)
    shelf, store = broken_off(tmp_path)
    async with TestServer(app) as hub, aiohttp.ClientSession() as session:
        route = HubRoute(session, str(hub.make_url("")).rstrip("/"), random.Random(1))
        healing = Healing(LESSON, shelf, route, SIGNING)
        await healing.heal(HELD, [])
    assert store.final
    assert healing.is_over(HELD, [])
    shelf.close()
