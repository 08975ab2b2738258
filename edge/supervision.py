"""Keeps one piece of work going: a fault costs it a pause, and nothing else."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

_log = logging.getLogger(__name__)

RESTART_FIRST_S = 1.0
RESTART_MAX_S = 30.0
WELL_S = 300.0
"""Work that ran so long ran well: what befalls it then is a first fault again."""
Result = TypeVar("Result")


async def keep_running(name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run ``work`` until it returns or is cancelled; start it again whenever it fails.

    Any exception counts as a fault of this one piece of work: it is logged with its trace, and the
    rest of the daemon goes on.
    """
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    longer = wait_random_exponential(multiplier=RESTART_FIRST_S, max=RESTART_MAX_S)

    def wait(attempt: RetryCallState) -> float:
        if loop.time() - begun_s >= WELL_S:
            attempt.attempt_number = 1
        return longer(attempt)

    def note(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        _log.error("%s failed and starts again: %r", name, error, exc_info=error)

    async for attempt in AsyncRetrying(wait=wait, before_sleep=note):
        with attempt:
            begun_s = loop.time()
            await apart(work())


async def apart(work: Awaitable[Result]) -> Result:
    """Return what ``work`` returns, from a task of its own: for who catches its faults and goes on.

    asyncio's TaskGroup (3.11) forgets a cancellation that comes while it ends for a child's fault;
    what then went on with the fault would never end. Out here the cancellation is not forgotten.
    """
    (outcome,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def under_watch(
    work: Callable[[], Awaitable[Result]], watch: Callable[[], Coroutine[None, None, None]]
) -> Result:
    """Return what ``work`` returns, or raise what it or the ``watch`` beside it raises first.

    The work begins here: a cancellation may come before, and nothing is then left unawaited.
    """

    async def watched() -> Result:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            result = await work()
            watching.cancel()
        return result

    try:
        return await apart(watched())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
