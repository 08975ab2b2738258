"""The device's end of a serial line, made of a pseudo-terminal with a stable name."""

import asyncio
import errno
import os
import select
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

AWAY_S = 0.02
WRITE_BYTES_MAX = 4096
_BAUDS = {
    getattr(termios, f"B{rate}"): rate
    for rate in (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


class PtyLink:
    """A line that can be unplugged; the other side opens ``path``, a link to the terminal.

    A pseudo-terminal has no speed: ``baud`` is what the other side configured, and pacing is up
    to the simulated device. Bytes for a line nobody has open are lost, as on a real one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closings = 0
        """How often the other side was seen to go; compare to know that it stayed."""
        self._master = -1
        self._heard_open = False
        self._changed = asyncio.Event()
        self.plug()

    def plug(self) -> None:
        """Connect a new line under the same name; harmless when it is connected."""
        if self._master >= 0:
            return
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(self.path)
        os.close(slave)
        self._changed.set()

    def unplug(self) -> None:
        """Tear the line: the other side sees a hang-up, the name is gone."""
        if self._master < 0:
            return
        # The name first: a terminal's number is given anew at once, to any process of the machine.
        with suppress(FileNotFoundError):
            self.path.unlink()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = -1
        self._note_away()
        self._changed.set()

    @property
    def is_open(self) -> bool:
        """Whether the other side has the line open now."""
        if self._master < 0:
            return False
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        away = any(flags & select.POLLHUP for _, flags in poller.poll(0))
        if away:
            self._note_away()
        else:
            self._heard_open = True
        return not away

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

    def _note_away(self) -> None:
        if self._heard_open:
            self._heard_open = False
            self.closings += 1


@asynccontextmanager
async def closing_line(link: PtyLink) -> AsyncIterator[None]:
    """Unplug a line at the end: a name left behind would soon lead to somebody else's terminal."""
    try:
        yield
    finally:
        link.unplug()
