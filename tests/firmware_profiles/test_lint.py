import re

import msgspec
import pytest

from firmware_profiles.catalog import load_catalog
from firmware_profiles.doubts import doubtful, find_doubts, find_hints
from firmware_profiles.lint import find_flaws
from firmware_profiles.model import (
    Bits,
    Event,
    Firmware,
    Interlock,
    Match,
    Profile,
    ProfileId,
    Source,
    Span,
    Verify,
    Write,
)
from firmware_profiles.quirks import Quirk

PROFILES = load_catalog().profiles
SOIL = PROFILES[ProfileId("soil-sen0601")]
PROJECTOR = PROFILES[ProfileId("pjlink-projector")]
RELAYS = PROFILES[ProfileId("relay-waveshare-rtu-8")]
INPUTS = PROFILES[ProfileId("input-waveshare-io-8")]
replace = msgspec.structs.replace


DOUBT = re.compile(
    r"unconfirmed|untried|(?:not|nor|never) (?:confirm|seen)|(?:never|none was|no \w+ was) tried"
    r"|no (?:\w+ )?(?:document|manual)\b|no (?:\w+ )?device (?:has )?confirm"
    r"|from (?:other programs|[\w' ]*(?:driver|tool)\b)",
    re.IGNORECASE,
)
"""The words by which a source says that it does not know, or that only a program says so."""


def facts(profile: Profile) -> list[str]:
    return [flaw.fact for flaw in find_flaws(profile)]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.id)
def test_bundled_profiles_have_no_flaws(profile: Profile) -> None:
    assert facts(profile) == []


def test_two_points_of_one_name_are_a_flaw() -> None:
    twice = replace(SOIL, points=(*SOIL.points, SOIL.points[0]))
    assert facts(twice) == ["points has 'soil_moisture' 2 times"]


@pytest.mark.parametrize("field", Match.__struct_fields__)
def test_what_a_profile_is_matched_by_belongs_to_a_way_it_is_spoken_to(field: str) -> None:
    words = {"usb": ("1a86:7523",), "onvif_scopes": ("onvif://www.onvif.org/hardware/Seven",)}
    match = Match(**{field: words[field]})
    projector = replace(PROJECTOR, match=match)
    (fact,) = facts(projector)
    assert "has no" in fact
    fitting = SOIL if field == "usb" else PROFILES[ProfileId("onvif-camera")]
    assert facts(replace(fitting, match=match)) == []


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


def with_command(profile: Profile, **changes: object) -> Profile:
    command = replace(profile.commands[0], **changes)
    return replace(profile, commands=(command, *profile.commands[1:]))


def with_write(**changes: object) -> Profile:
    write = RELAYS.commands[0].write
    assert write is not None
    return with_command(RELAYS, write=replace(write, **changes))


