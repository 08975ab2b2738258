"""School days over a line of 30 kbit/s and 700 ms round trip, steady and cut; Morango beside.

A real hub and an enrolled box's own uplink, each a process in its own network namespace, over the
packet relay of ``link.py``. The rows wait at the box before it calls, as after a cut. A cut line
is dead (black hole) or reset for 4 s after every 8 s, the first time 1 s after the first packet.
Morango pushes the same rows over the same line.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.arrivals import TAPS_A_DAY, Tap, draw_taps
from benchmarks.hub_disk import count_taps
from benchmarks.link import ADDRESSES, CONGESTION_CONTROL, Link, linked, missing_need
from benchmarks.link_shape import CutKind, Shape, cuts_every_twelve_s, even_shape
from benchmarks.link_trace import read_capture
from benchmarks.morango import SETTINGS_NOTE, SHIPPED, TUNED, Morango, Setting, running_morango
from benchmarks.peer_environment import peer_python
from benchmarks.real_district import Hub, Place, running_hub
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
from benchmarks.tap_box import Outcome

SEED = 11
SCHOOL = 1
KBITS = 30.0
ONE_WAY_MS = 350.0
PEER_DAY_S_MAX, PEER_DAYS_S_MAX = 300.0, 600.0
"""How long Morango may take for one day, and for several; it is stopped then, its rows counted."""
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many school days over the line, cut or steady."""

    days: int
    cut: CutKind | None

    @property
    def name(self) -> str:
        return f"{'day' if self.days == 1 else f'{self.days}_days'}_{self.condition}"

    @property
    def condition(self) -> str:
        return self.cut.replace(" ", "_") if self.cut else "steady"

    @property
    def peer_s_max(self) -> float:
        return PEER_DAY_S_MAX if self.days == 1 else PEER_DAYS_S_MAX

    @property
    def shape(self) -> Shape:
        cuts = cuts_every_twelve_s(self.cut) if self.cut else ()
        return even_shape(kbits=KBITS, delay_ms=ONE_WAY_MS, cuts=cuts)


