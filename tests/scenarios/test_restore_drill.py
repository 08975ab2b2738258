"""A school's box is gone with its disk; a spare becomes the school, by the command line."""

import json
import time
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from sync.store import connect_readonly
from tests.scenarios.running_demo import SCHOOLNODE, SCHOOLNODE_HUB
from tests.scenarios.small_district import SmallDistrict, claim, told_by

NETWORK = 91
ROSTER = "name,card,class_group\n张伟同学,0A00000001,三\n王芳同学,0A00000002,三\n"
RECOVERABLE_S_MAX = 40.0


def schoolnode(config: Path, *argv: str) -> dict[str, Any]:
    """Run a command of the box; return what it says as JSON."""
    told = told_by(SCHOOLNODE, *argv, f"--config={config}", "--json")
    assert told.code == 0, (argv, told.out, told.err)
    said: dict[str, Any] = json.loads(told.out)
    return said


@pytest.mark.timeout(180)
def test_a_spare_becomes_the_school_and_the_forgotten_stay_forgotten(tmp_path: Path) -> None:
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    with district.hub_running():
        lost = district.write_box(17)
        assert claim(lost, district.invite(17)).code == 0
        with district.box_running(lost):
            roster = tmp_path / "pupils.csv"
            roster.write_text(ROSTER)
            schoolnode(lost, "roster", "import", str(roster), "--yes")
            code = schoolnode(lost, "recovery", "new")["code"]
            until_recoverable(lost)
            plan = schoolnode(lost, "forget", "--name=张伟同学")
            proof = schoolnode(lost, "forget", f"--student={plan['person']}", "--yes")
            assert proof["key_found_before"] == ["vault.db"]
            assert proof["found_after"] == {}
            assert proof["complete_ms"] > time.time_ns() // 1_000_000
            until_recoverable(lost)
            until_home(tmp_path / "hub")
        rmtree(lost.parent / "data")
        paper = tmp_path / "paper"
        paper.write_text(code)
        boxes = json.loads(
            told_by(SCHOOLNODE_HUB, "boxes", f"--config={district.hub_config}", "--json").out
        )
        assert claim(lost, district.invite(17)).code == 0
        old = boxes["boxes"][0]["box"]
        assert told_by(SCHOOLNODE_HUB, "revoke", old, f"--config={district.hub_config}").code == 0
        with district.box_running(lost):
            report = schoolnode(lost, "restore", f"--code-file={paper}")
            assert report["equal"], report
            assert (report["people"], report["names"]) == (1, 1)
            assert report["fetched"]["segments"] == report["fetched"]["segments_total"] > 0
            (erased,) = schoolnode(lost, "forget", "--list")["erasures"]
            assert erased["complete_ms"] == proof["complete_ms"]
            found = told_by(SCHOOLNODE, "forget", "--name=王芳同学", f"--config={lost}")
            assert "王芳同学" in found.out
            gone = told_by(SCHOOLNODE, "forget", "--name=张伟同学", f"--config={lost}")
            assert "nobody of that name" in gone.err
            until_recoverable(lost)
        for path in (tmp_path / "hub").rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert "张伟同学".encode() not in content
                assert code.encode() not in content


def until_home(hub: Path) -> None:
    """Wait until the hub knows who was forgotten: what it does not is lost with the box."""
    end_s = time.monotonic() + RECOVERABLE_S_MAX
    with closing(connect_readonly(hub / "hub.db")) as store:
        while not store.execute("SELECT 1 FROM person WHERE deleted = 1").fetchone():
            assert time.monotonic() < end_s, "the hub never heard of it"
            time.sleep(0.1)


def until_recoverable(config: Path) -> None:
    """Wait until the box says that the school could be rebuilt."""
    end_s = time.monotonic() + RECOVERABLE_S_MAX
    while told_by(SCHOOLNODE, "recovery", "status", f"--config={config}").code:
        assert time.monotonic() < end_s, "the hub never had all that the code needs"
        time.sleep(0.3)