@pytest.mark.parametrize(
    ("profile", "fact"),
    [
        (replace(SOIL, sources=()), "names no source"),
        (replace(SOIL, firmware_range="5"), "'5' is no range of versions"),
        (
            replace(SOIL, firmware=(Firmware(versions="x", state="good", reason="known"),)),
            "'x' is no range of versions",
        ),
        (with_command(RELAYS, interlock=None), "command relay_1 switches without an interlock"),
        (
            with_command(RELAYS, interlock=Interlock(longest_on_s=60, fail_safe="shut")),
            "'shut' is nothing that relay_1 can be told",
        ),
        (with_command(RELAYS, write=None), "command relay_1 has neither write nor request"),
        (with_command(RELAYS, request="on"), "command relay_1 has both write and request"),
        (
            with_command(PROJECTOR, request="", write=Write(function=5, register=0)),
            "command power does not fit the links of the profile",
        ),
        (with_command(PROJECTOR, request="{value.__class__}"), "'{value.__class__}' has a brace"),
        (with_command(PROJECTOR, request="%1POWR {value:02x}{"), "'%1POWR {value:02x}{' has a"),
        (
            with_command(RELAYS, values={"on": "2", "off": "0"}),
            "on of relay_1 is '2', not a number from 0 to 1",
        ),
        (with_write(function=16, register=0xFFFF, dtype="uint32"), "command relay_1 ends beyond"),
        (with_write(function=6, dtype="float32"), "function 6 cannot write float32"),
        (with_write(scale=0), "scale of relay_1 is 0"),
        (
            with_command(
                RELAYS,
                values={},
                range=Span(low=5, high=1),
                interlock=Interlock(longest_on_s=1, fail_safe="3"),
            ),
            "range of relay_1 is empty",
        ),
        (
            replace(INPUTS, events=(replace(INPUTS.events[0], becomes="ajar"),)),
            "input_1 never becomes 'ajar'; it has open, closed",
        ),
        (
            replace(INPUTS, events=(replace(INPUTS.events[0], point="input_9"),)),
            "event input_1_closed watches 'input_9', which is no point",
        ),
        (
            replace(
                INPUTS, events=(Event(id="x", capability="card", format="rdm6300", becomes="y"),)
            ),
            "event x is no edge and watches a point",
        ),
        (
            replace(RELAYS, vectors=(replace(RELAYS.vectors[0], command="relay_9"),)),
            "vector 'relay 1 on' shows 'relay_9', which is no command",
        ),
        (
            replace(RELAYS, vectors=(replace(RELAYS.vectors[0], argument="half"),)),
            "'half' is nothing that relay_1 can be told",
        ),
        (
            replace(SOIL, points=(replace(SOIL.points[0], register=0xFFFF, dtype="float64"),)),
            "point soil_moisture ends beyond register 65535",
        ),
        (replace(SOIL, points=(replace(SOIL.points[0], scale=0),)), "scale of soil_moisture is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_rule_is_held(profile: Profile, fact: str) -> None:
    found = facts(profile)
    assert any(one.startswith(fact) for one in found), found


def test_numbers_of_a_range_are_taken_and_others_are_not() -> None:
    write = Write(function=6, register=1, scale=0.1)
    dimmer = with_command(RELAYS, values={}, range=Span(low=0, high=100), write=write)
    safe = with_command(dimmer, interlock=Interlock(longest_on_s=60, fail_safe="0"))
    vectors = RELAYS.vectors[2:]
    assert facts(replace(safe, vectors=vectors)) == []
    hot = with_command(dimmer, interlock=Interlock(longest_on_s=60, fail_safe="101"))
    assert facts(replace(hot, vectors=vectors)) == ["'101' is nothing that relay_1 can be told"]


def test_a_quirk_that_nobody_saw_is_marked_as_such() -> None:
    nobodys = replace(SOIL, quirks=(Quirk(id="one_point_a_read"),))
    assert facts(nobodys) == ["quirk one_point_a_read names no source"]
    marked = replace(SOIL, quirks=(Quirk(id="one_point_a_read", unconfirmed=True),))
    assert facts(marked) == []
    assert [doubt.fact for doubt in find_doubts(marked)] == [
        "quirk one_point_a_read is confirmed by no document and no device"
    ]


def test_what_a_command_expects_has_no_other_places_than_its_value_and_its_word() -> None:
    verify = Verify(point="relay_1", delay_ms=0, expect="{unit}")
    broken = replace(RELAYS, commands=(replace(RELAYS.commands[0], verify=verify),))
    assert "verify of relay_1 expects a brace that is no {value} and no {word}" in facts(broken)


def test_points_and_commands_that_nobody_confirmed_are_named_once() -> None:
    assert doubtful(PROFILES[ProfileId("benq-ifp")]) == ("power", "volume", "mute")
    assert doubtful(SOIL) == ()


def test_an_event_and_a_link_that_nobody_confirmed_are_named_too() -> None:
    projector = replace(PROJECTOR, links=(replace(PROJECTOR.links[0], unconfirmed=True),))
    assert doubtful(projector) == ("link",)
    assert [(doubt.keys, doubt.fact) for doubt in find_doubts(projector)] == [
        (("links", "0"), "something of link pjlink is confirmed by no document and no device")
    ]
    gate = PROFILES[ProfileId("wiegand-converter")]
    assert doubtful(gate) == ("card",)
    assert [(doubt.keys, doubt.fact) for doubt in find_doubts(gate)] == [
        (("events", "0"), "something of event card is confirmed by no document and no device")
    ]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.id)
def test_whose_sources_do_not_know_something_has_a_mark(profile: Profile) -> None:
    """A doubt that stands in a note only is read by nobody who adopts the device."""
    told = [f"{source.title} {source.note}" for source in profile.sources]
    told += [quirk.source for quirk in profile.quirks]
    told += [vector.source for vector in profile.vectors]
    unknown = [found[0] for found in map(DOUBT.search, told) if found]
    assert not unknown or list(find_doubts(profile)), unknown


@pytest.mark.parametrize(
    "words",
    [
        "unconfirmed",
        "untried",
        "which no document we saw confirms",
        "no BenQ document",
        "No manual confirms that",
        "is not confirmed for this one",
        "its own table was not seen",
        "never seen",
        "and none was tried",
        "no panel was tried",
        "which no device has confirmed",
        "port 9761 is from other programs that drive such displays",
        "come from a MicroPython driver",
        "from the vendor's configuration tool",
    ],
)
def test_the_words_of_a_doubt_are_known_as_such(words: str) -> None:
    assert DOUBT.search(words)


def test_a_source_without_an_address_is_a_hint_and_no_fault() -> None:
    paper = replace(SOIL, sources=(*SOIL.sources, Source(title="a leaflet in the box")))
    assert facts(paper) == []
    assert [(hint.keys, hint.fact) for hint in find_hints(paper)] == [
        (("sources", str(len(SOIL.sources))), "source 'a leaflet in the box' has no url")
    ]
    assert list(find_hints(SOIL)) == []
