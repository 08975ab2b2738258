import os
import random
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import RosterError
from sync.rosters.files import open_roster_files
from sync.rosters.people import Fault, Line, Pupil, StaffMember
from sync.rosters.reading import open_reading
from tests.sync.roster_files import DISTRICT, USERS, archive

BYTES_MAX = 1024 * 1024
HEAD = "school,name,card,class_group\n"


def lines_of(source: bytes | Path, bytes_max: int = BYTES_MAX) -> list[Line]:
    with open_reading(source, "roster", bytes_max) as reading:
        return list(reading.lines)


def people_of(source: bytes | Path) -> list[object]:
    return [line.person for line in lines_of(source)]


def test_a_district_of_oneroster_names_each_ones_school_class_and_card() -> None:
    found = {line.person: line.school for line in lines_of(archive(DISTRICT))}
    assert found == {
        Pupil("张伟", "6F007B3972", "三年级2班", "20260001"): "a",
        Pupil("王芳", "", "一年级1班", "u2"): "b",
        StaffMember("T-1", "李老师", "teacher"): "a",
    }


def test_roles_of_version_1_2_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    users = USERS.replace("orgSourcedIds,role,", "").replace("userIds", "userIds,metadata.card")
    files = {
        **DISTRICT,
        "users.csv": f"{users}\nu1,active,,0a00000001,Wei,Zhang,\nt1,active,,,Na,Li,\n",
        "roles.csv": "sourcedId,status,userSourcedId,roleType,role,orgSourcedId\n"
        "1,active,u1,primary,student,a\n2,active,t1,secondary,aide,a\n"
        "3,active,t1,primary,teacher,b\n4,active,t1,secondary,aide,a\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="gb18030")
    assert [(line.school, line.person) for line in lines_of(tmp_path)] == [
        ("a", Pupil("Wei Zhang", "0A00000001", "三年级2班", "u1")),
        ("b", StaffMember("t1", "Na Li", "teacher")),
    ]


@pytest.mark.parametrize(
    ("name", "added", "fault"),
    [
        ("enrollments.csv", "9,active,,a2,a,u1,student\n", Fault.SEVERAL_CLASSES),
        ("users.csv", "u3,active,a,student,,某,赵,\n", Fault.NO_CLASS),
        ("users.csv", 'u3,active,"a,b",teacher,,某,赵,\n', Fault.SEVERAL_SCHOOLS),
        ("users.csv", "u3,active,zz,teacher,,某,赵,\n", Fault.NO_SCHOOL),
        ("users.csv", "u3,active,a,student\n", Fault.FIELDS),
    ],
)
def test_what_cannot_be_told_of_a_user_is_a_fault_of_the_line(
    name: str, added: str, fault: Fault
) -> None:
    files = {**DISTRICT, "classes.csv": f"{DISTRICT['classes.csv']}a2,active,,三3班,homeroom,a\n"}
    files[name] += added
    faults = [line.fault for line in lines_of(archive(files)) if line.fault is not None]
    assert faults == [fault]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"manifest.csv": "propertyName,value\nfile.users,delta\n"}, "holds changes only"),
        ({"classes.csv": "sourcedId\n1\n"}, "classes.csv: its first line lacks title"),
        ({"orgs.csv": "sourcedId,name,type\na\n"}, "orgs.csv line 2: more or fewer cells"),
    ],
)
def test_a_set_that_is_not_whole_is_refused(change: dict[str, str], told: str) -> None:
    with pytest.raises(RosterError, match=told):
        lines_of(archive({**DISTRICT, **change}))


def test_a_missing_file_is_named() -> None:
    files = {name: content for name, content in DISTRICT.items() if name != "orgs.csv"}
    with pytest.raises(RosterError, match=r"has no orgs\.csv"):
        lines_of(archive(files))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_spreadsheet_is_read_as_it_is_saved_in_china(encoding: str, packed: bool) -> None:
    text = "学号,姓名,身份,班级,电话,学校,卡号\r\nX1, 张伟,学生,三年级,139,17,\r\n,,,,,,\r\n"
    content = (text + "T1,李老师,班主任,,,17,\r\n").encode(encoding)
    source = archive({"名册.csv": content}) if packed else content
    with open_reading(source, "roster", BYTES_MAX) as reading:
        assert reading.left_out == ("电话",)
        assert set(reading.encodings.values()) == {
            "UTF-8" if encoding.startswith("utf") else "GB18030"
        }
        assert [(line.school, line.person) for line in reading.lines] == [
            ("17", Pupil("张伟", "", "三年级", "X1")),
            ("17", StaffMember("T1", "李老师", "班主任")),
        ]


