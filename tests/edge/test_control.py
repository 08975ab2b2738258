import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner, Result

from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_port import SerialPort
from edge.command_line import app
from edge.control_client import SOCKET, SUN_PATH_MAX, ask_box, ask_daemon
from edge.errors import BoxSetupError, DaemonAwayError
from edge.roster_upload import UPLOAD_BYTES_MAX
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import enrol
from tests.hub.running_hub import Clock
from tests.provisioning.district import make_district


@asynccontextmanager
async def a_box(folder: Path, *ports: Path) -> AsyncIterator[RunningBox]:
    enrol(make_district(folder / "hub", port=9), folder / "box", 17)
    config = daemon_config(folder / "box", ports=ports, network="127.122.5.1/24")
    async with running_box(config, Clock()) as box:
        yield box


async def search(folder: Path, locale: str) -> Result:
    """Search for card readers from a terminal in that language."""
    config = folder / "box.toml"
    config.write_text('folder = "box"\nnetwork.interface = "127.122.5.1/24"\n')
    words = ["discover", "--kind=card_reader", f"--config={config}"]
    terminal = CliRunner(env={"LC_ALL": locale})
    return await asyncio.to_thread(lambda: terminal.invoke(app, words))


async def test_the_socket_is_for_the_folders_owner_alone(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        path = box.config.folder / SOCKET
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await box.ask("GET", "/status"))["school_name"] == "第17小学"


async def test_a_box_in_a_folder_that_lies_deep_is_reached_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a folder of a school with a long name"] * 4)
    deep.mkdir(parents=True)
    async with a_box(deep) as box:
        assert len(bytes(box.config.folder / SOCKET)) > SUN_PATH_MAX
        assert (await box.ask("GET", "/status"))["school_name"] == "第17小学"
    with pytest.raises(DaemonAwayError, match="no daemon runs on"):
        await box.ask("GET", "/status")
    with pytest.raises(DaemonAwayError, match="no daemon runs on"):
        await ask_daemon(deep / "no such box", "GET", "/status")


async def test_what_the_daemon_refuses_comes_as_its_sentence(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        for method, path, wish, told in (
            ("POST", "/adopt", {"identity": "x", "name": "y"}, "not among the devices found"),
            ("POST", "/adopt", {"identity": "x"}, "missing required field `name`"),
            ("POST", "/adopt", {"identity": "x\n", "name": "y"}, "matching"),
            ("POST", "/command", {"device": "x", "command": "power"}, "is not adopted"),
            ("POST", "/partners/18/confirm", {"fingerprint": "00"}, "compare it again"),
            ("GET", "/partners/xviii", None, "digits only"),
            ("GET", "/nowhere", None, "Not Found"),
            ("POST", "/status", {}, "Method Not Allowed"),
        ):
            with pytest.raises(BoxSetupError, match=told):
                await box.ask(method, path, wish)


@pytest.mark.parametrize(
    ("locale", "head"),
    [("C.UTF-8", "Not everything could be searched"), ("zh_CN", "以下端口或网络未能搜索")],
)
async def test_a_search_tells_the_terminal_which_port_another_program_holds(
    tmp_path: Path, locale: str, head: str
) -> None:
    link = PtyLink(tmp_path / "gate")
    other = SerialPort(link.path, LineSettings(baud=9600))
    async with a_box(tmp_path, link.path):
        told = await search(tmp_path, locale)
    other.close()
    assert told.exit_code == 0
    _, _, sentences = told.output.partition(head)
    assert sentences.splitlines()[1].startswith(f"  {link.path} ")


@pytest.mark.parametrize(
    ("locale", "told"),
    [
        ("C.UTF-8", "  not wholly confirmed by a document: input 1, input 2,"),
        ("zh_CN", "  尚未由文档完全证实"),
    ],
)
async def test_a_search_tells_the_terminal_what_no_document_confirms_of_a_model(
    tmp_path: Path, locale: str, told: str
) -> None:
    inputs = Candidate(
        identity="modbus:gate",
        kind=DeviceKind.SAFETY_INPUT,
        address="modbus://127.122.5.9?unit=1",
        name="Contacts",
        profile="input-moxa-e1210",
        evidence=(),
        confidence=0.5,
    )
    async with a_box(tmp_path) as box:
        box.box._finder.note(inputs)
        shown = await search(tmp_path, locale)
    assert any(line.startswith(told) for line in shown.output.splitlines()), shown.output


async def test_a_roster_beyond_the_limit_is_refused_in_words(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        folder = box.config.folder
        with pytest.raises(BoxSetupError, match=r"[Mm]aximum request body size"):
            await _post_roster(folder, bytes(UPLOAD_BYTES_MAX + 10))
        with pytest.raises(BoxSetupError, match="first line must name"):
            await ask_daemon(folder, "POST", "/roster", b"x,y\n")


async def test_without_a_daemon_it_is_said_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(DaemonAwayError, match="schoolnode edge run"):
        await ask_daemon(tmp_path, "GET", "/status")
    with pytest.raises(DaemonAwayError, match="schoolnode edge run"):
        await asyncio.to_thread(ask_box, tmp_path, "GET", "/status")


async def _post_roster(folder: Path, content: bytes) -> None:
    connector = aiohttp.UnixConnector(str(folder / SOCKET))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post("http://box/roster", data=BytesIO(content)) as response,
    ):
        raise BoxSetupError(str((await response.json())["error"]))
