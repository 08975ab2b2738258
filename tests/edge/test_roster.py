from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.box_store import BoxStore
from edge.errors import BoxSetupError
from edge.roster import Entry, Roster, parse_roster
from tests.edge.school import Box, new_box

HEAD = "name,card,class_group\n"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


@pytest.fixture
def store(box: Box) -> Iterator[BoxStore]:
    with box.opened() as opened:
        yield opened


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_roster_is_read_as_spreadsheets_save_it(encoding: str) -> None:
    content = f"{HEAD}张伟, 6f007b3972 ,三年级\r\n\r\n\u738b\u82b3,010063E9AE,三年级\r\n"
    assert parse_roster(content.encode(encoding)) == [
        Entry("张伟", "6F007B3972", "三年级"),
        Entry("王芳", "010063E9AE", "三年级"),
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("张伟,AA\n", "line 2: needs a name, a card and a class"),
        ("张伟,AA,三,四\n", "line 2: needs"),
        ("张伟,AA,三\n\n王芳,aa,三\n", "line 4: that card stands on another line"),
        (f"{'张' * 81},AA,三\n", "line 2: longer than 80"),
        ('"张伟,AA,三\n', "unexpected end of data"),
        (f'"{"x" * 200_000}",AA,三\n', "field larger"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(lines: str, told: str) -> None:
    with pytest.raises(BoxSetupError, match=told):
        parse_roster((HEAD + lines).encode())


@given(st.binary(max_size=300))
def test_no_file_raises_anything_but_its_error(content: bytes) -> None:
    for start in (b"", HEAD.encode()):
        with suppress(BoxSetupError):
            parse_roster(start + content)


def test_an_import_again_adds_only_who_is_new(store: BoxStore) -> None:
    roster = Roster(store.node, store.vault, store.reader)
    first = [Entry("张伟", "AA", "三年级")]
    assert roster.add(first).added == 1
    again = roster.add([*first, Entry("王芳", "BB", "三年级")])
    assert (again.added, again.already_known) == (1, 1)
    assert roster.add([]).added == 0
    assert len(roster) == 2


def test_names_come_back_after_a_restart_and_lie_nowhere_in_clear(box: Box) -> None:
    with box.opened() as store:
        Roster(store.node, store.vault, store.reader).add([Entry("欧阳修远", "6F007B3972", "三")])
        store.node.seal_all()
    for path in box.folder.glob("*.db*"):
        content = path.read_bytes()
        assert "欧阳修远".encode() not in content
        assert b"6F007B3972" not in content
    with box.opened() as store:
        roster = Roster(store.node, store.vault, store.reader)
        roster.load()
        person = roster.person_of("6F007B3972")
        assert person is not None
        assert roster.names([person, 999]) == {person: "欧阳修远"}


def test_one_who_was_erased_is_passed_over_and_the_others_open(box: Box) -> None:
    with box.opened() as store:
        roster = Roster(store.node, store.vault, store.reader)
        roster.add([Entry("张伟", "AA", "三"), Entry("王芳", "BB", "三")])
        erased = roster.person_of("AA")
        assert erased is not None
        store.vault.forget(erased, 1, "test")
    box.plant("person", {"school": 17, "person": 5, "kind": "pupil"})
    with box.opened() as store:
        roster = Roster(store.node, store.vault, store.reader)
        roster.load()
        assert (roster.person_of("AA"), len(roster)) == (None, 1)


def test_a_school_is_imported_in_one_step_of_the_vault(store: BoxStore) -> None:
    """Each durable step of its own would hold up the taps of a school for minutes."""
    steps: list[str] = []
    store.vault._connection.set_trace_callback(steps.append)
    roster = Roster(store.node, store.vault, store.reader)
    roster.add([Entry(f"学生{n}", f"{n:010X}", "三") for n in range(500)])
    store.vault._connection.set_trace_callback(None)
    assert sum(step == "COMMIT" for step in steps) == 1
