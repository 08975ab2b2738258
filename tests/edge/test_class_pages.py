"""A class's own page: closed, or held back by its browser, it is known to the box."""

from edge.lesson.classroom.class_pages import FRESH_S, ClassPages
from edge.lesson.evidence.hop_quality import SCREENS_MAX, ScreenReport
from edge.lesson.preparing.preflight import PageFacts

HEARD = ScreenReport(room="101", sound=True)
MUTE = ScreenReport(room="101", sound=False)
UNSAID = ScreenReport(room="101")
BOARD, LAPTOP = "10.0.0.5", "10.0.0.9"


class Class:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pages = ClassPages(lambda: self.now_s)


def test_a_page_is_not_called_closed_before_it_had_time_to_tell() -> None:
    room = Class()
    assert room.pages.facts(0) is None
    room.now_s += FRESH_S
    assert room.pages.facts(0) == PageFacts(is_open=False)


def test_a_page_that_tells_or_plays_is_open_until_it_was_silent_for_long() -> None:
    room = Class()
    room.pages.note(BOARD, HEARD)
    assert room.pages.facts(0) == PageFacts(is_open=True)
    room.now_s += FRESH_S
    assert room.pages.facts(0) == PageFacts(is_open=False)
    assert room.pages.facts(1) == PageFacts(is_open=True), "who plays need not tell"


def test_a_page_that_its_browser_holds_back_is_named_until_it_was_touched() -> None:
    room = Class()
    room.pages.note(BOARD, MUTE)
    room.pages.note(LAPTOP, HEARD)
    assert room.pages.facts(2) == PageFacts(is_open=True, mute=(BOARD,))
    room.pages.note(BOARD, HEARD)
    assert room.pages.facts(2) == PageFacts(is_open=True)


def test_a_browser_that_does_not_tell_its_rule_is_not_blamed() -> None:
    room = Class()
    room.pages.note(BOARD, UNSAID)
    assert room.pages.facts(0) == PageFacts(is_open=True)


def test_only_so_many_addresses_are_remembered() -> None:
    room = Class()
    for number in range(SCREENS_MAX + 10):
        room.pages.note(f"10.0.1.{number}", MUTE)
    room.pages.note("10.0.1.0", HEARD)
    facts = room.pages.facts(0)
    assert facts is not None
    assert len(facts.mute) == SCREENS_MAX - 1
