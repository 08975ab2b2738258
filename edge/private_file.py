"""A small file of the box's own, written by a thread that may outlive who waits for it."""

import asyncio
import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from drivers.errors import SetupError
from edge.errors import BoxSetupError
from provisioning import errors
from provisioning.durable_file import read_private, write_private

BYTES_MAX = 1 << 20
Shape = TypeVar("Shape")


class PrivateFile:
    """One 0600 file, replaced whole and durably; of several contents the one asked last stays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._asked = self._written = 0

    def read(self, shape: type[Shape], remedy: str) -> Shape | None:
        """Return the JSON content, None before there is any.

        Raises BoxSetupError with ``remedy`` for what is no such content, IdentityDamagedError for
        what cannot be read or is too large.
        """
        if not self.path.exists():
            return None
        try:
            return msgspec.json.decode(read_private(self.path, BYTES_MAX), type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BoxSetupError(f"{self.path}: {error}; {remedy}") from error

    async def write(self, value: object) -> None:
        """Replace the content by a value, as JSON.

        Raises SetupError when the disk refuses, or for more than :meth:`read` would take.
        """
        content = msgspec.json.encode(value)
        if len(content) > BYTES_MAX:
            raise SetupError(
                f"{self.path}: would be larger than {BYTES_MAX >> 20} MiB; release some devices"
            )
        self._asked += 1
        try:
            await asyncio.to_thread(self._write, self._asked, content)
        except errors.SetupError as error:
            raise SetupError(str(error)) from error

    def _write(self, number: int, content: bytes) -> None:
        with self._turn:
            if number > self._written:
                write_private(self.path, content)
                self._written = number
