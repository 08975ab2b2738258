"""How a lesson fared at each hop, minute by minute: camera, line to the hub, hub, LAN, screens.

Pure counting and judging; rows of ``lesson_quality``. What the hub and the box make of the rows of
a whole lesson, a root cause in words, is in ``sync.lessons.root_cause``.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from edge.lesson.status import LessonStatus
from sync.lessons.fragment_exchange import HubMinute
from sync.lessons.fragment_log import is_sound
from sync.lessons.fragment_rungs import Rung
from sync.lessons.root_cause import GOOD, POOR, Hop
from sync.lessons.tcp_connection import TcpInfo
from sync.logs.oplog import Row

MINUTE_S = 60
FPS_SHARE_MIN = 0.8
"""Fewer pictures than this share of the lesson's best minute are a fault of the camera."""
LIVE_SHARE_MIN = 0.95
"""Of a minute's seconds so many must have come for the line to have held."""
LOST_SHARE_MAX = 0.02
HUB_BUSY_MS_MAX = 250
"""A hub that is late for longer is heard: classrooms buffer less."""
HUB_DISK_MS_MAX = 3000
"""The hub speaks after its disk; a few seconds more, and boxes take it for gone."""
SCREENS_MAX = 64

_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Figures = dict[str, int | float | None]
_Told = tuple[Hop, bool, int | None, int | None, _Figures]
"""Hop, whether it was good, pictures, how late (ms), and the figures."""


class ScreenReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a classroom page says of its decoding since it joined; null where it does not know.

    ``sound``: whether its browser lets it be heard; the one thing that it says before the bell too.
    """

    room: Annotated[str, Meta(min_length=1, max_length=64)]
    frames: _Count | None = None
    dropped: _Count | None = None
    stalls: _Count | None = None
    latency_ms: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    behind_ms: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    sound: bool | None = None


@dataclass(slots=True)
class _Minute:
    seconds: int = 0
    live: int = 0
    reduced: int = 0
    pictures: int = 0
    sounds: int = 0
    gaps: int = 0
    frames: int = 0
    dropped: int = 0
    stalls: int = 0
    screens: int = 0
    latency_ms: int | None = None
    late_ms: int = 0
    watching: int = 0
    slow: int = 0
    resent: int = 0
    round_trip_ms: int | None = None


class HopCount:
    """Counts one lesson at one school; what a minute came to is taken by :meth:`rows`."""

    def __init__(self, *, gives: bool) -> None:
        """Count at the flagship, which has the camera, where it ``gives`` the lesson."""
        self._gives = gives
        self._minute = _Minute()
        self._best_fps = 0.0
        self._screens: dict[str, ScreenReport] = {}
        self._status: LessonStatus | None = None
        self._rung: Rung | None = None
        self._hub: HubMinute | None = None
        self._slow = 0
        self._resent: int | None = None

    def media(self, track: int) -> None:
        """Count a fragment as it is captured, or as it is played."""
        if is_sound(track):
            self._minute.sounds += 1
        else:
            self._minute.pictures += 1

    def gap(self, packets: int) -> None:
        """Count packets that the camera left out."""
        self._minute.gaps += packets

    def line(self, line: TcpInfo | None) -> None:
        """Take in how the connection to the hub is; another one counts from nothing."""
        if line is None:
            return
        self._minute.resent += _more(line.resent_packets, self._resent)
        self._resent = line.resent_packets
        round_trip_ms = round(line.round_trip_s * 1000)
        self._minute.round_trip_ms = max(self._minute.round_trip_ms or 0, round_trip_ms)

    def hub(self, told: HubMinute) -> None:
        """Take in what the hub saw of a minute; of two within one of ours the worse figures."""
        if self._status is not None:  # before the lesson there is nothing to count
            self._hub = told if self._hub is None else _worse(self._hub, told)

    def screen(self, page: str, told: ScreenReport) -> None:
        """Take in what a page, named by its address, says of itself since it joined."""
        before = self._screens.get(page)
        if before is None and len(self._screens) >= SCREENS_MAX:
            return
        self._screens[page] = told
        minute = self._minute
        minute.screens = max(minute.screens, len(self._screens))
        minute.frames += _more(told.frames, before.frames if before else None)
        minute.dropped += _more(told.dropped, before.dropped if before else None)
        minute.stalls += _more(told.stalls, before.stalls if before else None)
        if told.latency_ms is not None:
            minute.latency_ms = max(minute.latency_ms or 0, told.latency_ms)

    def tick(
        self, status: LessonStatus, rung: Rung | None, watching: int = 0, slow: int = 0
    ) -> None:
        """Count a second of the lesson.

        ``watching`` pages in the room, whose links were too ``slow`` for so many fragments so far.
        """
        minute = self._minute
        minute.seconds += 1
        minute.live += rung is not None
        minute.reduced += rung is not None and rung is not Rung.MAIN
        minute.late_ms = max(minute.late_ms, status.age_ms or 0)
        minute.watching = max(minute.watching, watching)
        minute.slow += max(0, slow - self._slow)
        self._slow = slow
        self._status = status
        self._rung = rung

    def rows(self, lesson: str, at_ms: int) -> list[Row]:
        """Return what the minute came to, once it is full."""
        if self._minute.seconds < MINUTE_S or self._status is None:
            return []
        minute, self._minute = self._minute, _Minute()
        told = [self._camera(minute)] if self._gives else []
        told += [self._wan(minute, self._status), *self._hub_told()]
        told += [*self._lan(minute), *self._decode(minute)]
        return [
            {
                "at_ms": at_ms,
                "lesson": lesson,
                "hop": hop.value,
                "state": GOOD if is_good else POOR,
                "cause": None,
                "frames": frames,
                "late_ms": late_ms,
                "rung": None if self._rung is None else self._rung.value,
                "figures": msgspec.json.encode(figures).decode(),
            }
            for hop, is_good, frames, late_ms, figures in told
        ]

    def _camera(self, minute: _Minute) -> _Told:
        fps = minute.pictures / minute.seconds
        self._best_fps = max(self._best_fps, fps)
        is_good = fps >= FPS_SHARE_MIN * self._best_fps and not minute.gaps
        is_good = is_good and (minute.pictures + minute.sounds > 0)
        figures: _Figures = {
            "fps": round(fps, 1),
            "sounds": minute.sounds,
            "packets_lost": minute.gaps,
        }
        return Hop.CAMERA, is_good, minute.pictures, None, figures

    def _wan(self, minute: _Minute, status: LessonStatus) -> _Told:
        is_good = minute.live >= LIVE_SHARE_MIN * minute.seconds and not minute.reduced
        figures: _Figures = {
            "live_s": minute.live,
            "reduced_s": minute.reduced,
            "missing": status.missing,
            "dropped": status.dropped,
            "refused": status.refused,
            "resent": minute.resent,
            "round_trip_ms": minute.round_trip_ms,
        }
        frames = None if self._gives else minute.pictures
        return Hop.WAN, is_good, frames, minute.late_ms, figures

    def _hub_told(self) -> list[_Told]:
        told, self._hub = self._hub, None
        if told is None:
            return []
        load: _Figures = {
            "busy_ms": told.busy_ms,
            "disk_ms": told.disk_ms,
            "unstored_s": told.unstored_s,
        }
        link: _Figures = {
            "silent_s": told.silent_s,
            "reduced_s": told.reduced_s,
            "dropped": told.dropped,
            "waiting_bytes": told.waiting_bytes,
        }
        is_free = told.busy_ms <= HUB_BUSY_MS_MAX and told.disk_ms <= HUB_DISK_MS_MAX
        is_held = told.silent_s <= (1 - LIVE_SHARE_MIN) * MINUTE_S
        is_held = is_held and not told.reduced_s and not told.dropped
        return [
            (Hop.LINK, is_held, None, None, link),
            (Hop.HUB, is_free and not told.unstored_s, None, told.busy_ms, load),
        ]

    def _lan(self, minute: _Minute) -> list[_Told]:
        if not minute.watching:
            return []
        figures: _Figures = {"pages": minute.watching, "slow": minute.slow}
        return [(Hop.LAN, not minute.slow, None, None, figures)]

    def _decode(self, minute: _Minute) -> list[_Told]:
        if not minute.screens:
            return []
        shown = minute.frames + minute.dropped
        is_good = not minute.stalls and minute.dropped <= LOST_SHARE_MAX * shown
        figures: _Figures = {
            "screens": minute.screens,
            "dropped": minute.dropped,
            "stalls": minute.stalls,
            "latency_ms": minute.latency_ms,
        }
        return [(Hop.DECODE, is_good, minute.frames, minute.latency_ms, figures)]


def _worse(one: HubMinute, other: HubMinute) -> HubMinute:
    figures = msgspec.structs.asdict(one)
    return HubMinute(**{name: max(each, getattr(other, name)) for name, each in figures.items()})


def _more(now: int | None, before: int | None) -> int:
    """Return what a count rose by; a page that was loaded again counts from nothing."""
    if now is None:
        return 0
    return now - before if before is not None and now >= before else now
