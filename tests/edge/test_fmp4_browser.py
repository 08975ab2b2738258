"""Chromium plays what the capture makes: two elements, one initialisation segment each."""

import asyncio
import base64
import random
import time
from pathlib import Path

from drivers.simulators.ledger import Ledger
from drivers.simulators.rtsp_camera import RtspCamera
from edge.lesson.capture.camera_capture import capture
from edge.lesson.capture.capture_events import CaptureEvent, MediaGap, TakeInit
from tests.chromium import SOUND_UNTOUCHED, running_chromium
from tests.edge.test_capture import OTHER_SOUNDS, gstreamer_camera

PICTURE = 1
PAGE = "<video id=t1 muted></video><audio id=t2></audio><audio id=t3></audio>"
PLAY = """
async ([id, mime, parts]) => {
  const element = document.getElementById(id), source = new MediaSource();
  element.src = URL.createObjectURL(source);
  await new Promise(done => source.onsourceopen = done);
  const buffer = source.addSourceBuffer(mime);
  for (const part of parts) {
    buffer.appendBuffer(Uint8Array.from(atob(part), c => c.charCodeAt(0)));
    await new Promise((done, failed) => { buffer.onupdateend = done; buffer.onerror = failed; });
  }
  const start = buffer.buffered.start(0), end = buffer.buffered.end(0);
  element.currentTime = start;
  await element.play();
  const deadline = performance.now() + 15000;
  while (element.currentTime < start + 1 && !element.error && performance.now() < deadline)
    await new Promise(done => setTimeout(done, 50));
  return {
    ranges: buffer.buffered.length, start, end, at: element.currentTime - start,
    error: element.error && element.error.message,
    frames: element.webkitDecodedFrameCount || 0, sound: element.webkitAudioDecodedByteCount,
  };
}
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def two_seconds(folder: Path) -> dict[int, tuple[str, list[str]]]:
    """Capture the simulated camera; return each track's MIME type and its segments in base64.

    A camera on a machine that was held up left a moment out: then it is begun anew.
    """
    tracks: dict[int, tuple[str, list[str]]] = {}
    ends: dict[int, int] = {}
    enough = asyncio.Event()

    def sink(event: CaptureEvent) -> None:
        assert not isinstance(event, MediaGap)
        if isinstance(event, TakeInit):
            tracks[event.track] = (event.mime, [])
        else:
            kept = tracks[event.track][1]
            end = ends.get(event.track, event.decode_time)
            if event.decode_time > end + event.duration // 2:
                del kept[1:]
            if len(kept) == 1 and event.track == PICTURE and not event.keyframe:
                return
            ends[event.track] = event.decode_time + event.duration
        tracks[event.track][1].append(base64.b64encode(event.data).decode())
        if len(tracks[1][1]) > 50 and len(tracks.get(2, ("", []))[1]) > 45:
            enough.set()

    book = Ledger(folder / "camera.jsonl", now_ms)
    camera = RtspCamera(book, None, now_ms=now_ms, chance=random.Random(1))
    async with camera.serving("127.0.0.1"), asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            capture(camera.url("main"), None, sink, now_ms=now_ms, chance=random.Random(2))
        )
        await enough.wait()
        task.cancel()
    book.close()
    return tracks


async def two_seconds_of_the_telephone() -> tuple[str, list[str]]:
    """Return the same of a camera whose sound is G.711."""
    mime, parts = "", list[str]()
    enough = asyncio.Event()

    def sink(event: CaptureEvent) -> None:
        nonlocal mime
        if isinstance(event, MediaGap) or event.track == PICTURE:
            return
        mime = event.mime if isinstance(event, TakeInit) else mime
        parts.append(base64.b64encode(event.data).decode())
        if len(parts) > 34:
            enough.set()

    async with (
        gstreamer_camera("", OTHER_SOUNDS["pcmu"]) as url,
        asyncio.timeout(20),
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(capture(url, None, sink, now_ms=now_ms, chance=random.Random(2)))
        await enough.wait()
        task.cancel()
    return mime, parts


async def test_chromium_plays_picture_and_sound_through_media_source(tmp_path: Path) -> None:
    tracks, telephone = await asyncio.gather(two_seconds(tmp_path), two_seconds_of_the_telephone())
    tracks[3] = telephone
    assert tracks[3][0] == 'audio/mp4; codecs="opus"'
    async with running_chromium(SOUND_UNTOUCHED) as browser:
        page = await browser.new_page()
        await page.set_content(PAGE)
        played = await asyncio.gather(
            *(
                page.evaluate(PLAY, [f"t{track}", mime, parts])
                for track, (mime, parts) in tracks.items()
            )
        )
        seen = dict(zip(tracks, played, strict=True))
    for facts in seen.values():
        assert facts["error"] is None
        assert facts["ranges"] == 1
        assert facts["end"] - facts["start"] > 1.7
        assert facts["at"] >= 1
    assert seen[1]["frames"] >= 20
    assert seen[2]["sound"] > 0
    assert seen[3]["sound"] > 0
