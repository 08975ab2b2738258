"""Sends a lesson's slides from the flagship's disk, also those that are added while it runs."""

import asyncio
import logging
from typing import Never

from edge.lesson.teaching.materials import Materials
from edge.lesson.transfer.publish import LessonPublisher
from sync.lessons.fragment_log import LessonId

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


async def keep_sending(publisher: LessonPublisher, materials: Materials, lesson: LessonId) -> Never:
    """Hand each slide to the publisher once, small ones first; those of an earlier run are known.

    Raises what the disk raises; call it again then.
    """
    sent = publisher.sent_files()
    while True:
        for digest in materials.digests(lesson):
            path = None if digest in sent else materials.find(lesson, digest)
            if path is None:
                continue
            publisher.send_file(await asyncio.to_thread(path.read_bytes))
            sent.add(digest)
            _log.info("lesson %s: slide %s is on its way", lesson, digest.hex()[:8])
        await asyncio.sleep(LOOK_EVERY_S)
