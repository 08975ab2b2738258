"""Two languages, whole, and the reader gets the one they asked for."""

import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

import pytest
from aiohttp.test_utils import make_mocked_request
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from drivers.discovery.candidate import DeviceKind, Need
from drivers.entities import Outcome, Quality
from edge.lesson.status import Cause
from edge.metering import Hold
from edge.pages import box_view
from edge.pages.language import CATALOGUES, LANGUAGES, choose_language, load_languages
from firmware_profiles.catalog import load_catalog
from firmware_profiles.doubts import doubtful
from sync.clock_spans import Trust
from sync.errors import Reason
from sync.schema.model import Lane
from tests.edge.pages.conftest import Client

EDGE = CATALOGUES.parent
PLACEHOLDER = re.compile(r"%\((\w+)\)s|\{(\w+)\}")
Message = str | tuple[str, ...]


def extract_messages() -> set[Message]:
    found = extract_from_dir(
        EDGE,
        method_map=[("**.py", "python"), ("pages/**.html", "jinja2.ext:babel_extract")],
        options_map={"pages/**.html": {"silent": "false"}},
        # "say" and "tell" are the command line's.
        keywords={**DEFAULT_KEYWORDS, "say": None, "_say": None, "tell": None},
    )
    return {
        message if isinstance(message, str) else tuple(message[:2])
        for _file, _line, message, _comments, _context in found
    }


def read_catalogue(code: str) -> Catalog:
    path: Path = CATALOGUES / code.replace("-", "_") / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as stream:
        return read_po(stream, locale=code.replace("-", "_"), abort_invalid=True)


def forms(text: str | Sequence[str] | None) -> list[str]:
    """Return a message's singular and plurals."""
    return [text] if isinstance(text, str) else list(text or ())


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_message_is_translated_and_none_is_left_over(code: str) -> None:
    catalogue = read_catalogue(code)
    entries = {
        message.id if isinstance(message.id, str) else tuple(message.id): message
        for message in catalogue
        if message.id
    }
    assert set(entries) == extract_messages()
    for message in entries.values():
        assert not message.fuzzy, message.id
        texts = forms(message.string)
        assert texts, message.id
        assert all(texts), message.id


@pytest.mark.parametrize("code", LANGUAGES)
def test_translations_keep_the_places_for_values(code: str) -> None:
    for message in read_catalogue(code):
        if not message.id:
            continue
        ids = forms(message.id)
        texts = forms(message.string)
        wanted = set(PLACEHOLDER.findall(ids[-1]))
        for text in texts:
            assert set(PLACEHOLDER.findall(text)) == wanted, message.id


def test_chinese_pages_speak_chinese() -> None:
    allowed = {"iPad"}
    for message in read_catalogue("zh-CN"):
        if message.id and message.id not in allowed:
            assert all(re.search(r"[\u4e00-\u9fff]", text) for text in forms(message.string))


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_state_a_page_can_show_has_a_word(code: str) -> None:
    words = load_languages()[code].words
    for known, table in (
        (DeviceKind, words.kinds),
        (box_view.Light, words.lights),
        (box_view.Sign, words.signs),
        (Outcome, words.outcomes),
        (Quality, words.qualities),
        (Need, words.needs),
        (box_view.LessonState, words.lesson_states),
        (box_view.LinkState, words.links),
        (Lane, words.lanes),
        (Reason, words.reasons),
        (Hold, words.holds),
        (Trust, words.clock_trust),
    ):
        assert set(table) == set(known)
    assert {cause.value for cause in Cause if cause} <= set(words.causes)
    assert len(set(words.outcomes.values())) == len(Outcome)
    assert all(
        "n" in {name for _, name, _, _ in Formatter().parse(age)} for age in words.ages.values()
    )


