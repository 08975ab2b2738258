"""A classroom without a screen that measures: what it sees and hears, when, and whether they agree.

Speaks the page's own WebSocket and decodes. The picture tells the camera's time by its bar-code;
the sound tells it too, since a tone begins with each second of the same clock.
"""

import asyncio
import ssl
import time
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Never
from urllib.parse import quote

import aiohttp
import numpy as np
from numpy.typing import NDArray

from edge.demo.lesson_viewer import HeardSound, LessonViewer, ViewedFrame
from edge.lesson.classroom.classroom_stream import HEADER_BYTES
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_sealing import split_init
from sync.lessons.tracks import PICTURE, SOUND

RETRY_S = 0.2
"""As the page begins."""
CONNECT_S_MAX = 10.0
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
VIDEO_TIMESCALE = 90_000
PICTURES_KEPT = 200
_STEP_S = 0.002
_LOUD = 0.1  # of full scale: between silence and the tone's 0.25, as a mean square's root
_QUIET = 0.02
_KIND, _TRACK, _TAKE = 1, 2, slice(4, 8)


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture: when it was decoded, and how old it was."""

    at_ms: int
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """One fragment of sound: when it was decoded, and when it was captured."""

    at_ms: int
    captured_ms: int


@dataclass(frozen=True, slots=True)
class Lip:
    """By how much sound lags behind picture (negative: leads), at one beginning of the tone."""

    at_ms: int
    error_ms: float


class LessonMeter:
    """Watches one room; :meth:`watch` is its task. What it noted is in the three lists."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.heard: list[Heard] = []
        self.lips: list[Lip] = []
        self._begin(b"")

    async def watch(self, origin: str, room: str, trust: ssl.SSLContext) -> Never:
        """Watch for ever, connecting again as the page does."""
        url = f"{origin}/classroom/stream?room={quote(room)}"
        connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with asyncio.timeout(CONNECT_S_MAX):
                        socket = await session.ws_connect(url, max_msg_size=MESSAGE_BYTES_MAX)
                    async with socket:
                        await self._take_in(socket)
                await asyncio.sleep(RETRY_S)

    def _begin(self, take: bytes) -> None:
        self._take = take
        self._announced: set[int] = set()
        self._viewer = LessonViewer(on_wave=self._hear_wave)
        self._shown: deque[tuple[float, int]] = deque(maxlen=PICTURES_KEPT)
        self._bursts: deque[float] = deque()
        self._was_quiet = False

    async def _take_in(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            async with asyncio.timeout(4):  # the box speaks every second
                message = await socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self._take_item(message.data)
            elif message.type is not aiohttp.WSMsgType.TEXT:
                return

    def _take_item(self, data: bytes) -> None:
        track, content = data[_TRACK], data[HEADER_BYTES:]
        if track not in {PICTURE, SOUND}:
            return
        if data[_KIND] == Kind.INIT:
            if data[_TAKE] != self._take:
                self._begin(data[_TAKE])
            content = split_init(content)[1]
            self._announced.add(track)
        elif data[_TAKE] != self._take or track not in self._announced:
            return  # of the take before, as a page passes it over
        captured_ms = int.from_bytes(data[12:20], "big")
        for each in self._viewer.feed(content, now_ms()):
            at_ms = now_ms()
            match each:
                case HeardSound():
                    self.heard.append(Heard(at_ms, captured_ms))
                case ViewedFrame(clock_ms=clock_ms, decode_time=decode_time):
                    if clock_ms is not None:
                        self.seen.append(Seen(at_ms, at_ms - clock_ms))
                        self._shown.append((decode_time / VIDEO_TIMESCALE, clock_ms))
        self._judge_lips()

    def _hear_wave(self, decode_time: int, rate: int, wave: NDArray[np.float32]) -> None:
        """Note where on the take's time line a tone begins after silence."""
        step = int(rate * _STEP_S)
        whole = len(wave) // step * step
        loudness = np.sqrt(np.mean(wave[:whole].reshape(-1, step) ** 2, axis=1))
        for place, level in enumerate(loudness.tolist()):
            if self._was_quiet and level > _LOUD:
                self._bursts.append(decode_time / rate + place * _STEP_S)
                self._was_quiet = False
            elif level < _QUIET:
                self._was_quiet = True

    def _judge_lips(self) -> None:
        while self._bursts and self._shown and self._bursts[0] <= self._shown[-1][0]:
            begun_s = self._bursts.popleft()
            at = bisect_right(self._shown, begun_s, key=lambda shown: shown[0])
            if at == 0:
                continue
            shown_s, clock_ms = self._shown[at - 1]
            camera_ms = clock_ms + (begun_s - shown_s) * 1000
            error_ms = camera_ms - round(camera_ms / 1000) * 1000
            self.lips.append(Lip(now_ms(), error_ms))


def now_ms() -> int:
    return time.time_ns() // 1_000_000
