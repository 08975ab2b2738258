"""Bounds a running node's history, a short step at a time, between all other writing."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from typing import Never

from sync.history.bounding import History, HistoryPolicy
from sync.writer import Writer

_log = logging.getLogger(__name__)

ROUND_EVERY_S = 3600.0
FIRST_ROUND_S = 300.0
"""How long a program that starts is left to what is urgent."""
PAUSE_S = 0.05


async def keep_bounded(history: History, writer: Writer, policy: HistoryPolicy) -> Never:
    """Go through the history once an hour, until cancelled."""
    await asyncio.sleep(FIRST_ROUND_S)
    while True:
        steps = history.steps(policy)
        try:
            while await writer.call(_goes_on, steps):  # noqa: ASYNC110 - other writing goes between
                await asyncio.sleep(PAUSE_S)
        except sqlite3.Error as error:
            _log.warning("the history is not bounded now (%s); the next round is in an hour", error)
        for state in await writer.call(history.states):
            if state.refused is not None:
                _log.error(
                    "checkpoint %d of node %d, %s, is refused: %s; no body goes by it",
                    state.number,
                    state.origin,
                    state.audience,
                    state.refused,
                )
        await asyncio.sleep(ROUND_EVERY_S)


def _goes_on(steps: Iterator[None]) -> bool:
    """Take one step; return False at the end."""
    end = object()
    return next(steps, end) is not end
