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

from sync.exchange.conversation import HEARTBEAT_MS, Conversation
from sync.exchange.framing import FrameReader
from sync.exchange.pacing import Pace
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
        self._now_ms = 0
        self._ends = self._end(self.school, HUB), self._end(self.hub, SCHOOL)

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
        """Pass frames until the hub has folded all that the school sealed, and said so."""
        school, hub = self._ends
        while not self._is_home():
            if not self._pass(school, hub) and not self._pass(hub, school):
                self._now_ms += HEARTBEAT_MS  # a receipt may wait until it is asked for

    def _pass(self, end: "_End", other: "_End") -> bool:
        data = end.conversation.speak(self._now_ms)
        if data is None:
            return False
        for content in other.frames.feed(data):
            heard = other.conversation.hear(content, self._now_ms)
            if heard.imported.refused or (heard.message and heard.message.refused):
                raise RuntimeError(f"refused {heard.imported.refused}; mend the path first")
        return True

    def _is_home(self) -> bool:
        held = self.school.peers.cursors(HUB)
        return all(
            held.get(log.id) == (log.stored, log.stored)
            for log in self.school.logs()
            if log.name.origin == SCHOOL
        )

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

    def _end(self, node: Node, peer: int) -> "_End":
        pace = Pace()
        pace.note_connected(1)
        asks = peer == HUB
        return _End(Conversation(node, peer, pace, self._now_ms, asks=asks), FrameReader())

    def _open(self, store: Path, origin: int) -> Node:
        return Node(
            open_store(store),
            self._keys[origin],
            lambda: time.time_ns() // 1_000_000,
            os.urandom,
            self,
            b"benchmark",
        )


@dataclass(frozen=True, slots=True)
class _End:
    conversation: Conversation
    frames: FrameReader


def _new_keys(origin: int) -> NodeKeys:
    return NodeKeys(
        origin=origin,
        signing=Ed25519PrivateKey.generate(),
        sealing=X25519PrivateKey.generate(),
    )