def test_whatever_a_bundled_profile_marks_has_a_word() -> None:
    words = load_languages()["zh-CN"].words
    marked = {name for each in load_catalog().profiles.values() for name in doubtful(each)}
    assert {"link", "card", "set_time", "input_16"} <= marked
    assert {name for name in marked if words.part(name) == name.replace("_", " ")} == set()


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/", {}, "zh-CN"),
        ("/", {"Accept-Language": "en-GB,en;q=0.8,zh;q=0.5"}, "en"),
        ("/", {"Accept-Language": "fr, zh-TW;q=0.4, en;q=0.2"}, "zh-CN"),
        ("/", {"Accept-Language": "fr"}, "zh-CN"),
        ("/", {"Accept-Language": "en;q=0"}, "zh-CN"),
        ("/", {"Accept-Language": "en", "Cookie": "schoolnode-language=zh-CN"}, "zh-CN"),
        ("/?lang=en", {"Cookie": "schoolnode-language=zh-CN"}, "en"),
        ("/?lang=xx", {"Cookie": "schoolnode-language=en"}, "en"),
    ],
)
def test_the_readers_wish_comes_before_the_schools_habit(
    path: str, headers: dict[str, str], expected: str
) -> None:
    assert choose_language(make_mocked_request("GET", path, headers), "zh-CN") == expected


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=600))
def test_no_accept_language_header_breaks_a_page(header: str) -> None:
    request = make_mocked_request("GET", "/", {"Accept-Language": header})
    assert choose_language(request, "zh-CN") in LANGUAGES


async def test_the_choice_is_remembered(client: Client) -> None:
    await client.get("/trust?lang=zh-CN")
    page = await (await client.get("/trust", headers={"Accept-Language": "en"})).text()
    assert '<html lang="zh-CN"' in page
    assert "让这台设备信任学校的盒子" in page


@pytest.mark.parametrize(
    ("age_ms", "english", "chinese"),
    [
        (-5_000, "0 s", "0 秒"),
        (12_400, "12 s", "12 秒"),
        (59_999, "59 s", "59 秒"),
        (60_000, "1 min", "1 分钟"),
        (3_600_000, "1 h", "1 小时"),
        (172_800_000, "2 days", "2 天"),
    ],
)
def test_ages_read_well_in_both_languages(age_ms: int, english: str, chinese: str) -> None:
    languages = load_languages()
    assert languages["en"].age(10_000_000_000 - age_ms, 10_000_000_000) == english
    assert languages["zh-CN"].age(10_000_000_000 - age_ms, 10_000_000_000) == chinese
    assert languages["en"].age(None, 0) == "—"


@pytest.mark.parametrize(
    ("offset_ms", "english", "chinese"),
    [
        (None, "the hub's was not heard yet", "尚未收到区域中心时间"),
        (-0.4, "in step with the hub's", "与区域中心一致"),
        (99, "in step with the hub's", "与区域中心一致"),
        (100, "the hub's is ahead by 0.1 s", "区域中心时钟快 0.1 秒"),
        (-1_500, "the hub's is behind by 1.5 s", "区域中心时钟慢 1.5 秒"),
        (7_200_000, "the hub's is ahead by 7,200 s", "区域中心时钟快 7,200 秒"),
    ],
)
def test_a_clocks_offset_is_told_by_its_direction_and_never_as_minus_nothing(
    offset_ms: int | None, english: str, chinese: str
) -> None:
    languages = load_languages()
    assert languages["en"].offset(offset_ms) == english
    assert languages["zh-CN"].offset(offset_ms) == chinese


@pytest.mark.parametrize(
    ("point", "value", "chinese"),
    [
        ("errors", "000000", "无"),
        ("errors", "012000", "灯泡: 警告, 温度: 故障"),
        ("errors", "0120", "0120"),
        ("source", "31", "数字输入 1"),
        ("source", "99", "99"),
        ("power", "on", "开"),
    ],
)
def test_what_a_display_answers_in_digits_is_told_in_words(
    point: str, value: str, chinese: str
) -> None:
    assert load_languages()["zh-CN"].words.value(value, point) == chinese


@given(st.integers(0, 10**13))
def test_sizes_are_short_enough_for_a_table(count: int) -> None:
    for language in load_languages().values():
        assert len(language.size(count)) <= 12
