"""A two-way stream of bytes at one file descriptor, read through the event loop, and its return."""

import asyncio
import os
import random
import select
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Never, TypeVar

from drivers.errors import SetupError, UnreachableError

BUFFER_BYTES_MAX = 16 * 1024
WRITE_S_MAX = 2.0
RETRY_S_MIN = 0.1
RETRY_S_MAX = 1.0
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """How a serial line is spoken, here or behind a serial server.

    DTR and RTS stay low unless a profile says otherwise: DTR resets many micro-controllers and
    RTS keys the transmitter of simple RS-485 adapters.
    """

    baud: int
    data_bits: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    dtr: bool = False
    rts: bool = False

    @property
    def byte_s(self) -> float:
        """How long one byte takes on the wire, with start, parity and stop bits."""
        parity_bits = 0 if self.parity == "N" else 1
        return (1 + self.data_bits + parity_bits + self.stop_bits) / self.baud


class BytePort(ABC):
    """An open port of the running event loop; ``place`` is what messages call it.

    One task at a time reads or waits; any may call ``interrupt``.
    Every method but ``close`` raises UnreachableError once the port is gone. ``pause_s``: a silence
    this long ends what a device was saying.
    """

    pause_s: float

    def __init__(self, place: str, descriptor: int, settings: LineSettings) -> None:
        self.place = place
        self.settings = settings
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._lost = ""
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 1
        self._loop.add_reader(descriptor, self._on_readable)

    @property
    def pending(self) -> int:
        """Bytes that arrived and were not read."""
        return len(self._buffer)

    async def read(self, timeout_s: float, least: int = 1) -> bytes:
        """Return what has arrived, once that is ``least`` bytes or after ``timeout_s``."""
        deadline = self._loop.time() + timeout_s
        while len(self._buffer) < least and (remaining_s := deadline - self._loop.time()) > 0:
            await self.wait(remaining_s, least)
        self._check()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def wait(self, timeout_s: float, least: int = 1) -> None:
        """Return when ``least`` bytes are there, ``interrupt`` was called or the time is over."""
        self._check()
        if len(self._buffer) >= least:
            return
        self._wanted = least
        # A bare future: at some hundred waits a second asyncio.timeout would be a tenth of the bus.
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self.interrupt)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        self._check()

    def interrupt(self) -> None:
        """End a ``wait`` that is going on."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def write(self, data: bytes) -> None:
        """Hand all bytes to the port within two seconds."""
        self._check()
        sent = self._write_some(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                while rest:
                    await self._writable()
                    self._check()
                    rest = rest[self._write_some(rest) :]
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.place} takes no bytes; check the adapter and its cable"
            ) from error

    def close(self) -> None:
        """Give the port back; harmless when repeated."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = -1
            self._close()
            self._lost = self._lost or f"{self.place} was closed"
            self.interrupt()

    @abstractmethod
    def _close(self) -> None:
        """Close the descriptor."""

    @abstractmethod
    def _loss(self, cause: str) -> str:
        """Return how a person is told that the port is gone; ``cause`` may be empty."""

    def _write_some(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._fail(error.strerror)
            raise UnreachableError(self._lost) from error

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self._descriptor)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error.strerror)
            return
        if not data:
            if _is_hung_up(self._descriptor):
                self._fail("")
            return
        # A line that talks faster than anyone listens is noise: keep the newest bytes only.
        self._buffer += data
        if len(self._buffer) > BUFFER_BYTES_MAX:
            del self._buffer[:-BUFFER_BYTES_MAX]
        if len(self._buffer) >= self._wanted:
            self.interrupt()

    def _fail(self, cause: str | None) -> None:
        # A descriptor that was hung up is always readable: unwatched, it costs nothing.
        self._loop.remove_reader(self._descriptor)
        self._lost = self._lost or self._loss(cause or "")
        self.interrupt()

    def _check(self) -> None:
        if self._lost:
            raise UnreachableError(self._lost)


Port = TypeVar("Port", bound=BytePort)


async def keep_open(
    open_port: Callable[[], Awaitable[Port]],
    rng: random.Random,
    serve: Callable[[Port], Awaitable[Never]],
    on_lost: Callable[[str], None],
) -> Never:
    """Run ``serve`` on a port for ever, opening it again whenever it comes back.

    ``on_lost`` hears the reason at each loss and failed attempt. Attempts are at most a second
    apart, with jitter: a port that was plugged in again serves within two.
    """
    delay_s = RETRY_S_MIN
    while True:
        try:
            port = await open_port()
        except (SetupError, UnreachableError) as error:
            on_lost(str(error))
        else:
            delay_s = RETRY_S_MIN
            try:
                await serve(port)
            except UnreachableError as error:
                on_lost(str(error))
            finally:
                port.close()
        await asyncio.sleep(delay_s * rng.uniform(0.5, 1.0))
        delay_s = min(RETRY_S_MAX, delay_s * 2)


def _is_hung_up(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN | select.POLLRDHUP)
    hung_up = select.POLLHUP | select.POLLERR | select.POLLRDHUP
    return any(flags & hung_up for _, flags in poller.poll(0))
