import stat
from pathlib import Path

import pytest

from provisioning.errors import SetupError
from provisioning.program_folder import hold_folder, open_code, open_generation


def test_a_folder_is_held_by_one_and_by_the_next_when_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for _ in range(2):
        with (
            hold_folder(folder, "hub"),
            pytest.raises(SetupError, match="another hub runs on this folder; stop it"),
            hold_folder(folder, "hub"),
        ):
            raise AssertionError("two hold it")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_generation_stays_with_its_folder_and_differs_from_others(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    first, second = map(open_generation, folders)
    assert first != second
    assert open_generation(folders[0]) == first


def test_a_code_is_made_once_and_for_one_user(tmp_path: Path) -> None:
    path = tmp_path / "data" / "code"
    code = open_code(path, "0123456789", 8)
    assert len(code) == 8
    assert code.isdecimal()
    assert open_code(path, "abc", 3) == code
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
