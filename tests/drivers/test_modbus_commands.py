"""A profile's commands as Modbus writes, whatever the profile says and whatever is asked for."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.modbus import Request
from drivers.codecs.modbus_commands import encode_command, is_as_told, raw_argument
from drivers.codecs.modbus_points import PointValue
from drivers.codecs.modbus_rtu import decode_request_rtu, encode_rtu
from drivers.codecs.modbus_tcp import TcpFrameDecoder, encode_tcp, read_tcp_request
from drivers.entities import Quality
from drivers.errors import SetupError
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import MODBUS, Command, Point, Span, Verify, Write

UNIT = 17
BUNDLED = [
    command
    for profile in load_catalog().profiles.values()
    if profile.links[0].type in MODBUS
    for command in profile.commands
]
NUMBERS = st.floats() | st.sampled_from([0.0, 1e-300, 1e300, 65_535.0, -1.0])
WORDS = st.text(max_size=8) | NUMBERS.map(str) | st.sampled_from(["on", "off", "0x0100", "1"])
WRITES = st.builds(
    Write,
    function=st.sampled_from([5, 6, 15, 16]),
    register=st.integers(0, 0xFFFF),
    dtype=st.sampled_from(["uint16", "int16", "uint32", "float32", "float64", "bcd16", "bcd32"]),
    byte_order=st.sampled_from(["big", "little"]),
    word_order=st.sampled_from(["big", "little"]),
    count=st.integers(1, 64),
    scale=NUMBERS,
    offset=NUMBERS,
)
COMMANDS = st.builds(
    Command,
    id=st.just("vent"),
    capability=st.just("vent"),
    write=st.none() | WRITES,
    values=st.dictionaries(WORDS, WORDS, max_size=3),
    range=st.none() | st.builds(Span, low=NUMBERS, high=NUMBERS),
    verify=st.builds(
        Verify,
        point=st.just("vent"),
        delay_ms=st.just(0),
        expect=st.sampled_from(["{value}", "{word}", "{word} %", "on", "{", "{0}", "{other}"]),
    ),
)
POINTS = st.builds(
    Point,
    id=st.just("vent"),
    capability=st.just("vent"),
    function=st.sampled_from([1, 3]),
    register=st.just(0),
    enum=st.sampled_from([{}, {"0": "off", "1": "on"}]),
    scale=NUMBERS,
    offset=NUMBERS,
)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Command, str]:
    """Draw a command and an argument, often one of its own words or within its range."""
    command = draw(COMMANDS | st.sampled_from(BUNDLED))
    own = [st.sampled_from(sorted(command.values))] if command.values else []
    if command.range is not None:
        own.append(st.sampled_from([str(command.range.low), str(command.range.high)]))
    return command, draw(st.one_of(WORDS, *own))


def over_the_wire(request: Request) -> list[Request | None]:
    """Return a request as a unit reads it, by either framing."""
    (frame,) = TcpFrameDecoder().feed(encode_tcp(request, 1))
    return [decode_request_rtu(encode_rtu(request)), read_tcp_request(frame)]


@given(orders())
def test_an_order_is_a_request_that_a_unit_reads_the_same_or_a_set_up_error(
    order: tuple[Command, str],
) -> None:
    with suppress(SetupError):
        request = encode_command(order[0], UNIT, order[1])
        assert over_the_wire(request) == [request, request]


@given(orders(), POINTS, NUMBERS | WORDS)
def test_what_is_read_back_is_judged_whatever_it_is(
    order: tuple[Command, str], point: Point, seen: float | str
) -> None:
    reading = PointValue(seen, Quality.GOOD)
    with suppress(SetupError):
        assert is_as_told(*order, point, reading) in {True, False}


@pytest.mark.parametrize("command", BUNDLED, ids=lambda each: f"{each.id} {each.write.register}")
def test_every_word_of_every_bundled_command_goes_over_the_wire(command: Command) -> None:
    for word in command.values:
        request = encode_command(command, UNIT, word)
        assert over_the_wire(request) == [request, request]


def test_a_number_beyond_any_register_is_refused_with_what_fits() -> None:
    write = Write(function=6, register=0, scale=1e-300)
    command = Command(
        id="vent", capability="vent", write=write, range=Span(low=0.0, high=float("inf"))
    )
    with pytest.raises(SetupError, match="vent takes 0 to inf, not 'inf'"):
        raw_argument(command, "inf")
    with pytest.raises(SetupError, match="vent cannot write '1e300'; correct the profile"):
        encode_command(command, UNIT, "1e300")
    coils = Write(function=15, register=0, dtype="float32", scale=1e-300)
    with pytest.raises(SetupError, match="vent cannot write '1e300'; correct the profile"):
        encode_command(msgspec.structs.replace(command, write=coils), UNIT, "1e300")
