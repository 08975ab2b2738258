"""What the office's forms hold; times are the school's own, as a browser writes them."""

from datetime import date, datetime, tzinfo
from typing import Annotated, Literal

import msgspec

from edge.attendance.rules import Status
from edge.pages.actions import PRINTABLE, ActionError, Name, Word

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
When = Annotated[str, msgspec.Meta(min_length=10, max_length=25)]
Person = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
Moment = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
WELL_MAX = 200
Reason = Annotated[str, msgspec.Meta(max_length=200, pattern=PRINTABLE)]


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``group`` and ``day`` are which class the page goes on showing."""

    group: Word | None = None
    day: When | None = None


class Publish(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    kind: Literal["notice", "exam"]
    text_zh: Text
    text_en: Text | None = None
    room: Word | None = None
    begins: When
    ends: When


class Emergency(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    text_zh: Text
    text_en: Text | None = None
    room: Word | None = None


class Lift(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    message: Word


class Pair(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    code: Annotated[str, msgspec.Meta(min_length=6, max_length=16)]
    room: Word
    name: Name | None = None


class Revoke(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    screen: Word


class EnterLeave(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    person: Person
    begins: When
    ends: When
    reason: Reason | None = None


class WithdrawLeave(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    person: Person
    from_ms: Moment
    until_ms: Moment


class SetRoom(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group: Word
    room: Word


class EnterDuty(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group: Word
    on: When
    person: Person | None = None


class EnterHonour(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    group: Word
    on: When
    person: Person | None = None
    reason: Reason | None = None


class Correct(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    day: When
    slot: Word
    person: Person
    status: Status
    teacher: Name
    reason: Reason
    make_up: Word | None = None


class EnterHealth(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    person: Person
    temperature_c: Annotated[float, msgspec.Meta(ge=30, le=45)] | None = None
    symptoms: Reason | None = None


class EnterWell(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pupils with whom a check found nothing."""

    persons: Annotated[frozenset[Person], msgspec.Meta(min_length=1, max_length=WELL_MAX)]


class Swap(Form, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slot: Word
    subject: Name
    teacher: Name


def read_moment(text: str, zone: tzinfo) -> int:
    """Return a local date and time as Unix ms; raises ActionError for what is none."""
    try:
        at = datetime.fromisoformat(text)
        return int(at.replace(tzinfo=at.tzinfo or zone).timestamp() * 1_000)
    except (ValueError, OverflowError, OSError) as error:
        raise ActionError(400, "invalid", f"{text} is no date and time") from error


def read_span(begins: str, ends: str, zone: tzinfo) -> tuple[int, int]:
    """Return [begins, ends); raises ActionError unless it ends after it begins."""
    span = read_moment(begins, zone), read_moment(ends, zone)
    if span[0] >= span[1]:
        raise ActionError(400, "invalid", "the end must come after the beginning")
    return span


def read_date(text: str) -> str:
    """Return an ISO date; raises ActionError for what is none."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ActionError(400, "invalid", f"{text} is no date") from error
