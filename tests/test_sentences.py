"""Whatever the program says to a person below its catalogues, it can say in Chinese too."""

import re

import pytest

from provisioning.retelling import PACKAGES, load_retelling
from tests.sentences import ROOT, find_patterns, read_catalogue

REFRESH = "run: python -m tests.sentences"
PLACE = re.compile(r"\{\d+\}")


def told_by(package: str) -> dict[str, str]:
    return {str(entry.id): str(entry.string) for entry in read_catalogue(package) if entry.id}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_sentence_of_a_package_has_chinese_words_and_none_is_left_over(package: str) -> None:
    said = {pattern.text for pattern in find_patterns(package)}
    told = told_by(package)

    assert said - told.keys() == set(), REFRESH
    assert told.keys() - said == set(), REFRESH
    assert [
        text for text, chinese in told.items() if not re.search(r"[\u4e00-\u9fff]", chinese)
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_chinese_sentences_keep_every_place(package: str) -> None:
    for text, chinese in told_by(package).items():
        assert sorted(PLACE.findall(chinese)) == sorted(PLACE.findall(text)), text


def test_no_sentence_is_taken_for_another() -> None:
    """Whatever fills its places, a sentence comes back in its own words, not in a likeness's."""
    retelling = load_retelling("zh-CN")
    told: dict[str, str] = {}
    for package in PACKAGES:
        for text, chinese in told_by(package).items():
            assert told.setdefault(text, chinese) == chinese, f"{text}: told in two ways"

    for text, chinese in told.items():
        assert retelling.retold(filled(text)) == filled(chinese)


def filled(pattern: str) -> str:
    return PLACE.sub(lambda place: f"Q{place[0][1:-1]}", pattern)


def test_no_page_shows_a_sentence_in_english_to_all() -> None:
    """What is marked as English was not retold; the printed recovery sheet is in both languages."""
    pages = [path for package in ("edge", "hub") for path in (ROOT / package).rglob("*.html")]
    marked = [path.name for path in pages if 'lang="en"' in path.read_text("utf-8")]
    assert marked == ["recovery_sheet.html"]
