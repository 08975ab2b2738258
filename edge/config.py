"""The box's one configuration file; unknown keys are refused, and no secret is in it."""

from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.errors import BoxSetupError
from provisioning.settings import decode_setting

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class PagesPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where class cards, classrooms and the IT staff open the box's pages.

    ``names`` are the addresses and names that the page certificate carries.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: Port = 8443
    plain_port: Port = 8080
    names: tuple[str, ...] = ()


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The school's LAN: this box's address in it with its prefix length, e.g. 10.8.3.2/24.

    ``scan`` names subnets an administrator allows to be tried address by address, for Modbus TCP
    at ``modbus_ports``.
    """

    interface: IPv4Interface
    scan: tuple[IPv4Network, ...] = ()
    modbus_ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=8)] = (502,)


class Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``usb``: search all USB adapters; ``ports``: further devices, folders, patterns with *."""

    usb: bool = True
    ports: tuple[Path, ...] = ()


class Classroom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What blackboards are switched to for a lesson; ``source`` is a PJLink input code.

    Boards of other makers, or without that input, show their first digital one.
    """

    source: str = "31"


class LessonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long recordings are kept, counted from the end of the lesson."""

    recordings_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 180
    rehearsals_hours: Annotated[int, msgspec.Meta(ge=0, le=8760)] = 24
    returns_hours: Annotated[int, msgspec.Meta(ge=0, le=168)] = 12


class SealSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When patient rows become a segment; a longer wait is cheaper on the line."""

    after_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0


_HOURS = "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"


class Metered(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A link paid by the byte: when a day's bytes are used, what is patient waits for the night.

    ``night``: hours of the box's local time, whose bytes are not counted.
    """

    bytes_a_day: Annotated[int, msgspec.Meta(ge=100_000)]
    night: Annotated[str, msgspec.Meta(pattern=_HOURS)] = "23:00-06:00"


class UplinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the link to the hub is used."""

    metered: Metered | None = None


class ClassCards(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How attendance is judged (minutes), and how cards write names where a corridor reads them."""

    grace_min: Annotated[int, msgspec.Meta(ge=0, le=60)] = 5
    early_min: Annotated[int, msgspec.Meta(ge=0, le=180)] = 60
    break_min: Annotated[int, msgspec.Meta(ge=0, le=180)] = 40
    names: Literal["full", "masked", "number"] = "full"


class TerminalsPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where attendance terminals call, in plain HTTP: at network.interface, unless named.

    Open while a terminal is adopted, and for a quarter of an hour after a search for terminals.
    """

    port: Port = 8085
    addresses: tuple[str, ...] = ()


class BoxConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See ``docs/box.md``; ``folder`` is relative to the file."""

    folder: Path
    network: Network
    pages: PagesPort = PagesPort()
    serial: Serial = Serial()
    classroom: Classroom = Classroom()
    lessons: LessonSettings = LessonSettings()
    seal: SealSettings = SealSettings()
    uplink: UplinkSettings = UplinkSettings()
    class_cards: ClassCards = ClassCards()
    terminals: TerminalsPort = TerminalsPort()
    profiles: Path | None = None
    language: Literal["zh-CN", "en"] = "zh-CN"
    utc_offset_hours: Annotated[float, msgspec.Meta(ge=-12, le=14)] = 8.0


def load_config(path: Path) -> BoxConfig:
    """Read a configuration file; raises BoxSetupError that names file, key and remedy."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BoxSetupError(
            f"{path}: cannot be read ({error.strerror}); write one as docs/box.md shows, or name"
            " another with --config"
        ) from error
    try:
        config = msgspec.toml.decode(content, type=BoxConfig, dec_hook=decode_setting)
    except (msgspec.DecodeError, ValueError) as error:
        raise BoxSetupError(f"{path}: {error}; correct that line and start again") from error
    return msgspec.structs.replace(config, folder=path.parent / config.folder)
