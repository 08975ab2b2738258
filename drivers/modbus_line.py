"""One question and its answer at a time on a serial Modbus line, here or behind a serial server."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from drivers.codecs.modbus import Reply, Request
from drivers.codecs.modbus_rtu import RtuReplyDecoder, encode_rtu
from drivers.errors import ProtocolError, UnreachableError
from drivers.transports.byte_port import BytePort, LineSettings

FRAME_GAP_BYTES = 3.5
SETTLE_S_MAX = 2.0
_LONGEST_REPLY_S = 5.0


class SilentUnitError(UnreachableError):
    """The unit did not answer in time; the line itself is there."""


class Line(ABC):
    """Asks on an open port; never hands one request's reply to another.

    Bytes that belong to no reply are counted in ``stray_bytes``.
    """

    is_numbered: bool
    """Replies name their request, so that a late one is known as such."""

    def __init__(self, port: BytePort, quiet_s: float = 0.0, gap_s: float = 0.0) -> None:
        self.quiet_s = quiet_s
        self.gap_s = gap_s
        self.stray_bytes = 0
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._active_at = self._loop.time()

    @property
    def settings(self) -> LineSettings:
        return self._port.settings

    @abstractmethod
    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """Return the unit's reply, whose first byte must come ``timeout_s`` after the request.

        SilentUnitError: nothing came. ProtocolError: something else came. UnreachableError: the
        port is gone.
        """

    @abstractmethod
    async def idle(self, timeout_s: float) -> None:
        """Wait for the port's next event; what arrives unasked is noise."""


class RtuLine(Line):
    """RTU frames: replies have no number.

    After any error the line must have been silent for ``quiet_s`` before the next request, and
    ``on_noise`` is shown what belonged to no reply.
    """

    is_numbered = False

    def __init__(
        self,
        port: BytePort,
        quiet_s: float = 0.0,
        gap_s: float = 0.0,
        on_noise: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(port, quiet_s, gap_s)
        self._on_noise = on_noise
        self._settled = False

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        if self._port.pending or not self._settled:
            await self._settle()
        self._settled = False
        byte_s = self._port.settings.byte_s
        gap_s = max(self.gap_s, FRAME_GAP_BYTES * byte_s)
        wait_s = self._active_at + gap_s - self._loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        frame = encode_rtu(request)
        await self._port.write(frame)
        self._active_at = self._loop.time() + len(frame) * byte_s
        reply = await self._hear(request, self._active_at + timeout_s)
        self._settled = True
        return reply

    async def idle(self, timeout_s: float) -> None:
        if not self._port.pending:
            await self._port.wait(timeout_s)
        data = await self._port.read(0)
        if data:
            self._active_at = self._loop.time()
            self._settled = False
            self._discard(data)

    async def _hear(self, request: Request, until: float) -> Reply:
        decoder = RtuReplyDecoder(request)
        byte_s = self._port.settings.byte_s
        last = until + _LONGEST_REPLY_S
        try:
            while True:
                now = self._loop.time()
                # Woken when the reply can be whole, not at each piece an adapter hands over.
                data = await self._port.read(max(0.0, min(until, last) - now), decoder.missing)
                if not data:
                    break
                self._active_at = self._loop.time()
                reply = decoder.feed(data)
                if reply is not None:
                    return reply
                until = self._active_at + self._port.pause_s + decoder.missing * byte_s
        except ProtocolError as error:
            self._discard(decoder.received)
            raise ProtocolError(f"unit {request.unit}: {error}") from error
        if not decoder.received:
            raise SilentUnitError(f"unit {request.unit} did not answer")
        self._discard(decoder.received)
        raise ProtocolError(
            f"unit {request.unit}: the reply broke off after {len(decoder.received)} bytes"
        )

    async def _settle(self) -> None:
        """Drain until the line was silent for ``quiet_s``; ProtocolError after two seconds."""
        deadline = self._loop.time() + SETTLE_S_MAX
        while True:
            remaining_s = self._active_at + self.quiet_s - self._loop.time()
            if remaining_s <= 0 and not self._port.pending:
                self._settled = True
                return
            data = await self._port.read(max(0.0, remaining_s))
            if data:
                self._active_at = self._loop.time()
                self._discard(data)
            if self._active_at > deadline:
                raise ProtocolError(
                    f"{self._port.place} is never quiet; another master or a talker is on the line"
                )

    def _discard(self, data: bytes) -> None:
        self.stray_bytes += len(data)
        if self._on_noise is not None and data:
            self._on_noise(data)
