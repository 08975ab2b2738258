"""The states a lesson goes through at a box, as its run tells them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from edge.demo.link import Link
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.lesson_run import LessonRun
from edge.lesson.status import Cause, Phase, waiting
from edge.pages.box_view import LessonRole, LessonState
from sync.lessons.fragment_rungs import Rung
from sync.lessons.lesson_events import Times
from tests.edge.lesson_bench import now_ms, until
from tests.edge.return_bench import FLAGSHIP, NEAR, School, Town, quicken, town
from tests.edge.school import MINUTE, Box
from tests.edge.test_lesson_run import held
from tests.loopback import free_port

PREPARING, LIVE, DEGRADED, CATCHING_UP, DONE, ARCHIVED = (
    LessonState.PREPARING,
    LessonState.LIVE,
    LessonState.DEGRADED,
    LessonState.CATCHING_UP,
    LessonState.DONE,
    LessonState.ARCHIVED,
)
ON_AIR = {LIVE, DEGRADED, CATCHING_UP}
FOLLOWS = {
    PREPARING: ON_AIR,
    LIVE: {DEGRADED, CATCHING_UP},
    DEGRADED: {LIVE, CATCHING_UP},
    CATCHING_UP: {LIVE, DEGRADED, DONE},
    DONE: {ARCHIVED},
    ARCHIVED: set[LessonState](),
}
"""What may come after each state."""
LOCAL = "127.0.0.1"
BEFORE, WITHIN, AFTER = -5, 10, 50
"""Minutes from the bell of a lesson of forty."""
SEEN_S_MAX = 45.0


@pytest.mark.parametrize(
    ("at", "phase", "cause", "state"),
    [
        (BEFORE, Phase.WAITING, Cause.NONE, PREPARING),
        (BEFORE, Phase.LIVE, Cause.NONE, PREPARING),
        (BEFORE, Phase.DEGRADED, Cause.CAMERA_SILENT, PREPARING),
        (WITHIN, Phase.WAITING, Cause.NONE, PREPARING),
        (WITHIN, Phase.LIVE, Cause.NONE, LIVE),
        (WITHIN, Phase.LIVE, Cause.DISK, LIVE),
        (WITHIN, Phase.DEGRADED, Cause.PICTURE_REDUCED, DEGRADED),
        (WITHIN, Phase.DEGRADED, Cause.HUB_UNREACHABLE, DEGRADED),
        (WITHIN, Phase.CATCHING_UP, Cause.NONE, CATCHING_UP),
        (AFTER, Phase.WAITING, Cause.HUB_UNREACHABLE, CATCHING_UP),
        (AFTER, Phase.LIVE, Cause.NONE, CATCHING_UP),
        (AFTER, Phase.DEGRADED, Cause.HUB_UNREACHABLE, CATCHING_UP),
        (AFTER, Phase.CATCHING_UP, Cause.NONE, CATCHING_UP),
        (AFTER, Phase.DONE, Cause.NONE, DONE),
    ],
)
@pytest.mark.parametrize("role", list(LessonRole))
async def test_the_state_is_by_the_bell_and_by_what_comes(
    box: Box, role: LessonRole, at: int, phase: Phase, cause: Cause, state: LessonState
) -> None:
    async with held(box, role, MINUTE, 40 * MINUTE) as (run, room, _):
        await until(lambda: bool(room.shown))
        box.district.clock.ms = run.lesson.starts_ms + at * MINUTE
        run._note(replace(waiting(0), phase=phase, cause=cause, rung=Rung.SMALL))
        assert run.state is state
        run.archived = True
        assert run.state is ARCHIVED


@dataclass
class States:
    """What a school's run was in, one after the other, at each word of it to its room.

    That the lesson's end is now its room is told by the board, before anything comes of it.
    """

    run: LessonRun
    seen: list[LessonState] = field(default_factory=list)

    def note(self, _: object) -> None:
        self.seen.append(self.run.state)

    @property
    def path(self) -> list[LessonState]:
        return [state for state, _ in groupby(self.seen)]

    async def until(self, state: LessonState) -> None:
        async with asyncio.timeout(SEEN_S_MAX):
            while self.run.state is not state:  # noqa: ASYNC110 - it announces nothing
                await asyncio.sleep(0.02)
        self.note(state)


def watch(school: School, monkeypatch: pytest.MonkeyPatch) -> States:
    states = States(school.run)
    for name in ("show", "show_board"):
        monkeypatch.setattr(school.room, name, states.note)
    return states


@dataclass
class Lesson:
    """A lesson that is held: its teacher, one class over a line of its own, and their states."""

    opened: Town
    line: Link
    teacher: School
    teaching: States
    following: States

    def end(self) -> None:
        """Ring the last bell now, as the teacher does."""
        run = self.teacher.run
        assert isinstance(run, FlagshipRun)
        run.tell(Times(starts_ms=run.lesson.starts_ms, ends_ms=now_ms()))


@pytest.fixture
async def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lesson]:
    quicken(monkeypatch)
    async with town(tmp_path) as opened, AsyncExitStack() as stack:
        port = free_port()
        line = Link((LOCAL, port), (LOCAL, opened.hub_port))
        await line.start(stack)
        teacher = await opened.begin(FLAGSHIP)
        near = await opened.begin(NEAR, hub_port=port)
        teaching, following = watch(teacher, monkeypatch), watch(near, monkeypatch)
        await following.until(PREPARING)
        await opened.share_keys(teacher, near)
        for each in (teaching, following):
            await each.until(LIVE)
        yield Lesson(opened, line, teacher, teaching, following)


async def test_a_class_whose_line_is_cut_goes_from_live_to_degraded_and_back_and_to_done(
    lesson: Lesson,
) -> None:
    states = lesson.following
    lesson.line.cut()
    await states.until(DEGRADED)
    assert states.run.status.cause is Cause.HUB_UNREACHABLE
    lesson.line.mend()
    await states.until(LIVE)
    lesson.end()
    for each in (lesson.teaching, states):
        await each.until(ARCHIVED)
        check_path(each.path)
    assert is_within([PREPARING, LIVE, DEGRADED, LIVE, CATCHING_UP, DONE, ARCHIVED], states.path)


async def test_a_camera_that_falls_silent_is_degraded_at_both_ends_until_it_is_back(
    lesson: Lesson,
) -> None:
    ends = (lesson.teaching, lesson.following)
    lesson.opened.camera.silent.add("sub")
    for each in ends:
        await each.until(DEGRADED)
    assert lesson.teaching.run.status.cause is Cause.CAMERA_SILENT
    lesson.opened.camera.silent.clear()
    for each in ends:
        await each.until(LIVE)
    lesson.end()
    for each in ends:
        await each.until(ARCHIVED)
        check_path(each.path)
        assert is_within([LIVE, DEGRADED, LIVE, CATCHING_UP, DONE, ARCHIVED], each.path)


def check_path(path: list[LessonState]) -> None:
    """Fail unless each state may follow the one before."""
    assert [(one, other) for one, other in pairwise(path) if other not in FOLLOWS[one]] == []


def is_within(wanted: list[LessonState], path: list[LessonState]) -> bool:
    """Tell whether these came in this order, whatever came between."""
    left = iter(path)
    return all(state in left for state in wanted)
