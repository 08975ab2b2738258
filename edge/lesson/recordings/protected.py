"""The recordings that a person protected from going by their age."""

import logging
from pathlib import Path

import msgspec

from edge.errors import NotNowError
from provisioning.durable_file import write_private

_log = logging.getLogger(__name__)

PROTECTED_MAX = 1000


class Protected:
    """A set of lessons, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lessons: set[str] = set()
        try:
            self._lessons = set(msgspec.json.decode(path.read_bytes(), type=list[str]))
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("%s is not read (%s); protect those recordings again", path, error)

    def __contains__(self, lesson: str) -> bool:
        return lesson in self._lessons

    def set(self, lesson: str, *, protected: bool) -> None:
        """Protect a lesson, or no longer; raises NotNowError for one too many, and SetupError."""
        if protected == (lesson in self._lessons):
            return
        changed = self._lessons | {lesson} if protected else self._lessons - {lesson}
        if len(changed) > PROTECTED_MAX:
            raise NotNowError(f"{PROTECTED_MAX} recordings are protected already; let some age")
        write_private(self._path, msgspec.json.encode(sorted(changed)))
        self._lessons = changed
