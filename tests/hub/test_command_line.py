import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from hub.__main__ import app, main
from hub.errors import HubSetupError
from hub.server import open_hub
from provisioning.box_keys import new_box_keys
from provisioning.errors import SetupError
from provisioning.join_code import parse_join_code
from tests.hub.running_hub import HOST, Clock, RunningHub, hub_config
from tests.provisioning.district import request_body

PLACE = "SELECT name, name_en, role, latitude, longitude FROM school WHERE school = 17"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hub.toml"
    path.write_text(
        'district = "jiangxia"\ndistrict_name = "江夏区"\nfolder = "data"\n'
        f'[boxes]\naddress = "{HOST}"\nnames = ["{HOST}"]\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def hub(config: Path) -> RunningHub:
    """The same hub, looked at directly."""
    return RunningHub(hub_config(config.parent / "data"), Clock())


def told(config: Path, *words: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*words, f"--config={config}", "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    answer: dict[str, object] = json.loads(result.output)
    return answer


def test_a_second_invitation_leaves_what_is_known_of_a_school(
    config: Path, hub: RunningHub
) -> None:
    place = ("--latitude=30.3", "--longitude=114.3")
    told(
        config, "invite", "--school=17", "--name=一小", "--name-en=First", "--role=flagship", *place
    )
    told(config, "invite", "--school=17", "--name=第一小学")
    assert hub.rows(PLACE) == [("第一小学", "First", "flagship", 30.3, 114.3)]


def test_a_new_school_is_a_receiver_unless_it_is_said_otherwise(
    config: Path, hub: RunningHub
) -> None:
    told(config, "invite", "--school=17", "--name=一小")
    assert hub.rows(PLACE) == [("一小", "一小", "receiver", None, None)]


def test_boxes_lists_who_is_revoked(config: Path) -> None:
    code = told(config, "invite", "--school=17", "--name=一小")
    enrol(config, str(code["code"]))
    assert [box["revoked"] for box in listed(config)] == [False]

    assert told(config, "revoke", str(code["box"])) == {
        "revoked": code["box"],
        "was_enrolled": True,
    }

    assert [box["revoked"] for box in listed(config)] == [True]


def test_a_revocation_stands_in_the_schools_audit(config: Path, hub: RunningHub) -> None:
    code = told(config, "invite", "--school=17", "--name=一小")
    enrol(config, str(code["code"]))
    told(config, "revoke", str(code["box"]))
    audit = hub.rows("SELECT school, action, subject FROM audit_entry")
    assert audit == [(17, "revoke", code["box"])]


def test_an_unused_join_code_is_revoked_too(config: Path) -> None:
    code = told(config, "invite", "--school=17", "--name=一小")
    assert told(config, "revoke", str(code["box"]))["was_enrolled"] is False
    with pytest.raises(Exception, match="withdrawn"):
        enrol(config, str(code["code"]))


def test_an_unknown_box_is_not_revoked(config: Path) -> None:
    result = CliRunner().invoke(app, ["revoke", "0a1b2c3d", f"--config={config}"])
    assert isinstance(result.exception, SetupError)
    assert "no such invitation" in str(result.exception)


def test_the_administrators_code_stays_the_same_and_is_private(config: Path) -> None:
    codes = {CliRunner().invoke(app, ["admin-code", f"--config={config}"]).output for _ in range(2)}
    assert len(codes) == 1
    kept = config.parent / "data" / "admin-code"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() == codes.pop().strip()


def test_an_error_is_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["schoolnode-hub", "boxes", f"--config={tmp_path / 'none.toml'}"]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("schoolnode-hub: ")
    assert said.count("\n") == 1


def listed(config: Path) -> list[dict[str, object]]:
    boxes = told(config, "boxes")["boxes"]
    assert isinstance(boxes, list)
    return boxes


def enrol(config: Path, code: str) -> None:
    folder = config.parent / "data"
    with open_hub(hub_config(folder), Clock()) as parts:
        body = request_body(parse_join_code(code), new_box_keys(), lan_names=[HOST])
        parts.desk.enrol(body, HOST)


def test_a_school_is_asked_and_nothing_is_taken(config: Path, hub: RunningHub) -> None:
    told(config, "invite", "--school=17", "--name=一小")
    asked = told(config, "keys", "ask-release", "17", "identity")
    assert asked == {"school": 17, "request": "release identity", "asked": True}
    key = config.parent / "escrow.pem"
    public = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    told(config, "keys", "ask-escrow", "17", f"--key={key}", "--name=教育局")
    wishes = "SELECT school, wish, subject, public FROM key_request WHERE deleted = 0 ORDER BY wish"
    escrow = (17, "escrow", "教育局", public.public_bytes_raw())
    assert hub.rows(wishes) == [escrow, (17, "release", "identity", None)]
    told(config, "keys", "ask-release", "17", "identity", "--withdraw")
    assert hub.rows(wishes) == [escrow]
    readers = told(config, "keys", "readers", "17")
    assert readers == {"readers": [], "released": [], "in_part": []}


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PUBLIC KEY-----\n", b"\xff" * 9000])
def test_what_is_no_key_is_not_proposed(config: Path, content: bytes) -> None:
    key = config.parent / "escrow.pem"
    key.write_bytes(content)
    words = ["keys", "ask-escrow", "17", f"--key={key}", "--name=x", f"--config={config}"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, HubSetupError)
    assert "PEM" in str(result.exception)


def test_a_lesson_is_a_rehearsal_when_it_is_said(config: Path, hub: RunningHub) -> None:
    for school in (17, 18):
        told(config, "invite", f"--school={school}", f"--name=第{school}小学")
    parties = ("--flagship=17:三年级:101", "--receiver=18:三年级:201")
    trial = told(config, "lesson", "--title=圆的周长", "--rehearsal", *parties)
    lesson = told(config, "lesson", "--title=圆的周长", "--starts-in=7200", *parties)
    rows = hub.rows("SELECT lesson, rehearsal FROM lesson ORDER BY starts_ms")
    assert rows == [(trial["lesson"], 1), (lesson["lesson"], 0)]
