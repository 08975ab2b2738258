import os
import subprocess
import sys

import pytest

from edge.terminal import terminal_language, who_word


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
    assert terminal_language(environment).code == code


@pytest.mark.parametrize("command", [(), ("keys",), ("recovery",), ("courier",), ("sync",)])
def test_the_commands_explain_themselves_in_chinese(command: tuple[str, ...]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "edge", *command, "--help"],
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


def test_whose_decision_is_told_in_words_only_where_it_is_no_name() -> None:
    assert who_word("command line") == "command line of the box"
    assert who_word("Wang_Fang") == "Wang_Fang"
