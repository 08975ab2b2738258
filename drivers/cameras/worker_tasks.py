"""The worker's side of the pipe: requests to sessions, answers to replies."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import assert_never

import aiohttp

from drivers.cameras import messages
from drivers.cameras.lean_wsdl import LeanWsdl
from drivers.cameras.onvif_control import OnvifControl
from drivers.cameras.onvif_session import OnvifSession
from drivers.entities import NowMs
from drivers.errors import DriverError, UnreachableError

SESSIONS_MAX = 512
AT_ONCE_MAX = 32
WAITING_MAX = 2 * SESSIONS_MAX  # pulls under way, one a camera and some that are just ending
DESCRIBE_S = 20.0
OTHER_S = 10.0
GOODBYE_S = 1.5  # the daemon waits for the worker's end for two seconds


async def answer_requests(
    read: Callable[[], Awaitable[messages.Request | None]],
    writer: asyncio.StreamWriter,
    *,
    now_ms: NowMs,
    wsdl: LeanWsdl,
) -> None:
    """Answer requests, many at once, until the daemon closes the pipe."""
    slots = asyncio.Semaphore(AT_ONCE_MAX)
    waits = asyncio.Semaphore(WAITING_MAX)
    async with _http() as http:
        sessions = _Sessions(http, now_ms, wsdl)

        async def answer(request: messages.Request) -> None:
            try:
                async with asyncio.timeout(_limit_s(request)):
                    reply = await sessions.answer(request)
            except DriverError as error:
                reply = _failed(request, error)
            except TimeoutError:
                reply = _failed(request, UnreachableError("camera: too slow; check its network"))
            finally:
                (waits if isinstance(request, messages.PullEvents) else slots).release()
            writer.write(messages.encode(reply))

        async with asyncio.TaskGroup() as tasks:
            running = set[asyncio.Task[None]]()
            while (request := await read()) is not None:
                await (waits if isinstance(request, messages.PullEvents) else slots).acquire()
                await writer.drain()
                task = tasks.create_task(answer(request))
                running.add(task)
                task.add_done_callback(running.discard)
            await sessions.end()  # before the pulls are cancelled: who waits knows its subscription
            for task in running:
                task.cancel()


def _limit_s(request: messages.Request) -> float:
    match request:
        case messages.Describe():
            return DESCRIBE_S
        case messages.PullEvents(wait_s=wait_s):
            return wait_s + OTHER_S
        case _:
            return OTHER_S


def _failed(request: messages.Request, error: DriverError) -> messages.Failed:
    return messages.Failed(request.number, type(error).__name__, str(error))


def _http() -> aiohttp.ClientSession:
    """One HTTP session; without a limit of connections, as each camera has one that waits."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=8)
    return aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=True)


class _Sessions:
    """The newest session of each address; a changed password or serial starts a new one."""

    def __init__(self, http: aiohttp.ClientSession, now_ms: NowMs, wsdl: LeanWsdl) -> None:
        self._http = http
        self._now_ms = now_ms
        self._wsdl = wsdl
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
            case messages.UseH264(profile=profile):
                await session.use_h264(profile)
            case messages.PullEvents(wait_s=wait_s):
                pulled, is_new = await session.pull_events(wait_s)
                offset_ms = session.offset_of(pulled.camera_ms)
                return messages.EventsPulled(request.number, pulled.events, offset_ms, is_new)
            case messages.Unsubscribe():
                await session.unsubscribe()
            case _:
                return await _control(session.control, request)
        return messages.Done(request.number)

    async def end(self) -> None:
        """Unsubscribe from every camera, as far as ``GOODBYE_S`` allows."""
        try:
            async with asyncio.timeout(GOODBYE_S), asyncio.TaskGroup() as tasks:
                for _, session in self._sessions.values():
                    tasks.create_task(session.unsubscribe())
        except TimeoutError:
            pass  # what is left ends by itself

    def _session(self, access: messages.CameraAccess) -> OnvifSession:
        known = self._sessions.get(access.address)
        if known is None or known[0] != access:
            known = (access, OnvifSession(access, self._http, self._now_ms, self._wsdl))
            self._sessions[access.address] = known
        self._sessions.move_to_end(access.address)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return known[1]


async def _control(control: OnvifControl, request: messages.ControlRequest) -> messages.Reply:
    reply: messages.Reply = messages.Done(request.number)
    match request:
        case messages.ListPresets(profile=profile):
            reply = messages.PresetsListed(request.number, await control.list_presets(profile))
        case messages.GoToPreset(profile=profile, preset=preset):
            await control.go_to_preset(profile, preset)
        case messages.SetPreset(profile=profile, name=name):
            reply = messages.PresetSet(request.number, await control.set_preset(profile, name))
        case messages.RemovePreset(profile=profile, preset=preset):
            await control.remove_preset(profile, preset)
        case messages.GoHome(profile=profile):
            await control.go_home(profile)
        case messages.Move(profile=profile, motion=motion, timeout_s=timeout_s):
            await control.move(profile, motion, timeout_s)
        case messages.ReadImaging(source=source):
            reply = messages.ImagingRead(request.number, await control.read_imaging(source))
        case messages.SetImaging(source=source, field=field, value=value):
            await control.set_imaging(source, field, value)
        case _:
            assert_never(request)
    return reply
