"""One lesson: both ends' quality, and where the trouble is when there is some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hub.lesson.schedule import FLAGSHIP
from hub.lesson_queries import Lesson, LessonParty, Quality, Upcoming
from hub.locale.sentence import Sentence
from hub.pages.hub_view import FlowLight, SchoolLight
from hub.pages.lesson_evidence import SignedWord, WayTold
from hub.pages.lesson_grid import flow_of
from hub.pages.lesson_lights import find_cause, party_light
from hub.pages.lights import Light, State

UNSEEN = Light(state=State.UNKNOWN, word=Sentence("not known"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonEnd:
    """One school's end: its light, the likely cause of trouble, what it said lately."""

    party: LessonParty
    name: str
    light: Light
    cause: Sentence | None
    flow: FlowLight | None
    history: tuple[Quality, ...]
    word: SignedWord | None = None
    way: WayTold | None = None

    @property
    def is_flagship(self) -> bool:
        return self.party.role == FLAGSHIP


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonDetail:
    """``phase``: ahead, now, over or cancelled. ``others``: what it can trade times with."""

    now_ms: int
    lesson: Lesson
    phase: str
    ends: tuple[LessonEnd, ...]
    others: tuple[Upcoming, ...] = ()

    @property
    def troubled(self) -> int:
        return sum(end.light.state in {State.BAD, State.WARN} for end in self.ends)


def build_detail(
    lesson: Lesson,
    flows: Sequence[FlowLight],
    boxes: Mapping[int, SchoolLight],
    history: Mapping[int, Sequence[Quality]],
    names: Mapping[int, str],
    now_ms: int,
    words: Mapping[int, SignedWord] = MappingProxyType({}),
    ways: Mapping[int, WayTold] = MappingProxyType({}),
) -> LessonDetail:
    by_lesson = {lesson.lesson: flows}
    lights = {
        party.school: party_light(lesson, party, flow_of(by_lesson, lesson, party), now_ms)
        for party in lesson.parties
    }
    flagship = lights.get(lesson.flagship, UNSEEN)
    return LessonDetail(
        now_ms=now_ms,
        lesson=lesson,
        phase=phase_of(lesson, now_ms),
        ends=tuple(
            LessonEnd(
                party=party,
                name=names.get(party.school, str(party.school)),
                light=lights[party.school],
                cause=find_cause(
                    lesson,
                    party,
                    (lights[party.school], flagship),
                    boxes.get(party.school),
                    now_ms,
                ),
                flow=flow_of(by_lesson, lesson, party),
                history=tuple(history.get(party.school, ())),
                word=words.get(party.school),
                way=ways.get(party.school),
            )
            for party in lesson.parties
        ),
    )


def phase_of(lesson: Lesson, now_ms: int) -> str:
    if lesson.cancelled:
        return "cancelled"
    if now_ms < lesson.starts_ms:
        return "ahead"
    return "now" if now_ms < lesson.ends_ms else "over"
