"""How soon a class hears its lesson again: killed processes, a rebooted camera, cut links, power.

Three hops with every program in a process of its own (``lesson_district.py``). The clock starts
when the cause is gone: at the kill itself where a service manager starts the program again, when
the camera answers again, the link is mended, the power is back. It stops at the last silence's
end: decoded sound that was captured after that.
"""

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.lesson_camera import RTSP_PORT, WITH_SOUND
from benchmarks.lesson_district import (
    CAMERA,
    FLAGSHIP,
    HUB,
    RECEIVER,
    LessonDistrict,
    lesson_district,
    watching,
)
from benchmarks.lesson_meter import Heard, LessonMeter, now_ms
from benchmarks.report import (
    Figure,
    Report,
    Step,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)

GOAL_S = 5.0
STARTS_IN_S = 6.0
PLAYING_S_MAX = 40.0
OFF_S = 3.0
CUT_S = 6.0
STEADY_S = 4.0
"""Sound counts as back when it then goes on for so long without a pause."""
BACK_S_MAX = 40.0
PAUSE_MS = 1000
BETWEEN_S = (1.0, 3.0)

Cause = Callable[[LessonDistrict], Awaitable[int]]
"""Lets something happen and returns when its cause was gone, Unix ms."""


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_recovery") as step, tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measure(Path(folder), given.runs, random.Random(given.seed), step))
    report = Report(
        benchmark="lesson_recovery",
        machine=machine,
        versions=read_versions("aiohttp", "av", "uvloop"),
        figures=list(_figures(found)),
        notes=[
            (
                "Seconds from the cause's end to the last silence's end at the receiving class;"
                f" 0 where no pause was longer than {PAUSE_MS / 1000:g} s. Killed programs start"
                " again after 0.5 s; that time, and what Python takes to start, is in."
            ),
            f"Power was away for {OFF_S:g} s, links for {CUT_S:g} s; a dead link tells nobody.",
            f"Never back within {BACK_S_MAX:g} s counts as that.",
            "Not tried here: a real box's boot, which comes on top of a power cut.",
        ],
    )
    publish(report, as_json=given.json)


async def _measure(
    folder: Path, runs: int, chance: random.Random, step: Step
) -> Mapping[str, Sequence[float]]:
    step("setting the district up")
    causes = [name for name in CAUSES for _ in range(runs)]
    chance.shuffle(causes)
    found: dict[str, list[float]] = {name: [] for name in CAUSES}
    async with lesson_district(folder) as district, watching(district, WITH_SOUND) as meter:
        lasts_s = len(causes) * (BACK_S_MAX + STEADY_S + CUT_S) + PLAYING_S_MAX
        await district.schedule(WITH_SOUND, STARTS_IN_S, lasts_s)
        async with asyncio.timeout(PLAYING_S_MAX):
            while not meter.heard:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.2)
        for number, name in enumerate(causes, start=1):
            await asyncio.sleep(chance.uniform(*BETWEEN_S))
            step(f"{number} of {len(causes)}: {name}")
            begun_ms = now_ms()
            gone_ms = await CAUSES[name](district)
            found[name].append(await _sound_back_s(meter, begun_ms, gone_ms))
    return found


async def _sound_back_s(meter: LessonMeter, begun_ms: int, gone_ms: int) -> float:
    """Wait until sound is steady and return how long after ``gone_ms`` its last pause ended."""
    while True:
        await asyncio.sleep(0.1)
        at_ms = now_ms()
        if at_ms - gone_ms > BACK_S_MAX * 1000:
            return BACK_S_MAX
        back_ms = _last_pause_end(meter.heard, begun_ms, at_ms)
        if back_ms is not None and at_ms - max(back_ms, gone_ms) > STEADY_S * 1000:
            return max(0.0, (back_ms - gone_ms) / 1000)


def _last_pause_end(heard: Sequence[Heard], begun_ms: int, at_ms: int) -> int | None:
    """Return when the last pause since something began was over; None while one lasts."""
    moments = [each.at_ms for each in heard if each.at_ms >= begun_ms - PAUSE_MS]
    fresh = [each for each in heard if each.captured_ms >= begun_ms]
    if not fresh or not moments or at_ms - moments[-1] > PAUSE_MS:
        return None
    ends = [after for before, after in pairwise([begun_ms, *moments]) if after - before > PAUSE_MS]
    return ends[-1] if ends else begun_ms


def _killed(name: str) -> Cause:
    async def happen(district: LessonDistrict) -> int:
        gone_ms = now_ms()
        await district.restart(name)
        return gone_ms

    return happen


def _without_power(name: str) -> Cause:
    async def happen(district: LessonDistrict) -> int:
        district.kill(name)
        await asyncio.sleep(OFF_S)
        await district.start(name)
        return now_ms()

    return happen


def _cut(name: str) -> Cause:
    async def happen(district: LessonDistrict) -> int:
        district.links[name].cut()
        await asyncio.sleep(CUT_S)
        district.links[name].mend()
        return now_ms()

    return happen


async def _camera_reboots(district: LessonDistrict) -> int:
    district.kill(CAMERA)
    await asyncio.sleep(OFF_S)
    await district.start(CAMERA)
    while True:
        try:
            _, writer = await asyncio.open_connection(district.camera_host, RTSP_PORT)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return now_ms()


CAUSES: Mapping[str, Cause] = {
    "hub killed": _killed(HUB),
    "flagship's box killed": _killed(FLAGSHIP),
    "receiving box killed": _killed(RECEIVER),
    "camera rebooted": _camera_reboots,
    "flagship's link cut": _cut(FLAGSHIP),
    "receiver's link cut": _cut(RECEIVER),
    "flagship's box without power": _without_power(FLAGSHIP),
    "receiving box without power": _without_power(RECEIVER),
    "hub without power": _without_power(HUB),
}


def _figures(found: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    for name, seconds in found.items():
        yield measured(f"sound back, {name}", seconds, "s", "lower", GOAL_S)
    longest = max(each for seconds in found.values() for each in seconds)
    yield measured("sound back, longest of all", [longest], "s", "lower", GOAL_S)


if __name__ == "__main__":
    main()
