"""Expected texts are those of the PJLink specification 2.10, §4 and §5, unless said otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import pjlink
from drivers.codecs.pjlink import Command, ErrorReply, Greeting, Lamp, Power, Reply
from drivers.errors import ProtocolError

parameters = st.text(
    st.characters(exclude_characters="\r\n", categories=("L", "N", "P", "S", "Z")), max_size=20
)
names = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=4, max_size=4)
classes = st.sampled_from([1, 2])


def test_the_digest_is_the_one_printed_in_the_specification() -> None:
    greeting = pjlink.parse_greeting("PJLINK 1 498e4a67")
    assert greeting.token == "498e4a67"
    assert pjlink.digest("498e4a67", "JBMIAProjectorLink") == "5d8409bc1c3fa39749434aa3a5c38682"
    assert pjlink.split_digest("5d8409bc1c3fa39749434aa3a5c38682%1POWR 1") == (
        "5d8409bc1c3fa39749434aa3a5c38682",
        "%1POWR 1",
    )


def test_a_display_without_password_says_zero() -> None:
    assert pjlink.parse_greeting("PJLINK 0") == Greeting(token=None)
    assert pjlink.build_greeting(Greeting(token=None)) == "PJLINK 0"


@given(classes, names, parameters)
def test_commands_and_replies_come_back_as_they_were_built(
    version: pjlink.PjlinkClass, name: str, parameter: str
) -> None:
    command = Command(pjlink_class=version, name=name, parameter=parameter)
    assert pjlink.parse_command(pjlink.build_command(command)) == command
    reply = Reply(pjlink_class=version, name=name, parameter=parameter)
    assert pjlink.parse_reply(pjlink.build_reply(reply)) == reply


@pytest.mark.parametrize("parameter", ["x" * 129, "1\r%1POWR 0"])
def test_a_parameter_never_smuggles_a_second_command(parameter: str) -> None:
    with pytest.raises(ProtocolError):
        pjlink.build_command(Command(pjlink_class=1, name="INPT", parameter=parameter))


@pytest.mark.parametrize("error", list(ErrorReply))
def test_error_replies_are_recognised_in_either_case(error: ErrorReply) -> None:
    assert pjlink.parse_reply(f"%1POWR={error}").error is error
    assert pjlink.parse_reply(f"%1POWR={error.lower()}").error is error
    assert pjlink.parse_reply("%1POWR=OK").error is None


def test_values_are_read_as_the_specification_says() -> None:
    assert pjlink.parse_power("3") is Power.WARMING
    assert pjlink.parse_errors("010002")["lamp"] == "warning"
    assert pjlink.parse_errors("010002")["other"] == "error"
    assert pjlink.parse_errors("010002")["fan"] == "ok"
    assert pjlink.parse_lamps("850 1 400 0") == (
        Lamp(hours=850, lit=True),
        Lamp(hours=400, lit=False),
    )
    assert pjlink.parse_sources("11 12 31 3A") == ("11", "12", "31", "3A")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("1", 1),
        ("2", 2),
        ("3", 2),
        ("Class 1", 1),  # Optoma's, by an issue of pypjlink
        ("Version1", 1),  # BenQ's, by the source of OpenLP
        ("Class 2", 2),
        ("Version 1.04", 1),
        ("", 1),
        ("none", 1),
    ],
)
def test_a_class_is_read_however_a_display_writes_it(told: str, meant: pjlink.PjlinkClass) -> None:
    assert pjlink.parse_class(told) == meant


@pytest.mark.parametrize(
    ("parse", "parameter"),
    [
        (pjlink.parse_power, "4"),
        (pjlink.parse_power, ""),
        (pjlink.parse_errors, "00000"),
        (pjlink.parse_errors, "000003"),
        (pjlink.parse_lamps, "850"),
        (pjlink.parse_lamps, "850 2"),
        (pjlink.parse_lamps, "-1 1"),
        (pjlink.parse_sources, "71"),
        (pjlink.parse_sources, "31 "),
        (pjlink.parse_sources, "10"),
        (pjlink.parse_acknowledgement, "%2ACKN=xx"),
        (pjlink.parse_acknowledgement, "%2POWR=1"),
        (pjlink.parse_greeting, "PJLINK 2"),
        (pjlink.parse_greeting, "SSH-2.0"),
        (pjlink.parse_reply, "%3POWR=1"),
        (pjlink.parse_command, "%1POWR=1"),
    ],
)
def test_values_outside_the_specification_are_refused(parse: object, parameter: str) -> None:
    assert callable(parse)
    with pytest.raises(ProtocolError, match="PJLink"):
        parse(parameter)


def test_a_search_is_answered_by_a_mac_address_in_either_notation() -> None:
    assert pjlink.is_search(pjlink.build_search())
    assert pjlink.parse_acknowledgement(pjlink.build_acknowledgement("aa:bb:cc:00:11:22")) == (
        "aa:bb:cc:00:11:22"
    )
    assert pjlink.parse_acknowledgement("%2ACKN=AA-BB-CC-00-11-22") == "aa:bb:cc:00:11:22"


@given(st.lists(st.text("%1POWR=?23 ", max_size=30), max_size=6), st.integers(1, 9))
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[str], size: int) -> None:
    stream = b"".join(pjlink.encode(line) for line in lines)
    reader = pjlink.Lines()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [line for piece in pieces for line in reader.receive(piece)] == lines


def test_an_endless_line_is_refused_instead_of_kept() -> None:
    reader = pjlink.Lines()
    reader.receive(b"x" * pjlink.LINE_BYTES_MAX)
    with pytest.raises(ProtocolError, match="longer"):
        reader.receive(b"x")


@given(st.binary(max_size=250))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes) -> None:
    try:
        lines = pjlink.Lines().receive(data + b"\r")
    except ProtocolError:
        return
    for line in lines:
        for parse in (
            pjlink.parse_greeting,
            pjlink.parse_command,
            pjlink.parse_reply,
            pjlink.parse_acknowledgement,
            pjlink.parse_power,
            pjlink.parse_errors,
            pjlink.parse_lamps,
            pjlink.parse_sources,
            pjlink.parse_class,
        ):
            try:
                parse(line)
            except ProtocolError:
                continue
