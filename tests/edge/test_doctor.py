from pathlib import Path

import msgspec
import pytest

from edge.box_store import setup_code
from edge.config import BoxConfig
from edge.doctor import DAY_MS, Finding, examine
from edge.pages.language import load_language
from sync.persons.vault import StoredBackup
from tests.edge.school import Box, box_config, new_box

ENGLISH = load_language("en")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


def finding(config: BoxConfig, what: str, at_ms: int) -> Finding:
    return next(each for each in examine(config, at_ms, ENGLISH) if each.what == what)


def test_the_set_up_code_is_shown_as_the_pages_say(box: Box) -> None:
    code = setup_code(box.folder)
    assert finding(box.config, "set-up code", box.now_ms).fact == code
    assert len(code) == 8


def test_looking_makes_no_code_and_changes_nothing(box: Box) -> None:
    before = sorted(path.name for path in box.folder.iterdir())
    told = finding(box.config, "set-up code", box.now_ms)
    assert told.fine
    assert "first time" in told.fact
    assert sorted(path.name for path in box.folder.iterdir()) == before


def test_a_code_that_others_may_read_is_not_shown(box: Box) -> None:
    code = setup_code(box.folder)
    (box.folder / "setup-code").chmod(0o644)
    told = finding(box.config, "set-up code", box.now_ms)
    assert not told.fine
    assert code not in " ".join(told.words)
    assert "chmod 600" in " ".join(told.words)


def test_an_expired_certificate_names_the_way_out(box: Box) -> None:
    fresh = finding(box.config, "identity", box.now_ms)
    assert fresh.fine
    assert "for 29 more days" in fresh.fact
    late = finding(box.config, "identity", box.now_ms + 31 * DAY_MS)
    assert not late.fine
    assert "new join code" in late.remedy


def test_each_thing_that_is_wrong_comes_with_its_remedy(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        box_config(tmp_path / "nowhere", ports=(Path("/dev/none"),)), profiles=None
    )
    wrong = {each.what: each for each in examine(config, 1000, ENGLISH) if not each.fine}
    assert wrong.keys() >= {"clock", "identity", "folder", "daemon", "serial port"}
    assert all(each.remedy for each in wrong.values())


def test_a_folder_that_others_may_read_is_named(box: Box) -> None:
    box.folder.chmod(0o755)
    assert "chmod 700" in finding(box.config, "folder", box.now_ms).remedy
    box.folder.chmod(0o700)
    assert finding(box.config, "folder", box.now_ms).fine


def test_names_that_would_be_lost_with_the_box_are_counted(box: Box) -> None:
    with box.opened() as store:
        assert finding(box.config, "recovery", box.now_ms).fine
        store.vault.new_persons(3)
        told = finding(box.config, "recovery", box.now_ms)
        assert (told.fine, told.fact) == (False, "3 names would be lost with this box")
        assert "schoolnode recovery new" in told.remedy
        backup = StoredBackup(number=1, generation=1, stored_ms=1, clear_ms=1, digest=bytes(32))
        store.vault.note_stored(backup)
        assert finding(box.config, "recovery", box.now_ms).fine
    (box.folder / "vault.db").write_bytes(b"no database at all" * 100)
    assert not finding(box.config, "recovery", box.now_ms).fine
