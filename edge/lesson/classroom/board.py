"""What holds in a lesson beside picture and sound, folded from its events in whatever order."""

from bisect import bisect_left
from collections.abc import Hashable
from typing import assert_never

from msgspec import Struct

from sync.lessons.lesson_events import (
    Answer,
    CallOn,
    Caption,
    Chapter,
    Hand,
    Help,
    Mute,
    Question,
    Results,
    Slide,
    Stopped,
    TimedEvent,
    Times,
    event_order,
)

CAPTIONS_MAX = 4096
CHAPTERS_MAX = 256
SLIDES_MAX = 1024
KEYS_MAX = 8192
CAPTIONS_SHOWN = 8
SLIDES_SHOWN = 32
"""A class that catches up sees each in its turn."""


class ShownSlide(Struct, frozen=True, kw_only=True):
    """Shown from ``at_ms`` on; ``digest`` names its picture in the lesson's material."""

    digest: str
    position: int
    title: str
    at_ms: int


class AskedQuestion(Struct, frozen=True, kw_only=True):
    """``counts`` is None while the question is open, else how many chose each choice."""

    question: str
    text: str
    choices: tuple[str, ...]
    asked_ms: int
    counts: tuple[int, ...] | None


class CaptionLine(Struct, frozen=True, kw_only=True):
    language: str
    from_ms: int
    until_ms: int
    text: str


class ChapterMark(Struct, frozen=True, kw_only=True):
    at_ms: int
    title: str


class BoardView(Struct, frozen=True, kw_only=True):
    """What holds now; times are Unix ms, None or empty where nothing was told.

    ``slides`` are the newest changes in order, ``captions`` the newest lines. ``called`` is a
    school's number, 0 for none. The last four are of the class that looks: since when its hand is
    up and help is wanted, its number, and its answer to the open question.
    """

    starts_ms: int | None = None
    ends_ms: int | None = None
    stopped: bool = False
    slide: ShownSlide | None = None
    slides: tuple[ShownSlide, ...] = ()
    called: int = 0
    stage: bool = False
    muted: tuple[int, ...] = ()
    question: AskedQuestion | None = None
    captions: tuple[CaptionLine, ...] = ()
    chapter: ChapterMark | None = None
    hand_ms: int | None = None
    help_ms: int | None = None
    school: int = 0
    choice: int | None = None


class LessonBoard:
    """Folds one log's events; the same events in any order, once or twice, give the same view."""

    def __init__(self) -> None:
        self._latest: dict[Hashable, TimedEvent] = {}
        self._slides: list[TimedEvent] = []
        self._captions: list[TimedEvent] = []
        self._chapters: list[TimedEvent] = []

    def add(self, timed: TimedEvent) -> None:
        """Take an event in; beyond the module's bounds the oldest of its kind is forgotten."""
        match timed.event:
            case Slide():
                _enter(self._slides, timed, SLIDES_MAX)
            case Caption():
                _enter(self._captions, timed, CAPTIONS_MAX)
            case Chapter():
                _enter(self._chapters, timed, CHAPTERS_MAX)
            case Times() | CallOn() | Stopped() | Hand() | Help():
                self._replace(type(timed.event), timed)
            case Mute(school=school):
                self._replace((Mute, school), timed)
            case Question(question=question) | Results(question=question):
                self._replace((type(timed.event), question), timed)
            case Answer(question=question):
                self._replace((Answer, question), timed)
            case _:
                assert_never(timed.event)

    def answer(self, question: str) -> Answer | None:
        """Return the latest answer of a return log to a question."""
        found = self._latest.get((Answer, question))
        return found.event if found and isinstance(found.event, Answer) else None

    @property
    def chapters(self) -> tuple[ChapterMark, ...]:
        return tuple(
            ChapterMark(at_ms=timed.at_ms, title=timed.event.title)
            for timed in self._chapters
            if isinstance(timed.event, Chapter)
        )

    @property
    def slides(self) -> tuple[ShownSlide, ...]:
        """The changes of slide in order; one without a digest takes the slide away."""
        return tuple(
            ShownSlide(
                digest=timed.event.digest,
                position=timed.event.position,
                title=timed.event.title,
                at_ms=timed.at_ms,
            )
            for timed in self._slides
            if isinstance(timed.event, Slide)
        )

    @property
    def captions(self) -> tuple[CaptionLine, ...]:
        return tuple(
            CaptionLine(
                language=timed.event.language,
                from_ms=timed.event.from_ms,
                until_ms=timed.event.until_ms,
                text=timed.event.text,
            )
            for timed in self._captions
            if isinstance(timed.event, Caption)
        )

    @property
    def view(self) -> BoardView:
        latest = {name: timed.event for name, timed in self._latest.items()}
        times, called = latest.get(Times), latest.get(CallOn)
        slide = next(reversed(self.slides), None)
        return BoardView(
            starts_ms=times.starts_ms if isinstance(times, Times) else None,
            ends_ms=times.ends_ms if isinstance(times, Times) else None,
            stopped=Stopped in latest,
            slide=slide if slide is not None and slide.digest else None,
            slides=self.slides[-SLIDES_SHOWN:],
            called=called.school if isinstance(called, CallOn) else 0,
            stage=isinstance(called, CallOn) and called.stage,
            muted=tuple(
                sorted(
                    event.school
                    for event in latest.values()
                    if isinstance(event, Mute) and event.muted
                )
            ),
            question=self._question(),
            captions=self.captions[-CAPTIONS_SHOWN:],
            chapter=next(reversed(self.chapters), None),
            hand_ms=self._since(Hand),
            help_ms=self._since(Help),
        )

    def _question(self) -> AskedQuestion | None:
        """Return the newest question."""
        asked = [timed for timed in self._latest.values() if isinstance(timed.event, Question)]
        if not asked:
            return None
        newest = max(asked, key=event_order)
        assert isinstance(newest.event, Question)
        closed = self._latest.get((Results, newest.event.question))
        results = closed.event if closed is not None else None
        return AskedQuestion(
            question=newest.event.question,
            text=newest.event.text,
            choices=newest.event.choices,
            asked_ms=newest.at_ms,
            counts=results.counts if isinstance(results, Results) else None,
        )

    def _since(self, kind: type[Hand] | type[Help]) -> int | None:
        found = self._latest.get(kind)
        match found.event if found is not None else None:
            case Hand(raised=True) | Help(wanted=True):
                assert found is not None
                return found.at_ms
        return None

    def _replace(self, name: Hashable, timed: TimedEvent) -> None:
        known = self._latest.get(name)
        if known is None and len(self._latest) >= KEYS_MAX:
            del self._latest[min(self._latest, key=lambda each: event_order(self._latest[each]))]
        if known is None or event_order(known) < event_order(timed):
            self._latest[name] = timed


def _enter(events: list[TimedEvent], timed: TimedEvent, most: int) -> None:
    place = bisect_left(events, event_order(timed), key=event_order)
    if events[place : place + 1] != [timed]:
        events.insert(place, timed)
        del events[:-most]
