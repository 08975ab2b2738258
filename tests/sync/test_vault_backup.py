"""A vault's backup opens with the recovery key and the hub's share together, or not at all."""

import random

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError, SyncError
from sync.persons.recovery import new_recovery_code
from sync.persons.vault import PERSON_MAX, VaultContents
from sync.persons.vault_backup import (
    BACKUP_BYTES_MAX,
    VaultReceipt,
    VaultShare,
    check_receipt,
    open_backup,
    read_header,
    seal_backup,
    sign_receipt,
)

CHANCE = random.Random(3)
RECOVERY = new_recovery_code(CHANCE.randbytes).key()
STRANGER = new_recovery_code(CHANCE.randbytes).key()
SHARE = VaultShare(3, CHANCE.randbytes(32))
CONTENTS = VaultContents(
    number=9,
    keys={person: CHANCE.randbytes(32) for person in (5, 77, 1000)},
    forgotten=frozenset({6, PERSON_MAX - 1}),
)


def sealed(contents: VaultContents = CONTENTS, share: VaultShare = SHARE) -> bytes:
    return seal_backup(17, contents, RECOVERY.public_key(), share, 12345, CHANCE.randbytes)


@given(
    st.dictionaries(st.integers(1, PERSON_MAX - 1), st.binary(min_size=32, max_size=32)),
    st.frozensets(st.integers(1, PERSON_MAX - 1)),
)
def test_a_backup_gives_back_what_was_put_in(
    keys: dict[int, bytes], forgotten: frozenset[int]
) -> None:
    contents = VaultContents(number=4, keys=keys, forgotten=forgotten)
    assert open_backup(sealed(contents), 17, RECOVERY, SHARE) == contents


def test_its_header_says_whose_it_is_and_under_which_share() -> None:
    header = read_header(sealed())
    told = (header.school, header.number, header.generation, header.made_ms)
    assert told == (17, 9, 3, 12345)


def test_neither_the_code_nor_the_hub_opens_it_alone() -> None:
    backup = sealed()
    other_share = VaultShare(3, bytes(32))
    with pytest.raises(ForgedError):
        open_backup(backup, 17, RECOVERY, other_share)
    with pytest.raises(ForgedError):
        open_backup(backup, 17, STRANGER, SHARE)
    with pytest.raises(ForgedError, match="school 17"):
        open_backup(backup, 18, RECOVERY, SHARE)
    assert not any(key in backup for key in CONTENTS.keys.values())


def test_every_altered_byte_is_noticed() -> None:
    backup = sealed()
    for place in range(len(backup)):
        altered = bytearray(backup)
        altered[place] ^= 1
        with pytest.raises((ForgedError, MalformedError)):
            open_backup(bytes(altered), 17, RECOVERY, SHARE)


def test_a_number_or_generation_cannot_be_written_over() -> None:
    """Whoever holds the backup makes an old one look no newer."""
    backup = sealed()
    header = read_header(backup)
    for newer in (
        msgspec.structs.replace(header, number=10),
        msgspec.structs.replace(header, generation=4),
    ):
        forged = backup.replace(msgspec.msgpack.encode(header), msgspec.msgpack.encode(newer))
        assert read_header(forged) == newer
        with pytest.raises(ForgedError):
            open_backup(forged, 17, RECOVERY, SHARE)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_syncs_errors(data: bytes) -> None:
    for tried in (data, b"SNV1" + data):
        with pytest.raises(SyncError):
            open_backup(tried, 17, RECOVERY, SHARE)


def test_a_vault_too_large_is_refused_before_it_is_sent() -> None:
    many = dict.fromkeys(range(1, 130_000), bytes(32))
    with pytest.raises(MalformedError, match="forget people who left"):
        sealed(VaultContents(number=1, keys=many, forgotten=frozenset()))
    fits = VaultContents(
        number=1, keys=dict.fromkeys(range(1, 110_000), bytes(32)), forgotten=frozenset()
    )
    assert len(sealed(fits)) < BACKUP_BYTES_MAX


def test_a_receipt_is_the_hubs_and_for_this_backup_alone() -> None:
    hub = Ed25519PrivateKey.from_private_bytes(bytes(32))
    other = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
    receipt = sign_receipt(
        VaultReceipt(school=17, generation=3, number=9, digest=bytes(32), stored_ms=1, clear_ms=2),
        hub,
    )
    check_receipt(receipt, hub.public_key())
    for altered in (
        sign_receipt(receipt, other),
        msgspec.structs.replace(receipt, clear_ms=1),
        msgspec.structs.replace(receipt, signature=b""),
    ):
        with pytest.raises(ForgedError):
            check_receipt(altered, hub.public_key())
