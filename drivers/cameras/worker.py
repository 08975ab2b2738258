"""The daemon's side of the camera worker: starts it when first needed, restarts it when it dies."""

import asyncio
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Never, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from drivers import errors
from drivers.cameras import messages
from drivers.cameras.messages import (
    CameraAccess,
    CameraDescription,
    EventsPulled,
    ImagingField,
    ImagingValue,
    Motion,
    Preset,
    Reply,
    Request,
)
from drivers.errors import DriverError, ProtocolError, SetupError, UnreachableError

# Longer than the worker gives its own tasks: only a worker that hangs exceeds these.
DESCRIBE_S = 25.0
OTHER_S = 15.0
AT_ONCE_MAX = 32
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
STOP_S = 2.0
_COMMAND = (sys.executable, "-m", "drivers.cameras")
_ERRORS: dict[str, type[DriverError]] = {
    error.__name__: error
    for error in (
        errors.UnreachableError,
        errors.RefusedError,
        errors.LoginRefusedError,
        errors.ProtocolError,
        errors.SetupError,
    )
}

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer", bound=Reply)


class CameraWorker:
    """One child process for all cameras of a box; none runs before the first question.

    ``command`` starts it, a folder for its files added; a frozen bundle names its own. All
    questions raise UnreachableError (also when the worker dies meanwhile), RefusedError, which is
    LoginRefusedError for a wrong password, or ProtocolError.
    """

    def __init__(self, rng: random.Random, command: Sequence[str] = _COMMAND) -> None:
        self._rng = rng
        self._command = command
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)
        self._child: asyncio.subprocess.Process | None = None
        self._no_start = ""
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._number = 0

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None else None

    async def run(self) -> Never:
        """Keep the child alive once it is wanted; its end is the end of this task."""
        await self._wanted.wait()
        while True:
            async for attempt in AsyncRetrying(
                wait=self._backoff_s, retry=retry_if_exception_type(DriverError)
            ):
                with attempt:
                    await self._try_child()
            await asyncio.sleep(self._rng.uniform(BACKOFF_FIRST_S / 2, BACKOFF_FIRST_S))

    async def describe(self, access: CameraAccess) -> CameraDescription:
        """Return what a camera is; this is the first time that it gets a password."""
        asked = await self._ask(
            lambda number: messages.Describe(number, access), messages.Described, DESCRIBE_S
        )
        return asked.description

    async def read_clock(self, access: CameraAccess) -> int:
        """Return by how many milliseconds a camera's clock is ahead, ±500."""
        asked = await self._ask(
            lambda number: messages.ReadClock(number, access), messages.ClockRead
        )
        return asked.clock_offset_ms

    async def fetch_snapshot(self, access: CameraAccess, uri: str) -> bytes:
        """Return a JPEG picture of at most ``SNAPSHOT_BYTES_MAX``."""
        asked = await self._ask(
            lambda number: messages.FetchSnapshot(number, access, uri), messages.SnapshotFetched
        )
        return asked.jpeg

    async def list_presets(self, access: CameraAccess, profile: str) -> tuple[Preset, ...]:
        asked = await self._ask(
            lambda number: messages.ListPresets(number, access, profile), messages.PresetsListed
        )
        return asked.presets

    async def go_to_preset(self, access: CameraAccess, profile: str, preset: str) -> None:
        await self._ask(
            lambda number: messages.GoToPreset(number, access, profile, preset), messages.Done
        )

    async def set_preset(self, access: CameraAccess, profile: str, name: str) -> str:
        """Store where a camera looks now; returns the new position's token."""
        asked = await self._ask(
            lambda number: messages.SetPreset(number, access, profile, name), messages.PresetSet
        )
        return asked.preset

    async def remove_preset(self, access: CameraAccess, profile: str, preset: str) -> None:
        await self._ask(
            lambda number: messages.RemovePreset(number, access, profile, preset), messages.Done
        )

    async def go_home(self, access: CameraAccess, profile: str) -> None:
        await self._ask(lambda number: messages.GoHome(number, access, profile), messages.Done)

    async def move(
        self, access: CameraAccess, profile: str, motion: Motion, timeout_s: float
    ) -> None:
        """Turn until told otherwise, at most ``timeout_s``; a motion at rest stops."""
        await self._ask(
            lambda number: messages.Move(number, access, profile, motion, timeout_s), messages.Done
        )

    async def read_imaging(self, access: CameraAccess, source: str) -> tuple[ImagingValue, ...]:
        asked = await self._ask(
            lambda number: messages.ReadImaging(number, access, source), messages.ImagingRead
        )
        return asked.values

    async def set_imaging(
        self, access: CameraAccess, source: str, field: ImagingField, value: float
    ) -> None:
        await self._ask(
            lambda number: messages.SetImaging(number, access, source, field, value), messages.Done
        )

    async def use_h264(self, access: CameraAccess, profile: str) -> None:
        """Have a profile's picture encoded in H.264."""
        await self._ask(lambda number: messages.UseH264(number, access, profile), messages.Done)

    async def pull_events(self, access: CameraAccess, wait_s: int) -> EventsPulled:
        """Return what happened, after ``wait_s`` at the latest; the first call subscribes."""
        return await self._ask_now(
            lambda number: messages.PullEvents(number, access, wait_s),
            messages.EventsPulled,
            wait_s + OTHER_S,
        )

    async def unsubscribe(self, access: CameraAccess) -> None:
        """End a camera's subscription; harmless when there is none."""
        await self._ask_now(
            lambda number: messages.Unsubscribe(number, access), messages.Done, OTHER_S
        )

    async def _ask(
        self,
        build: Callable[[int], Request],
        expected: type[_Answer],
        timeout_s: float = OTHER_S,
    ) -> _Answer:
        async with self._slots:
            return await self._ask_now(build, expected, timeout_s)

    async def _ask_now(
        self, build: Callable[[int], Request], expected: type[_Answer], timeout_s: float
    ) -> _Answer:
        """Ask without a slot: who only waits for events must keep no question from its turn."""
        self._wanted.set()
        self._number += 1
        number = self._number
        reply = await self._exchange(number, build(number), timeout_s)
        if isinstance(reply, messages.Failed):
            raise _ERRORS.get(reply.kind, ProtocolError)(reply.reason)
        if not isinstance(reply, expected):
            raise ProtocolError(f"camera worker: {type(reply).__name__} answers another question")
        return reply

    async def _exchange(self, number: int, request: Request, timeout_s: float) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
                if self._child is None or self._child.stdin is None:
                    raise UnreachableError(
                        self._no_start or "camera worker: restarting; asked again soon"
                    )
                self._waiting[number] = waiting
                self._child.stdin.write(messages.encode(request))
                return await waiting
        except TimeoutError as error:
            self._kill_child()
            raise UnreachableError(
                f"camera worker: silent for {timeout_s:g} s; it is restarted"
            ) from error
        finally:
            self._waiting.pop(number, None)

    async def _try_child(self) -> None:
        self._ready.clear()
        try:
            await self._run_child()
        except SetupError as error:
            self._no_start = str(error)
            self._ready.set()  # whoever waits hears why there is none
            raise

    async def _run_child(self) -> None:
        """Run one child to its end; DriverError when it ended without having answered."""
        # A child that is killed cannot take its files away: they are its parent's.
        try:
            files = tempfile.TemporaryDirectory(prefix="schoolnode-cameras-")
        except OSError as error:
            raise SetupError(f"camera worker: {error}; free space for temporary files") from error
        with files as folder:
            await self._run_child_in(folder)

    async def _run_child_in(self, folder: str) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                *(*self._command, folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise SetupError(f"camera worker: {error}; reinstall the box's software") from error
        self._child, self._no_start = child, ""
        self._ready.set()
        answered = 0
        try:
            if child.stdout is None:
                raise AssertionError("stdout is a pipe")
            while (reply := await messages.read_reply(child.stdout)) is not None:
                answered += 1
                waiting = self._waiting.pop(reply.number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        finally:
            self._ready.clear()
            self._child = None
            self._fail_waiting()
            await _stop(child)
        _log.warning("camera worker ended with %s after %d answers", child.returncode, answered)
        if not answered:
            raise UnreachableError("camera worker: ends at once; see its messages above")

    def _kill_child(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.kill()

    def _fail_waiting(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(
                    UnreachableError("camera worker: died while asking; it is restarted")
                )
        self._waiting.clear()

    def _backoff_s(self, state: RetryCallState) -> float:
        longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(state.attempt_number, 16))
        return self._rng.uniform(longest / 2, longest)


async def _stop(child: asyncio.subprocess.Process) -> None:
    """Close the pipe, which ends a healthy worker, and kill any other."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await child.wait()
    except TimeoutError:
        _log.warning("camera worker: does not end by itself; killed")
    finally:
        # Also when this task is cancelled meanwhile: no worker outlives its daemon.
        if child.returncode is None:
            child.kill()
        await child.wait()
        if child.stdout is not None:
            await child.stdout.read()  # to its end, so that the pipe is closed
