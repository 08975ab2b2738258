"""Chromium plays what a box sends its room: frames advance, sound is decoded, untouched."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.classroom.replay import parse_place, replay
from edge.lesson.status import Cause, LessonStatus, Phase
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import Kind, Record, TakeId, is_sound
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import BLACKBOARD, PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import key_id
from tests.edge.encoded_tracks import FPS, GROUP, Track, encode_picture, encode_sound
from tests.edge.lesson_bench import KEY, LESSON, SIGNING

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIC = Path(__file__).parents[2] / "edge" / "pages" / "static"
SECONDS = 20

PAGE = """<!doctype html><meta charset="utf-8"><title>classroom</title>
<link rel="stylesheet" href="/static/player.css">
<div id="player" style="width:640px;height:360px"></div>
<script src="/static/media_lane.js"></script>
<script src="/static/picture_stage.js"></script>
<script src="/static/box_link.js"></script>
<script src="/static/replay.js"></script>
<script src="/static/player.js"></script>
<script>
window.told = [];
window.fastest = 0;
const replay = new URL(location.href).searchParams.get("replay");
const player = schoolnodePlayer.start(document.getElementById("player"), {
  url: "/classroom/stream",
  replay: replay === null ? undefined : "/classroom/replay?room=r",
  soundLabel: "sound",
  onstate: (now) => {
    if (window.told[window.told.length - 1] !== now.state) { window.told.push(now.state); }
  },
});
document.querySelector("audio").addEventListener("ratechange", (event) => {
  window.fastest = Math.max(window.fastest, event.target.playbackRate);
});
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


SOUND_STANDS = """() => {
  const audio = document.querySelector("audio");
  audio.play = () => new Promise(() => {});
  audio.pause();
}"""


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Track]:
    folder = tmp_path_factory.mktemp("media")
    large = encode_picture(folder / "large.mp4", "320x180", SECONDS)
    small = encode_picture(folder / "small.mp4", "160x90", SECONDS)
    sound = encode_sound(folder / "sound.mp4", SECONDS)
    return {PICTURE: large, SOUND: sound, PICTURE_SMALL: small, BLACKBOARD: small}


def now_ms() -> int:
    return int(time.time() * 1000)


