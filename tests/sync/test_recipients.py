"""Who is granted a school's keys: by certificate, by a person's word, and never by the hub's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sync.clock import AHEAD_MS_MAX, wall_ms
from sync.errors import RecipientError
from sync.keys.recipients import Recipient, RecipientKind, Standing, fingerprint
from sync.node import Node, NodeKeys
from sync.schema import BY_NAME
from sync.schema.model import Group, Owner
from sync.segments.columnar import Value
from sync.segments.sealing import RecipientId, recipient_id
from sync.segments.signing import SignerId, signer_id
from sync.store import open_store
from tests.sync.district import District, new_keys, segments_held

DAY_MS = 24 * 3600 * 1000
EVERYTHING = (Group.DISTRICT, Group.HEALTH, Group.IDENTITY)


@dataclass
class Certifying(District):
    """A district whose hub certifies further boxes of schools, and revokes them."""

    further: dict[int, list[NodeKeys]] = field(default_factory=dict)
    revoked: set[bytes] = field(default_factory=set)

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        for keys in self.further.get(origin, []):
            public = keys.signing.public_key()
            if signer_id(public) == signer:
                return public
        return super().signing_key(origin, signer)

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        for keys in self.further.get(origin, []):
            if signer_id(keys.signing.public_key()) == signer:
                return keys.sealing.public_key()
        return super().sealing_key(origin, signer)

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        further = [keys.sealing.public_key() for keys in self.further.get(school, [])]
        certified = [*super().sealing_keys(school), *further]
        return [key for key in certified if recipient_id(key) not in self.revoked]

    def certify(self, school: int) -> NodeKeys:
        """Certify a further box; the schools hear of it."""
        keys = new_keys(school, self.chance)
        self.further.setdefault(school, []).append(keys)
        self.tell()
        return keys

    def certify_instead(self, school: int) -> NodeKeys:
        """Certify a box that takes the place of a lost one; what that signed stays signed."""
        self.further.setdefault(school, []).append(self.keys[school])
        self.revoked.add(recipient_id(self.keys[school].sealing.public_key()))
        return new_keys(school, self.chance)

    def tell(self) -> None:
        for school in self.nodes.keys() - {0}:
            self.nodes[0].record("box_certificate", [{"box": "b", "school": school}])
        self.settle()


@pytest.fixture
def district(tmp_path: Path) -> Iterator[Certifying]:
    small = Certifying(tmp_path, Random(7))
    for origin in (0, 17, 18):
        small.add(origin)
    yield small
    for node in small.nodes.values():
        node.close()


def public(private: X25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def granted(district: District, key: X25519PublicKey) -> set[str]:
    """Return the purposes of which school 17 granted a key."""
    rows = district.rows(17, "SELECT purpose, recipient FROM key_grant WHERE purpose GLOB '17/*'")
    return {str(purpose) for purpose, recipient in rows if recipient == recipient_id(key)}


def tap(district: District) -> None:
    district.nodes[17].record("card_tap", [{"at_ms": 1, "card": "c"}])
    district.seal(17)


def listed(district: District, key: X25519PublicKey) -> Recipient:
    found = [each for each in district.nodes[17].keys.recipients() if each.id == recipient_id(key)]
    assert len(found) == 1
    return found[0]


def test_a_further_box_that_the_hub_certified_reads_district_alone_until_a_person_confirms_it(
    district: Certifying,
) -> None:
    tap(district)
    further = district.certify(17).sealing.public_key()
    district.seal(17)
    assert granted(district, further) == {"17/s17/district/1"}
    assert listed(district, further).standing is Standing.SEEN
    assert listed(district, further).reads == (Group.DISTRICT,)
    district.nodes[17].keys.confirm(RecipientKind.BOX, further.public_bytes_raw(), "spare", "head")
    tap(district)
    assert granted(district, further) == {"17/s17/district/1", "17/s17/identity/1"}
    shown = listed(district, further)
    assert (shown.standing, shown.who, shown.reads) == (Standing.CONFIRMED, "head", EVERYTHING)


def test_a_revoked_box_gets_no_key_that_seals_later(district: Certifying) -> None:
    further = district.certify(17).sealing.public_key()
    district.nodes[17].keys.confirm(RecipientKind.BOX, further.public_bytes_raw(), "spare", "head")
    tap(district)
    before = granted(district, further)
    district.revoked.add(recipient_id(further))
    district.tell()
    tap(district)
    assert granted(district, further) == before
    assert [state.epoch.purpose.epoch for state in district.nodes[17].keys.states()] == [1, 2, 1, 2]
    assert listed(district, further).reads == ()


def test_a_person_may_revoke_a_box_whose_certificate_still_holds(district: Certifying) -> None:
    further = district.certify(17).sealing.public_key()
    tap(district)
    before = granted(district, further)
    assert before == {"17/s17/district/1"}
    district.nodes[17].keys.revoke(recipient_id(further), "head")
    tap(district)
    assert granted(district, further) == before
    assert listed(district, further).standing is Standing.REVOKED


@pytest.mark.parametrize("kind", [RecipientKind.RECOVERY, RecipientKind.ESCROW])
def test_recovery_and_escrow_are_granted_every_key_of_the_school_past_and_to_come(
    district: Certifying, kind: RecipientKind
) -> None:
    tap(district)
    district.nodes[17].keys.rotate("head")
    tap(district)
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    district.nodes[17].keys.confirm(kind, public(kept), "code of 2026", "head")
    district.nodes[17].record("health_check", [{"at_ms": 1, "symptoms": "cough"}])
    district.seal(17)
    everything = {
        f"17/s17/{group}/{epoch}" for group in ("district", "identity") for epoch in (1, 2)
    }
    assert granted(district, kept.public_key()) == everything | {"17/s17/health/1"}
    district.nodes[17].keys.revoke(recipient_id(kept.public_key()), "head")
    tap(district)
    assert "17/s17/identity/3" not in granted(district, kept.public_key())


def test_a_rebuilt_box_takes_over_what_the_recovery_key_was_granted(district: Certifying) -> None:
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    district.nodes[17].keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    tap(district)
    district.nodes[17].record("person", [{"person": 5, "kind": "pupil", "name": b"sealed"}])
    district.exchange(17)
    held = district.digests(17)
    district.nodes[17].close()
    for path in district.folder.glob("17.db*"):
        path.unlink()
    district.keys[17] = district.certify_instead(17)
    rebuilt = district.add(17, b"second")
    district.exchange(17)
    assert district.rows(17, "SELECT card FROM card_tap") == []
    assert rebuilt.keys.take_over(kept) == 2
    while rebuilt.open_waiting():
        pass
    assert district.rows(17, "SELECT card FROM card_tap") == [("c",)]
    assert district.rows(17, "SELECT name FROM person") == [(b"sealed",)]
    now = district.digests(17)
    for table in ("card_tap", "person", "confirmed_recipient"):
        assert now[table] == held[table]
    assert rebuilt.keys.take_over(kept) == 0
    # What another box confirmed is shown, and asked again: nothing tells it from a forgery.
    assert listed(district, kept.public_key()).standing is Standing.ELSEWHERE
    tap(district)
    fresh = {f"17/s17/{group}/2" for group in ("district", "identity")}
    assert not granted(district, kept.public_key()) & fresh
    rebuilt.keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    tap(district)
    assert granted(district, kept.public_key()) >= fresh


def test_the_wrong_recovery_key_takes_over_nothing(district: Certifying) -> None:
    tap(district)
    wrong = X25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
    assert district.nodes[17].keys.take_over(wrong) == 0


def forge(district: Certifying, table: str, row: dict[str, Value]) -> None:
    """Let the hub certify a box of its own making and write a row as school 17."""
    forger = Node(
        open_store(district.folder / "forger.db"),
        district.certify(17),
        lambda: district.now + 60_000,
        district.chance.randbytes,
        district,
    )
    forger.record(table, [row])
    forger.seal_all()
    logs = [log for log in forger.logs() if log.name.origin == 17]
    wires = [wire for log in logs for _, wire in segments_held(forger, log.id)]
    forger.close()
    assert district.nodes[17].import_segments(wires, 0, lambda _: True).stored == len(wires)


def test_a_box_of_the_hubs_making_confirms_nobody(district: Certifying) -> None:
    tap(district)
    planted = X25519PrivateKey.from_private_bytes(bytes(range(5, 37)))
    row: dict[str, Value] = {
        "recipient": recipient_id(planted.public_key()),
        "kind": "escrow",
        "name": "district",
        "public": public(planted),
        "at_ms": 1,
        "who": "head",
        "revoked": 0,
    }
    forge(district, "confirmed_recipient", row)
    tap(district)
    assert granted(district, planted.public_key()) == set()
    assert listed(district, planted.public_key()).standing is Standing.ELSEWHERE


def test_a_box_of_the_hubs_making_swaps_no_confirmed_key_for_its_own(district: Certifying) -> None:
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    planted = X25519PrivateKey.from_private_bytes(bytes(range(5, 37)))
    district.nodes[17].keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    row: dict[str, Value] = {
        "recipient": recipient_id(kept.public_key()),
        "kind": "recovery",
        "public": public(planted),
        "revoked": 0,
    }
    forge(district, "confirmed_recipient", row)
    tap(district)
    assert granted(district, planted.public_key()) == set()
    assert "17/s17/identity/1" in granted(district, kept.public_key())


@pytest.mark.parametrize(("ahead_ms", "is_sealed"), [(0, False), (0, True), (DAY_MS, True)])
def test_a_revocation_from_elsewhere_holds_until_a_person_confirms_again(
    district: Certifying, ahead_ms: int, *, is_sealed: bool
) -> None:
    """Also when the clock that told of the confirmation was far ahead of the one that ended it."""
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    district.skew[17] = ahead_ms
    district.nodes[17].keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    if is_sealed:
        district.nodes[17].seal_all()
    before = granted(district, kept.public_key())
    copy = district.back_up(17)
    district.skew[17] = 0
    if is_sealed:
        district.exchange(17)  # the hub brings the clock back
    district.nodes[17].keys.revoke(recipient_id(kept.public_key()), "head")
    district.exchange(17)
    district.restore(17, copy, b"second")
    district.exchange(17)
    assert listed(district, kept.public_key()).standing is Standing.DISPUTED
    tap(district)
    assert granted(district, kept.public_key()) == before
    district.nodes[17].keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    tap(district)
    assert granted(district, kept.public_key()) > before


def test_a_confirmation_that_waited_while_the_clock_came_back_is_ended_by_a_later_revocation(
    district: Certifying,
) -> None:
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    district.skew[17] = DAY_MS
    district.nodes[17].record("room", [{"room": "r1", "name": "lab"}])
    district.seal(17)
    district.nodes[17].keys.confirm(RecipientKind.RECOVERY, public(kept), "code", "head")
    sealed = [wire for _, _, wire in district.wires(17)]
    district.nodes[0].import_segments(sealed, 17, lambda _: True)
    district.seal(0)
    district.skew[17] = 0
    clamps = [wire for _, _, wire in district.wires(0)]
    district.nodes[17].import_segments(clamps, 0, lambda _: True)
    assert wall_ms(district.nodes[17].clock.last) <= district.now + AHEAD_MS_MAX
    copy = district.back_up(17)
    district.nodes[17].keys.revoke(recipient_id(kept.public_key()), "head")
    district.exchange(17)
    district.restore(17, copy, b"second")
    district.exchange(17)
    assert listed(district, kept.public_key()).standing is Standing.DISPUTED


@pytest.mark.parametrize("ahead_ms", [0, DAY_MS])
def test_a_release_that_was_ended_since_the_copy_is_not_taken_up_again(
    district: Certifying, ahead_ms: int
) -> None:
    tap(district)
    district.skew[17] = ahead_ms
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.nodes[17].seal_all()
    copy = district.back_up(17)
    district.skew[17] = 0
    district.exchange(17)
    district.nodes[17].keys.unrelease(Group.IDENTITY, "head")
    district.exchange(17)
    restored = district.restore(17, copy, b"second")
    district.exchange(17)
    tap(district)
    hub = district.keys[0].sealing.public_key()
    assert granted(district, hub) >= {"17/s17/identity/1"}
    assert not {each for each in granted(district, hub) if "identity" in each} - {
        "17/s17/identity/1"
    }
    assert restored.keys.released() == set()


OWNED_BY_THE_SCHOOL = ("confirmed_recipient", "erasure", "leave", "person")


@pytest.mark.parametrize("table", OWNED_BY_THE_SCHOOL)
def test_what_the_hub_writes_of_a_schools_decisions_is_parked_and_changes_nothing(
    district: Certifying, table: str
) -> None:
    tap(district)
    district.settle()
    before = granted(district, district.keys[0].sealing.public_key())
    assert BY_NAME[table].owner is Owner.SCHOOL
    planted = X25519PrivateKey.from_private_bytes(bytes(range(5, 37)))
    rows: dict[str, dict[str, Value]] = {
        "confirmed_recipient": {
            "recipient": recipient_id(planted.public_key()),
            "kind": "escrow",
            "public": public(planted),
        },
        "erasure": {"at_ms": 1, "person": 5, "complete_ms": 2},
        "leave": {"person": 5, "from_ms": 1, "until_ms": 2},
        "person": {"person": 5, "kind": "pupil"},
    }
    hub = district.nodes[0]
    hub.record(
        table, [{"school": 17, **rows[table]}] if BY_NAME[table].key else [rows[table]], "s17"
    )
    district.settle()
    assert district.rows(17, f"SELECT * FROM {table}") == []  # noqa: S608 - the schema's name
    (reason,) = district.rows(17, "SELECT reason FROM parked")
    assert "school's" in str(reason)
    tap(district)
    assert granted(district, planted.public_key()) == set()
    assert granted(district, district.keys[0].sealing.public_key()) == before


def test_the_hub_may_ask_and_nothing_follows_until_a_person_decides(district: Certifying) -> None:
    tap(district)
    escrow = X25519PrivateKey.from_private_bytes(bytes(range(5, 37)))
    ask: dict[str, Value] = {"school": 17, "at_ms": 5, "who": "office"}
    district.nodes[0].record(
        "key_request",
        [
            {**ask, "request": "1", "wish": "release", "subject": "identity"},
            {**ask, "request": "2", "wish": "escrow", "subject": "e", "public": public(escrow)},
        ],
    )
    district.settle()
    tap(district)
    office = district.nodes[17].keys
    assert [(each.wish, each.subject) for each in office.requests()] == [
        ("release", "identity"),
        ("escrow", "e"),
    ]
    assert granted(district, district.keys[0].sealing.public_key()) == {"17/s17/district/1"}
    assert granted(district, escrow.public_key()) == set()
    assert listed(district, escrow.public_key()).kind is RecipientKind.ESCROW
    office.confirm(RecipientKind.ESCROW, public(escrow), "e", "head", 0)
    office.release(Group.IDENTITY, "head")
    district.seal(17)
    assert "17/s17/identity/1" in granted(district, escrow.public_key())
    assert office.requests() == []


def test_single_epochs_are_released_and_what_follows_them_is_not(district: Certifying) -> None:
    for _ in range(3):
        tap(district)
        district.nodes[17].keys.rotate("head")
    tap(district)
    office = district.nodes[17].keys
    assert office.release(Group.IDENTITY, "head", [2, 4]) == 2
    tap(district)
    hub = district.keys[0].sealing.public_key()
    assert {each for each in granted(district, hub) if "identity" in each} == {
        "17/s17/identity/2",
        "17/s17/identity/4",
    }
    assert [
        state.epoch.purpose.epoch
        for state in office.states()
        if state.epoch.ended_ms is None and state.epoch.purpose.group is Group.IDENTITY
    ] == [5]
    district.exchange(17)
    opened = district.rows(0, "SELECT count(*) FROM card_tap WHERE card = 'c'")
    assert opened == [(2,)]


def test_an_ended_release_lets_out_nothing_further(district: Certifying) -> None:
    office = district.nodes[17].keys
    tap(district)
    office.release(Group.IDENTITY, "head")
    tap(district)
    office.unrelease(Group.IDENTITY, "head")
    tap(district)
    district.exchange(17)
    assert district.rows(0, "SELECT card FROM card_tap") == [("c",), ("c",), (None,)]
    with pytest.raises(RecipientError, match="not released"):
        office.unrelease(Group.IDENTITY, "head")


def test_every_decision_is_in_the_audit_log_with_who_and_whom(district: Certifying) -> None:
    kept = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    office = district.nodes[17].keys
    office.confirm(RecipientKind.RECOVERY, public(kept), "code", "Li")
    office.revoke(recipient_id(kept.public_key()), "Wang")
    office.release(Group.HEALTH, "Li", [1, 2])
    office.release(Group.HEALTH, "Li")
    office.unrelease(Group.HEALTH, "Li")
    office.rotate("Li", group=Group.HEALTH)
    district.exchange(17)
    entries = district.rows(0, "SELECT who, action, subject FROM audit_entry ORDER BY row")
    assert entries == [
        ("Li", "confirm recovery code", fingerprint(public(kept))),
        ("Wang", "revoke recovery code", fingerprint(public(kept))),
        ("Li", "release health", "epochs [1, 2]"),
        ("Li", "release health", "all epochs"),
        ("Li", "unrelease health", "from the next epoch"),
        ("Li", "rotate all audiences health", "0 keys"),
    ]


def test_what_cannot_be_is_refused_in_words_and_leaves_nothing(district: Certifying) -> None:
    office = district.nodes[17].keys
    own, hub = (district.keys[origin].sealing.public_key() for origin in (17, 0))
    theirs = district.keys[18].sealing.public_key().public_bytes_raw()
    stranger = public(X25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
    recovery = RecipientKind.RECOVERY
    attempts: list[tuple[RecipientKind, bytes, str, int | None, str]] = [
        (recovery, bytes(31), "n", None, "no X25519 key"),
        (recovery, bytes(32), "n", None, "nothing can be sealed"),
        (recovery, stranger, "x" * 81, None, "at most 80"),
        (recovery, stranger, "\x1b[2J", None, "printable"),
        (recovery, own.public_bytes_raw(), "n", None, "own key"),
        (RecipientKind.ESCROW, hub.public_bytes_raw(), "n", None, "the hub's"),
        (RecipientKind.HUB, hub.public_bytes_raw(), "n", 0, "release a group"),
        (RecipientKind.BOX, stranger, "n", None, "has it enrolled"),
        (RecipientKind.BOX, theirs, "n", 18, "no box of this school"),
        (RecipientKind.PARTNER, stranger, "n", 18, "compare it again"),
        (RecipientKind.PARTNER, theirs, "n", 17, "another school"),
    ]
    for kind, key, name, school, told in attempts:
        with pytest.raises(RecipientError, match=told):
            office.confirm(kind, key, name, "head", school)
    for recipient in (recipient_id(hub), recipient_id(own), RecipientId(b"12345678")):
        with pytest.raises(RecipientError):
            office.revoke(recipient, "head")
    for group in (Group.DISTRICT, Group.GRANT):
        with pytest.raises(RecipientError, match="only health and identity"):
            office.release(group, "head")
    with pytest.raises(RecipientError, match="a hub confirms nobody"):
        district.nodes[0].keys.confirm(RecipientKind.RECOVERY, stranger, "n", "head")
    assert district.rows(17, "SELECT * FROM confirmed_recipient") == []
    assert district.rows(17, "SELECT * FROM audit_entry") == []


def test_a_flood_of_certificates_fills_no_list(district: Certifying) -> None:
    chance = Random(3)
    district.further[17] = [new_keys(17, chance) for _ in range(400)]
    assert len(district.nodes[17].keys.recipients()) <= 256


def test_what_the_hub_asks_in_steers_no_terminal(district: Certifying) -> None:
    wish: dict[str, Value] = {"request": "1", "wish": "\x1b[2Jescrow", "subject": "\r\nOK\u202e"}
    district.nodes[0].record("key_request", [{"school": 17, "at_ms": 5, "who": "x" * 500, **wish}])
    district.settle()
    (asked,) = district.nodes[17].keys.requests()
    assert (asked.wish, asked.subject, len(asked.who)) == ("[2Jescrow", "OK", 80)


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_eight_groups_of_four(key: bytes) -> None:
    groups = fingerprint(key).split(" ")
    assert len(groups) == 8
    assert all(len(bytes.fromhex(each)) == 2 for each in groups)
