"""``schoolnode keys`` against a running daemon: what it shows, what it does only with --yes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from typer.testing import CliRunner, Result

from edge.control_client import ask_daemon
from edge.errors import BoxSetupError
from edge.key_commands import keys_app
from sync.keys.recipients import fingerprint
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import Box, certificate_row, enrol
from tests.hub.running_hub import Clock
from tests.provisioning.district import make_district


@asynccontextmanager
async def a_box(folder: Path) -> AsyncIterator[tuple[RunningBox, Box]]:
    district = make_district(folder / "hub", port=9)
    enrol(district, folder / "box", 17)
    config = daemon_config(folder / "box", network="127.122.6.1/24")
    (folder / "box.toml").write_text(
        f'folder = "{folder / "box"}"\nnetwork = {{ interface = "127.122.6.1/24" }}\n'
    )
    async with running_box(config, Clock()) as running:
        yield running, Box(folder / "box", district)


async def keys(folder: Path, *words: str) -> Result:
    """Run the command as a shell would; what the daemon refuses is raised."""
    arguments = [*words, "--config", str(folder / "box.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, keys_app, arguments)
    if isinstance(result.exception, BoxSetupError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


async def told(folder: Path, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await keys(folder, *words, "--json")).stdout)
    return answer


async def test_a_further_box_is_shown_and_confirmed_by_its_whole_fingerprint(
    tmp_path: Path,
) -> None:
    async with a_box(tmp_path) as (_, box):
        spare = enrol(box.district, tmp_path / "spare", 17)
        box.plant("box_certificate", certificate_row(spare))
        shown = fingerprint(spare.sealing.public_key().public_bytes_raw())
        before = await told(tmp_path, "recipients")
        assert sorted((each["kind"], each["standing"]) for each in before["recipients"]) == [
            ("box", "own"),
            ("box", "seen"),
            ("hub", "seen"),
        ]
        (found,) = [each for each in before["recipients"] if each["fingerprint"] == shown]
        assert (found["name"], found["reads"]) == (spare.box, ["district"])
        said = await told(tmp_path, "confirm", shown)
        assert said["done"] is False
        assert "every key of this school" in said["would"]
        with pytest.raises(BoxSetupError, match="whole fingerprint"):
            await keys(tmp_path, "confirm", shown[:19], "--yes")
        with pytest.raises(BoxSetupError, match="nobody has the key"):
            await keys(tmp_path, "confirm", "0000 " * 8, "--yes")
        await keys(tmp_path, "confirm", shown.upper(), "--yes", "--who", "李老师")
        after = await told(tmp_path, "recipients")
        (found,) = [each for each in after["recipients"] if each["fingerprint"] == shown]
        assert (found["standing"], found["who"]) == ("confirmed", "李老师")
        assert found["reads"] == ["district", "health", "identity"]
        text = (await keys(tmp_path, "recipients")).stdout
        assert "confirmed" in text
        await keys(tmp_path, "revoke", shown, "--yes", "--who", "李老师")
        after = await told(tmp_path, "recipients")
        assert "revoked" in {each["standing"] for each in after["recipients"]}


async def test_nothing_is_rotated_or_released_without_yes(tmp_path: Path) -> None:
    async with a_box(tmp_path):
        for words in (
            ("rotate",),
            ("release", "identity"),
            ("release", "health", "--epochs", "1"),
            ("unrelease", "identity"),
        ):
            assert (await told(tmp_path, *words))["done"] is False
        assert (await told(tmp_path, "recipients"))["released"] == []
        assert await told(tmp_path, "list") == {"keys": [], "keys_total": 0}


async def test_a_group_is_released_and_closed_again(tmp_path: Path) -> None:
    async with a_box(tmp_path) as (running, _):
        content = "name,card,class_group\n张伟,04A1,三年级2班\n".encode()
        await ask_daemon(running.config.folder, "POST", "/roster", content)
        await keys(tmp_path, "release", "identity", "--yes")
        assert (await told(tmp_path, "recipients"))["released"] == ["identity"]
        await keys(tmp_path, "unrelease", "identity", "--yes")
        assert (await told(tmp_path, "recipients"))["released"] == []
        with pytest.raises(BoxSetupError, match="not released"):
            await keys(tmp_path, "unrelease", "identity", "--yes")
        with pytest.raises(AssertionError, match="name the group"):
            await keys(tmp_path, "rotate", "--group", "names", "--yes")


async def test_what_the_district_asks_for_is_shown_as_a_question(tmp_path: Path) -> None:
    async with a_box(tmp_path) as (_, box):
        escrow = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
        box.plant(
            "key_request",
            {
                "school": 17,
                "request": "1",
                "wish": "escrow",
                "subject": "教育局",
                "public": escrow.public_bytes_raw(),
                "at_ms": 1_790_000_000_000,
                "who": "office",
            },
        )
        (asked,) = (await told(tmp_path, "recipients"))["asked"]
        assert asked["fingerprint"] == fingerprint(escrow.public_bytes_raw())
        assert "You decide" in (await keys(tmp_path, "recipients")).stdout
        await keys(tmp_path, "confirm", asked["fingerprint"], "--yes")
        after = await told(tmp_path, "recipients")
        assert after["asked"] == []
        (found,) = [each for each in after["recipients"] if each["kind"] == "escrow"]
        assert found["reads"] == ["district", "health", "identity"]


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/keys/release", {"who": "x", "group": "district"}),
        ("/keys/release", {"who": "x", "group": "health", "epochs": []}),
        ("/keys/rotate", {"who": "", "group": "health"}),
        ("/keys/rotate", {"who": "x", "group": "grant"}),
        ("/keys/confirm", {"fingerprint": "x" * 81, "who": "x"}),
        ("/keys/revoke", {"fingerprint": "x"}),
    ],
)
async def test_a_wish_out_of_form_is_refused(
    tmp_path: Path, path: str, wish: dict[str, object]
) -> None:
    async with a_box(tmp_path) as (running, _):
        with pytest.raises(BoxSetupError):
            await running.ask("POST", path, wish)
