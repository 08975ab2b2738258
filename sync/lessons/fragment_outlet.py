"""One viewer's WebSocket, written frame by frame so that nothing waits where it cannot be dropped.

Bytes wait in the explicit queue rather than in socket buffers: a frame is written only while the
kernel holds less than 6 KB it has not sent (``SIOCOUTQNSD``), so sound overtakes picture and old
picture is dropped. Frames are made once and written to each viewer's transport.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
from collections.abc import Callable

from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_queue import LiveQueue, Parcel

UNSENT_BYTES_MAX = 6 * 1024
STALL_S_MAX = 15.0
"""A viewer that takes nothing for this long is cut off; it comes back when it can."""

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that were not sent yet
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
    return Parcel(kind=Kind.SIGNATURE, track=0, keyframe=False, data=text_frame(payload))


def unsent_bytes(connection: socket.socket | None) -> int:
    """Return what the kernel has taken and not yet sent; 0 for a socket that is gone."""
    if connection is None or connection.fileno() < 0:
        return 0
    try:
        answer = fcntl.ioctl(connection.fileno(), _SIOCOUTQNSD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def prefer_bbr(connection: socket.socket | None) -> str:
    """Ask for BBR on this connection and return the congestion control it then has.

    BBR keeps the queue in the network short where cubic fills it for seconds; a kernel without it
    keeps what it has.
    """
    if connection is None:
        return ""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
    with contextlib.suppress(OSError):
        name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        return name.rstrip(b"\x00").decode("ascii", "replace")
    return ""


class Outlet:
    """Sends parcels, whose data are whole WebSocket frames, to one viewer.

    ``backlog`` is asked for a frame whenever nothing live waits: catch-up never delays live.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        monotonic_s: Callable[[], float],
        backlog: Callable[[], bytes | None],
    ) -> None:
        self._transport = transport
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._monotonic_s = monotonic_s
        self._backlog = backlog
        self._queue = LiveQueue()
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def dropped(self) -> int:
        """Live parcels this viewer's link was too slow for."""
        return self._queue.dropped

    @property
    def queued_bytes(self) -> int:
        return self._queue.queued_bytes

    def offer(self, parcel: Parcel) -> None:
        """Send now if the link has room and nothing waits before it; queue it otherwise."""
        self._queue.offer(parcel, self._monotonic_s())
        if self._transport.is_closing():
            return
        while self._has_room():
            following = self._queue.take(self._monotonic_s())
            if following is None:
                return
            self._transport.write(following.data)
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
            if not self._has_room():
                if now_s - progress_s > STALL_S_MAX:
                    self._transport.abort()
                    return
                await asyncio.sleep(poll_s)
                poll_s = min(2 * poll_s, _POLL_S_MAX)
                continue
            progress_s = now_s
            poll_s = _POLL_S_MIN
            parcel = self._queue.take(now_s)
            frame = parcel.data if parcel is not None else self._backlog()
            if frame is not None:
                self._transport.write(frame)
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._wake.wait()
            progress_s = self._monotonic_s()

    def _has_room(self) -> bool:
        buffered = self._transport.get_write_buffer_size()
        return buffered == 0 and unsent_bytes(self._socket) < UNSENT_BYTES_MAX


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _LENGTH_7_MAX:
        return struct.pack(">BB", first, length) + payload
    if length <= _LENGTH_16_MAX:
        return struct.pack(">BBH", first, 126, length) + payload
    return struct.pack(">BBQ", first, 127, length) + payload
