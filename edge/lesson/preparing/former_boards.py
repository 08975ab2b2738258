"""What blackboards were before a lesson took them, kept through a restart of the box."""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from drivers.entities import DeviceId
from drivers.errors import SetupError
from edge.errors import BoxSetupError
from edge.private_file import PrivateFile
from provisioning.errors import ProvisioningError
from sync.lessons.fragment_log import LessonId

_log = logging.getLogger(__name__)

LESSONS_MAX = 64
"""Lessons whose boards are remembered; what a lost one had switched stays as it is."""


class FormerBoard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board's power and source as it last told; empty where it told nothing."""

    power: str
    source: str


class FormerBoards:
    """One 0600 file; on the event loop's thread. A disk that refuses costs the putting back."""

    def __init__(self, path: Path) -> None:
        self._file = PrivateFile(path)
        self._kept = _read(self._file)

    async def keep(self, lesson: LessonId, device: DeviceId, now: FormerBoard) -> None:
        """Remember what a board is before its lesson; the first word on it stays.

        A board that another lesson has still to put back is remembered as that lesson found it.
        """
        of_lesson = self._kept.get(lesson, {})
        if device in of_lesson:
            return
        found = next((boards[device] for boards in self._kept.values() if device in boards), now)
        kept = {**self._kept, lesson: {**of_lesson, device: found}}
        while len(kept) > LESSONS_MAX:
            del kept[next(iter(kept))]
        await self._write(kept)

    async def take(self, lesson: LessonId) -> Mapping[DeviceId, FormerBoard]:
        """Return what a lesson's boards were, and forget it."""
        found = self._kept.get(lesson, {})
        if found:
            await self._write({name: each for name, each in self._kept.items() if name != lesson})
        return {DeviceId(device): board for device, board in found.items()}

    async def _write(self, kept: dict[str, dict[str, FormerBoard]]) -> None:
        self._kept = kept
        try:
            await self._file.write(kept)
        except SetupError as error:
            _log.warning("what the blackboards were is not remembered: %s", error)


def _read(file: PrivateFile) -> dict[str, dict[str, FormerBoard]]:
    try:
        return (
            file.read(dict[str, dict[str, FormerBoard]], "boards stay as lessons left them") or {}
        )
    except (BoxSetupError, ProvisioningError) as error:
        _log.warning("%s", error)
        return {}
