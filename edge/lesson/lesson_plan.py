"""What a class has of its lesson, what it will get and when: said whatever fails, hub or flagship.

Pure. A class that looks at this has nothing to do: every sentence says what happens by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.lesson.preparing.checks import LessonPlan
from edge.lesson.status import Cause, LessonStatus, Phase
from edge.lesson.transfer.recording import RecordedTake

_MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """What a plan rests on.

    ``substitute``: the title of the recording named for the lesson, empty for none;
    ``has_substitute``: it is here. ``night``: when a line paid by the byte carries what is patient,
    e.g. ``23:00-06:00``, empty for other lines.
    """

    is_over: bool
    status: LessonStatus
    takes: Sequence[RecordedTake]
    slides: int = 0
    substitute: str = ""
    has_substitute: bool = False
    night: str = ""


def make_plan(facts: PlanFacts) -> LessonPlan:
    """Return what a class has and what it gets."""
    return LessonPlan(has=tuple(_has(facts)), gets=tuple(_gets(facts)))


def _has(facts: PlanFacts) -> Iterator[str]:
    recorded_s = sum(max(take.seconds.values(), default=0.0) for take in facts.takes)
    minutes = int(recorded_s / _MINUTE_S)
    if minutes == 1:
        yield "One minute of the lesson is on this school's box."
    elif minutes:
        yield f"{minutes} minutes of the lesson are on this school's box."
    elif recorded_s:
        yield "The first seconds of the lesson are on this school's box."
    else:
        yield "Nothing of the lesson has come yet."
    if facts.slides == 1:
        yield "One picture of the lesson's slides is here."
    elif facts.slides:
        yield f"{facts.slides} pictures of the lesson's slides are here."
    if facts.has_substitute:
        yield f"A recording is here for the case that the flagship fails: {facts.substitute}."


def _gets(facts: PlanFacts) -> Iterator[str]:
    missing_s = sum(gap.seconds for take in facts.takes for gap in take.gaps)
    if facts.status.phase is Phase.DONE:
        return
    if facts.is_over:
        yield from _after(facts, missing_s)
        return
    match facts.status.cause:
        case Cause.HUB_UNREACHABLE | Cause.HUB_REFUSES:
            yield "The line to the hub is away. The box tries again every two seconds by itself."
            yield (
                "When it is back, the class goes on where it stopped, a little faster, until it"
                " has caught up."
            )
        case Cause.FLAGSHIP_SILENT | Cause.SUBSTITUTE:
            yield from _without_flagship(facts)
        case Cause.NO_KEY:
            yield "The lesson plays as soon as the flagship has confirmed this school's box."
        case Cause.CAMERA_SILENT:
            yield "The camera is tried again every two seconds by itself."
        case _:
            pass
    if missing_s:
        yield "What is missing in between comes by itself while the lesson goes on."
    if facts.status.phase is not Phase.LIVE:
        yield from _by_night(facts)


def _without_flagship(facts: PlanFacts) -> Iterator[str]:
    if facts.has_substitute:
        yield "Until the flagship is back, the recording plays."
    elif facts.substitute:
        yield f"The recording named for this case is not on this school's box: {facts.substitute}."
    yield "When the flagship is back, the lesson goes on live by itself."


def _after(facts: PlanFacts, missing_s: float) -> Iterator[str]:
    minutes = int(missing_s / _MINUTE_S)
    if minutes == 1:
        yield "One minute is missing; it comes by itself."
    elif minutes:
        yield f"{minutes} minutes are missing; they come by themselves."
    else:
        yield "What is missing comes by itself."
    yield from _by_night(facts)


def _by_night(facts: PlanFacts) -> Iterator[str]:
    if facts.night:
        yield f"What is left then is fetched tonight, {facts.night}: this line is paid by the byte."
    else:
        yield "What is left then is fetched as soon as the line allows, at night at the latest."
