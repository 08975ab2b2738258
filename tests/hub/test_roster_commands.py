"""A district's roster, sealed by the command line and opened with the boxes' own keys."""

import json
import os
import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner, Result

from hub.__main__ import app
from hub.errors import HubSetupError
from hub.server import open_hub
from provisioning.box_keys import BoxKeys, new_box_keys
from provisioning.join_code import parse_join_code
from sync.rosters.offer import PIECE_BYTES, read_offer
from sync.rosters.people import Pupil, StaffMember
from sync.rosters.sealed import CONTEXT, RosterPeople, open_roster, parse_roster
from sync.segments.signing import verify
from sync.store import connect_readonly
from tests.hub.running_hub import HOST, Clock, hub_config
from tests.provisioning.district import request_body
from tests.sync.roster_files import DISTRICT, archive

HEAD = "school,name,card,class_group\n"
ZHANG, WANG = Pupil("张伟", "AA", "三"), Pupil("王芳", "BB", "一")


class Hub:
    """A hub's folder, with the keys of the boxes that enrolled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "hub.toml"
        self.boxes: dict[int, tuple[str, BoxKeys]] = {}
        self.config.write_text(
            'district = "jiangxia"\ndistrict_name = "江夏区"\nfolder = "data"\n'
            f'[boxes]\naddress = "{HOST}"\nnames = ["{HOST}"]\n',
            encoding="utf-8",
        )

    def enrol(self, school: int) -> str:
        told = self.told("invite", f"--school={school}", f"--name=第{school}小学")
        keys = new_box_keys()
        with open_hub(hub_config(self.folder / "data"), Clock()) as parts:
            code = parse_join_code(str(told["code"]))
            parts.desk.enrol(request_body(code, keys, lan_names=[HOST]), HOST)
        box = str(told["box"])
        self.boxes[school] = (box, keys)
        return box

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, [*words, f"--config={self.config}"], env=env)

    def told(self, *words: str, code: int = 0) -> dict[str, object]:
        result = self.run(*words, "--json")
        assert result.exit_code == code, (result.output, result.exception)
        answer: dict[str, object] = json.loads(result.output)
        return answer

    def refused(self, *words: str) -> str:
        result = self.run(*words)
        assert isinstance(result.exception, HubSetupError), (result.output, result.exception)
        return str(result.exception)

    def proposed(self, school: int) -> bytes:
        """Return what a school's box will read once the rows have come."""
        with closing(connect_readonly(self.folder / "data" / "hub.db")) as reader:
            offer = read_offer(reader, school)
        assert offer is not None
        return offer.content

    def open(self, path: Path, school: int) -> RosterPeople:
        sealed = parse_roster(path.read_bytes())
        with open_hub(hub_config(self.folder / "data"), Clock()) as parts:
            public = Ed25519PublicKey.from_public_bytes(parts.identity.binding.keys.signing)
        verify(public, CONTEXT, sealed.header_bytes, sealed.signature)
        return open_roster(sealed, self.boxes[school][1].sealing)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    hub = Hub(tmp_path)
    for school in (17, 18):
        hub.enrol(school)
    return hub


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def roster(folder: Path, *lines: str) -> str:
    path = folder / "district.csv"
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="gb18030")
    return str(path)


def schools(told: Mapping[str, object]) -> dict[object, dict[str, object]]:
    listed = told["schools"]
    assert isinstance(listed, list)
    return {each["school"]: each for each in listed}


def test_each_school_gets_its_part_and_nobody_elses(hub: Hub, out: Path) -> None:
    source = roster(hub.folder, "17,张伟,AA,三", "第18小学,王芳,BB,一")
    told = hub.told("roster", "seal", source, f"--out={out}")
    assert told["written"] == ["school-17.roster", "school-18.roster"]
    assert told["encodings"] == {"district.csv": "GB18030"}
    assert schools(told)[17] == {
        "key": "17",
        "school": 17,
        "name": "第17小学",
        "box": hub.boxes[17][0],
        "pupils": 1,
        "staff": 0,
        "classes": 1,
        "sealed": True,
        "refusal": None,
        "problems": {"count": 0, "shown": []},
    }
    assert hub.open(out / "school-17.roster", 17).pupils == (ZHANG,)
    assert hub.open(out / "school-18.roster", 18).pupils == (WANG,)


