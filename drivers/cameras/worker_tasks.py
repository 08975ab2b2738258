"""The worker's side of the pipe: requests to sessions, answers to replies."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import assert_never

import aiohttp

from drivers.cameras import messages
from drivers.cameras.onvif_session import OnvifSession
from drivers.entities import NowMs
from drivers.errors import DriverError, UnreachableError

SESSIONS_MAX = 512
AT_ONCE_MAX = 32
DESCRIBE_S = 20.0
OTHER_S = 10.0


async def answer_requests(
    read: Callable[[], Awaitable[messages.Request | None]],
    writer: asyncio.StreamWriter,
    *,
    now_ms: NowMs,
) -> None:
    """Answer requests, many at once, until the daemon closes the pipe."""
    slots = asyncio.Semaphore(AT_ONCE_MAX)
    async with aiohttp.ClientSession(trust_env=False, auto_decompress=True) as http:
        sessions = _Sessions(http, now_ms)

        async def answer(request: messages.Request) -> None:
            try:
                async with asyncio.timeout(
                    DESCRIBE_S if isinstance(request, messages.Describe) else OTHER_S
                ):
                    reply = await sessions.answer(request)
            except DriverError as error:
                reply = _failed(request, error)
            except TimeoutError:
                reply = _failed(request, UnreachableError("camera: too slow; check its network"))
            finally:
                slots.release()
            writer.write(messages.encode(reply))

        async with asyncio.TaskGroup() as tasks:
            running = set[asyncio.Task[None]]()
            while (request := await read()) is not None:
                await slots.acquire()
                await writer.drain()
                task = tasks.create_task(answer(request))
                running.add(task)
                task.add_done_callback(running.discard)
            for task in running:
                task.cancel()


def _failed(request: messages.Request, error: DriverError) -> messages.Failed:
    return messages.Failed(request.number, type(error).__name__, str(error))


class _Sessions:
    """The newest session of each address; a changed password or serial starts a new one."""

    def __init__(self, http: aiohttp.ClientSession, now_ms: NowMs) -> None:
        self._http = http
        self._now_ms = now_ms
        self._sessions: OrderedDict[str, tuple[messages.CameraAccess, OnvifSession]] = OrderedDict()

    async def answer(self, request: messages.Request) -> messages.Reply:
        session = self._session(request.access)
        match request:
            case messages.Describe():
                return messages.Described(request.number, await session.describe())
            case messages.ReadClock():
                return messages.ClockRead(request.number, await session.read_clock())
            case messages.FetchSnapshot(uri=uri):
                return messages.SnapshotFetched(request.number, await session.fetch_snapshot(uri))
            case messages.ListPresets(profile=profile):
                presets = await session.list_presets(profile)
                return messages.PresetsListed(request.number, presets)
            case messages.GoToPreset(profile=profile, preset=preset):
                await session.go_to_preset(profile, preset)
                return messages.PresetReached(request.number)
            case _:
                assert_never(request)

    def _session(self, access: messages.CameraAccess) -> OnvifSession:
        known = self._sessions.get(access.address)
        if known is None or known[0] != access:
            known = (access, OnvifSession(access, self._http, self._now_ms))
            self._sessions[access.address] = known
        self._sessions.move_to_end(access.address)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return known[1]
