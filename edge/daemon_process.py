"""The daemon as a process: its log, its loop and its last word."""

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Never

import uvloop

from drivers.allocator import keep_giving_back, share_one_arena
from drivers.entities import NowMs
from edge.config import load_config
from edge.control import serve_control
from edge.daemon import Box, run_box
from edge.errors import BoxSetupError
from provisioning.errors import ProvisioningError


def run_daemon(path: Path, now_ms: NowMs, *, verbose: bool) -> None:
    """Run the box that the file ``path`` configures until it is interrupted.

    Raises BoxSetupError or ProvisioningError when it cannot start or go on.
    """
    share_one_arena()
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    config = load_config(path)

    async def control(stack: AsyncExitStack, box: Box) -> None:
        await serve_control(stack, box, config.folder)

    async def run() -> Never:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_giving_back())
            await run_box(config, now_ms, random.Random(), control)  # noqa: S311 - jitter

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
    except BaseExceptionGroup as group:
        raise _first_sentence(group) from group


def _first_sentence(group: BaseExceptionGroup) -> BaseException:
    """Return the first error that is a sentence for a person, else the group."""
    found: BaseException | None = group.subgroup((BoxSetupError, ProvisioningError))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group
