# ruff: noqa: RUF001 - Chinese has its own punctuation

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning import retelling
from provisioning.retelling import (
    LINE_CHARS_MAX,
    TEXT_CHARS_MAX,
    TURNS_MAX,
    Retelling,
    load_retelling,
)

SENTENCES = {
    "the hub": "区域中心",
    "it is addressed to {0}": "它是给{0}的",
    "{0} is in use by another program; stop that program": "{0} 正被另一个程序使用；请停止那个程序",
    "{0}, {1} times in a row": "{0}，连续 {1} 次",
    "{0} segment {1} came as {2}": "{2} 收到的是 {0} 数据段 {1}",
    "{0} segment {1} came as the last": "最后收到的是 {0} 数据段 {1}",
    "{0} on {1}": "{1} 上的 {0}",
    "125 kHz card reader": "125 kHz 读卡器",
    "the device is away{0}": "设备不在线{0}",
    "; done when it is back": "；恢复后执行",
    "write {value} or {0}": "请写 {value} 或 {0}",
    "the display is off; switch it on first": "显示设备是关的；请先打开",
}
CHINESE = Retelling(SENTENCES)


def test_a_sentence_is_retold_with_what_fills_its_places() -> None:
    assert (
        CHINESE.retold("/dev/ttyUSB0 is in use by another program; stop that program")
        == "/dev/ttyUSB0 正被另一个程序使用；请停止那个程序"
    )
    assert CHINESE.retold("d:3:1 segment 7 came as s2") == "s2 收到的是 d:3:1 数据段 7"


def test_a_sentence_in_a_sentence_is_retold_too() -> None:
    assert CHINESE.retold("it is addressed to the hub") == "它是给区域中心的"
    assert CHINESE.retold(
        "/dev/ttyUSB0 is in use by another program; stop that program, 3 times in a row"
    ) == ("/dev/ttyUSB0 正被另一个程序使用；请停止那个程序，连续 3 次")
    assert CHINESE.retold("the device is away; done when it is back") == "设备不在线；恢复后执行"
    assert CHINESE.retold("the device is away") == "设备不在线"


def test_the_pattern_that_says_most_itself_is_the_one() -> None:
    assert CHINESE.retold("x segment 7 came as the last") == "最后收到的是 x 数据段 7"


def test_sentences_put_together_are_retold_one_by_one() -> None:
    assert CHINESE.retold("tcp://10.1.2.3:80: the display is off; switch it on first") == (
        "tcp://10.1.2.3:80：显示设备是关的；请先打开"
    )
    assert CHINESE.retold("x: y: z; the display is off; switch it on first (the hub)") == (
        "x: y: z；显示设备是关的；请先打开（区域中心）"
    )
    assert CHINESE.retold("bus (open); the display is off; switch it on first") == (
        "bus (open)；显示设备是关的；请先打开"
    )
    assert CHINESE.retold("line 3 (the hub)\nthe hub") == "line 3（区域中心）\n区域中心"


def test_what_nobody_here_said_stays_as_it_is() -> None:
    for said in ("ERR: lamp cover", "ETTÄ: ei; vielä", "", "   ", "{0}", "已经是中文"):
        assert CHINESE.retold(said) == said


def test_a_name_within_a_sentence_is_not_taken_for_a_sentence() -> None:
    assert CHINESE.retold("it is addressed to Board on floor 2") == "它是给Board on floor 2的"
    assert CHINESE.retold("125 kHz card reader on ttyUSB0") == "ttyUSB0 上的 125 kHz 读卡器"
    assert CHINESE.retold("Board on floor 2") == "Board on floor 2"


def test_what_fills_a_place_is_never_a_pattern_itself() -> None:
    assert CHINESE.retold("write {value} or {0}{1}") == "请写 {value} 或 {0}{1}"


def test_english_readers_get_the_sentence_itself() -> None:
    said = "the hub does not know this join code; check it, or ask for a new one"
    assert load_retelling("en").retold(said) == said
    assert load_retelling("zh-CN").retold(said) != said


@given(st.text(max_size=2 * LINE_CHARS_MAX))
def test_no_text_is_too_strange(text: str) -> None:
    assert load_retelling("zh-CN").retold(text) is not None


def test_a_text_made_of_seams_costs_no_more_than_any_other() -> None:
    """Each part of a text might be split again at each seam; the turns are counted."""
    text = "no: such, thing; (as) this " * 35
    assert CHINESE.retold(text) == text


def test_a_long_text_takes_the_turns_of_several() -> None:
    """Each look at a part goes through all patterns: ever so many long parts would take long."""
    begins, told = "it is addressed to ", "它是给"
    assert CHINESE.retold(5 * begins + "box").count(told) == 5
    long = 50 * begins + "box"
    assert len(long) < LINE_CHARS_MAX
    assert 1 <= CHINESE.retold(long).count(told) < TURNS_MAX // 4
    lines = "\n".join([5 * begins] * (TEXT_CHARS_MAX // len(begins)))
    assert CHINESE.retold(lines) == lines


def test_a_sentence_that_waits_for_its_words_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sync" / "locale" / "zh_CN" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n'
    known, new = 'msgid "{0} is quite new"\nmsgstr "{0} 是新的"\n', 'msgid "the hub"\nmsgstr ""\n'
    (folder / "sentences.po").write_text(f"{header}\n{known}\n{new}", encoding="utf-8")
    monkeypatch.setattr(retelling, "_HOUSE", tmp_path)
    chinese = load_retelling.__wrapped__("zh-CN")
    assert chinese.retold("the hub") == "the hub"
    assert chinese.retold("the hub is quite new") == "the hub 是新的"