SCENARIOS = tuple(Scenario(days, cut) for days in (1, 5) for cut in (None, "black hole", "reset"))
_GOALS_S = {"day_steady": 6.0, "5_days_black_hole": 60.0, "5_days_reset": 60.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What both ends sent: IP packets whole, those that vanished too; handshakes apart."""

    ip_bytes: int
    stream_bytes: int
    handshake_ip_bytes: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    wall_s: float
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRun:
    """``arrived`` counts the rows in the server's own table."""

    wall_s: float | None
    ip_bytes: int
    arrived: int


class District:
    """Our hub and one box at the two ends of a link; rows are drawn one after the other."""

    def __init__(self, link: Link, hub: Hub, folder: Path) -> None:
        self._link = link
        self._hub = hub
        self._folder = folder
        self._box = hub.enrol(SCHOOL, folder / "box")
        self._used = 0
        self._capture = folder / "line.pcap"
        # What is sent once in a key's life, the grants, is not part of a day's cost.
        self._carry(1)
        self.handshake = self._measure_handshake()

    def run(self, scenario: Scenario) -> Run:
        """Let days of rows wait at the box, then call over the line until all is receipted."""
        self._link.reshape(scenario.shape, self._capture)
        outcome = self._carry(scenario.days * TAPS_A_DAY)
        self._link.counts()
        return Run(wall_s=outcome.wall_s, line=read_line(self._capture, *self.handshake))

    def lost_and_doubled(self) -> tuple[int, int]:
        """Hold the hub's rows against the generator's."""
        held = count_taps(self._hub.store, SCHOOL)
        drawn = Counter((tap.at_ms, tap.person) for tap in draw_taps(SEED, self._used))
        return (drawn - Counter(held)).total(), (Counter(held) - drawn).total()

    def _carry(self, rows: int) -> Outcome:
        argv = [sys.executable, str(_HERE / "tap_box.py"), f"--config={self._box}"]
        argv.append("--before-connecting")
        argv += [f"--rows={rows}", f"--seed={SEED}", f"--skip={self._used}"]
        self._used += rows
        done = subprocess.run(self._link.inside("box", argv), stdout=subprocess.PIPE, check=True)
        return msgspec.json.decode(done.stdout, type=Outcome)

    def _measure_handshake(self) -> tuple[int, int]:
        """Return what TLS sends up and down before the first message."""
        self._link.reshape(Shape(), self._capture)
        argv = [sys.executable, str(_HERE / "handshake_box.py"), f"--config={self._box}"]
        subprocess.run(self._link.inside("box", argv), check=True)
        self._link.counts()
        (flow,) = read_capture(self._capture)
        return flow.up.stream_bytes, flow.down.stream_bytes


def read_line(capture: Path, up_mark: int, down_mark: int) -> Line:
    """Add up a capture; of each stream the first so many bytes are the handshake's."""
    flows = read_capture(capture, up_mark, down_mark)
    ip_bytes = sum(flow.up.ip_bytes + flow.down.ip_bytes for flow in flows)
    handshakes = sum(flow.up.handshake_ip_bytes + flow.down.handshake_ip_bytes for flow in flows)
    stream = sum(
        max(0, flow.up.stream_bytes - up_mark) + max(0, flow.down.stream_bytes - down_mark)
        for flow in flows
    )
    return Line(
        ip_bytes=ip_bytes - handshakes,
        stream_bytes=stream,
        handshake_ip_bytes=handshakes,
        connections=len(flows),
    )


def run_peer(
    link: Link, folder: Path, scenario: Scenario, setting: Setting, taps: Sequence[Tap]
) -> PeerRun:
    """Let Morango push the rows from a new database over the line."""
    place = _place(link)
    link.reshape(Shape())
    with running_morango(folder, place) as morango:
        _connect_once(morango, setting)
        capture = folder / "line.pcap"
        link.reshape(scenario.shape, capture)
        pushed = morango.push("tap", [tap.row for tap in taps], setting, scenario.peer_s_max)
        link.counts()
        line = read_line(capture, 0, 0)
        drawn = Counter((tap.at_ms, tap.person) for tap in taps)
        arrived = (drawn & morango.count_taps()).total()
    finished = pushed is not None and pushed.error is None and arrived == len(taps)
    return PeerRun(
        wall_s=pushed.wall_s if pushed is not None and finished else None,
        ip_bytes=line.ip_bytes + line.handshake_ip_bytes,
        arrived=arrived,
    )


def _connect_once(morango: Morango, setting: Setting) -> None:
    """Push nothing, so that what is done once in a database's life is done."""
    morango.push("tap", [], setting)


def _place(link: Link) -> Place:
    return Place(
        address=ADDRESSES["hub"],
        names=(ADDRESSES["hub"],),
        at_hub=lambda argv: link.inside("hub", argv),
        at_box=lambda argv: link.inside("box", argv),
    )


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="runs of each of our scenarios")
    options.add_argument(
        "--morango",
        choices=("none", "day", "all"),
        default="all",
        help="let Morango run nothing, the single day, or everything (an hour)",
    )
    options.add_argument(
        "--only", action="append", choices=[scenario.name for scenario in SCENARIOS], default=[]
    )
    given = options.parse_args()
    scenarios = [each for each in SCENARIOS if not given.only or each.name in given.only]
    if reason := missing_need():
        sys.exit(f"poor_link: {reason}")
    if given.morango != "none":
        peer_python("morango")
    machine = read_machine()
    with progress("poor_link") as step, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with linked(Shape()) as link:
            ours: dict[Scenario, list[Run]] = {scenario: [] for scenario in scenarios}
            with running_hub(folder / "hub", _place(link)) as hub:
                district = District(link, hub, folder)
                for number in range(given.runs):
                    for scenario in scenarios:
                        step(f"{scenario.name}, run {number + 1} of {given.runs}")
                        ours[scenario].append(district.run(scenario))
                lost, doubled = district.lost_and_doubled()
            peers = {}
            for scenario in scenarios:
                if given.morango == "none" or (given.morango == "day" and scenario.days > 1):
                    continue
                taps = draw_taps(SEED, scenario.days * TAPS_A_DAY)
                for setting in (SHIPPED, TUNED):
                    step(f"Morango {setting.name}, {scenario.name}")
                    place = folder / f"morango-{setting.name}-{scenario.name}"
                    peers[scenario, setting] = run_peer(link, place, scenario, setting, taps)
    report = Report(
        benchmark="poor_link",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "msgspec", "uvloop"),
        figures=[
            *_figures(ours, district.handshake),
            *_peer_figures(peers),
            measured("rows_lost", [lost], "rows", "lower", 0),
            measured("rows_doubled", [doubled], "rows", "lower", 0),
        ],
        notes=_notes(),
    )
    publish(report, as_json=given.json)


