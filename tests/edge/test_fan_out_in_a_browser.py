"""Chromium plays what the fan-out sends: frames advance and sound is decoded, without a touch."""

import asyncio
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, async_playwright

from edge.lesson.classroom_stream import StreamItem
from edge.lesson.fan_out import FanOut
from edge.lesson.status import Cause, LessonStatus, Phase
from sync.lessons.fragment_log import Kind, TakeId
from tests.chromium import ARGUMENTS, SOUND_UNTOUCHED, need_chromium
from tests.system_needs import need

STATIC = Path(__file__).parents[2] / "edge" / "pages" / "static"
PICTURE, SOUND = 1, 2
SECONDS = 12

PAGE = """<!doctype html><meta charset="utf-8"><title>classroom</title>
<link rel="stylesheet" href="/static/classroom.css">
<div id="player" style="width:640px;height:360px"></div>
<script src="/static/media_lane.js"></script>
<script src="/static/picture_stage.js"></script>
<script src="/static/replay.js"></script>
<script src="/static/player.js"></script>
<script>
window.told = [];
schoolnodePlayer.start(document.getElementById("player"),
  {url: "/classroom/stream", soundLabel: "sound", onstate: (now) => window.told.push(now.state)});
</script>"""

# Chromium takes what Playwright evaluates for a touch; this is its rule without that.
SOUND_NEEDS_A_TOUCH = """
let touched = false;
addEventListener("pointerdown", (event) => { touched = touched || event.isTrusted; }, true);
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (this.muted || touched) { return play.call(this); }
  return Promise.reject(new DOMException("touch first", "NotAllowedError"));
};"""


@dataclass(frozen=True)
class Track:
    mime: str
    init: bytes
    fragments: list[bytes]
    timescale: int


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at : at + size]
        at += size


def field_after(data: bytes, name: bytes, offset: int, form: str) -> int:
    (value,) = struct.unpack_from(form, data, data.index(name) + 4 + offset)
    return int(value)


def encode(path: Path, *arguments: str) -> Track:
    """Make a fragmented MP4 of one track by ffmpeg and take it apart."""
    subprocess.run(
        [
            need("ffmpeg", "ffmpeg"),
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            *arguments,
            "-t",
            str(SECONDS),
            "-movflags",
            "empty_moov+default_base_moof",
            "-f",
            "mp4",
            str(path),
        ],
        check=True,
    )
    init, fragments, moof = b"", [], b""
    for name, box in boxes(path.read_bytes()):
        if name in {b"ftyp", b"moov"}:
            init += box
        elif name == b"moof":
            moof = box
        elif name == b"mdat":
            fragments.append(moof + box)
    timescale = field_after(init, b"mdhd", 12, ">I")
    if b"avcC" in init:
        at = init.index(b"avcC") + 5
        mime = f'video/mp4; codecs="avc1.{init[at : at + 3].hex()}"'
    else:
        mime = 'audio/mp4; codecs="mp4a.40.2"'
    return Track(mime, init, fragments, timescale)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Track]:
    folder = tmp_path_factory.mktemp("media")
    picture = encode(
        folder / "picture.mp4",
        "-i",
        "testsrc2=size=320x180:rate=25",
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-g",
        "25",
        "-bf",
        "0",
        "-frag_duration",
        "1",
        "-pix_fmt",
        "yuv420p",
    )
    sound = encode(
        folder / "sound.mp4",
        "-i",
        "sine=frequency=1000:sample_rate=48000",
        "-c:a",
        "aac",
        "-frag_duration",
        "100000",
    )
    return {PICTURE: picture, SOUND: sound}


def now_ms() -> int:
    return int(time.time() * 1000)


class Feed:
    """Plays the encoded tracks into a fan-out in real time."""

    def __init__(self, fan_out: FanOut, tracks: dict[int, Track]) -> None:
        self._fan_out = fan_out
        self._tracks = tracks
        self.has_picture = True

    async def run(self, take: TakeId) -> None:
        for number, track in self._tracks.items():
            name = track.mime.encode()
            data = bytes((len(name),)) + name + track.init
            self._publish(take, Kind.INIT, number, 0, 0.0, data, keyframe=False)
        due: list[tuple[float, int, int, bytes]] = []
        for number, track in self._tracks.items():
            for index, data in enumerate(track.fragments):
                decode_s = field_after(data, b"tfdt", 4, ">Q") / track.timescale
                # Sound is whole only when its last sample was captured.
                due.append((decode_s + (0.1 if number == SOUND else 0.0), number, index, data))
        due.sort()
        began_s = asyncio.get_running_loop().time()
        for at_s, number, index, data in due:
            await asyncio.sleep(max(0.0, began_s + at_s - asyncio.get_running_loop().time()))
            keyframe = number == SOUND or index % 25 == 0
            decode_s = at_s - (0.1 if number == SOUND else 0.0)
            if number == SOUND or self.has_picture:
                self._publish(take, Kind.MEDIA, number, index, decode_s, data, keyframe=keyframe)

    def _publish(
        self,
        take: TakeId,
        kind: Kind,
        track: int,
        number: int,
        decode_s: float,
        data: bytes,
        *,
        keyframe: bool,
    ) -> None:
        self._fan_out.publish(
            StreamItem(
                take=take,
                kind=kind,
                track=track,
                number=number,
                keyframe=keyframe,
                capture_ms=now_ms(),
                decode_us=int(decode_s * 1_000_000),
                data=data,
            )
        )


