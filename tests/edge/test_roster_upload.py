from pathlib import Path

import pytest

from edge.box_store import BoxStore
from edge.errors import BoxSetupError
from edge.roster_upload import Upload, read_upload, verified_by
from sync.rosters.people import Pupil, StaffMember
from sync.rosters.sealed import RosterSealer, sign_roster
from sync.segments.signing import SignerId, sign, signer_id
from tests.edge.school import Box, new_box
from tests.provisioning.district import District, make_district
from tests.sync.roster_files import DISTRICT, archive

HEAD = "name,card,class_group\n"
MADE_MS = 1_790_000_000_000
ZHANG = Pupil("张伟", "AA", "三", "C1")
LI = StaffMember("T1", "李老师", "teacher")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


def read(box: Box, content: bytes) -> Upload:
    with box.opened() as store:
        return read_upload(content, store.identity, verified_by(store.node))


def seal(
    store: BoxStore,
    *people: Pupil | StaffMember,
    district: str = "jiangxia",
    school: int = 17,
) -> bytes:
    address = (district, school, store.identity.box)
    recipient = store.identity.sealing.public_key()
    sealer = RosterSealer(recipient, address, MADE_MS, lambda count: b"\x07" * count)
    for person in people:
        sealer.add(person)
    return sealer.finish()


def by_hub(district: District, sealed: bytes) -> bytes:
    hub = district.hub.signing
    return sign_roster(sealed, signer_id(hub.public_key()), lambda *told: sign(hub, *told))


def sealed_for(box: Box, *people: Pupil | StaffMember) -> bytes:
    with box.opened() as store:
        return by_hub(box.district, seal(store, *people))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_roster_is_read_as_spreadsheets_save_it(box: Box, encoding: str) -> None:
    content = f"{HEAD}张伟, 6f007b3972 ,三年级\r\n\r\n王芳,010063E9AE,三年级\r\n"
    assert read(box, content.encode(encoding)).people.pupils == (
        Pupil("张伟", "6F007B3972", "三年级"),
        Pupil("王芳", "010063E9AE", "三年级"),
    )


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("张伟,AA\n", "roster line 2: more or fewer cells"),
        ("张伟,AA,\n", "roster line 2: needs a class"),
        ("张伟,AA,三\n\n王芳,aa,三\n", "line 4: that card stands on another line"),
        (f"{'张' * 81},AA,三\n", r"line 2: longer than 80 letters \(name\)"),
        ("张伟,AA,三\n,BB,三\n,CC,三\n", "line 3: needs a name. And 1 lines more"),
        ('"张伟,AA,三\n', "unexpected end of data"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_and_nothing_is_taken(
    box: Box, lines: str, told: str
) -> None:
    with pytest.raises(BoxSetupError, match=told):
        read(box, (HEAD + lines).encode())


def test_a_schools_own_oneroster_export_is_taken(box: Box) -> None:
    users = "\n".join(DISTRICT["users.csv"].splitlines()[:2]) + "\n"
    upload = read(box, archive({**DISTRICT, "users.csv": users}))
    assert upload.kind == "OneRoster"
    assert upload.people.pupils == (Pupil("张伟", "6F007B3972", "三年级2班", "20260001"),)


def test_the_whole_districts_roster_is_not(box: Box) -> None:
    with pytest.raises(BoxSetupError, match=r"names a second school.*roster seal"):
        read(box, archive(DISTRICT))


def test_what_the_district_sealed_to_this_box_opens(box: Box) -> None:
    upload = read(box, sealed_for(box, ZHANG, LI))
    assert (upload.kind, upload.made_ms) == ("sealed", MADE_MS)
    assert (upload.people.pupils, upload.people.staff) == ((ZHANG,), (LI,))


def test_another_schools_file_says_whose_it_is(tmp_path: Path, box: Box) -> None:
    other = new_box(tmp_path, 18, box.district)
    with other.opened() as store:
        content = by_hub(box.district, seal(store, ZHANG, school=18))
    with pytest.raises(BoxSetupError, match=r"sealed to school 18; this box is of school 17"):
        read(box, content)


def test_a_file_for_the_box_before_this_one_is_to_be_sealed_again(tmp_path: Path, box: Box) -> None:
    spare = new_box(tmp_path / "spare", 17, box.district)
    with pytest.raises(BoxSetupError, match="have it sealed again"):
        read(spare, sealed_for(box, ZHANG))


def test_another_districts_file_is_refused(box: Box) -> None:
    with box.opened() as store:
        content = by_hub(box.district, seal(store, ZHANG, district="hongshan"))
    with pytest.raises(BoxSetupError, match="of the district 'hongshan'"):
        read(box, content)


def test_nothing_unsigned_is_taken(box: Box) -> None:
    with box.opened() as store:
        content = seal(store, ZHANG)
    with pytest.raises(BoxSetupError, match="has not signed this roster yet"):
        read(box, content)


def test_nobody_but_the_hub_signs(tmp_path: Path, box: Box) -> None:
    with box.opened() as store:
        sealed = seal(store, ZHANG)
        own = store.identity.signing
    forged = sign_roster(sealed, signer_id(own.public_key()), lambda *told: sign(own, *told))
    with pytest.raises(BoxSetupError, match="is not known here"):
        read(box, forged)
    hub = signer_id(box.district.hub.signing.public_key())
    claimed = sign_roster(sealed, SignerId(hub), lambda *told: sign(own, *told))
    with pytest.raises(BoxSetupError, match="the signature is not by signer"):
        read(box, claimed)
    stranger = make_district(tmp_path / "other")
    with pytest.raises(BoxSetupError, match="is not known here"):
        read(box, by_hub(stranger, sealed))


@pytest.mark.parametrize(
    ("people", "told"),
    [
        ((Pupil("张\x1b[2J", "AA", "三"),), "characters that are not seen"),
        ((Pupil("张伟", "AA", "三"), Pupil("王芳", "AA", "三")), "that card stands on another"),
        ((Pupil("张伟", "", "三"),), "needs a card or a code"),
        ((StaffMember("T1", "=1+1", "teacher"),), "as a formula does"),
    ],
)
def test_what_the_hub_signed_is_judged_line_by_line_all_the_same(
    box: Box, people: tuple[Pupil | StaffMember, ...], told: str
) -> None:
    with pytest.raises(BoxSetupError, match=told):
        read(box, sealed_for(box, *people))
