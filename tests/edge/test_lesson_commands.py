"""``schoolnode lesson``, asked of a daemon's socket."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from edge.command_line import app
from edge.control import tell_errors
from edge.control_client import SOCKET
from edge.errors import BoxSetupError
from edge.lesson.recordings.recording_desk import RecordingDesk
from tests.edge.pages.recorded_lesson import hold_lesson, minutes_of, record_lesson, sign
from tests.edge.pages.simulated_box import FLAGSHIP, SCHOOL, SimulatedBox

CONFIG = 'folder = "."\n[network]\ninterface = "127.0.0.1/30"\n'


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[SimulatedBox]:
    """A box whose control socket answers about its recordings."""
    made = SimulatedBox(tmp_path / "box.sqlite")
    hold_lesson(made)
    (tmp_path / "box.toml").write_text(CONFIG)
    desk = web.Application(middlewares=[tell_errors])
    RecordingDesk(made.recordings).add_routes(desk)
    runner = web.AppRunner(desk)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / SOCKET)).start()
    yield made
    await runner.cleanup()
    made.shelf.close()


async def run(box: SimulatedBox, *words: str) -> Result:
    command = [*words, "--config", str(box.path.parent / "box.toml")]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def test_lessons_are_listed_and_shown(box: SimulatedBox) -> None:
    record_lesson(box, without=range(10, 20))
    for school in (FLAGSHIP, SCHOOL):
        sign(box, minutes_of(box, school))
    listed = await run(box, "lesson", "list")
    assert "a1" in listed.output
    assert "Circumference" in listed.output
    shown = await run(box, "lesson", "show", "a1")
    assert "missing: track 2" in shown.output
    assert minutes_of(box, SCHOOL).digest.hex()[:16] in shown.output
    told = json.loads((await run(box, "lesson", "show", "a1", "--json")).output)
    assert [party["signed"] for party in told["minutes"]] == [True, True]


async def test_a_recording_is_written_as_a_file_and_nothing_half_is_left(
    box: SimulatedBox, tmp_path: Path
) -> None:
    record_lesson(box)
    path = tmp_path / "lesson.mp4"
    written = await run(box, "lesson", "export", "a1", "--to", str(path))
    assert written.exit_code == 0, written.output
    assert path.read_bytes()[4:8] == b"ftyp"
    sound = await run(box, "lesson", "export", "a1", "--to", f"{path}.2", "--picture", "2")
    assert "is no picture" in str(sound.exception)
    again = await run(box, "lesson", "export", "a1", "--to", str(path))
    assert isinstance(again.exception, BoxSetupError)
    assert "is there already" in str(again.exception)
    record_lesson(box)  # another file: what was looked through is not shown again
    box.lesson_keys.clear()
    sealed = await run(box, "lesson", "export", "a1", "--to", str(tmp_path / "other.mp4"))
    assert "ask the flagship to grant it" in str(sealed.exception)
    assert not [name for name in os.listdir(tmp_path) if "other" in name]  # noqa: PTH208 - in a coroutine


async def test_what_nobody_knows_is_refused_with_the_remedy(box: SimulatedBox) -> None:
    for words in (("show", "a2"), ("show", "../a1"), ("keep", "a2")):
        refused = await run(box, "lesson", *words)
        assert isinstance(refused.exception, BoxSetupError), words
        assert "look at" in str(refused.exception)


async def test_a_recording_is_protected_and_let_go(box: SimulatedBox) -> None:
    record_lesson(box)
    assert "stays until" in (await run(box, "lesson", "keep", "a1")).output
    assert "protected" in (await run(box, "lesson", "list")).output
    await run(box, "lesson", "keep", "a1", "--undo")
    assert "protected" not in (await run(box, "lesson", "list")).output
