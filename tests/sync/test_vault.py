"""A person's key opens that person's cells, until it is destroyed."""

import random
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import ForgedError
from sync.persons.restore import forgotten_here
from sync.persons.vault import (
    PERSON_MAX,
    PersonVault,
    StoredBackup,
    VaultContents,
    read_person_key,
)
from sync.segments.signing import SignerId
from sync.store import connect_readonly
from tests.sync.district import District


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[PersonVault]:
    opened = PersonVault(tmp_path / "vault.db", random.Random(1).randbytes)
    yield opened
    opened.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80).filter(lambda text: text.isprintable() or not text))
def test_a_cell_opens_for_its_person_and_column(vault: PersonVault, text: str) -> None:
    person = vault.new_person()
    assert vault.open(person, "name", vault.seal(person, "name", text)) == text


@pytest.mark.parametrize("text", ["", "\x00", "a\x00\x00", "\x80", "张伟", "x" * 31, "x" * 32])
def test_padding_takes_nothing_away(vault: PersonVault, text: str) -> None:
    person = vault.new_person()
    assert vault.open(person, "name", vault.seal(person, "name", text)) == text


def test_a_cell_tells_its_length_in_steps_only(vault: PersonVault) -> None:
    person = vault.new_person()
    lengths = {len(vault.seal(person, "name", "x" * size)) for size in range(31)}
    assert len(lengths) == 1


def test_a_cell_opens_for_no_other_person_or_column(vault: PersonVault) -> None:
    person, other = vault.new_person(), vault.new_person()
    sealed = vault.seal(person, "name", "张伟")
    attempts: tuple[Callable[[], str], ...] = (
        lambda: vault.open(other, "name", sealed),
        lambda: vault.open(person, "card", sealed),
        lambda: vault.open(person, "name", sealed[:-1]),
        lambda: vault.open(person, "name", b""),
    )
    for attempt in attempts:
        with pytest.raises(ForgedError):
            attempt()


def test_forgetting_makes_cells_unreadable_and_keeps_the_ordinal(
    vault: PersonVault, tmp_path: Path
) -> None:
    kept, person = vault.new_person(), vault.new_person()
    sealed = vault.seal(person, "name", "张伟")
    row = vault._connection.execute("SELECT key FROM person_key WHERE person = ?", (person,))
    (key,) = row.fetchone()
    assert key in (tmp_path / "vault.db").read_bytes()
    assert read_person_key(tmp_path / "vault.db", person) == key
    vault.forget(person, 1, "test")
    with pytest.raises(KeyError, match="forgotten"):
        vault.open(person, "name", sealed)
    with pytest.raises(KeyError, match="forgotten"):
        vault.seal(person, "name", "张伟")
    assert vault.persons() == [kept]
    assert read_person_key(tmp_path / "vault.db", person) is None
    assert {file.name for file in tmp_path.iterdir()} == {"vault.db", "vault.db-journal"}
    for file in tmp_path.iterdir():
        assert key not in file.read_bytes()


def test_a_whole_roster_is_drawn_at_once_or_not_at_all(tmp_path: Path) -> None:
    draws = iter(range(1, 50))

    def scarce(count: int) -> bytes:
        return next(draws).to_bytes(count, "big")

    vault = PersonVault(tmp_path / "vault.db", scarce)
    assert vault.new_persons(0) == []
    assert len(set(vault.new_persons(20))) == 20
    with pytest.raises(StopIteration):
        vault.new_persons(20)
    assert len(vault.persons()) == 20
    vault.close()


def test_an_ordinal_is_never_given_twice(tmp_path: Path) -> None:
    class Stuck(random.Random):
        """Draws the same ordinals again and again, as chance may."""

        def randbytes(self, n: int) -> bytes:
            return super().randbytes(n) if n > 4 else self.choice([b"\0\0\0\1", b"\0\0\0\2"])

    vault = PersonVault(tmp_path / "vault.db", Stuck(1).randbytes)
    first = vault.new_person()
    vault.forget(first, 1, "test")
    second = vault.new_person()
    assert {first, second} == {2, 3}
    vault.close()


@pytest.mark.parametrize("drawn", [bytes(4), b"\xff" * 4])
def test_ordinals_begin_at_one(tmp_path: Path, drawn: bytes) -> None:
    vault = PersonVault(
        tmp_path / "vault.db", lambda count: drawn if count == len(drawn) else bytes(count)
    )
    person = vault.new_person()
    assert 0 < person < PERSON_MAX
    assert vault.persons() == [person]
    vault.close()


def test_the_vault_is_its_owners_alone(vault: PersonVault, tmp_path: Path) -> None:
    vault.new_person()
    assert stat.S_IMODE((tmp_path / "vault.db").stat().st_mode) == 0o600


def test_the_journal_would_show_the_key_if_it_were_not_overwritten(
    vault: PersonVault, tmp_path: Path
) -> None:
    """The control of the test above: SQLite itself leaves the page as it was."""
    person = vault.new_person()
    key = read_person_key(tmp_path / "vault.db", person)
    assert key is not None
    vault._connection.execute("UPDATE person_key SET key = NULL WHERE person = ?", (person,))
    assert key not in (tmp_path / "vault.db").read_bytes()
    assert key in (tmp_path / "vault.db-journal").read_bytes()
    PersonVault(tmp_path / "vault.db", random.Random(2).randbytes).close()
    assert key not in (tmp_path / "vault.db-journal").read_bytes()


