"""What happened in a recorded lesson beside picture and sound, and where in its file that lies.

Pure. Moments are capture times, Unix ms, until :func:`chapter_cues` and :func:`caption_cues` place
them in a recording's file by its clock (``edge.lesson.recordings.recording_file``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge.lesson.classroom.board import CaptionLine, LessonBoard
from edge.lesson.recordings.recording_file import movie_ms
from edge.lesson.recordings.webvtt import Cue
from sync.lessons.lesson_events import CallOn, Question, Results, Stopped, TimedEvent

MARKS_MAX = 2000
_LAST_MS = 60_000
"""How long the last chapter is said to last: until the player's end comes first."""

Clock = Sequence[tuple[int, int]]


class MarkKind(StrEnum):
    """Kinds of marks; pages have a word for each."""

    CHAPTER = "chapter"
    SLIDE = "slide"
    QUESTION = "question"
    RESULTS = "results"
    CALL = "call"
    HAND = "hand"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened; ``school`` is 0 where it was nobody's in particular."""

    at_ms: int
    kind: MarkKind
    text: str = ""
    school: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLine:
    """``marks`` in order; ``captions`` by language."""

    marks: tuple[Mark, ...]
    chapters: tuple[Mark, ...]
    captions: Mapping[str, tuple[CaptionLine, ...]]


def build_time_line(
    events: Iterable[TimedEvent], hands: Iterable[tuple[int, int]], captions: Iterable[CaptionLine]
) -> TimeLine:
    """Fold events, raised hands (at_ms, school) and captions that came afterwards.

    Captions that came afterwards take the place of those told in the lesson, language by language.
    """
    heard = list(events)
    board = LessonBoard()
    for timed in heard:
        board.add(timed)
    chapters = [
        Mark(at_ms=mark.at_ms, kind=MarkKind.CHAPTER, text=mark.title) for mark in board.chapters
    ]
    slides = [
        Mark(at_ms=slide.at_ms, kind=MarkKind.SLIDE, text=slide.title or str(slide.position))
        for slide in board.slides
        if slide.digest
    ]
    raised = [Mark(at_ms=at_ms, kind=MarkKind.HAND, school=school) for at_ms, school in hands]
    told = [mark for timed in heard for mark in _marks(timed)]
    marks = sorted([*chapters, *slides, *raised, *told], key=lambda mark: mark.at_ms)
    return TimeLine(
        marks=tuple(marks[:MARKS_MAX]),
        chapters=tuple(chapters or slides),
        captions={**_by_language(board.captions), **_by_language(captions)},
    )


def chapter_cues(line: TimeLine, clock: Clock) -> list[Cue]:
    """Return the chapters as cues of the file, each lasting until the next."""
    begins = [movie_ms(clock, mark.at_ms) for mark in line.chapters]
    ends = [*begins[1:], *(at_ms + _LAST_MS for at_ms in begins[-1:])]
    return [
        Cue(from_ms=from_ms, until_ms=until_ms, text=mark.text)
        for mark, from_ms, until_ms in zip(line.chapters, begins, ends, strict=True)
        if until_ms > from_ms
    ]


def caption_cues(lines: Iterable[CaptionLine], clock: Clock) -> list[Cue]:
    """Return captions as cues of the file, in order; what lies in no take is left out."""
    cues = [
        Cue(from_ms=from_ms, until_ms=until_ms, text=line.text)
        for line in lines
        if (from_ms := movie_ms(clock, line.from_ms)) < (until_ms := movie_ms(clock, line.until_ms))
    ]
    return sorted(cues, key=lambda cue: (cue.from_ms, cue.until_ms))


def captured_captions(language: str, cues: Iterable[Cue], clock: Clock) -> list[CaptionLine]:
    """Return a file's captions at the moments at which what they say was captured."""
    return [
        CaptionLine(
            language=language,
            from_ms=_capture_ms(clock, cue.from_ms),
            until_ms=_capture_ms(clock, cue.until_ms),
            text=cue.text,
        )
        for cue in cues
    ]


def _capture_ms(clock: Clock, at_ms: int) -> int:
    captured_ms, begins_ms = next(
        (pair for pair in reversed(clock) if pair[1] <= at_ms), clock[0] if clock else (0, 0)
    )
    return captured_ms + at_ms - begins_ms


def _marks(timed: TimedEvent) -> Iterable[Mark]:
    at_ms = timed.at_ms
    match timed.event:
        case Question(text=text, choices=choices):
            yield Mark(at_ms=at_ms, kind=MarkKind.QUESTION, text=text or " / ".join(choices))
        case Results(counts=counts):
            yield Mark(at_ms=at_ms, kind=MarkKind.RESULTS, text=" : ".join(map(str, counts)))
        case CallOn(school=school) if school:
            yield Mark(at_ms=at_ms, kind=MarkKind.CALL, school=school)
        case Stopped():
            yield Mark(at_ms=at_ms, kind=MarkKind.STOPPED)


def _by_language(lines: Iterable[CaptionLine]) -> dict[str, tuple[CaptionLine, ...]]:
    found: defaultdict[str, list[CaptionLine]] = defaultdict(list)
    for line in lines:
        found[line.language].append(line)
    return {language: tuple(told) for language, told in found.items()}
