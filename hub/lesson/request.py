"""What a person asks of the schedule, and what is wrong with it in itself."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from hub.locale.catalogue import DAY_MS, HOUR_MS
from hub.locale.sentence import Clock, Day, Sentence

KINDS: Final = ("delivery", "master_teacher", "online_school", "teacher_research")

RECEIVERS_MAX: Final = 60
TEXT_CHARS_MAX: Final = 120
LESSON_HOURS_MAX: Final = 8
AHEAD_DAYS_MAX: Final = 400


class Party(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class of one school, and the room it sits in."""

    school: int
    class_group: str
    room: str


class LessonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person asks for: one flagship class, N receiving classes (1+N), one time.

    Times are Unix ms. N+N is several requests planned together. ``substitute``: the lesson whose
    recording the receivers play when the flagship fails, empty for none.
    """

    kind: str
    title_zh: str
    title_en: str
    subject: str
    teacher: str
    starts_ms: int
    ends_ms: int
    flagship: Party
    receivers: tuple[Party, ...]
    rehearsal: bool = False
    substitute: str = ""

    @property
    def parties(self) -> tuple[Party, ...]:
        return (self.flagship, *self.receivers)


def find_faults(request: LessonRequest, schools: Mapping[int, str], now_ms: int) -> list[Sentence]:
    """Return what is wrong with a request, whatever else is in the timetable."""
    return [
        *find_text_faults(request),
        *find_time_faults(request, now_ms),
        *find_party_faults(request, schools),
    ]


def find_text_faults(request: LessonRequest) -> Iterable[Sentence]:
    if request.kind not in KINDS:
        yield Sentence(
            "“%(kind)s” is no kind of lesson; choose one of %(kinds)s.",
            {"kind": request.kind[:TEXT_CHARS_MAX], "kinds": ", ".join(KINDS)},
        )
    if not request.title_zh.strip():
        yield Sentence("The lesson has no title; give it one.")
    if not request.subject.strip():
        yield Sentence("The lesson has no subject; say what the timetable should show.")
    texts = [request.title_zh, request.title_en, request.subject, request.teacher]
    for party in request.parties:
        texts += [party.class_group, party.room]
    if any(len(text) > TEXT_CHARS_MAX for text in texts):
        yield Sentence(
            "A name is longer than %(limit)s characters; shorten it.", {"limit": TEXT_CHARS_MAX}
        )


def find_time_faults(request: LessonRequest, now_ms: int) -> Iterable[Sentence]:
    if request.ends_ms <= request.starts_ms:
        yield Sentence(
            "The lesson ends (%(until)s) before it starts (%(from)s); choose a later end.",
            {"from": Clock(request.starts_ms), "until": Clock(request.ends_ms)},
        )
    elif request.ends_ms - request.starts_ms > LESSON_HOURS_MAX * HOUR_MS:
        yield Sentence(
            "The lesson is longer than %(hours)s hours; choose an earlier end.",
            {"hours": LESSON_HOURS_MAX},
        )
    elif request.ends_ms <= now_ms:
        yield Sentence(
            "The lesson would be over already (%(day)s, %(until)s); choose a later time.",
            {"day": Day(request.ends_ms), "until": Clock(request.ends_ms)},
        )
    if request.starts_ms > now_ms + AHEAD_DAYS_MAX * DAY_MS:
        yield Sentence(
            "The lesson is more than %(days)s days ahead; choose an earlier day.",
            {"days": AHEAD_DAYS_MAX},
        )


def find_party_faults(request: LessonRequest, schools: Mapping[int, str]) -> Iterable[Sentence]:
    if not request.receivers:
        yield Sentence("The lesson has no receiving class; name at least one.")
    if len(request.receivers) > RECEIVERS_MAX:
        yield Sentence(
            "The lesson has %(count)s receiving classes; the most is %(limit)s. Split it.",
            {"count": len(request.receivers), "limit": RECEIVERS_MAX},
        )
        return
    seen: set[int] = set()
    for party in request.parties:
        school = school_name(party.school, schools)
        if party.school not in schools:
            yield Sentence(
                "School %(school)s is not known here; invite it first, or correct the number.",
                {"school": str(party.school)},
            )
        elif party.school == request.flagship.school and party.school in seen:
            yield Sentence(
                "%(school)s gives this lesson and cannot also receive it; "
                "choose another receiving school.",
                {"school": school},
            )
        elif party.school in seen:
            yield Sentence(
                "%(school)s is named twice; a school takes part with one class a lesson.",
                {"school": school},
            )
        seen.add(party.school)
        if not party.class_group.strip():
            yield Sentence("%(school)s has no class; say which one.", {"school": school})
        if not party.room.strip():
            yield Sentence("%(school)s has no room; say where the class sits.", {"school": school})


def school_name(school: int, schools: Mapping[int, str]) -> str:
    return schools.get(school) or str(school)
