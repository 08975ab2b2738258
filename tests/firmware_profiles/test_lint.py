import msgspec
import pytest

from firmware_profiles.catalog import load_catalog
from firmware_profiles.lint import find_flaws
from firmware_profiles.model import Bits, Profile, ProfileId, Verify

PROFILES = load_catalog().profiles
SOIL = PROFILES[ProfileId("soil-sen0601")]
PROJECTOR = PROFILES[ProfileId("pjlink-projector")]
replace = msgspec.structs.replace


def facts(profile: Profile) -> list[str]:
    return [flaw.fact for flaw in find_flaws(profile)]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.id)
def test_bundled_profiles_have_no_flaws(profile: Profile) -> None:
    assert facts(profile) == []


def test_two_points_of_one_name_are_a_flaw() -> None:
    twice = replace(SOIL, points=(*SOIL.points, SOIL.points[0]))
    assert facts(twice) == ["points has 'soil_moisture' 2 times"]


def test_a_modbus_point_needs_a_register() -> None:
    point = replace(SOIL.points[0], register=None)
    assert facts(replace(SOIL, points=(point, *SOIL.points[1:]))) == [
        "point soil_moisture has no function or no register"
    ]


def test_bits_must_fit_their_integer() -> None:
    point = replace(SOIL.points[0], bits=Bits(first=12, count=8))
    assert facts(replace(SOIL, points=(point, *SOIL.points[1:]))) == [
        "bits of soil_moisture do not fit uint16"
    ]


def test_a_profile_without_vectors_or_probe_is_flawed() -> None:
    assert facts(replace(SOIL, vectors=(), probe=())) == ["has no probe", "has no vectors"]


def test_a_serial_link_needs_a_baud_rate() -> None:
    link = replace(SOIL.links[0], baud=(), baud_codes={})
    found = facts(replace(SOIL, links=(link,)))
    assert "a serial link has no baud" in found
    assert "expects a baud code, no link has any" in found


def test_a_command_is_verified_by_a_point_that_exists() -> None:
    power = replace(
        PROJECTOR.commands[0], verify=Verify(point="glow", delay_ms=0, expect="{value}")
    )
    broken = replace(PROJECTOR, commands=(power, *PROJECTOR.commands[1:]))
    assert facts(broken) == ["command power is verified by 'glow', which is no point"]
