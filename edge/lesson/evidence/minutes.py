"""What a lesson came to at one school: how it went, what is recorded, and its signed minutes."""

import asyncio
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Never

import msgspec

from edge.lesson.evidence.hop_quality import HopCount
from edge.lesson.evidence.live_count import LiveCount, rung_of
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.preparing.checks import Check, Item
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import Cause, LessonStatus, Phase
from edge.lesson.transfer.recording import RecordedTake
from edge.pages.box_view import LessonRole
from sync.lessons.lesson_minutes import Minutes, recording_digest
from sync.lessons.tcp_connection import TcpInfo
from sync.logs.oplog import Row

QUALITY_ROWS_MAX = 1000
"""Changes of a lesson's state that wait for the disk; beyond it the oldest go."""
LIVE_FILE = "live.json"

_EVERYWHERE = {
    Cause.NONE: None,
    Cause.HUB_UNREACHABLE: "wan",
    Cause.HUB_REFUSES: "hub",
    Cause.FLAGSHIP_SILENT: "flagship",
    Cause.SUBSTITUTE: "flagship",
    Cause.CAMERA_SILENT: "camera",
    Cause.PICTURE_REDUCED: "wan",
    Cause.NO_KEY: "key",
    Cause.DISK: "box",
}
CAUSE_WORDS: Mapping[LessonRole, Mapping[Cause, str | None]] = {
    LessonRole.FLAGSHIP: {
        **_EVERYWHERE,
        Cause.NO_PICTURE: "camera",
        Cause.NO_SOUND: "camera",
    },
    LessonRole.RECEIVER: {**_EVERYWHERE, Cause.NO_PICTURE: "wan", Cause.NO_SOUND: "wan"},
}
"""Where the trouble is, in the hub's words (``lesson_quality.cause``)."""
ITEM_WORDS: Mapping[Item, str] = {
    Item.CAMERA: "camera",
    Item.AIM: "aim",
    Item.SOUND: "sound",
    Item.BLACKBOARD: "blackboard",
    Item.BOARD_PICTURE: "board_picture",
    Item.DOCUMENT: "document",
    Item.CLASS_CARD: "class_card",
    Item.PAGE: "page",
    Item.STAND_IN: "stand_in",
    Item.LINE: "wan",
    Item.KEY: "key",
    Item.DISK: "box",
    Item.CLOCK: "clock",
}
"""The same for what is looked at before the bell."""
_GOING = {Phase.LIVE, Phase.DEGRADED, Phase.CATCHING_UP}
PREFLIGHT = "preflight"
"""The hop of what was found before the bell."""


