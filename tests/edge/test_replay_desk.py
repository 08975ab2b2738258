"""The route by which a page that was cut off asks for the stored lesson."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge.lesson.classroom.replay import WAIT_AFTER_MS, ReplayDesk
from edge.lesson.schedule import PAST, ROOM_AFTER_MS, ScheduledLesson
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import Kind, Stream
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import PICTURE, SOUND
from sync.segments.sealing import DataKey, KeyId, key_id
from tests.edge.lesson_bench import KEY, LESSON
from tests.edge.planned_lesson import party, planned_lesson
from tests.edge.test_replay import BEGAN_MS, FIRST, Given, keep, read, records_of, signatures

ROOM = "三年级"

Client = TestClient[web.Request, web.Application]


class Desk:
    """The route over a shelf, with keys that can be held back."""

    def __init__(self, shelf: LessonShelf) -> None:
        self.keys: dict[KeyId, DataKey] = {key_id(KEY): KEY}
        self.clock_ms = BEGAN_MS
        self.shelf = shelf
        mine = party(2, LessonRole.RECEIVER, ROOM)
        self.lesson = planned_lesson(LESSON, BEGAN_MS, BEGAN_MS + 60_000, mine)
        self.desk = ReplayDesk(
            shelf, lambda: {LESSON: self.lesson}, self._keys_of, lambda: self.clock_ms
        )

    async def _keys_of(self, _: ScheduledLesson) -> Mapping[KeyId, DataKey]:
        return dict(self.keys)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    shelf = LessonShelf(tmp_path / "here")
    yield Desk(shelf)
    shelf.close()


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_get("/classroom/replay", desk.desk.serve)
    async with TestClient(TestServer(app)) as client:
        yield client


QUERY = {
    "room": ROOM,
    "lesson": LESSON,
    "take": FIRST[:4].hex(),
    "after": f"{PICTURE}:9,{SOUND}:9",
    "skip": "",
}


async def asked(client: Client) -> Given:
    """Return what the route gives for ``QUERY``."""
    answer = await client.get("/classroom/replay", params=QUERY)
    assert answer.status == 200
    return read(await answer.read())


async def test_a_rooms_page_is_answered_and_another_rooms_is_not(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    keep(desk.shelf, records_of(tmp_path / "there", FIRST, seconds=3), {})
    assert (await asked(client)).media[SOUND] == list(range(10, 30))
    for wrong, status in (
        ({"room": "四年级"}, 404),
        ({"lesson": "another"}, 404),
        ({"take": "ffffffff"}, 404),
        ({"take": "no take"}, 400),
        ({"after": "1"}, 400),
        ({"skip": "everything"}, 400),
    ):
        refused = await client.get("/classroom/replay", params=QUERY | wrong)
        assert refused.status == status, wrong


async def test_a_lesson_long_past_is_for_who_has_the_code_and_not_for_the_network(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    keep(desk.shelf, records_of(tmp_path / "there", FIRST, seconds=1), {})
    desk.clock_ms = desk.lesson.ends_ms + ROOM_AFTER_MS - 1
    assert (await client.get("/classroom/replay", params=QUERY)).status == 200
    desk.clock_ms += 1
    refused = await client.get("/classroom/replay", params=QUERY)
    assert (refused.status, await refused.text()) == (404, PAST)


async def test_a_key_that_comes_late_opens_the_recording(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    keep(desk.shelf, records_of(tmp_path / "there", FIRST, seconds=3), {})
    desk.keys.clear()
    assert (await client.get("/classroom/replay", params=QUERY)).status == 404
    desk.keys[key_id(KEY)] = KEY
    assert (await client.get("/classroom/replay", params=QUERY)).status == 200


async def test_a_lesson_is_over_when_its_last_take_is_whole_or_nothing_came_for_long(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=1)
    last = signatures(records)[-1]
    keep(desk.shelf, records[:last], {})
    assert not (await asked(client)).head["over"]
    desk.clock_ms = desk.lesson.ends_ms
    held_up = await asked(client)
    assert not held_up.head["over"], "its last signature may be held up by a cut"
    desk.clock_ms += WAIT_AFTER_MS
    assert (await asked(client)).head["over"]
    desk.clock_ms = desk.lesson.ends_ms
    keep(desk.shelf, records[last:], {})
    assert (await asked(client)).head["over"]
    assert desk.shelf.take(LESSON, FIRST).index(Stream(Kind.MEDIA, SOUND)).head == 9


async def test_a_lesson_that_is_written_down_is_over_whatever_is_missing_of_it(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=3)
    last = signatures(records)[-1]
    keep(desk.shelf, records[:last], {PICTURE: range(10, 13), SOUND: range(10, 13)})
    waiting = await asked(client)
    assert (waiting.head["hole"], waiting.head["over"]) == ("sound", False)
    desk.lesson = replace(desk.lesson, done=True)  # its order to end may come later than its end
    given_now = await asked(client)
    assert given_now.media[SOUND][0] == 13
    assert (given_now.head["hole"], given_now.head["over"]) == ("", True)
