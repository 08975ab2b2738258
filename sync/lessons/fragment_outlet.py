"""One viewer's WebSocket, written frame by frame so that nothing waits where it cannot be dropped.

Bytes wait in the explicit queue rather than in socket buffers: a frame is written only while the
kernel holds less than 6 KB it has not sent (``SIOCOUTQNSD``), so sound overtakes picture and old
picture is dropped. Frames are made once and written to each viewer's transport.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from sync.lessons.fragment_dispatch import Backlog, Dispatch
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_queue import Parcel
from sync.lessons.fragment_rungs import ANEW, Ladder, Rung, Standing, Supply
from sync.lessons.link_gauge import Reading, read_link
from sync.lessons.tcp_connection import under_way_bytes, unsent_bytes

STALL_S_MAX = 15.0
"""A viewer that takes nothing for this long is cut off; it comes back when it can."""

_POLL_S_MIN, _POLL_S_MAX = 0.002, 0.02
_BINARY, _TEXT = 0x82, 0x81  # RFC 6455 §5.2: final frame, opcode 2 and 1
_LENGTH_7_MAX, _LENGTH_16_MAX = 125, 0xFFFF


def binary_frame(payload: bytes) -> bytes:
    """Return a whole unmasked WebSocket message as a server sends it (RFC 6455 §5.2)."""
    return _frame(_BINARY, payload)


def text_frame(payload: bytes) -> bytes:
    return _frame(_TEXT, payload)


def message(payload: bytes) -> Parcel:
    """Return a text message that goes before all media."""
    return Parcel(kind=Kind.EVENT, track=0, keyframe=False, data=text_frame(payload))


class Outlet:
    """Sends parcels, whose data are whole WebSocket frames, to one viewer.

    ``backlog`` is asked for a record whenever nothing live waits: catch-up never delays live.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        monotonic_s: Callable[[], float],
        backlog: Backlog,
        *,
        in_parts: bool = False,
        standing: Standing = ANEW,
        supply: Supply | None = None,
    ) -> None:
        """``in_parts``: the viewer is a box, which puts a large record's parts together.

        ``supply``: what is offered, noted by who offers the same to many.
        """
        self._transport = transport
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._monotonic_s = monotonic_s
        self._in_parts = in_parts
        self._dispatch = Dispatch(
            backlog, binary_frame, in_parts=in_parts, ladder=Ladder(standing, supply=supply)
        )
        self._queue = self._dispatch.queue
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def dropped(self) -> int:
        """Live parcels this viewer's link was too slow for."""
        return self._queue.dropped

    @property
    def queued_bytes(self) -> int:
        """What waits for this viewer's link here, before the kernel."""
        return self._queue.queued_bytes

    @property
    def rung(self) -> Rung:
        """The picture this viewer is sent now."""
        return self._dispatch.rung

    @property
    def standing(self) -> Standing:
        """What this viewer's next connection is to begin with."""
        return self._queue.ladder.standing

    @property
    def transport(self) -> asyncio.Transport:
        """May be written to between parcels while the outlet is clear."""
        return self._transport

    @property
    def is_clear(self) -> bool:
        """Tell whether the link has room and all that is offered goes straight to it."""
        return self._queue.is_clear and self.stays_clear

    @property
    def stays_clear(self) -> bool:
        """Tell the same of an outlet that was clear and was offered nothing since."""
        return not self._transport.is_closing() and self._has_room()

    def leaves_out(self, parcel: Parcel) -> bool:
        """Tell whether offering a parcel would change nothing."""
        return self._queue.leaves_out(parcel)

    def offer(self, parcel: Parcel) -> None:
        """Send now if the link has room and nothing waits before it; queue it otherwise."""
        now_s = self._monotonic_s()
        if self._transport.is_closing():
            return
        if self._passes(parcel, now_s):
            self._transport.write(parcel.data)
            return
        self._queue.offer(parcel, now_s)
        while self._has_room():
            piece = self._dispatch.next_live(now_s, self._under_way())
            if piece is None:
                break
            self._transport.write(piece.data)
        if len(self._queue):
            self._wake.set()

    def wake(self) -> None:
        """Tell that the backlog has something."""
        self._wake.set()

    async def run(self) -> None:
        """Send what waits; returns when the transport is closed or takes nothing for 15 s."""
        progress_s = self._monotonic_s()
        poll_s = _POLL_S_MIN
        while not self._transport.is_closing():
            now_s = self._monotonic_s()
            self._dispatch.look(self._read, now_s)
            if not self._has_room():
                if now_s - progress_s > STALL_S_MAX:
                    self._transport.abort()
                    return
                self._dispatch.gauge.note_full(poll_s)
                await asyncio.sleep(poll_s)
                poll_s = min(2 * poll_s, _POLL_S_MAX)
                continue
            progress_s = now_s
            poll_s = _POLL_S_MIN
            piece = self._dispatch.next(now_s, self._under_way())
            if piece is not None:
                self._transport.write(piece.data)
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_settled else self._dispatch.rest_s):
                    await self._wake.wait()
            progress_s = self._monotonic_s()

    def _read(self) -> Reading | None:
        return read_link(self._socket)

    @property
    def _is_settled(self) -> bool:
        """A page that is sent everything: until something waits, there is nothing to look after."""
        return not self._in_parts and self._dispatch.rung is Rung.MAIN

    def _passes(self, parcel: Parcel, now_s: float) -> bool:
        """Tell whether a parcel may be sent at once, the kernel having room."""
        if self._in_parts:
            self._dispatch.look(self._read, now_s)
        passes = self._dispatch.passes(parcel, now_s, self._under_way())
        return passes and self._has_room()

    def _under_way(self) -> int:
        return under_way_bytes(self._socket) if self._in_parts else 0

    def _has_room(self) -> bool:
        buffered = self._transport.get_write_buffer_size()
        return buffered == 0 and unsent_bytes(self._socket) < self._dispatch.gauge.unsent_bytes_max


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _LENGTH_7_MAX:
        return struct.pack(">BB", first, length) + payload
    if length <= _LENGTH_16_MAX:
        return struct.pack(">BBH", first, 126, length) + payload
    return struct.pack(">BBQ", first, 127, length) + payload
