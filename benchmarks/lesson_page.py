"""What the classroom page in Chromium makes of sound that came to its box late and in bursts.

What a run of ``lesson_class.py`` brought to the box, and when, is sent once more to the real page
at the same distances, in real time. The page's sound element is looked at every 10 ms.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from aiohttp import web
from playwright.async_api import Browser

from benchmarks.lesson_class import Outcome
from benchmarks.lesson_media import Media, timetable
from benchmarks.lesson_play import GAP_MS
from benchmarks.screen_clock import running_browser
from drivers.codecs.aac import parse_config
from edge.lesson.capture.fmp4 import audio_init, fragment
from edge.lesson.classroom.classroom_stream import StreamItem, encode_item, encode_state
from edge.lesson.status import Cause, LessonStatus, Phase
from sync.lessons.fragment_log import Kind, TakeId
from sync.lessons.fragment_rungs import Rung
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

BEFORE_S, AFTER_S = 8.0, 2.0
"""So much of the good link is sent before the poor stretch, and after it."""
_RUNG_S = 2.0
_STATE_EVERY_S = 0.5
_CONFIG = bytes.fromhex("1188")  # AAC-LC, 48 kHz, one channel (ISO/IEC 14496-3 §1.6.2.1)
_TAKE = TakeId(b"take-one")
_STATIC = Path(__file__).parents[1] / "edge" / "pages" / "static"
_SCRIPTS = ("media_lane", "picture_stage", "box_link", "replay", "player")
_PAGE = (
    '<!doctype html><meta charset="utf-8"><title>classroom</title><div id="player"></div>'
    + "".join(f'<script src="/static/{name}.js"></script>' for name in _SCRIPTS)
    + """<script>
