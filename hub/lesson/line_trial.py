"""``/lessons/{lesson}/line``: a party of a lesson tries its way to the hub before the bell.

GET answers bytes that nothing can pack, POST takes some; both bounded, few at a time and few for a
school, so that trials never take what lessons under way need.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from aiohttp import web

from hub.lesson.admission import Identify, LessonAccess, lesson_of

TRIAL_BYTES = 256 * 1024
AT_ONCE_MAX = 4
TRIALS_MAX = 20
"""Requests a school may make within ``WINDOW_S``."""
WINDOW_S = 60.0
TRIAL_S_MAX = 10.0
_CHUNK_BYTES = 16 * 1024


class LineTrial:
    """Serves the trials of all lessons; ``random_bytes`` makes what is sent."""

    def __init__(
        self, access: LessonAccess, identify: Identify, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._access = access
        self._identify = identify
        self._noise = random_bytes(TRIAL_BYTES)
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)
        self._tried_s: defaultdict[int, deque[float]] = defaultdict(
            lambda: deque(maxlen=TRIALS_MAX)
        )

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/lessons/{lesson}/line", self.give)
        app.router.add_post("/lessons/{lesson}/line", self.take)

    async def give(self, request: web.Request) -> web.StreamResponse:
        self._admit(request)
        answer = web.StreamResponse(headers={"Cache-Control": "no-store"})
        answer.content_length = TRIAL_BYTES
        answer.content_type = "application/octet-stream"
        async with self._trial(request):
            await answer.prepare(request)
            for at in range(0, TRIAL_BYTES, _CHUNK_BYTES):
                await answer.write(self._noise[at : at + _CHUNK_BYTES])
        return answer

    async def take(self, request: web.Request) -> web.Response:
        self._admit(request)
        taken = 0
        async with self._trial(request):
            async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                taken += len(chunk)
                if taken > TRIAL_BYTES:
                    raise web.HTTPRequestEntityTooLarge(TRIAL_BYTES, taken)
        return web.Response(status=204)

    @asynccontextmanager
    async def _trial(self, request: web.Request) -> AsyncIterator[None]:
        """Wait ``TRIAL_S_MAX`` for a turn, and try as long: a slower line is no fault of anybody.

        Its box has measured what came until then; the connection ends.
        """
        try:
            async with asyncio.timeout(TRIAL_S_MAX):
                await self._turn.acquire()
        except TimeoutError as error:
            text = "other schools try their lines; try again in a minute"
            raise web.HTTPServiceUnavailable(text=text) from error
        try:
            async with asyncio.timeout(TRIAL_S_MAX):
                yield
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._turn.release()

    def _admit(self, request: web.Request) -> None:
        """Let a party of the lesson in that has not tried too often."""
        school, lesson = self._identify(request), lesson_of(request)
        if not self._access.may_receive(school, lesson):
            raise web.HTTPForbidden(
                text=f"school {school} has no part in lesson {lesson}; the district pairs schools"
            )
        tried_s, now_s = self._tried_s[school], monotonic()
        if len(tried_s) == TRIALS_MAX and now_s - tried_s[0] < WINDOW_S:
            raise web.HTTPTooManyRequests(text="the line was tried often enough; wait a minute")
        tried_s.append(now_s)
