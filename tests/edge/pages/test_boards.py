"""The page of all blackboards: who may tell them, what came of it, and what the clock does."""

import pytest

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from edge.devices.adopted import AdoptedDevice
from edge.pages.box_view import CommandChoice, Light, Sign
from tests.drivers.serial_bench import running, until
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SETUP_CODE, SimulatedBox


def hang_up_board(box: SimulatedBox, name: str, room: str) -> None:
    """Adopt a board that nobody plugged in."""
    box.hang_up(
        AdoptedDevice(
            device=DeviceId(name),
            kind=DeviceKind.BLACKBOARD,
            name=f"Board {room}",
            profile="samsung-mdc",
            address="tcp://127.0.0.1:1?unit=1",
            room=room,
        ),
        Light.BAD,
        Sign.LINK_LOST,
    )


async def read(client: Client, language: str = "en") -> str:
    answer = await client.get("/boards", headers={"Accept-Language": language})
    return await answer.text()


async def test_without_the_code_nothing_is_shown_and_nothing_told(
    client: Client, box: SimulatedBox
) -> None:
    hang_up_board(box, "board:1", "r301")
    page = await read(client)
    assert "Board r301" not in page
    answer = await client.post("/boards/tell", data={"told": "power off"})
    assert answer.status == 403
    assert not box.boards.runs


async def test_the_code_leads_back_to_the_boards(client: Client) -> None:
    answer = await client.post(
        "/setup/session", data={"code": SETUP_CODE, "next": "/boards"}, allow_redirects=False
    )
    assert answer.headers["Location"] == "/boards"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Tell all boards", "failed", "not reachable so far; done later", "1 of 1 boards")),
        ("zh-CN", ("黑板", "未成功", "尚未联系上", "1 块黑板")),
    ],
)
async def test_what_came_of_an_order_stands_board_by_board(
    staff: Client, box: SimulatedBox, language: str, words: tuple[str, ...]
) -> None:
    hang_up_board(box, "board:1", "r301")
    assert 'value="power off"' in await read(staff)
    async with running(box.boards.run()):
        answer = await staff.post("/boards/tell", data={"told": "power off", "rooms": "r3*"})
        assert answer.status == 200
        await until(box.boards.runs[0].done.is_set)
    page = await read(staff, language)
    for word in words:
        assert word in page
    assert box.boards.runs[0].who.startswith("setup code from")


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("tell", {"told": "power"}, 400),
        ("tell", {"told": "power off", "rooms": "r9*"}, 409),
        ("unlock", {"device": "board:1", "minutes": "0"}, 400),
        ("unlock", {"device": "board:9", "minutes": "5"}, 409),
        ("daily", {"name": "x", "at": "25:00", "told": "power off"}, 400),
    ],
)
async def test_what_cannot_be_told_is_refused_with_a_word(
    staff: Client, box: SimulatedBox, path: str, fields: dict[str, str], status: int
) -> None:
    hang_up_board(box, "board:1", "r301")
    answer = await staff.post(f"/boards/{path}", data=fields)
    assert answer.status == status
    assert 'role="alert"' in await answer.text()
    assert not box.boards.plan.plan.dailies


async def test_a_lock_is_opened_for_a_while_and_a_day_has_its_order(
    staff: Client, box: SimulatedBox
) -> None:
    hang_up_board(box, "board:1", "r301")
    answer = await staff.post("/boards/unlock", data={"device": "board:1", "minutes": "45"})
    assert "It is not unlocked: the board did not take it." in await answer.text()
    (relock,) = box.boards.plan.plan.relocks
    assert relock.at_ms == box.now_ms() + 45 * 60_000
    assert "locks again at" in await read(staff)
    daily = {"name": "evening", "at": "18:00", "told": "power off", "rooms": "r3* r4*"}
    await staff.post("/boards/daily", data=daily)
    assert box.boards.plan.plan.dailies[0].rooms == ("r3*", "r4*")
    assert "evening" in await read(staff)
    await staff.post("/boards/forget", data={"name": "evening"})
    assert not box.boards.plan.plan.dailies


@pytest.mark.parametrize(
    ("language", "rooms", "said", "count"),
    [
        ("en", "r3*", "Entered: the boards are told each day at this time.", "1 board"),
        ("en", "r9*", "Entered. No board is adopted in these rooms", "no board in these rooms yet"),
        ("zh-CN", "", "每天到时执行。", "1 块黑板"),
        ("zh-CN", "r9*", "已登记。这些教室还没有纳管的黑板", "这些教室还没有黑板"),
    ],
)
async def test_a_daily_order_is_answered_in_its_own_words_and_tells_whom_it_finds(
    staff: Client, box: SimulatedBox, language: str, rooms: str, said: str, count: str
) -> None:
    hang_up_board(box, "board:1", "r301")
    spoken = {"Accept-Language": language}
    daily = {"name": "evening", "at": "18:00", "told": "power off", "rooms": rooms}
    page = await (await staff.post("/boards/daily", data=daily, headers=spoken)).text()
    assert said in page
    assert count in page
    assert "came of it stands at the device" not in page
    assert "结果见该设备" not in page
    answer = await staff.post("/boards/forget", data={"name": "evening"}, headers=spoken)
    assert {"en": "told so no more", "zh-CN": "已删除"}[language] in await answer.text()
    assert count not in await read(staff, language)


async def test_a_volume_is_a_number_within_its_range_on_the_device(
    staff: Client, box: SimulatedBox
) -> None:
    hang_up_board(box, "board:1", "r301")
    answer = await staff.get("/")
    assert 'type="number" min="0" max="100"' in await answer.text()
    volume = {"device": "board:1", "command": "volume"}
    assert (await staff.post("/setup/command", data={**volume, "argument": "101"})).status == 409
    assert (await staff.post("/setup/command", data={**volume, "argument": "30"})).status == 200
    assert box.told[-1][:4] == ("command", "board:1", "volume", "30")


@pytest.mark.parametrize(
    ("argument", "takes"), [("0", True), ("100", True), ("101", False), ("x", False), (None, False)]
)
def test_a_range_takes_its_numbers_only(argument: str | None, takes: bool) -> None:
    assert CommandChoice(command="volume", low=0, high=100).takes(argument) is takes
