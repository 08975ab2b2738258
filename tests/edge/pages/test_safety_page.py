"""The page of the school's safety: who may see and do what, in both languages."""

from collections.abc import AsyncIterator

import pytest

from edge.pages.box_view import Light, Sign
from edge.safety.circuits import CircuitState
from tests.drivers.serial_bench import running, until
from tests.edge.adopted_devices import CONTACTS, contact_board, contact_reading
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox

PANIC = {
    "kind": "panic",
    "name": "门卫室按钮",
    "place": f"input_1 {CONTACTS}",
    "active": "closed",
    "siren": "1",
    "test_days": "30",
    "hours": "",
    "partner": "",
}


@pytest.fixture
async def guarded(box: SimulatedBox) -> AsyncIterator[SimulatedBox]:
    """A box with a contact board that nobody plugged in, and its safety office at work."""
    box.hang_up(contact_board(box.path.parent / "nobody"), Light.GOOD, Sign.ANSWERED)
    await box.safety.load()
    async with running(box.safety.run()):
        yield box


def read(box: SimulatedBox, word: str, point: str = "input_1") -> None:
    box.safety.take(contact_reading(word, box.now_ms(), point))


async def shown(client: Client, language: str = "en") -> str:
    answer = await client.get("/safety", headers={"Accept-Language": language})
    assert answer.status == 200
    return await answer.text()


async def press(staff: Client, box: SimulatedBox) -> str:
    """Watch the button, press it, and return the incident's name."""
    assert (await staff.post("/safety/circuit", data=PANIC)).status == 200
    read(box, "open")
    read(box, "closed")
    await until(lambda: bool(box.safety.incidents()))
    return box.safety.incidents()[0].incident


async def test_the_code_leads_back_to_the_page(client: Client) -> None:
    answer = await client.post(
        "/setup/session", data={"code": SETUP_CODE, "next": "/safety"}, allow_redirects=False
    )
    assert answer.headers["Location"] == "/safety"


async def test_everybody_sees_what_stands_and_only_staff_who_took_it_over(
    staff: Client, client: Client, guarded: SimulatedBox
) -> None:
    name = await press(staff, guarded)
    answer = await staff.post("/safety/acknowledge", data={"incident": name, "who": "李老师"})
    assert answer.status == 200
    assert "李老师" in await shown(staff)
    client.session.cookie_jar.clear()
    page = await shown(client)
    assert "门卫室按钮" in page
    assert "李老师" not in page
    assert "<form" in page, "the code may be entered"
    assert "/safety/close" not in page


async def test_without_the_code_nothing_is_changed(client: Client, guarded: SimulatedBox) -> None:
    fields = {**PANIC, "incident": "x", "who": "x", "circuit": "x", "minutes": "5"}
    for path in (
        *("acknowledge", "close", "real", "mark", "drill"),
        *("test", "tone", "circuit", "remove"),
    ):
        assert (await client.post(f"/safety/{path}", data=fields)).status == 403
    assert guarded.safety.circuits() == []
    assert guarded.safety.drill() is None


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("panic button", "taken over", "All-clear", "siren not switched")),
        ("zh-CN", ("紧急按钮", "已有人处理", "解除警报", "警报器未能动作")),
    ],
)
async def test_an_alarm_reads_well_from_raised_to_all_clear(
    staff: Client, guarded: SimulatedBox, language: str, words: tuple[str, ...]
) -> None:
    siren = {**PANIC, "kind": "siren", "place": f"output_1 {CONTACTS}", "active": "on", "siren": ""}
    assert (await staff.post("/safety/circuit", data=siren)).status == 200
    name = await press(staff, guarded)
    await until(lambda: len(guarded.safety.incidents()[0].steps) > 1)  # nobody plugged it in
    await staff.post("/safety/acknowledge", data={"incident": name, "who": "李老师"})
    page = await shown(staff, language)
    for word in words:
        assert word in page
    read(guarded, "open")
    await until(
        lambda: guarded.safety.board.state(f"{CONTACTS}/input_1") is not CircuitState.ACTIVE
    )
    answer = await staff.post("/safety/close", data={"incident": name, "who": "李老师"})
    assert answer.status == 200
    assert guarded.safety.incidents() == []


async def test_a_drill_is_begun_marked_and_ended_on_the_page(
    staff: Client, guarded: SimulatedBox
) -> None:
    fields = {"place": "消防演练", "minutes": "20", "who": "王校长"}
    assert (await staff.post("/safety/drill", data=fields)).status == 200
    drill = guarded.safety.drill()
    assert drill is not None
    assert (await staff.post("/safety/drill", data=fields)).status == 409
    mark = {"incident": drill.incident, "who": "王校长", "step": "counted", "detail": "操场"}
    assert (await staff.post("/safety/mark", data=mark)).status == 200
    assert "清点完毕" in await shown(staff, "zh-CN")
    end = {"incident": drill.incident, "who": "王校长"}
    assert (await staff.post("/safety/close", data=end)).status == 200
    assert guarded.safety.drill() is None
    assert "counted, nobody missing" in await shown(staff), "it stays in the list of the past"


async def test_what_does_not_fit_is_refused_with_a_sentence(
    staff: Client, guarded: SimulatedBox
) -> None:
    cases: list[tuple[str, dict[str, str], int]] = [
        ("acknowledge", {"incident": "gone", "who": "x"}, 409),
        ("acknowledge", {"incident": "gone"}, 400),
        ("mark", {"incident": "gone", "who": "x", "step": "teleported"}, 400),
        ("test", {"who": "x", "minutes": "31"}, 400),
        ("test", {"who": "x", "minutes": "3"}, 409),
        ("drill", {"who": "x", "place": "x", "minutes": "0"}, 400),
        ("circuit", {**PANIC, "hours": "25:00-06:00"}, 400),
        ("circuit", {**PANIC, "place": "input_1 nobody"}, 409),
        ("circuit", {**PANIC, "partner": "input_2 another:1"}, 400),
        ("circuit", {**PANIC, "kind": "cannon"}, 400),
        ("tone", {"circuit": "nobody"}, 409),
        ("remove", {"circuit": "nobody"}, 409),
    ]
    for path, fields, status in cases:
        answer = await staff.post(f"/safety/{path}", data=fields)
        assert answer.status == status, (path, fields)
        assert 'role="alert"' in await answer.text()
    assert guarded.safety.circuits() == []


async def test_trying_a_button_is_shown_as_tried(staff: Client, guarded: SimulatedBox) -> None:
    await staff.post("/safety/circuit", data=PANIC)
    read(guarded, "open")
    assert "due" in await shown(staff)
    fields = {"who": "李老师", "minutes": "5", "circuit": f"{CONTACTS}/input_1"}
    assert (await staff.post("/safety/test", data=fields)).status == 200
    assert "it raises no alarm" in await shown(staff)
    read(guarded, "closed")
    await until(lambda: guarded.safety.circuits()[0].tested is not None)
    assert guarded.safety.incidents() == []
    assert (
        await staff.post("/safety/remove", data={"circuit": f"{CONTACTS}/input_1"})
    ).status == 200
    assert guarded.safety.circuits() == []
