import asyncio
import threading
from pathlib import Path

import pytest

from drivers.entities import DeviceId
from drivers.errors import SetupError
from edge.errors import BoxSetupError
from edge.notebook import Notebook
from provisioning.durable_file import write_private

BOARD = DeviceId("pjlink:02:00:00:00:00:01")
CAMERA = DeviceId("onvif:serial:SIM1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notebook.json"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def inode(path: Path) -> int:
    return path.stat().st_ino


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


async def test_what_is_noted_outlives_the_daemon_and_is_private(path: Path) -> None:
    notebook = Notebook(path)
    await notebook.keep_password(CAMERA, "admin:secret")
    await notebook.keep_wishes(BOARD, {"power": "on", "source": "31"})

    again = Notebook(path)

    assert again.password(CAMERA) == "admin:secret"
    assert dict(again.wishes(BOARD)) == {"power": "on", "source": "31"}
    assert mode(path) == 0o600


async def test_wishes_keep_the_order_in_which_they_were_made(path: Path) -> None:
    notebook = Notebook(path)
    await notebook.keep_wishes(BOARD, {"power": "on", "source": "31"})
    await notebook.keep_wishes(BOARD, {"source": "31", "power": "on"})
    assert list(Notebook(path).wishes(BOARD)) == ["source", "power"]


async def test_changes_at_once_leave_both(path: Path) -> None:
    notebook = Notebook(path)
    await asyncio.gather(
        notebook.keep_password(BOARD, "x"),
        notebook.keep_wishes(BOARD, {"power": "on"}),
        notebook.keep_password(CAMERA, "y"),
    )
    again = Notebook(path)
    assert (again.password(BOARD), dict(again.wishes(BOARD))) == ("x", {"power": "on"})
    assert again.password(CAMERA) == "y"


async def test_nothing_is_written_when_nothing_changes(path: Path) -> None:
    notebook = Notebook(path)
    await notebook.keep_wishes(BOARD, {})
    assert content(path) == b""
    await notebook.keep_wishes(BOARD, {"power": "on"})
    written = inode(path)
    await notebook.keep_wishes(BOARD, {"power": "on"})
    assert inode(path) == written


async def test_a_released_device_leaves_no_password_behind(path: Path) -> None:
    notebook = Notebook(path)
    await notebook.keep_password(CAMERA, "admin:secret")
    await notebook.forget(CAMERA)
    assert b"secret" not in content(path)
    assert Notebook(path).password(CAMERA) is None


async def test_a_disk_that_refuses_leaves_the_note_as_it_was(path: Path) -> None:
    notebook = Notebook(path)
    await notebook.keep_password(CAMERA, "old")
    path.with_name(".notebook.json.new").mkdir()
    with pytest.raises(SetupError, match="cannot be written"):
        await notebook.keep_password(CAMERA, "new")
    assert notebook.password(CAMERA) == "old"


def test_a_damaged_notebook_names_what_to_do(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_text('{"x": {"password": 7}}')
    with pytest.raises(BoxSetupError, match="enter the devices' passwords again"):
        Notebook(path)


async def test_a_change_whose_caller_is_cancelled_is_neither_lost_nor_written_over_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(target: Path, content: bytes) -> None:
        if not begun.is_set():
            begun.set()
            goes_on.wait(10)
        write_private(target, content)

    monkeypatch.setattr("edge.private_file.write_private", slow)
    notebook = Notebook(path)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(notebook.keep_password(BOARD, "x"))
        await asyncio.to_thread(begun.wait, 10)
        first.cancel()
        await asyncio.wait([first])
        second = tasks.create_task(notebook.keep_password(CAMERA, "y"))
        await asyncio.sleep(0)  # the second waits for the disk, which still has the first
        goes_on.set()
        await second
    again = Notebook(path)
    assert (again.password(BOARD), again.password(CAMERA)) == ("x", "y")
    assert list(path.parent.iterdir()) == [path]


async def test_a_school_of_many_devices_can_be_read_again(path: Path) -> None:
    notebook = Notebook(path)
    for number in range(12):
        await notebook.keep_facts(DeviceId(f"adms:{number}"), {"people": "x" * 8_000})
    assert Notebook(path).facts(DeviceId("adms:0")) == {"people": "x" * 8_000}


async def test_more_than_can_be_read_again_is_refused(path: Path) -> None:
    notebook = Notebook(path)
    with pytest.raises(SetupError, match="larger than 1 MiB"):
        await notebook.keep_facts(BOARD, {"people": "x" * 2_000_000})
    assert not notebook.facts(BOARD)
