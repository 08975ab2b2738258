"""The form that schedules a lesson: what was typed, read strictly, and given back on a fault."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from hub.lesson.request import KINDS, RECEIVERS_MAX, LessonRequest, Party
from hub.lesson.schedule import WEEKS_MAX
from hub.locale.catalogue import CHINA_TIME
from hub.locale.sentence import Sentence

SCHOOL_NUMBER: Final = re.compile(r"\s*(\d{1,5})\b")
RECEIVERS_AT_FIRST: Final = 3
FIELD_CHARS_MAX: Final = 400


class Fields(Protocol):
    """A submitted form: multidict's part of it that is used here."""

    def get(self, key: str, default: str) -> object: ...
    def getall(self, key: str, default: Sequence[str]) -> Sequence[object]: ...


class FormRefusedError(Exception):
    """What was typed cannot be read; ``reasons`` say what and how to write it."""

    def __init__(self, reasons: Sequence[Sentence]) -> None:
        super().__init__(" ".join(reason.message for reason in reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedParty:
    school: str = ""
    class_group: str = ""
    room: str = ""

    @property
    def is_blank(self) -> bool:
        return not (self.school or self.class_group or self.room)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedLesson:
    """The form's fields as text, before anything is believed of them."""

    kind: str = KINDS[0]
    title_zh: str = ""
    title_en: str = ""
    subject: str = ""
    teacher: str = ""
    day: str = ""
    starts: str = ""
    ends: str = ""
    weeks: str = "1"
    rehearsal: bool = False
    substitute: str = ""
    flagship: TypedParty = TypedParty()
    receivers: tuple[TypedParty, ...] = field(
        default_factory=lambda: (TypedParty(),) * RECEIVERS_AT_FIRST
    )


def read_form(fields: Fields) -> TypedLesson:
    """Take the fields over as text; files and anything beyond the bounds are dropped."""
    receivers = zip(
        *(texts(fields, f"receiver_{part}") for part in ("school", "class_group", "room")),
        strict=False,
    )
    return TypedLesson(
        **{
            name: text(fields.get(name, ""))
            for name in (
                "kind",
                "title_zh",
                "title_en",
                "subject",
                "teacher",
                "day",
                "starts",
                "ends",
                "weeks",
                "substitute",
            )
        },
        rehearsal=text(fields.get("rehearsal", "")) == "1",
        flagship=TypedParty(
            school=text(fields.get("flagship_school", "")),
            class_group=text(fields.get("flagship_class_group", "")),
            room=text(fields.get("flagship_room", "")),
        ),
        receivers=tuple(
            TypedParty(school=school, class_group=class_group, room=room)
            for school, class_group, room in receivers
        ),
    )


def parse_form(typed: TypedLesson, schools: Mapping[int, str]) -> tuple[LessonRequest, int]:
    """Return the request and for how many weeks; raises :class:`FormRefusedError`."""
    reasons: list[Sentence] = []
    starts_ms = moment_of(typed.day, typed.starts)
    ends_ms = moment_of(typed.day, typed.ends)
    if starts_ms is None or ends_ms is None:
        reasons.append(Sentence("Day or time is missing; choose a day, a start and an end."))
    weeks = int(typed.weeks) if typed.weeks.isascii() and typed.weeks.isdigit() else 0
    if not 1 <= weeks <= WEEKS_MAX:
        reasons.append(Sentence("“Weeks” is a number from 1 to %(limit)s.", {"limit": WEEKS_MAX}))
    flagship = parse_party(typed.flagship, schools, reasons)
    receivers = [
        parse_party(receiver, schools, reasons)
        for receiver in typed.receivers
        if not receiver.is_blank
    ]
    if reasons or starts_ms is None or ends_ms is None:
        raise FormRefusedError(reasons)
    return (
        LessonRequest(
            kind=typed.kind,
            title_zh=typed.title_zh,
            title_en=typed.title_en,
            subject=typed.subject or typed.title_zh,
            teacher=typed.teacher,
            starts_ms=starts_ms,
            ends_ms=ends_ms,
            flagship=flagship,
            receivers=tuple(receivers),
            rehearsal=typed.rehearsal,
            substitute=typed.substitute,
        ),
        weeks,
    )


def parse_party(typed: TypedParty, schools: Mapping[int, str], reasons: list[Sentence]) -> Party:
    """Read a school by its number ("12" or "12 name") or by its exact name."""
    number = SCHOOL_NUMBER.match(typed.school)
    by_name = [school for school, name in schools.items() if name == typed.school]
    if len(by_name) == 1:
        school = by_name[0]
    elif number:
        school = int(number.group(1))
    else:
        school = 0
        reasons.append(
            Sentence(
                "“%(typed)s” is no school known here; choose one from the list.",
                {"typed": typed.school},
            )
        )
    return Party(school=school, class_group=typed.class_group, room=typed.room)


def moment_of(day: str, clock: str) -> int | None:
    """Return the moment (Unix ms) of an ISO day and HH:MM in China, None if it is not one."""
    try:
        moment = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M")  # noqa: DTZ007 - the zone is set next
    except ValueError:
        return None
    return int(moment.replace(tzinfo=CHINA_TIME).timestamp()) * 1000


def text(value: object) -> str:
    return value.strip()[:FIELD_CHARS_MAX] if isinstance(value, str) else ""


def texts(fields: Fields, name: str) -> list[str]:
    return [text(value) for value in fields.getall(name, ())][:RECEIVERS_MAX]