def test_oneroster_schools_are_found_by_name_and_never_by_another_programs_number(
    hub: Hub, out: Path
) -> None:
    files = {name: content.replace("a,", "18,") for name, content in DISTRICT.items()}
    files["orgs.csv"] = DISTRICT["orgs.csv"].replace("\na,", "\n18,")
    files["classes.csv"] = DISTRICT["classes.csv"].replace("homeroom,a\n", "homeroom,18\n")
    files["users.csv"] = DISTRICT["users.csv"].replace(",a,", ",18,")
    source = hub.folder / "district.zip"
    source.write_bytes(archive(files))
    assert hub.told("roster", "seal", str(source), f"--out={out}")["written"]
    opened = hub.open(out / "school-17.roster", 17)
    assert opened.pupils == (Pupil("张伟", "6F007B3972", "三年级2班", "20260001"),)
    assert opened.staff == (StaffMember("T-1", "李老师", "teacher"),)
    assert hub.open(out / "school-18.roster", 18).pupils == (Pupil("王芳", "", "一年级1班", "u2"),)


def test_a_map_says_which_school_a_code_means(hub: Hub, out: Path) -> None:
    source = roster(hub.folder, "一小,张伟,AA,三")
    mapping = hub.folder / "map.csv"
    mapping.write_text("code,school\n一小,18\n", encoding="utf-8")
    hub.told("roster", "seal", source, f"--out={out}", f"--map={mapping}")
    assert hub.open(out / "school-18.roster", 18).pupils == (ZHANG,)
    mapping.write_text("code,school\n一小,eighteen\n", encoding="utf-8")
    told = hub.refused("roster", "seal", source, f"--out={out}", f"--map={mapping}")
    assert "line 2: needs a school's code and its number" in told


def test_a_dry_run_checks_everything_and_writes_nothing(hub: Hub, out: Path) -> None:
    source = roster(hub.folder, "17,张伟,AA,三", "18,王芳,BB,一", "18,,CC,一")
    told = hub.told("roster", "seal", source, f"--out={out}", "--dry-run", code=1)
    assert (told["dry_run"], told["written"]) == (True, [])
    assert not out.exists()
    problems = schools(told)[18]["problems"]
    assert isinstance(problems, dict)
    assert problems["count"] == 1
    assert problems["shown"][0]["text"] == "district.csv line 4: the name is missing; fill it in"


def test_a_school_with_a_bad_line_is_left_out_and_the_others_are_sealed(
    hub: Hub, out: Path
) -> None:
    source = roster(hub.folder, "17,张伟,AA,三", "18,王芳,BB,一", "18,李娜,bb,一", "18,张丽,BB,二")
    told = hub.told("roster", "seal", source, f"--out={out}", code=1)
    assert told["written"] == ["school-17.roster"]
    problems = schools(told)[18]["problems"]
    assert isinstance(problems, dict)
    assert [each["line"] for each in problems["shown"]] == [4, 5]
    assert "this card stands twice in one school" in problems["shown"][0]["text"]
    assert "(first in line 3)" in problems["shown"][1]["text"]


def test_the_same_card_may_stand_in_two_schools(hub: Hub, out: Path) -> None:
    hub.told("roster", "seal", roster(hub.folder, "17,张伟,AA,三", "18,王芳,AA,一"), f"--out={out}")


def test_unknown_schools_and_schools_without_a_box_are_named(hub: Hub, out: Path) -> None:
    hub.told("invite", "--school=19", "--name=第19小学")
    hub.told("revoke", hub.boxes[18][0])
    lines = ("17,张伟,AA,三", "18,王芳,BB,一", "19,李娜,CC,一", "20,张丽,DD,二")
    told = hub.told("roster", "seal", roster(hub.folder, *lines), f"--out={out}", code=1)
    assert told["written"] == ["school-17.roster"]
    refusals = {each["key"]: str(each["refusal"]) for each in schools(told).values()}
    assert "no box that is not revoked" in refusals["18"]
    assert "no box that is not revoked" in refusals["19"]
    assert "knows no school of this name" in refusals["20"]


