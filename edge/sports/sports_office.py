"""The desk for sports: lessons with bands, and fitness results."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Never

from drivers.entities import BandReading, NowMs, SportsEvent, StationResult
from edge.books import Books, Connect, Record
from edge.errors import NotNowError
from edge.pages.box_view import Change
from edge.sports.exercise import Exercise
from edge.sports.fitness import ListedResult, ResultError, judge, read_list
from edge.sports.sports_rows import (
    OPEN_MS_MAX,
    PUPILS_MAX,
    read_beats,
    read_sessions,
    read_worn,
)
from sync.logs.oplog import Row

BATCH_S = 2.0
WAITING_MAX = 10_000
STRANGE_BANDS_MAX = 100
DOUBTFUL_MAX = 100
OPEN_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """A result that was not taken; ``number`` names it while a person decides."""

    number: int
    wearer: str
    station: str
    result: float
    unit: str
    at_ms: int
    reason: str


class SportsOffice:
    """Lessons that go on, and results; on the event loop's thread.

    ``person_of`` tells whose a card, code or number is. What people ask raises NotNowError, or
    ResultError for a list of results.
    """

    def __init__(
        self,
        school: int,
        record: Record,
        connect: Connect,
        *,
        person_of: Callable[[str], int | None],
        now_ms: NowMs,
        changed: Callable[[Change], None],
    ) -> None:
        self._school = school
        self._books = Books(record)
        self._connect = connect
        self._person_of = person_of
        self._now_ms = now_ms
        self._changed = changed
        self._open: dict[str, Exercise] = {}
        self._waiting: deque[tuple[str, Row]] = deque(maxlen=WAITING_MAX)
        self._strange: OrderedDict[str, int] = OrderedDict()
        self._doubtful: OrderedDict[int, Doubtful] = OrderedDict()
        self._number = 0

    def exercises(self) -> list[Exercise]:
        """Return the lessons that go on, the newest first."""
        return sorted(self._open.values(), key=lambda each: -each.starts_ms)

    def strange_bands(self) -> list[str]:
        """Return bands that are heard and that nobody wears, the last heard first."""
        return list(reversed(self._strange))

    def doubtful(self) -> list[Doubtful]:
        """Return results that were not taken, the newest first."""
        return list(reversed(self._doubtful.values()))

    async def load(self) -> None:
        """Take up the lessons that went on when the box stopped."""
        self._open = await asyncio.to_thread(self._read_open)

    def take(self, event: SportsEvent) -> None:
        """Hear what a gateway tells; never blocks."""
        match event:
            case BandReading():
                self._take_beat(event)
            case StationResult():
                self._take_result(event)

    async def run(self) -> Never:
        """Write what bands and stations told, and end lessons that nobody ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run())
            while True:
                await asyncio.sleep(BATCH_S)
                self._enter_waiting()
                now_ms = self._now_ms()
                for each in self.exercises():
                    is_over = now_ms - each.starts_ms >= OPEN_MS_MAX
                    if is_over and each.session in self._open:  # nobody ended it meanwhile
                        await self.end(each.session)
        raise AssertionError("the sports office's tasks run until they are cancelled")

    async def flush(self) -> None:
        self._enter_waiting()
        await self._books.flush()

    async def begin(
        self, class_group: str, teacher: str, alarm_bpm: int, worn: Mapping[str, int]
    ) -> str:
        """Begin a lesson; return its name."""
        if len(self._open) >= OPEN_MAX:
            raise NotNowError(f"{OPEN_MAX} lessons go on already; end one first")
        now_ms = self._now_ms()
        session = f"{class_group}:{now_ms}"
        self._check_worn(session, worn)
        exercise = Exercise(
            session=session,
            class_group=class_group,
            teacher=teacher,
            starts_ms=now_ms,
            alarm_bpm=alarm_bpm,
            worn={},
        )
        rows = exercise.wear(worn)
        await self._books.write({"exercise_session": [exercise.row(None, None)], "band_worn": rows})
        self._open[session] = exercise
        self._forget_strange(worn)
        self._changed(Change.SPORTS)
        return session

    async def wear(self, session: str, worn: Mapping[str, int]) -> None:
        """Give bands to others while a lesson goes on."""
        exercise = self._find(session)
        self._check_worn(session, worn)
        await self._books.write({"band_worn": exercise.wear(worn)})
        self._forget_strange(worn)
        self._changed(Change.SPORTS)

    async def end(self, session: str) -> None:
        """End a lesson and keep what the class came to; the heart rates stay in the school."""
        exercise = self._find(session)
        ends_ms = min(self._now_ms(), exercise.starts_ms + OPEN_MS_MAX)
        load = await asyncio.to_thread(exercise.load, ends_ms)
        self._enter_waiting()
        await self._books.write({"exercise_session": [exercise.row(ends_ms, load)]})
        self._open.pop(session, None)
        self._changed(Change.SPORTS)

    async def take_list(self, text: str) -> tuple[int, list[str]]:
        """Take a list of results; return how many, and why others were not taken.

        Raises ResultError when the list itself makes no sense; nothing is taken then.
        """
        listed = await asyncio.to_thread(lambda: list(read_list(text)))
        rows: list[Row] = []
        refused: list[str] = []
        for each in listed:
            try:
                rows.append(self._result_row(each, self._now_ms(), "list"))
            except ResultError as error:
                refused.append(f"line {each.line}: {error}")
        await self._books.write({"fitness_result": rows})
        self._changed(Change.SPORTS)
        return len(rows), refused

    async def settle(self, number: int, wearer: str) -> None:
        """Take a doubtful result as another's, or drop it when ``wearer`` is empty."""
        doubtful = self._doubtful.get(number)
        if doubtful is None:
            raise NotNowError("that result is settled already; reload the page")
        if wearer:
            listed = ListedResult(
                line=0,
                wearer=wearer,
                station=doubtful.station,
                result=doubtful.result,
                unit=doubtful.unit,
            )
            try:
                row = self._result_row(listed, doubtful.at_ms, "hand")
            except ResultError as error:
                raise NotNowError(str(error)) from error
            await self._books.write({"fitness_result": [row]})
        self._doubtful.pop(number, None)
        self._changed(Change.SPORTS)

    def _take_beat(self, reading: BandReading) -> None:
        for exercise in self._open.values():
            if reading.band in exercise.worn:
                row = exercise.take(reading)
                if row is not None:
                    self._waiting.append(("heart_rate", row))
                self._changed(Change.SPORTS)
                return
        self._strange.pop(reading.band, None)
        self._strange[reading.band] = reading.observed_ms
        if len(self._strange) > STRANGE_BANDS_MAX:
            self._strange.popitem(last=False)

    def _take_result(self, event: StationResult) -> None:
        listed = ListedResult(
            line=0,
            wearer=event.wearer,
            station=event.station,
            result=event.result,
            unit=event.unit,
        )
        try:
            row = self._result_row(listed, event.observed_ms, event.device)
        except ResultError as error:
            self._number += 1
            self._doubtful[self._number] = Doubtful(
                number=self._number,
                wearer=event.wearer,
                station=event.station,
                result=event.result,
                unit=event.unit,
                at_ms=event.observed_ms,
                reason=str(error),
            )
            if len(self._doubtful) > DOUBTFUL_MAX:
                self._doubtful.popitem(last=False)
        else:
            self._waiting.append(("fitness_result", row))
        self._changed(Change.SPORTS)

    def _result_row(self, listed: ListedResult, at_ms: int, source: str) -> Row:
        station, value = judge(listed.station, listed.result, listed.unit)
        person = self._person_of(listed.wearer)
        if person is None:
            raise ResultError("nobody is known by that number or card; enter whose it is")
        return {
            "at_ms": at_ms,
            "person": person,
            "station": station.station,
            "result": value,
            "unit": station.unit,
            "source": source,
        }

    def _enter_waiting(self) -> None:
        rows: dict[str, list[Row]] = {}
        while self._waiting:
            table, row = self._waiting.popleft()
            rows.setdefault(table, []).append(row)
        if rows:
            self._books.enter(rows)

    def _check_worn(self, session: str, worn: Mapping[str, int]) -> None:
        if not worn or len(worn) > PUPILS_MAX:
            raise NotNowError(f"give 1 to {PUPILS_MAX} pupils a band")
        if len(set(worn.values())) != len(worn):
            raise NotNowError("a pupil has two bands; give each one")
        for other in self._open.values():
            taken = worn.keys() & other.worn.keys()
            if other.session != session and taken:
                raise NotNowError(
                    f"band {min(taken)} is worn in another lesson; end that one first"
                )

    def _forget_strange(self, worn: Mapping[str, int]) -> None:
        for band in worn:
            self._strange.pop(band, None)

    def _find(self, session: str) -> Exercise:
        try:
            return self._open[session]
        except KeyError as error:
            raise NotNowError(f"{session} does not go on any more; reload the page") from error

    def _read_open(self) -> dict[str, Exercise]:
        now_ms = self._now_ms()
        found: dict[str, Exercise] = {}
        with closing(self._connect()) as connection:
            for row in read_sessions(connection, self._school):
                if row.ends_ms is not None:
                    continue
                worn = read_worn(connection, self._school, row.session)
                persons = list(worn.values())
                found[row.session] = Exercise(
                    session=row.session,
                    class_group=row.class_group,
                    teacher=row.teacher,
                    starts_ms=row.starts_ms,
                    alarm_bpm=row.alarm_bpm,
                    worn=worn,
                    beats=read_beats(connection, self._school, persons, row.starts_ms, now_ms + 1),
                )
        return found
