"""After a lesson: what a cut left out is filled, pictures of it when the line may carry them.

On a line paid by the byte sound, events and proofs come at once, for they are few bytes; picture
waits for the night, without a connection that the hub would tell of its holdings every second.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
FILL_S_MAX = 36 * 3600.0
"""What a receiver could not get by then stays a listed gap: a day, and the night after it."""


class Filled(Protocol):
    """What is being filled: a receiver of a lesson that is over."""

    async def run(self) -> None:
        """Fetch until all is here; may be run again after it was cancelled."""

    @property
    def rests(self) -> bool:
        """Whether only what is patient is missing, and that may not come now."""


async def fill(
    receiver: Filled, following: asyncio.Task[None], may_flow: Callable[[], bool]
) -> None:
    """Return once ``following``, the receiver's run, has ended, or after 36 hours.

    While the receiver rests it is not connected.
    """
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + FILL_S_MAX
    async with asyncio.TaskGroup() as tasks:
        running = following
        while loop.time() < give_up_s:
            await asyncio.wait([running], timeout=LOOK_EVERY_S)
            if running.done() and not running.cancelled():
                break
            if receiver.rests and not running.done():
                _log.info("what is missing of the lesson waits for the night")
                running.cancel()
                await asyncio.wait([running])
            if running.done() and may_flow():
                running = tasks.create_task(receiver.run())
        running.cancel()