def test_every_change_makes_a_new_backup_due_and_nothing_else_does(vault: PersonVault) -> None:
    numbers = [vault.number]
    person = vault.new_person()
    numbers.append(vault.number)
    vault.new_persons(0)
    vault.seal(person, "name", "张伟")
    vault.take([7, 8])
    vault.erased([person])
    assert vault.number == numbers[-1]
    vault.seal_to(X25519PrivateKey.from_private_bytes(bytes(32)).public_key())
    numbers.append(vault.number)
    vault.forget(person, 1, "test")
    numbers.append(vault.number)
    vault.forget(person, 2, "test")
    vault.seal_to(X25519PrivateKey.from_private_bytes(bytes(32)).public_key())
    assert vault.number == numbers[-1]
    assert numbers == sorted(set(numbers))


def test_a_forgotten_person_waits_for_a_share_above_the_last_stored(vault: PersonVault) -> None:
    person, other = vault.new_persons(2)
    assert vault.generation_passed == 0
    stored = StoredBackup(number=1, generation=4, stored_ms=5, clear_ms=6, digest=bytes(32))
    vault.note_stored(stored)
    assert vault.stored == stored
    vault.forget(person, 9, "head")
    assert [(each.person, each.generation) for each in vault.erasing()] == [(person, 4)]
    assert vault.generation_passed == 4
    vault.erased([person])
    assert vault.generation_passed == 0
    vault.erase_again([person, other, 77], 10, 6)
    assert [(each.person, each.generation) for each in vault.erasing()] == [(person, 6)]


def test_who_waits_for_a_share_waits_for_the_highest_that_was_ever_named(
    vault: PersonVault,
) -> None:
    person = vault.new_person()
    vault.forget(person, 9, "head")  # by a vault that knows of no backup
    for named, awaited in ((7, 7), (3, 7), (8, 8)):
        vault.erase_again([person], 10, named)
        assert [(e.person, e.asked_ms, e.generation) for e in vault.erasing()] == [
            (person, 9, awaited)
        ]
        assert vault.generation_passed == awaited


def test_a_backup_taken_up_gives_back_keys_and_never_a_forgotten_one(
    vault: PersonVault, tmp_path: Path
) -> None:
    kept, gone, gone_there = vault.new_persons(3)
    sealed = vault.seal(kept, "name", "张伟")
    backup = vault.contents()
    vault.forget(gone, 1, "test")
    fresh = PersonVault(tmp_path / "fresh.db", random.Random(9).randbytes)
    fresh.take([kept])
    merged = fresh.merge(
        VaultContents(
            number=backup.number,
            keys={p: k for p, k in backup.keys.items() if p not in {gone, gone_there}},
            forgotten=frozenset({gone_there}),
        )
    )
    assert (merged.added, merged.clashes) == (1, frozenset())
    assert fresh.open(kept, "name", sealed) == "张伟"
    assert fresh.number > backup.number
    fresh.merge(backup)
    assert fresh.forgotten() == [gone_there]
    vault.merge(backup)
    assert vault.forgotten() == [gone]
    fresh.close()


def test_an_ordinal_that_stands_for_another_is_named_and_kept(vault: PersonVault) -> None:
    person = vault.new_person()
    sealed = vault.seal(person, "name", "张伟")
    clash = VaultContents(number=1, keys={person: bytes(32)}, forgotten=frozenset())
    assert vault.merge(clash).clashes == {person}
    assert vault.open(person, "name", sealed) == "张伟"


def test_an_ordinal_taken_elsewhere_is_never_drawn(tmp_path: Path) -> None:
    draws = iter([b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3"])
    vault = PersonVault(
        tmp_path / "vault.db", lambda count: next(draws) if count == 4 else bytes(count)
    )
    vault.take([2, 3])
    assert vault.new_person() == 4
    with pytest.raises(KeyError, match="never known"):
        vault.seal(2, "name", "x")
    vault.close()


def test_a_box_forgets_again_only_whom_it_forgot_itself(tmp_path: Path) -> None:
    """The hub can certify a further box of a school: what that one signs destroys no key."""
    node = District(tmp_path, random.Random(3)).add(17)
    node.record("erasure", [{"at_ms": 9, "person": 5}, {"at_ms": 10, "person": 8}])
    own = (17, node.incarnation, node.signer)
    with closing(connect_readonly(tmp_path / "17.db")) as reader:
        cursor = reader.cursor()
        assert forgotten_here(cursor, own, {5, 6}) == {5: 9}  # still unsealed
        node.seal_all()
        assert forgotten_here(cursor, own, {5, 6}) == {5: 9}
        another = (17, node.incarnation + 1, SignerId(bytes(8)))
        assert forgotten_here(cursor, another, {5, 6}) == {}
    node.close()
