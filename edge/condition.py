"""Gathers what the repairs list is worked out of."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from drivers.entities import DeviceId
from drivers.errors import DriverError
from edge.devices.fleet import Fleet
from edge.finder import Finder
from edge.pages.box_view import BoxView
from edge.recorder import Recorder
from edge.repairs import Condition, Undriven
from firmware_profiles.catalog import Catalog
from firmware_profiles.firmware import judge
from firmware_profiles.model import Firmware, ProfileId

FAULTS_MAX = 20


class ConditionReader:
    """Reads everything at once from memory, but for how full the disk is."""

    def __init__(
        self,
        view: BoxView,
        fleet: Fleet,
        recorder: Recorder,
        finder: Finder,
        catalog: Catalog,
        folder: Path,
        *,
        undriven: Mapping[DeviceId, Undriven],
    ) -> None:
        self._view = view
        self._fleet = fleet
        self._recorder = recorder
        self._finder = finder
        self._catalog = catalog
        self._folder = folder
        self._since_ms = view.now_ms()
        self._undriven = undriven

    def read(self) -> Condition:
        view = self._view
        return Condition(
            now_ms=view.now_ms(),
            since_ms=self._since_ms,
            lights=view.device_lights(),
            values=view.live_values(),
            candidates=view.candidates(),
            clock=view.clock_light(),
            link=view.sync_lights().link,
            standing=view.sync_standing(),
            undecided=view.undecided_keys(),
            offered=view.offered_pupils(),
            screens=view.cards.screens.all(),
            troubles={
                device: presence.trouble
                for device, presence in self._recorder.presence.items()
                if not presence.online
            },
            firmwares=self._firmwares(),
            undriven=[
                each for each in self._undriven.values() if each.device not in self._fleet.devices
            ],
            fresh_ports=[str(port.path) for port in self._finder.fresh_ports()],
            profile_faults=self._profile_faults(),
            disk_free_bytes=self._disk_free_bytes(),
            disk_fails=self._recorder.disk_fails,
            lesson_checks=view.lesson_checks(),
            source_troubles=view.source_troubles(),
        )

    def _profile_faults(self) -> Sequence[str]:
        return [str(fault) for fault in self._catalog.faults[:FAULTS_MAX]]

    def _disk_free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return None  # another repair tells that the disk takes nothing

    def _firmwares(self) -> Mapping[DeviceId, Firmware]:
        """Return what the profiles know of the versions that devices told."""
        judged = {}
        for device, adopted in self._fleet.devices.items():
            profile = self._catalog.profiles[ProfileId(adopted.profile)]
            if not profile.firmware:
                continue
            told = [
                self._recorder.latest[device, point.id].value
                for point in profile.points
                if point.capability == "firmware" and (device, point.id) in self._recorder.latest
            ]
            for version in (self._camera_version(device), *told):
                known = judge(profile, str(version)) if version else None
                if known is not None:
                    judged[device] = known
        return judged

    def _camera_version(self, device: DeviceId) -> str:
        try:
            description = self._fleet.cameras.camera(device).description
        except DriverError:
            return ""
        return "" if description is None else description.firmware
