from collections.abc import Iterator

import pytest

from tests.scenarios.lan import two_lan_addresses
from tests.scenarios.running_demo import RunningDemo, running_demo

NETWORK = 81
FOR_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those who look at the running district before those who wait for its end."""
    items.sort(key=lambda item: item.path.name == "test_demo_day.py")


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """One day of a district, run once for all who look at it; its pages are on the LAN too."""
    place = tmp_path_factory.mktemp("district")
    with two_lan_addresses() as (school, hub):
        settings = f'lan_address = "{school}"\nhub_lan_address = "{hub}"\n'
        with running_demo(place, network=NETWORK, for_s=FOR_S, settings=settings) as demo:
            yield demo
