"""What holds for all tests, and how files are shared out to processes (``pytest -n``)."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.scheduler.protocol import Scheduling

# The command lines speak the terminal's language; tests read English, wherever they run.
os.environ["LC_ALL"] = "C.UTF-8"
# Stores wait until each write is on the disk. Tests of what a power cut leaves have a disk of their
# own that forgets (tests/simulation); for the others memory will do, and does not queue.
MEMORY, ROOM_BYTES_MIN = Path("/dev/shm"), 6 * 1024**3  # noqa: S108 - pytest makes a private folder in it
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES_MIN:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# How long an example takes is the machine's affair, as for every other test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

HERE = Path(__file__).parent
DISTRICTS, LESSONS = "whole districts", "lessons in a browser"
TOGETHER = {
    "test_kill_nine.py": DISTRICTS,
    "test_demo_day.py": DISTRICTS,
    "test_pages_in_a_browser.py": DISTRICTS,
    "test_pulled_link.py": LESSONS,
    "test_narrow_link.py": LESSONS,
    "test_fan_out_in_a_browser.py": LESSONS,
    "test_classroom_in_a_browser.py": LESSONS,
    "test_lesson_of_cameras_not_ours.py": LESSONS,
}
"""Files that look at the same running district, or that a machine of two cores carries one after
the other only: whoever plays a lesson keeps real time."""
LONGEST_FIRST = ("scenarios", "simulation", "benchmarks", "edge", "sync", "drivers")


class FileByFile(LoadScopeScheduling):
    """A file's tests run in one process, in order; files in the order they are collected in."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return TOGETHER.get(Path(file).name, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    config.option.loadscopereorder = False
    return FileByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest, so that no process waits alone at the end."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folder = item.path.relative_to(HERE).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)
