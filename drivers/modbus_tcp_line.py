"""One question and its answer at a time on a Modbus TCP connection."""

import asyncio

from drivers.codecs.modbus import Reply, Request
from drivers.codecs.modbus_tcp import TcpFrame, TcpFrameDecoder, encode_tcp, read_tcp_reply
from drivers.errors import ProtocolError, UnreachableError
from drivers.modbus_line import Line, SilentUnitError
from drivers.transports.byte_port import BytePort


class TcpLine(Line):
    """Modbus TCP: replies name their transaction, so that a late one is dropped.

    A connection on which something else or half a frame came is given up: UnreachableError, and
    the owner opens another.
    """

    is_numbered = True

    def __init__(self, port: BytePort) -> None:
        super().__init__(port)
        self._frames = TcpFrameDecoder()
        self._transaction = 0

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        self._drop(await self._port.read(0))
        wait_s = self._active_at + self.gap_s - self._loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._transaction = (self._transaction + 1) & 0xFFFF
        await self._port.write(encode_tcp(request, self._transaction))
        until = self._loop.time() + timeout_s
        while True:
            data = await self._port.read(max(0.0, until - self._loop.time()))
            self._active_at = self._loop.time()
            if not data:
                break
            reply = None
            for frame in self._decode(data):
                if frame.transaction == self._transaction and reply is None:
                    reply = read_tcp_reply(request, frame)
                else:
                    self.stray_bytes += len(frame.pdu)
            if reply is not None:
                return reply
            if self._active_at >= until:
                break
        if self._frames.pending:
            raise UnreachableError(f"{self._port.place}: unit {request.unit}'s reply broke off")
        raise SilentUnitError(f"unit {request.unit} did not answer")

    async def idle(self, timeout_s: float) -> None:
        if not self._port.pending:
            await self._port.wait(timeout_s)
        self._drop(await self._port.read(0))

    def _drop(self, data: bytes) -> None:
        for frame in self._decode(data):
            self.stray_bytes += len(frame.pdu)

    def _decode(self, data: bytes) -> list[TcpFrame]:
        try:
            return self._frames.feed(data)
        except ProtocolError as error:
            raise UnreachableError(f"{self._port.place}: {error}; it is dialled again") from error
