"""A school offline for thirty days at a real rate, then connected: what comes home, and how.

A box's process records days of taps and readings without a link, and an alarm at the end; then its
uplink brings all to ``schoolnode-hub run`` over HTTPS. What the hub holds is counted against the
generator.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.arrivals import TAPS_A_DAY, school_days
from benchmarks.hub_disk import count_taps
from benchmarks.month_box import READINGS_A_DAY, Homecoming
from benchmarks.processes import peak_rss_mb
from benchmarks.real_district import Hub, running_hub
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
from sync.store import connect_readonly

FEW_DAYS, SCHOOL_OF_FEW_DAYS = 5, 1
SCHOOL = 2
ROWS_BEFORE_ALARM_MAX = 0.05


def main() -> None:
    """Run from the command line."""
    options = parser(__doc__)
    options.add_argument("--days", type=int, default=30)
    given = options.parse_args()
    machine = read_machine()
    with (
        progress("thirty_days") as step,
        tempfile.TemporaryDirectory() as folder,
        running_hub(Path(folder) / "hub") as hub,
    ):
        step(f"{FEW_DAYS} days")
        few = bring_home(hub, SCHOOL_OF_FEW_DAYS, Path(folder) / "few", FEW_DAYS)
        step(f"{given.days} days")
        many = bring_home(hub, SCHOOL, Path(folder) / "many", given.days)
        lost, doubled = count(hub, SCHOOL, given.days)
        hub_mb = peak_rss_mb(hub.pid)
    report = Report(
        benchmark="thirty_days",
        machine=machine,
        versions=read_versions("aiohttp", "cryptography", "msgspec", "uvloop", "zstandard"),
        figures=figures(few, many, lost, doubled, hub_mb),
        notes=[
            (
                f"{given.days} days of {TAPS_A_DAY:,} taps and {READINGS_A_DAY} readings, one alarm"
                f" last: {many.rows:,} rows. Loopback; the poor line is measured by poor_link.py."
            ),
            "Lost and doubled: taps and readings at the hub against the generator, and the alarm.",
            (
                "Before the alarm: rows that the hub had receipted once the box had the alarm's"
                " receipt, the alarm and its message's other rows included. It goes in a message of"
                " its own, which is answered before the next is taken in. The goal leaves room for"
                " two segments of 1,000 rows under way before it; in one message with the 16 KiB"
                " that may begin a connection it would come with a sixth of all rows."
            ),
            (
                f"Memory is flat when {given.days} days take no more than 1.1 times that of"
                f" {FEW_DAYS}."
            ),
        ],
    )
    publish(report, as_json=given.json)


def bring_home(hub: Hub, school: int, folder: Path, days: int) -> Homecoming:
    """Enrol a box, let it live for so many days, and connect it."""
    box = hub.enrol(school, folder)
    argv = [sys.executable, str(Path(__file__).with_name("month_box.py"))]
    argv += [f"--config={box}", f"--days={days}", f"--seed={school}"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Homecoming)


def count(hub: Hub, school: int, days: int) -> tuple[int, int]:
    """Return rows lost and rows doubled."""
    held = Counter(count_taps(hub.store, school))
    drawn = Counter(
        (tap.at_ms, tap.person) for tap in islice(school_days(school), days * TAPS_A_DAY)
    )
    lost, doubled = (drawn - held).total(), (held - drawn).total()
    with closing(connect_readonly(hub.store)) as store:
        for table, meant in (("reading", days * READINGS_A_DAY), ("alarm", 1)):
            total, different = store.execute(
                f"SELECT count(*), count(DISTINCT at_ms) FROM {table} WHERE school = ?",  # noqa: S608 - names are ours
                (school,),
            ).fetchone()
            lost += max(0, meant - different)
            doubled += max(0, total - different)
    return lost, doubled


def figures(
    few: Homecoming, many: Homecoming, lost: int, doubled: int, hub_mb: float
) -> list[Figure]:
    return [
        measured("rows_lost", [lost], "rows", "lower", 0),
        measured("rows_doubled", [doubled], "rows", "lower", 0),
        measured("home_after", [many.home_s], "s", "lower"),
        measured("alarm_home_after", [many.alarm_s], "s", "lower"),
        measured(
            "rows_home_before_the_alarm",
            [many.rows_before_alarm / many.rows],
            "of all",
            "lower",
            ROWS_BEFORE_ALARM_MAX,
        ),
        measured("bytes_a_row", [many.sent_bytes / many.rows], "B", "lower"),
        measured("box_peak_memory", [many.peak_rss_mb], "MB", "lower", 80),
        measured(
            "box_peak_memory_against_few_days",
            [many.peak_rss_mb / few.peak_rss_mb],
            "times",
            "lower",
            1.1,
        ),
        measured("hub_peak_memory", [hub_mb], "MB", "lower"),
    ]


if __name__ == "__main__":
    main()
