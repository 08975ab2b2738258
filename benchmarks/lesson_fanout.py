"""How many viewers of a school's LAN one core serves with a lesson of 2 Mb/s, and how promptly.

The box's own fan-out, plain ``send_bytes``, a sender in C that does the least there is to do, and
nginx that serves the same bytes as files of 200 ms (parts of LL-HLS), all in the same run and for
the same viewers, which are a C program beside. The delay is from the moment before sending to the
viewer's last byte; nginx's is from asking to the last byte. "A core" is CPU seconds of the sender.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fan_out_box import HEADER_BYTES, PATH, PICTURE_BYTES, SOUND_BYTES, STAMP_AT
from benchmarks.nginx_peer import running_nginx
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
from benchmarks.self_signed import self_signed
from benchmarks.viewer_load import Load, compiled, watch

ADDRESS = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}.9"
BOX = Path(__file__).with_name("fan_out_box.py")
PART_MS = 200
PART_BYTES = 50_000
_WARM_S = 4.0
TLS_VIEWERS_MAX = 300
SENDERS = ("ours", "ours_tls", "plain", "c", "nginx_parts")


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--viewers", type=int, action="append", help="default: 300 and 800")
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_fanout") as step, tempfile.TemporaryDirectory() as folder:
        figures = list(measure(Path(folder), given, step))
    report = Report(
        benchmark="lesson_fanout",
        machine=machine,
        versions=read_versions("aiohttp", "uvloop"),
        figures=figures,
        notes=_notes(given),
    )
    publish(report, as_json=given.json)


def measure(folder: Path, given: argparse.Namespace, step: Step) -> Iterator[Figure]:
    pem = folder / "box.pem"
    pem.write_bytes(self_signed(ADDRESS))
    site = folder / "site"
    site.mkdir()
    (site / "part.m4s").write_bytes(os.urandom(PART_BYTES))
    for viewers in given.viewers or (300, 800):
        # Hundreds of TLS handshakes on top are a storm of their own.
        names = SENDERS if viewers <= TLS_VIEWERS_MAX else [n for n in SENDERS if n != "ours_tls"]
        loads: dict[str, list[Load]] = {name: [] for name in names}
        for turn in range(given.runs):
            for name in names:
                step(f"{viewers} viewers, {name}, run {turn + 1} of {given.runs}")
                loads[name].append(_watched(name, viewers, given.seconds, pem, site))
        yield from _figures(viewers, loads)


def _watched(name: str, viewers: int, seconds: float, pem: Path, site: Path) -> Load:
    port = free_port()
    place, length = (ADDRESS, str(port)), (str(_WARM_S), str(seconds))
    stream = ("stream", *place, PATH, str(viewers), *length, str(STAMP_AT))
    if name == "nginx_parts":
        with running_nginx(parts_config(*place, site), site.parent) as pids:
            parts = ("objects", *place, "/part.m4s?%d", str(viewers), *length, str(PART_MS))
            return watch(pids, parts)
    if name == "c":
        sizes = (str(PICTURE_BYTES), str(SOUND_BYTES))
        with _running([str(compiled("sender")), *place, *sizes]) as pid:
            return watch([pid], stream)
    kind, tls = name.removesuffix("_tls"), name.endswith("_tls")
    argv = [sys.executable, str(BOX), kind, *place, *([f"--pem={pem}"] if tls else [])]
    with _running(argv) as pid:
        return watch([pid], stream, ["-"] if tls else [])


def _figures(viewers: int, loads: dict[str, list[Load]]) -> Iterator[Figure]:
    cores: dict[str, list[float]] = {}
    for name, taken in loads.items():
        goal = 2000.0 if name == "ours" else None
        cores[name] = [load.viewers_a_core for load in taken]
        unit = "viewers/core"
        yield measured(f"{name}_{viewers}_viewers", cores[name], unit, "higher", goal)
        delays = [load.watched.p95_ms for load in taken]
        goal = 20.0 if name == "ours" else None
        yield measured(f"{name}_{viewers}_p95_delay", delays, "ms", "lower", goal)
    of_c = [ours / c for ours, c in zip(cores["ours"], cores["c"], strict=True)]
    yield measured(f"ours_to_c_{viewers}", of_c, "", "higher", 0.55)
    rate = [load.mbit_a_viewer for load in loads["ours"]]
    yield measured(f"ours_{viewers}_rate", rate, "Mb/s a viewer", "higher")
    lost = [float(load.watched.lost) for load in loads["ours"]]
    yield measured(f"ours_{viewers}_lost_viewers", lost, "", "lower", 0.0)


def parts_config(address: str, port: str, site: Path) -> str:
    return f"""
server {{
    listen {address}:{port} backlog=1024;
    root {site};
    keepalive_requests 1000000;
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(argv: Sequence[str]) -> Iterator[int]:
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{argv[0]} did not start")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _notes(given: argparse.Namespace) -> list[str]:
    return [
        f"Each run {given.seconds:g} s after {_WARM_S:g} s of warming up. A second has 25 pictures",
        f"of {PICTURE_BYTES} bytes and 23 sounds of {SOUND_BYTES}, {HEADER_BYTES} of them a head.",
        "Viewers a core: viewers over the core's share that the sender used, in a straight line;",
        "who got half of the lesson counts half.",
        "ours, plain and c without TLS, which is what they have in common; ours_tls: TLS 1.3, as",
        f"pages are served, to {TLS_VIEWERS_MAX} viewers.",
        f"nginx_parts: a file of {PART_BYTES} bytes each {PART_MS} ms a viewer, at moments spread",
        "evenly; playlists, which double a player's requests, are left out.",
    ]


if __name__ == "__main__":
    main()
