"""One adopted ONVIF camera: description, presence, clock, events and pictures."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Never

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from drivers.cameras.camera_control import CameraControl
from drivers.cameras.event_states import EventStates
from drivers.cameras.messages import CameraAccess, CameraDescription, EventsPulled
from drivers.cameras.outages import Loss, Outages, StreamWatch
from drivers.cameras.worker import CameraWorker
from drivers.entities import (
    CommandResult,
    DeviceId,
    EventSink,
    NowMs,
    Outcome,
    Quality,
)
from drivers.errors import (
    DriverError,
    LoginRefusedError,
    RefusedError,
    UnreachableError,
    trouble_of,
)
from drivers.reports import CLOCK_POINT, Reports
from firmware_profiles.model import Event

STATUS_S = 30.0
PULL_S = 25
"""How long a camera may keep a pull for events; its answer is also its sign of life."""
PULL_PAUSE_S = 0.2
EVENTS_AGAIN_S = 5.0
EVENTS_AGAIN_MAX_S = 120.0
CLOCK_OFFSET_GOOD_MS = 5_000
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 30.0
BACKOFF_REFUSED_S = 120.0  # cameras lock out after a few wrong passwords
GOODBYE_S = 2.0
_MS = 1000


class OnvifCamera:
    """One camera; ``run`` watches it, everything else may be called from other tasks.

    ``description`` is what the camera told last, kept while it is away. ``status_s`` is the period
    of the watch, spread by a tenth so that hundreds of cameras are not asked at once; a camera that
    answers pulls for ``events`` (of its profile) is not asked otherwise. ``outages`` is its
    ledger; an older one may be put in its place. ``control`` turns it and sets its picture.
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
        events: Sequence[Event] = (),
        status_s: float = STATUS_S,
    ) -> None:
        self.description: CameraDescription | None = None
        self.outages = Outages()
        self._device = device
        self._access = access
        self._worker = worker
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        source = f"onvif {access.address}"
        self._states = EventStates(device, events, source)
        self._wants_events = any(event.format == "onvif" for event in events)
        self._status_s = status_s
        self._reports = Reports(device, source, now_ms, sink)
        self.control = CameraControl(worker, lambda: (self._access, self.known()), self._reports)

    async def run(self) -> Never:
        """Watch the camera until cancelled; a camera that comes back is described anew."""
        try:
            while True:
                async for attempt in AsyncRetrying(
                    wait=self._backoff_s, retry=retry_if_exception_type(DriverError)
                ):
                    with attempt:
                        await self._watch()
                await asyncio.sleep(self._rng.uniform(BACKOFF_FIRST_S / 2, BACKOFF_FIRST_S))
        finally:
            if self.description is not None and self.description.has_events:
                with suppress(DriverError, TimeoutError):
                    async with asyncio.timeout(GOODBYE_S):
                        await self._worker.unsubscribe(self._access)

    async def snapshot(self) -> bytes:
        """Return a JPEG picture as it is now.

        Raises UnreachableError before the first description, RefusedError when the camera has no
        snapshots, and what ``CameraWorker.fetch_snapshot`` raises.
        """
        uri = self.known().snapshot_uri
        if uri is None:
            raise RefusedError(f"camera {self._device}: offers no snapshot; use its stream")
        return await self._worker.fetch_snapshot(self._access, uri)

    @property
    def mac(self) -> str | None:
        """The hardware address by which the camera is known, None before it told one."""
        return self._access.mac

    async def use_h264(self) -> CommandResult:
        """Have the camera encode its pictures in H.264; verified by what it tells then."""
        try:
            known = self.known()
            for stream in (known.main, known.sub):
                if stream is not None and stream.encoding != "H264":
                    await self._worker.use_h264(self._access, stream.token)
            self.description = description = await self._worker.describe(self._access)
        except DriverError as error:
            return self._reports.result("use_h264", Outcome.FAILED, str(error))
        self._tell_addresses(description)
        if description.main.encoding == "H264":
            return self._reports.result("use_h264", Outcome.VERIFIED)
        return self._reports.result(
            "use_h264",
            Outcome.FAILED,
            f"the camera keeps {description.main.encoding}; set its video encoding to H.264 on its "
            "own page",
        )

    def noted(self, told: str) -> CommandResult:
        """Report what a person said of the camera, which it need not know itself."""
        return self._reports.result(told, Outcome.VERIFIED)

    def known(self) -> CameraDescription:
        """Return what the camera told last; raises UnreachableError before it did."""
        if self.description is None:
            raise UnreachableError(f"camera {self._device}: has not answered yet; check its power")
        return self.description

    def stream_watch(self, seen_by: str) -> StreamWatch:
        """Return where one who plays a stream tells whether it comes, for the ledger."""
        return StreamWatch(
            lost=lambda reason: self._lost(Loss.STREAM, reason, seen_by),
            back=lambda: self._back(Loss.STREAM, seen_by),
            leave=lambda: self.outages.leave(Loss.STREAM, seen_by),
        )

    def _lost(self, loss: Loss, reason: str, seen_by: str = "") -> None:
        self.outages.lost(loss, reason, self._now_ms(), seen_by)

    def _back(self, loss: Loss, seen_by: str = "") -> None:
        outage = self.outages.back(loss, self._now_ms(), seen_by)
        if outage is not None and outage.until_ms is not None:
            lasted_s = (outage.until_ms - outage.since_ms) / _MS
            self._reports.reading(f"recovery_{loss}", lasted_s, unit="s", reason=outage.reason)

    async def _watch(self) -> None:
        """Raise DriverError while the camera cannot be described; return when it went away."""
        is_described = False
        try:
            description = await self._worker.describe(self._access)
            self.description = description
            is_described = True
            if self._access.mac is None:
                # An address that another device takes over is noticed even without a serial number.
                self._access = replace(self._access, mac=description.mac)
            self._back(Loss.CONTROL)
            self._reports.presence.tell(online=True, reason="answers")
            self._tell_addresses(description)
            self._tell_clock(description.clock_offset_ms)
            await self.control.read()
            await self._follow(description)
        except DriverError as error:
            if self._reports.presence.online:
                self._lost(Loss.CONTROL, str(error))
            self._reports.presence.tell(online=False, reason=str(error), trouble=trouble_of(error))
            self._reports.reading("reachable", "no", reason=str(error))
            if not is_described:
                raise

    async def _follow(self, description: CameraDescription) -> None:
        """Pull events and read the clock until the camera is gone: then DriverError."""
        loop = asyncio.get_running_loop()
        pulls = self._wants_events and description.has_events
        failures, pull_at_s = 0, loop.time()
        while True:
            if not pulls or loop.time() < pull_at_s:
                wait_s = self._status_s * self._rng.uniform(0.9, 1.1)
                await asyncio.sleep(min(wait_s, pull_at_s - loop.time()) if pulls else wait_s)
            if pulls and loop.time() >= pull_at_s:
                begun_s = loop.time()
                try:
                    pulled = await self._worker.pull_events(self._access, PULL_S)
                except DriverError as error:
                    self._lost(Loss.EVENTS, str(error))
                    longest = min(EVENTS_AGAIN_MAX_S, EVENTS_AGAIN_S * 2 ** min(failures, 8))
                    if failures and isinstance(error, LoginRefusedError):
                        # Not for its clock, which was read since; as BACKOFF_REFUSED_S.
                        longest = EVENTS_AGAIN_MAX_S
                    failures += 1
                    pull_at_s = loop.time() + self._rng.uniform(longest / 2, longest)
                else:
                    failures = 0
                    self._take_events(pulled)
                    # A camera that does not wait, although asked to, is not asked all the time.
                    is_hasty = not pulled.events and loop.time() - begun_s < 1
                    pull_at_s = loop.time() + (EVENTS_AGAIN_S if is_hasty else PULL_PAUSE_S)
                    if pulled.clock_offset_ms is not None:
                        self._tell_clock(pulled.clock_offset_ms)
                        continue
            self._tell_clock(await self._worker.read_clock(self._access))

    def _take_events(self, pulled: EventsPulled) -> None:
        self._back(Loss.EVENTS)
        if pulled.is_new:
            self._states.forget()
        offset_ms = pulled.clock_offset_ms or 0
        for event in self._states.take(pulled.events, self._now_ms(), offset_ms):
            self._sink(event)

    def _tell_addresses(self, description: CameraDescription) -> None:
        self._reports.reading("stream_main", description.main.uri)
        if description.sub is not None:
            self._reports.reading("stream_sub", description.sub.uri)
        if description.snapshot_uri is not None:
            self._reports.reading("snapshot", description.snapshot_uri)

    def _tell_clock(self, offset_ms: int) -> None:
        is_good = abs(offset_ms) <= CLOCK_OFFSET_GOOD_MS
        self._reports.reading("reachable", "yes")
        self._reports.reading(
            CLOCK_POINT,
            offset_ms / _MS,
            unit="s",
            quality=Quality.GOOD if is_good else Quality.UNCERTAIN,
            reason="" if is_good else "the camera's clock is wrong; set its time server",
        )

    def _backoff_s(self, state: RetryCallState) -> float:
        refused = state.outcome is not None and isinstance(state.outcome.exception(), RefusedError)
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(state.attempt_number, 16))
        return (BACKOFF_REFUSED_S if refused else 0.0) + self._rng.uniform(longest / 2, longest)