def live() -> LessonStatus:
    return LessonStatus(
        phase=Phase.LIVE,
        cause=Cause.NONE,
        at_ms=now_ms(),
        connected=True,
        sound_age_ms=0,
        picture_age_ms=0,
        missing=0,
    )


class Room:
    """A box's page and stream on loopback, to be stopped and started on the same port."""

    def __init__(self) -> None:
        self.fan_out = FanOut(now_ms)
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/classroom/stream", self.fan_out.serve)
        app.router.add_static("/static", STATIC)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    opened = Room()
    await opened.start()
    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(opened.fan_out.run())
        yield opened
        beating.cancel()
    await opened.stop()


OpenPage = Callable[[], Awaitable[Page]]


@pytest.fixture
async def open_page(tmp_path: Path) -> AsyncIterator[OpenPage]:
    path = need_chromium()
    async with async_playwright() as playwright:
        opened: list[BrowserContext] = []

        async def open_one() -> Page:
            context = await playwright.chromium.launch_persistent_context(
                str(tmp_path / "profile"),
                executable_path=path,
                headless=True,
                args=[*ARGUMENTS, SOUND_UNTOUCHED],
            )
            opened.append(context)
            return context.pages[0]

        yield open_one
        for context in opened:
            await context.close()


@dataclass(frozen=True)
class Seen:
    state: str
    cause: str
    frames: int
    sound_bytes: int
    latency_ms: float | None
    picture_s: float
    sound_s: float
    needs_tap: bool


async def observe(page: Page) -> Seen:
    return Seen(
        **await page.evaluate(
            """() => {
              const player = window.schoolnodePlayer;
              return {
                state: player.state, cause: player.cause, frames: player.framesDecoded,
                sound_bytes: player.audioBytesDecoded, latency_ms: player.latencyMs,
                picture_s: document.querySelector("video").currentTime,
                sound_s: document.querySelector("audio").currentTime,
                needs_tap: player.needsTap,
              };
            }"""
        )
    )


async def until(page: Page, true: Callable[[Seen], bool]) -> Seen:
    """Observe until something is seen; fails after 20 s with what was seen last."""
    seen = await observe(page)
    for _ in range(100):
        if true(seen):
            return seen
        await asyncio.sleep(0.2)
        seen = await observe(page)
    pytest.fail(f"never seen; last was {seen}")


@asynccontextmanager
async def feeding(feed: Feed, take: bytes) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(feed.run(TakeId(take)))
        yield
        running.cancel()


async def test_picture_advances_and_sound_is_decoded_untouched(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    await page.goto(room.address)
    room.fan_out.show(live())
    async with feeding(Feed(room.fan_out, tracks), b"take-one"):
        first = await until(page, lambda seen: seen.frames > 10 and seen.sound_bytes > 1000)
        later = await until(
            page,
            lambda seen: (
                seen.frames > first.frames + 50
                and seen.sound_bytes > first.sound_bytes + 10_000
                and seen.picture_s > first.picture_s + 2
                and seen.sound_s > first.sound_s + 2
            ),
        )
    assert later.state == "live"
    assert not later.needs_tap
    assert later.latency_ms is not None
    assert 0 < later.latency_ms < 3000
    assert abs(later.picture_s - later.sound_s) < 0.5


async def test_sound_goes_on_while_picture_is_missing_and_a_new_take_is_followed(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    await page.goto(room.address)
    room.fan_out.show(live())
    feed = Feed(room.fan_out, tracks)
    async with feeding(feed, b"take-one"):
        await until(page, lambda seen: seen.picture_s > 1 and seen.sound_s > 1)
        feed.has_picture = False
        frozen = await until(page, lambda seen: seen.sound_s > seen.picture_s + 1.2)
        feed.has_picture = True
        await until(
            page,
            lambda seen: (
                seen.frames > frozen.frames + 10 and abs(seen.picture_s - seen.sound_s) < 0.5
            ),
        )
    async with feeding(Feed(room.fan_out, tracks), b"TAKE-two"):
        begun = await until(page, lambda seen: 0.5 < seen.sound_s < 4 and seen.picture_s > 0.5)
        await until(page, lambda seen: seen.picture_s > begun.picture_s + 0.5)


async def test_where_sound_needs_a_touch_picture_plays_and_one_button_asks_for_it(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    await page.add_init_script(SOUND_NEEDS_A_TOUCH)
    await page.goto(room.address)
    async with feeding(Feed(room.fan_out, tracks), b"take-one"):
        silent = await until(page, lambda seen: seen.needs_tap and seen.picture_s > 1)
        button = page.get_by_role("button", name="sound")
        assert await button.is_visible()
        await button.click()
        await until(
            page,
            lambda seen: (
                seen.sound_bytes > silent.sound_bytes + 5000
                and seen.sound_s > silent.sound_s + 0.5
                and not seen.needs_tap
            ),
        )
        assert not await button.is_visible()


async def test_a_page_says_that_the_box_is_gone_and_comes_back_by_itself(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    await page.goto(room.address)
    room.fan_out.show(live())
    async with feeding(Feed(room.fan_out, tracks), b"take-one"):
        before = await until(page, lambda seen: seen.picture_s > 1 and seen.state == "live")
        await room.stop()
        gone = await until(page, lambda seen: seen.cause == "box_unreachable")
        assert gone.state == "degraded"
        await room.start()
        await until(page, lambda seen: seen.state == "live" and seen.frames > before.frames + 25)
    told = await page.evaluate("window.told")
    assert told[-3:] == ["live", "degraded", "live"]
