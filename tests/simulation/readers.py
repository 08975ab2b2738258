"""Recovery keys that a school lets read, and then no longer: what each really opens.

What a box sealed since a person let a key read must open by it; what it sealed since that was
taken back must not. Decided here by opening the grants that the hub holds, with the private key.
"""

from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.errors import SyncError
from sync.keys.recipients import RecipientKind
from sync.segments.sealing import KeyId, recipient_id, unwrap
from sync.segments.segment import HUB, LogName, parse_segment
from tests.simulation import devices
from tests.simulation.books import BrokenInvariantError, read_logs
from tests.simulation.machine import Machine
from tests.simulation.world import World

_UNSEALED = bytes(8)
_RECOVERY = RecipientKind.RECOVERY
_WRITES = 4


@dataclass(slots=True)
class _Word:
    """What a person decided of a key at one box, in one life of its store."""

    private: X25519PrivateKey
    machine: Machine
    life: int
    is_revoked: bool
    incarnation: int
    heads: dict[LogName, int]  # how many segments there were then

    @property
    def stands(self) -> bool:
        return self.machine.lives == self.life


@dataclass
class Readers:
    """Both decisions and rotations raise what the disk of the machine raises."""

    world: World
    _words: dict[int, _Word] = field(default_factory=dict)

    def decide(self, machine: Machine) -> None:
        """Let a person confirm a key, or take that back, or rotate all keys of a box."""
        origin = machine.origin
        if origin == HUB or machine.is_older:
            return
        word = self._words.pop(origin, None)  # a box that fails now may have heard or not
        if word is None or (word.is_revoked and self.world.chance.random() < 0.5):
            private = X25519PrivateKey.from_private_bytes(machine.random_bytes(32))
            public = private.public_key().public_bytes_raw()
            with machine.at_work() as node:
                node.keys.confirm(_RECOVERY, public, "code", "principal")
            self._note(machine, private, is_revoked=False)
        elif word.is_revoked or self.world.chance.random() < 0.3:
            with machine.at_work() as node:
                node.keys.rotate("principal")
            self.world.note(f"{machine.name} rotates its keys")
            self._words[origin] = word
        elif word.machine is machine and word.stands:
            with machine.at_work() as node:
                node.keys.revoke(recipient_id(word.private.public_key()), "principal")
            self._note(machine, word.private, is_revoked=True)

    def let_write(self) -> None:
        """Let each box whose person decided seal something after it; without it nothing shows."""
        for word in self._words.values():
            if word.stands:
                for _ in range(_WRITES):
                    devices.write_something(self.world, word.machine)

    def check(self, cloned: set[int]) -> None:
        """At a quiet point: raise BrokenInvariantError if a key opens too little, or too much."""
        for origin, word in self._words.items():
            if word.stands and origin not in cloned | self.world.unsteady | self.world.hostile:
                self._check(word)

    def _note(self, machine: Machine, private: X25519PrivateKey, *, is_revoked: bool) -> None:
        with machine.healthy(), machine.at_work() as node:
            # Whatever a body was begun with is sealed by now: the next one heeds the word.
            heads = {log.name: log.stored for log in node.logs()}
            incarnation = node.incarnation
        self._words[machine.origin] = _Word(
            private, machine, machine.lives, is_revoked, incarnation, heads
        )
        word = "no longer lets" if is_revoked else "lets"
        self.world.note(f"{machine.name} {word} a recovery key read")

    def _check(self, word: _Word) -> None:
        # Of other incarnations there comes back what a restored disk had sealed before the word.
        since = {word.incarnation, _incarnation(word.machine)}
        for name in read_logs(word.machine):
            if name.origin != word.machine.origin or name.incarnation not in since:
                continue
            for seq, keys in self._keys_since(word, name):
                for key in keys:
                    if self._opens(word, name.origin, key) == word.is_revoked:
                        can = "still opens" if word.is_revoked else "cannot open"
                        raise BrokenInvariantError(f"a recovery key {can} {name} segment {seq}")

    def _keys_since(self, word: _Word, name: LogName) -> list[tuple[int, set[bytes]]]:
        with word.machine.healthy() as store:
            found = store.execute(
                "SELECT s.wire FROM segment s JOIN log l ON l.id = s.log WHERE l.origin = ?"
                " AND l.incarnation = ? AND l.audience = ? AND l.lane = ? AND s.seq > ?",
                (name.origin, name.incarnation, name.audience, name.lane, word.heads.get(name, 0)),
            ).fetchall()
        wires = msgspec.convert(found, list[tuple[bytes]])
        headers = [parse_segment(wire).header for (wire,) in wires]
        return [(each.seq, {body.key_id for body in each.bodies} - {_UNSEALED}) for each in headers]

    def _opens(self, word: _Word, origin: int, key: bytes) -> bool:
        """Tell whether a grant that the hub holds gives a key to who has the private key."""
        recipient = recipient_id(word.private.public_key())
        with self.world.hub.healthy() as store:
            grants = store.execute(
                "SELECT purpose, suite, wrapped FROM key_grant WHERE school = ? AND key_id = ?"
                " AND recipient = ?",
                (origin, key, recipient),
            ).fetchall()
        for purpose, suite, wrapped in msgspec.convert(grants, list[tuple[str, int, bytes]]):
            try:
                unwrap(wrapped, suite, word.private, str(purpose).encode(), KeyId(key))
            except SyncError:
                continue
            return True
        return False


def _incarnation(machine: Machine) -> int:
    with machine.healthy() as store:
        found = store.execute("SELECT value FROM meta WHERE name = 'incarnation'").fetchall()
    ((incarnation,),) = msgspec.convert(found, list[tuple[int]])
    return incarnation
