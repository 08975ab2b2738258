"""When a recording stands in for a flagship that fails, and how the room goes back to live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Never

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.status import Cause, LessonStatus, Phase
from edge.lesson.substitute import SubstitutePlayer
from sync.lessons.fragment_log import Kind, TakeId

NEVER_CAME_MS = 60_000
"""How long after the bell a flagship of which nothing came is waited for."""
SILENT_MS = 45_000
"""How long one that went silent is waited for."""
LOOK_EVERY_S = 1.0

Load = Callable[[], Awaitable[SubstitutePlayer | None]]
"""Returns the recording that is named for the lesson; None when none is."""


def is_due(status: LessonStatus, since_bell_ms: int) -> bool:
    """Tell whether the flagship fails: the hub answers, and nothing comes from it for long.

    A line that is cut is no such case: the class goes on where it stopped when the line is back.
    """
    if not status.connected or since_bell_ms < 0:
        return False
    if status.phase is Phase.WAITING:
        return since_bell_ms >= NEVER_CAME_MS
    is_silent = status.phase is Phase.DEGRADED and status.cause is Cause.FLAGSHIP_SILENT
    return is_silent and (status.age_ms is None or status.age_ms >= SILENT_MS)


class StandIn:
    """Between a lesson's live stream and its room; :meth:`run` is its task."""

    def __init__(
        self,
        publish: Callable[[StreamItem], None],
        load: Load,
        rejoin: Callable[[TakeId], Sequence[StreamItem]],
        judge: Callable[[], tuple[LessonStatus, int]],
    ) -> None:
        """``rejoin`` gives what a page needs to join a take at its newest keyframe.

        ``judge`` returns how the lesson goes, and the milliseconds since its bell, negative before
        it and once it is over.
        """
        self._publish = publish
        self._load = load
        self._rejoin = rejoin
        self._judge = judge
        self._playing: asyncio.Task[None] | None = None
        self._came = False
        self._is_spent = False

    @property
    def is_playing(self) -> bool:
        return self._playing is not None

    def publish(self, item: StreamItem) -> None:
        """Hand on what comes live; it ends a recording that stands in."""
        self._came, self._is_spent = True, False
        if self._playing is not None:
            self._playing.cancel()
            self._playing = None
            if item.kind is not Kind.INIT:  # the pages have played another take meanwhile
                for again in self._rejoin(item.take):
                    self._publish(again)
                return
        self._publish(item)

    async def run(self) -> Never:
        """Look every second whether the flagship fails, and play the recording while it does."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            status, since_bell_ms = self._judge()
            if not self._is_spent and is_due(status, since_bell_ms):
                await self._stand_in(since_bell_ms)

    async def _stand_in(self, since_bell_ms: int) -> None:
        player = await self._load()
        if player is None or not player.opens:
            self._is_spent = True
            return
        async with asyncio.TaskGroup() as tasks:
            # What a class has seen it need not see again; who saw nothing sees it from the start.
            playing = tasks.create_task(player.play(since_bell_ms if self._came else 0))
            self._playing = playing
            try:
                while not playing.done():
                    await asyncio.wait([playing], timeout=LOOK_EVERY_S)
                    if self._judge()[1] < 0:
                        playing.cancel()
                self._is_spent = self._playing is playing
            finally:
                if self._playing is playing:
                    self._playing = None
