import os
import subprocess
import sys

import pytest

from hub.terminal import terminal_language


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "", "LC_ALL": "zh_CN"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
    ],
)
def test_the_terminal_speaks_the_language_of_its_locale(
    environment: dict[str, str], code: str
) -> None:
    assert terminal_language(environment) == code


@pytest.mark.parametrize("command", [(), ("keys",), ("courier",), ("roster",)])
def test_the_commands_explain_themselves_in_chinese(command: tuple[str, ...]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "hub", *command, "--help"],
        env={**os.environ, "LC_ALL": "zh_CN.UTF-8", "COLUMNS": "80", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    ).stdout
    # What typer itself says of --help stays as it is.
    explained = [line for line in told.splitlines() if line.startswith("│ ") and "--" not in line]
    assert explained
    assert [line for line in explained if line.isascii() and line.strip("│ ")] == []
