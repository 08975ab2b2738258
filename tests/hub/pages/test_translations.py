import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

import hub
from hub.locale.catalogue import CHINESE, ENGLISH, LANGUAGES, Reader, choose_language
from hub.locale.sentence import Age, Bytes, Clock, Day, Sentence
from hub.pages.words import REASONS, reason_of
from sync.errors import Reason
from tests.hub.pages.paper_hub import DAY, HOUR, MINUTE, SECOND, TEN_O_CLOCK

HUB = Path(hub.__file__).parent
PLACES = re.compile(r"%\((\w+)\)s")
MAKE = "pybabel extract -F hub/locale/babel.ini -k Sentence -o messages.pot hub; pybabel update"


def sentences_in_use() -> set[object]:
    with (HUB / "locale" / "babel.ini").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call] # babel leaves it untyped
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "Sentence": None}
    found = extract_from_dir(HUB, methods, options, keywords=keywords)
    return {message for _, _, message, *_ in found}


def catalogue(language: str) -> Catalog:
    path = HUB / "locale" / language.replace("-", "_") / "LC_MESSAGES" / "messages.po"
    return read_po(BytesIO(path.read_bytes()), locale=language.replace("-", "_"))


def texts(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def names(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_in_use_is_translated_and_no_other(language: str) -> None:
    translated = {message.id for message in catalogue(language) if message.id}

    used = sentences_in_use()
    assert len(used) > 200
    assert used - translated == set(), f"not in {language}; run {MAKE}"
    assert translated - used == set(), f"no longer used, in {language}; run {MAKE}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_empty_or_fuzzy_or_loses_a_place(language: str) -> None:
    for message in catalogue(language):
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        wanted = {place for name in names(message) for place in PLACES.findall(name)}
        for text in texts(message):
            assert text, message.id
            assert set(PLACES.findall(text)) == wanted, message.id


def test_chinese_is_really_chinese() -> None:
    plain = [
        message.id
        for message in catalogue(CHINESE)
        if message.id
        and PLACES.sub("", texts(message)[0]).strip()
        and not re.search(r"[\u4e00-\u9fff]", texts(message)[0])
    ]

    assert plain == []


def test_every_reason_for_setting_something_aside_has_a_word() -> None:
    assert set(REASONS) == set(Reason)
    assert reason_of("forged: signer 3") == (REASONS[Reason.FORGED], "signer 3")
    assert reason_of("of an older version: x") == (REASONS[Reason.OTHER], "of an older version: x")


@pytest.mark.parametrize(
    ("asked", "remembered", "accepted", "chosen"),
    [
        ("en", "zh-CN", "zh", ENGLISH),
        ("fr", "en", "zh", ENGLISH),
        (None, None, "fr, en-GB;q=0.8, zh;q=0.5", ENGLISH),
        (None, None, "zh-TW, en", CHINESE),
        (None, None, "", CHINESE),
        (None, None, "\x00,;;=,", CHINESE),
        ("../../etc", "<script>", "," * 10_000, CHINESE),
    ],
)
def test_the_language_is_asked_for_remembered_accepted_or_chinese(
    asked: str | None, remembered: str | None, accepted: str, chosen: str
) -> None:
    assert choose_language(asked, remembered, accepted) == chosen


@pytest.mark.parametrize(
    ("ms", "english", "chinese"),
    [
        (-5 * MINUTE, "0 s", "0 秒"),
        (12 * SECOND + 900, "12 s", "12 秒"),
        (119 * SECOND, "119 s", "119 秒"),
        (4 * MINUTE, "4 min", "4 分钟"),
        (3 * HOUR, "3 h", "3 小时"),
        (1234 * DAY, "1,234 d", "1,234 天"),
    ],
)
def test_ages_are_read_in_the_largest_unit_that_fits(ms: int, english: str, chinese: str) -> None:
    assert (Reader(ENGLISH).age(ms), Reader(CHINESE).age(ms)) == (english, chinese)


def test_each_kind_of_argument_is_read_in_the_reader_s_language() -> None:
    sentence = Sentence(
        "The lesson would be over already (%(day)s, %(until)s); choose a later time.",
        {"day": Day(TEN_O_CLOCK), "until": Clock(TEN_O_CLOCK)},
    )

    assert Reader(ENGLISH).say(sentence) == (
        "The lesson would be over already (Saturday, November 21, 2026, 10:00); "
        "choose a later time."
    )
    assert "2026年11月21日星期六 10:00" in Reader(CHINESE).say(sentence)
    assert Reader(ENGLISH).fill(Bytes(150_000_000)) == "143.1 MiB"
    assert Reader(ENGLISH).fill(Age(7 * SECOND)) == "7 s"
    assert Reader(ENGLISH).fill(Sentence("live")) == "live"


@pytest.mark.parametrize("at_ms", [-(2**63), -1, 2**63 - 1])
def test_a_moment_no_calendar_has_is_shown_not_fatal(at_ms: int) -> None:
    assert Reader(ENGLISH).clock_with_seconds(at_ms)
    assert Reader(CHINESE).day(at_ms)
