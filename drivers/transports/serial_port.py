"""Serial ports: opened, configured and locked by pyserial, then read through the event loop."""

import asyncio
import errno
import os
import random
import select
import termios
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Never

import serial

from drivers.errors import SetupError, UnreachableError

BUFFER_BYTES_MAX = 16 * 1024
WRITE_S_MAX = 2.0
RETRY_S_MIN = 0.1
RETRY_S_MAX = 1.0
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """How a port is opened.

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


class SerialPort:
    """An open, exclusively locked port of the running event loop.

    Every method but ``close`` raises UnreachableError once the port is gone.
    """

    def __init__(self, path: Path, settings: LineSettings) -> None:
        """Open the port; SetupError with its remedy when that is for a person to mend."""
        self.path = path
        self._settings = settings
        self._serial = _open(path, settings)
        self._descriptor: int = self._serial.fileno()
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._lost = ""
        self._event = asyncio.Event()
        self._loop.add_reader(self._descriptor, self._on_readable)

    @property
    def name(self) -> str:
        """The last part of the path, by which devices on this port are called."""
        return self.path.name

    @property
    def settings(self) -> LineSettings:
        return self._settings

    @property
    def pending(self) -> int:
        """Bytes that arrived and were not read."""
        return len(self._buffer)

    def set_baud(self, settings: LineSettings) -> None:
        """Change speed and framing; what was received at the old speed is dropped."""
        try:
            self._serial.apply_settings(
                {
                    "baudrate": settings.baud,
                    "bytesize": settings.data_bits,
                    "parity": settings.parity,
                    "stopbits": settings.stop_bits,
                }
            )
        except (serial.SerialException, OSError, termios.error) as error:
            self._fail(f"{self.path} does not take {settings.baud} baud ({error})")
            raise UnreachableError(self._lost) from error
        self._settings = settings
        self._buffer.clear()

    async def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting for the first byte at most ``timeout_s``; b"" then."""
        deadline = self._loop.time() + timeout_s
        while not self._buffer and (remaining_s := deadline - self._loop.time()) > 0:
            await self.wait(remaining_s)
        self._check()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def wait(self, timeout_s: float) -> None:
        """Return when bytes are there, ``interrupt`` was called or the time is over."""
        self._check()
        self._event.clear()
        if self._buffer:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return
        self._check()

    def interrupt(self) -> None:
        """End a ``wait`` that is going on."""
        self._event.set()

    async def write(self, data: bytes) -> None:
        """Hand all bytes to the port within two seconds."""
        rest = memoryview(data)
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                while rest:
                    self._check()
                    rest = rest[await self._write_some(rest) :]
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.path} takes no bytes; check the adapter and its cable"
            ) from error

    def close(self) -> None:
        """Give the port back; harmless when repeated."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = -1
            self._serial.close()
            self._lost = self._lost or f"{self.path} was closed"
            self._event.set()

    async def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            await self._writable()
            return 0
        except OSError as error:
            self._fail(f"{self.path} was unplugged ({error.strerror})")
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
            self._fail(f"{self.path} was unplugged ({error.strerror})")
            return
        if not data:
            if _is_hung_up(self._descriptor):
                self._fail(f"{self.path} was unplugged")
            return
        # A line that talks faster than anyone listens is noise: keep the newest bytes only.
        self._buffer += data
        del self._buffer[: max(0, len(self._buffer) - BUFFER_BYTES_MAX)]
        self._event.set()

    def _fail(self, reason: str) -> None:
        # A descriptor that was hung up is always readable: unwatched, it costs nothing.
        self._loop.remove_reader(self._descriptor)
        self._lost = self._lost or reason
        self._event.set()

    def _check(self) -> None:
        if self._lost:
            raise UnreachableError(self._lost)


async def serve_port(
    path: Path,
    settings: LineSettings,
    rng: random.Random,
    serve: Callable[[SerialPort], Awaitable[Never]],
    on_lost: Callable[[str], None],
) -> Never:
    """Run ``serve`` on the port for ever, reopening it whenever it comes back.

    ``on_lost`` hears the reason at each loss and failed attempt. Attempts are at most a second
    apart, with jitter: a port that was plugged in again serves within two.
    """
    delay_s = RETRY_S_MIN
    while True:
        try:
            port = SerialPort(path, settings)
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


def _open(path: Path, settings: LineSettings) -> serial.Serial:
    line = serial.Serial()
    line.port = str(path)
    line.baudrate = settings.baud
    line.bytesize = settings.data_bits
    line.parity = settings.parity
    line.stopbits = settings.stop_bits
    line.dtr = settings.dtr
    line.rts = settings.rts
    line.timeout = 0
    line.exclusive = True
    try:
        line.open()
    except (OSError, termios.error) as error:
        raise _open_error(path, error) from error
    except ValueError as error:
        raise SetupError(f"{path} cannot run at {settings.baud} baud; use another rate") from error
    return line


def _open_error(path: Path, error: OSError | termios.error) -> SetupError | UnreachableError:
    match error.args[0] if error.args else None:
        case errno.ENOENT:
            return SetupError(f"{path} is not there; plug the adapter in or correct the port")
        case errno.EACCES | errno.EPERM:
            return SetupError(
                f"{path} may not be opened by this user; add the user to the group dialout"
            )
        case errno.EAGAIN | errno.EBUSY:
            return SetupError(f"{path} is in use by another program; stop that program")
        case errno.EIO | errno.ENXIO | errno.ENODEV:
            return UnreachableError(f"{path} does not respond; unplug the adapter and plug it in")
        case _:
            return SetupError(f"{path} is no usable serial port ({error}); correct the port")


def _is_hung_up(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return any(flags & (select.POLLHUP | select.POLLERR) for _, flags in poller.poll(0))
