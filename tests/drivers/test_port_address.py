from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import SetupError
from drivers.transports.port_address import TcpAddress, parse_port_address
from drivers.transports.serial_address import SerialAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "serial:/dev/ttyUSB0?baud=4800&unit=17",
            SerialAddress(path=Path("/dev/ttyUSB0"), baud=4800, unit=17),
        ),
        (
            "tcp://10.1.2.3:4001?unit=17",
            TcpAddress(scheme="tcp", host="10.1.2.3", port=4001, unit=17),
        ),
        (
            "tcp://moxa.school:4001?baud=4800",
            TcpAddress(scheme="tcp", host="moxa.school", port=4001, baud=4800),
        ),
        ("modbus://10.1.2.3", TcpAddress(scheme="modbus", host="10.1.2.3", port=502)),
        (
            "modbus://[fd00::1]:1502?unit=255",
            TcpAddress(scheme="modbus", host="fd00::1", port=1502, unit=255),
        ),
    ],
)
def test_an_address_is_read_and_written_alike(
    text: str, address: SerialAddress | TcpAddress
) -> None:
    assert parse_port_address(text) == address
    assert parse_port_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "tcp://10.1.2.3?unit=1",  # no port
        "tcp://10.1.2.3:0?unit=1",
        "tcp://10.1.2.3:70000",
        "tcp://10.1.2.3:x",
        "tcp://:4001",
        "tcp://10.1.2.3:4001/other",
        "tcp://user:secret@10.1.2.3:4001",
        "tcp://10.1.2.3:4001?unit=0",
        "tcp://10.1.2.3:4001?unit=248",
        "tcp://10.1.2.3:4001?baud=0",
        "tcp://10.1.2.3:4001?baud=99999999999999999999",
        "tcp://10.1.2.3:4001?speed=1",
        "modbus://10.1.2.3?unit=256",
        "http://10.1.2.3:80",
        "serial:relative?baud=9600",
        "",
    ],
)
def test_what_is_no_address_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(SetupError, match=r"write|units are") as refused:
        parse_port_address(text)
    assert "secret" not in str(refused.value).replace(repr(text), "")


@given(
    st.text(max_size=60),
    st.sampled_from(["", "tcp://", "modbus://", "serial:/", "tcp://[", "tcp://h:1?"]),
)
def test_any_text_is_an_address_or_refused(text: str, head: str) -> None:
    try:
        address = parse_port_address(head + text)
    except SetupError:
        return
    assert parse_port_address(str(address)) == address
