"""The keys of a log while it goes on: what another school grants, and the own one that seals."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Never

from edge.lesson.lesson_means import LessonMeans
from sync.errors import SyncError
from sync.lessons.fragment_log import LessonId
from sync.segments.sealing import DataKey, KeyId

_log = logging.getLogger(__name__)

KEYS_EVERY_S = 1.0
KEYS_AGAIN_S = 5.0
KEY_GRACE_S = 11.0
"""How long the grants of a new key travel, and are looked for, before it seals.

Who left is noticed within 4 s, and can open nothing that is sealed 15 s after it left.
"""


async def keep_keys(
    means: LessonMeans, log: LessonId, school: Callable[[], int | None], keys: dict[KeyId, DataKey]
) -> Never:
    """Add to ``keys`` what ``school`` grants: a late grant must not need a restart.

    ``school`` returns whose the log is, None while nobody is named.
    """
    while True:
        giver = school()
        try:
            if giver is not None:
                keys.update(await means.read_keys(log, giver))
        except sqlite3.Error as error:
            _log.warning("lesson %s: keys are not read: %s", log, error)
        await asyncio.sleep(KEYS_AGAIN_S if keys else KEYS_EVERY_S)


async def follow_sealing_key(
    means: LessonMeans, log: LessonId, key: DataKey, use: Callable[[DataKey], None]
) -> Never:
    """Have the log's new key used when a party left, once the others should have it.

    ``key`` is the one in use.
    """
    while True:
        await asyncio.sleep(KEYS_EVERY_S)
        try:
            now = await means.writer.call(means.keys.sealing_key, log)
        except (sqlite3.Error, SyncError) as error:
            _log.warning("lesson %s: its key is not read: %s", log, error)
            continue
        if now != key:
            await asyncio.sleep(KEY_GRACE_S)
            use(now)
            key = now
