"""A camera that is a program: a real RTSP server with H.264 and AAC, encoded while it is watched.

``/main`` and ``/sub`` show the same test card with its clock bar-code in two sizes and sound the
same tone. Media goes interleaved over TCP; UDP is refused as such cameras refuse it (461).
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

from drivers.codecs.digest import Credentials
from drivers.codecs.rtsp import MessageReader, Request, encode_frame
from drivers.entities import NowMs
from drivers.errors import ProtocolError
from drivers.simulators.ledger import Ledger
from drivers.simulators.live_encoder import (
    SAMPLE_RATE,
    TONE_HZ,
    VIDEO_CLOCK,
    EncodedPicture,
    EncodedSound,
    LiveEncoder,
    Sound,
    StreamFacts,
    StreamShape,
    snapshot_jpeg,
    stream_facts,
)
from drivers.simulators.onvif_camera import CameraMedia
from drivers.simulators.onvif_replies import CameraStream
from drivers.simulators.rtp_sender import RtpSender, picture_payloads, sound_payload
from drivers.simulators.rtsp_responder import TRACKS, RtspResponder

__all__ = ["STREAMS", "TONE_HZ", "RtspCamera"]

STREAMS: Mapping[str, StreamShape] = {
    "main": StreamShape(width=1280, height=720, frame_rate=25, bit_rate=1_500_000),
    "sub": StreamShape(width=320, height=180, frame_rate=10, bit_rate=200_000),
}
WAITING_BYTES_MAX = 1024 * 1024
"""A client that lets more wait loses packets, as on a camera with little memory."""

_REPORT_S = 2.0
_GOODBYE_S = 0.5
_READ_BYTES = 16 * 1024


@dataclass(slots=True)
class _Counts:
    frames: int = 0
    keyframes: int = 0
    sounds: int = 0
    dropped_packets: int = 0


class RtspCamera:
    """Serves within ``serving``; ``credentials`` of None let anybody in.

    Ledger: ``rtsp_play`` (session, path, client), each second ``rtsp_sent`` and at the end
    ``rtsp_teardown`` (session, path, and since PLAY: frames, keyframes, sounds, dropped_packets).
    """

    def __init__(
        self,
        ledger: Ledger,
        credentials: Credentials | None,
        *,
        now_ms: NowMs,
        chance: random.Random,
        session_timeout_s: int = 60,
        streams: Mapping[str, StreamShape] = STREAMS,
    ) -> None:
        self.silent: set[str] = set()
        """Streams of which nothing is sent, though every connection stays open and is answered."""
        self._ledger = ledger
        self._credentials = credentials
        self._now_ms = now_ms
        self._chance = chance
        self._timeout_s = session_timeout_s
        self._streams = streams
        self._address = ("", 0)
        self._broadcasts: dict[str, _Broadcast] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    def url(self, path: str) -> str:
        """Return the address of a stream, ``main`` or ``sub``, once serving."""
        return f"rtsp://{self._address[0]}:{self._address[1]}/{path}"

    def snapshot_jpeg(self) -> bytes:
        """Return a JPEG of now, in the size of ``/sub`` twice."""
        shape = self._streams["sub"]
        return snapshot_jpeg(2 * shape.width, 2 * shape.height, self._now_ms())

    def media(self) -> CameraMedia:
        """Return what an ONVIF camera tells of ``main`` and ``sub``, once serving."""
        told = {
            path: CameraStream(
                uri=self.url(path),
                width=shape.width,
                height=shape.height,
                fps=shape.frame_rate,
                kbps=shape.bit_rate // 1000,
            )
            for path, shape in self._streams.items()
        }
        return CameraMedia(main=told["main"], sub=told["sub"], snapshot=self.snapshot_jpeg)

    @asynccontextmanager
    async def serving(self, host: str, port: int = 0) -> AsyncIterator[None]:
        """Listen while the context lasts; port 0 takes a free one. Raises OSError."""
        tasks = asyncio.TaskGroup()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.create_task(self._serve(reader, writer))

        # Bound before the group begins, so that a port in use stays a plain OSError.
        server = await asyncio.start_server(
            accept, host, port, limit=_READ_BYTES, start_serving=False
        )
        self._address = server.sockets[0].getsockname()[:2]
        async with tasks:
            self._broadcasts = {
                path: _Broadcast(
                    shape, self._now_ms, self._chance, tasks, partial(self._is_silent, path)
                )
                for path, shape in self._streams.items()
            }
            try:
                await server.start_serving()
                yield
            finally:
                server.close()
                for writer in self._writers:
                    writer.transport.abort()
                for broadcast in self._broadcasts.values():
                    broadcast.stop()

    def _is_silent(self, path: str) -> bool:
        return path in self.silent

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        responder = RtspResponder(self._describe, self._credentials, self._chance, self._timeout_s)
        self._writers.add(writer)
        player: _Player | None = None
        messages = MessageReader()
        try:
            while not responder.is_over:
                # RFC 2326 §12.37: a client that is not heard of for the session's time is gone.
                async with asyncio.timeout(self._timeout_s):
                    data = await reader.read(_READ_BYTES)
                if not data:
                    break
                for event in messages.feed(data):
                    if isinstance(event, Request):
                        writer.write(responder.answer(event))
                if responder.plays and player is None:
                    player = _Player(responder, writer, self._ledger)
                    self._broadcasts[responder.path].join(player)
        except (OSError, TimeoutError, ProtocolError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            if player is not None:
                self._broadcasts[responder.path].leave(player)
                player.note("rtsp_teardown")
            await _close(writer)

    def _describe(self, path: str) -> str | None:
        """Return the session description of a path, or None if there is no such stream."""
        shape = self._streams.get(path)
        return None if shape is None else _session_description(shape)


class _Broadcast:
    """One path's encoder, running while there are players, and its packets to all of them."""

    def __init__(
        self,
        shape: StreamShape,
        now_ms: NowMs,
        chance: random.Random,
        tasks: asyncio.TaskGroup,
        is_silent: Callable[[], bool],
    ) -> None:
        self.shape = shape
        self._now_ms = now_ms
        self._chance = chance
        self._tasks = tasks
        self._is_silent = is_silent
        self._players: set[_Player] = set()
        self._encoder: LiveEncoder | None = None
        self._loop = asyncio.get_running_loop()

    def join(self, player: "_Player") -> None:
        self._players.add(player)
        if self._encoder is None:
            self._start()
        else:
            self._encoder.want_keyframe()

    def leave(self, player: "_Player") -> None:
        self._players.discard(player)
        if not self._players:
            self.stop()

    def stop(self) -> None:
        if self._encoder is not None:
            self._encoder.stop()
            self._encoder = None

    def _start(self) -> None:
        senders = (
            RtpSender(96, VIDEO_CLOCK, self._chance),
            RtpSender(97, self.shape.sample_rate, self._chance),
        )

        def deliver(encoded: EncodedPicture | EncodedSound) -> None:
            self._loop.call_soon_threadsafe(self._send, encoder, senders, encoded)

        encoder = LiveEncoder(self.shape, self._now_ms, deliver)
        self._encoder = encoder
        self._tasks.create_task(asyncio.to_thread(encoder.run))

    def _send(
        self,
        encoder: LiveEncoder,
        senders: tuple[RtpSender, RtpSender],
        encoded: EncodedPicture | EncodedSound,
    ) -> None:
        if encoder is not self._encoder or self._is_silent():
            return  # as well what an encoder delivers after its last player left
        match encoded:
            case EncodedPicture(timestamp=timestamp, units=units):
                track, payloads = 0, list(picture_payloads(units))
            case EncodedSound(timestamp=timestamp, data=data):
                track, payloads = 1, [sound_payload(data)]
        sender = senders[track]
        packets = sender.packets(timestamp, payloads)
        report = sender.report(encoder.began_ms / 1000, timestamp)
        for player in tuple(self._players):
            player.send(track, packets, report, encoded)


