"""A stream whose media comes in datagrams: kept alive, heard of, and given up when it ends."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Never

import pytest

from drivers import rtsp_client
from drivers.codecs.rtp import RtpPacket, encode_rtp
from drivers.codecs.rtsp import MessageReader, Request
from drivers.codecs.sdp import Media, SessionDescription
from drivers.errors import UnreachableError
from drivers.rtsp_client import RtspStream, play
from drivers.simulators.rtsp_responder import RtspResponder

DESCRIPTION = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"


def everything(description: SessionDescription) -> tuple[Media, ...]:
    return description.media


@dataclass
class UdpCamera:
    """Answers RTSP, sends a datagram for each ``send``, and notes what it hears."""

    methods: list[str] = field(default_factory=list)
    reports: socket.socket = field(
        default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    )
    port: int = 0
    client_port: int = 0
    writer: asyncio.StreamWriter | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        responder = RtspResponder(lambda _: DESCRIPTION, None, random.Random(1), 2, over_udp=True)
        messages = MessageReader()
        while data := await self.read(reader):
            for event in messages.feed(data):
                assert isinstance(event, Request)
                self.methods.append(event.method)
                answer = responder.answer(event)
                if event.method == "SETUP":
                    ours = f";server_port=6000-{self.reports.getsockname()[1]}\r\n".encode()
                    head, _, rest = answer.partition(b"client_port=")
                    pair, _, rest = rest.partition(b"\r\n")
                    answer = head + b"client_port=" + pair + ours + rest
                writer.write(answer)
            self.client_port = responder.client_ports.get(0, 0)
        writer.transport.abort()
        self.ended.set()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(4096)
        except OSError:
            return b""  # the client is gone

    def send(self, number: int) -> None:
        packet = encode_rtp(RtpPacket(96, True, number, number, 7, b"\x61"))
        self.reports.sendto(packet, ("127.0.0.1", self.client_port))


@asynccontextmanager
async def playing() -> AsyncIterator[tuple[UdpCamera, RtspStream]]:
    camera = UdpCamera()
    with camera.reports:
        camera.reports.bind(("127.0.0.1", 0))
        camera.reports.setblocking(False)
        async with await asyncio.start_server(camera.serve, "127.0.0.1", 0) as server:
            url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live?transport=udp"
            async with (
                asyncio.timeout(20),
                play(url, None, everything, chance=random.Random(1)) as stream,
            ):
                yield camera, stream
            async with asyncio.timeout(5):
                await camera.ended.wait()


async def read_on(stream: RtspStream) -> Never:
    while True:
        await stream.read()


async def test_datagrams_are_read_and_the_session_is_kept_alive_and_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtsp_client, "LOOK_S", 0.05)
    async with playing() as (camera, stream):
        found: list[int] = []
        number = 0
        while "GET_PARAMETER" not in camera.methods or len(found) < 3:
            camera.send(number)
            found += [int.from_bytes(one.data[2:4], "big") for one in await stream.read()]
            number += 1
            await asyncio.sleep(0.005)
        assert found == list(range(len(found)))
        # An empty receiver report: version 2, no blocks, kind 201, one word of content.
        report = await asyncio.get_running_loop().sock_recv(camera.reports, 100)
        assert report[:4] == bytes.fromhex("80c90001")
    assert camera.methods[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]


async def test_a_camera_that_hangs_up_is_noticed_though_no_media_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtsp_client, "LOOK_S", 0.05)
    async with playing() as (camera, stream):
        camera.send(1)
        while not await stream.read():
            camera.send(2)
        assert camera.writer is not None
        camera.writer.close()
        with pytest.raises(UnreachableError, match="connection"):
            await read_on(stream)
