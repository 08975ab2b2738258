"""A lesson's slides reach the pages of its room, and no other's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge.lesson.classroom.slide_desk import SlideDesk
from edge.lesson.teaching.materials import Materials
from edge.pages.box_view import LessonRole
from tests.edge.lesson_bench import LESSON
from tests.edge.planned_lesson import party, planned_lesson

ROOM = "三年级"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)
Client = TestClient[web.Request, web.Application]


@pytest.fixture
def materials(tmp_path: Path) -> Materials:
    return Materials(tmp_path / "materials")


@pytest.fixture
async def client(materials: Materials) -> AsyncIterator[Client]:
    lesson = planned_lesson(LESSON, 0, 60_000, party(2, LessonRole.RECEIVER, ROOM))
    desk = SlideDesk(
        materials, lambda: {LESSON: lesson}, lambda room: lesson if room == ROOM else None
    )
    app = web.Application()
    app.router.add_get("/classroom/materials/{digest}", desk.serve)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_slide_is_served_to_its_room_once_it_is_whole(
    client: Client, materials: Materials
) -> None:
    digest = materials.add(LESSON, 1, "Circle", PICTURE).digest.hex()
    for query in ({"room": ROOM}, {"room": ROOM, "lesson": LESSON}):
        answer = await client.get(f"/classroom/materials/{digest}", params=query)
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert await answer.read() == PICTURE
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("digest", "query"),
    [
        ("../../secret", {"room": ROOM}),
        ("0" * 63 + "G", {"room": ROOM}),
        (None, {"room": "another"}),
        (None, {"room": "another", "lesson": LESSON}),
        (None, {"room": ROOM, "lesson": "another"}),
        (None, {}),
    ],
)
async def test_what_is_not_this_rooms_slide_is_not_found(
    client: Client, materials: Materials, digest: str | None, query: dict[str, str]
) -> None:
    known = materials.add(LESSON, 1, "Circle", PICTURE).digest.hex()
    answer = await client.get(f"/classroom/materials/{digest or known}", params=query)
    assert answer.status == 404


async def test_a_slide_that_has_not_come_yet_is_no_error(client: Client) -> None:
    answer = await client.get(f"/classroom/materials/{'0' * 64}", params={"room": ROOM})
    assert (answer.status, answer.headers["Cache-Control"]) == (204, "no-store")
