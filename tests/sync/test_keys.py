"""Keys are opened by whom they are for, and by nobody else."""

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.schema.model import Group
from sync.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    DataKey,
    KeyId,
    key_id,
    new_data_key,
    unwrap,
    wrap,
)
from tests.sync.district import District
from tests.sync.hpke_sender import seal

OWN = X25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = new_data_key(random.Random(5).randbytes)
NAME = key_id(KEY)
PURPOSE = b"17/s17/district/1"


def opened(
    wrapped: bytes,
    private: X25519PrivateKey = OWN,
    purpose: bytes = PURPOSE,
    suite: int = SUITE_X25519_SHA256_CHACHA20,
    name: KeyId = NAME,
) -> DataKey:
    return unwrap(wrapped, suite, private, purpose, name)


def test_a_grant_opens_for_its_recipient() -> None:
    assert opened(wrap(KEY, OWN.public_key(), PURPOSE)) == KEY


def test_a_grant_opens_for_nothing_else() -> None:
    wrapped = wrap(KEY, OWN.public_key(), PURPOSE)
    stranger = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    attempts: tuple[Callable[[], DataKey], ...] = (
        lambda: opened(wrapped, private=stranger),
        lambda: opened(wrapped, purpose=b"17/s17/identity/1"),
        lambda: opened(wrapped, name=KeyId(bytes(8))),
        lambda: opened(wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
        lambda: opened(wrap(DataKey(b"short"), OWN.public_key(), PURPOSE)),
    )
    for attempt in attempts:
        with pytest.raises(ForgedError):
            attempt()
    with pytest.raises(MalformedError, match="update this node"):
        opened(wrapped, suite=1)


@given(st.binary(max_size=120))
def test_bytes_that_are_no_grant_are_called_forged(wrapped: bytes) -> None:
    with pytest.raises(ForgedError):
        opened(wrapped)


def test_the_independent_sender_reproduces_the_rfcs_vector() -> None:
    # RFC 9180, appendix A.2.1, sequence number 0.
    ephemeral = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"
    recipient = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
    sealed = seal(
        X25519PrivateKey.from_private_bytes(bytes.fromhex(ephemeral)),
        X25519PublicKey.from_public_bytes(bytes.fromhex(recipient)),
        info=b"Ode on a Grecian Urn",
        aad=b"Count-0",
        plain=b"Beauty is truth, truth beauty",
    )
    assert sealed.hex() == (
        "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
    )


def test_a_grant_of_the_independent_sender_opens() -> None:
    ephemeral = X25519PrivateKey.from_private_bytes(bytes(reversed(range(32))))
    info = b"schoolnode key grant\x00" + PURPOSE
    assert opened(seal(ephemeral, OWN.public_key(), info, b"", KEY)) == KEY


def test_a_flood_of_grants_is_not_opened_before_it_is_needed(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": 1}])
    school.seal_all()
    keyring = school._keyring
    keyring.forget()
    with school.transaction() as cursor:
        purposes = keyring.purposes(cursor)
        assert [str(purpose) for purpose in purposes] == ["17/s17/district/1"]
        assert not keyring._opened


def test_one_purpose_has_one_key_through_restarts(district: District) -> None:
    for _ in range(3):
        district.nodes[17].record("card_tap", [{"at_ms": 1, "card": "c"}])
        district.nodes[17].seal_all()
        district.reopen(17)
    keys = "SELECT purpose, count(DISTINCT key_id) FROM key_grant GROUP BY purpose ORDER BY purpose"
    assert district.rows(17, keys) == [("17/s17/district/1", 1), ("17/s17/identity/1", 1)]


def test_an_identity_key_is_granted_to_the_school_alone_until_it_is_released(
    district: District,
) -> None:
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": 1, "card": "c"}])
    school.seal_all()
    grants = "SELECT count(*) FROM key_grant WHERE purpose LIKE '%identity%'"
    assert district.rows(17, grants) == [(1,)]
    school.release(Group.IDENTITY)
    school.release(Group.IDENTITY)
    assert district.rows(17, grants) == [(2,)]
