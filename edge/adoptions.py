"""The school's devices: adopted by people, driven, followed to other addresses, given up."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Never

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId, NowMs
from drivers.errors import DriverError, SetupError
from edge.box_store import BoxStore
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.finder import Finder
from edge.notebook import Notebook
from edge.pages.actions import Adopt
from edge.pages.box_view import Change
from edge.recorder import Recorder
from edge.repairs import Undriven
from sync.errors import SyncError
from sync.logs.oplog import Row
from sync.writer import Writer

_log = logging.getLogger(__name__)

FOLLOW_EVERY_S = 10.0
SEEK_EVERY_S = 60.0
"""How often devices of the network that are gone are looked for at other addresses."""
MOVING = frozenset({DeviceKind.CAMERA, DeviceKind.BLACKBOARD})
"""Kinds that keep their identity when a router gives them another address."""


class Adoptions:
    """Keeps the fleet and the store's devices the same; on the event loop's thread."""

    def __init__(
        self,
        store: BoxStore,
        writer: Writer,
        fleet: Fleet,
        finder: Finder,
        notebook: Notebook,
        recorder: Recorder,
        *,
        now_ms: NowMs,
        changed: Callable[[Change], None],
    ) -> None:
        self._store = store
        self._writer = writer
        self._fleet = fleet
        self._finder = finder
        self._notebook = notebook
        self._recorder = recorder

        self._now_ms = now_ms
        self._changed = changed
        self.undriven: dict[DeviceId, Undriven] = {}

    async def load(self) -> None:
        """Drive the devices of the store that are not driven yet; what cannot be is noted."""
        for row in await self._writer.call(self._read_devices):
            if row["device"] in self._fleet.devices:
                continue
            try:
                self._fleet.add(
                    AdoptedDevice(
                        device=DeviceId(row["device"]),
                        kind=DeviceKind(row["kind"]),
                        name=row["name"],
                        profile=row["profile"],
                        address=row["address"],
                        room=row["room"],
                    )
                )
            except (SetupError, ValueError) as error:
                _log.error("%s is not driven: %s", row["name"], error)
                undriven = Undriven(
                    device=DeviceId(row["device"]), name=row["name"], reason=str(error)
                )
                self.undriven[undriven.device] = undriven

    async def adopt(self, wish: Adopt, *, who: str) -> DeviceId:
        """Adopt a candidate: drive it from now on and remember it; raises SetupError."""
        candidate, model = self._finder.adoptable(wish.identity, wish.profile)
        device = DeviceId(candidate.identity)
        if device in self._fleet.devices:
            raise SetupError(f"{device} is adopted already; release it first")
        adopted = AdoptedDevice(
            device=device,
            kind=candidate.kind,
            name=wish.name,
            profile=model,
            address=candidate.address,
            room=wish.room,
        )
        if wish.password:
            await self._notebook.keep_password(device, wish.password)
        try:
            self._fleet.add(adopted)
        except SetupError:
            await self._notebook.forget(device)
            raise
        now_ms = self._now_ms()
        evidence = "; ".join(f"{each.method}: {each.detail}" for each in candidate.evidence)
        row: Row = {
            "device": device,
            "kind": candidate.kind.value,
            "name": wish.name,
            "profile": model,
            "address": candidate.address,
            "room": wish.room,
            "evidence": evidence[:1000],
            "adopted_ms": now_ms,
            "adopted_by": who,
        }
        audit: Row = {"at_ms": now_ms, "who": who, "action": "adopt", "subject": device}
        rows: dict[str, list[Row]] = {"device": [row], "audit_entry": [audit]}
        if wish.room:
            rows["room"] = [{"room": wish.room, "name": wish.room}]
        try:
            await self._writer.call(self._store.node.record_all, rows)
        except (sqlite3.Error, SyncError) as error:
            await self._fleet.remove(device)
            raise SetupError(
                f"{wish.name} cannot be remembered: {error}; free some space"
            ) from error
        _log.info("%s adopted %s (%s)", who, wish.name, device)
        self._changed(Change.DEVICES)
        self._changed(Change.CANDIDATES)
        return device

    async def release(self, device: DeviceId, *, who: str) -> None:
        """Give an adopted device up: drive it no more, forget its password; its rows stay."""
        is_driven = device in self._fleet.devices
        if not is_driven and device not in self.undriven:
            raise SetupError(f"{device} is not adopted; the set-up page lists what is")
        now_ms = self._now_ms()
        audit: Row = {"at_ms": now_ms, "who": who, "action": "release", "subject": device}
        gone: Row = {"device": device, "deleted": 1}
        await self._writer.call(
            self._store.node.record_all, {"device": [gone], "audit_entry": [audit]}
        )
        if is_driven:
            await self._fleet.remove(device)
        self._recorder.forget(device)
        self.undriven.pop(device, None)
        _log.info("%s released %s", who, device)
        self._changed(Change.DEVICES)
        self._changed(Change.CANDIDATES)

    async def keep_following(self) -> Never:
        """Go after cameras and displays that a router has given another address."""
        searched_s = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(FOLLOW_EVERY_S)
            gone = [adopted for adopted in self._fleet.devices.values() if self._is_gone(adopted)]
            now_s = asyncio.get_running_loop().time()
            if gone and now_s - searched_s > SEEK_EVERY_S:
                searched_s = now_s
                await self._finder.seek_again({adopted.kind for adopted in gone})
            for adopted in gone:
                address = self._finder.seen_at(adopted.device)
                if address is not None and address != adopted.address:
                    try:
                        await self._follow(adopted, address)
                    except (DriverError, sqlite3.Error) as error:
                        _log.warning("%s is not followed to %s: %s", adopted.name, address, error)

    def _is_gone(self, adopted: AdoptedDevice) -> bool:
        """Tell whether a device of the network is silent where it was adopted.

        Only then is it looked for elsewhere: whoever claims another's identity gets nothing while
        the true one answers.
        """
        presence = self._recorder.presence.get(adopted.device)
        return adopted.kind in MOVING and presence is not None and not presence.online

    async def _follow(self, adopted: AdoptedDevice, address: str) -> None:
        await self._fleet.move(adopted.device, address)
        await self._writer.call(self._note_address, adopted.device, address)
        _log.info("%s is followed from %s to %s", adopted.name, adopted.address, address)
        self._changed(Change.DEVICES)

    def _note_address(self, device: DeviceId, address: str) -> None:
        rows = [dict(row) for row in self._read_devices() if row["device"] == device]
        self._store.node.record("device", [{**row, "address": address} for row in rows])

    def _read_devices(self) -> list[sqlite3.Row]:
        return self._store.reader.execute(
            "SELECT device, kind, name, profile, address, room, evidence, adopted_ms, adopted_by"
            " FROM device WHERE school = ? AND deleted = 0",
            (self._store.identity.school,),
        ).fetchall()
