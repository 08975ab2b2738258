"""A small district on SQLite files: a hub and schools that know each other's keys."""

import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.exchange.message import Message
from sync.keys.own_keys import KeyPolicy
from sync.node import Imported, Node, NodeKeys, SealPolicy
from sync.schema.model import Group
from sync.segments.signing import SignerId, signer_id
from sync.store import connect_readonly, open_store
from sync.tables.digests import digest_tables
from tests.sync.turns import TurnSession

AT_ONCE = SealPolicy(age_ms=0)
Wire = tuple[str, int, bytes]
"""A segment with its log's name and number."""


@dataclass
class District:
    """Nodes by number (0 = the hub) and the directory that all of them share."""

    folder: Path
    chance: random.Random
    now: int = 1_790_000_000_000
    nodes: dict[int, Node] = field(default_factory=dict)
    keys: dict[int, NodeKeys] = field(default_factory=dict)
    lessons: dict[str, frozenset[int]] = field(default_factory=dict)
    policy: KeyPolicy | None = None
    skew: dict[int, int] = field(default_factory=dict)
    """How many ms a node's wall clock is ahead."""
    silenced: set[SignerId] = field(default_factory=set)
    """Signers of boxes that were revoked."""
    watchers: frozenset[int] = frozenset()
    """Nodes that every audience reaches, so that they can read all of ``district``."""

    def add(self, origin: int, generation: bytes = b"first") -> Node:
        """Open a node, over its store if it has one."""
        if origin not in self.keys:
            self.keys[origin] = new_keys(origin, self.chance)
        store = self.store(origin)
        if not store.exists():
            store.write_bytes(empty_store())
        node = Node(
            open_store(store),
            self.keys[origin],
            lambda: self.now + self.skew.get(origin, 0),
            self.chance.randbytes,
            self,
            generation,
            self.policy,
        )
        self.nodes[origin] = node
        return node

    def store(self, origin: int) -> Path:
        return self.folder / f"{origin}.db"

    def reopen(self, origin: int, generation: bytes = b"first") -> Node:
        self.nodes[origin].close()
        return self.add(origin, generation)

    def back_up(self, origin: int) -> bytes:
        """Return a node's store as it is on disk."""
        with closing(open_store(self.store(origin))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        return self.store(origin).read_bytes()

    def restore(self, origin: int, content: bytes, generation: bytes) -> Node:
        """Replace a node's store by an older copy, as an administrator would."""
        self.nodes[origin].close()
        for path in self.folder.glob(f"{origin}.db*"):
            path.unlink()
        self.store(origin).write_bytes(content)
        return self.add(origin, generation)

    def rows(self, origin: int, query: str) -> list[tuple[object, ...]]:
        with closing(connect_readonly(self.store(origin))) as connection:
            return [tuple(row) for row in connection.execute(query)]

    def digests(
        self, origin: int, groups: Sequence[Group] = (Group.DISTRICT, Group.GRANT)
    ) -> dict[str, bytes]:
        with closing(connect_readonly(self.store(origin))) as connection:
            return digest_tables(connection.cursor(), groups=groups)

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        keys = self.keys.get(origin)
        public = keys.signing.public_key() if keys else None
        return public if public and signer_id(public) == signer else None

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        return self.signing_key(origin, signer) is not None and signer not in self.silenced

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        is_known = self.signing_key(origin, signer) is not None
        return self.keys[origin].sealing.public_key() if is_known else None

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        keys = self.keys.get(school)
        return [keys.sealing.public_key()] if keys else []

    def members(self, audience: str) -> frozenset[int]:
        schools = frozenset(self.keys) - {0}
        if audience == "d":
            return schools
        if audience.startswith("s"):
            return schools & ({int(audience[1:])} | self.watchers)
        return self.lessons.get(audience[1:], frozenset()) | (schools & self.watchers)

    def exchange(self, school: int, rounds: int = 30) -> int:
        """Pump messages between a school and the hub until both are quiet; return the bytes."""
        edge, hub = TurnSession(self.nodes[school], 0), TurnSession(self.nodes[0], school)
        total = quiet = 0
        for _ in range(rounds):
            self.seal(school, 0)
            (request, answer), taken, got = one_round(edge, hub)
            total += len(request) + len(answer)
            moved = taken.stored or got.stored or edge.to_send_bytes()
            quiet = 0 if moved else quiet + 1
            if quiet == 2:  # what one round brings may cause rows for the next
                return total
        raise AssertionError(f"school {school} and the hub are not quiet after {rounds} rounds")

    def settle(self) -> None:
        """Exchange between all schools and the hub until nothing moves."""
        for _ in range(3):
            for school in sorted(self.nodes.keys() - {0} - self.watchers):
                self.exchange(school)

    def seal(self, *origins: int) -> None:
        for origin in origins:
            self.nodes[origin].seal_due(AT_ONCE)

    def wires(self, origin: int) -> list[Wire]:
        """Return all segments that a node wrote, log by log."""
        node = self.nodes[origin]
        return [
            (str(log.name), seq, wire)
            for log in node.logs()
            if log.name.origin == origin
            for seq, wire in segments_held(node, log.id)
        ]


def segments_held(node: Node, log_id: int) -> list[tuple[int, bytes]]:
    """Return number and bytes of each segment that a node holds of a log."""
    found = [(seq, node.segment(log_id, seq)) for seq, _ in node.segment_sizes(log_id, 0)]
    return [(seq, wire) for seq, wire in found if wire is not None]


@cache
def empty_store() -> bytes:
    """Return a store without rows: making all tables takes 25 ms, copying them 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        open_store(path).close()
        return path.read_bytes()


def new_keys(origin: int, chance: random.Random) -> NodeKeys:
    return NodeKeys(
        origin=origin,
        signing=Ed25519PrivateKey.from_private_bytes(chance.randbytes(32)),
        sealing=X25519PrivateKey.from_private_bytes(chance.randbytes(32)),
    )


def one_round(
    edge: TurnSession, hub: TurnSession, seen: Callable[[Message], None] = lambda _: None
) -> tuple[tuple[bytes, bytes], Imported, Imported]:
    """Return request and answer, what the hub took in and what the school did."""
    request = edge.request()
    answer, taken, _ = hub.answer(request)
    got, message = edge.receive_answer(answer)
    seen(message)
    return (request, answer), taken, got
