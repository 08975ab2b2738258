"""Cameras as the fleet drives them: known again after a restart, and told of by people's words."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers.entities import DeviceEvent, DeviceId, Outcome, Presence
from drivers.simulators.onvif_habits import CameraHabits
from edge.devices import fleet as fleet_module
from edge.devices.fleet import Fleet
from edge.notebook import Notebook
from firmware_profiles.catalog import load_catalog
from tests.drivers.camera_bench import ADOPTED, Camera
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.adopted_devices import adopted_camera

DEVICE = DeviceId("onvif:urn:uuid:4c4c4544")
"""A camera that told no serial number when it was found."""
PASSWORD = f"{ADOPTED.user}:{ADOPTED.password}"
WAIT_S = 20.0


class Watch:
    """A fleet of one camera, from a start of the box to its end."""

    def __init__(self, fleet: Fleet, events: list[DeviceEvent]) -> None:
        self.fleet = fleet
        self._events = events

    def presence(self) -> Presence | None:
        told = [event for event in self._events if isinstance(event, Presence)]
        return told[-1] if told else None

    def is_online(self) -> bool:
        told = self.presence()
        return told is not None and told.online


@asynccontextmanager
async def box(folder: Path, camera: Camera) -> AsyncIterator[Watch]:
    """Start a box that has adopted the camera; what it noted before is what it reads."""
    notebook = Notebook(folder / "notebook.json")
    await notebook.keep_password(DEVICE, PASSWORD)
    events: list[DeviceEvent] = []
    fleet = Fleet(load_catalog(), notebook, now_ms, events.append, random.Random(1))
    fleet.add(adopted_camera(DEVICE, camera.access.address))
    async with running(fleet.run()):
        yield Watch(fleet, events)


def noted_mac(folder: Path) -> str | None:
    return Notebook(folder / "notebook.json").facts(DEVICE).get("mac")


@pytest.fixture(autouse=True)
def quick_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "NOTES_EVERY_S", 0.05)


async def test_a_camera_is_known_again_after_a_restart_and_another_at_its_address_is_refused(
    tmp_path: Path,
) -> None:
    adopted, stranger = Camera(tmp_path, seed=1), Camera(tmp_path, seed=2)
    assert adopted.device.identity.mac != stranger.device.identity.mac
    async with adopted.plugged_in(), box(tmp_path, adopted) as watch:
        await until(watch.is_online, WAIT_S)
        await until(lambda: noted_mac(tmp_path) == adopted.device.identity.mac, WAIT_S)
    async with stranger.plugged_in(), box(tmp_path, adopted) as watch:
        await until(lambda: watch.presence() is not None, WAIT_S)
        told = watch.presence()
        assert told is not None
        assert not told.online
        assert f"adopted was {adopted.device.identity.mac}" in told.reason
        assert noted_mac(tmp_path) == adopted.device.identity.mac
        await watch.fleet.remove(DEVICE)
        assert noted_mac(tmp_path) is None


async def test_a_camera_that_does_not_tell_its_hardware_address_this_time_is_no_stranger(
    tmp_path: Path,
) -> None:
    adopted = Camera(tmp_path)
    silent = Camera(tmp_path, habits=CameraHabits(refused=frozenset({"GetNetworkInterfaces"})))
    async with adopted.plugged_in(), box(tmp_path, adopted) as watch:
        await until(lambda: noted_mac(tmp_path) == adopted.device.identity.mac, WAIT_S)
    async with silent.plugged_in(), box(tmp_path, adopted) as watch:
        await until(watch.is_online, WAIT_S)
        assert noted_mac(tmp_path) == adopted.device.identity.mac


async def test_a_position_is_told_of_by_its_name(tmp_path: Path) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in(), box(tmp_path, camera) as watch:
        await until(watch.is_online, WAIT_S)
        kept = await watch.fleet.command(DEVICE, "keep_preset", "讲台")
        assert kept.outcome is Outcome.VERIFIED
        token = next(
            each.token
            for each in watch.fleet.cameras.camera(DEVICE).control.presets
            if each.name == "讲台"
        )
        assert token != "讲台"
        for command, told in (("preset", "preset 讲台"), ("remove_preset", "remove preset 讲台")):
            result = await watch.fleet.command(DEVICE, command, "讲台")
            assert result.outcome in {Outcome.ACKNOWLEDGED, Outcome.VERIFIED}
            assert result.command == told
