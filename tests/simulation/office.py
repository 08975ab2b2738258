"""What looks after persons at a box: the product's own parts, called where they are asked."""

from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

from edge.box_store import BoxStore
from edge.erasure import Erasures
from edge.errors import BoxSetupError, HubAwayError
from edge.hub_recovery import RecoveryHub
from edge.restore_report import RestoreWish
from edge.roster import Roster
from edge.school_restore import SchoolRestore
from edge.vault_keeper import VaultKeeper
from hub.vault_shelf import VaultShelf
from sync.errors import StaleBackupError, SyncError
from sync.keys.recipients import RecipientKind
from sync.node import Node
from sync.persons.recovery import RecoveryCode
from sync.persons.vault import PersonVault
from sync.persons.vault_backup import ShelfState, VaultReceipt, VaultShare
from sync.segments.sealing import RandomBytes
from sync.writer import Writer
from tests.simulation.machine import Machine

WHO = "head"
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
ReachShelf = Callable[[], VaultShelf | None]
"""Gives the hub's shelf, None while a box does not reach its hub."""


@dataclass(frozen=True, slots=True)
class ShelfLine:
    """A box's calls to its hub; ``sent`` is what an onlooker keeps of them."""

    school: int
    reach: ReachShelf
    sent: list[tuple[int, bytes]]

    async def state(self) -> ShelfState:
        return self._shelf().state(self.school)

    async def share_after(self, generation: int) -> VaultShare:
        return self._shelf().share_after(self.school, generation)

    async def store(self, backup: bytes) -> VaultReceipt:
        self.sent.append((self.school, backup))
        try:
            return self._shelf().store(self.school, "box", backup)
        except SyncError as error:
            raise BoxSetupError(str(error)) from error

    def _shelf(self) -> VaultShelf:
        shelf = self.reach()
        if shelf is None:
            raise HubAwayError("the hub does not answer")
        return shelf


class Office:
    """One start of a box with its vault, over the node that runs."""

    def __init__(
        self, machine: Machine, vault: PersonVault, line: ShelfLine, random_bytes: RandomBytes
    ) -> None:
        assert machine.node is not None
        self.node, self.vault = machine.node, vault
        reader, writer = machine.reader(), _AtOnce()
        store = cast("BoxStore", _Store(self.node, vault, reader, _Identity(machine.name)))
        hub = cast("RecoveryHub", line)
        roster = Roster(self.node, vault, reader)
        self._keeper = VaultKeeper(store, writer, hub, machine.now_ms, random_bytes, roster.forget)
        self._erasures = Erasures(store, roster, writer, self._keeper, machine.now_ms)
        self._restore = SchoolRestore(store, writer, hub, machine.now_ms, lambda: None, _nothing)
        roster.load()
        self._erasures.finish_begun()

    def seal_to(self, code: RecoveryCode) -> None:
        """Let a code read the school's records, and open its vault's backup."""
        public = code.key().public_key()
        raw = public.public_bytes_raw()
        self.node.keys.confirm(RecipientKind.RECOVERY, raw, "recovery code", WHO)
        self.vault.seal_to(public)

    def forget(self, person: int) -> None:
        self._erasures._destroy(person, WHO)

    def bring_up_to_date(self) -> str:
        """Let the hub have the vault as it is; return why it has not, or nothing."""
        try:
            _at_once(self._keeper.bring_up_to_date())
        except (BoxSetupError, SyncError) as error:
            return str(error)
        return ""

    def restore(self, code: RecoveryCode, shelf: VaultShelf) -> None:
        """Do what ``schoolnode restore`` does once the exchange has brought everything."""
        copy = shelf.copy(self.node.origin)
        wish = RestoreWish(code=code, who=WHO, no_vault=copy is None)
        while self.node.keys.take_over(code.key()):
            while self.node.open_waiting():
                pass
        if copy is not None:
            try:
                self._restore._take_vault(copy, code.key(), wish)
            except StaleBackupError:
                older = RestoreWish(code=code, who=WHO, older_vault=True)
                self._restore._take_vault(copy, code.key(), older)
        self._restore._settle(code.key(), wish, shelf.state(self.node.origin).number)
        self.vault.seal_to(code.key().public_key())


class _AtOnce(Writer):
    """The simulation has one thread."""

    async def call(
        self,
        work: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        return work(*args, **kwargs)


@dataclass(slots=True)
class _Identity:
    box: str


@dataclass(slots=True)
class _Store:
    """What of a ``BoxStore`` is used here."""

    node: Node
    vault: PersonVault
    reader: object
    identity: _Identity


async def _nothing() -> None:
    """Hear that a school is restored where nobody looks anew."""


def _at_once(work: Coroutine[None, None, _Result]) -> _Result:
    """Return what work comes to that waits for nothing."""
    with closing(work):
        try:
            work.send(None)
        except StopIteration as done:
            answer: _Result = done.value
            return answer
    raise AssertionError("it waits for something")
