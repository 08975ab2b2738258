"""Viewers by the hundred (``peers/lesson_viewers``, in C) and what they measured of a sender."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Timer

import msgspec

from benchmarks.peer_environment import PEERS, PeerMissingError
from benchmarks.processes import cpu_s

FLAGS = ("-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
MBIT_A_VIEWER = 2.0
_PATIENCE_S = 180.0
_FOLDER = PEERS / "lesson_viewers"


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What viewers took while it was measured; ``lost`` counts connections that ended."""

    viewers: int
    messages: int
    bytes: int
    median_ms: float
    p95_ms: float
    lost: int


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``cores`` is the measured processes' CPU time over the time it was measured for."""

    watched: Watched
    cores: float
    seconds: float

    @property
    def viewers_a_core(self) -> float:
        """Whom a core serves with all of a lesson; who got half of it counts half."""
        served = self.watched.viewers * min(1.0, self.mbit_a_viewer / MBIT_A_VIEWER)
        return served / self.cores

    @property
    def mbit_a_viewer(self) -> float:
        return self.watched.bytes * 8 / 1e6 / self.seconds / self.watched.viewers


def compiled(name: str, *libraries: str) -> Path:
    """Return a program of ``peers/lesson_viewers``, compiled once for each state of its source.

    Raises PeerMissingError.
    """
    source = _FOLDER / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = Path.home() / ".cache" / "schoolnode-peers" / f"{name}-{digest}"
    if not program.exists():
        if shutil.which("gcc") is None:
            raise PeerMissingError("gcc is missing; run: apt install gcc libssl-dev")
        program.parent.mkdir(parents=True, exist_ok=True)
        argv = ["gcc", *FLAGS, "-o", str(program), str(source), *libraries]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerMissingError(f"{name} does not compile (libssl-dev?): {done.stderr[-300:]}")
    return program


def watch(
    pids: Sequence[int],
    arguments: Sequence[str],
    pems: Sequence[Path | str] = (),
) -> Load:
    """Let viewers watch and measure; ``arguments`` as at the head of ``viewers.c``.

    The CPU time is that of ``pids`` between the moments that the viewers tell.
    """
    argv = [str(compiled("viewers", "-lssl", "-lcrypto")), *arguments, *map(str, pems)]
    marks: dict[str, float] = {}
    told = ""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        patience = Timer(_PATIENCE_S, process.kill)
        patience.start()
        for line in process.stdout:
            told = line.strip()
            marks[told] = sum(cpu_s(pid) for pid in pids)
        patience.cancel()
    if process.returncode or "end" not in marks:
        raise RuntimeError(f"the viewers ended with {process.returncode} after {told!r}")
    seconds = float(arguments[6])
    return Load(
        watched=msgspec.json.decode(told, type=Watched),
        cores=(marks["end"] - marks["begin"]) / seconds,
        seconds=seconds,
    )
