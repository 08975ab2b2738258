"""The device's end of a serial line, made of a pseudo-terminal with a stable name."""

import asyncio
import ctypes
import errno
import os
import select
import struct
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Never

from drivers.simulators.ledger import Ledger

AWAY_S = 0.02
NOTED_EVERY_S = 0.1
WRITE_BYTES_MAX = 4096
_BAUDS = {
    getattr(termios, f"B{rate}"): rate
    for rate in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}

# Linux, inotify(7): opens are watched because equal events next to each other become one.
_OPEN, _CLOSE = 0x20, 0x08 | 0x10
_EVENT = struct.Struct("iIII")
_EVENTS_BYTES = 64 * 1024


class _Closings:
    """How often terminals were closed, by the kernel's own count; one for the process.

    Open while there is a terminal to watch: a process may have few of these at a time.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = -1
        self._counts: dict[int, int] = {}

    def watch(self, terminal: str) -> int:
        """Count from now on; returns what :meth:`count` and :meth:`forget` ask for."""
        if not self._counts:
            self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._inotify < 0:
                raise OSError(
                    ctypes.get_errno(),
                    "no closings can be watched; stop what watches files, or raise"
                    " fs.inotify.max_user_instances",
                    terminal,
                )
        watch: int = self._libc.inotify_add_watch(
            self._inotify, os.fsencode(terminal), _OPEN | _CLOSE
        )
        if watch < 0:
            error = OSError(ctypes.get_errno(), "its closings cannot be watched", terminal)
            if not self._counts:
                os.close(self._inotify)
            raise error
        self._counts[watch] = 0
        return watch

    def count(self, watch: int) -> int:
        with suppress(BlockingIOError):
            while told := os.read(self._inotify, _EVENTS_BYTES):
                for number, mask, _, _ in _EVENT.iter_unpack(told):
                    if number in self._counts:
                        self._counts[number] += bool(mask & _CLOSE)
        return self._counts[watch]

    def forget(self, watch: int) -> None:
        self._libc.inotify_rm_watch(self._inotify, watch)
        del self._counts[watch]
        if not self._counts:
            os.close(self._inotify)


_closings = _Closings()


class PtyLink:
    """A line that can be unplugged; the other side opens ``path``, a link to the terminal.

    A pseudo-terminal has no speed: ``baud`` is what the other side configured, and pacing is up
    to the simulated device. Bytes for a line nobody has open are lost, as on a real one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._master = -1
        self._watch = -1
        self._closings_before = 0
        self._changed = asyncio.Event()
        self.plug()

    def plug(self) -> None:
        """Connect a new line under the same name; harmless when it is connected.

        OSError leaves it as it was.
        """
        if self._master >= 0:
            return
        with ExitStack() as undo:
            master, slave = os.openpty()
            undo.callback(os.close, master)
            try:
                tty.setraw(slave)
                terminal = os.ttyname(slave)
            finally:
                os.close(slave)
            os.set_blocking(master, False)
            watch = _closings.watch(terminal)  # before anybody can open it by its name
            undo.callback(_closings.forget, watch)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(f".{self.path.name}.new")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(terminal)
            fresh.replace(self.path)
            undo.pop_all()
        self._master, self._watch = master, watch
        self._changed.set()

    def unplug(self) -> None:
        """Tear the line: the other side sees a hang-up, the name is gone."""
        if self._master < 0:
            return
        # The name first: a terminal's number is given anew at once, to any process of the machine.
        with suppress(FileNotFoundError):
            self.path.unlink()
        asyncio.get_running_loop().remove_reader(self._master)
        self._closings_before = self.closings + self.is_open
        _closings.forget(self._watch)
        os.close(self._master)
        self._master = -1
        self._changed.set()

    @property
    def closings(self) -> int:
        """How often the other side went, however shortly; compare to know that it stayed."""
        now = 0 if self._master < 0 else _closings.count(self._watch)
        return self._closings_before + now

    @property
    def is_open(self) -> bool:
        """Whether the other side has the line open now."""
        if self._master < 0:
            return False
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        return not any(flags & select.POLLHUP for _, flags in poller.poll(0))

    @property
    def baud(self) -> int:
        """What the other side configured; 0 when the line is torn or the rate is unusual."""
        if self._master < 0:
            return 0
        return _BAUDS.get(termios.tcgetattr(self._master)[5], 0)

    async def read(self) -> bytes:
        """Return what the other side sent next, waiting while it is away or silent."""
        while True:
            self._changed.clear()
            if self._master < 0:
                await self._changed.wait()
                continue
            if not self.is_open:
                await asyncio.sleep(AWAY_S)
                continue
            try:
                return os.read(self._master, WRITE_BYTES_MAX)
            except BlockingIOError:
                await self._readable()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise

    async def note_closings(self, ledger: Ledger) -> Never:
        """Write ``closed`` with the line's name, soon after the other side went, for ever."""
        noted = self.closings
        while True:
            await asyncio.sleep(NOTED_EVERY_S)
            if self.closings != noted:
                noted = self.closings
                ledger.write("closed", line=self.path.name)

    def write(self, data: bytes) -> None:
        """Send bytes; what does not fit the terminal's buffer is lost."""
        if self.is_open:
            with suppress(BlockingIOError):
                os.write(self._master, data)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        master = self._master
        loop.add_reader(master, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            # After unplug() the number may already belong to another file.
            if self._master == master:
                loop.remove_reader(master)


@asynccontextmanager
async def closing_line(link: PtyLink) -> AsyncIterator[None]:
    """Unplug a line at the end: a name left behind would soon lead to somebody else's terminal."""
    try:
        yield
    finally:
        link.unplug()
