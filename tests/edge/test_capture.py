import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from drivers.codecs.digest import Credentials
from drivers.codecs.rtsp import MessageReader, Request, encode_frame
from drivers.codecs.sdp import Media, SessionDescription
from drivers.errors import RefusedError, UnreachableError
from drivers.opus_encoder import has_libopus
from drivers.simulators.ledger import Ledger
from drivers.simulators.rtp_sender import RtpSender, picture_payloads, sound_payload
from drivers.simulators.rtsp_camera import STREAMS, RtspCamera
from drivers.simulators.rtsp_responder import RtspResponder
from edge.demo.lesson_viewer import LessonViewer
from edge.lesson.capture.camera_capture import capture, choose_media, silence_of
from edge.lesson.capture.capture_events import (
    CaptureEvent,
    CaptureSink,
    MediaFragment,
    MediaGap,
    TakeInit,
)
from tests.system_needs import give_up, need

ADMIN = Credentials(user="admin", password="secret")
GSTREAMER = Path(__file__).with_name("gstreamer_camera.py")
PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300 ! rtph264pay"
)
SOUND = (
    "audiotestsrc is-live=true freq=1000 samplesperbuffer=480 ! audioconvert "
    "! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97"
)


# x264's of 1280x720 Baseline: FFmpeg 5.1, -s 1280x720 -profile:v baseline.
SPS = bytes.fromhex("6742c01fd9005005bb011000000300100000030320f1832480")
PPS = bytes.fromhex("68ce3c80")
EARLY = b"\x65early"
MUTE = (
    "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000\r\na=control:track2\r\n"
    "a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188\r\n"
)


CHANCE = random.Random(2)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def simulated_camera(folder: Path, port: int = 0) -> AsyncIterator[RtspCamera]:
    book = Ledger(folder / "camera.jsonl", now_ms)
    camera = RtspCamera(book, ADMIN, now_ms=now_ms, chance=random.Random(1))
    try:
        async with camera.serving("127.0.0.1", port):
            yield camera
    finally:
        book.close()


async def watch(
    url: str,
    enough: Callable[[LessonViewer], bool],
    credentials: Credentials | None = ADMIN,
) -> tuple[LessonViewer, list[CaptureEvent]]:
    """Capture until a viewer has had enough, 20 s at most."""
    viewer = LessonViewer()
    events: list[CaptureEvent] = []
    satisfied = asyncio.Event()

    def sink(event: CaptureEvent) -> None:
        events.append(event)
        if not isinstance(event, MediaGap):
            viewer.feed(event.data, now_ms())
        if enough(viewer):
            satisfied.set()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(take(url, sink, credentials))
        await satisfied.wait()
        task.cancel()
    return viewer, events


async def take(url: str, sink: CaptureSink, credentials: Credentials | None = ADMIN) -> None:
    await capture(url, credentials, sink, now_ms=now_ms, chance=random.Random(2))


def a_second(viewer: LessonViewer) -> bool:
    return len(viewer.frames) >= 26 and len(viewer.sounds) >= 10


@pytest.mark.parametrize("path", ["main", "sub"])
async def test_the_simulated_camera_is_seen_and_heard_with_its_clock(
    path: str, tmp_path: Path
) -> None:
    started_ms = now_ms()
    async with simulated_camera(tmp_path) as camera:
        viewer, events = await watch(camera.url(path), a_second)
    frames = list(viewer.frames)
    assert {(f.width, f.height) for f in frames} == {(STREAMS[path].width, STREAMS[path].height)}
    clocks = [frame.clock_ms or 0 for frame in frames]
    assert all(a < b for a, b in pairwise(clocks))
    assert all(
        started_ms <= clock <= frame.received_ms
        for clock, frame in zip(clocks, frames, strict=True)
    )
    # The take's time and the pictures' own clock tell the same steps.
    taken = [frame.decode_time / 90 for frame in frames]
    assert (taken[-1] - taken[0]) == pytest.approx(clocks[-1] - clocks[0], abs=200)
    assert all(sound.has_tone for sound in list(viewer.sounds)[2:])
    assert viewer.undecodable == 0
    assert not [event for event in events if isinstance(event, MediaGap)]
    fragments = [event for event in events if isinstance(event, MediaFragment)]
    assert all(started_ms <= fragment.capture_ms <= now_ms() for fragment in fragments)


