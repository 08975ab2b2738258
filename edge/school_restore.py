"""Rebuilding a school on this box: a spare that was claimed for it, and the recovery code.

Each step may be repeated whatever came before it, so a cut, a kill or a wrong code costs nothing
but asking again. The code's key lives in memory only, while the work goes on.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Never, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from edge.box_store import BoxStore
from edge.errors import BoxSetupError, HubAwayError
from edge.hub_recovery import RecoveryHub
from edge.restore_report import RestoreReport, RestoreWish, Step, VaultRestored
from sync.errors import (
    ForgedError,
    MalformedError,
    RecoveryCodeError,
    StaleBackupError,
    SyncError,
)
from sync.keys.recipients import RecipientKind, fingerprint
from sync.persons.restore import (
    LogHeld,
    SchoolPicture,
    back_again,
    compare_digests,
    compare_holdings,
    erased_persons,
    has_unsealed,
    is_same_moment,
    known_persons,
    read_holdings,
    read_picture,
    without,
)
from sync.persons.vault import StoredBackup
from sync.persons.vault_backup import VaultCopy, backup_digest, open_backup, read_header
from sync.segments.sealing import recipient_id
from sync.store import connect_readonly
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
STILL_S_MAX = 1800.0
"""A hub that gives nothing further for so long is not waited for."""
COMPARE_S_MAX = 60.0
_Answer = TypeVar("_Answer")


class SchoolRestore:
    """Works off one wish at a time; ``report`` is for anyone to read."""

    def __init__(
        self,
        store: BoxStore,
        writer: Writer,
        hub: RecoveryHub,
        now_ms: Callable[[], int],
        wake: Callable[[], None],
        restored: Callable[[], Coroutine[None, None, None]],
    ) -> None:
        """``wake`` asks the link for an exchange now; ``restored`` lets the daemon look anew."""
        self._store = store
        self._node = store.node
        self._vault = store.vault
        self._reader = store.reader
        self._writer = writer
        self._hub = hub
        self._now_ms = now_ms
        self._wake = wake
        self._restored = restored
        self._wishes: asyncio.Queue[RestoreWish] = asyncio.Queue(maxsize=1)
        self.report = RestoreReport()

    def start(self, wish: RestoreWish) -> None:
        """Begin; raises BoxSetupError while another one runs."""
        if self.report.step not in {Step.IDLE, Step.DONE, Step.FAILED} or self._wishes.full():
            raise BoxSetupError("a restore is under way; see: schoolnode restore --status")
        self.report = RestoreReport(step=Step.CODE, begun_ms=self._now_ms())
        self._wishes.put_nowait(wish)

    async def run(self) -> Never:
        """Work until cancelled."""
        while True:
            wish = await self._wishes.get()
            try:
                await self.restore(wish)
            except (BoxSetupError, SyncError, sqlite3.Error) as error:
                _log.warning("the restore stopped: %s", error)
                self.report.step = Step.FAILED
                self.report.detail = str(error)
                self.report.ended_ms = self._now_ms()

    async def restore(self, wish: RestoreWish) -> RestoreReport:
        """Restore; raises BoxSetupError or SyncError with what to do."""
        recovery = wish.code.key()
        self.report = RestoreReport(step=Step.CODE, begun_ms=self._now_ms())
        copy = await self._matching_vault(recovery, wish)
        self.report.step = Step.FETCH
        await self._fetch()
        self.report.step = Step.KEYS
        await self._open(recovery)
        self.report.step = Step.VAULT
        if copy is not None:
            await self._writer.call(self._take_vault, copy, recovery, wish)
        shelved = (await self._patiently(self._hub.state)).number
        await self._writer.call(self._settle, recovery, wish, shelved)
        await self._restored()
        self.report.step = Step.COMPARE
        await self._compare()
        self.report.step = Step.DONE
        self.report.ended_ms = self._now_ms()
        return self.report

    async def _matching_vault(
        self, recovery: X25519PrivateKey, wish: RestoreWish
    ) -> VaultCopy | None:
        """Return the hub's copy of the vault; refuse the wrong code before anything is fetched."""
        if wish.no_vault:
            return None
        copy = await self._patiently(self._hub.copy)
        if copy is None:
            raise BoxSetupError(
                "the hub holds no vault of this school, so its names cannot come back; for all the"
                " rest: schoolnode restore --without-names"
            )
        header = read_header(copy.backup)
        if header.recovery != recipient_id(recovery.public_key()):
            raise RecoveryCodeError(
                "this recovery code is not the one the school's vault is sealed to: take the one"
                " printed last; if it is lost, this one brings back at most what is older:"
                " schoolnode restore --without-names"
            )
        return copy

    async def _fetch(self) -> None:
        """Wait until the exchange has brought all that the hub holds of the school."""
        loop = asyncio.get_running_loop()
        moved_s = loop.time()
        while True:
            hub = (await self._patiently(self._hub.holdings)).logs
            own = (self._node.origin, self._node.incarnation)
            here = await self._writer.call(self._holdings)
            fetched = compare_holdings(here, hub, own)
            if fetched != self.report.fetched:
                moved_s = loop.time()
            self.report.fetched, self.report.detail = fetched, ""
            if fetched.complete:
                return
            if loop.time() - moved_s > STILL_S_MAX:
                raise HubAwayError(
                    f"the hub gave nothing further for {STILL_S_MAX / 60:.0f} minutes;"
                    " see: schoolnode sync status, then restore again"
                )
            self._wake()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _open(self, recovery: X25519PrivateKey) -> None:
        """Take over the keys and fold all that they open, some at a time."""
        taken = 1
        while taken:
            taken = await self._writer.call(self._node.keys.take_over, recovery)
            self.report.keys += taken
            while folded := await self._writer.call(self._node.open_waiting):
                self.report.folded += folded
        self.report.unopened = await self._writer.call(self._count_unopened)
        if not await self._writer.call(self._is_reader, recovery):
            raise RecoveryCodeError(
                "this recovery code opens none of the school's records; take the one printed last"
            )

    def _count_unopened(self) -> int:
        (bodies, segments) = self._reader.execute(
            "SELECT (SELECT count(*) FROM unopened WHERE origin = ?1),"
            " (SELECT coalesce(sum(stored - applied), 0) FROM log WHERE origin = ?1)",
            (self._node.origin,),
        ).fetchone()
        return int(bodies) + int(segments)

    def _is_reader(self, recovery: X25519PrivateKey) -> bool:
        """Tell whether the school ever granted this key anything."""
        found = self._reader.execute(
            "SELECT 1 FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE g.recipient = ? AND l.origin = ? LIMIT 1",
            (recipient_id(recovery.public_key()), self._node.origin),
        ).fetchone()
        return found is not None

    def _take_vault(self, copy: VaultCopy, recovery: X25519PrivateKey, wish: RestoreWish) -> None:
        header = read_header(copy.backup)
        try:
            contents = open_backup(copy.backup, self._node.origin, recovery, copy.share)
        except (ForgedError, MalformedError) as error:
            raise BoxSetupError(
                f"{error}. The hub's copy is damaged; have the district look at it, or bring back"
                " the rest: schoolnode restore --without-names"
            ) from error
        cursor = self._reader.cursor()
        erased = erased_persons(cursor, self._node.origin)
        clear_from = max(erased.values(), default=0)
        if header.generation < clear_from and not wish.older_vault:
            raise StaleBackupError(
                f"the hub's vault is older (share {header.generation}) than an erasure (share"
                f" {clear_from}): the hub was set back. The forgotten stay forgotten; people added"
                " since have no names in it. To take it all the same: schoolnode restore"
                " --older-vault"
            )
        gone = frozenset(erased)
        back = back_again(contents, gone)
        generation = max(header.generation, clear_from)
        merged = self._vault.merge(without(contents, gone))
        if back:
            # Forgotten at the lost box, or here; the hub's backup held them still.
            self._vault.erase_again(back, self._now_ms(), generation)
        if self._vault.stored is None:
            # Last: a box that stops before this knows no share that it may go on with.
            self._vault.note_stored(
                StoredBackup(
                    number=header.number,
                    generation=generation,
                    stored_ms=header.made_ms,
                    clear_ms=header.made_ms,
                    digest=backup_digest(copy.backup),
                )
            )
        self.report.vault = VaultRestored(
            number=header.number,
            generation=header.generation,
            made_ms=header.made_ms,
            added=merged.added,
            clashes=tuple(sorted(merged.clashes)),
        )

    def _settle(self, recovery: X25519PrivateKey, wish: RestoreWish, shelved: int) -> None:
        """Let this box go on as the school's: recipients, taken ordinals, the audit."""
        node, public = self._node, recovery.public_key()
        if not wish.no_vault:
            self._vault.seal_to(public)
        else:
            self._vault.rise_above(shelved)
        # A code that opens not all was replaced by another: it reads nothing further.
        if not self.report.unopened and not self._is_revoked(public):
            raw = public.public_bytes_raw()
            node.keys.confirm(RecipientKind.RECOVERY, raw, "recovery code", wish.who)
        cursor = self._reader.cursor()
        self._vault.take(known_persons(cursor, node.origin))
        now_ms = self._now_ms()
        node.record(
            "audit_entry",
            [
                {
                    "at_ms": now_ms,
                    "who": wish.who,
                    "action": "restore",
                    "subject": f"box {self._store.identity.box}",
                    "place": fingerprint(public.public_bytes_raw()),
                }
            ],
        )
        self._count_people(cursor)
        self.report.other_boxes = self._other_boxes(cursor)

    def _is_revoked(self, public: X25519PublicKey) -> bool:
        """Tell whether the school's logs say that this code was replaced by another."""
        found = self._reader.execute(
            "SELECT 1 FROM confirmed_recipient WHERE school = ? AND recipient = ? AND revoked = 1",
            (self._node.origin, recipient_id(public)),
        ).fetchone()
        return found is not None

    def _count_people(self, cursor: sqlite3.Cursor) -> None:
        rows = cursor.execute(
            "SELECT person, name FROM person WHERE school = ? AND deleted = 0",
            (self._node.origin,),
        ).fetchall()
        names = 0
        for person, name in rows:
            try:
                names += bool(self._vault.open(person, "name", name or b""))
            except (KeyError, ForgedError):
                continue
        self.report.people, self.report.names = len(rows), names
        self.report.forgotten = len(self._vault.forgotten())

    def _other_boxes(self, cursor: sqlite3.Cursor) -> tuple[str, ...]:
        rows = cursor.execute(
            "SELECT box FROM box_certificate WHERE school = ? AND box <> ? AND deleted = 0"
            " AND coalesce(revoked, 0) = 0 ORDER BY box",
            (self._node.origin, self._store.identity.box),
        ).fetchall()
        return tuple(box for (box,) in rows)

    async def _compare(self) -> None:
        """Compare tables with the hub's at a moment when both hold the same; try for a while."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + COMPARE_S_MAX
        while not self.report.unopened and loop.time() < end_s:
            await self._writer.call(self._node.seal_all)
            self._wake()
            await asyncio.sleep(LOOK_EVERY_S)
            hub = await self._patiently(self._hub.picture)
            here = await self._writer.call(self._picture)
            if here is None:
                continue
            is_same = is_same_moment(here, hub)
            self.report.tables = tuple(compare_digests(here, hub))
            self.report.same_moment = is_same
            if is_same:
                return

    def _picture(self) -> SchoolPicture | None:
        """Return this box's picture, None while rows wait that no segment holds."""
        if has_unsealed(self._reader.cursor(), self._node.origin):
            return None
        with closing(connect_readonly(self._store.path)) as connection:
            return read_picture(connection, self._node.origin)

    def _holdings(self) -> list[LogHeld]:
        return read_holdings(self._reader.cursor(), self._node.origin)

    async def _patiently(self, ask: Callable[[], Coroutine[None, None, _Answer]]) -> _Answer:
        """Ask the hub until it answers, up to STILL_S_MAX: lines are cut, and that is normal."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + STILL_S_MAX
        while True:
            try:
                return await ask()
            except HubAwayError as error:
                if loop.time() > end_s:
                    raise
                self.report.detail = str(error)
            await asyncio.sleep(LOOK_EVERY_S)
