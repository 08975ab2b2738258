"""The command line's words for the recovery code, forgetting and restoring."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge import recovery_commands, school_restore, vault_keeper
from edge.command_line import app
from edge.recovery_page import recovery_sheet
from sync.persons.recovery import RecoveryCode, parse_recovery_code
from sync.persons.vault import read_person_key
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.hub.running_hub import RunningHub, running_hub

ROSTER = "name,card,class_group\n张伟,0A00000001,三\n王芳,0A00000002,三\n王芳,0A00000003,四\n"


@dataclass(frozen=True)
class Desk:
    """One box and its command line."""

    box: RunningBox
    config: Path

    async def run(self, *argv: str, typed: str | None = None) -> Result:
        def invoke() -> Result:
            return CliRunner().invoke(app, [*argv, "--config", str(self.config)], input=typed)

        return await asyncio.to_thread(invoke)

    @property
    def folder(self) -> Path:
        return self.box.config.folder


@asynccontextmanager
async def desk(hub: RunningHub, folder: Path) -> AsyncIterator[Desk]:
    await hub.enrol(17, folder)
    config = folder.with_suffix(".toml")
    config.write_text(f'folder = "{folder}"\n[network]\ninterface = "127.122.8.1/24"\n')
    async with running_box(daemon_config(folder, network="127.122.8.1/24"), hub.now_ms) as box:
        await box.box.import_roster(ROSTER.encode())
        yield Desk(box, config)


async def test_a_code_is_made_shown_once_and_compared(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, desk(hub, tmp_path / "box") as at:
        none_yet = await at.run("recovery", "status")
        assert none_yet.exit_code == 1
        assert "names of all its 3 people" in none_yet.output
        sheet = tmp_path / "sheet.html"
        made = await at.run("recovery", "new", "--page", str(sheet))
        assert made.exit_code == 0
        shown = [line.strip() for line in made.output.splitlines() if line.count("-") == 7]
        code = parse_recovery_code(shown[0])
        assert sheet.stat().st_mode & 0o777 == 0o600
        assert code.printed()[:19] in sheet.read_text()
        stored = b"".join(path.read_bytes() for path in at.folder.rglob("*") if path.is_file())
        for secret in (code.text().encode(), code.printed().encode(), code.secret):
            assert secret not in stored
        again = await at.run("recovery", "new")
        assert again.exit_code == 1
        assert "the old paper opens nothing that is sealed from then on" in str(again.exception)
        assert (await at.run("recovery", "check", typed=code.printed() + "\n")).exit_code == 0
        wrong = await at.run("recovery", "check", typed=RecoveryCode(bytes(16)).text() + "\n")
        assert "not this school's present one" in str(wrong.exception)
        replaced = await at.run("recovery", "new", "--yes", "--json")
        assert json.loads(replaced.output)["code"] != code.printed()
        old = await at.run("recovery", "check", typed=code.printed() + "\n")
        assert "not this school's present one" in str(old.exception)


async def test_a_sheet_never_overwrites_a_file(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, desk(hub, tmp_path / "box") as at:
        sheet = tmp_path / "sheet.html"
        sheet.write_text("kept")
        refused = await at.run("recovery", "new", "--page", str(sheet))
        assert "name a file that does not" in str(refused.exception)
        assert sheet.read_text() == "kept"
        status = await at.run("recovery", "status", "--json")
        assert json.loads(status.output)["fingerprint"] is None


def test_the_sheet_is_in_two_languages_and_escapes_what_it_is_told() -> None:
    code = RecoveryCode(bytes(range(16)))
    sheet = recovery_sheet(code, "<b>湖泗</b>", 17, "aaaa bbbb")
    assert "&lt;b&gt;" in sheet
    assert "恢复码" in sheet
    assert "Recovery code" in sheet
    assert "http" not in sheet.replace("http://www.w3.org/2000/svg", "")
    assert all(group in sheet for group in code.printed().split("-"))


async def test_forgetting_shows_first_and_proves_afterwards(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, desk(hub, tmp_path / "box") as at:
        await at.run("recovery", "new")
        await at.box.box.recovery.keeper.bring_up_to_date()
        plan = await at.run("forget", "--name", "张伟")
        assert plan.exit_code == 0
        assert "Nothing was changed" in plan.output
        assert "张伟" in plan.output
        two = await at.run("forget", "--name", "王芳", "--yes")
        assert "2 people have that name" in str(two.exception)
        planned = json.loads((await at.run("forget", "--name", "张伟", "--json")).output)
        assert planned["changed"] is False
        person = planned["person"]
        key = read_person_key(at.folder / "vault.db", person)
        assert key is not None
        rows = {each["table"]: each for each in planned["tables"]}
        assert rows["person"]["sealed_cells"] == 2
        done = await at.run("forget", "--student", str(person), "--yes", "--json")
        assert done.exit_code == 0, done.output
        proof = json.loads(done.output)
        assert (proof["opened_before"], proof["open_now"]) == (2, 0)
        assert proof["key_found_before"] == ["vault.db"]
        assert proof["found_after"] == {}
        assert proof["hub"]["generation"] == 2
        assert not any(key in path.read_bytes() for path in at.folder.rglob("*") if path.is_file())
        listed = await at.run("forget", "--list", "--json")
        (told,) = json.loads(listed.output)["erasures"]
        assert told["complete_ms"] == proof["complete_ms"]
        assert "waits" not in (await at.run("forget", "--list")).output
        gone = await at.run("forget", "--student", str(person), "--yes")
        assert "forgotten already" in str(gone.exception)


async def test_a_search_that_finds_nothing_beforehand_stops_before_any_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(tmp_path / "hub") as hub, desk(hub, tmp_path / "box") as at:
        (person,) = at.box.box._roster.find("张伟")
        with monkeypatch.context() as blind:
            blind.setattr(
                recovery_commands,
                "find_in_files",
                lambda _, needles: {name: [] for name in needles},
            )
            refused = await at.run("forget", "--student", str(person), "--yes")
        assert "nothing was changed" in str(refused.exception)
        assert read_person_key(at.folder / "vault.db", person) is not None


async def test_a_code_is_read_from_a_file_or_asked_for_and_never_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(school_restore, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(vault_keeper, "LOOK_EVERY_S", 0.1)
    async with running_hub(tmp_path / "hub") as hub, desk(hub, tmp_path / "box") as at:
        code = json.loads((await at.run("recovery", "new", "--json")).output)["code"]
        await at.box.box.recovery.keeper.bring_up_to_date()
        for _ in range(200):
            if not (await at.run("recovery", "status")).exit_code:
                break
            await asyncio.sleep(0.1)
        paper = tmp_path / "paper"
        paper.write_text(code.lower().replace("-", " ") + "\n")
        for argv, typed in (
            (["--code-file", str(paper)], None),
            (["--code-file", "-"], code),
            ([], code + "\n"),
        ):
            done = await at.run("restore", *argv, typed=typed)
            assert done.exit_code == 0, (done.output, done.exception)
            assert "equal at both ends" in done.output
        assert (await at.run("restore", code)).exit_code == 2
        missing = await at.run("restore", "--code-file", str(tmp_path / "none"))
        assert "no recovery code can be read" in str(missing.exception)
        shown = await at.run("restore", "--status", "--json")
        assert json.loads(shown.output)["step"] == "done"
        os.truncate(paper, 5)
        wrong = await at.run("restore", "--code-file", str(paper))
        assert "some are missing" in str(wrong.exception)
