"""LL-HLS as others read it: hls.js in Chromium, ffmpeg, and hls-parser's strict rules."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from benchmarks.peer_environment import peer_node
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.classroom.hls_desk import HlsDesk
from edge.lesson.classroom.recorded_hls import RecordedHls
from edge.lesson.schedule import PAST, ROOM_AFTER_MS, ScheduledLesson
from edge.lesson.transfer.recording import TakeRecorder
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import Kind, TakeId
from sync.lessons.fragment_sealing import FragmentOpener, new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import PICTURE, SOUND
from sync.segments.sealing import DataKey, KeyId, key_id
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.edge.encoded_tracks import FPS, GROUP, Track, encode_picture, encode_sound
from tests.edge.lesson_bench import KEY, LESSON, SIGNING
from tests.edge.planned_lesson import party, planned_lesson
from tests.system_needs import need, need_peer

SECONDS = 12
ROOM = "三年级"
TAKE = TakeId(b"take-one")
NOW_MS = 1_790_000_000_000

PAGE = """<!doctype html><meta charset="utf-8"><title>room</title>
<video id="video" muted playsinline></video><script src="/hls.js"></script><script>
const video = document.getElementById("video");
const hls = new Hls({lowLatencyMode: true});
window.parts = 0; window.errors = [];
hls.on(Hls.Events.FRAG_LOADED, (_, data) => { if (data.part) { window.parts += 1; } });
hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) { window.errors.push(data.details); } });
hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
hls.loadSource("/classroom/hls/" + encodeURIComponent("三年级") + "/main.m3u8");
hls.attachMedia(video);
</script>"""


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Track]:
    folder = tmp_path_factory.mktemp("media")
    return {
        PICTURE: encode_picture(folder / "picture.mp4", "320x180", SECONDS),
        SOUND: encode_sound(folder / "sound.mp4", SECONDS),
    }


def _ordered(tracks: Mapping[int, Track]) -> list[tuple[float, int, int]]:
    """Return (seconds, track, number) of all fragments in order."""
    return sorted(
        (at / track.timescale, name, number)
        for name, track in tracks.items()
        for number, at in enumerate(track.times)
    )


class Room:
    """A box's HLS routes on loopback, for a live room and a lesson that is over."""

    def __init__(self, folder: Path, tracks: Mapping[int, Track]) -> None:
        self.fan_out = FanOut(lambda: time.time_ns() // 1_000_000)
        self._tracks = tracks
        self._shelf = LessonShelf(folder)
        mine = party(2, LessonRole.RECEIVER, ROOM)
        self._lesson = planned_lesson(LESSON, NOW_MS, NOW_MS + SECONDS * 1000, mine)
        self.now_ms = NOW_MS + 1000 * SECONDS
        self.script = Path()
        self.url = ""

    async def keys(self, _: ScheduledLesson) -> dict[KeyId, DataKey]:
        return {key_id(KEY): KEY}

    def app(self) -> web.Application:
        app = web.Application()
        rooms = {ROOM: self.fan_out}
        desk = HlsDesk(
            rooms.get, self._shelf, lambda: {LESSON: self._lesson}, self.keys, lambda: self.now_ms
        )
        app.add_routes(desk.routes())
        app.router.add_get("/", self._page)
        app.router.add_get("/hls.js", self._script)
        return app

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _script(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(self.script)

    def record(self, *, leave_out: range = range(0)) -> None:
        """Write the lesson down as a receiver would have it, but for some pictures."""
        store = self._shelf.take(LESSON, new_take())
        recorder = TakeRecorder(store, KEY, SIGNING, lambda _: None, lambda _: None)
        for name, track in self._tracks.items():
            recorder.add_init(name, track.mime, track.init, NOW_MS)
        for at_s, name, number in _ordered(self._tracks):
            if name == PICTURE and number in leave_out:
                continue
            track = self._tracks[name]
            recorder.add(
                MediaFragment(
                    track=name,
                    number=number,
                    keyframe=name == SOUND or number % GROUP == 0,
                    decode_time=track.times[number],
                    duration=track.timescale // FPS if name == PICTURE else 4096,
                    timescale=track.timescale,
                    capture_ms=NOW_MS + round(at_s * 1000),
                    data=track.fragments[number],
                )
            )
        recorder.close()

    def begin(self) -> None:
        for name, track in self._tracks.items():
            mime = track.mime.encode()
            data = bytes((len(mime),)) + mime + track.init
            self._publish(Kind.INIT, name, 0, 0.0, data)

    def play(self, at_s: float, name: int, number: int) -> None:
        self._publish(Kind.MEDIA, name, number, at_s, self._tracks[name].fragments[number])

    async def play_all(self) -> None:
        """Play all in the time it takes."""
        self.begin()
        began_s = asyncio.get_running_loop().time()
        for at_s, name, number in _ordered(self._tracks):
            await asyncio.sleep(began_s + at_s - asyncio.get_running_loop().time())
            self.play(at_s, name, number)

    def _publish(self, kind: Kind, track: int, number: int, at_s: float, data: bytes) -> None:
        self.fan_out.publish(
            StreamItem(
                take=TAKE,
                kind=kind,
                track=track,
                number=number,
                keyframe=kind is Kind.MEDIA and (track == SOUND or number % GROUP == 0),
                capture_ms=NOW_MS + round(at_s * 1000),
                decode_us=round(at_s * 1_000_000),
                data=data,
            )
        )


@pytest.fixture
async def room(tmp_path: Path, tracks: dict[int, Track]) -> AsyncIterator[Room]:
    opened = Room(tmp_path, tracks)
    runner = web.AppRunner(opened.app(), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield opened
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def _get(client: aiohttp.ClientSession, room: Room, name: str) -> tuple[int, str]:
    async with client.get(f"{room.url}/classroom/hls/{ROOM}/{name}") as answer:
        return answer.status, (await answer.read()).decode("latin-1")


async def _parsed(text: str) -> dict[str, float]:
    home = await asyncio.to_thread(need_peer, peer_node, "hls_js")
    process = await asyncio.create_subprocess_exec(
        need("node", "nodejs"),
        str(home / "playlist.js"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await process.communicate(text.encode())
    assert not process.returncode, error.decode()
    found: dict[str, float] = json.loads(out)
    return found


async def _decoded(address: str) -> tuple[int, int]:
    """Return how many pictures and sound packets ffprobe decodes of an address."""
    argv = "-v error -count_frames -show_entries stream=codec_type,nb_read_frames -of json"
    process = await asyncio.create_subprocess_exec(
        need("ffprobe", "ffmpeg"), *argv.split(), address, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    counts = {
        each["codec_type"]: int(each["nb_read_frames"]) for each in json.loads(out)["streams"]
    }
    return counts["video"], counts["audio"]


async def test_a_recording_is_played_whole_by_a_player_not_ours(
    room: Room, client: aiohttp.ClientSession
) -> None:
    room.record()
    pictures, sounds = await _decoded(f"{room.url}/classroom/hls/{ROOM}/{LESSON}/main.m3u8")
    assert pictures == SECONDS * FPS
    assert sounds >= SECONDS * 48_000 // 1024
    found = await _parsed((await _get(client, room, f"{LESSON}/1.m3u8"))[1])
    assert found["ended"]
    assert found["segments"] == SECONDS / 4
    assert found["seconds"] == pytest.approx(SECONDS, abs=0.1)


async def test_what_a_recording_lacks_is_a_gap_of_the_same_length(
    room: Room, client: aiohttp.ClientSession
) -> None:
    room.record(leave_out=range(100, 250))
    _, text = await _get(client, room, f"{LESSON}/1.m3u8")
    found = await _parsed(text)
    assert found["gaps"] == 2
    assert found["seconds"] == pytest.approx(SECONDS, abs=0.1)


def test_an_init_that_nobody_signed_is_not_played(tmp_path: Path) -> None:
    shelf = LessonShelf(tmp_path)
    store = shelf.take(LESSON, TAKE)
    recorder = TakeRecorder(store, KEY, SIGNING, lambda _: None, lambda _: None)
    mime = 'video/mp4; codecs="x"'
    recorder.add_init(PICTURE, mime, b"init", NOW_MS)
    for number in range(2):
        recorder.add(
            MediaFragment(
                track=PICTURE,
                number=number,
                keyframe=True,
                decode_time=number,
                duration=1,
                timescale=1,
                capture_ms=NOW_MS + 1000 * number,
                data=b"x",
            )
        )
    recorder.add_init(PICTURE, mime, b"init", NOW_MS + 1)
    recorded = RecordedHls([store], FragmentOpener(LESSON, {key_id(KEY): KEY}))
    playlist = recorded.playlist(PICTURE) or ""
    assert f"{TAKE.hex()}/{PICTURE}/init-0.mp4" in playlist
    assert "0-0.m4s" in playlist
    assert recorded.init(TAKE, PICTURE, 0) == b"init"
    assert recorded.init(TAKE, PICTURE, 1) is None
    shelf.close()


async def test_a_lesson_that_is_not_over_or_of_another_room_has_no_recording(
    room: Room, client: aiohttp.ClientSession
) -> None:
    room.record()
    room.now_ms -= 1
    assert (await _get(client, room, f"{LESSON}/main.m3u8"))[0] == 404
    room.now_ms += 1
    assert (await _get(client, room, f"{LESSON}/main.m3u8"))[0] == 200
    assert (await _get(client, room, "lesson-2/main.m3u8"))[0] == 404
    assert (await _get(client, room, f"../elsewhere/{LESSON}/main.m3u8"))[0] == 404
    assert (await _get(client, room, f"{LESSON}/0123456789abcdef/1/0-9.m4s"))[0] == 404
    room.now_ms += ROOM_AFTER_MS
    assert await _get(client, room, f"{LESSON}/main.m3u8") == (404, PAST)


async def test_live_playlists_keep_the_strict_rules_and_name_what_can_be_fetched(
    room: Room, client: aiohttp.ClientSession
) -> None:
    room.begin()
    for one in _ordered(room._tracks):
        room.play(*one)
    main = await _parsed((await _get(client, room, "main.m3u8"))[1])
    assert (main["variants"], main["sound"]) == (1, 1)
    for track in (PICTURE, SOUND):
        _, text = await _get(client, room, f"{track}.m3u8")
        found = await _parsed(text)
        assert found["blocks"]
        assert found["parts"] >= 10
        assert 0.1 < found["partTarget"] < 0.3
        for line in text.splitlines():
            name = line if line.startswith(f"{track}/") else line.partition('URI="')[2][:-1]
            if "MAP" in line or line.startswith((f"{track}/", "#EXT-X-PART:")):
                assert (await _get(client, room, name.partition('"')[0]))[0] == 200, line


async def test_a_player_that_asks_for_what_comes_next_gets_it_when_it_is_there(
    room: Room, client: aiohttp.ClientSession
) -> None:
    room.begin()
    pictures = [one for one in _ordered(room._tracks) if one[1] == PICTURE]
    for one in pictures[:8]:
        room.play(*one)
    _, text = await _get(client, room, "1.m3u8")
    hint = text.partition('PRELOAD-HINT:TYPE=PART,URI="')[2].partition('"')[0]
    number, part = hint.removeprefix("1/").removesuffix(".m4s").split(".")
    async with asyncio.TaskGroup() as tasks:
        waits = f"1.m3u8?_HLS_msn={number}&_HLS_part={part}"
        playlist = tasks.create_task(_get(client, room, waits))
        media = tasks.create_task(_get(client, room, hint))
        await asyncio.sleep(0.05)
        assert not playlist.done()
        assert not media.done()
        for one in pictures[8:14]:
            room.play(*one)
    assert playlist.result()[0] == media.result()[0] == 200
    assert hint in playlist.result()[1].replace("PRELOAD-HINT", "", 1)
    assert "moof" in media.result()[1]


@pytest.mark.parametrize(
    "name",
    [
        "1.m3u8?_HLS_part=1",
        "1.m3u8?_HLS_msn=99999999999",
        "1.m3u8?_HLS_msn=-1",
        "9.m3u8",
        "1/0.m4s",
    ],
)
async def test_what_cannot_be_is_refused_at_once(
    room: Room, client: aiohttp.ClientSession, name: str
) -> None:
    room.begin()
    for one in _ordered(room._tracks)[:60]:
        room.play(*one)
    assert (await _get(client, room, name))[0] in {400, 404}


async def test_hls_js_plays_picture_and_sound_part_by_part(room: Room) -> None:
    home = await asyncio.to_thread(need_peer, peer_node, "hls_js")
    room.script = home / "node_modules" / "hls.js" / "dist" / "hls.min.js"
    async with running_chromium(SOUND_UNTOUCHED) as browser, asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(room.play_all())
        page = await browser.new_page()
        await page.goto(room.url)
        await page.wait_for_function(
            "video.currentTime > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 40"
            " && video.webkitAudioDecodedByteCount > 5000 && window.parts > 8"
        )
        assert await page.evaluate("window.errors") == []
        assert await page.evaluate("hls.levels[0].details.canBlockReload")
        playing.cancel()
