from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.box_store import BoxStore
from edge.roster import Difference, Roster
from sync.rosters.people import Pupil, StaffMember
from sync.rosters.sealed import RosterPeople
from tests.edge.school import Box, new_box

ZHANG = Pupil("张伟", "AA", "三", "C1")
WANG = Pupil("王芳", "BB", "三", "C2")
NOTHING = {
    "added": 0,
    "renamed": 0,
    "card_changed": 0,
    "code_changed": 0,
    "class_changed": 0,
    "absent": 0,
    "staff_changed": 0,
}
CLASSES = "SELECT class_group FROM enrolment WHERE deleted = 0 ORDER BY class_group"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


@pytest.fixture
def store(box: Box) -> Iterator[BoxStore]:
    with box.opened() as opened:
        yield opened


@pytest.fixture
def roster(store: BoxStore) -> Roster:
    return Roster(store.node, store.vault, store.reader)


def people(*pupils: Pupil, staff: tuple[StaffMember, ...] = ()) -> RosterPeople:
    return RosterPeople(pupils, staff)


def told(difference: Difference) -> dict[str, int]:
    """Return the figures that are not nought."""
    return {name: figure for name in NOTHING if (figure := getattr(difference, name))}


def again(store: BoxStore) -> Roster:
    """Return what a box knows after a restart."""
    roster = Roster(store.node, store.vault, store.reader)
    roster.load()
    return roster


def test_an_import_again_adds_only_who_is_new(roster: Roster) -> None:
    assert told(roster.take(people(ZHANG), "test")) == {"added": 1}
    assert told(roster.take(people(ZHANG, WANG), "test")) == {"added": 1}
    assert told(roster.take(people(ZHANG, WANG), "test")) == {}
    assert told(roster.take(people(), "test")) == {"absent": 2}
    assert len(roster) == 2


def test_looking_changes_nothing(roster: Roster, box: Box) -> None:
    staff = (StaffMember("T1", "李老师", "teacher"),)
    assert told(roster.compare(people(ZHANG, staff=staff))) == {"added": 1, "staff_changed": 1}
    assert len(roster) == 0
    assert box.rows("SELECT * FROM person") == []


def test_a_code_finds_a_pupil_whose_name_card_and_class_changed(
    roster: Roster, store: BoxStore, box: Box
) -> None:
    roster.take(people(ZHANG, WANG), "test")
    person = roster.person_of("AA")
    later = Pupil("张炜", "CC", "四", "C1")
    difference = roster.compare(people(later, WANG))
    assert told(difference) == {"renamed": 1, "card_changed": 1, "class_changed": 1}
    assert difference.examples == (("张伟", "张炜"),)
    assert roster.take(people(later, WANG), "test") == difference
    for known in (roster, again(store)):
        assert (known.person_of("CC"), known.person_of("AA")) == (person, None)
        assert known.find("张炜") == [person]
        assert told(known.compare(people(later, WANG))) == {}
    assert box.rows(CLASSES) == [("三",), ("四",)]
    assert box.rows("SELECT count(*) FROM person") == [(2,)]


def test_what_a_roster_leaves_out_stays(roster: Roster, store: BoxStore) -> None:
    roster.take(people(ZHANG), "test")
    without_card = Pupil("张伟", "", "三", "C1")
    assert told(roster.take(people(without_card), "test")) == {}
    renamed = Pupil("张炜", "", "三", "C1")
    roster.take(people(renamed), "test")
    assert again(store).find("张炜") == [again(store).person_of("AA")]


def test_a_card_finds_who_has_no_code_yet_and_the_code_is_kept(
    roster: Roster, store: BoxStore
) -> None:
    roster.take(people(Pupil("张伟", "AA", "三")), "test")
    assert told(roster.take(people(ZHANG), "test")) == {"code_changed": 1}
    moved = Pupil("张伟", "ZZ", "三", "C1")
    assert told(again(store).compare(people(moved))) == {"card_changed": 1}


