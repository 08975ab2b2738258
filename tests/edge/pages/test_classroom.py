"""The classroom page: reachable without a touch, clear where there is nothing to join."""

from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox

SCRIPT = "<script>alert(1)</script>"


async def test_the_page_needs_no_login_and_loads_the_player(client: Client) -> None:
    answer = await client.get("/classroom?room=r301")
    page = await answer.text()
    assert answer.status == 200
    assert "/static/player.js?v=" in page
    assert "It begins by itself. Nobody has to touch anything." in page


async def test_a_room_without_a_lesson_says_what_happens_next(client: Client) -> None:
    page = await (await client.get("/classroom?room=r302")).text()
    assert "No lesson is planned in this room" in page
    assert "it joins the next lesson by itself" in page


async def test_an_unknown_room_offers_the_known_ones(client: Client) -> None:
    answer = await client.get("/classroom?room=r999")
    assert answer.status == 404
    assert 'href="/classroom?room=r302"' in await answer.text()


async def test_a_rooms_name_stays_text(client: Client, box: SimulatedBox) -> None:
    box.insert("room", room='"><script>', name=SCRIPT)
    answer = await client.get("/classroom", params={"room": '"><script>'})
    page = await answer.text()
    assert answer.status == 200
    assert "<script>" not in page
    assert '"&gt;' not in page
