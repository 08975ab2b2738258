"""Many schools of one district with real keys, certificates and sealed backlogs.

Boxes are enrolled by the hub's own desk and hold their identities as after a claim; only the HTTP
in between is left out, which is the same for each. The rows of one seed serve every so-manieth
school: each school seals them with its own keys, so that no two segments are alike.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arrivals import TAPS_A_DAY, Tap, draw_taps
from edge.box_store import BoxStore, open_box
from edge.config import load_config as load_box_config
from hub.config import load_config as load_hub_config
from hub.server import HubParts, open_hub
from provisioning.box_keys import new_box_keys
from provisioning.claim import read_certificates
from provisioning.enrolment_wire import (
    EnrolmentAnswer,
    EnrolmentRequest,
    build_key_request,
    decode,
    encode,
)
from provisioning.identity import IdentityRecord, store_identity
from provisioning.trust import read_trust
from sync.store import open_store

SEEDS = 8
"""So many different traces are drawn; schools share them in turn."""
ROWS_A_TRANSACTION = 1000
_WORKERS = 2
_FILES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class School:
    """An enrolled box; ``config`` is its configuration file."""

    number: int
    config: Path

    @property
    def seed(self) -> int:
        return self.number % SEEDS


def enrol_schools(hub_config: Path, folder: Path, count: int) -> list[School]:
    """Enrol schools 1 to ``count`` at a hub that is not running."""
    folder.mkdir(parents=True)
    template = folder / "empty.db"
    open_store(template).close()
    with open_hub(load_hub_config(hub_config), now_ms) as parts:
        schools = [_enrol(parts, number, folder, template) for number in range(1, count + 1)]
        parts.node.record(
            "school", [{"school": each.number, "name": f"school {each.number}"} for each in schools]
        )
        parts.node.seal_all()
    return schools


def _enrol(parts: HubParts, number: int, folder: Path, template: Path) -> School:
    code = parts.desk.invite(school=number, school_name=f"school {number}")
    keys = new_box_keys()
    wish = EnrolmentRequest(
        box=code.box, secret=code.secret, keys=build_key_request(keys, ["127.0.0.1"])
    )
    answer = decode(parts.desk.enrol(encode(wish), "127.0.0.1"), EnrolmentAnswer)
    trust = read_trust(parts.desk.authority_pem(), root_pin=code.root_pin)
    certified, _ = read_certificates(answer.certificates, trust, keys)
    record = IdentityRecord(school_name=answer.school_name, hub_host=code.host, hub_port=code.port)
    place = folder / str(number)
    place.mkdir()
    config = place / "box.toml"
    config.write_text('folder = "data"\n[network]\ninterface = "127.0.0.1/24"\n')
    store_identity(place / "data" / "identity", keys, certified, record)
    shutil.copyfile(template, place / "data" / "box.db")
    return School(number, config)


def fill_schools(schools: Sequence[School], days: float, skip_days: float = 0) -> int:
    """Let each school record and seal so many days of taps; return the rows of each.

    ``skip_days`` of the trace were used before. Done by processes of their own.
    """
    rows, skip = round(days * TAPS_A_DAY), round(skip_days * TAPS_A_DAY)
    shares = [schools[place::_WORKERS] for place in range(_WORKERS)]
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                f"--rows={rows}",
                f"--skip={skip}",
                *(f"{school.number}={school.config}" for school in share),
            ]
        )
        for share in shares
        if share
    ]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise RuntimeError("a school could not be filled; the error is above")
    return rows


@contextmanager
def opened(schools: Sequence[School]) -> Iterator[list[BoxStore]]:
    """Open all boxes at once, as their daemons would."""
    allow_files()
    with ExitStack() as stack:
        yield [
            stack.enter_context(open_box(load_box_config(school.config), now_ms))
            for school in schools
        ]


def allow_files() -> None:
    """Let this process, and what it starts, open as many files as the system lets it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _FILES_MAX), hard))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """Fill some schools; see :func:`fill_schools`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, required=True)
    options.add_argument("--skip", type=int, required=True)
    options.add_argument("schools", nargs="+", help="NUMBER=CONFIG")
    given = options.parse_args()
    drawn: dict[int, list[Tap]] = {}
    for each in given.schools:
        number, _, config = each.partition("=")
        school = School(int(number), Path(config))
        if school.seed not in drawn:
            drawn[school.seed] = draw_taps(school.seed, given.rows, given.skip)
        taps = drawn[school.seed]
        with open_box(load_box_config(school.config), now_ms) as box:
            for start in range(0, len(taps), ROWS_A_TRANSACTION):
                box.node.record(
                    "card_tap", [tap.row for tap in taps[start : start + ROWS_A_TRANSACTION]]
                )
            box.node.seal_all()


if __name__ == "__main__":
    main()
