"""Keys are opened by whom they are for, and by nobody else."""

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.keys.own_keys import KeyPolicy
from sync.keys.recipients import RecipientKind
from sync.node import Node
from sync.schema.model import GROUPS, Group
from sync.segments.columnar import Value
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    DataKey,
    KeyId,
    key_id,
    new_data_key,
    recipient_id,
    unwrap,
    wrap,
)
from sync.segments.segment import parse_segment
from sync.store import open_store
from tests.sync.district import District, segments_held
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
        held = keyring.held(cursor)
        assert [str(purpose) for purpose, _ in held] == ["17/s17/district/1"]
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
    school.keys.release(Group.IDENTITY, "head")
    school.keys.release(Group.IDENTITY, "head")
    assert district.rows(17, grants) == [(2,)]


def tap(district: District, card: str = "c", origin: int = 17) -> None:
    district.nodes[origin].record("card_tap", [{"at_ms": district.now, "card": card}])
    district.nodes[origin].seal_all()


def epochs(district: District, origin: int = 17) -> list[str]:
    return [str(state.epoch.purpose) for state in district.nodes[origin].keys.states()]


def test_a_rotated_key_seals_nothing_more_and_its_bodies_stay_readable(
    district: District,
) -> None:
    tap(district, "before")
    assert district.nodes[17].keys.rotate("head") == 2
    tap(district, "after")
    assert epochs(district) == [
        f"17/s17/{group}/{epoch}" for group in ("district", "identity") for epoch in (1, 2)
    ]
    used = [wire for _, _, wire in district.wires(17)]
    by_key: dict[bytes, int] = {}
    for segment in map(parse_segment, used):
        for body in segment.header.bodies:
            if GROUPS[body.group] is Group.IDENTITY:
                by_key[body.key_id] = by_key.get(body.key_id, 0) + 1
    assert list(by_key.values()) == [1, 1]
    fresh = lose_store(district, 17)
    district.exchange(17)
    assert fresh.keys.passed_over() == []
    assert district.rows(17, "SELECT card FROM card_tap") == [("before",), ("after",)]


def lose_store(district: District, origin: int) -> Node:
    """Exchange, then lose the disk: what comes back comes from the hub."""
    district.exchange(origin)
    district.nodes[origin].close()
    for path in district.folder.glob(f"{origin}.db*"):
        path.unlink()
    return district.add(origin, b"second")


def test_only_what_is_named_is_rotated(district: District) -> None:
    tap(district)
    assert district.nodes[17].keys.rotate("head", "s17", Group.IDENTITY) == 1
    assert district.nodes[17].keys.rotate("head", "s18") == 0
    tap(district)
    assert epochs(district) == ["17/s17/district/1", "17/s17/identity/1", "17/s17/identity/2"]


def test_a_key_is_given_up_after_its_days(district: District) -> None:
    day_ms = 24 * 3600 * 1000
    tap(district)
    district.now += KeyPolicy().days * day_ms - 1
    tap(district)
    assert len(epochs(district)) == 2
    district.now += 1
    tap(district)
    assert len(epochs(district)) == 4


def test_a_clock_set_back_a_year_ends_a_key_once(district: District) -> None:
    tap(district)
    district.now -= 365 * 24 * 3600 * 1000
    for _ in range(3):
        tap(district)
    assert len(epochs(district)) == 4


def test_a_key_is_given_up_after_its_bytes(district: District) -> None:
    district.nodes[17].close()
    district.policy = KeyPolicy(bytes=2000)
    district.add(17)
    for _ in range(40):
        tap(district, "0123456789" * 10)
    sealed = [state.epoch.sealed_bytes for state in district.nodes[17].keys.states()]
    assert len(sealed) > 3
    assert all(each < 4000 for each in sealed)


def test_a_party_that_left_a_lesson_reads_nothing_sealed_since(district: District) -> None:
    district.lessons["L1"] = frozenset({17, 18})
    district.nodes[17].record("lesson_minutes", [{"lesson": "L1", "live_s": 1}])
    district.settle()
    district.lessons["L1"] = frozenset({17})
    district.nodes[17].record("lesson_minutes", [{"lesson": "L1", "live_s": 2}])
    district.seal(17)
    leaver = recipient_id(district.keys[18].sealing.public_key())
    readers = {
        state.epoch.purpose.epoch: state.readers
        for state in district.nodes[17].keys.states()
        if state.epoch.purpose.audience == "lL1"
    }
    assert leaver in readers[1]
    assert leaver not in readers[2]


def test_a_party_that_returns_is_granted_what_it_missed(district: District) -> None:
    for parties in ({17, 18}, {17}, {17, 18}):
        district.lessons["L1"] = frozenset(parties)
        minutes: dict[str, Value] = {"lesson": "L1", "live_s": len(parties)}
        district.nodes[17].record("lesson_minutes", [minutes])
        district.seal(17)
    district.reopen(17)
    district.settle()
    theirs = "FROM log WHERE origin = 17 AND audience = 'lL1' AND lane = 3"
    assert district.rows(18, f"SELECT stored, applied {theirs}") == [(3, 3)]


