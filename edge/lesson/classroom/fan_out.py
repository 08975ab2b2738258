"""Opened lessons to the pages on a school's LAN, over ``/classroom/stream``.

The messages are in ``edge.lesson.classroom.classroom_stream``. A page that joins gets the inits and
the newest group of pictures first. A page on a slow link loses picture, never delays the others.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Never
from urllib.parse import urlsplit

from aiohttp import web

from drivers.entities import NowMs
from edge.lesson.classroom.audience import Audience
from edge.lesson.classroom.board import BoardView
from edge.lesson.classroom.classroom_stream import (
    StreamItem,
    encode_board,
    encode_item,
    encode_state,
)
from edge.lesson.classroom.ll_hls import LiveHls
from edge.lesson.status import LessonStatus, waiting
from sync.lessons.fragment_exchange import Turn
from sync.lessons.fragment_log import Kind, TakeId, is_sound
from sync.lessons.fragment_outlet import Outlet, binary_frame, message
from sync.lessons.fragment_queue import Parcel
from sync.lessons.tcp_connection import give_up_after

VIEWERS_MAX = 1024
GROUP_PARCELS_MAX = 512
GROUP_BYTES_MAX = 16 * 1024 * 1024
SOUND_KEPT_MS = 5000
DEAD_MS = 8000
"""A page that acknowledges nothing for so long is gone: each is told something every second."""
_TICK_S = 1.0
_CLIENT_MESSAGE_BYTES_MAX = 1024


class FanOut:
    """One room's stream; it outlives lessons, :meth:`run` is its task."""

    def __init__(self, now_ms: NowMs) -> None:
        self._now_ms = now_ms
        self._status = waiting(now_ms())
        self._viewers = Audience(monotonic)
        self._listeners = Audience(monotonic)
        self._newest = _Newest()
        self._board = BoardView()
        self._part_came = asyncio.Event()
        self._hls = self._new_hls()

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @property
    def hls(self) -> LiveHls:
        """The same for players without MediaSource."""
        return self._hls

    @property
    def dropped(self) -> int:
        """Fragments that connected pages' links were too slow for."""
        return sum(viewer.dropped for viewer in self._viewers)

    def publish(self, item: StreamItem) -> None:
        """Send an opened init or fragment to every page."""
        parcel = Parcel(
            kind=item.kind,
            track=item.track,
            keyframe=item.keyframe,
            data=binary_frame(encode_item(item)),
        )
        self._newest.keep(item, parcel)
        self._hls.add(item)
        self._viewers.offer(parcel)

    def show(self, status: LessonStatus) -> None:
        """Tell every page how the lesson goes."""
        changed = (status.phase, status.cause) != (self._status.phase, self._status.cause)
        self._status = status
        if changed:
            self._tell()

    def show_board(self, view: BoardView) -> None:
        """Tell every page, and each that joins, what holds beside picture and sound."""
        if view != self._board:
            self._board = view
            self._tell_pages(encode_board(view))

    def clear(self) -> None:
        """Forget the lesson's picture and sound: nobody who joins later shall see them."""
        self._newest = _Newest()
        self._hls = self._new_hls()
        self._tell_of_part()
        self.show_board(BoardView())
        self.show(waiting(self._now_ms()))

    async def next_part(self) -> None:
        """Return when :attr:`hls` has something new, or is another."""
        await self._part_came.wait()

    async def run(self) -> Never:
        """Repeat the state every second, so that a page knows the box is there."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._tell()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one page's WebSocket; refuses pages of other origins.

        With ``media=0`` it hears of the lesson and plays :attr:`hls`.
        """
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="the classroom's stream is for this box's own pages")
        if len(self._viewers) + len(self._listeners) >= VIEWERS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{VIEWERS_MAX} pages are watching already")
        socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=_CLIENT_MESSAGE_BYTES_MAX,
            timeout=1.0,
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        give_up_after(request.transport.get_extra_info("socket"), DEAD_MS)
        pages = self._listeners if request.query.get("media") == "0" else self._viewers
        viewer = Outlet(request.transport, monotonic, _nothing, supply=pages.supply)
        viewer.offer(message(encode_state(self._status, self._now_ms())))
        if self._board != BoardView():
            viewer.offer(message(encode_board(self._board)))
        if pages is self._viewers:
            for parcel in self._newest.parcels():
                viewer.offer(parcel)
        pages.add(viewer)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(viewer.run())
                async for _ in socket:
                    pass  # a page has nothing to say; aiohttp answers pings and closing
                sending.cancel()
        finally:
            pages.discard(viewer)
        return socket

    def _new_hls(self) -> LiveHls:
        # Segments last a second and more: by the clock, no number ever comes twice.
        return LiveHls(self._now_ms() // 1000, self._tell_of_part)

    def _tell_of_part(self) -> None:
        self._part_came.set()
        self._part_came = asyncio.Event()

    def _tell(self) -> None:
        self._tell_pages(encode_state(self._status, self._now_ms()))

    def _tell_pages(self, payload: bytes) -> None:
        told = message(payload)
        self._viewers.offer(told)
        self._listeners.offer(told)


class _Newest:
    """The inits, the newest group of pictures of each track, and the sound that goes with it."""

    def __init__(self) -> None:
        self._take: TakeId | None = None
        self._inits: dict[int, Parcel] = {}
        self._picture: dict[int, list[Parcel]] = {}
        self._picture_bytes: dict[int, int] = {}
        self._picture_ms = 0
        self._sound: deque[tuple[int, Parcel]] = deque(maxlen=GROUP_PARCELS_MAX)

    def keep(self, item: StreamItem, parcel: Parcel) -> None:
        if item.take != self._take:
            self._take = item.take
            self._inits, self._picture, self._picture_ms = {}, {}, 0
            self._sound.clear()
        if item.kind is Kind.INIT:
            self._inits[item.track] = parcel
        elif is_sound(item.track):
            self._sound.append((item.capture_ms, parcel))
            begin_ms = max(self._picture_ms, item.capture_ms - SOUND_KEPT_MS)
            # A sound may begin before its picture's keyframe and still be the only one.
            while self._sound and self._sound[0][0] < begin_ms:
                self._sound.popleft()
        elif item.keyframe:
            self._picture[item.track] = [parcel]
            self._picture_bytes[item.track] = len(parcel.data)
            self._picture_ms = item.capture_ms
        elif item.track in self._picture:
            self._picture[item.track].append(parcel)
            self._picture_bytes[item.track] += len(parcel.data)
            is_long = len(self._picture[item.track]) > GROUP_PARCELS_MAX
            if is_long or self._picture_bytes[item.track] > GROUP_BYTES_MAX:
                del self._picture[item.track]  # no keyframe for long: who joins waits for one

    def parcels(self) -> list[Parcel]:
        picture = [parcel for group in self._picture.values() for parcel in group]
        return [*self._inits.values(), *(parcel for _, parcel in self._sound), *picture]


def _nothing(_: Turn) -> None:
    return None
