"""The adopted devices: who drives each, supervised so that one trouble stays one trouble."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Never
from urllib.parse import urlsplit

from drivers.bus import ModbusBus
from drivers.cameras.messages import CameraAccess
from drivers.cameras.onvif_camera import OnvifCamera
from drivers.cameras.worker import CameraWorker
from drivers.card_reader import CardReader
from drivers.codecs.digest import Credentials
from drivers.discovery.candidate import DeviceKind
from drivers.displays.desired_state import DesiredState
from drivers.displays.pjlink_display import PjlinkDisplay
from drivers.displays.pjlink_link import DisplayAccess
from drivers.entities import CommandResult, DeviceId, EventSink, NowMs
from drivers.errors import DriverError, SetupError, UnreachableError
from drivers.modbus_device import AdoptedUnit
from drivers.transports.serial_address import line_settings, parse_serial_address
from edge.notebook import Notebook
from edge.pages.box_view import CommandChoice
from edge.supervision import keep_running
from firmware_profiles.catalog import Catalog
from firmware_profiles.model import Profile, ProfileId

_log = logging.getLogger(__name__)

WISHES_EVERY_S = 2.0
Driver = Callable[[], Coroutine[None, None, Never]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedDevice:
    """A device as a person adopted it."""

    device: DeviceId
    kind: DeviceKind
    name: str
    profile: str
    address: str
    room: str | None


class Fleet:
    """Starts and stops the drivers of adopted devices; :meth:`run` owns their tasks."""

    def __init__(
        self,
        catalog: Catalog,
        notebook: Notebook,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self._catalog = catalog
        self._notebook = notebook
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._devices: dict[DeviceId, AdoptedDevice] = {}
        self._buses: dict[Path, ModbusBus] = {}
        self._readers: dict[DeviceId, CardReader] = {}
        self._displays: dict[DeviceId, PjlinkDisplay] = {}
        self._cameras: dict[DeviceId, OnvifCamera] = {}
        self._worker: CameraWorker | None = None
        self._drivers: dict[str, Driver] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._added = asyncio.Event()
        self._deadbands: dict[tuple[DeviceId, str], float] = {}

    @property
    def devices(self) -> Mapping[DeviceId, AdoptedDevice]:
        return self._devices

    @property
    def deadbands(self) -> Mapping[tuple[DeviceId, str], float]:
        """How little a point may change without being recorded again."""
        return self._deadbands

    def bus_on(self, path: Path) -> ModbusBus | None:
        return self._buses.get(path)

    def ports_taken(self) -> set[Path]:
        """Return ports that a driver owns and cannot lend: those of card readers."""
        return {reader.path for reader in self._readers.values()}

    def room_of(self, device: DeviceId) -> str | None:
        adopted = self._devices.get(device)
        return adopted.room if adopted else None

    def commands_of(self, device: DeviceId) -> tuple[CommandChoice, ...]:
        display = self._displays.get(device)
        if display is None:
            return ()
        profile = self._profile(self._devices[device].profile)
        return tuple(
            CommandChoice(command=command.id, arguments=tuple(command.values))
            for command in profile.commands
        )

    def add(self, adopted: AdoptedDevice) -> None:
        """Drive one more device from now on.

        Raises SetupError when its profile or address cannot be used, or its place is taken.
        """
        if adopted.device in self._devices:
            raise SetupError(f"{adopted.device} is adopted already")
        profile = self._profile(adopted.profile)
        match profile.links[0].type:
            case "modbus_rtu":
                self._add_unit(adopted, profile)
            case "card_frames":
                self._add_reader(adopted, profile)
            case "pjlink":
                self._add_display(adopted, profile)
            case "onvif":
                self._add_camera(adopted)
            case other:
                raise SetupError(
                    f"{adopted.device}: this version has no driver for {other}; update the box"
                )
        self._devices[adopted.device] = adopted
        for point in profile.points:
            self._deadbands[adopted.device, point.id] = point.deadband

    async def remove(self, device: DeviceId) -> None:
        """Drive a device no more and forget its password; raises SetupError for an unknown one."""
        await self._let_go(device)
        await self._notebook.forget(device)

    async def move(self, device: DeviceId, address: str) -> None:
        """Drive a device at another address from now on; raises SetupError as :meth:`add`."""
        before = await self._let_go(device)
        try:
            self.add(replace(before, address=address))
        except SetupError:
            self.add(before)
            raise

    async def command(self, device: DeviceId, command: str, argument: str | None) -> CommandResult:
        """Carry out a command; raises SetupError when the device takes none."""
        display = self._displays.get(device)
        if display is None:
            raise SetupError(f"{device} takes no commands")
        result = await display.command(command, argument or "")
        await self._keep_wishes()
        return result

    async def snapshot(self, device: DeviceId) -> bytes:
        """Return a JPEG of what a camera sees; raises DriverError."""
        return await self._camera(device).snapshot()

    def stream_of(self, device: DeviceId) -> tuple[str, Credentials | None]:
        """Return a camera's main stream and what it asks for; raises DriverError."""
        description = self._camera(device).description
        if description is None:
            raise UnreachableError(f"{device} has not answered yet; check its power and network")
        return description.main.uri, self._credentials(device)

    async def run(self) -> Never:
        """Run every driver until cancelled; one that fails is started again with a pause."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._go_on_keeping_wishes())
            while True:
                self._added.clear()
                for name in self._drivers.keys() - self._tasks.keys():
                    self._tasks[name] = tasks.create_task(keep_running(name, self._drivers[name]))
                await self._added.wait()

    async def _go_on_keeping_wishes(self) -> Never:
        """Write down wishes that end when a person at a display changes it by hand."""
        while True:
            await asyncio.sleep(WISHES_EVERY_S)
            await self._keep_wishes()

    async def _keep_wishes(self) -> None:
        for device, display in list(self._displays.items()):
            if device not in self._displays:
                continue  # let go of meanwhile
            try:
                await self._notebook.keep_wishes(device, display.desired.wishes)
            except DriverError as error:
                _log.warning("%s: what it is to be is not remembered: %s", device, error)

    def _profile(self, name: str) -> Profile:
        try:
            return self._catalog.profiles[ProfileId(name)]
        except KeyError as error:
            raise SetupError(
                f"there is no device profile {name}; add its file, or adopt with another"
            ) from error

    def _start(self, name: str, driver: Driver) -> None:
        self._drivers[name] = driver
        self._added.set()

    async def _stop(self, name: str) -> None:
        self._drivers.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _let_go(self, device: DeviceId) -> AdoptedDevice:
        """End a device's driver; on a bus, only its polls."""
        adopted = self._devices.pop(device, None)
        if adopted is None:
            raise SetupError(f"{device} is not adopted; the set-up page lists what is")
        for key in [key for key in self._deadbands if key[0] == device]:
            del self._deadbands[key]
        for owned in (self._readers, self._displays, self._cameras):
            owned.pop(device, None)
        await self._stop(device)
        for path, bus in list(self._buses.items()):
            bus.release(device)
            if not bus.units:
                del self._buses[path]
                await self._stop(f"bus {path}")
        return adopted

    def _require_free(self, path: Path) -> None:
        if path in self._buses or path in self.ports_taken():
            raise SetupError(f"{path} is another adopted device's; plug this one in elsewhere")

    def _add_unit(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_serial_address(adopted.address)
        if address.unit is None:
            raise SetupError(f"{adopted.address} names no unit; write …&unit=ID")
        settings = line_settings(profile, "modbus_rtu", address.baud)
        unit = AdoptedUnit(device=adopted.device, unit=address.unit, profile=profile)
        bus = self._buses.get(address.path)
        if bus is None:
            self._require_free(address.path)
            bus = ModbusBus(
                path=address.path,
                settings=settings,
                units=[unit],
                now_ms=self._now_ms,
                sink=self._sink,
                rng=self._rng,
            )
            self._buses[address.path] = bus
            self._start(f"bus {address.path}", bus.run)
            return
        if bus.settings != settings:
            raise SetupError(
                f"{address.path} runs at {bus.settings.baud} baud; set the new device to that"
            )
        try:
            bus.adopt(unit)
        except ValueError as error:
            raise SetupError(f"{error}; give one of the two another unit id") from error

    def _add_reader(self, adopted: AdoptedDevice, profile: Profile) -> None:
        address = parse_serial_address(adopted.address)
        self._require_free(address.path)
        reader = CardReader(
            device=adopted.device,
            path=address.path,
            settings=line_settings(profile, "card_frames", address.baud),
            now_ms=self._now_ms,
            sink=self._sink,
            rng=self._rng,
        )
        self._readers[adopted.device] = reader
        self._start(adopted.device, reader.run)

    def _add_display(self, adopted: AdoptedDevice, profile: Profile) -> None:
        parts = urlsplit(adopted.address)
        if parts.hostname is None:
            raise SetupError(f"{adopted.address!r} is no display's address")
        try:
            port = parts.port
        except ValueError as error:
            raise SetupError(f"{adopted.address!r} names no port: {error}") from error
        access = DisplayAccess(
            host=parts.hostname,
            port=port or profile.links[0].port or 4352,
            password=self._notebook.password(adopted.device),
        )
        display = PjlinkDisplay(
            adopted.device,
            access,
            profile,
            self._now_ms,
            self._sink,
            self._rng,
            desired=DesiredState(dict(self._notebook.wishes(adopted.device))),
        )
        self._displays[adopted.device] = display
        self._start(adopted.device, display.run)

    def _add_camera(self, adopted: AdoptedDevice) -> None:
        if self._worker is None:
            self._worker = CameraWorker(self._rng)
            self._start("cameras", self._worker.run)
        _, _, serial = adopted.device.partition("onvif:serial:")
        access = CameraAccess(
            address=adopted.address,
            credentials=self._credentials(adopted.device),
            serial=serial or None,
        )
        camera = OnvifCamera(
            adopted.device, access, self._worker, self._now_ms, self._sink, self._rng
        )
        self._cameras[adopted.device] = camera
        self._start(adopted.device, camera.run)

    def _camera(self, device: DeviceId) -> OnvifCamera:
        try:
            return self._cameras[device]
        except KeyError as error:
            raise SetupError(f"{device} is no camera") from error

    def _credentials(self, device: DeviceId) -> Credentials | None:
        """Return a camera's user and password; what was entered without a colon is admin's."""
        entered = self._notebook.password(device)
        if entered is None:
            return None
        user, colon, password = entered.partition(":")
        if not colon:
            user, password = "admin", entered
        return Credentials(user=user, password=password)
