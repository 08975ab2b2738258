"""Kills a running district's processes at random, and judges what its classrooms missed."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from drivers.simulators.ledger import read_ledger
from tests.scenarios.running_demo import CUT, MENDED, OVER, PLAYING, RunningDemo

EVERY_S = (3.0, 6.0)
EVERY_S_AT_START = (7.0, 12.0)
"""A search of the buses begins anew with each kill: let it come to an end."""
LOOK_EVERY_S = 0.05
CLASSROOMS = (2, 3)
RESUMED_MS_MAX = 15_000


@dataclass(frozen=True, slots=True)
class Kill:
    """``name`` is the supervisor's, with ``/child`` for what that program started itself."""

    at_ms: int
    name: str


@dataclass(slots=True)
class Killings:
    """What was killed when, and when the story's notes were first read, Unix ms."""

    kills: list[Kill] = field(default_factory=list)
    noted_ms: dict[str, int] = field(default_factory=dict)


def kill_until_over(demo: RunningDemo, rng: random.Random, within_s: float) -> Killings:
    """Kill one process of the district every few seconds, from now until its lesson is over.

    None is killed twice before each of the others had its turn.
    """
    killings = Killings()
    spared: set[str] = set()
    next_s = 0.0
    for _ in _looks(demo, killings, within_s):
        if time.monotonic() < next_s:
            continue
        living = _processes(demo)
        if not living:
            continue
        if not spared & living.keys():
            spared = set(living)
        name = rng.choice(sorted(spared & living.keys()))
        spared.discard(name)
        killings.kills.append(Kill(_now_ms(), name))
        os.kill(living[name], signal.SIGKILL)
        pace = EVERY_S if PLAYING in killings.noted_ms else EVERY_S_AT_START
        next_s = time.monotonic() + rng.uniform(*pace)
    return killings


def longest_outage_ms(demo: RunningDemo, killings: Killings, classroom: int) -> int:
    """Return how long a classroom was without a picture at worst.

    An outage is counted from the last kill on the lesson's way in it, and from the end of the cut
    of the last school's line. The report has a line a second, and so have the demo's notes.
    """
    seen_ms = [
        at_ms
        for line in read_ledger(demo.folder / f"school-{classroom}" / "classroom.jsonl")
        if line["frames"] and isinstance(at_ms := line["t_ms"], int)
    ]
    way = {"hub", "school-1", "devices-1", f"school-{classroom}", f"classroom-{classroom}"}
    struck_ms = [kill.at_ms for kill in killings.kills if kill.name in way]
    mended_ms = killings.noted_ms[MENDED] if classroom == CLASSROOMS[-1] else 0
    first, last = killings.noted_ms[PLAYING], killings.noted_ms[OVER]
    moments = [first, *(at_ms for at_ms in seen_ms if first < at_ms < last), last]
    outages = []
    for before, after in pairwise(moments):
        begun = max([before, *(at_ms for at_ms in struck_ms if at_ms < after)])
        outages.append(after - min(max(begun, mended_ms), after))
    return max(outages)


def _looks(demo: RunningDemo, killings: Killings, within_s: float) -> Iterator[None]:
    end_s = time.monotonic() + within_s
    while OVER not in killings.noted_ms:
        code = demo.process.poll()
        assert code is None, f"the demo ended with {code} after {killings}:\n{demo.notes}"
        assert time.monotonic() < end_s, f"not over after {within_s} s, {killings}:\n{demo.notes}"
        notes = demo.notes
        for note in (PLAYING, CUT, MENDED, OVER):
            if note in notes:
                killings.noted_ms.setdefault(note, _now_ms())
        yield
        time.sleep(LOOK_EVERY_S)


def _processes(demo: RunningDemo) -> dict[str, int]:
    """Return the supervised processes that live now, and a child each may have, by name."""
    try:
        listed = json.loads((demo.folder / "logs" / "processes.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}  # not begun yet, or being written
    parents = _parents()
    names = {pid: name for name, pid in listed.items() if parents.get(pid) == demo.process.pid}
    children = {f"{names[up]}/child": pid for pid, up in parents.items() if up in names}
    return {name: pid for pid, name in names.items()} | children


def _parents() -> dict[int, int]:
    """Return every process's parent (proc(5): the fourth field of stat, after the name)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
