"""What a node's peers say they hold of its logs, and what follows from that here.

A peer that holds all of a log gets nothing more of it; one that holds more of a school's own logs
than the school, or something else, remembers what the school has lost: the school goes on in a new
incarnation, takes back what it can and writes anew what the peer does not hold.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sync.clock import HybridClock
from sync.directory import Directory
from sync.history.horizon import ended
from sync.history.membership import note_heard, note_return
from sync.history.taking_back import heed, take_back
from sync.intake.bodies import Bodies
from sync.intake.repetitions import let_stand
from sync.keys.keyring import Keyring
from sync.logs.incarnation import begin_incarnation, read_unsettled, reissue_settled
from sync.logs.log_state import Holding, LogState, find_log, log_id_of, read_logs
from sync.logs.receipts import (
    Verdict,
    compare,
    forget_above,
    forget_unnamed,
    note_agreed,
    note_claim,
    read_receipts,
)
from sync.segments.sealing import RandomBytes
from sync.segments.segment import HUB, LogName
from sync.tables.row_check import Row


class Store(Protocol):
    """What its peers' words change at a node; ``incarnation`` is set once that is durable."""

    incarnation: int

    @property
    def origin(self) -> int: ...

    def transaction(self) -> AbstractContextManager[sqlite3.Cursor]: ...

    def record_within(
        self, cursor: sqlite3.Cursor, table_name: str, rows: Sequence[Row], /
    ) -> None: ...


