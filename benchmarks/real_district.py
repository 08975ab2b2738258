"""A hub as districts run it, in a process of its own, and boxes that enrol with it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Loopback addresses of this process alone, so that two benchmarks do not meet.
_NET = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
HUB_ADDRESS = f"{_NET}.1"
ROUTE_ADDRESS = f"{_NET}.254"
"""Where a box calls when what it sends is to be counted on its way."""
BOX_PORT = 7443
_START_S_MAX = 30.0
_STOP_S_MAX = 10.0
_KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a district runs: the hub's address, and how a command is run at each end."""

    address: str = HUB_ADDRESS
    names: tuple[str, ...] = (HUB_ADDRESS, ROUTE_ADDRESS)
    at_hub: Callable[[Sequence[str]], list[str]] = list
    at_box: Callable[[Sequence[str]], list[str]] = list


LOOPBACK = Place()


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub; ``config`` is its configuration file."""

    config: Path
    pid: int
    place: Place = LOOPBACK

    @property
    def store(self) -> Path:
        return self.config.parent / "hub.db"

    def enrol(self, school: int, folder: Path, host: str | None = None) -> Path:
        """Enrol a new box that calls the hub at ``host``; return its configuration file."""
        folder.mkdir(parents=True)
        config = folder / "box.toml"
        config.write_text(f'folder = "data"\n[network]\ninterface = "127.101.{10 + school}.1/24"\n')
        host = host or self.place.address
        wish = (f"--school={school}", f"--name=school {school}", f"--host={host}")
        invited = _run(list, "hub", "invite", *wish, f"--config={self.config}", "--json")
        code = json.loads(invited)["code"]
        _run(self.place.at_box, "edge", "claim", f"--config={config}", "--json", "--", code)
        return config


def write_hub_config(folder: Path, place: Place = LOOPBACK, more: str = "") -> Path:
    """Write the configuration file of a hub, ending in ``more``, in a folder made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "hub.toml"
    config.write_text(f"""district = "jiangxia"
district_name = "江夏区"
folder = "."
[boxes]
address = "{place.address}"
port = {BOX_PORT}
names = {json.dumps(place.names)}
[pages]
addresses = ["{place.address}"]
{more}""")
    return config


@contextmanager
def running_hub(folder: Path, place: Place = LOOPBACK, more: str = "") -> Iterator[Hub]:
    """Run ``schoolnode-hub run`` for the time of the block, on a folder made if there is none."""
    config = write_hub_config(folder, place, more)
    argv = place.at_hub([sys.executable, "-m", "hub", "run", f"--config={config}"])
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        _wait_until_served(process, folder / "hub.log", place)
        yield Hub(config, process.pid, place)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_served(process: subprocess.Popen[bytes], log: Path, place: Place) -> None:
    knock = [sys.executable, "-I", "-S", "-c", _KNOCK, place.address, str(BOX_PORT)]
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        done = subprocess.run(place.at_hub(knock), stderr=subprocess.DEVNULL, check=False)
        if not done.returncode:
            return
        time.sleep(0.05)
    raise RuntimeError(f"the hub does not serve: {log.read_text()[-500:]}")


def _run(at: Callable[[Sequence[str]], list[str]], program: str, *arguments: str) -> bytes:
    argv = at([sys.executable, "-m", program, *arguments])
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{program} {arguments[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout
