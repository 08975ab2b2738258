"""Pupils, whose names are sealed under keys of their own, and of whom some are forgotten.

A school's box has its vault, its hub the shelf with the vault's backup. Both are the product's, on
real files that are copied, set back and lost with their machines. What a forgotten pupil's key
opens is decided here, by trying every vault, and every backup that ever went over the line under
every share of the hub's that is still anywhere.
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hub.vault_shelf import VaultShelf
from sync.errors import SyncError
from sync.persons.recovery import RecoveryCode, new_recovery_code
from sync.persons.vault import PersonVault
from sync.persons.vault_backup import VaultShare, open_backup, read_header
from sync.segments.segment import HUB
from tests.simulation.books import BrokenInvariantError
from tests.simulation.checks import settle
from tests.simulation.machine import Machine
from tests.simulation.office import Office, ShelfLine
from tests.simulation.world import World

SCHOOLS_MAX = 3
_ACTS = 4
"""What an office does at a time."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system without a disk, on which nothing waits
Belongings = dict[str, bytes]
"""Files of a machine beside its store, by name: a box's vault, the hub's shelf."""


@dataclass(slots=True)
class _Pupil:
    """What a school's office knows of one pupil; the key was seen when the pupil was entered."""

    school: int
    person: int
    name: str
    cell: bytes
    key: bytes
    is_forgotten: bool = False


@dataclass
class Pupils:
    """Enters and forgets pupils; :meth:`strike` raises what the disk of the machine raises."""

    world: World
    retention_ms: int
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    _chance: random.Random = field(init=False)
    _folder: Path = field(init=False)
    _codes: dict[int, RecoveryCode] = field(default_factory=dict)
    _pupils: list[_Pupil] = field(default_factory=list)
    _vaults: dict[str, PersonVault] = field(default_factory=dict)
    _offices: dict[str, Office] = field(default_factory=dict)
    _set_back: set[str] = field(default_factory=set)
    """Boxes whose vault is not the one they wrote last, which somebody may have to restore."""
    _unsure: set[int] = field(default_factory=set)
    """Schools of whose vaults one was ever lost or older: names may be lost with it."""

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.world.seed}/pupils")
        self._folder = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))

    def close(self) -> None:
        for vault in self._vaults.values():
            vault.close()
        shutil.rmtree(self._folder)

    def shelf(self) -> VaultShelf:
        world = self.world
        shelf = VaultShelf(
            self._folder / "shelf", 0, lambda: world.district.now, self._chance.randbytes
        )
        shelf._kept_ms = self.retention_ms
        return shelf

    # What happens ----------------------------------------------------------------------------

    def choose(self) -> Machine | None:
        """Return a box that something happens at, None where there is none of this version."""
        boxes = [each for each in self.world.boxes() if self._has_pupils(each)]
        return self._chance.choice(boxes) if boxes else None

    def strike(self, machine: Machine) -> None:
        """Enter pupils, forget some, or let the hub have the vault."""
        is_lost = machine.name in self._set_back and not self._path(machine.name).exists()
        if machine.node is None or is_lost:
            return
        for _ in range(_ACTS):
            with machine.at_work():
                office = self._office(machine)
                known = self._vault(machine).persons()
                here = [
                    each
                    for each in self._pupils
                    if each.school == machine.origin and each.person in known
                ]
                match self._chance.randrange(4):
                    case 0 if here:
                        pupil = self._chance.choice(here)
                        pupil.is_forgotten = True
                        office.forget(pupil.person)
                        self.world.note(f"{machine.name} forgets pupil {pupil.person}")
                    case 1:
                        self._bring_up_to_date(machine)
                    case _:
                        self._enter(machine)

    def _has_pupils(self, machine: Machine) -> bool:
        origin = machine.origin
        if machine.is_older or origin in self.world.hostile:
            return False
        if origin not in self._codes and len(self._codes) < SCHOOLS_MAX:
            self._codes[origin] = new_recovery_code(self._chance.randbytes)
        return origin in self._codes

    def _enter(self, machine: Machine) -> None:
        vault = self._vault(machine)
        person = vault.new_person()
        name = f"pupil {self._chance.randrange(10**9)}"
        cell = vault.seal(person, "name", name)
        key = vault.contents().keys[person]
        self._pupils.append(_Pupil(machine.origin, person, name, cell, key))
        machine.record({"person": [{"person": person, "kind": "pupil", "name": cell}]})

    def _bring_up_to_date(self, machine: Machine) -> None:
        why = self._office(machine).bring_up_to_date()
        if why:
            self.world.note(f"{machine.name}'s vault is not at the hub: {why}")

    # Machines that are copied and set back ---------------------------------------------------

    def belongings(self, machine: Machine) -> Belongings:
        if machine.origin == HUB:
            shelf = self._folder / "shelf"
            return {path.name: path.read_bytes() for path in shelf.glob("*")}
        path = self._path(machine.name)
        return {"vault": path.read_bytes()} if path.exists() else {}

    def replace(self, machine: Machine, files: Belongings) -> None:
        """Give a machine these files in the place of its own."""
        if machine.origin == HUB:
            shelf = self._folder / "shelf"
            shutil.rmtree(shelf, ignore_errors=True)
            shelf.mkdir(mode=0o700)
            for name, content in files.items():
                (shelf / name).write_bytes(content)
            return
        self._unsure.add(machine.origin)
        if machine.name in self._vaults:
            self._vaults.pop(machine.name).close()
        self._offices.pop(machine.name, None)
        for path in self._folder.glob(f"{machine.name}.vault*"):
            path.unlink()
        if "vault" in files:
            self._path(machine.name).write_bytes(files["vault"])
        if machine.origin in self._codes:
            self._set_back.add(machine.name)

    # In calm ---------------------------------------------------------------------------------

    def come_home(self) -> None:
        """Let persons restore what was lost, and every erasure come to its end."""
        if not self._pupils:
            return
        for machine in self._boxes():
            with machine.at_work():
                is_lost = not self._path(machine.name).exists()
                office = self._office(machine)
                if machine.name in self._set_back and (is_lost or office.bring_up_to_date()):
                    office.restore(self._codes[machine.origin], self.shelf())
                    self.world.note(f"{machine.name} is restored by its recovery code")
        self._set_back.clear()
        for _ in range(2):
            for machine in self._boxes():
                with machine.at_work():
                    self._bring_up_to_date(machine)
            settle(self.world, everyone=False)

    def check(self, cloned: set[int], hub_backups: Callable[[], list[Belongings]]) -> int:
        """At a quiet point: raise BrokenInvariantError if too little opens, or too much.

        Return how many pupils were forgotten for good. ``hub_backups`` gives those that are kept
        at that moment, which is when their erasures are complete.
        """
        for machine in self._boxes():
            self._check_box(machine, cloned)
        told = self._told()
        if not told:
            return 0
        self.world.district.now = max(self.world.district.now, *told.values()) + 1
        opened = set(self._opened(hub_backups()))
        for pupil in self._pupils:
            if (pupil.school, pupil.person) not in told:
                continue
            if pupil.key in opened:
                raise BrokenInvariantError(
                    f"pupil {pupil.person} of {pupil.school} was forgotten, and a key opens still"
                )
            self._check_files(pupil)
        return len(told)

    def _check_box(self, machine: Machine, cloned: set[int]) -> None:
        vault = self._vault(machine)
        if machine.origin in cloned:
            return  # of two vaults the hub takes the one that changed more
        if vault.erasing():
            raise BrokenInvariantError(f"{machine.name}'s hub never let go of {vault.erasing()}")
        for pupil in self._pupils:
            if pupil.school != machine.origin or pupil.is_forgotten:
                continue
            is_here = pupil.person in vault.persons()
            if is_here and vault.open(pupil.person, "name", pupil.cell) != pupil.name:
                raise BrokenInvariantError(f"pupil {pupil.person} is another at {machine.name}")
            if not is_here and machine.origin not in self._unsure:
                raise BrokenInvariantError(f"{machine.name} lost the name of {pupil.person}")

    def _check_files(self, pupil: _Pupil) -> None:
        files = {path.name: path.read_bytes() for path in self._folder.rglob("*") if path.is_file()}
        for machine in self.world.machines.values():
            for name in machine.disk.names():
                files[f"{machine.name}/{name}"] = machine.disk.content(name)
        for name, content in files.items():
            if pupil.key in content:
                raise BrokenInvariantError(f"{name} holds the key of forgotten {pupil.person}")

    def _told(self) -> dict[tuple[int, int], int]:
        """Return when erasures are complete, as the schools' logs at the hub say."""
        rows = self.world.hub.rows(
            "SELECT school, person, max(complete_ms) FROM erasure"
            " WHERE complete_ms IS NOT NULL GROUP BY school, person"
        )
        told = msgspec.convert(rows, list[tuple[int, int, int]])
        return {(school, person): at_ms for school, person, at_ms in told}

    def _opened(self, hub_backups: list[Belongings]) -> Iterator[bytes]:
        """Yield every person's key that anybody can still come by."""
        for machine in self._boxes():
            yield from self._vault(machine).contents().keys.values()
        shelves = [self.belongings(self.world.hub), *hub_backups]
        shares: set[tuple[int, VaultShare]] = set()
        for number, shelf in enumerate(shelves):
            folder = self._folder / f"seen-{number}"
            folder.mkdir(mode=0o700)
            for name, content in shelf.items():
                (folder / name).write_bytes(content)
            seen = VaultShelf(folder, 0, lambda: 0, bytes)
            for school in self._codes:
                held = seen._shares(school)
                shares |= {(school, each) for each in (held.current, held.pending) if each}
            shutil.rmtree(folder)
        for school, backup in dict.fromkeys(self.sent):
            for of, share in shares:
                if of == school and share.generation == read_header(backup).generation:
                    yield from self._open(school, backup, share)

    def _open(self, school: int, backup: bytes, share: VaultShare) -> Iterator[bytes]:
        try:
            contents = open_backup(backup, school, self._codes[school].key(), share)
        except SyncError:
            return  # of another share with that number, which a hub that was set back drew
        yield from contents.keys.values()

    # What a box has --------------------------------------------------------------------------

    def _boxes(self) -> list[Machine]:
        return [
            each
            for each in self.world.boxes()
            if self._path(each.name).exists() or each.name in self._set_back
        ]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.vault"

    def _vault(self, machine: Machine) -> PersonVault:
        known = self._vaults.get(machine.name)
        if known is None:
            known = self._vaults[machine.name] = PersonVault(
                self._path(machine.name), self._chance.randbytes
            )
        return known

    def _office(self, machine: Machine) -> Office:
        """Return what looks after a vault, made anew when the box was started anew."""
        known = self._offices.get(machine.name)
        if known is not None and known.node is machine.node:
            return known
        line = ShelfLine(machine.origin, lambda: self._reach(machine), self.sent)
        office = Office(machine, self._vault(machine), line, self._chance.randbytes)
        if office.vault.recovery is None and machine.name not in self._set_back:
            office.seal_to(self._codes[machine.origin])
        self._offices[machine.name] = office
        return office

    def _reach(self, machine: Machine) -> VaultShelf | None:
        is_up = self.world.hub.node is not None and self.world.links[machine.name].up
        return self.shelf() if is_up else None
