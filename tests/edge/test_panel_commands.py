"""``schoolnode panels`` over the box's socket: what people type and read."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from drivers.errors import DriverError
from edge.control_client import SOCKET
from edge.errors import BoxSetupError
from edge.pages.access import Handler
from edge.panel_commands import panels_app
from edge.panels.board_desk import BoardDesk
from edge.panels.plan import Relock
from tests.drivers.serial_bench import running
from tests.edge.test_board_office import School


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (DriverError, BoxSetupError) as error:
        return web.json_response({"error": str(error)}, status=409)


@pytest.fixture
async def school(tmp_path: Path) -> AsyncIterator[School]:
    """A box with one board that is unplugged, and its socket."""
    school = School(tmp_path)
    school.adopt("board:301", "r301", 22_331)
    app = web.Application(middlewares=[tell_errors])
    BoardDesk(school.office).add_routes(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / SOCKET)).start()
    async with running(school.office.run()):
        yield school
    await runner.cleanup()


async def run(school: School, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr("edge.panel_commands.load_config", lambda _: school)
    return await asyncio.to_thread(CliRunner().invoke, panels_app, words)


async def test_each_boards_result_is_printed_and_a_failure_is_an_exit_code(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await run(school, monkeypatch, "tell", "power", "off", "--room", "r3*")
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == "power off"
    assert "board:301: failed not reachable" in result.output
    result = await run(school, monkeypatch, "tell", "power", "off", "--json")
    assert json.loads(result.output)["results"]["board:301"]["outcome"] == "failed"


async def test_a_daily_order_is_entered_listed_and_forgotten(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await run(school, monkeypatch, "daily", "evening", "18:00", "power", "off")
    assert result.output == "evening: each day at 18:00, 1 boards.\n"
    assert "evening: 18:00 power off (*)" in (await run(school, monkeypatch, "list")).output
    await run(school, monkeypatch, "forget", "evening")
    assert not school.office.plan.plan.dailies
    for_nobody = await run(
        school, monkeypatch, "daily", "x", "18:00", "power", "off", "--room", "9"
    )
    assert "No board is adopted in these rooms yet" in for_nobody.output


async def test_an_unlocked_board_is_listed_with_the_time_of_its_locking(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = await run(school, monkeypatch, "unlock", "board:301", "--minutes", "45")
    assert result.exit_code == 1
    assert "board:301: failed not reachable so far; done later" in result.output
    at_ms = school.clock_ms + 45 * 60_000
    assert school.office.plan.plan.relocks == (Relock(device="board:301", at_ms=at_ms),)
    assert "board:301: locks again at" in (await run(school, monkeypatch, "list")).output


@pytest.mark.parametrize(
    "words", [("tell", "power", "off", "--room", "r9*"), ("daily", "x", "25:00", "power", "off")]
)
async def test_what_cannot_be_is_an_error(
    school: School, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    result = await run(school, monkeypatch, *words)
    assert result.exit_code != 0
    assert not school.office.runs
