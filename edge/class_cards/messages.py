"""What the office puts on the cards: notices, exams, and an emergency that covers everything."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum

from edge.books import Connect, Record
from edge.pages.box_view import Change
from sync.logs.oplog import Row

TEXT_CHARS_MAX = 500
EMERGENCY_MS = 4 * 3_600_000
"""How long an emergency stands when nobody lifts it."""
MESSAGES_MAX = 50


class MessageKind(StrEnum):
    """What a message does to a card."""

    NOTICE = "notice"  # one line more
    EXAM = "exam"  # hides everything but the exam
    EMERGENCY = "emergency"  # covers everything; each screen says when it had painted it


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMessage:
    """``room`` None: all rooms. [from, until) Unix ms."""

    message: str
    kind: MessageKind
    room: str | None
    text_zh: str
    text_en: str
    from_ms: int
    until_ms: int


class Messages:
    """Publishes, lifts, and notes what screens confirm; on the event loop's thread."""

    def __init__(
        self,
        record: Record,
        now_ms: Callable[[], int],
        draw: Callable[[], str],
        changed: Callable[[Change], None],
    ) -> None:
        self._record = record
        self._now_ms = now_ms
        self._draw = draw
        self._changed = changed

    async def publish(
        self,
        kind: MessageKind,
        text_zh: str,
        text_en: str,
        *,
        room: str | None,
        from_ms: int,
        until_ms: int,
        who: str,
    ) -> CardMessage:
        """Put a message on the cards; durable, and on its way to the screens, on return."""
        message = CardMessage(
            message=self._draw()[:22],
            kind=kind,
            room=room,
            text_zh=text_zh[:TEXT_CHARS_MAX],
            text_en=text_en[:TEXT_CHARS_MAX],
            from_ms=from_ms,
            until_ms=until_ms,
        )
        await self._write(message, who, f"publish {kind}")
        return message

    async def raise_emergency(
        self, text_zh: str, text_en: str, *, room: str | None, who: str
    ) -> CardMessage:
        """Cover the cards of a room, or all, at once."""
        now_ms = self._now_ms()
        return await self.publish(
            MessageKind.EMERGENCY,
            text_zh,
            text_en,
            room=room,
            from_ms=now_ms,
            until_ms=now_ms + EMERGENCY_MS,
            who=who,
        )

    async def withdraw(self, message: CardMessage, who: str) -> None:
        """End a message now; one that has not begun ends before it begins."""
        now_ms = self._now_ms()
        row = _row(replace(message, until_ms=max(message.from_ms, now_ms)), who)
        await self._record(
            {
                "card_message": [row],
                "audit_entry": [_audit(now_ms, who, f"lift {message.kind}", message)],
            }
        )
        self._tell(message.kind)

    async def note_painted(self, message: CardMessage, screen: str) -> None:
        """Note that a screen had painted a message; said again, nothing is added."""
        now_ms = self._now_ms()
        receipt: Row = {
            "at_ms": now_ms,
            "message": message.message,
            "screen": screen,
            "after_ms": max(0, now_ms - message.from_ms),
            "receipt": f"{message.message}:{screen}",
        }
        await self._record({"card_receipt": [receipt]})
        self._changed(Change.RECEIPTS)

    async def _write(self, message: CardMessage, who: str, action: str) -> None:
        now_ms = self._now_ms()
        await self._record(
            {
                "card_message": [_row(message, who)],
                "audit_entry": [_audit(now_ms, who, action, message)],
            }
        )
        self._tell(message.kind)

    def _tell(self, kind: MessageKind) -> None:
        self._changed(Change.EMERGENCY if kind is MessageKind.EMERGENCY else Change.SCHEDULE)


def read_messages(
    connection: sqlite3.Connection, school: int, *, from_ms: int, until_ms: int
) -> list[CardMessage]:
    """Return messages that stand some time in [from, until), the newest first."""
    rows = connection.execute(
        "SELECT message, kind, room, text_zh, text_en, from_ms, until_ms FROM card_message"
        " WHERE school = ? AND deleted = 0 AND until_ms > ? AND from_ms < ? AND from_ms < until_ms"
        " AND kind IN ('notice', 'exam', 'emergency') ORDER BY from_ms DESC, message LIMIT ?",
        (school, from_ms, until_ms, MESSAGES_MAX),
    )
    return [
        CardMessage(
            message=row[0],
            kind=MessageKind(row[1]),
            room=row[2],
            text_zh=row[3] or "",
            text_en=row[4] or "",
            from_ms=row[5],
            until_ms=row[6],
        )
        for row in rows
    ]


def find_message(connect: Connect, school: int, name: str, now_ms: int) -> CardMessage | None:
    """Return a message that has not ended, by its name."""
    with closing(connect()) as connection:
        standing = read_messages(connection, school, from_ms=now_ms, until_ms=1 << 62)
    return next((each for each in standing if each.message == name), None)


def read_receipts(
    connection: sqlite3.Connection, school: int, message: CardMessage
) -> dict[str, int]:
    """Return after how many milliseconds each screen had painted a message."""
    rows = connection.execute(
        "SELECT screen, min(after_ms) FROM card_receipt WHERE school = ? AND at_ms >= ?"
        " AND message = ? GROUP BY screen",
        (school, message.from_ms, message.message),
    )
    return {row[0]: row[1] for row in rows}


def _row(message: CardMessage, who: str) -> Row:
    return {
        "message": message.message,
        "kind": message.kind.value,
        "room": message.room,
        "text_zh": message.text_zh,
        "text_en": message.text_en,
        "from_ms": message.from_ms,
        "until_ms": message.until_ms,
        "published_by": who,
    }


def _audit(at_ms: int, who: str, action: str, message: CardMessage) -> Row:
    return {"at_ms": at_ms, "who": who, "action": action, "subject": message.message}