def test_full_width_letters_become_plain_ones() -> None:
    wide = "".join(chr(ord(each) + 0xFEE0) for each in "6f007b3972")
    content = f"{HEAD}\uff11\uff17,张伟\u3000,{wide},三\n".encode()
    assert lines_of(content)[0].school == "17"
    assert people_of(content) == [Pupil("张伟", "6F007B3972", "三")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("17,,AA,三", Fault.NO_NAME),
        ("17,张伟,AA,", Fault.NO_CLASS),
        ("17,张伟,,三", Fault.NO_KEY),
        (f"17,{'张' * 81},AA,三", Fault.TOO_LONG),
        ("17,张\u202e伟,AA,三", Fault.STEERING),
        ("17,张\x1b[2J伟,AA,三", Fault.STEERING),
        ('17,"=HYPERLINK(""x"")",AA,三', Fault.FORMULA),
        ("17,@SUM(A1),AA,三", Fault.FORMULA),
        ("17,张伟,1.23457E+11,三", Fault.ROUNDED),
        ("17,张伟,AA", Fault.FIELDS),
        ("17,张伟,AA,三,四", Fault.FIELDS),
    ],
)
def test_a_line_that_cannot_be_taken_is_named_and_the_others_are_read(
    line: str, fault: Fault
) -> None:
    read = lines_of(f"{HEAD}{line}\n17,王芳,BB,三\n".encode())
    assert [(each.number, each.fault) for each in read] == [(2, fault), (3, None)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "first line must name"),
        (b"x,y\n", "first line must name"),
        ("name,姓名,class_group,card\n".encode(), "are the same"),
        (b"name,name,class_group,card\n", "two columns have one name"),
        (f"{HEAD}17,张伟,AA,三\n".encode("utf-16"), "UTF-16"),
        (HEAD.encode() + b"\xff\xff\n", "neither UTF-8 nor GB18030"),
        (HEAD.encode() + b'"open\n' + b"x\n" * 70, "a quotation mark may be open"),
        (HEAD.encode() + b"x" * 70_000, "a quotation mark may be open"),
        (HEAD.encode() + b'"open', "unexpected end of data"),
        (archive({"xl/workbook.xml": "x", "[Content_Types].xml": "x"}), "save it as “CSV UTF-8”"),
        (b"\xd0\xcf\x11\xe0old", "old Excel workbook"),
        (archive({"a.csv": "x", "b.csv": "y"}), "no users.csv among them"),
        (archive({"a/x.csv": "x", "b/x.csv": "y"}), "two files are named"),
        (archive({"readme.txt": "x"}), "holds no CSV file"),
        (archive({f"{n}.csv": "x" for n in range(65)}), "holds 65 files"),
        (archive(DISTRICT, zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (b"PK\x03\x04 and nothing", "cannot be read"),
    ],
)
def test_what_is_no_roster_is_refused_with_what_to_do(content: bytes, told: str) -> None:
    with pytest.raises(RosterError, match=told):
        lines_of(content)


def test_an_archive_that_expands_beyond_the_bound_is_not_read_to_its_end() -> None:
    bomb = archive({"users.csv": b"a\n" * 4 * BYTES_MAX})
    assert len(bomb) < BYTES_MAX // 20
    with pytest.raises(RosterError, match="too much to read"):
        lines_of(bomb)
    several = archive({f"{n}.csv": b"a\n" * (BYTES_MAX // 4) for n in range(3)})
    with pytest.raises(RosterError, match="too much to read"):
        lines_of(several)


def test_an_entry_with_a_password_is_refused() -> None:
    content = bytearray(archive({"a.csv": "x"}))
    for place in (6, content.index(b"PK\x01\x02") + 8):
        struct.pack_into("<H", content, place, 1)
    with pytest.raises(RosterError, match="has a password"):
        lines_of(bytes(content))


@pytest.mark.parametrize("seed", range(60))
def test_an_archive_with_a_shifted_directory_raises_nothing_but_its_error(seed: int) -> None:
    """Bytes that come or go move the directory: zipfile seeks to where nothing is."""
    chance = random.Random(seed)
    content = bytearray(archive(DISTRICT))
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(4, len(content))
        if chance.random() < 0.5:
            del content[place : place + chance.randint(1, 20)]
        else:
            content[place:place] = chance.randbytes(chance.randint(1, 9))
    with suppress(RosterError):
        lines_of(bytes(content))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "users.csv")
    for source in (tmp_path, tmp_path / "users.csv", tmp_path / "none.csv"):
        with pytest.raises(RosterError):
            lines_of(source)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda data: HEAD.encode() + data),
        st.binary(max_size=100).map(lambda data: archive({"a.csv": HEAD.encode() + data})),
    )
)
def test_no_content_raises_anything_but_its_error(content: bytes) -> None:
    with suppress(RosterError):
        lines_of(content)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damaged_archive_raises_anything_but_its_error(data: st.DataObject) -> None:
    content = bytearray(archive(DISTRICT))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(RosterError):
        lines_of(bytes(content))


def test_nothing_is_unpacked_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with open_roster_files(archive(DISTRICT), "roster", BYTES_MAX) as files:
        assert set(files.tables) == set(DISTRICT)
    assert list(tmp_path.iterdir()) == []
