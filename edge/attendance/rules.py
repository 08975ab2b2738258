"""Who was present, late, absent or on leave: taps, timetable and leave in, judgements out.

Nobody taps a card at every bell. Lessons of one class in one room that follow each other closely
are a *session*, and a tap in it counts until its end. Three more rules keep the result honest:

* A session in whose room nobody tapped a card is not judged: a dead reader makes nobody absent.
* A tap proves presence until the next leave begins; who was on leave has to be seen again.
* Who taps though on leave is present: what was seen goes before what was planned.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

MINUTE_MS = 60_000


class Status(StrEnum):
    """What is noted of one person in one lesson."""

    PRESENT = "present"
    LATE = "late"
    ABSENT = "absent"
    LEAVE = "leave"
    MADE_UP = "made_up"  # missed, and made up for in another lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``grace_ms`` after the bell is not late, ``early_ms`` before it counts already.

    Lessons with no more than ``break_ms`` between them are one session.
    """

    grace_ms: int = 5 * MINUTE_MS
    early_ms: int = 60 * MINUTE_MS
    break_ms: int = 40 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One lesson of one class; ``day`` is its date at the school, [starts, ends) Unix ms."""

    day: str
    slot: str
    class_group: str
    room: str
    starts_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    at_ms: int
    person: int
    room: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """[from, until), Unix ms."""

    person: int
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeUp:
    """A teacher's word that ``person`` makes up for a missed lesson in the lesson ``instead``."""

    person: int
    day: str
    slot: str
    instead: Period


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Whose judgement of which lesson."""

    day: str
    slot: str
    person: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``at_ms`` is the tap it rests on, None where it rests on there being none."""

    status: Status
    at_ms: int | None


def judge(
    periods: Iterable[Period],
    members: Mapping[str, Collection[int]],
    taps: Iterable[Tap],
    leaves: Iterable[Leave],
    make_ups: Iterable[MakeUp],
    rules: Rules,
    now_ms: int,
) -> dict[Place, Judgement]:
    """Judge every lesson that began, and the first of a session as soon as somebody is seen.

    ``members`` names each class's people. Who is still awaited (no tap, and the grace is not over)
    has no judgement yet. Taps after ``now_ms`` are not known yet.
    """
    seen = _Seen(tap for tap in taps if tap.at_ms <= now_ms)
    away: defaultdict[int, list[Leave]] = defaultdict(list)
    for leave in sorted(leaves, key=lambda leave: leave.from_ms):
        away[leave.person].append(leave)
    judged: dict[Place, Judgement] = {}
    for session in find_sessions(periods, rules):
        is_watched = seen.anybody(session.room, session.from_ms, session.until_ms)
        for period in session.periods:
            for person in members.get(period.class_group, ()):
                found = _judge_one(
                    period,
                    session,
                    seen.moments(person, session.room),
                    away.get(person, ()),
                    rules,
                    now_ms,
                )
                if found is None or (found.status is Status.ABSENT and not is_watched):
                    continue
                judged[Place(day=period.day, slot=period.slot, person=person)] = found
    for make_up in make_ups:
        place = Place(day=make_up.day, slot=make_up.slot, person=make_up.person)
        before = judged.get(place)
        if before is not None and before.status not in {Status.ABSENT, Status.LEAVE}:
            continue
        instead = make_up.instead
        at_ms = _first(
            seen.moments(make_up.person, instead.room),
            instead.starts_ms - rules.early_ms,
            instead.ends_ms,
        )
        if at_ms is not None:
            judged[place] = Judgement(status=Status.MADE_UP, at_ms=at_ms)
    return judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Lessons that follow each other, by time; a tap in [from, until) counts for them."""

    room: str
    from_ms: int
    until_ms: int
    periods: tuple[Period, ...]


def find_sessions(periods: Iterable[Period], rules: Rules) -> list[Session]:
    """Group lessons of one class in one room; no tap counts for two sessions of a class."""
    ordered = sorted(
        periods, key=lambda each: (each.class_group, each.room, each.starts_ms, each.slot)
    )
    sessions: list[Session] = []
    for (_, room), of_class in groupby(ordered, lambda each: (each.class_group, each.room)):
        runs: list[list[Period]] = []
        ends_ms: list[int] = []
        for period in of_class:
            if runs and period.starts_ms - ends_ms[-1] <= rules.break_ms:
                runs[-1].append(period)
                ends_ms[-1] = max(ends_ms[-1], period.ends_ms)
            else:
                runs.append([period])
                ends_ms.append(period.ends_ms)
        before_ms: int | None = None
        for run, until_ms in zip(runs, ends_ms, strict=True):
            from_ms = run[0].starts_ms - rules.early_ms
            sessions.append(
                Session(
                    room=room,
                    from_ms=from_ms if before_ms is None else max(from_ms, before_ms),
                    until_ms=until_ms,
                    periods=tuple(run),
                )
            )
            before_ms = until_ms
    return sessions


def _judge_one(
    period: Period,
    session: Session,
    moments: Sequence[int],
    leaves: Sequence[Leave],
    rules: Rules,
    now_ms: int,
) -> Judgement | None:
    due_ms, since_ms = period.starts_ms + rules.grace_ms, session.from_ms
    for leave in leaves:
        if leave.from_ms > due_ms:
            break
        since_ms = max(since_ms, leave.from_ms)
        if leave.until_ms > due_ms:
            due_ms = leave.until_ms + rules.grace_ms
    at_ms = _first(moments, since_ms, period.ends_ms)
    has_begun = period.starts_ms <= now_ms
    if at_ms is not None and (has_begun or period is session.periods[0]):
        return Judgement(status=Status.PRESENT if at_ms <= due_ms else Status.LATE, at_ms=at_ms)
    if not has_begun:
        return None
    is_on_leave = any(
        leave.from_ms < period.ends_ms and leave.until_ms > period.starts_ms for leave in leaves
    )
    if is_on_leave:
        return Judgement(status=Status.LEAVE, at_ms=None)
    return Judgement(status=Status.ABSENT, at_ms=None) if now_ms > due_ms else None


class _Seen:
    """Taps by person and by room, each in the order of time."""

    def __init__(self, taps: Iterable[Tap]) -> None:
        self._of_person: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        self._of_room: defaultdict[str, list[int]] = defaultdict(list)
        for tap in sorted(taps, key=lambda tap: tap.at_ms):
            self._of_person[tap.person, tap.room].append(tap.at_ms)
            self._of_room[tap.room].append(tap.at_ms)

    def moments(self, person: int, room: str) -> Sequence[int]:
        return self._of_person.get((person, room), ())

    def anybody(self, room: str, from_ms: int, until_ms: int) -> bool:
        return _first(self._of_room.get(room, ()), from_ms, until_ms) is not None


def _first(moments: Sequence[int], from_ms: int, until_ms: int) -> int | None:
    """Return the first of ordered moments in [from, until)."""
    place = bisect_left(moments, from_ms)
    return moments[place] if place < len(moments) and moments[place] < until_ms else None
