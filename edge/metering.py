"""A link that is paid by the byte: what may flow now, and what waits for the night.

Counted are the bytes of messages, and what TLS and HTTP add to each; connections' handshakes are
not, nor lessons' media, which a school starts knowingly.
"""

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from edge.config import BoxConfig
from provisioning.durable_file import write_private
from provisioning.errors import SetupError
from sync.schema.model import Lane

_log = logging.getLogger(__name__)

DAY_MS = 24 * 3600 * 1000
MESSAGE_BYTES = 30
"""What TLS and HTTP add to each message."""
PATIENT = frozenset({Lane.TELEMETRY, Lane.BULK, Lane.SNAPSHOT})
"""What waits on a link whose day's bytes are used up; the others' bytes are few."""
_SAVE_BYTES = 16 * 1024


class Hold(StrEnum):
    """Why lanes wait though there is a connection."""

    METERED = "metered"  # the day's bytes of a link paid by the byte are used
    HUB_BUSY = "hub-busy"  # it has many schools to answer at once


@dataclass(frozen=True, slots=True)
class Flows:
    """Lanes that may be sent now; if not all, why, and until when (Unix ms) if that is known."""

    lanes: frozenset[Lane]
    reason: Hold | None = None
    until_ms: int | None = None

    def only(self, lanes: Collection[Lane], reason: Hold) -> "Flows":
        """Return these flows without any but ``lanes``."""
        return Flows(self.lanes & frozenset(lanes), self.reason or reason, self.until_ms)


ALL_FLOWS = Flows(frozenset(Lane))


class _Saved(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    day: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Night:
    """Hours of the local day, in minutes since midnight; it may pass midnight."""

    begins_min: int
    ends_min: int

    def contains(self, minute: int) -> bool:
        if self.begins_min <= self.ends_min:
            return self.begins_min <= minute < self.ends_min
        return minute >= self.begins_min or minute < self.ends_min


def parse_night(text: str) -> Night:
    """Read ``23:00-06:00``, as the configuration has checked it."""
    begins_h, begins_m, ends_h, ends_m = (int(part) for part in re.split("[:-]", text))
    return Night(begins_h * 60 + begins_m, ends_h * 60 + ends_m)


class Meter:
    """Counts a day's bytes outside of the night, in ``file`` so that a restart forgets none.

    ``utc_offset_ms`` says where the day begins.
    """

    def __init__(self, bytes_a_day: int, night: Night, utc_offset_ms: int, file: Path) -> None:
        self._bytes_a_day = bytes_a_day
        self._night = night
        self._utc_offset_ms = utc_offset_ms
        self._file = file
        self._day, self._used_bytes = _read(file)
        self._saved_bytes = self._used_bytes

    def count(self, message_bytes: int, now_ms: int) -> None:
        """Count one message, sent or received."""
        day, minute = _local(now_ms, self._utc_offset_ms)
        if day != self._day:
            self._day, self._used_bytes, self._saved_bytes = day, 0, 0
        if self._night.contains(minute):
            return
        was_over = self._used_bytes >= self._bytes_a_day
        self._used_bytes += message_bytes + MESSAGE_BYTES
        is_over = self._used_bytes >= self._bytes_a_day
        if is_over != was_over:
            _log.warning(
                "%d bytes of today's %d are used: readings and bulk wait for the night",
                self._used_bytes,
                self._bytes_a_day,
            )
        if is_over != was_over or self._used_bytes - self._saved_bytes >= _SAVE_BYTES:
            self._save()

    def flows(self, now_ms: int) -> Flows:
        """Return what may be sent now."""
        day, minute = _local(now_ms, self._utc_offset_ms)
        used_bytes = self._used_bytes if day == self._day else 0
        if used_bytes < self._bytes_a_day or self._night.contains(minute):
            return ALL_FLOWS
        midnight_ms = (day + 1) * DAY_MS - self._utc_offset_ms
        until_ms = midnight_ms
        if self._night.begins_min > minute:
            until_ms = day * DAY_MS - self._utc_offset_ms + self._night.begins_min * 60_000
        return Flows(frozenset(Lane) - PATIENT, Hold.METERED, until_ms)

    def _save(self) -> None:
        self._saved_bytes = self._used_bytes
        try:
            write_private(self._file, msgspec.json.encode(_Saved(self._day, self._used_bytes)))
        except SetupError as error:
            _log.warning("%s; a restart forgets today's bytes of the link", error)


def open_meter(config: BoxConfig) -> Meter | None:
    """Return the box's meter, None on a link that is not paid by the byte."""
    metered = config.uplink.metered
    if metered is None:
        return None
    file = config.folder / "metered-link.json"
    return Meter(metered.bytes_a_day, parse_night(metered.night), _utc_offset_ms(config), file)


def night_only(config: BoxConfig, now_ms: Callable[[], int]) -> Callable[[], bool]:
    """Return what tells whether many patient bytes may flow now: on a metered link, at night."""
    metered = config.uplink.metered
    if metered is None:
        return lambda: True
    night, utc_offset_ms = parse_night(metered.night), _utc_offset_ms(config)
    return lambda: night.contains(_local(now_ms(), utc_offset_ms)[1])


def _utc_offset_ms(config: BoxConfig) -> int:
    return int(config.utc_offset_hours * 3600 * 1000)


def _local(at_ms: int, utc_offset_ms: int) -> tuple[int, int]:
    """Return the local day and its minute."""
    day, ms = divmod(at_ms + utc_offset_ms, DAY_MS)
    return day, ms // 60_000


def _read(file: Path) -> tuple[int, int]:
    try:
        saved = msgspec.json.decode(file.read_bytes(), type=_Saved)
    except FileNotFoundError:
        return 0, 0
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.warning("%s is not read (%s); today's bytes count from now", file, error)
        return 0, 0
    return saved.day, saved.used_bytes
