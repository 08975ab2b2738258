"""What the box must remember of its devices and never sends: passwords, wishes, what they told."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from drivers.codecs.digest import Credentials
from drivers.entities import DeviceId
from drivers.errors import SetupError
from edge.private_file import PrivateFile

REMEDY = "restore it, or move it away and enter the devices' passwords again"


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    password: str | None = None
    wishes: dict[str, str] = {}
    facts: dict[str, str] = {}


class Notebook:
    """One 0600 file, replaced whole and durably at each change.

    What changes it raises SetupError when the disk refuses; the note then stands as it was.
    """

    def __init__(self, path: Path) -> None:
        self._file = PrivateFile(path)
        self._notes = self._file.read(dict[str, _Note], REMEDY) or {}
        self._is_written = True
        self._turn = asyncio.Lock()

    def password(self, device: DeviceId) -> str | None:
        return self._note(device).password

    def credentials(self, device: DeviceId) -> Credentials | None:
        """Return user and password; what was entered without a colon is admin's."""
        entered = self.password(device)
        if entered is None:
            return None
        user, colon, password = entered.partition(":")
        return Credentials(user=user if colon else "admin", password=password if colon else entered)

    def passwords(self) -> set[str]:
        """Return every password, as it was entered."""
        return {note.password for note in self._notes.values() if note.password}

    def wishes(self, device: DeviceId) -> Mapping[str, str]:
        """Return what people want the device to be, by command."""
        return self._note(device).wishes

    def facts(self, device: DeviceId) -> Mapping[str, str]:
        """Return what a driver must know of the device after a restart."""
        return self._note(device).facts

    async def keep_facts(self, device: DeviceId, facts: Mapping[str, str]) -> None:
        await self._change(device, lambda note: msgspec.structs.replace(note, facts=dict(facts)))

    async def keep_password(self, device: DeviceId, password: str | None) -> None:
        await self._change(device, lambda note: msgspec.structs.replace(note, password=password))

    async def keep_wishes(self, device: DeviceId, wishes: Mapping[str, str]) -> None:
        await self._change(device, lambda note: msgspec.structs.replace(note, wishes=dict(wishes)))

    async def forget(self, device: DeviceId) -> None:
        await self._change(device, lambda _: _Note())

    def _note(self, device: DeviceId) -> _Note:
        return self._notes.get(device, _Note())

    async def _change(self, device: DeviceId, change: Callable[[_Note], _Note]) -> None:
        async with self._turn:
            before, note = self._notes, self._note(device)
            changed = change(note)
            # Compared as bytes: the order in which wishes were made is part of them.
            is_news = msgspec.json.encode(changed) != msgspec.json.encode(note)
            if self._is_written and not is_news:
                return
            notes = {**before, device: changed}
            if changed == _Note():
                del notes[device]
            # Before the disk has it: who is cancelled meanwhile has asked for it all the same.
            self._notes, self._is_written = notes, False
            try:
                await self._file.write(notes)
            except SetupError:
                self._notes = before
                raise
            self._is_written = True
