"""Morango as a peer: a Django server at the hub's end, a client at the box's end, both durable.

The rows are ours, written with one ``bulk_create`` a thousand rows; both databases are SQLite,
WAL and FULL; the server is cheroot, as in Kolibri; what is pushed is signed with RSA by OpenSSL.
HTTP is plain: no cost of TLS is on Morango's side.
"""

import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.peer_environment import PEERS, peer_python
from benchmarks.processes import cpu_s, peak_rss_mb
from benchmarks.real_district import LOOPBACK, Place
from sync.logs.oplog import Row

PORT = 7800
SHIPPED_CHUNK, TUNED_CHUNK = 500, 5000
_PROGRAM = PEERS / "morango" / "peer.py"
_START_S_MAX = 30.0
_STOP_S_MAX = 10.0


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What ``peer.py push`` tells: from the first row's capture until the server has all.

    ``connect_s`` is what the connection and its session took, where they stood before; else 0.
    """

    wall_s: float
    capture_s: float
    connect_s: float
    cpu_s: float
    peak_rss_mb: float
    sent_bytes: int
    received_bytes: int
    failures: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``name`` is a part of figures' names."""

    name: str
    chunk: int
    options: tuple[str, ...] = ()


SHIPPED = Setting(name="default", chunk=SHIPPED_CHUNK)
TUNED = Setting(name="tuned", chunk=TUNED_CHUNK, options=("--no-sleep",))
SETTINGS_NOTE = (
    f"Morango's settings: default is chunks of {SHIPPED_CHUNK} records and its polling sleeps;"
    f" tuned is chunks of {TUNED_CHUNK:,} and morango.sync.controller.sleep replaced by nothing."
    " Both: SQLite WAL, synchronous=FULL at both ends, bulk_create of 1,000 rows a transaction,"
    " cheroot, gzip, RSA by OpenSSL, DEBUG off, plain HTTP without TLS."
)


@dataclass(frozen=True, slots=True)
class Morango:
    """A running server and a client's folder that has its certificate."""

    folder: Path
    pid: int
    place: Place

    def push(
        self, table: str, rows: Sequence[Row], setting: Setting, time_s_max: float | None = None
    ) -> Pushed | None:
        """Write rows at the client and push them; None when that took longer than it may.

        With ``time_s_max`` a broken session is taken up again until then.
        """
        file = self.folder / "rows.json"
        file.write_text(json.dumps(rows))
        argv = [f"--url=http://{self.place.address}:{PORT}/", f"--table={table}"]
        argv += [f"--rows={file}", f"--chunk={setting.chunk}", *setting.options]
        if time_s_max is not None:
            argv.append(f"--resume-for={time_s_max}")
        try:
            done = subprocess.run(
                self.place.at_box(_command("push", *argv)),
                env=_environment(self.folder / "client.db"),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=time_s_max,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return None
        return msgspec.json.decode(done.stdout, type=Pushed)

    def server_cpu_s(self) -> float:
        return cpu_s(self.pid)

    def server_rss_mb(self) -> float:
        return peak_rss_mb(self.pid)

    def count_taps(self) -> Counter[tuple[int, int]]:
        """Return how often the server's own table holds each tap, by moment and person."""
        with closing(sqlite3.connect(self.folder / "server.db")) as connection:
            rows = connection.execute(
                "SELECT at_ms, person, count(*) FROM taps_tap GROUP BY 1, 2"
            ).fetchall()
        return Counter({(at_ms, person): count for at_ms, person, count in rows})


@contextmanager
def running_morango(folder: Path, place: Place = LOOPBACK) -> Iterator[Morango]:
    """Run Morango's server on a new folder for the time of the block; raises PeerMissingError."""
    folder.mkdir(parents=True)
    identity = f"--identity={folder / 'identity.json'}"
    for end, command in (("server", "init-server"), ("client", "init-client")):
        subprocess.run(
            _command(command, identity), env=_environment(folder / f"{end}.db"), check=True
        )
    argv = _command("serve", f"--address={place.address}", f"--port={PORT}")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            place.at_hub(argv),
            env=_environment(folder / "server.db"),
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_served(process, folder / "server.log", place)
        yield Morango(folder, process.pid, place)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(*arguments: str) -> list[str]:
    return [str(peer_python("morango")), str(_PROGRAM), *arguments]


def _environment(database: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PEER_DATABASE": str(database),
        "PYTHONPATH": str(_PROGRAM.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _wait_until_served(process: subprocess.Popen[bytes], log: Path, place: Place) -> None:
    url = f"http://{place.address}:{PORT}/api/morango/v1/morangoinfo/1/"
    ask = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).read()"
    knock = place.at_hub([str(peer_python("morango")), "-I", "-c", ask, url])
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if not subprocess.run(knock, stderr=subprocess.DEVNULL, check=False).returncode:
            return
        time.sleep(0.1)
    raise RuntimeError(f"Morango does not serve: {log.read_text()[-500:]}")
