"""The sealed roster as bytes; ``python -m tests.sync.test_sealed_roster`` makes the vector anew."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.errors import ForgedError, MalformedError, RosterError, SyncError
from sync.rosters.people import Pupil, StaffMember
from sync.rosters.sealed import (
    CONTEXT,
    PART_PEOPLE,
    PEOPLE_MAX,
    RosterSealer,
    open_roster,
    parse_roster,
    sign_roster,
)
from sync.segments.signing import sign, signer_id, verify

VECTOR = Path(__file__).parents[1] / "vectors" / "sync" / "roster.json"
CHANCE = random.Random(17)
BOX = X25519PrivateKey.from_private_bytes(CHANCE.randbytes(32))
HUB = Ed25519PrivateKey.from_private_bytes(CHANCE.randbytes(32))
MADE_MS = 1_790_000_000_000
PUPILS = [Pupil(f"学生{n}", f"{n:010X}", f"{n % 9}班", f"C{n}") for n in range(2 * PART_PEOPLE + 7)]
STAFF = StaffMember("T-1", "李老师", "teacher")


def seal(*people: Pupil | StaffMember, school: int = 17) -> bytes:
    address = ("jiangxia", school, "0a1b2c3d")
    sealer = RosterSealer(BOX.public_key(), address, MADE_MS, random.Random(3).randbytes)
    for person in people:
        sealer.add(person)
    return sealer.finish()


def signed(sealed: bytes) -> bytes:
    return sign_roster(sealed, signer_id(HUB.public_key()), lambda *told: sign(HUB, *told))


def test_what_was_sealed_opens_at_its_box_and_says_how_many_it_holds() -> None:
    sealed = parse_roster(signed(seal(*PUPILS, STAFF)))
    header = sealed.header
    assert (header.pupils, header.staff, header.classes, header.parts) == (len(PUPILS), 1, 9, 3)
    assert (header.district, header.school, header.box) == ("jiangxia", 17, "0a1b2c3d")
    verify(HUB.public_key(), CONTEXT, sealed.header_bytes, sealed.signature)
    opened = open_roster(sealed, BOX)
    assert opened.pupils == tuple(PUPILS)
    assert opened.staff == (STAFF,)


def test_a_school_without_people_is_a_file_too() -> None:
    assert open_roster(parse_roster(seal()), BOX).pupils == ()


def test_it_opens_with_no_other_key() -> None:
    other = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    with pytest.raises(ForgedError, match="does not open with this node's key"):
        open_roster(parse_roster(seal(*PUPILS)), other)


def test_no_name_card_or_code_stands_in_the_file() -> None:
    content = signed(seal(*PUPILS, STAFF))
    for text in ("学生42", "李老师", f"{42:010X}", "C42"):
        assert text.encode() not in content
        assert text.encode("gb18030") not in content


def test_sealing_the_same_again_uses_another_key() -> None:
    address = ("jiangxia", 17, "0a1b2c3d")
    chance = random.Random(1)
    made = [RosterSealer(BOX.public_key(), address, MADE_MS, chance.randbytes) for _ in range(2)]
    for each in made:
        each.add(PUPILS[0])
    first, second = (parse_roster(each.finish()) for each in made)
    assert first.header.key != second.header.key
    assert first.parts != second.parts


def test_no_changed_byte_passes_for_the_same_roster() -> None:
    content = signed(seal(*PUPILS[:3]))
    expected = open_roster(parse_roster(content), BOX)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        with pytest.raises(SyncError):
            check(bytes(damaged))
    assert check(content) == expected


def test_who_cannot_open_it_notices_an_altered_part_too() -> None:
    """The hub signs for what it cannot read."""
    content = bytearray(seal(*PUPILS))
    content[-1] ^= 1
    with pytest.raises(ForgedError, match="altered or cut off"):
        signed(bytes(content))


@pytest.mark.parametrize("length", [0, 3, 8, 60, 200, -1])
def test_what_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(SyncError):
        check(signed(seal(*PUPILS))[:length])


def check(content: bytes) -> object:
    sealed = parse_roster(content)
    if sealed.signer != signer_id(HUB.public_key()):
        raise ForgedError("another signer")
    verify(HUB.public_key(), CONTEXT, sealed.header_bytes, sealed.signature)
    return open_roster(sealed, BOX)


def test_parts_are_not_moved_from_one_school_to_another() -> None:
    """Who has the data key of one roster cannot be at issue; a hub that mixes files is."""
    mine, other = (parse_roster(seal(*PUPILS[:3], school=school)) for school in (17, 18))
    header = msgspec.structs.replace(other.header, school=17)
    mixed = type(mine)(header, b"", mine.signer, mine.signature, other.parts)
    with pytest.raises(ForgedError):
        open_roster(mixed, BOX)


def test_a_header_that_says_other_figures_is_refused() -> None:
    sealed = parse_roster(seal(*PUPILS[:3]))
    header = msgspec.structs.replace(sealed.header, pupils=4)
    told = type(sealed)(header, b"", sealed.signer, sealed.signature, sealed.parts)
    with pytest.raises(MalformedError, match="not hold as many people"):
        open_roster(told, BOX)


def test_a_later_version_says_which_program_to_update() -> None:
    sealed = seal(STAFF)
    parsed = parse_roster(sealed)
    header = msgspec.msgpack.encode(msgspec.structs.replace(parsed.header, version=2))
    later = sealed[:4] + len(header).to_bytes(4) + header + sealed[8 + len(parsed.header_bytes) :]
    with pytest.raises(MalformedError, match="version 2"):
        parse_roster(later)


def test_a_school_has_a_bound() -> None:
    sealer = RosterSealer(BOX.public_key(), ("jiangxia", 17, "0"), MADE_MS, CHANCE.randbytes)
    for _ in range(PEOPLE_MAX):
        sealer.add(PUPILS[0])
    with pytest.raises(RosterError, match=f"more than {PEOPLE_MAX}"):
        sealer.add(PUPILS[0])


def make_vector() -> dict[str, object]:
    return {
        "box_private": BOX.private_bytes_raw().hex(),
        "hub_public": HUB.public_key().public_bytes_raw().hex(),
        "context": CONTEXT.decode(),
        "pupils": msgspec.to_builtins(PUPILS[:2]),
        "staff": msgspec.to_builtins([STAFF]),
        "wire": signed(seal(*PUPILS[:2], STAFF)).hex(),
    }


def test_the_committed_roster_opens() -> None:
    vector = json.loads(VECTOR.read_bytes())
    content = bytes.fromhex(vector["wire"])
    sealed = parse_roster(content)
    verify(HUB.public_key(), CONTEXT, sealed.header_bytes, sealed.signature)
    opened = open_roster(
        sealed, X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["box_private"]))
    )
    assert msgspec.to_builtins(opened.pupils) == tuple(vector["pupils"])
    assert msgspec.to_builtins(opened.staff) == tuple(vector["staff"])


if __name__ == "__main__":
    VECTOR.write_text(f"{json.dumps(make_vector(), ensure_ascii=False, indent=1)}\n")
