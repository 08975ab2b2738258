"""Pages in Chromium whose picture carries the camera's clock: how old is what they show."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from shutil import which
from statistics import median, quantiles

from playwright.async_api import Browser, Page, async_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
    # Janus and the browser are on one machine, and nobody resolves names for them.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
)
FIRST_S_MAX = 30.0
SETTLE_S = 3.0

# Reads the bar-code of drivers/simulators/clock_picture.py from each frame the page presents, by a
# canvas, and notes the moment and the frame's age; CRC-16/CCITT as there.
WATCH = """(() => {
  const COLUMNS = 32, ROWS = 2, WIDE = 10, HIGH = 10;
  const canvas = document.createElement("canvas");
  canvas.width = COLUMNS * WIDE; canvas.height = ROWS * HIGH;
  const ink = canvas.getContext("2d", {willReadFrequently: true});
  window.clockSeen = [];
  window.clockFirstMs = null;
  window.clockPassed = 0;
  window.lips = [];  // ms by which a presented frame is ahead of the sound that is heard beside it
  function read(video) {
    ink.drawImage(video, 0, 0, video.videoWidth, Math.floor(video.videoHeight / 9),
                  0, 0, canvas.width, canvas.height);
    const data = ink.getImageData(0, 0, canvas.width, canvas.height).data;
    const levels = [];
    for (let row = 0; row < ROWS; row += 1) {
      for (let column = 0; column < COLUMNS; column += 1) {
        let sum = 0;
        for (let y = 3; y < 7; y += 1) {
          for (let x = 3; x < 7; x += 1) {
            sum += data[4 * ((row * HIGH + y) * canvas.width + column * WIDE + x) + 1];
          }
        }
        levels.push(sum / 16);
      }
    }
    const middle = (Math.min(...levels) + Math.max(...levels)) / 2;
    const code = [];
    for (let at = 0; at < 8; at += 1) {
      code.push(levels.slice(8 * at, 8 * at + 8).reduce((n, level) => 2 * n + (level > middle), 0));
    }
    let crc = 0xFFFF;
    for (const byte of code.slice(0, 6)) {
      crc ^= byte << 8;
      for (let bit = 0; bit < 8; bit += 1) {
        crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1 & 0xFFFF;
      }
    }
    if (crc !== code[6] * 256 + code[7]) { return null; }
    return code.slice(0, 6).reduce((n, byte) => n * 256 + byte, 0);
  }
  function look(video) {
    video.requestVideoFrameCallback((_, frame) => {
      const sound = document.querySelector("audio");
      const heardMs = sound && !sound.paused ? sound.currentTime * 1000 : null;
      const clock = read(video);
      const now = Date.now();
      if (heardMs) { window.lips.push(frame.mediaTime * 1000 - heardMs); }
      window.clockPassed += 1;
      if (clock !== null) {
        if (window.clockFirstMs === null) { window.clockFirstMs = performance.now(); }
        window.clockSeen.push([now, now - clock]);
      }
      look(video);
    });
  }
  const seek = setInterval(() => {
    const video = document.querySelector("video");
    if (video) { clearInterval(seek); look(video); }
  }, 4);
})();"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What one page showed in a while; ``delays_ms`` one a frame, ``first_ms`` since navigation.

    ``stalls`` are those that our own player counted since it began, 0 for others. ``lips_ms``, one
    a frame, say how far it was ahead of the sound; none where no own element plays the sound.
    """

    first_ms: float
    delays_ms: Sequence[float]
    frames_a_second: float
    sound_bytes: int
    stalls: int
    lips_ms: Sequence[float]

    @property
    def median_ms(self) -> float:
        return median(self.delays_ms)

    @property
    def p95_ms(self) -> float:
        return quantiles(self.delays_ms, n=20, method="inclusive")[18]


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run Debian's Chromium for the time of the block."""
    path = which("chromium")
    if path is None:
        raise RuntimeError("chromium is missing; run: apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        await browser.close()


async def watch_page(browser: Browser, address: str, seconds: float) -> Watch:
    """Open an address and watch its first video element; RuntimeError when nothing is shown."""
    context = await browser.new_context(
        ignore_https_errors=True, locale="zh-CN", viewport={"width": 1280, "height": 720}
    )
    try:
        page = await context.new_page()
        await page.add_init_script(WATCH)
        await page.goto(address)
        await _wait_for_first(page, address)
        await asyncio.sleep(SETTLE_S)
        await page.evaluate("window.clockSeen = []; window.lips = []")
        before = await page.evaluate(SOUND_BYTES)
        await asyncio.sleep(seconds)
        seen = await page.evaluate("window.clockSeen")
        if len(seen) < 2:  # noqa: PLR2004 - one says nothing of how it goes on
            raise RuntimeError(f"{address} shows its picture no longer")
        return Watch(
            first_ms=await page.evaluate("window.clockFirstMs"),
            delays_ms=[delay for _, delay in seen],
            frames_a_second=len(seen) / seconds,
            sound_bytes=await page.evaluate(SOUND_BYTES) - before,
            stalls=await page.evaluate(_STALLS),
            lips_ms=await page.evaluate("window.lips"),
        )
    finally:
        await context.close()


_STALLS = "window.schoolnodePlayer ? window.schoolnodePlayer.stalls : 0"
SOUND_BYTES = """[...document.querySelectorAll("audio, video")]
  .reduce((sum, each) => sum + (each.webkitAudioDecodedByteCount || 0), 0)"""


async def _wait_for_first(page: Page, address: str) -> None:
    try:
        async with asyncio.timeout(FIRST_S_MAX):
            while await page.evaluate("window.clockFirstMs") is None:  # noqa: ASYNC110 - a page's state
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        passed = await page.evaluate("window.clockPassed")
        raise RuntimeError(
            f"{address} shows no clock within {FIRST_S_MAX:g} s ({passed} frames passed)"
        ) from error
