"""Addresses of devices on serial ports: ``serial:/dev/serial/by-id/…?baud=4800&unit=17``."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from drivers.errors import SetupError
from drivers.transports.byte_port import LineSettings
from firmware_profiles.model import LinkType, Profile

UNIT_MAX = 247
BAUD_MAX = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialAddress:
    """A port, its speed and, on a bus, the unit id."""

    path: Path
    baud: int
    unit: int | None = None

    def __str__(self) -> str:
        """Return the form that ``parse_serial_address`` reads."""
        unit = "" if self.unit is None else f"&unit={self.unit}"
        return f"serial:{quote(str(self.path))}?baud={self.baud}{unit}"

    @property
    def place(self) -> Path:
        return self.path

    @property
    def source(self) -> str:
        """How the provenance of a value names the line."""
        return f"serial:{self.path.name}"

    @property
    def modbus_link(self) -> LinkType:
        """The link of a profile by which Modbus is spoken here."""
        return "modbus_rtu"


def parse_serial_address(text: str) -> SerialAddress:
    """Return the parts of an address; SetupError names what is wrong with it."""
    parts = urlsplit(text)
    fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = Path(unquote(parts.path))
    if parts.scheme != "serial" or parts.netloc or not path.is_absolute():
        raise SetupError(f"{text!r} is no serial address; write serial:/dev/ttyUSB0?baud=9600")
    unknown = fields.keys() - {"baud", "unit"}
    if unknown or "baud" not in fields:
        fault = f"knows no {min(unknown)!r}" if unknown else "lacks a baud rate"
        raise SetupError(f"{text!r} {fault}; write serial:PATH?baud=RATE&unit=ID")
    numbers = {
        name: int(value) for name, value in fields.items() if value.isascii() and value.isdigit()
    }
    if numbers.keys() != fields.keys() or not 0 < numbers["baud"] <= BAUD_MAX:
        raise SetupError(f"{text!r} has a value that is no number; write serial:PATH?baud=RATE")
    if not 1 <= numbers.get("unit", 1) <= UNIT_MAX:
        raise SetupError(f"{text!r} names unit {numbers['unit']}; units are 1 to {UNIT_MAX}")
    return SerialAddress(path=path, baud=numbers["baud"], unit=numbers.get("unit"))


def line_settings(profile: Profile, link_type: LinkType, baud: int) -> LineSettings:
    """Return how a port is opened for a device of this model at this speed."""
    link = profile.link(link_type)
    return LineSettings(
        baud=baud,
        data_bits=link.data_bits,
        parity=link.parity,
        stop_bits=link.stop_bits,
        dtr=link.dtr,
        rts=link.rts,
    )
