"""A box as schools run it, ``schoolnode edge run`` in a process of its own, with its pages."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from edge.config import load_config

HOST = "127.0.0.1"
START_S_MAX = 60.0
_STOP_S_MAX = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBox:
    """``folder`` has its data, ``origin`` is where its pages are."""

    folder: Path
    origin: str
    pid: int

    async def listen(self, http: aiohttp.ClientSession, room: str) -> None:
        """Listen for ever as a room's class card does."""
        async with http.get(
            f"{self.origin}/class-card/stream",
            params={"room": room},
            timeout=aiohttp.ClientTimeout(),
        ) as stream:
            async for _ in stream.content:
                pass


def write_box_config(path: Path, interface: str, ports: Sequence[Path] = ()) -> None:
    """Write a box's configuration: pages at free ports of HOST, no serial ports but ``ports``."""
    named = ", ".join(f'"{port}"' for port in ports)
    path.write_text(
        f"""folder = "data"
[network]
interface = "{interface}"
[pages]
addresses = ["{HOST}"]
port = {_free_port()}
plain_port = {_free_port()}
[serial]
usb = false
ports = [{named}]
"""
    )


@contextmanager
def running_box(path: Path) -> Iterator[RunningBox]:
    """Run the enrolled box with this configuration for the time of the block."""
    config = load_config(path)
    log_path = path.with_name("box.log")
    with log_path.open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge", "edge", "run", f"--config={path}"],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_S_MAX
        while not _is_served(config.pages.port):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the box does not run: {log_path.read_text()}")
            time.sleep(0.1)
        origin = f"https://{HOST}:{config.pages.port}"
        yield RunningBox(folder=config.folder, origin=origin, pid=daemon.pid)
    finally:
        daemon.send_signal(signal.SIGINT)
        daemon.wait(_STOP_S_MAX)


def _is_served(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