def test_of_several_boxes_a_person_chooses(hub: Hub, out: Path) -> None:
    first = hub.boxes[17][0]
    second = hub.enrol(17)
    source = roster(hub.folder, "17,张伟,AA,三")
    told = hub.told("roster", "seal", source, f"--out={out}", code=1)
    assert "it has several boxes" in str(schools(told)[17]["refusal"])
    hub.told("roster", "seal", source, f"--out={out}", f"--box=17:{second}")
    assert hub.open(out / "school-17.roster", 17).pupils == (ZHANG,)
    told = hub.told("roster", "seal", source, f"--out={out}", f"--box=17:{first}")
    assert schools(told)[17]["box"] == first
    assert "has no box 00000000" in hub.refused(
        "roster", "seal", source, f"--out={out}", "--box=17:00000000"
    )
    assert "write SCHOOL:BOX" in hub.refused("roster", "seal", source, f"--out={out}", "--box=17")


def test_sealed_at_a_workstation_it_counts_once_the_hub_has_signed(hub: Hub, out: Path) -> None:
    keys = hub.folder / "keys.json"
    root = hub.told("roster", "keys", f"--out={keys}")["root"]
    source = roster(hub.folder, "17,张伟,AA,三", "18,王芳,BB,一")
    away = ["roster", "seal", source, f"--out={out}", f"--keys={keys}", f"--root={root}", "--json"]
    result = CliRunner().invoke(app, [*away, f"--config={hub.folder / 'none.toml'}"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["signed"] is False
    assert not parse_roster((out / "school-17.roster").read_bytes()).is_signed

    hub.told("revoke", hub.boxes[18][0])
    (out / "school-19.roster").write_bytes(b"SNR1" + bytes(4))
    told = hub.told("roster", "sign", str(out), code=1)
    assert told["signed"] == ["school-17.roster"]
    assert isinstance(told["refused"], list)
    reasons = dict(told["refused"])
    assert "is revoked; seal it again" in reasons["school-18.roster"]
    assert "cut off" in reasons["school-19.roster"]
    assert not parse_roster((out / "school-18.roster").read_bytes()).is_signed
    assert hub.open(out / "school-17.roster", 17).pupils == (ZHANG,)


def test_a_hub_does_not_sign_another_districts_file(tmp_path: Path, hub: Hub, out: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Hub(tmp_path / "other")
    other.config.write_text(other.config.read_text().replace('"jiangxia"', '"hongshan"'))
    told = other.told("invite", "--school=17", "--name=第17小学")
    assert told["school"] == 17
    hub.told("roster", "seal", roster(hub.folder, "17,张伟,AA,三"), f"--out={out}")
    refused = other.told("roster", "sign", str(out), code=1)["refused"]
    assert isinstance(refused, list)
    assert "of the district jiangxia" in refused[0][1]


def test_exported_keys_that_were_altered_or_of_another_root_are_refused(
    hub: Hub, out: Path
) -> None:
    keys = hub.folder / "keys.json"
    hub.told("roster", "keys", f"--out={keys}")
    assert "张" not in keys.read_text()
    seal = ("roster", "seal", roster(hub.folder, "17,张伟,AA,三"), f"--out={out}")
    wrong = ":".join(["00"] * 32)
    assert "not the one given" in hub.refused(*seal, f"--keys={keys}", f"--root={wrong}")
    whole = json.loads(keys.read_bytes())
    for field, value in (("content", whole["content"][:-8] + "AAAAAAA="), ("signature", "AAAA")):
        keys.write_text(json.dumps({**whole, field: value}))
        assert "was altered" in hub.refused(*seal, f"--keys={keys}")
    for content in (b"", b"{}", b"\xff", b"[" * 100_000):
        keys.write_bytes(content)
        assert "no file of schools' keys" in hub.refused(*seal, f"--keys={keys}")
    assert not out.exists()


def test_sealing_again_replaces_the_files_and_tells_of_those_left(hub: Hub, out: Path) -> None:
    both = roster(hub.folder, "17,张伟,AA,三", "18,王芳,BB,一")
    hub.told("roster", "seal", both, f"--out={out}")
    first = parse_roster((out / "school-17.roster").read_bytes()).header
    told = hub.told("roster", "seal", roster(hub.folder, "17,王芳,BB,一"), f"--out={out}")
    assert told["older"] == ["school-18.roster"]
    second = parse_roster((out / "school-17.roster").read_bytes()).header
    assert second.made_ms >= first.made_ms
    assert hub.open(out / "school-17.roster", 17).pupils == (WANG,)


def test_what_is_sent_replaces_what_was_proposed_before(hub: Hub, out: Path) -> None:
    chance = random.Random(9)
    many = [f"17,学生{chance.getrandbits(40)},{chance.getrandbits(40):010X},三" for _ in range(900)]
    hub.told("roster", "seal", roster(hub.folder, *many, "18,王芳,BB,一"), f"--out={out}")
    told = hub.told("roster", "send", str(out))
    assert told == {"sent": ["school-17.roster", "school-18.roster"], "refused": []}
    assert hub.proposed(17) == (out / "school-17.roster").read_bytes()
    assert len(hub.proposed(17)) > PIECE_BYTES
    assert hub.proposed(18) == (out / "school-18.roster").read_bytes()

    hub.told("roster", "seal", roster(hub.folder, "17,张伟,AA,三"), f"--out={out}")
    hub.told("revoke", hub.boxes[18][0])
    refused = hub.told("roster", "send", str(out), code=1)["refused"]
    assert isinstance(refused, list)
    assert [name for name, _ in refused] == ["school-18.roster"]
    assert hub.proposed(17) == (out / "school-17.roster").read_bytes()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "first line must name"),
        (HEAD.encode(), "nobody stands in this roster"),
        ("name,card,class_group\n张伟,AA,三\n".encode(), "a column school"),
        (b"PK\x03\x04", "cannot be read"),
    ],
)
def test_what_is_no_districts_roster_is_said_in_a_sentence(
    hub: Hub, out: Path, content: bytes, told: str
) -> None:
    source = hub.folder / "district.csv"
    source.write_bytes(content)
    assert told in hub.refused("roster", "seal", str(source), f"--out={out}")
    assert not out.exists()


