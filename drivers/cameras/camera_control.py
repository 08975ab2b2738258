"""Turning one adopted ONVIF camera and setting its picture; the worker's end is `onvif_control`."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from drivers.cameras.messages import (
    CameraAccess,
    CameraDescription,
    ImagingField,
    ImagingValue,
    Motion,
    Preset,
)
from drivers.cameras.worker import CameraWorker
from drivers.entities import CommandResult, Outcome
from drivers.errors import DriverError, ProtocolError, RefusedError, UnreachableError
from drivers.reports import Reports

MOVE_S = 2.0
"""A camera ends a move by itself after this, unless told again."""
NUDGE_S = 0.4
STOP_TRIES = 3

Known = Callable[[], tuple[CameraAccess, CameraDescription]]
"""How a camera is reached and what it told last; raises UnreachableError before it did."""


class CameraControl:
    """``presets`` and ``imaging`` are what the camera told last, kept while it is away."""

    def __init__(self, worker: CameraWorker, known: Known, reports: Reports) -> None:
        self.presets: tuple[Preset, ...] = ()
        self.imaging: tuple[ImagingValue, ...] = ()
        self._worker = worker
        self._known = known
        self._reports = reports
        self._turn = asyncio.Lock()

    async def read(self) -> None:
        """Learn what can be turned and set; raises UnreachableError.

        A camera that refuses that, or answers it wrongly as some do, is used all the same.
        """
        access, known = self._known()
        with suppress(RefusedError, ProtocolError):
            if known.has_ptz:
                self.presets = await self._worker.list_presets(access, known.main.token)
        with suppress(RefusedError, ProtocolError):
            if known.video_source is not None:
                self.imaging = await self._worker.read_imaging(access, known.video_source)

    async def go_to_preset(self, preset: str) -> CommandResult:
        """Turn to a stored position; ONVIF acknowledges before the camera has arrived."""
        told = f"preset {self._name_of(preset)}"
        try:
            access, profile = self._turning()
            await self._worker.go_to_preset(access, profile, preset)
        except DriverError as error:
            return self._reports.result(told, Outcome.FAILED, str(error))
        return self._reports.result(told, Outcome.ACKNOWLEDGED)

    async def go_home(self) -> CommandResult:
        """Turn to the position the camera itself calls home."""
        try:
            access, profile = self._turning()
            await self._worker.go_home(access, profile)
        except DriverError as error:
            return self._reports.result("home", Outcome.FAILED, str(error))
        return self._reports.result("home", Outcome.ACKNOWLEDGED)

    async def set_preset(self, name: str) -> CommandResult:
        """Store where the camera looks now; verified by its list."""
        try:
            access, profile = self._turning()
            token = await self._worker.set_preset(access, profile, name)
            self.presets = await self._worker.list_presets(access, profile)
        except DriverError as error:
            return self._reports.result(f"set preset {name}", Outcome.FAILED, str(error))
        is_listed = any(preset.token == token for preset in self.presets)
        outcome = Outcome.VERIFIED if is_listed else Outcome.ACKNOWLEDGED
        return self._reports.result(f"set preset {name}", outcome)

    async def remove_preset(self, preset: str) -> CommandResult:
        """Forget a stored position; verified by the camera's list."""
        told = f"remove preset {self._name_of(preset)}"
        try:
            access, profile = self._turning()
            await self._worker.remove_preset(access, profile, preset)
            self.presets = await self._worker.list_presets(access, profile)
        except DriverError as error:
            return self._reports.result(told, Outcome.FAILED, str(error))
        is_listed = any(known.token == preset for known in self.presets)
        outcome = Outcome.ACKNOWLEDGED if is_listed else Outcome.VERIFIED
        return self._reports.result(told, outcome)

    async def move(self, motion: Motion) -> None:
        """Turn until :meth:`stop`, or for ``MOVE_S`` when nobody repeats it; raises DriverError.

        Who holds a key repeats it; what is repeated is not told again.
        """
        async with self._turn:
            access, profile = self._turning()
            await self._worker.move(access, profile, motion, MOVE_S)

    async def stop(self) -> None:
        """Stop turning; tried again, as a camera that goes on turning is worse than a late answer.

        Raises DriverError when it cannot be told; the camera then stops by itself.
        """
        async with self._turn:
            access, profile = self._turning()
            for left in reversed(range(STOP_TRIES)):
                try:
                    await self._worker.move(access, profile, Motion(), MOVE_S)
                except UnreachableError:
                    if not left:
                        raise
                else:
                    return

    async def nudge(self, word: str, motion: Motion) -> CommandResult:
        """Turn a little and stop."""
        try:
            await self.move(motion)
            try:
                await asyncio.sleep(NUDGE_S)
            finally:
                await self.stop()
        except DriverError as error:
            return self._reports.result(f"move {word}", Outcome.FAILED, str(error))
        return self._reports.result(f"move {word}", Outcome.ACKNOWLEDGED)

    def moved(self, motion: Motion, detail: str) -> None:
        """Note that a person turned the camera by hand; ``detail`` is why it stopped."""
        told = f"move {motion.pan:g} {motion.tilt:g} {motion.zoom:g}"
        self._reports.result(told, Outcome.ACKNOWLEDGED, detail)

    async def set_imaging(self, field: ImagingField, value: float) -> CommandResult:
        """Set one value of the picture, and read it back."""
        told = f"{field} {value:g}"
        try:
            access, known = self._known()
            source = known.video_source
            if source is None:
                raise RefusedError(f"camera {self._reports.device}: has no imaging service")
            await self._worker.set_imaging(access, source, field, value)
            self.imaging = await self._worker.read_imaging(access, source)
        except DriverError as error:
            return self._reports.result(told, Outcome.FAILED, str(error))
        found = next((each.value for each in self.imaging if each.field == field), None)
        if found == value:
            return self._reports.result(told, Outcome.VERIFIED)
        return self._reports.result(
            told, Outcome.FAILED, f"the camera keeps {found}; set it on the camera"
        )

    def _turning(self) -> tuple[CameraAccess, str]:
        """Return the profile that turns, and how to reach the camera; raises DriverError."""
        access, known = self._known()
        if not known.has_ptz:
            raise RefusedError(f"camera {self._reports.device}: cannot be turned")
        return access, known.main.token

    def _name_of(self, preset: str) -> str:
        """Return what people call a stored position; its token where it has no name here."""
        return next((known.name for known in self.presets if known.token == preset), preset)
