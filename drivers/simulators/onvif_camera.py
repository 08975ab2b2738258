"""An ONVIF camera's control side on real sockets: WS-Discovery, SOAP services and a snapshot.

The pictures themselves come from an RTSP server elsewhere; this device only tells its addresses.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from typing import Never

from aiohttp import web

from drivers.codecs import digest, ws_discovery
from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import Element, parse_strictly
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError
from drivers.simulators import onvif_replies as replies
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_encoders import Encoders, EncoderSettings
from drivers.simulators.onvif_events import EventService
from drivers.simulators.onvif_faults import FaultError, HungUpError
from drivers.simulators.onvif_habits import USUAL, CameraHabits
from drivers.simulators.onvif_media2 import Media2Service
from drivers.simulators.onvif_motor import Motor
from drivers.simulators.onvif_replies import CameraIdentity, CameraStream
from drivers.simulators.onvif_security import UsernameTokens
from drivers.transports.udp import UdpLink, multicast_socket, open_udp, sending_socket

SNAPSHOT_PATH = "/onvif/snapshot.jpg"
REQUEST_BYTES_MAX = 64 * 1024
_ANSWER_DELAY_MAX_S = 0.1  # the standard allows 0.5; devices on a LAN are quicker
# ONVIF Core §5.9.4.3, access class PRE_AUTH: these are answered before anyone signs in.
OPEN_OPERATIONS = frozenset({"GetSystemDateAndTime", "GetCapabilities", "GetServices"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMedia:
    """Where the streams are, what takes a picture (JPEG bytes), and whether it can be turned."""

    main: CameraStream
    sub: CameraStream
    snapshot: Callable[[], bytes]
    has_ptz: bool = True


class SimulatedOnvifCamera:
    """One camera on its own address; ``run`` is plugging it in, cancelling it unplugs.

    It answers probes only from ``interface.network``: the border of the LAN it stands in. With
    ``credentials`` all but ``OPEN_OPERATIONS`` needs a token, and the snapshot HTTP Digest.
    ``clock_offset_ms`` is how far its clock is ahead, ``delay_s`` how long it thinks about each
    question, ``habits`` what it does otherwise than others. The ledger gets one line a request.
    """

    def __init__(
        self,
        interface: IPv4Interface,
        media: CameraMedia,
        ledger: Ledger,
        now_ms: NowMs,
        rng: random.Random,
        *,
        name: str = "Classroom camera",
        credentials: Credentials | None = None,
        habits: CameraHabits = USUAL,
    ) -> None:
        self.host = str(interface.ip)
        self.identity = CameraIdentity(
            name=name,
            serial=f"SIM{rng.randrange(10**9):09d}",
            mac=":".join(f"{octet:02x}" for octet in (0x02, *rng.randbytes(5))),
            endpoint=uuid.UUID(int=rng.getrandbits(128), version=4).urn,
        )
        if (persona := habits.persona) is not None:
            self.identity = replace(
                self.identity,
                name=persona.name,
                manufacturer=persona.manufacturer,
                model=persona.name,
            )
        self.base = f"http://{self.host}:{habits.port}"
        self.address = f"{self.base}/onvif/device_service"
        self._interface = interface
        self._has_ptz = media.has_ptz
        self._settings = EncoderSettings({"main": media.main, "sub": media.sub}, ledger)
        self._snapshot = media.snapshot
        self._ledger = ledger
        self._rng = rng
        self.clock_offset_ms = 0
        self.delay_s = 0.0
        self._now_ms: NowMs = lambda: now_ms() + self.clock_offset_ms
        self.habits = habits
        self.events = EventService(self.base, ledger, self._now_ms, habits)
        self._motor = Motor(ledger, self._now_ms)
        self._encoders = Encoders(self._settings)
        self._media2 = Media2Service(
            self._settings,
            f"{self.base}{SNAPSHOT_PATH}",
            has_ptz=media.has_ptz,
            protocols=("RTSP", "RtspUnicast") if habits.plays_over_tcp else ("RtspUnicast",),
        )
        self._credentials = credentials
        self._tokens = (
            UsernameTokens(credentials, self._now_ms) if credentials is not None else None
        )
        self._challenge = digest.Challenge(
            scheme="digest", realm="camera", nonce=rng.randbytes(16).hex(), qop="auth"
        )

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> Never:
        """Serve until cancelled; SetupError or OSError when address or port is not free.

        ``on_ready``: it waits now.
        """
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.router.add_post("/onvif/{service}", self._answer_request)
        application.router.add_get(SNAPSHOT_PATH, self._answer_snapshot)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.habits.port).start()
            on_ready()
            self._ledger.write("plugged_in", endpoint=self.identity.endpoint)
            await self._discoverable()
        finally:
            self._ledger.write("unplugged", endpoint=self.identity.endpoint)
            self.events.restart()
            await runner.cleanup()

    async def _discoverable(self) -> Never:
        async with AsyncExitStack() as open_things:
            everyone = await open_things.enter_async_context(
                open_udp(
                    multicast_socket(
                        ws_discovery.MULTICAST_GROUP, ws_discovery.PORT, self._interface.ip
                    )
                )
            )
            ours = await open_things.enter_async_context(
                open_udp(sending_socket(self._interface.ip, ws_discovery.PORT))
            )
            hello = ws_discovery.build_hello(self._message_id(), self._target())
            ours.send(hello, ws_discovery.MULTICAST_GROUP, ws_discovery.PORT)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer_probes(everyone, ours))
                tasks.create_task(self._answer_probes(ours, ours))
        raise AssertionError("the probe tasks never return")

    async def _answer_probes(self, heard: UdpLink, ours: UdpLink) -> Never:
        while True:
            datagram = await heard.receive()
            if datagram.source not in self._interface.network:
                continue
            try:
                probe = ws_discovery.parse(datagram.data)
            except ProtocolError:
                continue
            if not isinstance(probe, ws_discovery.Probe) or not self._is_meant(probe):
                continue
            await asyncio.sleep(self._rng.uniform(0, _ANSWER_DELAY_MAX_S))
            answer = ws_discovery.build_probe_matches(
                self._message_id(), probe.message_id, self._target()
            )
            ours.send(answer, str(datagram.source), datagram.port)
            self._ledger.write("probe_answered", to=str(datagram.source))

    def _is_meant(self, probe: ws_discovery.Probe) -> bool:
        target = self._target()
        return set(probe.types) <= set(target.types) and all(
            any(ours.startswith(asked) for ours in target.scopes) for asked in probe.scopes
        )

    def _target(self) -> ws_discovery.Target:
        return ws_discovery.Target(
            endpoint=self.identity.endpoint,
            types=(ws_discovery.CAMERA_TYPE, "Device"),
            scopes=replies.scope_uris(self.identity),
            xaddrs=(self.address,),
        )

    def _message_id(self) -> str:
        return uuid.UUID(int=self._rng.getrandbits(128), version=4).urn

    async def _answer_request(self, request: web.Request) -> web.Response:
        try:
            envelope = parse_strictly(await request.read(), size_max=REQUEST_BYTES_MAX)
        except ProtocolError as error:
            self._ledger.write("request_refused", reason="not SOAP")
            return _soap(replies.fault("WellFormed", str(error)), 400)
        body = envelope.find(f"{{{replies.SOAP}}}Body")
        if body is None or not body.children:
            return _soap(replies.fault("WellFormed", "no operation"), 400)
        operation = body.children[0]
        has_token = envelope.first("UsernameToken") is not None
        self._ledger.write(
            "request",
            service=operation.namespace,
            operation=operation.local,
            has_token=has_token,
            has_authorization="Authorization" in request.headers,
        )
        await asyncio.sleep(self.delay_s)
        if self._tokens is not None and operation.local not in OPEN_OPERATIONS:
            try:
                self._tokens.check(envelope)
            except RefusedError as error:
                self._ledger.write("token_refused", operation=operation.local, reason=str(error))
                return _soap(replies.fault("NotAuthorized", "Sender not authorized"), 400)
        try:
            answer = replies.envelope(await self._answer(operation, envelope))
            return _soap(self.habits.dialect.write(answer), 200)
        except FaultError as error:
            return _soap(replies.fault(error.subcode, str(error)), 400)
        except HungUpError:
            self._ledger.write("hung_up", operation=operation.local)
            if request.transport is not None:
                request.transport.close()
            return _soap("", 503)  # into nothing

    async def _answer(self, operation: Element, envelope: Element) -> str:
        if operation.namespace in {replies.SERVICES["events"], replies.NOTIFICATION}:
            return await self.events.answer(operation, envelope)
        camera, left_out = self.identity, self.habits.left_out
        table: Mapping[str, Callable[[], str]] = {
            "GetSystemDateAndTime": lambda: replies.date_and_time(self._now_ms()),
            "GetDeviceInformation": lambda: replies.device_information(camera),
            "GetServices": lambda: replies.services(self.base, left_out),
            "GetCapabilities": lambda: replies.capabilities(
                self.base, left_out, plays_over_tcp=self.habits.plays_over_tcp
            ),
            "GetScopes": lambda: replies.scopes(camera),
            "GetNetworkInterfaces": lambda: replies.network_interfaces(
                camera, self.host, self._interface.network.prefixlen
            ),
            "GetProfiles": lambda: replies.profiles(self._settings.streams, has_ptz=self._has_ptz),
            "GetProfile": lambda: self._profile(operation.first_text("ProfileToken")),
            "GetVideoSources": lambda: replies.video_sources(self._settings.streams["main"]),
            "GetStreamUri": lambda: self._stream_uri(operation),
            "GetSnapshotUri": lambda: replies.media_uri(
                "GetSnapshotUri", f"{self.base}{SNAPSHOT_PATH}"
            ),
            **self._motor.operations(operation),
            **self._encoders.operations(operation),
        }
        if operation.namespace == replies.SERVICES["media2"]:
            table = self._media2.operations(operation)
        answer = table.get(operation.local)
        if answer is None or not self._is_offered(operation):
            raise FaultError("ActionNotSupported", f"{operation.local} is not supported")
        return answer()

    def _is_offered(self, operation: Element) -> bool:
        offered = {
            namespace
            for name, namespace in replies.SERVICES.items()
            if name not in self.habits.left_out
        }
        refused = set(self.habits.refused)
        if "no_snapshot" in self.habits.quirks:
            refused.add("GetSnapshotUri")
        return operation.namespace in offered and operation.local not in refused

    def _profile(self, token: str) -> str:
        self._settings.stream_of(token)
        return replies.profile(self._settings.streams, token, has_ptz=self._has_ptz)

    def _stream_uri(self, operation: Element) -> str:
        if operation.first_text("Protocol") == "RTSP" and not self.habits.plays_over_tcp:
            raise FaultError("InvalidStreamSetup", "no RTP within RTSP")
        token = operation.first_text("ProfileToken")
        return replies.media_uri("GetStreamUri", self._settings.stream_of(token).uri)

    async def _answer_snapshot(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        self._ledger.write("snapshot_request", has_authorization=bool(shown))
        if self._credentials is not None and not digest.is_answered(
            self._challenge, self._credentials, request.method, shown
        ):
            challenge = digest.challenge_value(self._challenge)
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        jpeg = await asyncio.to_thread(self._snapshot)
        self._ledger.write("snapshot", size=len(jpeg))
        return web.Response(body=jpeg, content_type="image/jpeg")


def _soap(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/soap+xml")
