"""An error of a command is one sentence, in the language of the terminal."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edge.__main__
import hub.__main__


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("main", "command"), [(edge.__main__.main, "setup-code"), (hub.__main__.main, "admin-code")]
)
@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("zh_CN.UTF-8", "无法读取（没有这个文件或文件夹）"),  # noqa: RUF001 - Chinese
        ("en_GB.UTF-8", "cannot be read (No such file or directory)"),
    ],
)
def test_a_missing_configuration_is_told_in_the_language_of_the_terminal(
    main: Callable[[], None],
    command: str,
    locale: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = tmp_path / "missing.toml"
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setattr(sys, "argv", ["schoolnode", command, "--config", str(missing)])

    with pytest.raises(SystemExit) as ended:
        main()

    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert str(missing) in told
    assert words in told
