"""What a device profile measures or can be told has a word at the box and at the hub."""

import pytest

from edge.pages.language import LANGUAGES, load_languages
from firmware_profiles.catalog import load_catalog
from hub.locale.catalogue import Reader
from hub.locale.sentence import Sentence
from hub.pages.words import DEVICE_KINDS, POINTS, word_of

PROFILES = tuple(load_catalog().profiles.values())
MEASURED = sorted({point.id for profile in PROFILES for point in profile.points})
TOLD = sorted({command.id for profile in PROFILES for command in profile.commands})
VALUES = sorted(
    {word for profile in PROFILES for point in profile.points for word in point.enum.values()}
    | {word for profile in PROFILES for command in profile.commands for word in command.values}
)


def named(identifier: str) -> str:
    """Return the part of an identifier that has a word: ``relay_3`` is a relay."""
    base, _, number = identifier.rpartition("_")
    return base if number.isdecimal() and identifier not in POINTS else identifier


def test_there_are_profiles_to_hold_the_words_against() -> None:
    assert {"soil_conductivity", "errors", "reachable"} <= set(MEASURED)
    assert {"power", "freeze"} <= set(TOLD)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_box_names_every_point_command_and_value_of_its_profiles(language: str) -> None:
    words = load_languages()[language].words
    assert [point for point in MEASURED if named(point) not in words.points] == []
    assert [command for command in TOLD if named(command) not in words.commands] == []
    assert [value for value in VALUES if value not in words.values] == []


def test_the_hub_names_every_point_and_kind_that_a_box_may_send() -> None:
    assert [point for point in MEASURED if named(point) not in POINTS] == []
    assert {profile.kind for profile in PROFILES} <= set(DEVICE_KINDS)


def test_box_and_hub_use_one_chinese_word_for_one_point() -> None:
    box, hub = load_languages()["zh-CN"].words.points, Reader("zh-CN")
    differing = {
        point: (box[point], hub.say(POINTS[point]))
        for point in map(named, MEASURED)
        if box[point] != hub.say(POINTS[point])
    }
    assert differing == {}


def test_a_numbered_point_is_the_word_and_the_number() -> None:
    assert load_languages()["zh-CN"].words.point("relay_3") == "继电器 3"
    assert load_languages()["en"].words.command("relay_12") == "relay 12"
    word = word_of(POINTS, "relay_3")
    assert isinstance(word, Sentence)
    assert Reader("zh-CN").say(word) == "继电器 3"
    assert word_of(POINTS, "unknown_3") == "unknown 3"
