"""The teacher's wall and the classes' three touches: who may, how often, and what is said."""

from dataclasses import dataclass, field

import pytest

from edge.errors import NotNowError
from edge.lesson.way_back.return_path import AskedByTeacher, Said
from edge.pages.class_touch import TOUCHES_MAX
from sync.lessons.lesson_events import Answer, Hand, Help
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox

ROOM = "r301"
TOUCHES = {
    "hand": ({"room": ROOM, "raised": True}, Hand(raised=True)),
    "answer": ({"room": ROOM, "question": "q1", "choice": 2}, Answer(question="q1", choice=2)),
    "help": ({"room": ROOM, "wanted": False}, Help(wanted=False)),
}


@dataclass
class Back:
    """Hears what a class says, or has a reason not to."""

    trouble: str = ""
    refusal: str = ""
    heard: list[Said] = field(default_factory=list)
    asked: AskedByTeacher | None = None

    async def say(self, said: Said) -> None:
        if self.refusal:
            raise NotNowError(self.refusal)
        self.heard.append(said)


@dataclass
class Received:
    back: Back = field(default_factory=Back)


@pytest.fixture
def back(box: SimulatedBox) -> Back:
    received = Received()
    box.receiving[ROOM] = received
    return received.back


async def test_a_class_says_it_without_signing_in(client: Client, back: Back) -> None:
    for what, (wish, _) in TOUCHES.items():
        assert (await client.post(f"/api/classroom/{what}", json=wish)).status == 204
    assert back.heard == [said for _, said in TOUCHES.values()]


async def test_where_no_lesson_goes_on_a_class_is_told_so(client: Client) -> None:
    for what, (wish, _) in TOUCHES.items():
        answer = await client.post(f"/api/classroom/{what}", json=wish)
        assert answer.status == 409
        assert "nobody hears it" in (await answer.json())["error"]


async def test_a_class_is_told_why_it_is_not_heard(client: Client, back: Back) -> None:
    back.refusal = "this question is not open any more"
    answer = await client.post("/api/classroom/answer", json=TOUCHES["answer"][0])
    assert (answer.status, await answer.json()) == (409, {"error": back.refusal})
    chinese = await client.post(
        "/api/classroom/hand", json=TOUCHES["hand"][0], headers={"Accept-Language": "zh-CN"}
    )
    assert (await chinese.json())["error"] == "该提问已结束"


NO_TOUCHES: list[tuple[str, object]] = [
    ("hand", {"room": ROOM}),
    ("hand", {"room": ROOM, "raised": 1}),
    ("hand", {"room": "", "raised": True}),
    ("hand", {"room": "x" * 65, "raised": True}),
    ("hand", {"room": ROOM, "raised": True, "school": 3}),
    ("answer", {"room": ROOM, "question": "q1", "choice": 8}),
    ("answer", {"room": ROOM, "question": "q1", "choice": -1}),
    ("answer", {"room": ROOM, "question": "q" * 65, "choice": 0}),
    ("help", {"room": ROOM, "wanted": "yes"}),
    ("help", ["room"]),
]


async def test_what_is_no_touch_is_refused(client: Client, back: Back) -> None:
    for what, wish in NO_TOUCHES:
        assert (await client.post(f"/api/classroom/{what}", json=wish)).status == 400, wish
    assert back.heard == []


async def test_bytes_that_are_no_json_are_refused(client: Client, back: Back) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/classroom/hand", data=b"\xff{", headers=headers)
    assert answer.status == 400
    assert (await client.post("/api/classroom/hand", data={"room": ROOM})).status == 415
    assert back.heard == []


async def test_another_sites_page_raises_nobodys_hand(client: Client, back: Back) -> None:
    answer = await client.post(
        "/api/classroom/hand", json=TOUCHES["hand"][0], headers={"Origin": "https://elsewhere"}
    )
    assert answer.status == 403
    assert back.heard == []


async def test_a_room_that_drums_on_its_screen_is_asked_to_wait_and_others_are_not(
    client: Client, back: Back, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.pages.class_touch.ROOMS_MAX", 3)
    for _ in range(TOUCHES_MAX):
        assert (await client.post("/api/classroom/hand", json=TOUCHES["hand"][0])).status == 204
    drummed = await client.post("/api/classroom/hand", json=TOUCHES["hand"][0])
    assert drummed.status == 429
    assert drummed.headers["Retry-After"] == "10"
    for made_up in ("r302", "r303", "r304", "r305"):
        other = await client.post("/api/classroom/hand", json={"room": made_up, "raised": True})
        assert other.status == 409
    drummed = await client.post("/api/classroom/hand", json=TOUCHES["hand"][0])
    assert drummed.status == 429
    assert len(back.heard) == TOUCHES_MAX


WISHES: dict[str, dict[str, object]] = {
    "call": {"room": ROOM, "school": 18},
    "mute": {"room": ROOM, "school": 18, "muted": True},
    "ask": {"room": ROOM, "text": "?", "choices": ["a", "b"]},
}


async def test_the_wall_is_shut_to_who_has_no_code(client: Client) -> None:
    for path in ("/api/wall", "/lesson/wall/stream"):
        assert (await client.get(f"{path}?room={ROOM}&school=18")).status == 403
    for what, wish in WISHES.items():
        assert (await client.post(f"/api/wall/{what}", json=wish)).status == 403


async def test_where_no_lesson_is_given_nobody_is_called_on(staff: Client) -> None:
    for what, wish in WISHES.items():
        assert (await staff.post(f"/api/wall/{what}", json=wish)).status == 404
        assert (await staff.post(f"/api/wall/{what}", json=wish | {"x": 1})).status == 400


async def test_the_walls_page_asks_for_the_code_and_shows_no_class(client: Client) -> None:
    page = await (await client.get(f"/lesson/wall?room={ROOM}")).text()
    assert "The wall is for the teacher." in page
    assert f"/lesson/remote?room={ROOM}" in page
    assert "wall.js" not in page


async def test_a_room_that_gives_no_lesson_has_an_empty_wall(staff: Client) -> None:
    page = await (await staff.get(f"/lesson/wall?room={ROOM}")).text()
    assert "The wall opens by itself ten minutes before such a lesson." in page
    assert '<meta http-equiv="refresh" content="20">' in page
