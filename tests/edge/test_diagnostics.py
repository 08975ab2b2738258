"""What a supporter gets: readable, bounded, and nothing of people or secrets in any form."""

import base64
import json
import logging
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from drivers.discovery.candidate import Candidate, DeviceKind, Evidence
from edge.control_client import ask_daemon
from edge.diagnostics import ARCHIVE_BYTES_MAX, TEXT_CHARS_MAX, build_archive, look
from edge.doctor import examine_running
from edge.pages.actions import Adopt
from edge.pages.language import load_language
from edge.redaction import GONE, Redaction
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import enrol
from tests.hub.running_hub import Clock
from tests.provisioning.district import make_district

PUPIL, CARD, CODE = "慕容金丝雀", "0A3CD41F77", "20261234"
PASSWORD = "Kanarien:v0gel"
UNKNOWN_CARD = "0097531864"
CANARIES = (PUPIL, CARD, CODE, PASSWORD, "v0gel", "Kanari", UNKNOWN_CARD)
ENCODINGS = ("utf-8", "gb18030", "utf-16-le", "unicode-escape")
DISPLAY = Candidate(
    identity="pjlink:02:00:00:00:00:07",
    kind=DeviceKind.BLACKBOARD,
    address="pjlink://127.122.9.9:4352",
    name="Display",
    profile="pjlink-projector",
    evidence=(Evidence(method="pjlink greeting", detail=f"NAME={PUPIL}", observed_ms=1),),
    confidence=0.9,
)
SPARE = replace(
    DISPLAY,
    identity="modbus:bus0:9",
    kind=DeviceKind.FARM_SENSOR,
    address="serial:/dev/bus0?baud=9600&unit=9",
    name=PUPIL,
    evidence=(
        Evidence(
            method="modbus read",
            detail=f"seen by {PUPIL} at http://{PASSWORD}@10.1.2.3/",
            observed_ms=1,
        ),
    ),
)


def found_in(archive: bytes, words: Iterable[str] = CANARIES) -> set[str]:
    """Return which words are in any file of an archive, in any of ENCODINGS."""
    with zipfile.ZipFile(BytesIO(archive)) as pack:
        content = b"\n".join(pack.read(name) for name in pack.namelist()) + archive
    forms = {
        word: [
            *(word.encode(encoding) for encoding in ENCODINGS),
            quote(word).encode(),
            json.dumps(word)[1:-1].encode(),
        ]
        for word in words
    }
    return {word for word, known in forms.items() if any(form in content for form in known)}


async def lived_in(box: RunningBox) -> None:
    """Have the box know everything that must not get out, and talk of it."""
    roster = f"name,card,code,class_group\n{PUPIL},{CARD},{CODE},三年级1班\n"
    await ask_daemon(box.config.folder, "POST", "/roster", roster.encode())
    box.box._finder.note(DISPLAY)
    box.box._finder.note(SPARE)
    wish = Adopt(identity=DISPLAY.identity, name=f"{PUPIL}的投影", password=PASSWORD)
    await box.ask("POST", "/adopt", wish)
    log = logging.getLogger("edge.test")
    log.warning("the reader heard %s and %s; %s came in", CARD, UNKNOWN_CARD, PUPIL)
    log.warning("%s %s stands where a line is cut", "." * (TEXT_CHARS_MAX - 7), PASSWORD)
    log.warning("http://%s@10.1.2.3/ refuses; %s has %s", PASSWORD, CODE, UNKNOWN_CARD)


async def test_nothing_of_people_or_secrets_is_in_the_archive(tmp_path: Path) -> None:
    enrol(make_district(tmp_path / "hub", port=9), tmp_path / "box", 17)
    config = daemon_config(tmp_path / "box", network="127.122.9.1/24")
    async with running_box(config, Clock()) as box:
        await lived_in(box)
        answer = await box.ask("GET", "/diagnostics")
        archive = base64.b64decode(answer["archive"])
        bare = build_archive(look(box.box, config), box.box.connect, ())
        secret = (config.folder / "setup-code").read_text()
        repairs = (await box.ask("GET", "/repairs?language=zh-CN"))["repairs"]
    # The search finds them where nothing but the look of a number takes them out.
    assert found_in(bare) >= {PUPIL}
    assert found_in(archive) == set()
    assert secret not in str(archive)
    assert len(archive) < ARCHIVE_BYTES_MAX
    with zipfile.ZipFile(BytesIO(archive)) as pack:
        files = {name: pack.read(name).decode() for name in pack.namelist()}
    assert set(files) == {
        "README.txt",
        "about.json",
        "devices.json",
        "found.json",
        "log.txt",
        "repairs.json",
        "sync.json",
        "tables.json",
    }
    assert GONE in files["log.txt"]
    (device,) = json.loads(files["devices.json"])
    assert device["device"] == DISPLAY.identity
    assert device["address"] == DISPLAY.address
    assert json.loads(files["tables.json"])["device"] == 1
    assert json.loads(files["about.json"])["school"] == 17
    assert "诊断" not in files["about.json"]
    assert "the latest log lines" in files["README.txt"]
    assert "最近的日志" in files["README.txt"]
    assert any(repair["kind"] == "no_rooms" or repair["remedy"] for repair in repairs)


def test_the_doctor_says_nothing_for_a_box_that_does_not_run(tmp_path: Path) -> None:
    config = daemon_config(tmp_path / "box", network="127.122.9.1/24")
    assert examine_running(config, load_language("en")) == []


@given(st.text(), st.lists(st.text(min_size=1), max_size=5))
def test_a_secret_word_is_in_no_text_that_was_cleaned(text: str, words: list[str]) -> None:
    cleaned = Redaction([f"金{word}" for word in words]).redacted({"a": [text, f"x金{words}"]})
    assert isinstance(cleaned, dict)
    for word in words:
        assert f"金{word.strip()}" not in str(cleaned["a"]).replace(GONE, "") or not word.strip()


def test_numbers_by_which_devices_are_known_stay_and_others_go() -> None:
    redaction = Redaction((), kept=["onvif:serial:123456789", "http://10.1.2.3/"])
    assert redaction.redacted("device 123456789 heard 0097531864 at 2026") == (
        f"device 123456789 heard {GONE} at 2026"
    )
    assert redaction.redacted("rtsp://admin:pw@10.1.2.3/live") == f"rtsp://{GONE}@10.1.2.3/live"
    assert redaction.redacted({"n": 1_795_000_000_000}) == {"n": 1_795_000_000_000}


def test_a_card_whose_digits_are_in_a_devices_number_goes() -> None:
    redaction = Redaction((), kept=["adms:10097531864"])
    assert redaction.redacted("10097531864 heard 0097531864") == f"10097531864 heard {GONE}"


def test_a_password_with_an_at_sign_is_gone_from_an_address_as_a_whole() -> None:
    told = Redaction(()).redacted("rtsp://admin:p@ssw0rd@10.1.2.3/live")
    assert told == f"rtsp://{GONE}@10.1.2.3/live"


def test_a_short_english_name_takes_nothing_out_of_other_words() -> None:
    assert Redaction(["Li"]).redacted("Li sees the Light") == f"{GONE} sees the Light"