const options = { url: location.pathname + "/stream", replay: "/replay?", soundLabel: "sound" };
const player = schoolnodePlayer.start(document.getElementById("player"), options);
window.seen = [];
setInterval(() => {
  const audio = document.querySelector("audio");
  window.seen.push([Date.now(), audio.currentTime, player.captureMs()]);
}, 10);
</script>"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a page let its class hear of a poor stretch.

    ``silences_ms`` has each standing still of more than 200 ms, ``skipped_s`` what was jumped over,
    ``behind_ms`` how far behind the teacher the page was, looked at every 10 ms.
    """

    silences_ms: Sequence[float]
    skipped_s: float
    behind_ms: Sequence[float]

    @property
    def behind_median_ms(self) -> float:
        return median(self.behind_ms)


@dataclass(frozen=True, slots=True)
class _Due:
    at_s: float
    message: bytes | str


async def play_to_pages(outcomes: Sequence[Outcome], media: Media) -> list[Heard]:
    """Send each outcome to a page of its own, all at the same time."""
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_static("/static", _STATIC)

        async def page(_: web.Request) -> web.Response:
            return web.Response(text=_PAGE, content_type="text/html")

        async def stream(request: web.Request) -> web.WebSocketResponse:
            outcome = outcomes[int(request.match_info["number"])]
            socket = web.WebSocketResponse(compress=False)
            with suppress(ConnectionError):  # the page closes when it has seen enough
                await socket.prepare(request)
                await _send(socket, outcome, media)
            return socket

        app.router.add_get(r"/{number:\d+}", page)
        app.router.add_get(r"/{number:\d+}/stream", stream)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        browser = await stack.enter_async_context(running_browser())
        watching = (
            _watch(browser, f"{address}/{number}", outcome)
            for number, outcome in enumerate(outcomes)
        )
        return await asyncio.gather(*watching)


async def _watch(browser: Browser, address: str, outcome: Outcome) -> Heard:
    page = await browser.new_page()
    await page.goto(address)
    began_ms = int(await page.evaluate("Date.now()"))
    await asyncio.sleep(BEFORE_S + outcome.poor.seconds + AFTER_S)
    seen = await page.evaluate("window.seen")
    await page.close()
    from_ms = began_ms + 1000 * BEFORE_S
    until_ms = from_ms + 1000 * outcome.poor.seconds
    return heard_of([each for each in seen if from_ms <= each[0] < until_ms])


def heard_of(seen: Sequence[tuple[float, float, float | None]]) -> Heard:
    """Judge looks at a sound element.

    Each is its Unix ms, the element's time in seconds, and when what it plays was captured in Unix
    ms, None while that is unknown.
    """
    silences: list[float] = []
    skipped_s = 0.0
    moved_ms, at_s = seen[0][0], seen[0][1]
    for now_ms, now_s, _ in seen[1:]:
        if now_s == at_s:
            continue
        stood_ms = now_ms - moved_ms
        skipped_s += max(0.0, now_s - at_s - 2 * stood_ms / 1000 - 0.05)
        if stood_ms > GAP_MS:
            silences.append(stood_ms)
        moved_ms, at_s = now_ms, now_s
    if seen[-1][0] - moved_ms > GAP_MS:
        silences.append(seen[-1][0] - moved_ms)
    behind = [now_ms - captured for now_ms, _, captured in seen if captured is not None]
    return Heard(silences_ms=silences, skipped_s=skipped_s, behind_ms=behind)


async def _send(socket: web.WebSocketResponse, outcome: Outcome, media: Media) -> None:
    loop = asyncio.get_running_loop()
    began_s, began_ms = loop.time(), time.time() * 1000
    for due in _messages(outcome, media, began_ms):
        await asyncio.sleep(began_s + due.at_s - loop.time())
        if isinstance(due.message, str):
            await socket.send_str(due.message)
        else:
            await socket.send_bytes(due.message)


def _messages(outcome: Outcome, media: Media, began_ms: float) -> list[_Due]:
    """Return what the page is sent and when, in order, from ``began_ms`` on."""
    from_ms = outcome.poor.from_ms - 1000 * BEFORE_S
    until_ms = outcome.poor.until_ms + 1000 * AFTER_S
    name = b'audio/mp4; codecs="mp4a.40.2"'
    init = bytes((len(name),)) + name + audio_init(parse_config(_CONFIG))
    dues = [_Due(0.0, encode_item(_item(Kind.INIT, 0, 0, 0, init)))]
    made = timetable(Media(fragments={SOUND: media.fragments[SOUND]}))
    came = {each.number: each for each in outcome.came if each.track == SOUND}
    for sound in made:
        if sound.number > max(came):
            break
        each = came.get(sound.number)
        if each is None or not from_ms <= each.came_ms < until_ms:
            continue
        captured_ms = int(began_ms + each.told_ms - from_ms)
        decode_us = sound.decode_time * 1_000_000 // sound.timescale
        data = fragment(SOUND, sound.number, sound.decode_time, sound.samples)
        item = _item(Kind.MEDIA, sound.number, captured_ms, decode_us, data)
        dues.append(_Due((each.came_ms - from_ms) / 1000, encode_item(item)))
    for count in range(int((until_ms - from_ms) / 1000 / _STATE_EVERY_S)):
        at_s = count * _STATE_EVERY_S
        state = encode_state(_status(outcome, from_ms + 1000 * at_s), int(began_ms + 1000 * at_s))
        dues.append(_Due(at_s, state.decode()))
    return sorted(dues, key=lambda due: due.at_s)


def _item(kind: Kind, number: int, capture_ms: int, decode_us: int, data: bytes) -> StreamItem:
    return StreamItem(
        take=_TAKE,
        kind=kind,
        track=SOUND,
        number=number,
        keyframe=True,
        capture_ms=capture_ms,
        decode_us=decode_us,
        data=data,
    )


def _status(outcome: Outcome, now_ms: float) -> LessonStatus:
    """Return what the box told of its line then: the picture that came lately."""
    tracks = {
        each.track for each in outcome.came if now_ms - 1000 * _RUNG_S <= each.came_ms < now_ms
    }
    rung = Rung.MAIN if PICTURE in tracks else Rung.SMALL if PICTURE_SMALL in tracks else Rung.SOUND
    return LessonStatus(
        phase=Phase.LIVE,
        cause=Cause.NONE,
        at_ms=int(now_ms),
        connected=True,
        sound_age_ms=0,
        picture_age_ms=None,
        missing=0,
        rung=rung,
    )
