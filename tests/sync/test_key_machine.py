"""Any order of rotating, confirming, revoking, releasing and restoring: who can open what is exact.

The model keeps, for every body of sealed names, who was entitled when it was sealed or at any time
since. Those open it with their own key and the grants alone; nobody else does.
"""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync.errors import RecipientError
from sync.keys.keyring import Keyring
from sync.keys.own_keys import KeyPolicy, Scope
from sync.keys.recipients import RecipientKind
from sync.schema.model import GROUPS, Group
from sync.segments.sealing import KeyId, recipient_id
from sync.segments.segment import parse_segment
from tests.sync.district import District

SCOPE: Scope = (17, "s17", Group.IDENTITY)
HUB_READER = "hub"
KEPT = {
    name: X25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    for number, name in enumerate(("recovery", "escrow"), start=1)
}
Where = tuple[str, int]


class KeysOfASchool(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.district = District(self.folder, random.Random(seed), policy=KeyPolicy(bytes=4000))
        for origin in (0, 17):
            self.district.add(origin)
        self.readers = KEPT | {HUB_READER: self.district.keys[0].sealing}
        self.entitled: set[str] = set()
        self.bodies: dict[Where, tuple[KeyId, set[str]]] = {}
        self.copy: tuple[bytes, set[str]] | None = None
        self.generation = 0

    def teardown(self) -> None:
        if hasattr(self, "district"):
            for node in self.district.nodes.values():
                node.close()
            shutil.rmtree(self.folder)

    @rule()
    def rotate(self) -> None:
        self.district.nodes[17].keys.rotate("head")
        self._settle()

    @rule(name=st.sampled_from(sorted(KEPT)))
    def confirm(self, name: str) -> None:
        public = KEPT[name].public_key().public_bytes_raw()
        self.district.nodes[17].keys.confirm(RecipientKind(name), public, name, "head")
        self.entitled.add(name)
        self._settle()

    @rule(name=st.sampled_from(sorted(KEPT)))
    def revoke(self, name: str) -> None:
        recipient = recipient_id(KEPT[name].public_key())
        try:
            self.district.nodes[17].keys.revoke(recipient, "head")
        except RecipientError:
            assert name not in self.entitled
        self.entitled.discard(name)
        self._settle()

    @rule()
    def release(self) -> None:
        self.district.nodes[17].keys.release(Group.IDENTITY, "head")
        self.entitled.add(HUB_READER)
        self._settle()

    @rule()
    def unrelease(self) -> None:
        if HUB_READER in self.entitled:
            self.district.nodes[17].keys.unrelease(Group.IDENTITY, "head")
            self.entitled.discard(HUB_READER)
        else:
            with pytest.raises(RecipientError):
                self.district.nodes[17].keys.unrelease(Group.IDENTITY, "head")
        self._settle()

    @rule(days=st.sampled_from([-400, -1, 1, 89, 400]))
    def let_days_pass(self, days: int) -> None:
        self.district.now += days * 86_400_000
        self._settle()

    @rule()
    def forget_what_is_remembered(self) -> None:
        self.district.nodes[17]._keyring.forget()
        self._settle()

    @rule()
    def restart(self) -> None:
        self.district.reopen(17, str(self.generation).encode())
        self._settle()

    @rule()
    def copy_the_store(self) -> None:
        self._settle()
        self.copy = self.district.back_up(17), set(self.entitled)

    @precondition(lambda self: self.copy is not None)
    @rule()
    def restore_the_copy(self) -> None:
        assert self.copy is not None
        content, entitled_then = self.copy
        self.district.exchange(17)
        self.generation += 1
        self.district.restore(17, content, str(self.generation).encode())
        self.district.exchange(17)
        # What a person ended since the copy stays ended; what one allowed since is asked again.
        self.entitled &= entitled_then
        self._settle()

    @invariant()
    def those_entitled_open_what_is_theirs_and_nobody_else_does(self) -> None:
        if not hasattr(self, "district"):
            return
        node = self.district.nodes[17]
        chance = self.district.chance.randbytes
        with node.transaction() as cursor:
            own = Keyring(17, self.district.keys[17].sealing, chance)
            for name, readable in self.bodies.values():
                assert own.key(cursor, SCOPE, name) is not None
                opening = {
                    reader
                    for reader, private in self.readers.items()
                    if Keyring(17, private, chance).key(cursor, SCOPE, name) is not None
                }
                assert opening == readable

    def _settle(self) -> None:
        """Seal names; they are for those entitled now, who get what stood before besides."""
        node = self.district.nodes[17]
        node.record("card_tap", [{"at_ms": 1, "card": "c" * 300}])
        node.seal_all()
        for log, seq, wire in self.district.wires(17):
            for body in parse_segment(wire).header.bodies:
                if GROUPS[body.group] is Group.IDENTITY:
                    self.bodies.setdefault((log, seq), (KeyId(body.key_id), set()))
        for _, readable in self.bodies.values():
            readable.update(self.entitled)


KeysOfASchool.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestKeysOfASchool = KeysOfASchool.TestCase
