"""How many schools one core of the hub serves with sealed lessons of 2 Mb/s, by mutual TLS.

A hub as districts run it, in a process of its own; flagships publish sealed records to it from
another, and the receiving schools are a C program, each with the certificate of its box. "A core"
is CPU seconds of the hub, from the kernel: what comes in, is checked, stored, made durable and
goes out. Beside it the same bytes as objects that nginx (``hub/deploy/nginx.conf``) serves from its
cache, for which the hub does nothing, and what OpenSSL alone makes of a core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.nginx_peer import running_nginx
from benchmarks.real_district import BOX_PORT, HUB_ADDRESS, Hub, running_hub, write_hub_config
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
from benchmarks.school_fleet import School, allow_files, enrol_schools, now_ms
from benchmarks.viewer_load import MBIT_A_VIEWER, Load, watch
from hub.config import load_config
from hub.server import open_hub

FLAGSHIP = Path(__file__).with_name("lesson_flagship.py")
SHIPPED = Path(__file__).parents[1] / "hub" / "deploy" / "nginx.conf"
RECEIVERS_A_LESSON = 50
CACHE_PORT = 7444
BATCH_MS = 2420
"""In which the pictures of an object, 605,000 bytes, are 2 Mb/s."""
GOAL_SCHOOLS = 500.0
_WARM_S = 4.0
_HOUR_MS = 3_600_000
_STAMP_AT = 23  # of a record's header, beside the length of the lesson's id: its decode time


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--schools", type=int, default=200, help="that receive")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    machine = read_machine()
    with progress("lesson_hub") as step, tempfile.TemporaryDirectory() as folder:
        figures = list(measure(Path(folder), given, step))
    report = Report(
        benchmark="lesson_hub",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "uvloop"),
        figures=figures,
        notes=_notes(given),
    )
    publish(report, as_json=given.json)


def measure(folder: Path, given: argparse.Namespace, step: Step) -> Iterator[Figure]:
    allow_files()
    more = f'[lessons]\ncache_url = "https://{HUB_ADDRESS}:{CACHE_PORT}"\n'
    config = write_hub_config(folder / "hub", more=more)
    lessons = lessons_for(given.schools)
    step(f"enrols {given.schools} receiving schools and {lessons} flagships")
    schools = enrol_schools(config, folder / "schools", given.schools + lessons)
    flagships, receivers = schools[:lessons], schools[lessons:]
    names = schedule(config, flagships, receivers)
    relayed: list[Load] = []
    copies: list[float] = []
    cached: list[Load] = []
    with running_hub(folder / "hub", more=more) as hub:
        for turn in range(given.runs):
            step(f"relays {lessons} lessons to {given.schools} schools, run {turn + 1}")
            with publishing(flagships, names) as published:
                relayed.append(_relay(hub, names, receivers, given.seconds))
            copies.append(relayed[-1].mbit_a_viewer / published.mbit_a_lesson)
        for turn in range(given.runs):
            step(f"serves objects from nginx, run {turn + 1}")
            cached.append(_serve_objects(folder, names[0], receivers, given.seconds))
    delays = [load.watched.p95_ms for load in relayed]
    a_core = [load.viewers_a_core for load in relayed]
    yield measured("schools_a_core", a_core, "schools", "higher", GOAL_SCHOOLS)
    yield measured("delay_p95", delays, "ms", "lower")
    yield measured("rate", [load.mbit_a_viewer for load in relayed], "Mb/s a school", "higher")
    yield measured("copies_a_school", copies, "", "lower", 1.05)
    lost = [float(load.watched.lost) for load in relayed]
    yield measured("lost_schools", lost, "", "lower", 0.0)
    a_core = [load.viewers_a_core for load in cached]
    yield measured("nginx_objects_schools_a_core", a_core, "schools", "higher", GOAL_SCHOOLS)
    yield measured("openssl_ceiling", [openssl_mbit() / MBIT_A_VIEWER], "schools", "higher")


def schedule(config: Path, flagships: Sequence[School], receivers: Sequence[School]) -> list[str]:
    """Write a lesson for each flagship, its receivers among the schools; return their ids."""
    begun_ms = now_ms()
    names = [f"lesson-{flagship.number:03}" for flagship in flagships]
    parties = [
        (flagship.number, name, "flagship") for flagship, name in zip(flagships, names, strict=True)
    ]
    parties += [
        (school.number, names[place % len(names)], "receiver")
        for place, school in enumerate(receivers)
    ]
    with open_hub(load_config(config), now_ms) as parts:
        parts.node.record(
            "lesson_party",
            [{"school": school, "lesson": name, "role": role} for school, name, role in parties],
        )
        parts.node.record(
            "lesson",
            [
                {"lesson": name, "starts_ms": begun_ms, "ends_ms": begun_ms + 8 * _HOUR_MS}
                for name in names
            ],
        )
        parts.node.seal_all()
    return names


@contextmanager
def publishing(flagships: Sequence[School], names: Sequence[str]) -> Iterator["Published"]:
    """Publish a take of each lesson for the time of the block."""
    wishes = [f"{flagship.config}={name}" for flagship, name in zip(flagships, names, strict=True)]
    process = subprocess.Popen(
        [sys.executable, str(FLAGSHIP), f"https://{HUB_ADDRESS}:{BOX_PORT}", *wishes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the flagships did not start")
        published = Published()
        yield published
        told, _ = process.communicate("stop\n", timeout=20)
        published.mbit_a_lesson = json.loads(told)["mbit_a_lesson"]
    finally:
        process.kill()
        process.wait()


@dataclass
class Published:
    """Mb/s of sealed records that each flagship sent, known once publishing has ended."""

    mbit_a_lesson: float = 0.0


def _relay(hub: Hub, names: Sequence[str], receivers: Sequence[School], seconds: float) -> Load:
    stamp = _STAMP_AT + len(names[0])
    arguments = (
        "stream",
        HUB_ADDRESS,
        str(BOX_PORT),
        ",".join(f"/lessons/{name}/follow" for name in names),
        str(len(receivers)),
        str(_WARM_S),
        str(seconds),
        str(stamp),
    )
    return watch([hub.pid], arguments, [box_pem(school) for school in receivers])


def box_pem(school: School) -> Path:
    return school.config.parent / "data" / "identity" / "box.pem"


def _serve_objects(folder: Path, lesson: str, receivers: Sequence[School], seconds: float) -> Load:
    """Let every school of a lesson fetch objects that others have fetched before it."""
    own = receivers[:: lessons_for(len(receivers))]
    takes = sorted((folder / "hub" / "lessons" / lesson).iterdir())
    served = Path(tempfile.mkdtemp(dir=folder))
    served.chmod(0o755)
    text = SHIPPED.read_text()
    for old, new in (
        ("/opt/schoolnode/lessons.sock", str(folder / "hub" / "lessons.sock")),
        ("/opt/schoolnode/data", str(folder / "hub")),
        ("/var/cache/nginx", str(served / "cache")),
        ("listen 7444", f"listen {HUB_ADDRESS}:{CACHE_PORT} backlog=1024"),
    ):
        text = text.replace(old, new)
    (served / "cache").mkdir()
    with running_nginx(text, served) as pids:
        arguments = (
            "objects",
            HUB_ADDRESS,
            str(CACHE_PORT),
            f"/lessons/{lesson}/{takes[0].name}/1/64-127?%d",
            str(len(receivers)),
            str(_WARM_S),
            str(seconds),
            str(BATCH_MS),
        )
        return watch(pids, arguments, [box_pem(school) for school in own])


def lessons_for(receivers: int) -> int:
    return -(-receivers // RECEIVERS_A_LESSON)


def openssl_mbit() -> float:
    """Return what one core seals of TLS records of 8 KB by AES-256-GCM, in Mb/s."""
    argv = ["openssl", "speed", "-mr", "-seconds", "2", "-bytes", "8192", "-evp", "aes-256-gcm"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("+F:")]
    return float(line.rsplit(":", 1)[1]) * 8 / 1e6


def _notes(given: argparse.Namespace) -> list[str]:
    return [
        f"{given.schools} schools, {RECEIVERS_A_LESSON} a lesson; {given.seconds:g} s each after",
        f"{_WARM_S:g} s of warming up; 25 pictures and 23 sounds a second; mutual TLS 1.3.",
        "schools_a_core: schools over the core's share that the hub used, drawn out in a straight",
        "line (who got half counts half); reading, checking, storing and syncing is in it.",
        "copies_a_school: bytes on a school's link, without TLS's own, over bytes sealed.",
        f"nginx_objects: 64 records an object, one each {BATCH_MS} ms a school, in nginx's cache.",
        "openssl_ceiling: AES-256-GCM alone, no system calls, no copies; nothing reaches it.",
    ]


if __name__ == "__main__":
    main()
