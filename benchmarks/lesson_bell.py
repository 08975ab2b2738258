"""From the bell to a playing lesson with no touch, twenty times, whatever happened just before.

Three hops with every program in a process of its own (``lesson_district.py``); one lesson after
the other is scheduled at the hub, and nothing else is done for it. Before each bell the seed lets
something happen: a program killed, the camera rebooted, a link cut until after the bell, or
nothing. A lesson plays when the receiving class decodes its picture and hears its sound.
"""

import asyncio
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lesson_camera import WITH_SOUND
from benchmarks.lesson_district import (
    CAMERA,
    FLAGSHIP,
    HUB,
    RECEIVER,
    LessonDistrict,
    lesson_district,
    watching,
)
from benchmarks.lesson_meter import LessonMeter, now_ms
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

STARTS_IN_S = 8.0
PLAYING_S_MAX = 15.0
AFTER_S = 0.5
BEFORE_S = (0.5, 4.0)
"""How long before the bell something happens."""
CUT_AFTER_BELL_S = 1.0
EVENTS = (
    "nothing",
    "hub killed",
    "flagship's box killed",
    "receiving box killed",
    "camera rebooted",
    "receiver's link cut",
    "flagship's link cut",
)
_PROGRAMS = {
    "hub killed": HUB,
    "flagship's box killed": FLAGSHIP,
    "receiving box killed": RECEIVER,
    "camera rebooted": CAMERA,
}
_LINKS = {"receiver's link cut": RECEIVER, "flagship's link cut": FLAGSHIP}


@dataclass(frozen=True, slots=True)
class Bell:
    """One lesson; ``after_s`` is None when it never played."""

    event: str
    after_s: float | None


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_bell") as step, tempfile.TemporaryDirectory() as folder:
        bells = asyncio.run(_ring(Path(folder), given.runs, random.Random(given.seed), step))
    report = Report(
        benchmark="lesson_bell",
        machine=machine,
        versions=read_versions("aiohttp", "av", "uvloop"),
        figures=list(_figures(bells)),
        notes=[
            (
                f"Something happens {BEFORE_S[0]:g} to {BEFORE_S[1]:g} s before each bell; killed"
                " programs start again by themselves after 0.5 s; a cut link is mended"
                f" {CUT_AFTER_BELL_S:g} s after the bell. Playing: picture and sound decoded"
                f" within {PLAYING_S_MAX:g} s."
            ),
            *(f"{each.event}: {_told(each)}" for each in bells),
        ],
    )
    publish(report, as_json=given.json)


async def _ring(folder: Path, runs: int, chance: random.Random, step: Step) -> Sequence[Bell]:
    step("setting the district up")
    bells: list[Bell] = []
    async with (
        lesson_district(folder) as district,
        watching(district, WITH_SOUND) as meter,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(runs):
            event = EVENTS[number % len(EVENTS)] if runs < len(EVENTS) else chance.choice(EVENTS)
            step(f"bell {number + 1} of {runs}: {event}")
            lesson = await district.schedule(WITH_SOUND, STARTS_IN_S, PLAYING_S_MAX)
            bell_ms: int = lesson["starts_ms"]
            happening = tasks.create_task(
                _happen(district, event, bell_ms, chance.uniform(*BEFORE_S))
            )
            after_s = await _wait_for_playing(meter, bell_ms)
            await happening
            bells.append(Bell(event, after_s))
            while now_ms() < lesson["ends_ms"] + AFTER_S * 1000:  # noqa: ASYNC110 - the wall clock
                await asyncio.sleep(0.1)
    return bells


async def _wait_for_playing(meter: LessonMeter, bell_ms: int) -> float | None:
    """Return how long after the bell both picture and sound of after the bell were decoded."""
    while now_ms() < bell_ms + PLAYING_S_MAX * 1000:
        seen = next((s.at_ms for s in meter.seen if s.at_ms - s.latency_ms >= bell_ms), None)
        heard = next((h.at_ms for h in meter.heard if h.captured_ms >= bell_ms), None)
        if seen is not None and heard is not None:
            return (max(seen, heard) - bell_ms) / 1000
        await asyncio.sleep(0.05)
    return None


async def _happen(district: LessonDistrict, event: str, bell_ms: int, before_s: float) -> None:
    await asyncio.sleep(max(0.0, (bell_ms - now_ms()) / 1000 - before_s))
    if event in _PROGRAMS:
        await district.restart(_PROGRAMS[event])
    elif event in _LINKS:
        link = district.links[_LINKS[event]]
        link.cut()
        await asyncio.sleep(max(0.0, (bell_ms - now_ms()) / 1000 + CUT_AFTER_BELL_S))
        link.mend()


def _figures(bells: Sequence[Bell]) -> Iterator[Figure]:
    played = [each.after_s for each in bells if each.after_s is not None]
    yield measured("lessons that played", [len(played)], f"of {len(bells)}", "higher", len(bells))
    if played:
        yield measured("bell to picture and sound", played, "s", "lower")
        yield measured("bell to picture and sound, longest", [max(played)], "s", "lower")


def _told(bell: Bell) -> str:
    return "never played" if bell.after_s is None else f"{bell.after_s:.1f} s after the bell"


if __name__ == "__main__":
    main()