def test_a_restored_node_begins_epochs_under_numbers_it_did_not_use(district: District) -> None:
    tap(district, "1")
    copy = district.back_up(17)
    district.nodes[17].keys.rotate("head")
    tap(district, "2")
    district.exchange(17)
    restored = district.restore(17, copy, b"second")
    tap(district, "3")
    district.exchange(17)
    tap(district, "4")
    district.exchange(17)
    names = [state.epoch.name for state in restored.keys.states()]
    assert len(names) == len(set(names)) == 4
    # Both epochs called 2 are different keys; each body opens with the one it names.
    assert district.rows(17, "SELECT card FROM card_tap ORDER BY card") == [
        (number,) for number in "1234"
    ]


def test_a_forged_box_of_the_school_does_not_choose_its_key(district: District) -> None:
    # The hub certifies a box of its own making, whose rows count as the school's.
    school = district.nodes[17]
    planted = new_data_key(random.Random(9).randbytes)
    own = district.keys[17].sealing.public_key()
    purpose = "17/s17/identity/5"
    row: dict[str, Value] = {
        "key_id": key_id(planted),
        "purpose": purpose,
        "epoch": 5,
        "recipient": recipient_id(own),
        "suite": SUITE_X25519_SHA256_CHACHA20,
        "wrapped": wrap(planted, own, purpose.encode()),
    }
    forger = Node(
        open_store(district.folder / "forger.db"),
        district.keys[17],
        lambda: district.now,
        district.chance.randbytes,
        district,
    )
    forger.record("key_grant", [row])
    forger.seal_all()
    wires = [wire for log in forger.logs() for _, wire in segments_held(forger, log.id)]
    forger.close()
    assert school.import_segments(wires, 0, lambda _: True).stored == len(wires)
    tap(district)
    (used,) = [each.epoch for each in school.keys.states() if "identity" in str(each.epoch.purpose)]
    assert used.name != key_id(planted)
    assert used.purpose.epoch == 6  # a number is all that it takes from elsewhere


def test_a_forged_grant_does_not_hide_that_a_reader_lacks_the_key(district: District) -> None:
    school = district.nodes[17]
    tap(district)
    recovery = X25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
    (identity,) = [each for each in school.keys.states() if "identity" in str(each.epoch.purpose)]
    theirs = recipient_id(recovery.public_key())
    noise: dict[str, Value] = {
        "key_id": identity.epoch.name,
        "purpose": str(identity.epoch.purpose),
        "recipient": theirs,
        "suite": SUITE_X25519_SHA256_CHACHA20,
        "wrapped": b"noise",
    }
    school.record("key_grant", [noise])
    district.reopen(17)
    district.nodes[17].keys.confirm(
        RecipientKind.RECOVERY, recovery.public_key().public_bytes_raw(), "code", "head"
    )
    district.seal(17)
    granted = district.rows(17, "SELECT recipient FROM key_grant")
    assert granted.count((theirs,)) == 3  # noise, and the two keys


def test_a_grant_of_a_suite_that_is_not_spoken_is_passed_over_with_a_reason(
    district: District,
) -> None:
    school = district.nodes[17]
    tap(district)
    kem_768_x25519 = 0x647A_0001_0003
    row: dict[str, Value] = {
        "key_id": bytes(8),
        "purpose": "17/s17/identity/9",
        "recipient": recipient_id(district.keys[17].sealing.public_key()),
        "suite": kem_768_x25519,
        "wrapped": bytes(1200),
    }
    school.record("key_grant", [row])
    ((purpose, reason),) = school.keys.passed_over()
    assert purpose == "17/s17/identity/9"
    assert "0x647a00010003" in reason
    assert "update" in reason


def test_a_flood_of_grants_is_cut_into_transactions_and_all_are_made(district: District) -> None:
    district.lessons = {f"L{number}": frozenset({17}) for number in range(600)}
    school = district.nodes[17]
    for lesson in district.lessons:
        school.record("lesson_minutes", [{"lesson": lesson, "live_s": 1}])
    school.seal_all()
    district.lessons = dict.fromkeys(district.lessons, frozenset({17, 18}))
    district.reopen(17).seal_all()
    late = recipient_id(district.keys[18].sealing.public_key())
    granted = district.rows(17, "SELECT recipient FROM key_grant")
    assert granted.count((late,)) == 600


def test_a_hub_that_lost_its_disk_grants_keys_of_its_former_life_again(
    district: District,
) -> None:
    district.nodes[0].record("notice", [{"school": 0, "notice": "n1"}])
    district.exchange(18)
    lost = district.nodes[0]
    lost.close()
    for path in district.folder.glob("0.db*"):
        path.unlink()
    district.add(0, b"second")
    district.exchange(18)  # 18 gives the log back; the grant to 17 stood in a log that 17 never had
    assert district.rows(0, "SELECT notice FROM notice") == [("n1",)]
    district.exchange(17)
    assert district.rows(17, "SELECT notice FROM notice") == [("n1",)]