async def test_gstreamers_server_is_captured_with_sound_and_a_password(tmp_path: Path) -> None:
    async with gstreamer_camera("secret") as url:
        viewer, events = await watch(url, lambda v: len(v.frames) >= 60 and len(v.sounds) >= 20)
        with pytest.raises(RefusedError, match="refused the user name or password"):
            await take(url, events.append, Credentials(user="admin", password="guess"))
    assert viewer.undecodable == 0
    assert all(sound.has_tone for sound in list(viewer.sounds)[2:])
    inits = [event for event in events if isinstance(event, TakeInit)]
    assert [init.track for init in inits] == [1, 2]
    entries = "stream=nb_read_frames"
    options = ["-v", "error", "-count_frames", "-of", "csv=p=0", "-show_entries", entries]
    for track in (1, 2):
        found = [e for e in events if isinstance(e, MediaFragment) and e.track == track]
        assert [f.number for f in found] == list(range(len(found)))
        assert all(a.decode_time < b.decode_time for a, b in pairwise(found))
        data = b"".join(e.data for e in events if not isinstance(e, MediaGap) and e.track == track)
        path = tmp_path / f"{track}.mp4"
        path.write_bytes(data)
        counted = await asyncio.to_thread(
            subprocess.run,
            ["ffprobe", *options, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert counted.stderr == ""
        assert int(counted.stdout) >= 60


@asynccontextmanager
async def gstreamer_camera(
    password: str, sound: str = SOUND, protocol: str = ""
) -> AsyncIterator[str]:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    known = await asyncio.to_thread(
        subprocess.run, ["/usr/bin/python3", "-c", probe], capture_output=True, check=False
    )
    if known.returncode:
        give_up("GStreamer is missing; run: apt install gir1.2-gst-rtsp-server-1.0")
    need("ffprobe", "ffmpeg")
    server = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", str(GSTREAMER), PICTURE, sound, password, protocol),
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(15):
            port = int(await server.stdout.readline())
        yield f"rtsp://127.0.0.1:{port}/main"
    finally:
        server.kill()
        await server.communicate()


def tone_of(rate: int, encoder: str) -> str:
    return (
        f"audiotestsrc is-live=true freq=1000 samplesperbuffer={rate // 50} ! audioconvert "
        f"! audio/x-raw,rate={rate},channels=1 ! {encoder}"
    )


OTHER_SOUNDS = {
    "opus": tone_of(48_000, "opusenc ! rtpopuspay name=pay1 pt=97"),
    "pcmu": tone_of(8_000, "mulawenc ! rtppcmupay name=pay1"),
    "pcma": tone_of(8_000, "alawenc ! rtppcmapay name=pay1"),
}


@pytest.mark.parametrize(("sound", "protocol"), [("opus", "udp"), ("pcmu", ""), ("pcma", "")])
async def test_gstreamers_opus_and_g711_are_heard_as_opus(
    sound: str, protocol: str, tmp_path: Path
) -> None:
    if sound != "opus" and not has_libopus():
        give_up("libopus is missing; run: apt install libopus0")
    async with gstreamer_camera("", OTHER_SOUNDS[sound], protocol) as url:
        viewer, events = await watch(url, lambda v: len(v.frames) >= 25 and len(v.sounds) >= 12)
    assert viewer.undecodable == 0
    assert all(heard.has_tone for heard in list(viewer.sounds)[2:])
    mimes = {event.track: event.mime for event in events if isinstance(event, TakeInit)}
    assert mimes[2] == 'audio/mp4; codecs="opus"'
    sounds = [e for e in events if isinstance(e, MediaFragment) and e.track == 2]
    assert all(a.decode_time + a.duration == b.decode_time for a, b in pairwise(sounds))
    path = tmp_path / "sound.mp4"
    path.write_bytes(
        b"".join(e.data for e in events if not isinstance(e, MediaGap) and e.track == 2)
    )
    told = await asyncio.to_thread(
        subprocess.run,
        [
            "ffprobe",
            "-v",
            "error",
            "-of",
            "csv=p=0",
            "-show_entries",
            "stream=codec_name",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (told.stdout.strip(), told.stderr) == ("opus", "")


async def test_sound_that_nobody_plays_is_left_out_with_the_remedy_and_the_picture_goes_on() -> (
    None
):
    said: list[str] = []
    seen = asyncio.Event()
    sound = tone_of(8_000, "avenc_g726 bitrate=32000 ! rtpg726pay name=pay1")

    def sink(event: CaptureEvent) -> None:
        assert event.track == 1
        seen.set()

    async with (
        gstreamer_camera("", sound) as url,
        asyncio.timeout(15),
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(
            capture(url, None, sink, now_ms=now_ms, chance=CHANCE, on_silence=said.append)
        )
        await seen.wait()
        task.cancel()
    assert len(said) == 1
    assert "G726" in said[0]
    assert "set its audio encoding to AAC, Opus or G.711" in said[0]


async def test_a_restarted_camera_ends_the_take_and_the_next_one_begins(tmp_path: Path) -> None:
    events: list[CaptureEvent] = []
    async with AsyncExitStack() as power:
        camera = await power.enter_async_context(simulated_camera(tmp_path))
        url = camera.url("sub")
        playing = asyncio.Event()

        def sink(event: CaptureEvent) -> None:
            events.append(event)
            playing.set()

        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(ends_unreachable(url, sink))
            await playing.wait()
            await power.aclose()
            async with asyncio.timeout(5):
                await ended
    with pytest.raises(UnreachableError, match="check its power"):
        await take(url, sink)
    async with simulated_camera(tmp_path, int(url.split(":")[2].split("/")[0])):
        viewer, _ = await watch(url, lambda v: len(v.frames) >= 3)
    assert viewer.frames[0].decode_time == 0


async def ends_unreachable(url: str, sink: CaptureSink) -> None:
    with pytest.raises(UnreachableError):
        await take(url, sink)


async def test_a_camera_that_plays_but_sends_nothing_is_unreachable_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.lesson.capture.camera_capture.START_S", 0.5)
    async with silent_camera(b"") as url, asyncio.timeout(10):
        with pytest.raises(UnreachableError, match="sends no picture"):
            await take(url, lambda _: None)


async def test_a_box_that_stood_still_itself_blames_no_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lesson.capture.camera_capture.STALL_S", 0.5)
    stood_s: list[float] = []

    def enough(viewer: LessonViewer) -> bool:
        if len(viewer.frames) == 10 and not stood_s:
            stood_s.append(1.5)
            time.sleep(stood_s[0])
        return len(viewer.frames) > 50

    async with simulated_camera(tmp_path) as camera:
        _, events = await watch(camera.url("sub"), enough)
    assert stood_s
    assert len([each for each in events if isinstance(each, TakeInit)]) == 2, "one take"


async def test_a_camera_that_stops_speaking_rtsp_is_unreachable() -> None:
    async with silent_camera(b"GARBAGE\r\n\r\n") as url, asyncio.timeout(10):
        with pytest.raises(UnreachableError, match="does not speak RTSP"):
            await take(url, lambda _: None)


async def test_sound_that_stops_ends_the_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.lesson.capture.camera_capture.STALL_S", 0.5)
    events: list[CaptureEvent] = []
    async with mute_camera() as url, asyncio.timeout(10):
        with pytest.raises(UnreachableError, match="check the microphone"):
            await take(url, events.append)
    assert [event.track for event in events if isinstance(event, TakeInit)] == [1, 2]
    # The first keyframe overtook the answer to PLAY and was not lost.
    first = next(event for event in events if isinstance(event, MediaFragment))
    assert first.keyframe
    assert first.data.endswith(EARLY)


@asynccontextmanager
async def mute_camera() -> AsyncIterator[str]:
    """Serve a camera that sends its first packets before it answers PLAY, and sound only once."""
    chance = random.Random(1)
    video, audio = RtpSender(96, 90_000, chance), RtpSender(97, 48_000, chance)

    def picture(number: int, last: bytes) -> bytes:
        payloads = picture_payloads((SPS, PPS, last))
        return b"".join(encode_frame(0, p) for p in video.packets(number * 4500, payloads))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        responder = RtspResponder(lambda _: MUTE, None, random.Random(1), 60)
        messages = MessageReader()
        while not responder.plays:
            for event in messages.feed(await reader.read(4096)):
                assert isinstance(event, Request)
                answer = responder.answer(event)
                if responder.plays:
                    (sound,) = audio.packets(0, [sound_payload(b"\x21" * 90)])
                    writer.write(picture(0, EARLY) + encode_frame(2, sound))
                    await asyncio.sleep(0.05)
                writer.write(answer)
        number = 0
        while not reader.at_eof() and not writer.is_closing():
            number += 1
            writer.write(picture(number, b"\x65later"))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(4096)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"


@asynccontextmanager
async def silent_camera(after_play: bytes) -> AsyncIterator[str]:
    """Serve a camera that agrees to everything and then sends only what it is told."""
    description = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        responder = RtspResponder(lambda _: description, None, random.Random(1), 60)
        messages = MessageReader()
        while data := await reader.read(4096):
            for event in messages.feed(data):
                assert isinstance(event, Request)
                writer.write(responder.answer(event))
                if event.method == "PLAY":
                    writer.write(after_play)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live"


def media(kind: str, encoding: str, *, to_camera: bool = False) -> Media:
    aac = {
        "mode": "AAC-hbr",
        "sizelength": "13",
        "indexlength": "3",
        "indexdeltalength": "3",
        "config": "1188",
    }
    return Media(
        kind=kind,
        payload_type=96,
        encoding=encoding,
        clock_rate=48000,
        parameters=aac if kind == "audio" else {},
        to_camera=to_camera,
    )


def describe(*sections: Media) -> SessionDescription:
    return SessionDescription(control="*", media=sections)


def test_back_channels_and_metadata_are_left_alone() -> None:
    video, audio = media("video", "H264"), media("audio", "MPEG4-GENERIC")
    others = media("application", "VND.ONVIF.METADATA"), media("audio", "PCMU", to_camera=True)
    assert tuple(choose_media(describe(*others, video, audio))) == (video, audio)
    assert tuple(choose_media(describe(*others, video))) == (video,)


def test_aac_is_preferred_where_a_camera_offers_several_sounds() -> None:
    video, pcmu, aac = (
        media("video", "H264"),
        media("audio", "PCMU"),
        media("audio", "MPEG4-GENERIC"),
    )
    description = describe(video, pcmu, aac)
    assert tuple(choose_media(description)) == (video, aac)
    assert silence_of(description) == ""


def test_a_camera_without_sound_is_seen_and_that_is_said() -> None:
    video = media("video", "H264")
    assert tuple(choose_media(describe(video))) == (video,)
    assert "plug in its microphone" in silence_of(describe(video))


def test_without_libopus_telephone_sound_is_left_out_and_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drivers.opus_encoder.has_libopus", lambda: False)
    video = media("video", "H264")
    sound = replace(media("audio", "PCMA"), clock_rate=8000)
    assert tuple(choose_media(describe(video, sound))) == (video,)
    assert "apt install libopus0" in silence_of(describe(video, sound))


def test_h265_and_sound_alone_are_refused_with_the_remedy() -> None:
    with pytest.raises(RefusedError, match=r"picture is H265.*H\.264"):
        choose_media(describe(media("video", "H265")))
    with pytest.raises(RefusedError, match="no picture"):
        choose_media(describe(media("audio", "MPEG4-GENERIC")))
