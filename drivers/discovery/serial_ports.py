"""Which serial ports of this machine a search may look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

PORTS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPort:
    """A serial port of this machine; ``usb`` is ``vid:pid`` in lower-case hexadecimal."""

    path: Path
    description: str
    usb: str | None = None


def find_named_ports(named: Sequence[Path]) -> list[FoundPort]:
    """Return the ports a person named: devices, folders of devices, or patterns with ``*``."""
    ports: dict[Path, FoundPort] = {}
    for path in (found for pattern in named for found in _expand(pattern)):
        description = f"{path.name}, named in the settings"
        ports.setdefault(path.resolve(), FoundPort(path=path, description=description))
    return sorted(ports.values(), key=lambda port: str(port.path))[:PORTS_MAX]


def find_ports(extra: Sequence[Path] = ()) -> list[FoundPort]:
    """Return the ports to search: the machine's USB adapters and what ``extra`` names.

    Adapters are called by ``/dev/serial/by-id``, which survives another socket; on-board ports
    have no USB id and are searched only when ``extra`` names them.
    """
    stable = {link.resolve(): link for link in sorted(Path("/dev/serial/by-id").glob("*"))}
    ports = {port.path.resolve(): port for port in find_named_ports(extra)}
    for entry in list_ports.comports():
        if entry.vid is None or entry.pid is None:
            continue
        real = Path(entry.device).resolve()
        usb = f"{entry.vid:04x}:{entry.pid:04x}"
        path = ports[real].path if real in ports else stable.get(real, Path(entry.device))
        ports[real] = FoundPort(path=path, description=str(entry.description), usb=usb)
    return sorted(ports.values(), key=lambda port: str(port.path))[:PORTS_MAX]


def _expand(pattern: Path) -> Iterator[Path]:
    if "*" in str(pattern):
        anchor = Path(pattern.anchor or ".")
        yield from sorted(anchor.glob(str(pattern.relative_to(pattern.anchor or "."))))
    elif pattern.is_dir():
        yield from sorted(path for path in pattern.iterdir() if not path.name.startswith("."))
    else:
        yield pattern
