"""A person's key opens that person's cells, until it is destroyed."""

import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import ForgedError
from sync.vault import PERSON_MAX, PersonVault


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
    vault.forget(person)
    with pytest.raises(KeyError, match="forgotten"):
        vault.open(person, "name", sealed)
    with pytest.raises(KeyError, match="forgotten"):
        vault.seal(person, "name", "张伟")
    assert vault.persons() == [kept]
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
    vault.forget(first)
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
