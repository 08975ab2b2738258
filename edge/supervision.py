"""Keeps one piece of work going: a fault costs it a pause, and nothing else."""

import logging
from collections.abc import Callable, Coroutine

from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

_log = logging.getLogger(__name__)

RESTART_FIRST_S = 1.0
RESTART_MAX_S = 30.0


async def keep_running(name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run ``work`` until it returns or is cancelled; start it again whenever it fails.

    Any exception counts as a fault of this one piece of work: it is logged with its trace, and the
    rest of the daemon goes on.
    """

    def note(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        _log.error("%s failed and starts again: %r", name, error, exc_info=error)

    async for attempt in AsyncRetrying(
        wait=wait_random_exponential(multiplier=RESTART_FIRST_S, max=RESTART_MAX_S),
        before_sleep=note,
    ):
        with attempt:
            await work()
