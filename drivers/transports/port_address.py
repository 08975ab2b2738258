"""Where a line is: a serial port here, one behind a serial server, or a Modbus TCP device.

``serial:/dev/serial/by-id/…?baud=4800&unit=17``, ``tcp://10.1.2.3:4001?unit=17`` (raw bytes of a
serial line; ``&baud=`` when it is not the profile's first), ``modbus://10.1.2.3:502?unit=1``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from drivers.errors import SetupError
from drivers.transports.byte_port import BytePort, LineSettings
from drivers.transports.serial_address import BAUD_MAX, SerialAddress, parse_serial_address
from drivers.transports.serial_port import SerialPort
from drivers.transports.tcp_port import TcpPort
from firmware_profiles.model import LinkType

MODBUS_PORT = 502
UNIT_MAX_TCP = 255
"""Modbus TCP devices without units behind them listen to 0 or 255 (Messaging Guide V1.0b, §4.4)."""

Place = Path | str
"""What one owner at a time may open: a serial port, or ``host:port``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A host and port; ``baud`` is the speed of the serial line behind, if there is one."""

    scheme: Literal["tcp", "modbus"]
    host: str
    port: int
    baud: int | None = None
    unit: int | None = None

    def __str__(self) -> str:
        """Return the form that ``parse_port_address`` reads."""
        fields = {"baud": self.baud, "unit": self.unit}
        query = "&".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        return f"{self.scheme}://{self.place}{'?' if query else ''}{query}"

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def source(self) -> str:
        """How the provenance of a value names the line."""
        return f"{self.scheme}:{self.place}"

    @property
    def modbus_link(self) -> LinkType:
        """The link of a profile by which Modbus is spoken here."""
        return "modbus_tcp" if self.scheme == "modbus" else "modbus_rtu"


PortAddress = SerialAddress | TcpAddress
_TCP = " tcp://HOST:PORT?unit=1 or modbus://HOST:502?unit=1"


def parse_port_address(text: str) -> PortAddress:
    """Return the parts of an address; SetupError names what is wrong with it."""
    if text.startswith("serial:"):
        return parse_serial_address(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise SetupError(f"{text!r} names no usable port ({error}); write 1 to 65535") from error
    scheme = parts.scheme
    if scheme not in {"tcp", "modbus"} or not parts.hostname or parts.path.strip("/"):
        raise SetupError(
            f"{text!r} is no line's address; write serial:PATH?baud=9600&unit=1,{_TCP}"
        )
    if parts.username is not None or parts.fragment:
        raise SetupError(f"{text!r} has more than host and port; write{_TCP}")
    if scheme == "modbus":
        port = MODBUS_PORT if port is None else port
    if not port:
        raise SetupError(f"{text!r} names no port; write{_TCP}")
    numbers = _numbers(text, parts.query)
    lowest, highest = (0, UNIT_MAX_TCP) if scheme == "modbus" else (1, 247)
    unit = numbers.get("unit")
    if unit is not None and not lowest <= unit <= highest:
        raise SetupError(f"{text!r} names unit {unit}; units are {lowest} to {highest}")
    return TcpAddress(
        scheme="modbus" if scheme == "modbus" else "tcp",
        host=parts.hostname,
        port=port,
        baud=numbers.get("baud"),
        unit=unit,
    )


async def open_port(address: PortAddress, settings: LineSettings) -> BytePort:
    """Return the open port; SetupError or UnreachableError as its kind says."""
    match address:
        case SerialAddress(path=path):
            return SerialPort(path, settings)
        case TcpAddress(host=host, port=port):
            return await TcpPort.connect(host, port, settings)


def _numbers(text: str, query: str) -> dict[str, int]:
    fields = dict(parse_qsl(query, keep_blank_values=True))
    unknown = fields.keys() - {"baud", "unit"}
    if unknown:
        raise SetupError(f"{text!r} knows no {min(unknown)!r}; write{_TCP}")
    numbers = {
        name: int(value)
        for name, value in fields.items()
        if value.isascii() and value.isdigit() and len(value) <= len(str(BAUD_MAX))
    }
    if numbers.keys() != fields.keys() or not 0 < numbers.get("baud", 1) <= BAUD_MAX:
        raise SetupError(f"{text!r} has a value that is no usable number; write{_TCP}")
    return numbers
