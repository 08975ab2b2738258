"""What is found before the bell is judged: worst first, and what fails has remedy and somebody."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.evidence.minutes import ITEM_WORDS
from edge.lesson.preparing.checks import Check, Fixer, Item, Standing
from edge.lesson.preparing.preflight import (
    AimFacts,
    BoardFacts,
    CameraFacts,
    CardFacts,
    Facts,
    Fault,
    LineFacts,
    PageFacts,
    StandInFacts,
    judge,
)
from edge.pages.box_view import LessonRole
from edge.pages.language import LANGUAGES, load_languages
from edge.pages.lesson_words import fixer_words, item_words, told_check
from hub.pages.lesson_lights import CAUSES

NOW_MS = 1_800_000_000_000
WELL = Facts(
    now_ms=NOW_MS,
    role=LessonRole.FLAGSHIP,
    lesson_s=2400,
    camera=CameraFacts(keyframe_ms=300, sounds=12),
    board_picture=CameraFacts(keyframe_ms=300),
    document=CameraFacts(keyframe_ms=300),
    aim=AimFacts(preset="课堂"),
    boards=(BoardFacts(name="教室投影", source="31", verified=True),),
    cards=(CardFacts(name="门口", heard_ms=NOW_MS - 1000),),
    page=PageFacts(is_open=True),
    stand_in=StandInFacts(title="圆", opens=True),
    line=LineFacts(bits_a_s=8_000_000),
    disk_free_bytes=50 * 1024**3,
)


def failing(facts: Facts) -> list[tuple[Item, Standing]]:
    return [(check.item, check.state) for check in judge(facts) if check.is_failing]


def test_where_all_is_well_nothing_fails_and_each_item_was_looked_at() -> None:
    assert failing(WELL) == []
    assert {check.item for check in judge(WELL)} == set(Item)


@pytest.mark.parametrize(
    ("facts", "item", "state"),
    [
        (
            replace(WELL, camera=CameraFacts(fault=Fault.SILENT, words="camera c is away")),
            Item.CAMERA,
            Standing.BAD,
        ),
        (replace(WELL, camera=CameraFacts(keyframe_ms=9)), Item.SOUND, Standing.WARN),
        (
            replace(WELL, camera=CameraFacts(keyframe_ms=9, sounds=1, lacks_small=True)),
            Item.CAMERA,
            Standing.WARN,
        ),
        (replace(WELL, aim=AimFacts()), Item.AIM, Standing.WARN),
        (replace(WELL, aim=AimFacts(preset="a", fault="no")), Item.AIM, Standing.WARN),
        (
            replace(WELL, boards=(BoardFacts(name="b", source="31", fault="silent"),)),
            Item.BLACKBOARD,
            Standing.BAD,
        ),
        (
            replace(WELL, cards=(CardFacts(name="c", heard_ms=None),)),
            Item.CLASS_CARD,
            Standing.WARN,
        ),
        (
            replace(WELL, board_picture=CameraFacts(fault=Fault.SILENT, words="it is away")),
            Item.BOARD_PICTURE,
            Standing.WARN,
        ),
        (
            replace(WELL, document=CameraFacts(fault=Fault.REFUSED, words="it wants H.265")),
            Item.DOCUMENT,
            Standing.WARN,
        ),
        (
            replace(WELL, stand_in=StandInFacts(title="圆", opens=False)),
            Item.STAND_IN,
            Standing.WARN,
        ),
        (replace(WELL, page=PageFacts(is_open=False)), Item.PAGE, Standing.WARN),
        (
            replace(WELL, page=PageFacts(is_open=True, mute=("10.0.0.5",))),
            Item.PAGE,
            Standing.WARN,
        ),
        (replace(WELL, line=LineFacts(fault="no route")), Item.LINE, Standing.BAD),
        (replace(WELL, line=LineFacts(bits_a_s=800_000)), Item.LINE, Standing.WARN),
        (replace(WELL, line=LineFacts(bits_a_s=70_000)), Item.LINE, Standing.WARN),
        (replace(WELL, unconfirmed=("第18小学",)), Item.KEY, Standing.BAD),
        (replace(WELL, has_key=False), Item.KEY, Standing.BAD),
        (
            replace(WELL, role=LessonRole.RECEIVER, unconfirmed=("第17小学",)),
            Item.KEY,
            Standing.WARN,
        ),
        (replace(WELL, disk_free_bytes=1024), Item.DISK, Standing.WARN),
        (replace(WELL, is_clock_known=False), Item.CLOCK, Standing.WARN),
    ],
)
def test_each_fault_is_told_alone_and_first(facts: Facts, item: Item, state: Standing) -> None:
    assert failing(facts) == [(item, state)]
    assert judge(facts)[0].item is item


def test_a_class_that_receives_is_not_stopped_by_its_own_camera() -> None:
    facts = replace(
        WELL,
        role=LessonRole.RECEIVER,
        camera=CameraFacts(fault=Fault.SILENT, words="camera c is away"),
    )
    assert failing(facts) == [(Item.CAMERA, Standing.WARN)]


def test_a_class_without_a_camera_is_told_what_that_means_and_asked_for_nothing() -> None:
    facts = replace(WELL, role=LessonRole.RECEIVER, camera=None)
    assert failing(facts) == []
    assert "the teacher will not see the class" in next(
        each.fact for each in judge(facts) if each.item is Item.CAMERA
    )


FACTS = st.builds(
    Facts,
    now_ms=st.just(NOW_MS),
    role=st.sampled_from(LessonRole),
    lesson_s=st.integers(60, 30_000),
    camera=st.none()
    | st.builds(
        CameraFacts,
        keyframe_ms=st.integers(0, 9000),
        sounds=st.integers(0, 99),
        lacks_small=st.booleans(),
    )
    | st.builds(CameraFacts, fault=st.sampled_from(Fault), words=st.text(min_size=1)),
    aim=st.none() | st.builds(AimFacts, preset=st.text(), fault=st.text()),
    boards=st.builds(lambda *each: each, st.builds(BoardFacts, name=st.text(), source=st.text())),
    line=st.none() | st.builds(LineFacts, bits_a_s=st.integers(0, 10**9)),
    disk_free_bytes=st.none() | st.integers(0, 10**13),
)


@given(FACTS)
def test_whatever_fails_has_a_fact_a_remedy_and_somebody_who_applies_it(facts: Facts) -> None:
    order = [Standing.BAD, Standing.WARN, Standing.UNKNOWN, Standing.GOOD]
    checks = judge(facts)
    assert [order.index(each.state) for each in checks] == sorted(
        order.index(each.state) for each in checks
    )
    for check in checks:
        assert check.fact
        assert bool(check.remedy) == bool(check.who) == check.is_failing


def test_the_hub_has_a_sentence_for_each_item() -> None:
    assert ITEM_WORDS.keys() == set(Item)
    assert set(ITEM_WORDS.values()) <= CAUSES.keys()


@pytest.mark.parametrize("code", LANGUAGES)
def test_pages_have_words_for_each_item_and_each_person(code: str) -> None:
    language = load_languages()[code]
    assert item_words(language).keys() == set(Item)
    assert fixer_words(language).keys() == set(Fixer)


def test_a_check_is_told_in_chinese_with_the_names_it_holds() -> None:
    check = Check(
        item=Item.CLASS_CARD,
        state=Standing.WARN,
        fact="The class card 门口 is not heard from.",
        remedy="Check its power and network; the lesson itself does not need it.",
        who=Fixer.IT,
    )
    told = told_check(check, load_languages()["zh-CN"])
    assert told["fact"] == "班牌 门口 没有消息。"
    assert "Check" not in told["remedy"]
