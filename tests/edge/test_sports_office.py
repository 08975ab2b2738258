"""Lessons with bands and fitness results over a real store, from a gateway's events."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.entities import BandReading, DeviceId, StationResult
from edge.box_store import BoxStore
from edge.errors import NotNowError
from edge.pages.box_view import Change
from edge.sports.fitness import STATIONS, Attempt, ResultError, best_of, judge, read_list
from edge.sports.sports_office import SportsOffice
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.drivers.serial_bench import running, until
from tests.edge.school import Box, new_box

GATEWAY = DeviceId("lines:gym")
MINUTE = 60_000
KNOWN = {"1001": 1, "0008075634": 2}


@dataclass
class Gym:
    box: Box
    store: BoxStore
    writer: Writer
    clock_ms: int = 1_795_226_400_000
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        self.office = SportsOffice(
            self.store.identity.school,
            self.record,
            lambda: connect_readonly(self.store.path),
            person_of=KNOWN.get,
            now_ms=lambda: self.clock_ms,
            changed=self.changes.append,
        )

    async def record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self.writer.call(self.store.node.record_all, rows)

    def beat(self, band: str, bpm: int, after_ms: int = 0, *, moving: bool | None = None) -> None:
        self.clock_ms += after_ms
        self.office.take(
            BandReading(
                device=GATEWAY,
                band=band,
                bpm=bpm,
                moving=moving,
                observed_ms=self.clock_ms,
                source="test",
            )
        )

    def result(self, wearer: str, station: str, result: float, unit: str = "") -> None:
        self.office.take(
            StationResult(
                device=GATEWAY,
                station=station,
                wearer=wearer,
                result=result,
                unit=unit,
                observed_ms=self.clock_ms,
                source="test",
            )
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.box.rows(query)


@pytest.fixture
async def gym(tmp_path: Path) -> AsyncIterator[Gym]:
    box = new_box(tmp_path)
    async with AsyncExitStack() as stack:
        store = stack.enter_context(box.opened())
        writer = stack.enter_context(Writer())
        yield Gym(box, store, writer)


async def test_a_lesson_is_kept_from_its_bands_and_outlives_the_box(gym: Gym) -> None:
    async with running(gym.office.run()):
        session = await gym.office.begin("g3", "郑老师", 200, {"07": 1, "08": 2})
        for _ in range(60):
            gym.beat("07", 150, 5_000)
            gym.beat("08", 100)
        await gym.office.flush()
    kept = gym.rows("SELECT count(*), min(bpm), max(bpm) FROM heart_rate")
    gym.start_anew()
    await gym.office.load()
    (exercise,) = gym.office.exercises()
    assert exercise.session == session
    assert exercise.worn == {"07": 1, "08": 2}
    async with running(gym.office.run()):
        gym.clock_ms += 5_000
        await gym.office.end(session)
    assert kept == [(120, 100, 150)]
    ((density, individual, bpm, coverage, pupils, told, reached),) = gym.rows(
        "SELECT density, individual_density, intensity_bpm, coverage, pupils, told, reached"
        " FROM exercise_session"
    )
    assert isinstance(coverage, float)
    assert coverage == pytest.approx(300 / 305)
    assert (density, individual, bpm) == (1.0, 0.5, 125.0), "half of the class moved all the time"
    assert (pupils, told, reached) == (2, 2, 1)


async def test_a_lesson_of_which_the_bands_told_too_little_has_no_figures(gym: Gym) -> None:
    async with running(gym.office.run()):
        session = await gym.office.begin("g3", "郑老师", 200, {"07": 1})
        gym.beat("07", 150, 5_000)
        gym.clock_ms += 10 * MINUTE
        await gym.office.end(session)
    ((density, bpm, coverage),) = gym.rows(
        "SELECT density, intensity_bpm, coverage FROM exercise_session"
    )
    assert (density, bpm) == (None, None)
    assert isinstance(coverage, float)
    assert coverage < 0.05


async def test_every_beat_is_shown_and_one_in_five_seconds_is_kept(gym: Gym) -> None:
    async with running(gym.office.run()):
        await gym.office.begin("g3", "郑老师", 200, {"07": 1})
        for bpm in range(100, 120):
            gym.beat("07", bpm, 1_000)
        (tile,) = gym.office.exercises()[0].tiles(gym.clock_ms)
        assert tile.bpm == 119
        await gym.office.flush()
    assert gym.rows("SELECT bpm FROM heart_rate ORDER BY at_ms") == [(100,), (105,), (110,), (115,)]


async def test_a_heart_rate_too_high_for_ten_seconds_warns_and_stands_first(gym: Gym) -> None:
    async with running(gym.office.run()):
        await gym.office.begin("g3", "郑老师", 190, {"2": 1, "10": 2})

        def order() -> list[tuple[str, bool]]:
            tiles = gym.office.exercises()[0].tiles(gym.clock_ms)
            return [(tile.band, tile.is_high) for tile in tiles]

        gym.beat("10", 195)
        gym.beat("2", 120)
        assert order() == [("2", False), ("10", False)], "one beat is no alarm; bands by number"
        gym.beat("10", 196, 10_000)
        assert order()[0] == ("10", True)
        gym.beat("10", 150, 1_000)
        assert not order()[1][1]
        gym.clock_ms += MINUTE
        assert [t.bpm for t in gym.office.exercises()[0].tiles(gym.clock_ms)] == [None, None]


async def test_bands_are_worn_by_one_pupil_in_one_lesson(gym: Gym) -> None:
    async with running(gym.office.run()):
        gym.beat("77", 90)
        assert gym.office.strange_bands() == ["77"]
        session = await gym.office.begin("g3", "郑老师", 200, {"77": 1})
        assert gym.office.strange_bands() == []
        with pytest.raises(NotNowError, match="another lesson"):
            await gym.office.begin("g4", "王老师", 200, {"77": 2})
        with pytest.raises(NotNowError, match="two bands"):
            await gym.office.begin("g4", "王老师", 200, {"1": 2, "2": 2})
        with pytest.raises(NotNowError, match="give 1 to"):
            await gym.office.begin("g4", "王老师", 200, {})
        await gym.office.wear(session, {"78": 1})
        assert gym.rows("SELECT band, person FROM band_worn WHERE deleted = 0") == [("78", 1)]
        gym.beat("77", 90)
        assert gym.office.strange_bands() == ["77"]


async def test_results_of_stations_are_taken_or_wait_for_a_person(gym: Gym) -> None:
    async with running(gym.office.run()):
        gym.result("1001", "run_50m", 8_250, "ms")
        gym.result("nobody", "run_50m", 8.3, "s")
        gym.result("1001", "run_50m", 82.5, "s")
        assert [each.wearer for each in gym.office.doubtful()] == ["1001", "nobody"]
        number = gym.office.doubtful()[1].number
        with pytest.raises(NotNowError, match="nobody is known"):
            await gym.office.settle(number, "still nobody")
        await gym.office.settle(number, "0008075634")
        await gym.office.settle(gym.office.doubtful()[0].number, "")
        with pytest.raises(NotNowError, match="settled already"):
            await gym.office.settle(number, "1001")
        await until(lambda: len(gym.rows("SELECT person FROM fitness_result")) == 2)
    assert gym.rows("SELECT person, station, result, unit FROM fitness_result ORDER BY person") == [
        (1, "run_50m", 8.25, "s"),
        (2, "run_50m", 8.3, "s"),
    ]


async def test_a_list_gives_what_it_can_and_says_why_of_the_rest(gym: Gym) -> None:
    text = "\ufeff学号,姓名,50米跑,肺活量\n1001,甲,8.4,2400\n9,乙,8.1,2000\n1001,甲,,99999\n"
    async with running(gym.office.run()):
        taken, refused = await gym.office.take_list(text)
        with pytest.raises(ResultError, match="line 1"):
            await gym.office.take_list("a,b\n1,2\n")
    assert taken == 2
    assert [each.split(":")[0] for each in refused] == ["line 3", "line 3", "line 4"]
    assert gym.rows("SELECT station, result FROM fitness_result ORDER BY station") == [
        ("run_50m", 8.4),
        ("vital_capacity", 2400.0),
    ]


def test_a_list_may_name_a_station_a_line_and_write_minutes() -> None:
    listed = list(read_list("code,station,result,unit\n7,800米跑,3'45\",s\n8,800米跑,3:50,s\n"))
    assert [(each.wearer, each.station, each.result) for each in listed] == [
        ("7", "800米跑", 225.0),
        ("8", "800米跑", 230.0),
    ]
    assert judge("800米跑", 225.0, "s")[0].station == "run_800m"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1"),
        ("code,colour\n1,red\n", "neither station"),
        ("code,run_50m\n1,fast\n", "line 2"),
        ("code,run_50m\n1,nan\n", "line 2"),
        ('code,run_50m\n1,"8', "CSV"),
    ],
)
def test_a_list_that_makes_no_sense_names_its_line(text: str, reason: str) -> None:
    with pytest.raises(ResultError, match=reason):
        list(read_list(text))


@pytest.mark.parametrize(
    ("station", "result", "unit"),
    [
        ("chess", 1.0, ""),
        ("run_50m", 0.0, "s"),
        ("run_50m", 8.0, "kg"),
        ("run_50m", float("inf"), "s"),
    ],
)
def test_what_cannot_be_a_result_is_refused(station: str, result: float, unit: str) -> None:
    with pytest.raises(ResultError):
        judge(station, result, unit)


def test_the_best_of_the_first_three_attempts_counts() -> None:
    def attempts(station: str, *results: float) -> list[Attempt]:
        return [
            Attempt(person=1, station=station, result=each, at_ms=at)
            for at, each in enumerate(results)
        ]

    best = best_of([*attempts("run_50m", 9.0, 8.5, 8.8, 7.0), *attempts("pull_ups", 3, 5, 4, 9)])
    assert {station: each.result for (_, station), each in best.items()} == {
        "run_50m": 8.5,
        "pull_ups": 5,
    }


def test_each_station_has_a_range_and_one_name() -> None:
    names = [name for each in STATIONS.values() for name in each.names]
    assert len(names) == len(set(names))
    assert all(each.low < each.high for each in STATIONS.values())
