"""A hub and one school on two SQLite files in this process: the sync path without any network."""

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.exchange.session import Session
from sync.logs.oplog import Row
from sync.node import Node, NodeKeys, SealPolicy
from sync.segments.segment import HUB
from sync.segments.signing import SignerId, signer_id
from sync.store import open_store

SCHOOL = 1
ROWS_A_TRANSACTION = 1000
_POLICY = SealPolicy(rows=ROWS_A_TRANSACTION)


@dataclass(frozen=True, slots=True)
class Passed:
    """What it took to bring some rows to the hub, both ends together."""

    wall_s: float
    cpu_s: float


class TwoNodes(AbstractContextManager["TwoNodes"]):
    """Implements sync's directory for both; each knows the other's keys."""

    def __init__(self, folder: Path) -> None:
        self._keys = {origin: _new_keys(origin) for origin in (HUB, SCHOOL)}
        with ExitStack() as stack:
            self.hub, self.school = (
                stack.enter_context(closing(self._open(folder / f"{origin}.db", origin)))
                for origin in (HUB, SCHOOL)
            )
            self._stack = stack.pop_all()
        self._sessions = Session(self.school, HUB), Session(self.hub, SCHOOL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def pass_rows(self, table: str, rows: Sequence[Row]) -> Passed:
        """Record rows at the school, a thousand a transaction, until the hub has folded them."""
        began, cpu_began = time.perf_counter(), time.process_time()
        for start in range(0, len(rows), ROWS_A_TRANSACTION):
            self.school.record(table, rows[start : start + ROWS_A_TRANSACTION])
        self.school.seal_all()
        self.exchange()
        return Passed(time.perf_counter() - began, time.process_time() - cpu_began)

    def exchange(self) -> None:
        """Pass messages until the hub has folded all that the school sealed."""
        caller, answerer = self._sessions
        while True:
            answer, taken, _ = answerer.answer(caller.request())
            if taken.refused:
                raise RuntimeError(f"the hub refused {taken.refused[0]}; mend the path first")
            brought, _ = caller.receive_answer(answer)
            if not brought.stored and not caller.to_send_bytes():
                break
        held = self.school.peers.cursors(HUB)
        for log in self.school.logs():
            if log.name.origin == SCHOOL and held.get(log.id) != (log.stored, log.stored):
                raise RuntimeError(f"the hub holds {held.get(log.id)} of {log.name}, not all")

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        public = self._keys[origin].signing.public_key() if origin in self._keys else None
        return public if public and signer_id(public) == signer else None

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        return self.signing_key(origin, signer) is not None

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        is_known = self.signing_key(origin, signer) is not None
        return self._keys[origin].sealing.public_key() if is_known else None

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        return [self._keys[school].sealing.public_key()] if school in self._keys else []

    def members(self, audience: str) -> frozenset[int]:
        return frozenset({SCHOOL}) if audience in {"d", f"s{SCHOOL}"} else frozenset()

    def _open(self, store: Path, origin: int) -> Node:
        return Node(
            open_store(store),
            self._keys[origin],
            lambda: time.time_ns() // 1_000_000,
            os.urandom,
            self,
            b"benchmark",
        )


def _new_keys(origin: int) -> NodeKeys:
    return NodeKeys(
        origin=origin,
        signing=Ed25519PrivateKey.generate(),
        sealing=X25519PrivateKey.generate(),
    )
