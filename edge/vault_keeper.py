"""Keeps the vault's backup at the hub up to date, and carries erasures through to their proof."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from edge.box_store import BoxStore
from edge.errors import BoxSetupError, HubAwayError
from edge.hub_recovery import RecoveryHub
from sync.errors import SyncError
from sync.logs.oplog import Row
from sync.persons.restore import erased_persons, forgotten_here
from sync.persons.vault import Erasing, StoredBackup, VaultContents
from sync.persons.vault_backup import ShelfState, VaultReceipt, backup_digest, seal_backup
from sync.segments.sealing import RandomBytes
from sync.writer import Writer

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
"""A change is sent once two looks found the same number: a roster is many changes."""
RETRY_FIRST_S = 5.0
RETRY_MAX_S = 900.0
"""Each try costs a handshake, which a poor link feels."""
SURE_EVERY_S = 3600.0
SURE_FIRST_S = 300.0
"""How often the hub is asked whether it still holds the last backup: it may have been restored."""


@dataclass(frozen=True, slots=True)
class _Due:
    """The vault at one moment, as its next backup needs it."""

    recovery: X25519PublicKey | None
    contents: VaultContents
    stored: StoredBackup | None
    passed: int
    erasing: tuple[Erasing, ...]

    @property
    def is_due(self) -> bool:
        if self.recovery is None:
            return bool(self.erasing)
        stored = self.stored
        return stored is None or (
            stored.number != self.contents.number
            or stored.generation <= self.passed
            or bool(self.erasing)
        )


class VaultKeeper:
    """``detail`` is the last trouble in words, empty when there is none."""

    def __init__(
        self,
        store: BoxStore,
        writer: Writer,
        hub: RecoveryHub,
        now_ms: Callable[[], int],
        random_bytes: RandomBytes,
        forgotten: Callable[[int], None],
    ) -> None:
        """``forgotten`` hears of persons whose keys are destroyed here, in the store's thread."""
        self._node = store.node
        self._vault = store.vault
        self._reader = store.reader
        self._writer = writer
        self._hub = hub
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._forgotten = forgotten
        self._one_at_a_time = asyncio.Lock()
        self._heeded = (-1, -1)
        self.detail = ""

    async def run(self) -> Never:
        """Look after the backup until cancelled."""
        loop = asyncio.get_running_loop()
        # Boxes that start together, when power is back, do not all ask at once.
        sure_s = loop.time() - SURE_EVERY_S + SURE_FIRST_S * self._fraction()
        seen, retry_s = -1, RETRY_FIRST_S
        while True:
            number = await self._writer.call(lambda: self._vault.number)
            is_calm, seen = number == seen, number
            is_unsure = loop.time() - sure_s >= SURE_EVERY_S
            if is_calm and (is_unsure or (await self._writer.call(self._look)).is_due):
                try:
                    await self.bring_up_to_date()
                    sure_s, retry_s = loop.time(), RETRY_FIRST_S
                except (BoxSetupError, SyncError, sqlite3.Error) as error:
                    _log.warning("the vault's backup is not up to date: %s", error)
                    await asyncio.sleep(retry_s * (0.5 + self._fraction()))
                    retry_s = min(2 * retry_s, RETRY_MAX_S)
            await asyncio.sleep(LOOK_EVERY_S)

    async def bring_up_to_date(self) -> None:
        """Make the hub hold the vault as it is now, under a share no forgotten key was under.

        Raises HubAwayError when it is to be tried again, BoxSetupError for the hub's no,
        SyncError or sqlite3.Error when this box cannot write.
        """
        async with self._one_at_a_time:
            try:
                await self._bring_up_to_date()
            except (BoxSetupError, SyncError, sqlite3.Error) as error:
                self.detail = str(error)
                raise
            self.detail = ""

    async def _bring_up_to_date(self) -> None:
        state = await self._hub.state()
        await self._writer.call(self._note_hub, state)
        due = await self._writer.call(self._look)
        if due.recovery is None:
            if due.erasing and state.generation:
                raise BoxSetupError(
                    "the hub holds a vault of this school that this box has no recovery code for:"
                    " run schoolnode restore, or schoolnode recovery new"
                )
            now_ms = self._now_ms()
            await self._writer.call(self._complete, due.erasing, state.generation, now_ms)
            return
        stored = due.stored
        is_held = stored is not None and state.digest == stored.digest
        if is_held and not due.is_due:
            return
        # What this vault does not know to be there may hold forgotten keys under the hub's share:
        # the vault was set back, or the hub's last answer was lost.
        known = state.generation - 1 if is_held or not state.digest else state.generation
        share = await self._hub.share_after(max(due.passed, known, 0))
        backup = seal_backup(
            self._node.origin,
            due.contents,
            due.recovery,
            share,
            self._now_ms(),
            self._random_bytes,
        )
        receipt = await self._hub.store(backup)
        digest = backup_digest(backup)
        told = (receipt.school, receipt.number, receipt.generation, receipt.digest)
        if told != (self._node.origin, due.contents.number, share.generation, digest):
            raise HubAwayError("the hub's receipt is for another vault than was sent; try again")
        await self._writer.call(self._settle, due, receipt)
        _log.info("the hub holds vault backup %d (share %d)", receipt.number, receipt.generation)

    def _fraction(self) -> float:
        return int.from_bytes(self._random_bytes(4)) / 2**32

    def _look(self) -> _Due:
        vault = self._vault
        self._heed_erasures()
        return _Due(
            vault.recovery,
            vault.contents(),
            vault.stored,
            vault.generation_passed,
            tuple(vault.erasing()),
        )

    def _heed_erasures(self) -> None:
        """Destroy keys once more that came back with a copy of this box from before that."""
        (erasures,) = self._reader.execute("SELECT count(*) FROM erasure").fetchone()
        if self._heeded == (erasures, self._vault.number):
            return
        node = self._node
        writer = (node.origin, node.incarnation, node.signer)
        again = forgotten_here(self._reader.cursor(), writer, frozenset(self._vault.persons()))
        for person, asked_ms in again.items():
            self._vault.forget(person, asked_ms, "erased before this box was set back")
            self._forgotten(person)
        if again:
            _log.warning("forgotten again, whose keys came with an older copy: %d", len(again))
        self._heeded = (erasures, self._vault.number)

    def _note_hub(self, state: ShelfState) -> None:
        """See whether the hub was restored from a backup that holds forgotten persons' keys."""
        stored = self._vault.stored
        if stored is None or state.generation >= stored.generation:
            return
        _log.warning(
            "the hub came back with share %d of the vault's key; it held %d before",
            state.generation,
            stored.generation,
        )
        erased = erased_persons(self._reader.cursor(), self._node.origin)
        again = [person for person, clear in erased.items() if clear > state.generation]
        self._vault.erase_again(again, self._now_ms(), stored.generation)

    def _settle(self, due: _Due, receipt: VaultReceipt) -> None:
        self._vault.note_stored(
            StoredBackup(
                number=receipt.number,
                generation=receipt.generation,
                stored_ms=receipt.stored_ms,
                clear_ms=receipt.clear_ms,
                digest=receipt.digest,
            )
        )
        self._complete(due.erasing, receipt.generation, receipt.clear_ms)

    def _complete(self, erasing: tuple[Erasing, ...], generation: int, complete_ms: int) -> None:
        """Write down when erasures are complete; asked again after a crash, once all the same."""
        if not erasing:
            return
        known = self._reader.execute(
            "SELECT person FROM erasure WHERE school = ? AND generation = ?"
            " AND complete_ms IS NOT NULL",
            (self._node.origin, generation),
        ).fetchall()
        told = {person for (person,) in known}
        rows: list[Row] = [
            {
                "at_ms": each.asked_ms,
                "person": each.person,
                "complete_ms": complete_ms,
                "generation": generation,
            }
            for each in erasing
            if each.person not in told
        ]
        self._node.record("erasure", rows)
        self._vault.erased([each.person for each in erasing])
