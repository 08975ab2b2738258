"""Disks that go back in time, and two boxes on one disk: real programs, whole folders, no row lost.

What was recorded is counted in the stores against what was given to record.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from edge.box_store import open_box
from edge.config import load_config
from sync.store import connect_readonly
from sync.tables.row_check import Row
from tests.scenarios.small_district import SmallDistrict, claim

HOME_S_MAX = 45.0
LOOK_EVERY_S = 0.2
NETWORK = 92
TAPS = 40


class Story:
    """A school whose box is a folder, and all it was given to record."""

    def __init__(self, place: Path, network: int) -> None:
        self.district = SmallDistrict(place, network)
        self.district.write_hub()
        self.box = self.district.write_box(17)
        self.data = self.box.parent / "data"
        self.hub_folder = self.district.hub_config.parent
        self.given: Counter[int] = Counter()
        self._moments: Iterator[int] = count(1_790_000_000_000, 1000)

    def tap(self, box: Path | None = None) -> None:
        """Record taps at a box whose daemon does not run."""
        moments = [next(self._moments) for _ in range(TAPS)]
        rows: list[Row] = [{"at_ms": at_ms, "device": "card:door"} for at_ms in moments]
        with open_box(load_config(box or self.box), lambda: time.time_ns() // 1_000_000) as opened:
            opened.node.record("card_tap", rows)
        self.given.update(moments)

    def come_home(self, box: Path | None = None) -> None:
        """Let a box's daemon run until it and the hub hold all taps that were given to record."""
        box = box or self.box
        stores = self.hub_folder / "hub.db", box.parent / "data" / "box.db"
        with self.district.box_running(box):
            wait_for(lambda: all(held(store) == self.given for store in stores))

    def logs(self, box: Path | None = None) -> set[str]:
        """Return the incarnations in which the box wrote taps."""
        with closing(connect_readonly((box or self.box).parent / "data" / "box.db")) as store:
            query = "SELECT DISTINCT incarnation FROM log WHERE origin = 17 AND lane = 2"
            return {str(found) for (found,) in store.execute(query)}


def held(store: Path) -> Counter[int]:
    with closing(connect_readonly(store)) as connection:
        query = "SELECT at_ms FROM card_tap WHERE school = 17"
        return Counter(at_ms for (at_ms,) in connection.execute(query))


def wait_for(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + HOME_S_MAX
    while not true():
        assert time.monotonic() < end_s, "not all taps came home, or some came twice"
        time.sleep(LOOK_EVERY_S)


def set_back(folder: Path, image: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(image, folder)


@pytest.mark.timeout(240)
def test_boxes_cloned_and_set_back_and_a_hub_set_back_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path, NETWORK)
    with story.district.hub_running():
        assert claim(story.box, story.district.invite(17)).code == 0
        story.tap()
        story.come_home()
        image = tmp_path / "image"
        shutil.copytree(story.data, image, ignore=shutil.ignore_patterns("*.sock"))
        story.tap()
        story.come_home()
        first = story.logs()
        assert len(first) == 1

        # The store comes back from an image; the marker beside it is another machine's.
        for path in story.data.glob("box.db*"):
            path.unlink()
        shutil.copy(image / "box.db", story.data)
        (story.data / "generation").unlink()
        story.tap()
        story.come_home()
        assert len(story.logs()) == 2

        # The whole folder goes back, its marker with it: only the hub's word shows it.
        set_back(story.data, image)
        story.tap()
        story.come_home()

        # A second box is made of the same folder, and both record.
        twin = story.district.write_box(18)
        shutil.copytree(
            story.data, twin.parent / "data", ignore=shutil.ignore_patterns("*.sock", "lock")
        )
        story.tap()
        story.tap(twin)
        with story.district.box_running(story.box), story.district.box_running(twin):
            wait_for(lambda: held(story.hub_folder / "hub.db") == story.given)
        story.tap()
        story.tap(twin)
        with story.district.box_running(story.box), story.district.box_running(twin):
            wait_for(lambda: held(story.hub_folder / "hub.db") == story.given)

    # The hub's disk goes back: what it acknowledged since comes again.
    image_of_hub = tmp_path / "image-of-hub"
    shutil.copytree(story.hub_folder, image_of_hub)
    with story.district.hub_running():
        story.tap()
        story.come_home()
    set_back(story.hub_folder, image_of_hub)
    assert held(story.hub_folder / "hub.db") != story.given
    with story.district.hub_running():
        story.tap()
        story.come_home()
    assert set(story.given.values()) == {1}