class _Player:
    """One client's PLAY."""

    def __init__(
        self, responder: RtspResponder, writer: asyncio.StreamWriter, ledger: Ledger
    ) -> None:
        self._session = responder.session
        self._path = responder.path
        self._channels = dict(responder.channels)
        self._transport = writer.transport
        self._ledger = ledger
        self._counts = _Counts()
        self._loop = asyncio.get_running_loop()
        self._report_at = dict.fromkeys(self._channels, 0.0)
        self._line_at = self._loop.time() + 1
        host, port = writer.get_extra_info("peername")[:2]
        ledger.write("rtsp_play", session=self._session, path=self._path, client=f"{host}:{port}")

    def send(
        self,
        track: int,
        packets: list[bytes],
        report: bytes,
        encoded: EncodedPicture | EncodedSound,
    ) -> None:
        if track not in self._channels or self._transport.is_closing():
            return
        counts = self._counts
        if self._transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            counts.dropped_packets += len(packets)
            return
        now_s = self._loop.time()
        media, control = self._channels[track]
        out = [encode_frame(media, packet) for packet in packets]
        if now_s >= self._report_at[track]:
            self._report_at[track] = now_s + _REPORT_S
            out.insert(0, encode_frame(control, report))
        self._transport.write(b"".join(out))
        match encoded:
            case EncodedPicture(keyframe=keyframe):
                counts.frames += 1
                counts.keyframes += keyframe
            case EncodedSound():
                counts.sounds += 1
        if now_s >= self._line_at:
            self._line_at = now_s + 1
            self.note("rtsp_sent")

    def note(self, kind: str) -> None:
        counts = self._counts
        self._ledger.write(
            kind,
            session=self._session,
            path=self._path,
            frames=counts.frames,
            keyframes=counts.keyframes,
            sounds=counts.sounds,
            dropped_packets=counts.dropped_packets,
        )


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close after what is written has left, or without waiting for a client that does not read."""
    writer.close()
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


@lru_cache
def _facts(shape: StreamShape) -> StreamFacts:
    return stream_facts(shape)


def _session_description(shape: StreamShape) -> str:
    facts = _facts(shape)
    sets = ",".join(base64.b64encode(unit).decode() for unit in (facts.sps, facts.pps))
    picture = (
        "packetization-mode=1",
        f"profile-level-id={facts.sps[1:4].hex()}",
        f"sprop-parameter-sets={sets}",
    )
    sound = (
        "streamtype=5",
        "profile-level-id=1",
        "mode=AAC-hbr",
        "sizelength=13",
        "indexlength=3",
        "indexdeltalength=3",
        f"config={facts.audio_config.hex()}",
    )
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=SchoolNode test camera",
        "t=0 0",
        "a=control:*",
        "m=video 0 RTP/AVP 96",
        f"a=rtpmap:96 H264/{VIDEO_CLOCK}",
        f"a=fmtp:96 {';'.join(picture)}",
        f"a=framerate:{shape.frame_rate}",
        f"a=control:{TRACKS[0]}",
    ]
    if shape.sound is not Sound.NONE:
        lines += [
            "m=audio 0 RTP/AVP 97",
            f"a=rtpmap:97 MPEG4-GENERIC/{SAMPLE_RATE}/1",
            f"a=fmtp:97 {';'.join(sound)}",
            f"a=control:{TRACKS[1]}",
        ]
    return "\r\n".join((*lines, ""))