class Feed:
    """Films the encoded tracks in real time; ``sends`` are those that go out now."""

    def __init__(
        self, room: "Room", tracks: dict[int, Track], sends: tuple[int, ...] = (PICTURE, SOUND)
    ) -> None:
        self._room = room
        self._tracks = tracks
        self.sends = set(sends)
        self._recorder: TakeRecorder | None = None
        self._announced = sorted({*sends, PICTURE, SOUND})

    def end(self) -> None:
        """Close the take that ran."""
        assert self._recorder is not None
        self._recorder.close()

    async def run(self, take: TakeId) -> None:
        recorder = self._recorder = self._room.open_take(take)
        for number in self._announced:
            track = self._tracks[number]
            recorder.add_init(number, track.mime, track.init, now_ms())
        due: list[tuple[float, int, int]] = []
        for number, track in self._tracks.items():
            for index, decode_time in enumerate(track.times):
                # Sound is whole only when its last sample was captured.
                late_s = 0.1 if is_sound(number) else 0.0
                due.append((decode_time / track.timescale + late_s, number, index))
        due.sort()
        began_s = asyncio.get_running_loop().time()
        numbers = {number: itertools.count() for number in self._tracks}
        for at_s, number, index in due:
            await asyncio.sleep(max(0.0, began_s + at_s - asyncio.get_running_loop().time()))
            if number in self.sends:
                track = self._tracks[number]
                recorder.add(
                    MediaFragment(
                        track=number,
                        number=next(numbers[number]),
                        keyframe=is_sound(number) or index % GROUP == 0,
                        decode_time=track.times[index],
                        duration=track.timescale // (10 if is_sound(number) else FPS),
                        timescale=track.timescale,
                        capture_ms=now_ms(),
                        data=track.fragments[index],
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
    """A box's page and stream on loopback, to be stopped and started on the same port.

    While ``is_cut`` nothing comes from the flagship, and while ``lacks_signatures`` no signature;
    :meth:`fill` brings what was missed. ``asked`` counts what the pages asked of the store.
    """

    def __init__(self, folder: Path) -> None:
        self.fan_out = FanOut(now_ms)
        self.is_cut = False
        self.lacks_signatures = False
        self.is_over = False
        self.asked = 0
        self.keeps = True
        self._flagship = LessonShelf(folder / "flagship")
        self._here = self.shelf = LessonShelf(folder / "here")
        self._missed: list[Record] = []
        self._awaits_keyframe = False
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def open_take(self, take: TakeId) -> TakeRecorder:
        store = self._flagship.take(LESSON, take)
        return TakeRecorder(store, KEY, SIGNING, self._take_in, self._show)

    def fill(self) -> None:
        """Store what the cut held up."""
        missed, self._missed = self._missed, []
        for record in missed:
            self._take_in(record)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._page)
        self.serve_on(app)
        app.router.add_static("/static", STATIC)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    def serve_on(self, app: web.Application) -> None:
        """Add what a page plays from."""
        app.router.add_get("/classroom/stream", self.fan_out.serve)
        app.router.add_get("/classroom/replay", self._replay)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def close(self) -> None:
        self._flagship.close()
        self._here.close()

    def _take_in(self, record: Record) -> None:
        is_held_up = self.lacks_signatures and record.header.kind is Kind.SIGNATURE
        if self.is_cut or is_held_up:
            self._missed.append(record)
        elif self.keeps:
            self._here.take(LESSON, record.header.take).append(record)

    def _show(self, item: StreamItem) -> None:
        if self.is_cut:
            self._awaits_keyframe = True
        elif item.kind is Kind.INIT or is_sound(item.track):
            self.fan_out.publish(item)
        elif item.keyframe or not self._awaits_keyframe:
            self._awaits_keyframe = False
            self.fan_out.publish(item)

    async def _replay(self, request: web.Request) -> web.Response:
        query = request.query
        self.asked += 1
        place = parse_place(query["take"], query["after"], query["skip"])
        opener = FragmentOpener(LESSON, {key_id(KEY): KEY})
        batch = replay(self._here, opener, LESSON, place)
        batch.over = self.is_over and batch.live and batch.final
        return web.Response(body=batch.encode())

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")


@pytest_asyncio.fixture(loop_scope="module")
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    opened = Room(tmp_path)
    await opened.start()
    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(opened.fan_out.run())
        yield opened
        beating.cancel()
    await opened.stop()
    opened.close()


OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(chromium: Browser, room: Room) -> AsyncIterator[OpenPage]:
    """Give what opens the page of a live room, with a query and with a script that runs first."""
    opened: list[BrowserContext] = []

    async def open_one(query: str = "", script: str = "") -> Page:
        opened.append(await chromium.new_context())
        page = await opened[-1].new_page()
        await page.add_init_script(script)
        await page.goto(room.address + query)
        room.fan_out.show(live())
        return page

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
    behind_ms: float


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
                needs_tap: player.needsTap, behind_ms: player.behindMs,
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


async def until_played(page: Page, seconds: float) -> None:
    await until(page, lambda seen: seen.picture_s > seconds and seen.sound_s > seconds)


async def cut_off(page: Page, room: Room, seconds: float = 1.8) -> Seen:
    """Let nothing come for so long, and observe; the cut stays until ``is_cut`` is put back."""
    room.is_cut = True
    await asyncio.sleep(seconds)
    return await observe(page)


async def stand_unsigned(page: Page, room: Room) -> Seen:
    """Let the class stand where a cut began: what it missed came, but no signature of it."""
    await until_played(page, 2)
    room.lacks_signatures = True
    await cut_off(page, room)
    room.is_cut = False
    room.fill()
    before, asked = await observe(page), room.asked
    for _ in range(100):
        await asyncio.sleep(0.2)
        seen = await observe(page)
        if seen.sound_s != before.sound_s:
            before, asked = seen, room.asked
        elif room.asked >= asked + 2:
            return seen
    pytest.fail(f"it goes on: {before}")


async def until_caught_up(page: Page, stood: Seen) -> Seen:
    """Wait until the class is with the live lesson again, of whose sound it heard everything."""
    seen = await until(page, lambda seen: seen.behind_ms == 0 and seen.frames > stood.frames + 50)
    assert seen.state == "live"
    assert await page.evaluate("window.told.slice(-3)") == ["live", "catching_up", "live"]
    assert await stretches_heard(page) == 1, "nothing of the lesson's sound was left out"
    return seen


async def stretches_heard(page: Page) -> int:
    """Return in how many pieces the sound was played: each further one is a jump."""
    count: int = await page.evaluate("document.querySelector('audio').played.length")
    return count


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
    async with feeding(Feed(room, tracks), b"take-one"):
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
    feed = Feed(room, tracks)
    async with feeding(feed, b"take-one"):
        await until_played(page, 1)
        feed.sends.discard(PICTURE)
        frozen = await until(page, lambda seen: seen.sound_s > seen.picture_s + 1.2)
        feed.sends.add(PICTURE)
        await until(
            page,
            lambda seen: (
                seen.frames > frozen.frames + 10 and abs(seen.picture_s - seen.sound_s) < 0.5
            ),
        )
    async with feeding(Feed(room, tracks), b"TAKE-two"):
        begun = await until(page, lambda seen: 0.5 < seen.sound_s < 4 and seen.picture_s > 0.5)
        await until(page, lambda seen: seen.picture_s > begun.picture_s + 0.5)


async def test_where_sound_needs_a_touch_picture_plays_and_one_button_asks_for_it(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page(script=SOUND_NEEDS_A_TOUCH)
    async with feeding(Feed(room, tracks), b"take-one"):
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
    async with feeding(Feed(room, tracks), b"take-one"):
        before = await until(page, lambda seen: seen.picture_s > 1 and seen.state == "live")
        await room.stop()
        gone = await until(page, lambda seen: seen.cause == "box_unreachable")
        assert gone.state == "degraded"
        await room.start()
        await until(page, lambda seen: seen.state == "live" and seen.frames > before.frames + 25)
    told = await page.evaluate("window.told")
    assert told[-3:] == ["live", "degraded", "live"]


async def test_after_a_cut_the_class_goes_on_where_it_stood_and_catches_up_with_live(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    async with feeding(Feed(room, tracks), b"take-one"):
        await until_played(page, 2)
        frozen = await cut_off(page, room)
        room.is_cut = False
        await until(page, lambda seen: seen.state == "catching_up")
        room.fill()
        await until(page, lambda seen: seen.sound_s > frozen.sound_s + 1)
        caught_up = await until_caught_up(page, frozen)
    assert await page.evaluate("window.fastest") == 1.25
    assert abs(caught_up.picture_s - caught_up.sound_s) < 0.5


async def test_what_came_after_a_cut_is_heard_once_it_is_signed_and_nothing_is_left_out(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    async with feeding(Feed(room, tracks), b"take-one"):
        stood = await stand_unsigned(page, room)
        assert stood.state == "catching_up"
        room.lacks_signatures = False
        room.fill()
        await until_caught_up(page, stood)


async def test_a_class_does_not_wait_for_ever_for_signatures_and_goes_on_live(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    async with feeding(Feed(room, tracks), b"take-one"):
        stood = await stand_unsigned(page, room)
        await until(
            page, lambda seen: seen.sound_s > stood.sound_s + 2 and seen.frames > stood.frames + 25
        )


async def hold_to_an_end_in_a_cut(page: Page, room: Room, tracks: dict[int, Track]) -> Seen:
    """Hold a lesson that is over while nothing comes; return what was seen last."""
    feed = Feed(room, tracks)
    async with feeding(feed, b"take-one"):
        await until_played(page, 1)
        frozen = await cut_off(page, room, 1.5)
    feed.end()
    room.is_over = True
    return frozen


async def test_a_lesson_that_ended_in_a_cut_is_finished_from_what_came_afterwards(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    frozen = await hold_to_an_end_in_a_cut(page, room, tracks)
    assert await page.evaluate("player.finish()"), "what is missing may still come"
    room.is_cut = False
    room.fill()
    ended = await until(page, lambda seen: seen.state == "done")
    assert ended.sound_s > frozen.sound_s + 1
    assert not await page.evaluate("player.finish()")


async def test_a_lesson_that_is_made_longer_when_it_seemed_over_is_live_again(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    feed = Feed(room, tracks)
    async with feeding(feed, b"take-one"):
        await until_played(page, 2)
        assert await page.evaluate("player.finish()")
        ended = await until(page, lambda seen: seen.state == "catching_up")
        await page.evaluate("player.goOn()")
        await until_caught_up(page, ended)
    feed.end()
    room.is_over = True
    assert await page.evaluate("player.finish()"), "its last second may still be fetched"
    await until(page, lambda seen: seen.state == "done")


async def test_a_lesson_that_ended_is_done_though_its_sound_will_not_play_on(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    await hold_to_an_end_in_a_cut(page, room, tracks)
    room.is_cut = False
    room.fill()
    await page.evaluate(SOUND_STANDS)
    assert await page.evaluate("player.finish()"), "it has not heard all of it"
    await until(page, lambda seen: seen.state == "done")


async def test_a_recording_that_stands_in_is_followed_though_it_is_another_lessons(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    async with feeding(Feed(room, tracks), b"take-one"):
        await until_played(page, 3)
    await asyncio.sleep(1)
    room.keeps = False
    async with feeding(Feed(room, tracks), b"TAKE-two"):
        begun = await until(page, lambda seen: 0.5 < seen.sound_s < 2.5 and seen.behind_ms == 0)
        await until(page, lambda seen: seen.picture_s > begun.picture_s + 0.5)


async def test_live_is_one_touch_away_for_a_class_that_is_behind(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    async with feeding(Feed(room, tracks), b"take-one"):
        await until_played(page, 2)
        await cut_off(page, room)
        room.is_cut = False
        behind = await until(page, lambda seen: seen.state == "catching_up")
        await page.evaluate("schoolnodePlayer.jumpToLive()")
        await until(
            page,
            lambda seen: seen.state == "live" and seen.sound_s > behind.sound_s + 1.8,
        )


async def test_the_small_picture_takes_over_and_gives_back_while_the_sound_goes_on(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page("?replay")
    width = "document.querySelector('video').videoWidth"

    async def until_wide(pixels: int) -> Seen:
        for _ in range(100):
            if await page.evaluate(width) == pixels:
                return await observe(page)
            await asyncio.sleep(0.1)
        pytest.fail(f"the picture is never {pixels} wide")

    feed = Feed(room, tracks, (PICTURE, SOUND, PICTURE_SMALL))
    async with feeding(feed, b"take-one"):
        feed.sends.discard(PICTURE_SMALL)
        await until_played(page, 1)
        await until_wide(320)
        assert (await observe(page)).state == "live"
        feed.sends = {SOUND, PICTURE_SMALL}
        small = await until_wide(160)
        said = await until(page, lambda seen: seen.frames > small.frames + 25)
        assert (said.state, said.cause) == ("degraded", "picture_reduced"), "this page's own"
        feed.sends = {SOUND}
        await until(page, lambda seen: (seen.state, seen.cause) == ("degraded", "no_picture"))
        feed.sends = {SOUND, PICTURE}
        large = await until_wide(320)
        seen = await until(page, lambda seen: seen.frames > large.frames + 25)
        assert (seen.state, seen.cause) == ("live", "")
    assert await stretches_heard(page) == 1, "the sound never jumped"
    assert seen.sound_s > small.sound_s + 1


async def test_a_second_picture_is_large_while_it_comes(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    feed = Feed(room, tracks, (PICTURE, SOUND, BLACKBOARD))
    async with feeding(feed, b"take-one"):
        beside = page.locator("video.is-large[data-role=blackboard]")
        await beside.wait_for()
        await page.locator("video.is-small[data-role=teacher]").wait_for()
        await until(page, lambda seen: seen.frames > 25)
        assert await beside.evaluate("video => video.getVideoPlaybackQuality().totalVideoFrames")
        feed.sends.discard(BLACKBOARD)
        await page.locator("video.is-large[data-role=teacher]").wait_for()
        assert await page.locator("video[data-role=blackboard]").is_hidden()


async def test_sound_that_is_announced_and_never_comes_does_not_hold_up_the_picture(
    room: Room, open_page: OpenPage, tracks: dict[int, Track]
) -> None:
    page = await open_page()
    async with feeding(Feed(room, tracks, (PICTURE,)), b"take-one"):
        first = await until(page, lambda seen: seen.frames > 10)
        await until(page, lambda seen: seen.frames > first.frames + 25 and seen.picture_s > 1)
