import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest

from drivers.codecs.digest import Credentials
from drivers.codecs.rtsp import Request
from drivers.codecs.rtsp_session import TrackPacket
from drivers.codecs.sdp import Media, SessionDescription
from drivers.errors import RefusedError, SetupError, UnreachableError
from drivers.rtsp_client import RtspStream, play
from drivers.simulators.clock_picture import read_clock
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.live_encoder import snapshot_jpeg
from drivers.simulators.rtsp_camera import STREAMS, RtspCamera
from drivers.simulators.rtsp_responder import RtspResponder
from tests.system_needs import need

ADMIN = Credentials(user="admin", password="secret 密码")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "camera.jsonl"


@pytest.fixture
async def camera(ledger: Path) -> AsyncIterator[RtspCamera]:
    book = Ledger(ledger, now_ms)
    camera = RtspCamera(book, ADMIN, now_ms=now_ms, chance=random.Random(1), session_timeout_s=3)
    async with camera.serving("127.0.0.1"):
        yield camera
    book.close()


def everything(description: SessionDescription) -> tuple[Media, ...]:
    return description.media


async def packets(stream: RtspStream, count: int) -> list[TrackPacket]:
    found: list[TrackPacket] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await stream.read()
    return found


async def test_ffmpeg_plays_picture_and_sound_over_tcp_with_a_password(
    camera: RtspCamera, tmp_path: Path
) -> None:
    need("ffmpeg", "ffmpeg")
    path = tmp_path / "recorded.mkv"
    address = camera.url("sub").replace("rtsp://", "rtsp://admin:secret%20密码@")
    ffmpeg = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", address, "-t", "2"),
        *("-c", "copy", str(path)),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, errors = await ffmpeg.communicate()
    assert (ffmpeg.returncode, errors) == (0, b"")
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        pictures = [
            frame.to_ndarray()[:180].astype(np.uint8) for frame in container.decode(video=0)
        ]
    clocks = [read_clock(picture) or 0 for picture in pictures]
    assert len(clocks) >= 10
    assert 0 not in clocks
    assert clocks == sorted(set(clocks))


async def test_several_players_share_one_encoder_and_it_rests_when_they_leave(
    camera: RtspCamera, ledger: Path
) -> None:
    broadcast = camera._broadcasts["sub"]
    assert broadcast._encoder is None
    url, chance = camera.url("sub"), random.Random(2)
    async with (
        play(url, ADMIN, everything, chance=chance) as first,
        play(url, ADMIN, everything, chance=chance) as second,
    ):
        seen = [await packets(stream, 40) for stream in (first, second)]
        assert broadcast._encoder is not None
        common = {packet.data for packet in seen[0]} & {packet.data for packet in seen[1]}
        assert len(common) >= 10
    async with asyncio.timeout(5):
        while True:
            lines = read_ledger(ledger)
            if [line["kind"] for line in lines].count("rtsp_teardown") == 2:
                break
            await asyncio.sleep(0.01)
    assert broadcast._encoder is None
    assert [line["kind"] for line in lines].count("rtsp_play") == 2
    ends = [line for line in lines if line["kind"] == "rtsp_teardown"]
    assert len(ends) == 2
    assert all(line["path"] == "sub" and line["keyframes"] for line in ends)


async def test_the_keep_alive_holds_a_session_past_its_timeout(camera: RtspCamera) -> None:
    loop = asyncio.get_running_loop()
    async with play(camera.url("sub"), ADMIN, everything, chance=random.Random(2)) as stream:
        end = loop.time() + 4.5
        while loop.time() < end:
            await packets(stream, 1)


async def test_a_client_that_falls_silent_is_dropped(camera: RtspCamera, ledger: Path) -> None:
    async with play(camera.url("sub"), ADMIN, everything, chance=random.Random(2)) as stream:
        stream._keep_alive_at = float("inf")
        with pytest.raises(UnreachableError, match="connection"):
            await packets(stream, 100_000)
    assert read_ledger(ledger)[-1]["kind"] == "rtsp_teardown"


async def test_a_wrong_password_is_refused_in_a_clear_sentence(camera: RtspCamera) -> None:
    wrong = Credentials(user="admin", password="guess")
    with pytest.raises(RefusedError, match="refused the user name or password"):
        async with play(camera.url("main"), wrong, everything, chance=random.Random(2)):
            raise AssertionError


async def test_an_unknown_path_is_refused(camera: RtspCamera) -> None:
    with pytest.raises(RefusedError, match="no such stream"):
        async with play(camera.url("third"), ADMIN, everything, chance=random.Random(2)):
            raise AssertionError


async def test_a_camera_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="check its power and network"):
        async with play("rtsp://127.0.0.1:1/", None, everything, chance=random.Random(2)):
            raise AssertionError


async def test_a_server_that_never_answers_is_unreachable_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.rtsp_client.HANDSHAKE_S", 0.3)
    left = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match="restart the camera"):
            async with play(f"rtsp://127.0.0.1:{port}/", None, everything, chance=random.Random(2)):
                raise AssertionError
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_bad_address_is_a_setup_error() -> None:
    with pytest.raises(SetupError):
        async with play("camera 5", None, everything, chance=random.Random(2)):
            raise AssertionError


async def test_a_port_in_use_is_a_plain_error(camera: RtspCamera, ledger: Path) -> None:
    port = int(camera.url("main").split(":")[2].split("/")[0])
    book = Ledger(ledger, now_ms)
    second = RtspCamera(book, None, now_ms=now_ms, chance=random.Random(1))
    with pytest.raises(OSError, match="in use"):
        async with second.serving("127.0.0.1", port):
            raise AssertionError
    book.close()


async def test_an_onvif_camera_tells_of_both_streams_what_they_are(camera: RtspCamera) -> None:
    media = camera.media()
    assert [stream.uri for stream in (media.main, media.sub)] == [
        camera.url("main"),
        camera.url("sub"),
    ]
    assert (media.main.width, media.main.height, media.main.fps) == (1280, 720, 25)
    assert media.sub.kbps == STREAMS["sub"].bit_rate // 1000


def test_a_snapshot_is_a_jpeg_with_the_clock_in_it() -> None:
    t_ms = 1_790_000_000_456
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    packet = av.Packet(snapshot_jpeg(640, 360, t_ms))
    (picture,) = [*decoder.decode(packet), *decoder.decode(None)]
    plane = picture.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    assert read_clock(luma[:360, :640]) == t_ms


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("SETUP", (("transport", "RTP/AVP;unicast;client_port=4588-4589"),), 461),
        ("SETUP", (("transport", "RTP/AVP/TCP;unicast;interleaved=0-256"),), 461),
        ("PLAY", (("session", "other"),), 454),
        ("RECORD", (), 501),
        ("DESCRIBE", (("require", "implicit-play"),), 551),
    ],
)
def test_what_a_camera_cannot_do_it_refuses(
    method: str, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    responder = RtspResponder(lambda path: path or None, None, random.Random(1), 60)
    uri = "rtsp://c/main/track1"
    answer = responder.answer(Request(method=method, uri=uri, headers=(("cseq", "5"), *headers)))
    assert answer.startswith(f"RTSP/1.0 {status} ".encode())
    assert b"CSeq: 5\r\n" in answer
    assert not responder.plays


def test_both_streams_have_pictures_that_divide_into_blocks() -> None:
    assert {(shape.width % 4, shape.height % 4) for shape in STREAMS.values()} == {(0, 0)}
