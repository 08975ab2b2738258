"""A school without a line, as its people and the hub's see it: a stick goes there and back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge.command_line import app as box_app
from edge.errors import BoxSetupError
from hub.__main__ import app as hub_app
from hub.server import open_hub
from provisioning.box_keys import new_box_keys
from provisioning.claim import read_certificates
from provisioning.enrolment_wire import EnrolmentAnswer, decode
from provisioning.identity import IdentityRecord, store_identity
from sync.courier.stick import FOLDER, file_name
from sync.logs.oplog import Row
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.hub.running_hub import HOST, Clock, RunningHub, hub_config, revoke
from tests.provisioning.district import request_body

SETTLED_S = 20.0


@pytest.fixture
def hub(tmp_path: Path) -> RunningHub:
    """A hub that nobody runs; its commands are given on its folder."""
    port = hub_config(tmp_path / "hub")
    (tmp_path / "hub.toml").write_text(
        f'district = "{port.district}"\ndistrict_name = "江夏区"\nfolder = "hub"\n'
        f'[boxes]\naddress = "{HOST}"\nnames = ["{HOST}"]\n',
        encoding="utf-8",
    )
    return RunningHub(port, Clock())


def enrol(hub: RunningHub, folder: Path, school: int) -> None:
    """Enrol a box as over a line that has gone since."""
    with open_hub(hub.config, hub.now_ms) as parts:
        code = parts.desk.invite(school=school, school_name=f"第{school}小学")
        keys = new_box_keys()
        body = parts.desk.enrol(request_body(code, keys, lan_names=[HOST]), HOST)
        answer = decode(body, EnrolmentAnswer)
        certified, _ = read_certificates(answer.certificates, parts.authority.trust, keys)
        record = IdentityRecord(
            school_name=answer.school_name, hub_host=code.host, hub_port=code.port
        )
        store_identity(folder / "identity", keys, certified, record)


@asynccontextmanager
async def a_box(hub: RunningHub, folder: Path, school: int = 17) -> AsyncIterator[RunningBox]:
    enrol(hub, folder, school)
    config = daemon_config(folder, network="127.122.9.1/24")
    async with running_box(config, hub.now_ms) as box:
        yield box


async def courier(box: RunningBox, errand: str, stick: Path) -> dict[str, Any]:
    await box.ask("POST", "/courier", {"errand": errand, "stick": str(stick)})
    async with asyncio.timeout(SETTLED_S):
        while True:
            state = await box.ask("GET", "/courier")
            if not state["running"]:
                return state
            await asyncio.sleep(0.02)


def at_the_hub(tmp_path: Path, *words: str) -> Result:
    return CliRunner().invoke(hub_app, ["courier", *words, f"--config={tmp_path / 'hub.toml'}"])


async def record(box: RunningBox, table: str, *rows: Row) -> None:
    await box.box._writer.call(box.box._store.node.record, table, rows)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


async def test_a_stick_goes_to_the_hub_and_comes_back_with_its_receipts(
    hub: RunningHub, stick: Path, tmp_path: Path
) -> None:
    async with a_box(hub, tmp_path / "box") as box:
        await record(box, "card_tap", {"at_ms": 1, "device": "door"})
        hub.record("notice", {"school": 0, "notice": "n", "title_zh": "放假"})
        written = await courier(box, "export", stick)
        assert (written["error"], written["total"]) == ("", 1)
        assert written["segments"] >= 1
        done = at_the_hub(tmp_path, "import", str(stick), "--json")
        assert done.exit_code == 0, done.output
        (visit,) = json.loads(done.stdout)["schools"]
        assert visit["school"] == 17
        assert hub.rows("SELECT school, at_ms FROM card_tap") == [(17, 1)]
        assert (await courier(box, "receipt", stick))["receipts"] == "taken"
        taken = await courier(box, "import", stick)
        assert taken["segments"] == visit["answered"]
        assert taken["files"] == []
        assert (await courier(box, "export", stick))["segments"] == 0
        with closing(box.box.connect()) as reader:
            (row,) = reader.execute("SELECT title_zh FROM notice").fetchall()
        assert tuple(row) == ("放假",)


async def test_what_is_wrong_with_a_stick_is_said_and_the_rest_is_taken(
    hub: RunningHub, stick: Path, tmp_path: Path
) -> None:
    async with a_box(hub, tmp_path / "box") as box:
        missing = await courier(box, "export", tmp_path / "nothing")
        assert "mounted" in missing["error"]
        empty = await courier(box, "import", stick)
        assert "no courier file from the hub" in empty["error"]
        with pytest.raises(BoxSetupError, match="whole path"):
            await courier(box, "export", Path("stick"))
        await record(box, "card_tap", {"at_ms": 1, "device": "door"})
        await courier(box, "export", stick)
        (stick / FOLDER / file_name(99, 0, 1)).write_bytes(b"SNC1 nonsense")
        done = at_the_hub(tmp_path, "import", str(stick))
        assert done.exit_code == 1
        assert "school-99-to-hub-00001.courier" in done.output
        assert hub.rows("SELECT school, at_ms FROM card_tap") == [(17, 1)]
        assert not (stick / FOLDER / file_name(0, 99, 1)).exists()
        path = stick / FOLDER / file_name(0, 17, 1)
        path.write_bytes(path.read_bytes()[:-1])
        refused = await courier(box, "import", stick)
        assert [name for name, _ in refused["files"]] == [path.name]


async def test_a_box_that_was_revoked_is_neither_heard_nor_answered_by_stick(
    hub: RunningHub, stick: Path, tmp_path: Path
) -> None:
    async with a_box(hub, tmp_path / "box") as box:
        await record(box, "card_tap", {"at_ms": 1, "device": "door"})
        await courier(box, "export", stick)
    with open_hub(hub.config, hub.now_ms) as parts:
        (enrolled,) = parts.registry.boxes()
        before = parts.node.peers.cursors(17)
    revoke(hub, enrolled.binding.box)
    done = at_the_hub(tmp_path, "import", str(stick), "--json")
    assert done.exit_code == 1
    (visit,) = json.loads(done.stdout)["schools"]
    ((name, reason),) = visit["refused"]
    assert name == file_name(17, 0, 1)
    assert "was revoked" in reason
    assert hub.rows("SELECT * FROM card_tap") == []
    assert not (stick / FOLDER / file_name(0, 17, 1)).exists()
    with open_hub(hub.config, hub.now_ms) as parts:
        assert parts.node.peers.cursors(17) == before


def test_a_hub_writes_for_enrolled_schools_only(
    hub: RunningHub, stick: Path, tmp_path: Path
) -> None:
    enrol(hub, tmp_path / "box", 17)
    done = at_the_hub(tmp_path, "export", str(stick), "--school=99")
    assert isinstance(done.exception, Exception)
    assert "school 99 has no box" in str(done.exception)
    done = at_the_hub(tmp_path, "export", str(stick), "--school=17")
    assert done.exit_code == 0, done.output
    assert (stick / FOLDER / file_name(0, 17, 1)).exists()


async def test_the_commands_say_what_was_done_and_what_comes_next(
    hub: RunningHub, stick: Path, tmp_path: Path
) -> None:
    config = tmp_path / "box.toml"
    config.write_text('folder = "box"\n[network]\ninterface = "127.122.9.1/24"\n', "utf-8")

    async def told(*words: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, box_app, ["courier", *words, str(stick), f"--config={config}"]
        )

    async with a_box(hub, tmp_path / "box") as box:
        await record(box, "card_tap", {"at_ms": 1, "device": "door"})
        exported = await told("export", "--size=1")
        assert "segments in 1 files are on the stick" in exported.output
        nothing = await told("receipt")
        assert "no courier file from the hub" in str(nothing.exception)
        assert at_the_hub(tmp_path, "import", str(stick)).exit_code == 0
        assert "receipts are taken" in (await told("receipt")).output
        imported = await told("import", "--json")
        assert json.loads(imported.stdout)["receipts"] == "taken"
        assert (imported.exit_code, exported.exit_code) == (0, 0)
