"""What profiles quote is what their devices truly say: by our codecs and by a program not ours."""

import msgspec
import pytest
from pymodbus.framer import FramerRTU

from drivers.vector_proof import PROOFS, find_broken_vectors
from firmware_profiles.catalog import GENERIC, load_catalog
from firmware_profiles.model import Profile, ProfileId, Vector

PROFILES = load_catalog().profiles
RELAYS = PROFILES[ProfileId("relay-waveshare-rtu-8")]
MOXA = PROFILES[ProfileId("io-moxa-e1214")]
READER = PROFILES[ProfileId("rdm6300")]
replace = msgspec.structs.replace


def facts(profile: Profile) -> list[str]:
    return [flaw.fact for flaw in find_broken_vectors(profile)]


def with_vector(profile: Profile, index: int, **changes: object) -> Profile:
    vectors = list(profile.vectors)
    vectors[index] = replace(vectors[index], **changes)
    return replace(profile, vectors=tuple(vectors))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.id)
def test_the_vectors_of_every_bundled_profile_hold(profile: Profile) -> None:
    assert facts(profile) == []


def test_enough_models_of_enough_vendors_are_proved() -> None:
    proved = [p for p in PROFILES.values() if p.links[0].type in PROOFS]
    assert len(proved) >= 25
    assert len({p.vendor for p in proved} - {GENERIC}) >= 15


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=f"{p.id}: {vector.name}")
        for p in PROFILES.values()
        if p.links[0].type == "modbus_rtu"
        for vector in p.vectors
    ],
)
def test_a_program_not_ours_finds_the_same_checksums(vector: Vector) -> None:
    for text in (vector.request, vector.reply):
        frame = bytes.fromhex(text)
        assert FramerRTU.compute_CRC(frame[:-2]) == int.from_bytes(frame[-2:], "big")


def test_a_wrong_value_is_found() -> None:
    broken = with_vector(RELAYS, 3, values={"relay_1": "on"})
    assert "vector 'states, all off': relay_1 is off, not on" in facts(broken)


def test_a_wrong_checksum_is_found() -> None:
    broken = with_vector(RELAYS, 3, reply="01 01 01 00 51 89")
    assert facts(broken)[0] == "vector 'states, all off': checksum of 6 bytes is wrong"


def test_a_command_that_is_sent_otherwise_is_found() -> None:
    broken = with_vector(RELAYS, 0, argument="off")
    (fact,) = facts(broken)
    assert fact.startswith("vector 'relay 1 on': relay_1 off is WriteOneRequest(")


def test_a_value_that_was_not_read_is_found() -> None:
    broken = with_vector(RELAYS, 3, values={"firmware": 2.0, "relay_1": "off"})
    assert "vector 'states, all off': firmware is not in what was read" in facts(broken)


def test_a_half_frame_on_tcp_is_found() -> None:
    broken = with_vector(MOXA, 0, request=MOXA.vectors[0].request[:-3])
    assert facts(broken) == ["vector 'relay 6 on': request and reply are not one whole frame each"]


def test_a_card_with_a_broken_frame_is_found() -> None:
    reply = READER.vectors[0].reply.replace("36 46", "36 47", 1)
    assert facts(with_vector(READER, 0, reply=reply))[0].endswith("its bytes hold the cards []")


def test_a_point_that_no_vector_shows_is_found() -> None:
    shown = replace(RELAYS, vectors=RELAYS.vectors[:4])
    assert facts(shown) == ["no vector shows firmware"]
