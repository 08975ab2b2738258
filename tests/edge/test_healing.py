"""What a flagship lost comes back when the line bears it, and never at the lesson's cost."""

import random
from pathlib import Path

import aiohttp

from edge.lesson.transfer.healing import Healing
from edge.lesson.transfer.hub_link import HubRoute
from sync.lessons.fragment_exchange import Holdings, StreamHoldings, TakeHoldings
from sync.lessons.fragment_log import SIGNATURES, TakeId
from sync.lessons.fragment_sealing import TakeSealer
from sync.lessons.fragment_shelf import LessonShelf
from tests.edge.lesson_bench import KEY, LESSON, SIGNING, free_port

TAKE = TakeId(b"take-one")


async def test_a_hub_that_gives_nothing_back_does_not_end_the_link_of_the_lesson(
    tmp_path: Path,
) -> None:
    shelf = LessonShelf(tmp_path)
    store = shelf.take(LESSON, TAKE)
    store.append(TakeSealer(LESSON, TAKE, KEY).seal_init(1, "video/mp4", b"init", 0))
    signatures = StreamHoldings(kind=SIGNATURES.kind, track=SIGNATURES.track, have=[(0, 0)])
    held = TakeHoldings(take=TAKE.hex(), started_ms=0, final=True, streams=[signatures])
    holdings = Holdings(durable=True, current=None, media_age_ms=None, takes=[held])
    async with aiohttp.ClientSession() as session:
        route = HubRoute(session, f"http://127.0.0.1:{free_port()}", random.Random(1))
        healing = Healing(LESSON, shelf, route, SIGNING)
        await healing.heal(holdings, [])
    assert not store.final  # signed once what the hub has is here again
    assert not healing.is_over(holdings, [])
    shelf.close()
