"""Planning delivery lessons: which classes, when, and whether that can be.

Pure: requests and a calendar go in, rows for ``lesson_party``, ``timetable_slot`` and ``lesson``
come out, or sentences that say what is in the way. A plan's rows are recorded in one transaction.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from hub.lesson.request import TEXT_CHARS_MAX, LessonRequest, find_faults, school_name
from hub.lesson.timetable import Calendar, Row, Slot, claim_slots, find_unknown_rooms
from hub.locale.catalogue import DAY_MS, ENGLISH, Reader
from hub.locale.sentence import Sentence

FLAGSHIP: Final = "flagship"
RECEIVER: Final = "receiver"
WEEKS_MAX: Final = 26

# A lesson's own row comes last, so that nobody ever sees a lesson without its parties.
RECORD_ORDER: Final = ("lesson_party", "timetable_slot", "lesson")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledLesson:
    """A lesson as recorded, with the slots it holds in the parties' timetables."""

    lesson: str
    request: LessonRequest
    cancelled: bool
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Rows to record, by table, and what a person should look at although it does not stop."""

    lessons: tuple[str, ...]
    rows: Mapping[str, list[Row]]
    warnings: tuple[Sentence, ...] = ()


class PlanRefusedError(Exception):
    """The schedule cannot be as asked; ``reasons`` say why, each with its remedy."""

    def __init__(self, reasons: Sequence[Sentence]) -> None:
        reader = Reader(ENGLISH)
        super().__init__(" ".join(reader.say(reason) for reason in reasons))
        self.reasons = tuple(reasons)


def new_lesson_id(chance: random.Random) -> str:
    """Return a fresh id: 64 random bits in hex, fit for a URL and a file name."""
    return f"{chance.getrandbits(64):016x}"


def plan_lesson(lesson: str, request: LessonRequest, calendar: Calendar, now_ms: int) -> Plan:
    """Plan one lesson of one flagship class with N receiving classes."""
    return plan_lessons([(lesson, request)], calendar, now_ms)


def plan_lessons(
    requests: Sequence[tuple[str, LessonRequest]], calendar: Calendar, now_ms: int
) -> Plan:
    """Plan lessons that belong together (N+N, a term's weeks): all of them or none.

    ``requests`` pairs each request with the id its lesson will have. Raises
    :class:`PlanRefusedError` with every reason found.
    """
    reasons: list[Sentence] = []
    warnings: list[Sentence] = []
    rows: dict[str, list[Row]] = {table: [] for table in RECORD_ORDER}
    taken = list(calendar.slots)
    for lesson, request in requests:
        faults = find_faults(request, calendar.schools, now_ms)
        faults += find_substitute_faults(lesson, request, calendar)
        reasons += faults
        if faults:
            continue
        slots, clashes = claim_slots(lesson, request, replace(calendar, slots=taken))
        reasons += clashes
        warnings += find_unknown_rooms(request, calendar)
        warnings += find_classes_without_recording(request, calendar)
        held = {(slot.school, slot.slot) for slot in slots}
        taken = [slot for slot in taken if (slot.school, slot.slot) not in held] + slots
        rows["lesson_party"] += party_rows(lesson, request)
        rows["timetable_slot"] += [slot.row() for slot in slots]
        rows["lesson"].append(lesson_row(lesson, request))
    if reasons:
        raise PlanRefusedError(distinct(reasons))
    return Plan(
        lessons=tuple(lesson for lesson, _ in requests),
        rows=rows,
        warnings=tuple(distinct(warnings)),
    )


def plan_cancel(scheduled: ScheduledLesson, now_ms: int) -> Plan:
    """Cancel a lesson that is not over: parties see it as cancelled, its slots are given back."""
    refuse_if_settled(scheduled, now_ms)
    return Plan(
        lessons=(scheduled.lesson,),
        rows={
            "lesson_party": [],
            "timetable_slot": give_back(scheduled),
            "lesson": [lesson_row(scheduled.lesson, scheduled.request) | {"cancelled": 1}],
        },
    )


def plan_move(
    scheduled: ScheduledLesson, starts_ms: int, ends_ms: int, calendar: Calendar, now_ms: int
) -> Plan:
    """Move a lesson that has not begun to another time."""
    return plan_new_times([(scheduled, starts_ms, ends_ms)], calendar, now_ms)


def plan_swap(
    first: ScheduledLesson, second: ScheduledLesson, calendar: Calendar, now_ms: int
) -> Plan:
    """Let two lessons that have not begun trade times (调课)."""
    if first.lesson == second.lesson:
        raise PlanRefusedError(
            [Sentence("A lesson cannot trade times with itself; choose another.")]
        )
    moves = [
        (first, second.request.starts_ms, second.request.ends_ms),
        (second, first.request.starts_ms, first.request.ends_ms),
    ]
    return plan_new_times(moves, calendar, now_ms)


def plan_new_times(
    moves: Sequence[tuple[ScheduledLesson, int, int]], calendar: Calendar, now_ms: int
) -> Plan:
    for scheduled, _, _ in moves:
        refuse_if_settled(scheduled, now_ms)
        refuse_if_begun(scheduled, now_ms)
    moving = {scheduled.lesson for scheduled, _, _ in moves}
    kept = [slot for slot in calendar.slots if slot.lesson not in moving]
    returned = [slot for scheduled, _, _ in moves for slot in own_periods(scheduled)]
    plan = plan_lessons(
        [
            (
                scheduled.lesson,
                msgspec.structs.replace(scheduled.request, starts_ms=starts_ms, ends_ms=ends_ms),
            )
            for scheduled, starts_ms, ends_ms in moves
        ],
        replace(calendar, slots=[*kept, *returned]),
        now_ms,
    )
    written = {(row["school"], row["slot"]) for row in plan.rows["timetable_slot"]}
    freed = [
        row
        for scheduled, _, _ in moves
        for row in give_back(scheduled)
        if (row["school"], row["slot"]) not in written
    ]
    rows = dict(plan.rows)
    rows["timetable_slot"] = freed + rows["timetable_slot"]
    return replace(plan, rows=rows)


def repeat_weekly(request: LessonRequest, weeks: int) -> list[LessonRequest]:
    """Return the request for ``weeks`` weeks running; the district has no summer time to mind."""
    return [
        msgspec.structs.replace(
            request,
            starts_ms=request.starts_ms + week * 7 * DAY_MS,
            ends_ms=request.ends_ms + week * 7 * DAY_MS,
        )
        for week in range(weeks)
    ]


def lesson_row(lesson: str, request: LessonRequest) -> Row:
    return {
        "school": request.flagship.school,
        "lesson": lesson,
        "kind": request.kind,
        "title_zh": request.title_zh,
        "title_en": request.title_en or request.title_zh,
        "teacher": request.teacher,
        "starts_ms": request.starts_ms,
        "ends_ms": request.ends_ms,
        "rehearsal": int(request.rehearsal),
        "cancelled": 0,
        "substitute": request.substitute or None,
    }


def party_rows(lesson: str, request: LessonRequest) -> list[Row]:
    return [
        {
            "school": party.school,
            "lesson": lesson,
            "role": FLAGSHIP if party is request.flagship else RECEIVER,
            "class_group": party.class_group,
            "room": party.room,
        }
        for party in request.parties
    ]


def find_substitute_faults(
    lesson: str, request: LessonRequest, calendar: Calendar
) -> Iterable[Sentence]:
    """Yield what is wrong with the recording that is to stand in."""
    if not request.substitute:
        return
    recorded = calendar.recorded.get(request.substitute)
    if recorded is None or request.substitute == lesson:
        yield Sentence(
            "The recording “%(recording)s” is not known here; choose one from the list.",
            {"recording": request.substitute[:TEXT_CHARS_MAX]},
        )


def find_classes_without_recording(
    request: LessonRequest, calendar: Calendar
) -> Iterable[Sentence]:
    """Yield a warning for each school that cannot have the recording: it had no part in it."""
    schools = calendar.recorded.get(request.substitute, frozenset())
    for party in request.receivers:
        if request.substitute and party.school not in schools:
            yield Sentence(
                "%(school)s had no part in the lesson whose recording is to stand in; "
                "nothing would be played there.",
                {"school": school_name(party.school, calendar.schools)},
            )


def give_back(scheduled: ScheduledLesson) -> list[Row]:
    """Return the rows that free a lesson's slots: its own are withdrawn, taken ones lose it."""
    return [
        slot.row() | ({"deleted": 1} if slot.slot == scheduled.lesson else {"lesson": None})
        for slot in scheduled.slots
    ]


def own_periods(scheduled: ScheduledLesson) -> list[Slot]:
    return [replace(slot, lesson=None) for slot in scheduled.slots if slot.slot != scheduled.lesson]


def refuse_if_settled(scheduled: ScheduledLesson, now_ms: int) -> None:
    title = {"title": scheduled.request.title_zh}
    if scheduled.cancelled:
        raise PlanRefusedError(
            [Sentence("“%(title)s” is cancelled already; schedule it anew if it should be.", title)]
        )
    if scheduled.request.ends_ms <= now_ms:
        raise PlanRefusedError(
            [Sentence("“%(title)s” is over; it can no longer be changed.", title)]
        )


def refuse_if_begun(scheduled: ScheduledLesson, now_ms: int) -> None:
    if scheduled.request.starts_ms <= now_ms:
        raise PlanRefusedError(
            [
                Sentence(
                    "“%(title)s” has begun; cancel it and schedule a new one instead.",
                    {"title": scheduled.request.title_zh},
                )
            ]
        )


def distinct(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Return the sentences in order, each once: 26 weeks share one unknown school."""
    return [
        sentence for place, sentence in enumerate(sentences) if sentence not in sentences[:place]
    ]
