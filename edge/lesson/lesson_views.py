"""A room's lesson as its pages see it: state, checks, plan, and the code for its teacher."""

from collections.abc import Callable
from time import monotonic

from edge.lesson.lesson_plan import PlanFacts, make_plan
from edge.lesson.lesson_run import LessonRun
from edge.lesson.preparing.checks import LessonPlan
from edge.lesson.receiver_run import ReceiverRun
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import Cause, Phase
from edge.lesson.teaching.teacher_code import TeacherCodes
from edge.pages.box_view import LessonRole, LessonState, LessonView
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_shelf import LessonShelf

PLAN_EVERY_S = 5.0
"""How old a plan may be that a page is shown: it takes a look at the recording."""
_Basis = tuple[Phase, Cause, bool]
PLANS_MAX = 64
_ENDED = {LessonState.DONE, LessonState.ARCHIVED}


class LessonViews:
    """Puts together what is shown of lessons; on the event loop's thread."""

    def __init__(
        self,
        shelf: LessonShelf,
        codes: TeacherCodes,
        slides: Callable[[LessonId], int],
        now_ms: Callable[[], int],
        night: str,
    ) -> None:
        """``slides`` counts a lesson's pictures that are here."""
        self._shelf = shelf
        self._codes = codes
        self._slides = slides
        self._now_ms = now_ms
        self._night = night
        self._plans: dict[LessonId, tuple[float, _Basis, LessonPlan]] = {}

    def view(self, lesson: ScheduledLesson, run: LessonRun | None) -> LessonView:
        """Return how a lesson stands; ``run`` is None while it is not held here."""
        is_ended = lesson.done if run is None else run.state in _ENDED
        state = LessonState.SCHEDULED if run is None else run.state
        flagship = lesson.flagship
        is_ahead = self._now_ms() < lesson.starts_ms
        stands_in = isinstance(run, ReceiverRun) and run.is_substituted
        may_teach = run is not None and lesson.mine.role is LessonRole.FLAGSHIP and not is_ended
        return LessonView(
            lesson=lesson.lesson,
            title_zh=lesson.title_zh,
            title_en=lesson.title_en,
            teacher=lesson.teacher,
            role=lesson.mine.role,
            state=LessonState.ARCHIVED if run is None and lesson.done else state,
            starts_ms=lesson.starts_ms,
            ends_ms=lesson.ends_ms,
            flagship=flagship.name if flagship else "",
            flagship_en=flagship.name_en if flagship else "",
            receivers=tuple((party.name, party.name_en) for party in lesson.receivers),
            rehearsal=lesson.rehearsal,
            evidence_ms=None if run is None else run.status.evidence_ms,
            cause=Cause.NONE if run is None else run.status.cause,
            preflight=run.checks if run is not None and is_ahead else (),
            plan=self._plan(run) if isinstance(run, ReceiverRun) and not is_ended else None,
            teacher_code=self._codes.shown(lesson.lesson) if may_teach else "",
            substitute=lesson.substitute_title if stands_in else "",
        )

    def _plan(self, run: ReceiverRun) -> LessonPlan:
        lesson = run.lesson
        is_over = self._now_ms() >= lesson.ends_ms
        basis = run.status.phase, run.status.cause, is_over
        known = self._plans.get(lesson.lesson)
        if known is not None and known[1] == basis and monotonic() - known[0] < PLAN_EVERY_S:
            return known[2]
        plan = make_plan(
            PlanFacts(
                is_over=is_over,
                status=run.status,
                takes=run.recorded(),
                slides=self._slides(lesson.lesson),
                substitute=lesson.substitute_title,
                has_substitute=lesson.substitute in self._shelf.lessons(),
                night=self._night,
            )
        )
        if len(self._plans) >= PLANS_MAX:
            del self._plans[next(iter(self._plans))]
        self._plans[lesson.lesson] = monotonic(), basis, plan
        return plan
