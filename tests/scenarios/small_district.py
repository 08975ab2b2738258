"""One hub and a few boxes without simulated devices, driven by their own command lines."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from edge.control_client import socket_path
from tests.scenarios.running_demo import SCHOOLNODE, SCHOOLNODE_HUB
from tests.scenarios.warm_programs import WarmProgram, start

BOX_PORT = 7443
PAGES_PORT = 8443
READY_S_MAX = 30.0
COMMAND_S_MAX = 30.0
STOP_S_MAX = 15.0
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def told_cold_by(*argv: str) -> Told:
    """Run a program's own script to its end, as a shell does."""
    ended = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S_MAX, check=False
    )
    return Told(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def told_by(*argv: str) -> Told:
    """Run a command of the project's to its end, without the time to load it."""
    with TemporaryFile() as out, TemporaryFile() as err:
        command = start(argv, output=out.fileno(), errors=err.fileno())
        try:
            code = command.wait(COMMAND_S_MAX)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGKILL)
            raise
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return Told(code, *said)


@dataclass(frozen=True, slots=True)
class SmallDistrict:
    """Lies in ``place``; the hub serves on 127.``network``.0.1, school x on 127.``network``.x.1."""

    place: Path
    network: int

    @property
    def hub_config(self) -> Path:
        return self.place / "hub" / "hub.toml"

    def address(self, school: int) -> str:
        """Return where a school, or the hub as number 0, is reached."""
        return f"127.{self.network}.{school}.1"

    def write_hub(self) -> None:
        _write(
            self.hub_config,
            f"""district = "jiangxia"
district_name = "江夏区"
folder = "."

[boxes]
address = "{self.address(0)}"
port = {BOX_PORT}
names = ["{self.address(0)}"]

[pages]
addresses = ["{self.address(0)}"]
port = {PAGES_PORT}

[seal]
after_s = 1.0
""",
        )

    def write_box(
        self,
        school: int,
        *,
        interface: str | None = None,
        ports: Sequence[Path] = (),
        profiles: Path | None = None,
    ) -> Path:
        """Write a box's configuration and return its path."""
        config = self.place / f"school-{school}" / "box.toml"
        _write(
            config,
            f"""folder = "data"
{f'profiles = "{profiles}"' if profiles else ""}

[network]
interface = "{interface or f"{self.address(school)}/24"}"

[serial]
usb = false
ports = {json.dumps([str(port) for port in ports])}

[pages]
addresses = ["{self.address(school)}"]
port = {PAGES_PORT}

[seal]
after_s = 1.0
""",
        )
        return config

    def invite(self, school: int) -> str:
        """Return a new join code."""
        told = told_by(
            SCHOOLNODE_HUB,
            "invite",
            f"--school={school}",
            "--name=湖泗教学点",
            f"--config={self.hub_config}",
            "--json",
        )
        assert told.code == 0, told.err
        code: str = json.loads(told.out)["code"]
        return code

    @contextmanager
    def hub_running(self) -> Iterator[None]:
        """Run the hub; it is ready when boxes can call it."""
        log = self.place / "hub.log"
        with daemon([SCHOOLNODE_HUB, "run", f"--config={self.hub_config}"], log) as running:
            wait_for(running, log, lambda: _listens(self.address(0), BOX_PORT))
            yield

    @contextmanager
    def box_running(self, config: Path) -> Iterator[Path]:
        """Run a box; it is ready when its command line is answered. Yields the path of its log."""
        log = config.with_name("box.log")
        with daemon([SCHOOLNODE, "edge", "run", f"--config={config}"], log) as running:
            wait_for(running, log, lambda: _listens_at(config.parent / "data"))
            yield log


def claim(config: Path, code: str) -> Told:
    return told_by(SCHOOLNODE, "claim", f"--config={config}", "--", code)


@contextmanager
def daemon(argv: Sequence[str], log: Path) -> Iterator[WarmProgram]:
    """Run a daemon of the project's in the background until the block ends, output to ``log``."""
    with log.open("ab") as output:
        running = start(argv, output=output.fileno(), errors=output.fileno(), in_background=True)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            raise


def wait_for(running: WarmProgram, log: Path, true: Callable[[], bool]) -> None:
    """Wait until something is so; fails with the daemon's log when it ends or takes too long."""
    end_s = time.monotonic() + READY_S_MAX
    while not true():
        assert running.poll() is None, f"ended with {running.returncode}:\n{log.read_text()}"
        assert time.monotonic() < end_s, f"not ready in {READY_S_MAX} s:\n{log.read_text()}"
        time.sleep(LOOK_EVERY_S)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _listens_at(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            with socket_path(folder) as place:
                probe.connect(place)
        except OSError:
            return False
    return True


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
