"""A camera of the capture's benchmark: RTSP with media that was encoded once and repeats.

H.264 by x264 and AAC by FFmpeg (PyAV, which only development has); telephone sound is noise, whose
coding costs the same as speech's. Encoding is over when it listens.
"""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.lesson_media import (
    FRAME_RATE,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    encode_picture,
    encode_sound,
)
from drivers.codecs.rtsp import MessageReader, Request, encode_frame
from drivers.simulators.rtp_sender import RtpSender, picture_payloads, sound_payload
from drivers.simulators.rtsp_responder import RtspResponder

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_SOUND_BITS = 64_000
_TELEPHONE_RATE, _TELEPHONE_BYTES = 8_000, 160
_REPORT_S = 2.0


class Sound(StrEnum):
    """What a stream sounds with."""

    NONE = ""
    AAC = (
        "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000\r\na=control:track2\r\n"
        "a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188\r\n"
    )
    PCMA = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:track2\r\n"


@dataclass(frozen=True, slots=True)
class _Stream:
    pictures: list[list[bytes]]
    """Payloads of each picture; they repeat without end."""
    sounds: list[bytes]
    sound: Sound

    @property
    def description(self) -> str:
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=benchmark\r\nt=0 0\r\na=control:*\r\n"
            f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=framerate:{FRAME_RATE}\r\n"
            f"a=fmtp:96 packetization-mode=1\r\na=control:track1\r\n{self.sound}"
        )


@asynccontextmanager
async def serving_camera(
    paths: Mapping[str, tuple[int, int, int, Sound]],
) -> AsyncIterator[int]:
    """Serve ``paths``: width, height, bits a second and sound of each; yields the port."""
    encoded: dict[tuple[int, int, int], list[list[bytes]]] = {}
    streams: dict[str, _Stream] = {}
    for path, (width, height, bits, sound) in paths.items():
        shape = width, height, bits
        if shape not in encoded:
            samples = encode_picture(*shape)
            encoded[shape] = [list(picture_payloads(_units(one.data))) for one in samples]
        sounds = [sound_payload(one.data) for one in encode_sound(_SOUND_BITS)]
        if sound is Sound.PCMA:
            noise = random.Random(5)
            sounds = [noise.randbytes(_TELEPHONE_BYTES) for _ in range(500)]
        streams[path] = _Stream(encoded[shape], sounds, sound)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(streams, reader, writer)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _serve(
    streams: Mapping[str, _Stream], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    def describe(path: str) -> str | None:
        return streams[path].description if path in streams else None

    chance = random.Random(1)
    responder = RtspResponder(describe, None, chance, 60, over_udp=True)
    messages, playing = MessageReader(), None
    async with asyncio.TaskGroup() as tasks:
        while data := await _read(reader):
            for event in messages.feed(data):
                if isinstance(event, Request):
                    writer.write(responder.answer(event))
            if responder.plays and playing is None:
                playing = tasks.create_task(_play(streams[responder.path], responder, writer))
        if playing is not None:
            playing.cancel()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return what a client says, nothing once it is gone."""
    try:
        return await reader.read(4096)
    except OSError:
        return b""


async def _play(stream: _Stream, responder: RtspResponder, writer: asyncio.StreamWriter) -> None:
    """Send each picture and each sound when it is due."""
    is_telephone = stream.sound is Sound.PCMA
    rate, step = (
        (_TELEPHONE_RATE, _TELEPHONE_BYTES) if is_telephone else (SAMPLE_RATE, FRAME_SAMPLES)
    )
    chance = random.Random(2)
    senders = RtpSender(96, 90_000, chance), RtpSender(8 if is_telephone else 97, rate, chance)
    loop = asyncio.get_running_loop()
    began_s, numbers, reported_s = loop.time(), [0, 0], -_REPORT_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:

        def send(track: int, packets: list[bytes], *, control: bool = False) -> None:
            if track in responder.client_ports:
                port = responder.client_ports[track] + control
                for packet in packets:
                    datagrams.sendto(packet, ("127.0.0.1", port))
            elif track in responder.channels:
                channel = responder.channels[track][control]
                writer.write(b"".join(encode_frame(channel, packet) for packet in packets))

        while True:
            dues_s = numbers[0] / FRAME_RATE, numbers[1] * step / rate
            track = 0 if not stream.sound or dues_s[0] <= dues_s[1] else 1
            await asyncio.sleep(began_s + dues_s[track] - loop.time())
            number = numbers[track]
            numbers[track] += 1
            if track == 0:
                timestamp = number * 90_000 // FRAME_RATE
                payloads = stream.pictures[number % len(stream.pictures)]
            else:
                timestamp = number * step
                payloads = [stream.sounds[number % len(stream.sounds)]]
            send(track, senders[track].packets(timestamp, payloads))
            if dues_s[track] - reported_s >= _REPORT_S:
                reported_s = dues_s[track]
                for one, clock in enumerate(senders):
                    at = round(reported_s * (90_000, rate)[one])
                    send(one, [clock.report(1_790_000_000.0, at)], control=True)


def _units(stream: bytes) -> list[bytes]:
    """Split x264's byte stream (H.264 annex B)."""
    return [unit for unit in _START_CODE.split(stream) if unit]