def test_where_to_write_has_to_be_said(hub: Hub) -> None:
    source = roster(hub.folder, "17,张伟,AA,三")
    assert "--out, or --dry-run" in hub.refused("roster", "seal", source)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("zh_CN.UTF-8", "17 第17小学\uff1a学生 1 人"),
        ("en_US.UTF-8", "17 第17小学: 1 pupils"),
        ("", "17 第17小学: 1 pupils"),
    ],
)
def test_the_report_is_in_the_terminals_language_and_names_no_pupil(
    hub: Hub, language: str, told: str
) -> None:
    source = roster(hub.folder, "17,张伟,AA,三", "18,李娜,,一")
    environment = {"LC_ALL": language, "LC_MESSAGES": "", "LANG": ""}
    result = hub.run("roster", "seal", source, "--dry-run", env=environment)
    assert told in result.output
    assert not {"张伟", "李娜"} & set(result.output.replace(",", " ").split())
    assert "李娜" not in result.output


def test_no_name_is_in_any_file_but_the_roster_itself(hub: Hub, out: Path) -> None:
    """With a control: the search finds the name where it is."""
    planted = "司徒静怡"
    source = Path(roster(hub.folder, f"17,{planted},0A0000BEEF,三", "18,王芳,BB,一", "18,,,"))
    hub.told("roster", "seal", str(source), f"--out={out}", code=1)
    found = {
        path
        for root, _, names in os.walk(hub.folder)
        for path in (Path(root) / name for name in names)
        for text in (planted, "0A0000BEEF", "王芳")
        for form in (text.encode(), text.encode("gb18030"), text.encode("unicode_escape"))
        if form in path.read_bytes()
    }
    assert found == {source}