def test_a_card_that_was_given_on_does_not_make_one_pupil_another(
    roster: Roster, store: BoxStore, box: Box
) -> None:
    """Cards of those who left school are handed out again."""
    roster.take(people(ZHANG), "test")
    former = roster.person_of("AA")
    newcomer = Pupil("王芳", "AA", "一", "C9")
    expected = {"added": 1, "card_changed": 1, "absent": 1}
    assert told(roster.take(people(newcomer), "test")) == expected
    assert box.rows("SELECT count(*), count(card) FROM person") == [(2, 1)]
    for known in (roster, again(store)):
        assert known.person_of("AA") not in {None, former}
        assert known.find("张伟") == [former]
        assert told(known.compare(people(newcomer))) == {"absent": 1}


def test_two_pupils_may_exchange_their_cards(roster: Roster, store: BoxStore) -> None:
    roster.take(people(ZHANG, WANG), "test")
    zhang, wang = roster.person_of("AA"), roster.person_of("BB")
    swapped = people(Pupil("张伟", "BB", "三", "C1"), Pupil("王芳", "AA", "三", "C2"))
    assert told(roster.take(swapped, "test")) == {"card_changed": 2}
    for known in (roster, again(store)):
        assert (known.person_of("AA"), known.person_of("BB")) == (wang, zhang)
        assert told(known.compare(swapped)) == {}


def test_a_card_that_two_lines_could_mean_goes_to_the_one_with_the_code(roster: Roster) -> None:
    roster.take(people(ZHANG), "test")
    lines = people(Pupil("张伟", "AA", "三"), Pupil("张伟", "DD", "三", "C1"))
    assert told(roster.take(lines, "test")) == {"added": 1, "card_changed": 1}
    assert len(roster) == 2
    assert roster.person_of("AA") != roster.person_of("DD")


def test_staff_stand_where_the_district_reads_them(roster: Roster, box: Box) -> None:
    teacher = StaffMember("T1", "李老师", "teacher")
    assert told(roster.take(people(staff=(teacher,)), "test")) == {"staff_changed": 1}
    assert told(roster.take(people(staff=(teacher,)), "test")) == {}
    renamed = StaffMember("T1", "李丽", "teacher")
    roster.take(people(staff=(renamed,)), "test")
    assert box.rows("SELECT staff, name, role FROM staff_role") == [("T1", "李丽", "teacher")]


def test_the_audit_log_is_told_figures_and_no_name(roster: Roster, box: Box) -> None:
    roster.take(people(ZHANG), "李老师")
    ((who, action, subject),) = box.rows("SELECT who, action, subject FROM audit_entry")
    assert (who, action) == ("李老师", "import roster")
    assert str(subject).startswith("1 added, 0 renamed")


def test_names_come_back_after_a_restart_and_lie_nowhere_in_clear(box: Box) -> None:
    with box.opened() as store:
        pupil = Pupil("欧阳修远", "6F007B3972", "三", "G4201-77")
        Roster(store.node, store.vault, store.reader).take(people(pupil), "test")
        store.node.seal_all()
    for path in box.folder.glob("*.db*"):
        content = path.read_bytes()
        for text in ("欧阳修远", "6F007B3972", "G4201-77"):
            assert text.encode() not in content
    with box.opened() as store:
        roster = again(store)
        person = roster.person_of("6F007B3972")
        assert person is not None
        assert roster.names([person, 999]) == {person: "欧阳修远"}


def test_one_who_was_erased_is_passed_over_and_the_others_open(box: Box) -> None:
    with box.opened() as store:
        roster = Roster(store.node, store.vault, store.reader)
        roster.take(people(ZHANG, WANG), "test")
        erased = roster.person_of("AA")
        assert erased is not None
        store.vault.forget(erased, 1, "test")
    box.plant("person", {"school": 17, "person": 5, "kind": "pupil"})
    with box.opened() as store:
        roster = again(store)
        assert (roster.person_of("AA"), len(roster)) == (None, 1)


def test_a_school_is_imported_in_one_step_of_the_vault(store: BoxStore, roster: Roster) -> None:
    """Each durable step of its own would hold up the taps of a school for minutes."""
    steps: list[str] = []
    store.vault._connection.set_trace_callback(steps.append)
    roster.take(people(*(Pupil(f"学生{n}", f"{n:010X}", "三") for n in range(500))), "test")
    store.vault._connection.set_trace_callback(None)
    assert sum(step == "COMMIT" for step in steps) == 1
