"""The recovery code, the vault's backup, erasures and a rebuilding, as one part of the box."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from edge.box_store import BoxStore
from edge.erasure import Erasures
from edge.errors import BoxSetupError
from edge.hub_recovery import RecoveryHub
from edge.roster import Roster
from edge.school_restore import SchoolRestore
from edge.vault_keeper import VaultKeeper
from sync.errors import RecoveryCodeError
from sync.keys.recipients import Recipient, RecipientKind, Standing, fingerprint
from sync.persons.recovery import RecoveryCode, new_recovery_code, parse_recovery_code
from sync.persons.vault import StoredBackup
from sync.segments.sealing import RandomBytes, RecipientId, recipient_id
from sync.segments.segment import HUB
from sync.writer import Writer

NAME = "recovery code"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStanding:
    """``number`` of the vault now, and what the hub holds of it; ``stored`` None: nothing yet.

    ``vault_waits`` and ``keys_wait``: the hub lacks the newest vault, or keys for this code.
    """

    fingerprint: str | None
    made_ms: int | None
    who: str | None
    people: int
    number: int
    stored: StoredBackup | None
    vault_waits: bool
    keys_wait: bool
    detail: str


class RecoveryOffice:
    """``writer`` is the thread of ``store``."""

    def __init__(
        self,
        store: BoxStore,
        roster: Roster,
        writer: Writer,
        hub: RecoveryHub,
        now_ms: Callable[[], int],
        random_bytes: RandomBytes,
        wake: Callable[[], None],
        restored: Callable[[], Coroutine[None, None, None]],
    ) -> None:
        """``wake`` asks the link for an exchange now; ``restored`` lets the daemon look anew."""
        self._node = store.node
        self._vault = store.vault
        self._reader = store.reader
        self._writer = writer
        self._random_bytes = random_bytes
        self.keeper = VaultKeeper(store, writer, hub, now_ms, random_bytes, roster.forget)
        self.erasures = Erasures(store, roster, writer, self.keeper, now_ms)
        self.restore = SchoolRestore(store, writer, hub, now_ms, wake, restored)

    def works(self) -> Mapping[str, Callable[[], Coroutine[None, None, None]]]:
        return {"the vault's backup": self.keeper.run, "restoring": self.restore.run}

    async def load(self) -> None:
        """Go on with what a crash interrupted."""
        await self._writer.call(self.erasures.finish_begun)

    async def new_code(self, who: str) -> RecoveryCode:
        """Make a recovery code, good from now on in the place of the one before.

        It is returned once and stored nowhere. Raises RecipientError or sqlite3.Error.
        """
        code = new_recovery_code(self._random_bytes)
        await self._writer.call(self._take_code, code, who)
        return code

    async def check(self, typed: str) -> None:
        """Raise RecoveryCodeError unless this is the present code."""
        public = parse_recovery_code(typed).key().public_key()
        present = await self._writer.call(lambda: self._vault.recovery)
        if present is None:
            raise BoxSetupError("this box has no recovery code yet: schoolnode recovery new")
        if recipient_id(present) != recipient_id(public):
            raise RecoveryCodeError("this is a recovery code, but not this school's present one")

    async def standing(self) -> RecoveryStanding:
        return await self._writer.call(self._standing)

    def _take_code(self, code: RecoveryCode, who: str) -> None:
        public = code.key().public_key()
        fresh = self._node.keys.confirm(
            RecipientKind.RECOVERY, public.public_bytes_raw(), NAME, who
        )
        self._vault.seal_to(public)
        for former in self._recovery_keys():
            if former.id != fresh and former.standing is not Standing.REVOKED:
                self._node.keys.revoke(former.id, who)

    def _recovery_keys(self) -> list[Recipient]:
        return [
            each for each in self._node.keys.recipients() if each.kind is RecipientKind.RECOVERY
        ]

    def _standing(self) -> RecoveryStanding:
        present, stored = self._vault.recovery, self._vault.stored
        about = None
        if present is not None:
            identity = recipient_id(present)
            about = next((each for each in self._recovery_keys() if each.id == identity), None)
        number = self._vault.number
        waits = present is not None and (
            stored is None
            or stored.number != number
            or stored.generation <= self._vault.generation_passed
        )
        return RecoveryStanding(
            fingerprint=fingerprint(present.public_bytes_raw()) if present else None,
            made_ms=about.decided_ms if about else None,
            who=about.who if about else None,
            people=len(self._vault.persons()),
            number=number,
            stored=stored,
            vault_waits=waits or bool(self._vault.erasing()),
            keys_wait=present is not None and self._keys_wait(recipient_id(present)),
            detail=self.keeper.detail,
        )

    def _keys_wait(self, recovery: RecipientId) -> bool:
        """Tell whether the hub lacks the grant of a key to the recovery key."""
        (waiting,) = self._reader.execute(
            "SELECT EXISTS (SELECT 1 FROM own_key k WHERE NOT EXISTS (SELECT 1 FROM own_grant"
            " WHERE key_id = k.key_id AND recipient = ?1))"
            " OR NOT EXISTS (SELECT 1 FROM key_grant WHERE recipient = ?1)"
            " OR EXISTS (SELECT 1 FROM key_grant g"
            " JOIN log l ON l.id = g.log LEFT JOIN peer_cursor p ON p.log = l.id AND p.peer = ?4"
            " WHERE g.recipient = ?1 AND l.origin = ?2 AND l.incarnation = ?3"
            " AND (g.row > l.sealed_row OR coalesce(p.stored, 0) < l.stored))",
            (recovery, self._node.origin, self._node.incarnation, HUB),
        ).fetchone()
        return bool(waiting)
