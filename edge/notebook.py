"""What the box must remember of its devices and never sends: passwords, wishes, what they told."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from drivers.entities import DeviceId
from drivers.errors import SetupError
from edge.errors import BoxSetupError
from provisioning import errors
from provisioning.durable_file import read_private, write_private


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    password: str | None = None
    wishes: dict[str, str] = {}
    facts: dict[str, str] = {}


class Notebook:
    """One 0600 file, replaced whole and durably at each change.

    What changes it raises SetupError when the disk refuses; the note then stands as it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes = _read(path) if path.exists() else {}
        self._turn = asyncio.Lock()

    def password(self, device: DeviceId) -> str | None:
        return self._note(device).password

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
            notes = {**self._notes, device: change(self._note(device))}
            if notes[device] == _Note():
                del notes[device]
            # Compared as bytes: the order in which wishes were made is part of them.
            content = msgspec.json.encode(notes)
            if content == msgspec.json.encode(self._notes):
                return
            try:
                await asyncio.to_thread(write_private, self._path, content)
            except errors.SetupError as error:
                raise SetupError(str(error)) from error
            self._notes = notes


def _read(path: Path) -> dict[str, _Note]:
    try:
        return msgspec.json.decode(read_private(path), type=dict[str, _Note])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"{path}: {error}; restore it, or move it away and enter the devices' passwords again"
        ) from error