class Peers:
    """Blocking; called from the node's thread."""

    def __init__(
        self,
        store: Store,
        connection: sqlite3.Connection,
        clock: HybridClock,
        keyring: Keyring,
        directory: Directory,
        random_bytes: RandomBytes,
    ) -> None:
        self._store = store
        self._connection = connection
        self._clock = clock
        self._keyring = keyring
        self._directory = directory
        self._random_bytes = random_bytes

    def cursors(self, peer: int) -> dict[int, tuple[int, int]]:
        """Return what a peer last said it holds: log id -> (stored, applied)."""
        receipts = read_receipts(self._connection.cursor(), peer)
        return {log: (receipt.stored, receipt.applied) for log, receipt in receipts.items()}

    def lacking(self, peer: int, peer_incarnation: int | None) -> list[tuple[LogState, int]]:
        """Return logs of which a peer has not all, and what it has, by its own word.

        Of the peer's own logs only those of other incarnations than its present one are meant,
        and none while that is not known.
        """
        cursor = self._connection.cursor()
        held = "coalesce((SELECT stored FROM peer_cursor WHERE peer = ?1 AND log = id), 0)"
        former = "origin = ?1 AND incarnation <> ?2"
        if peer == HUB:
            given = f"(origin = ?3 OR ({former}))"
        else:
            reached = "(audience IN ('d', 's' || ?1) OR audience GLOB 'l*') AND origin <> ?1"
            given = f"(({reached}) OR ({former})) AND ?3 = {HUB}"
        where = f"WHERE {given} AND stored > {held}"
        logs = read_logs(cursor, where, peer, peer_incarnation, self._store.origin)
        receipts = read_receipts(cursor, peer)
        return [(log, receipts[log.id].stored if log.id in receipts else 0) for log in logs]

    def logs_from(self, peer: int) -> list[LogState]:
        """Return logs that a peer may bring: its own, what a hub passes on, this node's former."""
        former = "(origin = ? AND incarnation <> ?)"
        brought = "origin <> ?" if peer == HUB else "origin = ?"
        return read_logs(
            self._connection.cursor(),
            f"WHERE {former} OR {brought}",
            self._store.origin,
            self._store.incarnation,
            self._store.origin if peer == HUB else peer,
        )

    def ended(self) -> frozenset[tuple[int, int]]:
        """Return (origin, incarnation) of which nothing more is taken: evicted before, and back."""
        return ended(self._connection.cursor()) if self._store.origin == HUB else frozenset()

    def note_holdings(self, peer: int, told: Sequence[Holding], *, complete: bool) -> list[Holding]:
        """Remember what a peer says it holds; return what of that this node has yet to hold alike.

        With a ``complete`` vector the peer holds nothing of the logs it does not name. When a
        school's hub holds more of its present logs than itself, or something else, the school
        begins a new incarnation and reissues what was not acknowledged.
        """
        incarnation = self._store.incarnation
        now_ms = self._clock.now_ms()
        with self._store.transaction() as cursor:
            contradictions, ahead = self._note_all(cursor, peer, told, complete=complete)
            note_heard(cursor, peer, now_ms)
            if self._store.origin == HUB:
                note_return(cursor, self._store, peer, now_ms)
            if self._store.origin != HUB == peer:
                chance = self._random_bytes
                is_shared = self._shares_incarnation(cursor, told)
                incarnation = heed(cursor, self._keyring, contradictions, incarnation, chance)
                if is_shared and incarnation == self._store.incarnation:
                    incarnation = begin_incarnation(cursor, chance)
            if complete or peer == HUB:
                former = self._former_unsealed(cursor, peer, incarnation)
                self._reissue(cursor, former, peer, incarnation)
        self._store.incarnation = incarnation
        return ahead

    def note_caught_up(self, peer: int, ahead: Iterable[Holding]) -> list[Holding]:
        """Take what a peer said it holds as its receipts, now that this node holds as much.

        ``ahead`` is what :meth:`note_holdings` returned; what of it is lacking still is returned.
        """
        lacking = []
        with self._store.transaction() as cursor:
            for holding in ahead:
                log = find_log(cursor, holding.log)
                verdict = compare(cursor, log, holding) if log is not None else Verdict.AHEAD
                if verdict is Verdict.AHEAD:
                    lacking.append(holding)
                elif log is not None and verdict is Verdict.AGREES:
                    note_agreed(cursor, peer, log, holding, self._clock.now_ms())
        return lacking

    def awaited_ends(self, cursor: sqlite3.Cursor, peer: int) -> frozenset[int]:
        """Return former logs, by id, with unsealed rows that wait for what the hub has."""
        if peer != HUB:
            return frozenset()
        former = self._former_unsealed(cursor, peer, self._store.incarnation)
        return frozenset(log.id for log in read_unsettled(cursor, former, peer))

    def settle(
        self,
        cursor: sqlite3.Cursor,
        peer: int,
        diverged: Collection[tuple[LogState, int]],
        awaited: Collection[int],
    ) -> None:
        """Take back what went on differently at a peer, and reissue what waited for its word.

        ``diverged`` are own former logs with the last segment that both hold alike, ``awaited``
        what :meth:`awaited_ends` returned before the peer's segments were taken in.
        """
        receipts = read_receipts(cursor, peer) if diverged else {}
        for log, alike in diverged:
            # What follows is another than the peer's, whatever an older receipt said.
            told = receipts[log.id].stored if log.id in receipts else 0
            take_back(cursor, self._keyring, log, min(told, alike))
        if awaited:
            incarnation = self._store.incarnation
            former = self._former_unsealed(cursor, peer, incarnation)
            come = [log for log in former if log.id in awaited]
            self._reissue(cursor, come, peer, incarnation)

    def _reissue(
        self, cursor: sqlite3.Cursor, former: Sequence[LogState], peer: int, incarnation: int
    ) -> None:
        """Reissue what waits in these former logs, but what the peer's end is awaited of."""
        moved = reissue_settled(cursor, former, peer, incarnation, self._clock.now_ms())
        self.let_stand(cursor, moved, incarnation)

    def let_stand(
        self, cursor: sqlite3.Cursor, moved: Iterable[LogState], incarnation: int
    ) -> None:
        """Let stand what lost against rows of these logs, which are of ``incarnation`` now."""
        bodies = Bodies(cursor, self._store.origin, self._keyring, self._clock)
        let_stand(cursor, bodies, moved, incarnation)

    def _note_all(
        self, cursor: sqlite3.Cursor, peer: int, told: Sequence[Holding], *, complete: bool
    ) -> tuple[list[tuple[LogState, Verdict, int]], list[Holding]]:
        """Write receipts; return own logs that end otherwise at the peer, and what is ahead."""
        now_ms = self._clock.now_ms()
        named = set()
        contradictions = []
        ahead = []
        before = read_receipts(cursor, peer)
        for holding in told:
            log = find_log(cursor, holding.log)
            if log is None and peer == HUB and self._is_former(holding.log) and holding.stored:
                # What waits here may be in it: it was written anew, before this store went back.
                log_id_of(cursor, holding.log)
                log = find_log(cursor, holding.log)
            if log is None:
                ahead.append(holding)
                continue
            named.add(log.id)
            is_own = log.name.origin == self._store.origin
            is_judged = is_own or (self._is_others(log, peer) and not holding.frozen)
            verdict = compare(cursor, log, holding) if is_judged else Verdict.AGREES
            if verdict is not Verdict.AGREES:
                # Who gives way takes back what differs, and then holds less than the peer.
                ahead.append(holding)
            agreed = before[log.id].stored if log.id in before else 0
            if verdict is Verdict.AGREES:
                agreed = holding.stored
                note_agreed(cursor, peer, log, holding, now_ms)
            else:
                if verdict is Verdict.DIVERGED:
                    # An older receipt is from before the peer was restored and went on otherwise.
                    agreed = min(agreed, holding.stored - 1)
                    if not is_own:
                        # Offered what stands here, it freezes the log and tells its people.
                        forget_above(cursor, peer, log, agreed)
                note_claim(cursor, peer, log, holding, now_ms)
            if is_own and (verdict is not Verdict.AGREES or holding.frozen):
                contradictions.append((log, verdict, agreed))
        if complete:
            forget_unnamed(cursor, peer, named)
        return contradictions, ahead

    def _is_former(self, name: LogName) -> bool:
        present = self._store.origin, self._store.incarnation
        return (
            name.origin == self._store.origin != HUB and (name.origin, name.incarnation) != present
        )

    def _is_others(self, log: LogState, peer: int) -> bool:
        """Tell whether a log reached this peer, a party of its lesson, by way of this hub."""
        return self._store.origin == HUB and log.name.origin not in {HUB, peer}

    def _shares_incarnation(self, cursor: sqlite3.Cursor, told: Sequence[Holding]) -> bool:
        """Tell whether the hub holds logs of this incarnation that are unknown here: a clone's."""
        present = self._store.origin, self._store.incarnation
        return any(
            holding.stored and find_log(cursor, holding.log) is None
            for holding in told
            if (holding.log.origin, holding.log.incarnation) == present
        )

    def _former_unsealed(
        self, cursor: sqlite3.Cursor, peer: int, incarnation: int
    ) -> list[LogState]:
        """Return former logs with unsealed rows of which the peer would hold an end."""
        logs = read_logs(
            cursor,
            "WHERE origin = ? AND incarnation <> ? AND last_row > sealed_row",
            self._store.origin,
            incarnation,
        )
        reached = [(log, self._directory.members(log.name.audience)) for log in logs]
        return [log for log, members in reached if peer == HUB or peer in members or not members]
