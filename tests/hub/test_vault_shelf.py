"""The hub's shelf replaces a school's vault, and never leaves it with none that opens."""

import random
from pathlib import Path

import pytest

from hub import vault_shelf
from hub.vault_shelf import VaultShelf
from sync.errors import ForgedError, MalformedError
from sync.persons.recovery import new_recovery_code
from sync.persons.vault import VaultContents
from sync.persons.vault_backup import (
    VaultShare,
    backup_digest,
    open_backup,
    read_header,
    seal_backup,
)

DAY_MS = 24 * 3600 * 1000
CHANCE = random.Random(5)
RECOVERY = new_recovery_code(CHANCE.randbytes).key()


class Shelf(VaultShelf):
    """A shelf whose clock a test moves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 30, lambda: self.ms, random.Random(1).randbytes)
        self.ms = 1_000_000


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "vaults")


def backup(share: VaultShare, number: int, persons: int = 2, school: int = 17) -> bytes:
    keys = {person: CHANCE.randbytes(32) for person in range(1, persons + 1)}
    contents = VaultContents(number=number, keys=keys, forgotten=frozenset())
    return seal_backup(school, contents, RECOVERY.public_key(), share, 1, CHANCE.randbytes)


def test_a_school_that_stored_nothing_is_told_so(shelf: Shelf) -> None:
    state = shelf.state(17)
    assert (state.generation, state.number, state.digest) == (0, 0, b"")
    assert shelf.copy(17) is None


def test_a_backup_comes_back_with_the_share_it_needs(shelf: Shelf) -> None:
    stored = backup(shelf.share_after(17, 0), 1)
    receipt = shelf.store(17, "aa", stored)
    assert (receipt.school, receipt.number, receipt.generation) == (17, 1, 1)
    assert receipt.digest == backup_digest(stored)
    assert receipt.clear_ms == shelf.ms + 30 * DAY_MS
    copy = shelf.copy(17)
    assert copy is not None
    assert copy.backup == stored
    assert len(open_backup(copy.backup, 17, RECOVERY, copy.share).keys) == 2
    assert shelf.copy(18) is None
    assert shelf.state(17).digest == receipt.digest


def test_a_share_stays_until_a_backup_under_the_next_has_come(shelf: Shelf) -> None:
    first = shelf.share_after(17, 0)
    shelf.store(17, "aa", backup(first, 1))
    assert shelf.share_after(17, 0) == first
    second = shelf.share_after(17, first.generation)
    assert second.generation > first.generation
    copy = shelf.copy(17)
    assert copy is not None
    assert copy.share == first
    assert open_backup(copy.backup, 17, RECOVERY, copy.share)
    shelf.ms += 5
    receipt = shelf.store(17, "aa", backup(second, 2))
    assert receipt.clear_ms == shelf.ms + 30 * DAY_MS
    copy = shelf.copy(17)
    assert copy is not None
    assert copy.share == second
    shelf.ms += 5
    again = shelf.store(17, "aa", backup(second, 3))
    assert again.clear_ms == receipt.clear_ms


def test_a_share_under_which_nothing_came_is_not_given_out_again(shelf: Shelf) -> None:
    """What was sent under it, and did not stand, may hold the key of somebody forgotten since."""
    refused = shelf.share_after(17, 0)
    given = shelf.share_after(17, 0)
    assert given.generation > refused.generation
    with pytest.raises(ForgedError, match="is gone"):
        shelf.store(17, "aa", backup(refused, 1))
    assert shelf.store(17, "aa", backup(given, 1)).generation == given.generation


def test_the_former_share_and_backup_are_in_no_file_any_more(shelf: Shelf, tmp_path: Path) -> None:
    first = shelf.share_after(17, 0)
    former = backup(first, 1)
    shelf.store(17, "aa", former)
    assert first.share in on_disk(tmp_path)
    assert former in on_disk(tmp_path)
    fds = [path.open("rb") for path in sorted((tmp_path / "vaults").iterdir())]
    second = shelf.share_after(17, 1)
    shelf.store(17, "aa", backup(second, 2))
    for needle in (first.share, former):
        assert needle not in on_disk(tmp_path)
    for file in fds:  # what lies where the replaced files lay
        content = file.read()
        assert first.share not in content
        assert former not in content
        file.close()


def test_an_older_vault_never_takes_the_place_of_a_newer(shelf: Shelf) -> None:
    share = shelf.share_after(17, 0)
    old, new = backup(share, 1), backup(share, 2)
    shelf.store(17, "aa", new)
    for box in ("aa", "bb"):
        with pytest.raises(ForgedError, match="not newer"):
            shelf.store(17, box, old)
    with pytest.raises(ForgedError, match="of box aa"):
        shelf.store(17, "bb", backup(share, 2))
    assert shelf.state(17).digest == backup_digest(new)


def test_a_lost_answer_is_asked_for_again(shelf: Shelf) -> None:
    share = shelf.share_after(17, 0)
    first = backup(share, 1)
    receipt = shelf.store(17, "aa", first)
    assert shelf.store(17, "aa", first) == receipt
    sealed_anew = backup(share, 1)
    assert shelf.store(17, "aa", sealed_anew).digest == backup_digest(sealed_anew)


def test_a_backup_under_a_share_that_is_gone_is_refused(shelf: Shelf) -> None:
    first = shelf.share_after(17, 0)
    shelf.store(17, "aa", backup(first, 1))
    shelf.store(17, "aa", backup(shelf.share_after(17, 1), 2))
    with pytest.raises(ForgedError, match="share 1 of the vault's key is gone"):
        shelf.store(17, "aa", backup(first, 3))


def test_another_schools_vault_and_rubbish_are_refused(shelf: Shelf) -> None:
    share = shelf.share_after(17, 0)
    with pytest.raises(ForgedError, match="not school 17's"):
        shelf.store(17, "aa", backup(share, 1, school=18))
    with pytest.raises(MalformedError):
        shelf.store(17, "aa", b"rubbish")
    assert shelf.copy(17) is None


def test_generations_rise_above_what_a_box_has_seen(shelf: Shelf) -> None:
    assert shelf.share_after(17, 41).generation == 42


def test_no_box_uses_up_the_numbers_of_those_that_come_after_it(shelf: Shelf) -> None:
    first = shelf.share_after(17, 0)
    with pytest.raises(ForgedError, match="far above"):
        shelf.share_after(17, 2**48 - 1)
    with pytest.raises(ForgedError, match="far above"):
        shelf.store(17, "aa", backup(first, 2**48 - 1))
    shelf.store(17, "aa", backup(first, 5))
    assert shelf.state(17).number == 5


def test_a_box_may_seal_anew_what_the_hub_stored_as_it_crashed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = shelf.share_after(17, 0)
    shelf.store(17, "old", backup(share, 1))

    replace = vault_shelf._replace

    def crash(path: Path, content: bytes) -> None:
        replace(path, content)
        if path.name == "17.backup":
            raise OSError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(vault_shelf, "_replace", crash)
        with pytest.raises(OSError, match="power"):
            shelf.store(17, "new", backup(share, 2))
    again = backup(share, 2)
    assert shelf.store(17, "new", again).digest == backup_digest(again)


def test_a_crash_at_each_write_leaves_a_vault_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        """Ends the process here."""

    replace = vault_shelf._replace
    for cut_at in range(8):
        folder = tmp_path / str(cut_at)
        shelf = Shelf(folder)
        shelf.store(17, "aa", backup(shelf.share_after(17, 0), 1))
        left = cut_at

        def cut(path: Path, content: bytes) -> None:
            nonlocal left
            if left % 2 and left == 1:
                replace(path, content)
            if left <= 1:
                raise PowerCut
            left -= 2
            replace(path, content)

        monkeypatch.setattr(vault_shelf, "_replace", cut)
        try:
            fresh = backup(shelf.share_after(17, 1), 2)
            shelf.store(17, "aa", fresh)
        except PowerCut:
            pass
        monkeypatch.setattr(vault_shelf, "_replace", replace)
        copy = Shelf(folder).copy(17)
        assert copy is not None
        assert copy.share.generation == read_header(copy.backup).generation
        assert open_backup(copy.backup, 17, RECOVERY, copy.share).keys
        after = Shelf(folder)
        after.store(17, "aa", backup(after.share_after(17, 1), 3))
        copy = after.copy(17)
        assert copy is not None
        assert copy.share.generation > 1


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
