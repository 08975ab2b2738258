"""A lesson in real time, for two hours unless told: drift, lip sync, delay and memory.

Three hops with every program in a process of its own (``lesson_district.py``). The camera's sound
clock runs 100 ppm fast, as cheap cameras' clocks do: left alone that is 0.7 s in two hours. What
is judged are decoded pixels and samples at the receiving school.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

from benchmarks.lesson_camera import WITH_SOUND
from benchmarks.lesson_district import (
    CAMERA,
    FLAGSHIP,
    HUB,
    RECEIVER,
    lesson_district,
    watching,
)
from benchmarks.lesson_meter import Lip, Seen
from benchmarks.processes import tree_memory_mb
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

STARTS_IN_S = 6.0
PLAYING_S_MAX = 30.0
WARM_S = 30.0
"""Memory and delay are first looked at after this."""
SOUND_PPM = 100
GOAL_LIP_MS = 40.0
GOAL_DELAY_MS = 250.0
_SHARE = 10  # the beginning and the end are a tenth of the lesson each


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the receiving school saw and heard, and memory (MB) by program at begin and end."""

    minutes: float
    seen: Sequence[Seen]
    lips: Sequence[Lip]
    memory: Sequence[Mapping[str, float]]
    longest_silence_ms: int


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=120.0)
    options.add_argument("--sound-ppm", type=int, default=SOUND_PPM)
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_long") as step, tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(_hold(Path(folder), given.minutes, given.sound_ppm, step))
    report = Report(
        benchmark="lesson_long",
        machine=machine,
        versions=read_versions("aiohttp", "av", "uvloop"),
        figures=list(_figures(outcome)),
        notes=[
            (
                f"{outcome.minutes:.1f} minutes of 720p25 at 2 Mb/s with AAC, three hops, mutual"
                f" TLS, sealed; the camera's sound clock is {given.sound_ppm} ppm fast."
            ),
            (
                "Lip sync: at each beginning of the tone, the camera's time in the picture shown"
                " with it, less the second at which the tone began; on the take's time line, as a"
                " player plays it. Drift: last tenth less first tenth."
            ),
            "Delay is taken when a picture is decoded; a page's play-out buffer comes on top.",
            f"Memory counts a program and its children, first after {WARM_S:.0f} s.",
            "Not tried here: real cameras' clocks, ARM.",
        ],
    )
    publish(report, as_json=given.json)


async def _hold(folder: Path, minutes: float, sound_ppm: int, step: Step) -> Outcome:
    step("setting the district up")
    async with (
        lesson_district(folder, sound_ppm) as district,
        watching(district, WITH_SOUND) as meter,
    ):
        await district.schedule(WITH_SOUND, STARTS_IN_S, minutes * 60 + PLAYING_S_MAX + WARM_S)
        async with asyncio.timeout(PLAYING_S_MAX):
            while not (meter.seen and meter.heard):  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.2)
        await asyncio.sleep(WARM_S)
        for noted in (meter.seen, meter.heard, meter.lips):
            noted.clear()
        memory = [_memory(district.pids)]
        for minute in range(int(minutes)):
            step(f"minute {minute} of {minutes:g}; lips {_last(meter.lips)}")
            await asyncio.sleep(60)
        await asyncio.sleep((minutes - int(minutes)) * 60)
        memory.append(_memory(district.pids))
        arrivals = [each.at_ms for each in meter.heard]
    silences = (after - before for before, after in pairwise(arrivals))
    return Outcome(
        minutes=minutes,
        seen=meter.seen,
        lips=meter.lips,
        memory=memory,
        longest_silence_ms=max(silences, default=0),
    )


def _figures(outcome: Outcome) -> Iterator[Figure]:
    lips = [each.error_ms for each in outcome.lips]
    tenth = max(1, len(lips) // _SHARE)
    drift = median(lips[-tenth:]) - median(lips[:tenth])
    yield measured("lip error, median", [median(lips)], "ms", "lower")
    yield measured(
        "lip error, greatest either way",
        [max(abs(each) for each in lips)],
        "ms",
        "lower",
        GOAL_LIP_MS,
    )
    yield measured("lip sync drift over the lesson", [abs(drift)], "ms", "lower", GOAL_LIP_MS)
    yield measured("tones judged", [len(lips)], "", "higher")
    delays = [each.latency_ms for each in outcome.seen]
    tenth = max(1, len(delays) // _SHARE)
    yield measured("delay to decoded picture, median", [median(delays)], "ms", "lower")
    yield measured(
        "delay to decoded picture, p95",
        [quantiles(delays, n=20, method="inclusive")[18]],
        "ms",
        "lower",
        GOAL_DELAY_MS,
    )
    grown = median(delays[-tenth:]) - median(delays[:tenth])
    yield measured("delay grown over the lesson", [grown], "ms", "lower")
    frames = len(outcome.seen) / (outcome.minutes * 60)
    yield measured("pictures a second", [frames], "1/s", "higher")
    yield measured("longest pause between sounds", [outcome.longest_silence_ms], "ms", "lower")
    first, last = outcome.memory
    for name in (FLAGSHIP, HUB, RECEIVER, CAMERA):
        yield measured(f"memory of the {name} at the end", [last[name]], "MB", "lower")
        yield measured(f"memory of the {name} grown", [last[name] - first[name]], "MB", "lower")


def _memory(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: tree_memory_mb(pid) for name, pid in pids.items()}


def _last(lips: Sequence[Lip]) -> str:
    return f"{lips[-1].error_ms:+.0f} ms" if lips else "not yet"


if __name__ == "__main__":
    main()