def _figures(ours: dict[Scenario, list[Run]], handshake: tuple[int, int]) -> Iterator[Figure]:
    yield measured("tls_handshake", [sum(handshake)], "B", "lower")
    for scenario, runs in ours.items():
        name, lines = scenario.name, [run.line for run in runs]
        yield measured(
            f"{name}_time", [run.wall_s for run in runs], "s", "lower", _GOALS_S.get(name)
        )
        goal = 10_000.0 if name == "day_steady" else None
        yield measured(f"{name}_tls", [line.stream_bytes for line in lines], "B", "lower", goal)
        yield measured(f"{name}_ip", [line.ip_bytes for line in lines], "B", "lower")
        yield measured(
            f"{name}_handshakes_ip", [line.handshake_ip_bytes for line in lines], "B", "lower"
        )
        yield measured(f"{name}_connections", [line.connections for line in lines], "", "lower")
        steady = ours.get(Scenario(scenario.days, None))
        if scenario.cut and steady:
            ratios = [
                run.line.ip_bytes / uncut.line.ip_bytes
                for run, uncut in zip(runs, steady, strict=True)
            ]
            goal = 1.3 if scenario.days > 1 else None
            yield measured(f"{name}_ip_against_uncut", ratios, "x", "lower", goal)


def _peer_figures(peers: dict[tuple[Scenario, Setting], PeerRun]) -> Iterator[Figure]:
    for (scenario, setting), run in peers.items():
        name = f"morango_{setting.name}_{scenario.name}"
        if run.wall_s is not None:
            yield measured(f"{name}_time", [run.wall_s], "s", "lower")
        share = run.arrived / (scenario.days * TAPS_A_DAY)
        yield measured(f"{name}_arrived", [share], "of rows", "higher")
        yield measured(f"{name}_ip", [run.ip_bytes], "B", "lower")


def _notes() -> list[str]:
    return [
        (
            f"The line: {KBITS:.0f} kbit/s of IP packets each way, {2 * ONE_WAY_MS:.0f} ms round"
            f" trip, a queue of {Shape().up.queue_bytes:,} B each way, no loss but by cuts; TCP"
            f" {CONGESTION_CONTROL}."
        ),
        (
            "Time: from the first row's capture to the hub's receipt of the last, connecting"
            " included. A black hole or reset lasts 4 s, from 1 s after the first packet and again"
            " after every 8 s of working line."
        ),
        (
            "tls: bytes of the TLS streams both ways, each once, without handshakes; ip: packets"
            " whole as both ends sent them, sent again and vanished ones too, without those of"
            " handshakes, which are beside it (handshakes_ip)."
        ),
        f"One day is {TAPS_A_DAY:,} taps; five are {5 * TAPS_A_DAY:,}. Grants were sent before.",
        SETTINGS_NOTE,
        (
            f"Morango takes up a broken session again, for at most {PEER_DAY_S_MAX:.0f} s with one"
            f" day and {PEER_DAYS_S_MAX:.0f} s with five; no time is given where it did not finish."
            " Its bytes are IP packets, all in."
        ),
        "Not tried here: a real modem line, loss at random, a line that changes its rate.",
    ]


if __name__ == "__main__":
    main()
