"""What is told of devices in trouble, told of troubles that are known."""

from benchmarks.device_chaos import figures_of
from drivers.entities import DeviceId
from tests.drivers.chaos_school import Befallen

PANEL = [DeviceId("panel")]


def test_each_fault_tells_from_its_beginning_and_from_its_end() -> None:
    figures = figures_of(
        [
            Befallen("panel", "power cut", PANEL, 1_000, 1_300, 2_000, 6_000),
            Befallen("panel", "power cut", PANEL, 9_000, 9_100, 9_500, 10_500),
            Befallen("bus", "noise", [], 1_000, None, 2_000, 2_250),
        ]
    )
    assert [(each.name, each.value, each.spread, each.runs) for each in figures] == [
        ("bus_noise_well", 0.25, (0.25, 0.25), 1),
        ("panel_power_cut_noticed", 0.2, (0.1, 0.3), 2),
        ("panel_power_cut_well", 2.5, (1.0, 4.0), 2),
    ]
