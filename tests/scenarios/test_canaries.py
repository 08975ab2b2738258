"""Names planted at a school are in no file of its hub, no log, on no stick; released ones are.

Neither as bytes nor as cells, of whatever the hub's keys open.
"""

import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

import pytest

from edge.box_store import open_box
from edge.config import load_config
from provisioning.box_keys import x25519_private
from sync.readable import keys_granted, readable_in_file
from sync.segments.sealing import DataKey
from sync.store import connect_readonly
from sync.tables.row_check import Row
from tests.scenarios.running_demo import SCHOOLNODE, SCHOOLNODE_HUB
from tests.scenarios.small_district import SmallDistrict, claim, told_by

NETWORK = 93
NAME = "欧阳梓涵同学"
PUPIL = "司徒静怡"
CARD = "0A00BEEF01"
TITLE = "运动会改期通知"
WAIT_S_MAX = 40.0
LOOK_EVERY_S = 0.2


def forms(text: str) -> tuple[bytes, ...]:
    """Return a text as files may hold it."""
    escaped = text.encode("unicode_escape")
    return text.encode(), text.encode("gb18030"), escaped, escaped.upper().replace(b"\\U", b"\\u")


def found(texts: tuple[str, ...], *places: Path, keys: Collection[DataKey] = ()) -> set[str]:
    """Return which of these texts stand in files below, in whatever form, or in what keys open."""
    files = [path for place in places for path in (place.rglob("*") if place.is_dir() else [place])]
    contents = [
        b"\0".join({path.read_bytes(), *readable_in_file(path, keys)})
        for path in files
        if path.is_file()
    ]
    assert contents
    return {
        text
        for text in texts
        if any(form in content for content in contents for form in forms(text))
    }


def keys_of(hub: Path) -> set[DataKey]:
    """Return all keys that were granted to the hub in this folder."""
    sealing = x25519_private((hub / "identity" / "sealing.key").read_bytes())
    keys = keys_granted(hub / "hub.db", sealing)
    assert keys
    return keys


def wait_for(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(LOOK_EVERY_S)


def ask(program: str, config: Path, *argv: str) -> str:
    told = told_by(program, *argv, f"--config={config}")
    assert told.code == 0, (argv, told.out, told.err)
    return told.out + told.err


def reasons(district: SmallDistrict) -> list[str | None]:
    with closing(connect_readonly(district.place / "hub" / "hub.db")) as store:
        return [reason for (reason,) in store.execute("SELECT reason FROM leave ORDER BY person")]


@pytest.mark.timeout(180)
def test_a_planted_name_is_found_at_the_hub_only_once_it_is_released(tmp_path: Path) -> None:
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    hub, logs = district.hub_config.parent, [tmp_path / "hub.log"]
    stick = tmp_path / "stick"
    stick.mkdir()
    with district.hub_running():
        box = district.write_box(17)
        logs.append(box.with_name("box.log"))
        assert claim(box, district.invite(17)).code == 0
        leaves: list[Row] = [
            {"person": number, "from_ms": 1, "reason": form}
            for number, form in enumerate((NAME, NAME.encode("unicode_escape").decode()), start=1)
        ]
        with open_box(load_config(box), lambda: time.time_ns() // 1_000_000) as opened:
            opened.node.record("leave", leaves)
        roster = tmp_path / "pupils.csv"
        roster.write_text(f"name,card,class_group\n{PUPIL},{CARD},三\n")
        with district.box_running(box):
            ask(SCHOOLNODE, box, "roster", "import", str(roster), "--yes")
            ask(SCHOOLNODE, box, "recovery", "new")
            status = (SCHOOLNODE, "recovery", "status", f"--config={box}")
            wait_for(lambda: told_by(*status).code == 0)
            wait_for(lambda: len(reasons(district)) == len(leaves))
            assert reasons(district) == [None, None]
            ask(SCHOOLNODE_HUB, district.hub_config, "notice", f"--title={TITLE}")
            assert found((NAME, PUPIL, CARD, TITLE), hub, *logs, keys=keys_of(hub)) == {
                TITLE
            }  # while all is in use
    with open_box(load_config(box), lambda: time.time_ns() // 1_000_000) as opened:
        opened.node.record("leave", [{"person": 3, "from_ms": 1, "reason": NAME}])
    with district.box_running(box):
        ask(SCHOOLNODE, box, "courier", "export", str(stick))
    with district.hub_running():
        ask(SCHOOLNODE_HUB, district.hub_config, "courier", "import", str(stick))
        assert reasons(district) == [None, None, None]
    assert len(list(stick.rglob("*.courier"))) == 2
    assert found((NAME, PUPIL, CARD, TITLE), hub, stick, *logs, keys=keys_of(hub)) == {TITLE}
    assert found((NAME, PUPIL, CARD, TITLE), stick) == set()
    assert found((NAME, PUPIL, CARD), box.parent / "data") == {NAME}
    with district.hub_running(), district.box_running(box):
        ask(SCHOOLNODE, box, "keys", "release", "identity", "--yes")
        wait_for(lambda: all(reasons(district)))
    # What is a pupil's own is under that pupil's key, which the school keeps.
    assert found((NAME, PUPIL, CARD), hub) == {NAME}
    assert found((NAME, PUPIL, CARD), stick, *logs) == set()
    # The stick was written before: what stands on it, the keys that came later open.
    assert found((NAME, PUPIL, CARD), stick, keys=keys_of(hub)) == {NAME}