class MinutesBook:
    """Counts one lesson's seconds and keeps how it went; :meth:`keep` is its task."""

    def __init__(self, means: LessonMeans, lesson: ScheduledLesson) -> None:
        self._means = means
        self._lesson = lesson.lesson
        self._live = LiveCount(means.shelf.note_path(lesson.lesson, LIVE_FILE))
        self.hops = HopCount(gives=lesson.mine.role is LessonRole.FLAGSHIP)
        self._told: tuple[Phase, str] | None = None
        self._failing: tuple[str, ...] | None = None
        self._quality: deque[Row] = deque(maxlen=QUALITY_ROWS_MAX)

    def note(self, lesson: ScheduledLesson, status: LessonStatus) -> bool:
        """Note a state; return whether it is another than before."""
        if (status.phase, status.cause) == self._told:
            return False
        self._told = (status.phase, status.cause)
        cause = CAUSE_WORDS[lesson.mine.role][status.cause]
        is_ahead = status.at_ms < lesson.starts_ms
        self._quality.append(
            {
                "at_ms": status.at_ms,
                "lesson": lesson.lesson,
                "hop": lesson.mine.role.value,
                "state": status.phase.value,
                "cause": cause or (self._worst if is_ahead else None),
                "frames": status.missing,
                "late_ms": status.age_ms,
                "rung": status.rung.value,
            }
        )
        return True

    def note_checks(self, lesson: ScheduledLesson, checks: Sequence[Check], at_ms: int) -> None:
        """Note what was found before the bell, the worst last, if it is news."""
        failing = tuple(
            dict.fromkeys(ITEM_WORDS[check.item] for check in checks if check.is_failing)
        )
        if failing == self._failing:
            return
        self._failing = failing
        hops = [(PREFLIGHT, cause) for cause in reversed(failing)]
        for hop, cause in (*hops, (lesson.mine.role.value, self._worst)):
            self._quality.append(
                {
                    "at_ms": at_ms,
                    "lesson": lesson.lesson,
                    "hop": hop,
                    "state": "preparing",
                    "cause": cause,
                    "frames": None,
                    "late_ms": None,
                }
            )

    async def keep(
        self,
        status: Callable[[], LessonStatus],
        is_on: Callable[[], bool],
        watched: Callable[[], tuple[int, int]],
        gauges: Callable[[], tuple[int, TcpInfo | None]],
    ) -> Never:
        """Count the seconds in which something came, and record how the lesson goes.

        The hops' minutes are those in which it ``is_on``: filling a recording may take a night.
        """
        lost = 0
        while True:
            await asyncio.sleep(1.0)
            now = status()
            await self._live.tick(now)
            if now.phase in _GOING and is_on():
                lost_packets, line = gauges()
                self.hops.gap(lost_packets - lost)
                lost = lost_packets
                self.hops.line(line)
                self.hops.tick(now, rung_of(now), *watched())
            self._quality += self.hops.rows(self._lesson, now.at_ms)
            rows = list(self._quality)
            if not rows:
                continue
            self._quality.clear()
            try:
                await self._means.writer.call(self._means.node.record, "lesson_quality", rows)
            except sqlite3.Error:
                self._quality.extendleft(reversed(rows))
                raise

    async def note_recorded(self, lesson: ScheduledLesson, takes: Sequence[RecordedTake]) -> None:
        """Record what is kept of the lesson so far; its minutes are signed when no more comes."""
        rows = self._recordings(lesson, takes)
        await self._means.writer.call(self._means.node.record, "recording", rows)

    async def write_down(self, lesson: ScheduledLesson, takes: Sequence[RecordedTake]) -> None:
        """Record what is kept of the lesson and sign its minutes, in one step.

        A rehearsal is done like any other and counts for nothing.
        """
        rows: dict[str, list[Row]] = {
            "lesson_quality": list(self._quality),
            "recording": self._recordings(lesson, takes),
            "lesson_minutes": [self._minutes(lesson, takes)],
        }
        await self._means.writer.call(self._means.node.record_all, rows)
        self._quality.clear()

    @property
    def _worst(self) -> str | None:
        return self._failing[0] if self._failing else None

    def _minutes(self, lesson: ScheduledLesson, takes: Sequence[RecordedTake]) -> Row:
        """Return the signed minutes; of a rehearsal nothing counts."""
        identity = self._means.identity
        none = Minutes(
            school=identity.school,
            lesson=lesson.lesson,
            live_s=0,
            recorded_s=0,
            missing_s=0,
            sent_s=0,
            rungs={},
            digest=b"",
            rehearsal=True,
        )
        if lesson.rehearsal:
            return none.row(identity.signing)
        gives = lesson.mine.role is LessonRole.FLAGSHIP
        minutes = replace(
            none,
            live_s=self._live.seconds,
            recorded_s=round(sum(max(take.seconds.values(), default=0.0) for take in takes)),
            missing_s=round(sum(_missing_s(take) for take in takes)),
            sent_s=self._live.seconds if gives else 0,
            rungs=self._live.rungs,
            digest=recording_digest(self._means.shelf.takes(lesson.lesson)),
            rehearsal=False,
        )
        return minutes.row(identity.signing)

    def _recordings(self, lesson: ScheduledLesson, takes: Sequence[RecordedTake]) -> list[Row]:
        if lesson.rehearsal:
            return []
        return [self._recording(lesson, take) for take in takes if take.seconds]

    def _recording(self, lesson: ScheduledLesson, take: RecordedTake) -> Row:
        store = self._means.shelf.find(lesson.lesson, take.take)
        return {
            "lesson": lesson.lesson,
            "take": take.take.hex(),
            "recorded_ms": int(max(take.seconds.values(), default=0.0) * 1000),
            "bytes": take.stored_bytes,
            "gaps": msgspec.json.encode(
                [[gap.track, gap.first, gap.last] for gap in take.gaps]
            ).decode(),
            "complete": int(take.complete),
            "digest": recording_digest([store] if store is not None else []),
        }


def _missing_s(take: RecordedTake) -> float:
    """Return the longest that a track of the take lacks: a hole in two of them is one hole."""
    lacking: defaultdict[int, float] = defaultdict(float)
    for gap in take.gaps:
        lacking[gap.track] += gap.seconds
    return max(lacking.values(), default=0.0)
