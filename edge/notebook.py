"""What the box must remember of its devices and never sends: passwords and people's wishes."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from drivers.entities import DeviceId
from provisioning.durable_file import read_private, write_private


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    password: str | None = None
    wishes: dict[str, str] = {}


class Notebook:
    """One 0600 file, replaced whole and durably at each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: dict[str, _Note] = {}
        if path.exists():
            self._notes = msgspec.json.decode(read_private(path), type=dict[str, _Note])

    def password(self, device: DeviceId) -> str | None:
        return self._note(device).password

    def wishes(self, device: DeviceId) -> Mapping[str, str]:
        """Return what people want the device to be, by command."""
        return self._note(device).wishes

    def keep_password(self, device: DeviceId, password: str | None) -> None:
        self._keep(device, msgspec.structs.replace(self._note(device), password=password))

    def keep_wishes(self, device: DeviceId, wishes: Mapping[str, str]) -> None:
        self._keep(device, msgspec.structs.replace(self._note(device), wishes=dict(wishes)))

    def _note(self, device: DeviceId) -> _Note:
        return self._notes.get(device, _Note())

    def _keep(self, device: DeviceId, note: _Note) -> None:
        if self._note(device) == note:
            return
        self._notes[device] = note
        write_private(self._path, msgspec.json.encode(self._notes))
