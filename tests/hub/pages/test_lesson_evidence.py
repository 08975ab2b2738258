"""What schools signed of a lesson, as the hub weighs and shows it."""

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.lesson.timetable import Row
from hub.locale.sentence import Sentence
from hub.pages.lesson_evidence import DISAGREEMENTS, SignedWord, weigh_words
from sync.lessons.lesson_minutes import Disagreement, Minutes, SignedMinutes
from tests.hub.pages.browser import Browser
from tests.hub.pages.paper_hub import MINUTE, PaperHub, fill

KEYS = {school: Ed25519PrivateKey.from_private_bytes(bytes([school]) * 32) for school in (1, 2, 3)}
PUBLIC = {school: [key.public_key()] for school, key in KEYS.items()}


def minutes(school: int, lesson: str = "a1") -> Minutes:
    return Minutes(
        school=school,
        lesson=lesson,
        live_s=2300,
        recorded_s=2400,
        missing_s=0,
        sent_s=2400 if school == 1 else 0,
        rungs={"main": 2200, "sound": 100},
        digest=bytes(32),
    )


def signed(told: Minutes, by: int) -> SignedMinutes:
    signature = told.row(KEYS[by])["signature"]
    assert isinstance(signature, bytes)
    return SignedMinutes(minutes=told, signature=signature)


def hold(hub: PaperHub) -> None:
    """Let a lesson of two schools have been held this morning."""
    fill(hub)
    lesson = "a1"
    hub.record(
        "lesson",
        [
            {
                "school": 1,
                "lesson": lesson,
                "title_zh": "圆的周长",
                "starts_ms": hub.wall_ms - 60 * MINUTE,
                "ends_ms": hub.wall_ms - 20 * MINUTE,
                "cancelled": 0,
            }
        ],
    )
    for school, role in ((1, "flagship"), (2, "receiver")):
        hub.record("lesson_party", [{"school": school, "lesson": lesson, "role": role}])


def test_a_receivers_word_is_held_against_the_flagships() -> None:
    other = replace(minutes(3), digest=bytes(31) + b"\1")
    words = weigh_words(
        {1: signed(minutes(1), 1), 2: signed(minutes(2), 2), 3: signed(other, 3)}, PUBLIC, 1
    )
    found = (DISAGREEMENTS[Disagreement.OTHER_BYTES],)
    assert words == {
        1: SignedWord(is_signed=True),
        2: SignedWord(is_signed=True),
        3: SignedWord(is_signed=True, disagreements=found),
    }


def test_nothing_is_held_against_a_word_whose_signature_does_not_hold() -> None:
    less = replace(minutes(2), recorded_s=1000)
    words = weigh_words({1: signed(minutes(1), 3), 2: signed(less, 2)}, PUBLIC, 1)
    assert words == {1: SignedWord(is_signed=False), 2: SignedWord(is_signed=True)}
    words = weigh_words({1: signed(minutes(1), 1), 2: signed(less, 1)}, PUBLIC, 1)
    assert words[2] == SignedWord(is_signed=False)
    assert weigh_words({2: signed(less, 2)}, {}, 1) == {2: SignedWord(is_signed=False)}


def test_every_disagreement_has_a_sentence() -> None:
    assert DISAGREEMENTS.keys() == set(Disagreement)
    assert all(isinstance(sentence, Sentence) for sentence in DISAGREEMENTS.values())


def tell_hops(hub: PaperHub, school: int, /, **states: str) -> None:
    """Let a school have told how each hop was in 40 minutes; ``dip``: poor for ten of them."""
    for minute in range(40):
        for hop, word in states.items():
            state = ("poor" if 10 <= minute < 20 else "good") if word == "dip" else word
            at_ms = hub.wall_ms + (minute - 60) * MINUTE
            row: Row = {
                "school": school,
                "at_ms": at_ms,
                "lesson": "a1",
                "hop": hop,
                "state": state,
            }
            hub.record("lesson_quality", [row])


async def test_the_lessons_page_says_where_trouble_came_from_at_each_end(
    hub: PaperHub, browser: Browser
) -> None:
    hold(hub)
    tell_hops(hub, 1, camera="good", wan="good")
    tell_hops(hub, 2, wan="dip", decode="dip")
    said: Row = {
        "school": 2,
        "at_ms": hub.wall_ms - 60 * MINUTE + 1,
        "lesson": "a1",
        "hop": "receiver",
        "state": "live",
        "cause": None,
    }
    found = said | {"hop": "preflight", "cause": "class_card"}
    hub.record("lesson_quality", [said, found])
    page = await browser.get("/lessons/a1?lang=en")
    assert "<td>receiving school</td>" in page.text
    assert "<td>check before the lesson</td>" in page.text
    assert "class card: it is not heard from; the lesson does not need it" in page.text
    assert "Nothing was in the way" in page.text
    assert "The line to this school: it carried too little" in page.text
    assert "10 of 40 minutes poor" in page.text
    assert "school said “live”" in page.text  # hops measured later do not speak for the school
    assert "poor</td>" not in page.text
    chinese = await browser.get("/lessons/a1?lang=zh-CN")
    assert "到本校的线路" in chinese.text
    assert "<td>课前检查</td>" in chinese.text


async def test_the_lessons_page_tells_of_a_hub_that_was_late_itself(
    hub: PaperHub, browser: Browser
) -> None:
    hold(hub)
    for school in (1, 2):
        tell_hops(hub, school, wan="dip", hub_link="good", hub="dip")
    page = await browser.get("/lessons/a1?lang=en")
    assert page.text.count("The hub: it was too busy, or its disk took nothing.") == 2
    assert "the same line, as the hub saw it" in page.text
    assert "it carried too little" not in page.text
    chinese = await browser.get("/lessons/a1?lang=zh-CN")
    assert chinese.text.count("硬盘写不进") == 2
    assert "区域中心看到的同一条线路" in chinese.text


async def test_the_lessons_page_shows_both_words_and_where_they_disagree(
    hub: PaperHub, browser: Browser
) -> None:
    hold(hub)
    lesson = "a1"
    taught = minutes(1, lesson)
    less = replace(minutes(2, lesson), recorded_s=1000, missing_s=1400)
    hub.signing = {school: list(keys) for school, keys in PUBLIC.items()}
    hub.record("lesson_minutes", [{"school": 1, **taught.row(KEYS[1])}])
    hub.record("lesson_minutes", [{"school": 2, **less.row(KEYS[2])}])
    page = await browser.get(f"/lessons/{lesson}?lang=en")
    assert "has less than the flagship recorded" in page.text
    assert "does not hold" not in page.text
    assert taught.digest.hex()[:16] in page.text
    hub.record("lesson_minutes", [{"school": 2, **less.row(KEYS[3])}])
    page = await browser.get(f"/lessons/{lesson}?lang=en")
    assert "does not hold" in page.text
    assert "has less than" not in page.text
