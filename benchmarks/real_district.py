"""A hub as districts run it, in a process of its own, and boxes that enrol with it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HUB_ADDRESS = "127.101.1.1"
ROUTE_ADDRESS = "127.101.1.254"
"""Where a box calls when what it sends is to be counted on its way."""
BOX_PORT = 7443
_START_S_MAX = 30.0
_STOP_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub; ``config`` is its configuration file."""

    config: Path
    pid: int

    @property
    def store(self) -> Path:
        return self.config.parent / "hub.db"

    def enrol(self, school: int, folder: Path, host: str = HUB_ADDRESS) -> Path:
        """Enrol a new box that calls the hub at ``host``; return its configuration file."""
        folder.mkdir(parents=True)
        config = folder / "box.toml"
        config.write_text(f'folder = "data"\n[network]\ninterface = "127.101.{10 + school}.1/24"\n')
        wish = (f"--school={school}", f"--name=school {school}", f"--host={host}")
        invited = _run("hub", "invite", *wish, f"--config={self.config}", "--json")
        code = json.loads(invited)["code"]
        _run("edge", "claim", f"--config={config}", "--json", "--", code)
        return config


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """Run ``schoolnode-hub run`` on a new folder for the time of the block."""
    folder.mkdir(parents=True)
    config = folder / "hub.toml"
    config.write_text(f"""district = "jiangxia"
district_name = "江夏区"
folder = "."
[boxes]
address = "{HUB_ADDRESS}"
port = {BOX_PORT}
names = ["{HUB_ADDRESS}", "{ROUTE_ADDRESS}"]
[pages]
addresses = ["{HUB_ADDRESS}"]
""")
    argv = [sys.executable, "-m", "hub", "run", f"--config={config}"]
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        _wait_until_served(process, folder / "hub.log")
        yield Hub(config, process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_served(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HUB_ADDRESS, BOX_PORT), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the hub does not serve: {log.read_text()[-500:]}")


def _run(program: str, *arguments: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments], capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{program} {arguments[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout
