"""One adopted ONVIF camera: its description, presence, clock and pictures."""

import asyncio
import random
from typing import Never

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from drivers.cameras.messages import CameraAccess, CameraDescription, Preset
from drivers.cameras.worker import CameraWorker
from drivers.entities import (
    CommandResult,
    DeviceId,
    EventSink,
    Measurement,
    NowMs,
    Outcome,
    Presence,
    Quality,
)
from drivers.errors import DriverError, RefusedError, UnreachableError

STATUS_S = 30.0
CLOCK_OFFSET_GOOD_MS = 5_000
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 30.0
BACKOFF_REFUSED_S = 120.0  # cameras lock out after a few wrong passwords
_MS = 1000


class OnvifCamera:
    """One camera; ``run`` watches it, everything else may be called from other tasks.

    ``description`` is what the camera told last, kept while it is away. ``status_s`` is the period
    of the watch, spread by a tenth so that hundreds of cameras are not asked at once.
    """

    def __init__(
        self,
        device: DeviceId,
        access: CameraAccess,
        worker: CameraWorker,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
        *,
        status_s: float = STATUS_S,
    ) -> None:
        self.description: CameraDescription | None = None
        self._device = device
        self._access = access
        self._worker = worker
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._status_s = status_s
        self._online: bool | None = None

    async def run(self) -> Never:
        """Watch the camera until cancelled; a camera that comes back is described anew."""
        while True:
            async for attempt in AsyncRetrying(
                wait=self._backoff_s, retry=retry_if_exception_type(DriverError)
            ):
                with attempt:
                    await self._watch()
            await asyncio.sleep(self._rng.uniform(BACKOFF_FIRST_S / 2, BACKOFF_FIRST_S))

    async def snapshot(self) -> bytes:
        """Return a JPEG picture as it is now.

        Raises UnreachableError before the first description, RefusedError when the camera has no
        snapshots, and what ``CameraWorker.fetch_snapshot`` raises.
        """
        uri = self._known().snapshot_uri
        if uri is None:
            raise RefusedError(f"camera {self._device}: offers no snapshot; use its stream")
        return await self._worker.fetch_snapshot(self._access, uri)

    async def presets(self) -> tuple[Preset, ...]:
        """Return the stored positions, none for a camera that does not move."""
        known = self._known()
        if not known.has_ptz:
            return ()
        return await self._worker.list_presets(self._access, known.main.token)

    async def go_to_preset(self, preset: str) -> CommandResult:
        """Turn to a stored position; ONVIF acknowledges before the camera has arrived."""
        try:
            await self._worker.go_to_preset(self._access, self._known().main.token, preset)
        except DriverError as error:
            return self._report(preset, Outcome.FAILED, str(error))
        return self._report(preset, Outcome.ACKNOWLEDGED, "")

    def _known(self) -> CameraDescription:
        if self.description is None:
            raise UnreachableError(f"camera {self._device}: has not answered yet; check its power")
        return self.description

    async def _watch(self) -> None:
        """Raise DriverError while the camera cannot be described; return when it went away."""
        is_described = False
        try:
            self.description = await self._worker.describe(self._access)
            is_described = True
            self._set_presence(online=True, reason="answers")
            self._tell_addresses(self.description)
            self._tell_clock(self.description.clock_offset_ms)
            while True:
                await asyncio.sleep(self._status_s * self._rng.uniform(0.9, 1.1))
                self._tell_clock(await self._worker.read_clock(self._access))
        except DriverError as error:
            self._set_presence(online=False, reason=str(error))
            self._measure("reachable", "no", reason=str(error))
            if not is_described:
                raise

    def _tell_addresses(self, description: CameraDescription) -> None:
        self._measure("stream_main", description.main.uri)
        if description.sub is not None:
            self._measure("stream_sub", description.sub.uri)
        if description.snapshot_uri is not None:
            self._measure("snapshot", description.snapshot_uri)

    def _tell_clock(self, offset_ms: int) -> None:
        is_good = abs(offset_ms) <= CLOCK_OFFSET_GOOD_MS
        self._measure("reachable", "yes")
        self._measure(
            "clock_offset",
            offset_ms / _MS,
            unit="s",
            quality=Quality.GOOD if is_good else Quality.UNCERTAIN,
            reason="" if is_good else "the camera's clock is wrong; set its time server",
        )

    def _measure(
        self,
        point: str,
        value: float | str,
        *,
        unit: str = "",
        quality: Quality = Quality.GOOD,
        reason: str = "",
    ) -> None:
        self._sink(
            Measurement(
                device=self._device,
                point=point,
                value=value,
                unit=unit,
                quality=quality,
                observed_ms=self._now_ms(),
                source=f"onvif {self._access.address}",
                reason=reason,
            )
        )

    def _report(self, preset: str, outcome: Outcome, detail: str) -> CommandResult:
        result = CommandResult(
            device=self._device,
            command=f"preset {preset}",
            outcome=outcome,
            observed_ms=self._now_ms(),
            detail=detail,
        )
        self._sink(result)
        return result

    def _set_presence(self, *, online: bool, reason: str) -> None:
        changed = self._online is not online
        self._online = online
        if changed:
            self._sink(
                Presence(
                    device=self._device,
                    online=online,
                    observed_ms=self._now_ms(),
                    reason=reason,
                )
            )

    def _backoff_s(self, state: RetryCallState) -> float:
        refused = state.outcome is not None and isinstance(state.outcome.exception(), RefusedError)
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(state.attempt_number, 16))
        return (BACKOFF_REFUSED_S if refused else 0.0) + self._rng.uniform(longest / 2, longest)
