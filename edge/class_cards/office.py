"""The desk for class cards: what teachers and the office enter, and what screens deliver."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Never

from drivers.codecs.card_numbers import canonical_card
from edge.attendance.rules import Status
from edge.books import Record
from edge.class_cards.messages import Messages
from edge.class_cards.screens import Screen, Screens
from edge.pages.box_view import Change
from sync.logs.oplog import Row

NOTE_EVERY_S = 60.0
SWAP = "swap"
"""What the audit calls a swap; its subject is the slot."""
TAP_DAYS = 38
"""Taps are taken this many days back: a card goes on for 31 without the box, and what it kept on
the first has a week more to arrive."""
JUDGED_DAYS = 31
AHEAD_MS = 60_000
_DAY_MS = 24 * 3_600_000


class NamePolicy(StrEnum):
    """How a card writes names, where a whole corridor reads them."""

    FULL = "full"
    MASKED = "masked"  # the first sign, and a star for each other
    NUMBER = "number"  # none: the pseudonymous number


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredTap:
    """A card read at a screen; ``key`` is the screen's own name for this tap, never used again."""

    key: str
    card: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A teacher's word on one entry, with the reason; ``moment_ms``: when its lessons begin.

    ``make_up`` is the slot in which the lesson is made up for, if one.
    """

    day: str
    slot: str
    person: int
    status: Status
    teacher: str
    reason: str
    moment_ms: int
    make_up: str | None = None


class CardOffice:
    """Everything a box does for its class cards but the pages themselves.

    ``person_of`` tells whose a card is, ``judge`` is told moments whose days have to be judged
    again. Call on the event loop's thread.
    """

    def __init__(
        self,
        folder: Path,
        record: Record,
        *,
        person_of: Callable[[str], int | None],
        judge: Callable[..., None],
        now_ms: Callable[[], int],
        draw: Callable[[], str],
        changed: Callable[[Change], None],
        names: NamePolicy = NamePolicy.FULL,
    ) -> None:
        self.names = names
        self.screens = Screens(folder / "screens.json", record, now_ms, draw, changed)
        self.messages = Messages(record, now_ms, draw, changed)
        self._record = record
        self._person_of = person_of
        self._judge = judge
        self._now_ms = now_ms
        self._changed = changed
        self._turns: Counter[str] = Counter()

    async def run(self) -> Never:
        """Tell the hub which screens are there."""
        while True:
            await self.screens.note_due()
            await asyncio.sleep(NOTE_EVERY_S)

    def note_rooms(self, rooms: Collection[str]) -> None:
        """Note that taps or attendance of rooms changed; their cards alone look again."""
        self._turns.update(rooms)
        self._changed(Change.TAPS)

    def turn(self, room: str) -> int:
        """Return a number that rises whenever a room's taps or attendance change."""
        return self._turns[room]

    async def deliver(self, screen: Screen, taps: Sequence[DeliveredTap]) -> list[str]:
        """Write a screen's taps; the same tap delivered again adds nothing.

        A tap from the future is one of now: it cannot be. One older than TAP_DAYS is not written;
        the keys of those are returned.
        """
        now_ms = self._now_ms()
        oldest_ms = now_ms - TAP_DAYS * _DAY_MS
        taken = [tap for tap in taps if tap.at_ms >= oldest_ms]
        rows: list[Row] = []
        for tap in taken:
            card = canonical_card(tap.card)
            person = self._person_of(tap.card)
            rows.append(
                {
                    "at_ms": tap.at_ms if tap.at_ms <= now_ms + AHEAD_MS else now_ms,
                    "device": screen.screen,
                    "person": person,
                    "room": screen.room,
                    "card": card if person is None else None,
                    "device_key": f"{screen.screen}:{tap.key}",
                }
            )
        if rows:
            await self._record({"card_tap": rows})
            self.note_rooms({screen.room})
            self._judge(*(tap.at_ms for tap in taken))
        return [tap.key for tap in taps if tap.at_ms < oldest_ms]

    async def enter_leave(
        self, person: int, from_ms: int, until_ms: int, reason: str, who: str
    ) -> None:
        row: Row = {
            "person": person,
            "from_ms": from_ms,
            "until_ms": until_ms,
            "reason": reason or None,
        }
        await self._enter("leave", [row], "enter leave", str(person), who)
        self._judge_span(from_ms, until_ms)

    async def withdraw_leave(self, person: int, from_ms: int, until_ms: int, who: str) -> None:
        row: Row = {"person": person, "from_ms": from_ms, "deleted": 1}
        await self._enter("leave", [row], "withdraw leave", str(person), who)
        self._judge_span(from_ms, until_ms)

    async def set_room(self, class_group: Row, who: str) -> None:
        """Say at which room's card a class stands, by its whole row: a roster does not tell."""
        subject = str(class_group["class_group"])
        await self._enter("class_group", [class_group], "set a class's room", subject, who)

    async def enter_duty(self, class_group: str, day: str, person: int | None, who: str) -> None:
        """Put a pupil on duty in the place of another; None takes the entry back."""
        row: Row = {"class_group": class_group, "day": day, "person": person}
        await self._enter("duty", [row], "enter duty", f"{class_group} {day}", who)

    async def enter_honour(
        self, class_group: str, week: str, person: int | None, reason: str, who: str
    ) -> None:
        """Name the star of a week, or nobody; ``week`` as :func:`week_of` writes it."""
        row: Row = {
            "class_group": class_group,
            "week": week,
            "person": person,
            "reason": reason or None,
        }
        await self._enter("honour", [row], "enter star of the week", f"{class_group} {week}", who)

    async def correct(self, word: Correction, who: str) -> None:
        """Write an attendance entry by hand; no rule overwrites it."""
        row: Row = {
            "day": word.day,
            "slot": word.slot,
            "person": word.person,
            "status": word.status.value,
            "at_ms": None,
            "corrected_by": word.teacher,
            "reason": word.reason,
            "make_up": word.make_up,
        }
        subject = f"{word.day} {word.slot} {word.person}"
        await self._enter("attendance_entry", [row], f"correct to {word.status}", subject, who)
        self._judge(word.moment_ms)

    async def enter_health(
        self, person: int, temperature_c: float | None, symptoms: str, who: str
    ) -> None:
        """Note a morning or noon check; temperature and symptoms stay in the school."""
        row: Row = {
            "at_ms": self._now_ms(),
            "person": person,
            "temperature_c": temperature_c,
            "symptoms": symptoms or None,
        }
        await self._enter("health_check", [row], "enter health check", str(person), who)

    async def enter_well(self, persons: Collection[int], who: str) -> None:
        """Note that a check found nothing with some pupils: one row each, one audit line."""
        now_ms = self._now_ms()
        rows: list[Row] = [
            {"at_ms": now_ms, "person": person, "temperature_c": None, "symptoms": None}
            for person in persons
        ]
        subject = " ".join(map(str, sorted(persons)))
        await self._enter("health_check", rows, "enter health check: nothing found", subject, who)

    async def swap(self, slot: str, subject: str, teacher: str, who: str) -> None:
        """Change who teaches what in one lesson."""
        row: Row = {"slot": slot, "subject": subject, "teacher": teacher}
        await self._enter("timetable_slot", [row], SWAP, slot, who)

    def _judge_span(self, from_ms: int, until_ms: int) -> None:
        """Let the days of a span be judged that have come; of a longer one the latest."""
        until_ms = min(until_ms, self._now_ms() + 1)
        self._judge(*range(max(from_ms, until_ms - JUDGED_DAYS * _DAY_MS), until_ms, _DAY_MS))

    async def _enter(
        self, table: str, rows: Sequence[Row], action: str, subject: str, who: str
    ) -> None:
        audit: Row = {"at_ms": self._now_ms(), "who": who, "action": action, "subject": subject}
        await self._record({table: rows, "audit_entry": [audit]})
        self._changed(Change.SCHEDULE)


def week_of(at_ms: int, zone: tzinfo) -> str:
    """Return a moment's week at the school, ISO 8601: ``2026-W48``."""
    year, week, _ = datetime.fromtimestamp(at_ms / 1_000, zone).isocalendar()
    return f"{year}-W{week:02}"


def shown_name(name: str, policy: NamePolicy) -> str | None:
    """Return a name as a card may write it, None for not at all."""
    if policy is NamePolicy.NUMBER or not name:
        return None
    return name if policy is NamePolicy.FULL else name[0] + "*" * (len(name) - 1)
