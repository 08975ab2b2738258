"""How many seconds of a lesson came live, by what came: a restart of the box forgets none."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge.lesson.status import LessonStatus
from provisioning.durable_file import write_private
from provisioning.errors import SetupError
from sync.lessons.fragment_rungs import Rung

_log = logging.getLogger(__name__)

FRESH_MS = 1500
"""A tick and a half: what is older did not come in this second."""
_SAVE_EVERY_S = 15


class LiveCount:
    """Seconds by rung; call :meth:`tick` once a second."""

    def __init__(self, path: Path) -> None:
        """``path`` keeps the count; a file that cannot be read counts from zero."""
        self._path = path
        self._unsaved = 0
        self._seconds: Counter[str] = Counter()
        try:
            saved = msgspec.json.decode(path.read_bytes(), type=dict[Rung, int])
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("%s is not read (%s); the lesson's seconds count from now", path, error)
            return
        self._seconds.update({rung.value: seconds for rung, seconds in saved.items()})

    @property
    def rungs(self) -> Mapping[str, int]:
        return dict(self._seconds)

    @property
    def seconds(self) -> int:
        return sum(self._seconds.values())

    async def tick(self, status: LessonStatus) -> None:
        """Count a second of a lesson by what came in it, if anything did."""
        rung = rung_of(status)
        if rung is None:
            return
        self._seconds[rung.value] += 1
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY_S:
            self._unsaved = 0
            await asyncio.to_thread(self._save, msgspec.json.encode(self._seconds))

    def _save(self, content: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_private(self._path, content)
        except (SetupError, OSError) as error:
            _log.warning("%s; a restart forgets this lesson's seconds", error)


def rung_of(status: LessonStatus) -> Rung | None:
    """Return what of the lesson came in the last second, None for nothing."""
    return status.rung if status.age_ms is not None and status.age_ms < FRESH_MS else None
