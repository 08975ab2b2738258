"""The same rows carried by our box and hub, and by Morango; each run from capture to the end."""

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.arrivals import Tap, draw_taps
from benchmarks.hub_disk import count_taps
from benchmarks.morango import Pushed, Setting, running_morango
from benchmarks.processes import cpu_s, peak_rss_mb
from benchmarks.real_district import Hub
from benchmarks.tap_box import Outcome
from sync.logs.oplog import Row
from sync.store import connect_readonly

SEED = 1
SCHOOL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One run of either; ``lost`` and ``doubled`` are counted against the generator.

    ``connect_s``: what the connection took that stood before the first row; not in ``wall_s``.
    """

    rows: int
    wall_s: float
    connect_s: float
    cpu_s: float
    client_rss_mb: float
    server_rss_mb: float
    sent_bytes: int = 0
    lost: int = 0
    doubled: int = 0

    @property
    def rows_a_second(self) -> float:
        return self.rows / self.wall_s

    @property
    def rows_a_second_with_connecting(self) -> float:
        return self.rows / (self.wall_s + self.connect_s)


class OurSide:
    """Our hub and one enrolled box; every call carries rows that were not used before."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._box = hub.enrol(SCHOOL, folder / "box")
        self.used = 0
        # What is sent once in a key's life, the grants, is not part of a run.
        self.carry_taps(1)

    def carry_taps(self, rows: int, *, before_connecting: bool = False) -> Carried:
        arguments = ["--table=card_tap", f"--rows={rows}", f"--seed={SEED}", f"--skip={self.used}"]
        self.used += rows
        if before_connecting:
            arguments.append("--before-connecting")
        return self._carry(rows, arguments)

    def carry_edits(self, seed: int, rows: int, *, before_connecting: bool = False) -> Carried:
        arguments = ["--table=timetable_slot", "--each-once", f"--rows={rows}", f"--seed={seed}"]
        if before_connecting:
            arguments.append("--before-connecting")
        return self._carry(rows, arguments)

    def wrong_slots(self, expected: dict[str, tuple[str, str]]) -> int:
        """Count the slots of the hub that are not as the last edit of each wrote them."""
        with closing(connect_readonly(self._hub.store)) as store:
            rows = store.execute(
                "SELECT slot, subject, teacher FROM timetable_slot WHERE school = ?", (SCHOOL,)
            ).fetchall()
        held = {slot: (subject, teacher) for slot, subject, teacher in rows}
        return sum(held.get(slot) != wrote for slot, wrote in expected.items())

    def lost_and_doubled(self) -> tuple[int, int]:
        return hold_against(count_taps(self._hub.store, SCHOOL), draw_taps(SEED, self.used))

    def _carry(self, rows: int, arguments: Sequence[str]) -> Carried:
        program = str(Path(__file__).with_name("tap_box.py"))
        before = cpu_s(self._hub.pid)
        done = subprocess.run(
            [sys.executable, program, f"--config={self._box}", *arguments],
            stdout=subprocess.PIPE,
            check=True,
        )
        box = msgspec.json.decode(done.stdout, type=Outcome)
        return Carried(
            rows=rows,
            wall_s=box.wall_s,
            connect_s=box.connect_s,
            cpu_s=box.cpu_s + cpu_s(self._hub.pid) - before,
            client_rss_mb=box.peak_rss_mb,
            server_rss_mb=peak_rss_mb(self._hub.pid),
        )


def hold_against(held: dict[tuple[int, int], int], taps: Sequence[Tap]) -> tuple[int, int]:
    """Return how many of the generator's taps are missing, and how many are there too often."""
    drawn = Counter((tap.at_ms, tap.person) for tap in taps)
    return (drawn - Counter(held)).total(), (Counter(held) - drawn).total()


def push_taps(folder: Path, setting: Setting, taps: Sequence[Tap]) -> Carried:
    """Let Morango push taps from and to new databases."""
    with running_morango(folder) as morango:
        morango.push("tap", [], setting)
        before = morango.server_cpu_s()
        pushed = _done(morango.push("tap", [tap.row for tap in taps], setting))
        server_s = morango.server_cpu_s() - before
        lost, doubled = hold_against(morango.count_taps(), taps)
        return _as_carried(pushed, len(taps), server_s, morango.server_rss_mb(), (lost, doubled))


def push_edits(
    folder: Path, setting: Setting, first: Sequence[Row], edits: Sequence[Row]
) -> Carried:
    """Let Morango push edits of slots that both ends have."""
    with running_morango(folder) as morango:
        morango.push("slot", first, setting)
        before = morango.server_cpu_s()
        pushed = _done(morango.push("slot", edits, setting))
        server_s = morango.server_cpu_s() - before
        with closing(sqlite3.connect(folder / "server.db")) as store:
            rows = store.execute("SELECT slot, subject, teacher FROM taps_slot").fetchall()
        held = {slot: (subject, teacher) for slot, subject, teacher in rows}
        wrong = sum(held.get(slot) != wrote for slot, wrote in last_edits([*first, *edits]).items())
        return _as_carried(pushed, len(edits), server_s, morango.server_rss_mb(), (wrong, 0))


def last_edits(edits: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Return what each slot holds after all edits."""
    return {str(edit["slot"]): (str(edit["subject"]), str(edit["teacher"])) for edit in edits}


def _done(pushed: Pushed | None) -> Pushed:
    if pushed is None or pushed.error is not None:
        raise RuntimeError(f"Morango did not bring its rows home: {pushed}")
    return pushed


def _as_carried(
    pushed: Pushed, rows: int, server_s: float, server_mb: float, wrong: tuple[int, int]
) -> Carried:
    return Carried(
        rows=rows,
        wall_s=pushed.wall_s,
        connect_s=pushed.connect_s,
        cpu_s=pushed.cpu_s + server_s,
        client_rss_mb=pushed.peak_rss_mb,
        server_rss_mb=server_mb,
        sent_bytes=pushed.sent_bytes + pushed.received_bytes,
        lost=wrong[0],
        doubled=wrong[1],
    )
