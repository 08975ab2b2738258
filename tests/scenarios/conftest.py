from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.lan import two_lan_addresses
from tests.scenarios.running_demo import RunningDemo, running_demo

HERE = Path(__file__).parent
NETWORK = 81
FOR_S = 900.0
"""Longer than a slow machine needs to look at all pages: the day's school ends it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the scenarios so that others run while the district's day goes on to its end."""
    places = [place for place, item in enumerate(items) if item.path.parent == HERE]
    scenarios = sorted((items[place] for place in places), key=lambda item: _turn(item.path.name))
    for place, item in zip(places, scenarios, strict=True):
        items[place] = item


def _turn(name: str) -> int:
    turns = {"test_pages_in_a_browser.py": 0, "test_demo_day.py": 2, "test_kill_nine.py": 3}
    return turns.get(name, 1)


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """One day of a district, run once for all who look at it; its pages are on the LAN too."""
    place = tmp_path_factory.mktemp("district")
    with two_lan_addresses() as (school, hub):
        settings = f'lan_address = "{school}"\nhub_lan_address = "{hub}"\n'
        with running_demo(place, network=NETWORK, for_s=FOR_S, settings=settings) as demo:
            yield demo
