"""After a lesson: what a cut left out is filled, pictures of it when the line may carry them.

On a line paid by the byte sound, events and proofs come at once, for they are few bytes; picture
waits for the night, without a connection that the hub would tell of its holdings every second.
A school that was cut off for days still gets the lesson: it asks for it for almost two weeks.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
EAGER_S = 36 * 3600.0
"""So long after its end a receiver stays with the hub for a lesson: a day, and the night after."""
REST_S = 1800.0
"""Later it looks again so often, and stays as long as anything comes."""
IDLE_S_MAX = 120.0
FILL_S_MAX = 13 * 24 * 3600.0
"""What a receiver could not get by then stays a listed gap; a day later no box holds the lesson."""
SURE_S = 3600.0
"""So long it must have been too late: a clock that is set wrong must not end a lesson for good."""


class Filled(Protocol):
    """What is being filled: a receiver of a lesson that is over."""

    async def run(self) -> None:
        """Fetch until all is here; may be run again after it was cancelled."""

    @property
    def rests(self) -> bool:
        """Whether only what is patient is missing, and that may not come now."""

    @property
    def kept(self) -> int:
        """How many records were kept so far; grows while anything comes."""


async def fill(
    receiver: Filled,
    following: asyncio.Task[None],
    may_flow: Callable[[], bool],
    over_s: Callable[[], float],
    on_slow: Callable[[], Awaitable[None]],
) -> None:
    """Return once ``following``, the receiver's run, has ended, or when it is too late for more.

    ``over_s``: how long ago the lesson ended. ``on_slow`` is called once, when the receiver no
    longer stays with the hub all the time: what is here by then may be written down. While the
    receiver rests it is not connected.
    """
    loop = asyncio.get_running_loop()
    again_s = late_since_s = loop.time()
    kept, came_s, is_slow = receiver.kept, loop.time(), False
    async with asyncio.TaskGroup() as tasks:
        running = following
        while True:
            await asyncio.wait([running], timeout=LOOK_EVERY_S)
            if running.done() and not running.cancelled():
                break
            now_s = loop.time()
            if over_s() < FILL_S_MAX:
                late_since_s = now_s
            elif now_s - late_since_s >= SURE_S:
                _log.warning("what is missing of the lesson is given up: it was long ago")
                break
            if receiver.kept != kept:
                kept, came_s = receiver.kept, now_s
            if not is_slow and over_s() >= EAGER_S:
                is_slow = True
                await on_slow()
            idles = is_slow and now_s - came_s >= IDLE_S_MAX
            if not running.done() and (receiver.rests or idles):
                _log.info("what is missing of the lesson waits; for the night: %s", not idles)
                running.cancel()
                await asyncio.wait([running])
                again_s = now_s + (REST_S if idles else 0.0)
            if running.done() and may_flow() and now_s >= again_s:
                came_s = now_s
                running = tasks.create_task(receiver.run())
        running.cancel()
