"""How soon a school's devices are well again: unplugged, disturbed, slow, dead, moved, garbled.

A whole box over simulated devices, whose troubles are drawn from a seed and befall them side by
side (``tests/drivers/test_fleet_chaos.py`` says what else must hold); with the box's own pauses.
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import uvloop

from benchmarks.report import (
    Figure,
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from tests.drivers.chaos_school import Befallen, troubled_school

LATE_ANSWERS = 2
"""A slow unit is slow for so many answers."""


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5, help="how many, from 1 on")
    options.add_argument("--rounds", type=int, default=1, help="every fault so often a seed")
    given = options.parse_args()
    machine = read_machine()
    befallen: list[Befallen] = []
    with progress(Path(__file__).stem) as step:
        for seed in range(1, given.seeds + 1):
            step(f"seed {seed} of {given.seeds}")
            with (
                tempfile.TemporaryDirectory() as folder,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                befallen += runner.run(_suffer(Path(folder), seed, given.rounds))
    report = Report(
        benchmark=Path(__file__).stem,
        machine=machine,
        versions=read_versions("onvif-zeep-async", "pyserial", "uvloop"),
        figures=list(figures_of(befallen)),
        notes=[
            f"{len(befallen)} faults, victims side by side, each one's faults in turn.",
            "Noticed: from the beginning of the fault until a person is told that it is gone.",
            (
                "Well: from the end of the fault until all of the victim is there and has told a"
                " good value since (probes are asked each second); a panel is also on again; a"
                " card reader tells nothing by itself."
            ),
            "A unit that fell silent is asked again each 10 s, so that it delays no other.",
            "Another address: looked for each 10 s, searched for each 60 s while nothing calls.",
        ],
    )
    publish(report, as_json=given.json)


async def _suffer(folder: Path, seed: int, rounds: int) -> Sequence[Befallen]:
    async with troubled_school(folder, seed, LATE_ANSWERS) as chaos:
        await chaos.run(rounds)
        return chaos.befallen


def figures_of(befallen: Iterable[Befallen]) -> Iterator[Figure]:
    """Return for each kind of fault how soon it was noticed, and how soon all was well after it."""
    by_kind: defaultdict[tuple[str, str], list[Befallen]] = defaultdict(list)
    for each in befallen:
        by_kind[each.victim, each.kind].append(each)
    for (victim, kind), faults in sorted(by_kind.items()):
        name = f"{victim}_{kind}".replace(" ", "_")
        noticed = [
            (each.noticed_ms - each.begun_ms) / 1000
            for each in faults
            if each.noticed_ms is not None
        ]
        if noticed:
            yield measured(f"{name}_noticed", noticed, "s", "lower")
        well = [(each.well_ms - each.ended_ms) / 1000 for each in faults]
        yield measured(f"{name}_well", well, "s", "lower")


if __name__ == "__main__":
    main()
