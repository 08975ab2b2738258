"""A roster kept by the district: sealed at its workstation, signed by the hub, taken at the school.

All real processes. The roster lies on the workstation alone; the hub's machine is searched for the
names in it, with a control.
"""

import json
from pathlib import Path

import pytest

from tests.scenarios.running_demo import SCHOOLNODE, SCHOOLNODE_HUB
from tests.scenarios.small_district import SmallDistrict, Told, claim, told_by
from tests.scenarios.test_canaries import ask, found, keys_of, wait_for

NETWORK = 94
PUPILS = ("司徒静怡", "欧阳梓涵")
CARD = "0A0000BEEF"
TEACHER = "李建国老师"


def seal(place: Path, *words: str) -> Told:
    roster, keys, out = (str(place / name) for name in ("roster.csv", "keys.json", "out"))
    return told_by(
        SCHOOLNODE_HUB, "roster", "seal", roster, f"--keys={keys}", f"--out={out}", *words
    )


@pytest.mark.timeout(180)
def test_names_reach_the_school_and_are_nowhere_on_the_hubs_machine(tmp_path: Path) -> None:
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    hub, workstation = district.hub_config, tmp_path / "workstation"
    workstation.mkdir()
    (workstation / "roster.csv").write_text(
        "学校,姓名,班级,卡号,学号,身份\n"
        f"17,{PUPILS[0]},三年级,{CARD},,学生\n18,{PUPILS[1]},一年级,0A0000FACE,S1,学生\n"
        f"17,{TEACHER},,,T1,教师\n",
        encoding="gb18030",
    )
    logs = [tmp_path / "hub.log"]
    with district.hub_running():
        boxes = {school: district.write_box(school) for school in (17, 18)}
        for school, box in boxes.items():
            assert claim(box, district.invite(school)).code == 0
            logs.append(box.with_name("box.log"))
        keys = workstation / "keys.json"
        root = json.loads(ask(SCHOOLNODE_HUB, hub, "roster", "keys", f"--out={keys}", "--json"))
        refused = seal(workstation, "--root=00")
        assert (refused.code, "not the one given" in refused.err) == (1, True)
        sealed = seal(workstation, f"--root={root['root']}")
        assert (sealed.code, sealed.err) == (0, "")

        carried = hub.parent / "carried"  # what comes to the hub's machine: the sealed files
        (workstation / "out").rename(carried)
        part = str(carried / "school-17.roster")
        with district.box_running(boxes[17]), district.box_running(boxes[18]):
            early = told_by(SCHOOLNODE, "roster", "import", part, "--yes", f"--config={boxes[17]}")
            assert "has not signed this roster yet" in early.err
            ask(SCHOOLNODE_HUB, hub, "roster", "sign", str(carried))
            wrong = told_by(SCHOOLNODE, "roster", "import", part, "--yes", f"--config={boxes[18]}")
            assert "sealed to school 17; this box is of school 18" in wrong.err
            for _ in range(2):
                ask(SCHOOLNODE, boxes[17], "roster", "import", part, "--yes")
            known = json.loads(
                ask(SCHOOLNODE, boxes[17], "forget", f"--name={PUPILS[0]}", "--json")
            )
            assert known["name"] == PUPILS[0]
            told = ask(SCHOOLNODE, boxes[17], "roster", "import", part)
            assert "1 pupils, 1 staff; 1 known" in told
            ask(SCHOOLNODE_HUB, hub, "roster", "send", str(carried))
            offer = (SCHOOLNODE, "roster", "import", "--yes", f"--config={boxes[18]}")
            wait_for(lambda: told_by(*offer).code == 0)
            ask(SCHOOLNODE, boxes[18], "forget", f"--name={PUPILS[1]}")
            ask(SCHOOLNODE, boxes[17], "courier", "export", str(carried))
        ask(SCHOOLNODE_HUB, hub, "courier", "import", str(carried))
    secret = (*PUPILS, CARD)
    assert found(secret, hub.parent, *logs, keys=keys_of(hub.parent)) == set()
    assert found((TEACHER,), hub.parent) == {TEACHER}  # staff are the district's to read
    assert found(secret, workstation) == set(secret)
