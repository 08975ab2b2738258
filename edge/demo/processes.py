"""The demo's processes: started, watched, started again when they die, stopped in order."""

import asyncio
import ctypes
import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from edge.errors import BoxSetupError

_log = logging.getLogger(__name__)

RESTART_AFTER_S = 0.5
WATCH_EVERY_S = 0.2
STOP_S_MAX = 8.0
DIED_EARLY_MAX = 5
"""A process that dies this often before it lived EARLY_S is not started again."""
EARLY_S = 3.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Program:
    name: str
    argv: Sequence[str]
    died: Callable[[], None]
    log: Path
    process: subprocess.Popen[bytes]
    started_at: float
    starts: int = 1
    early_deaths: int = 0
    peak_rss_kb: int = 0


class Processes:
    """Owns every child; use :meth:`watch` as a task of the demo's group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: dict[str, _Program] = {}

    def start(
        self, name: str, argv: Sequence[str], died: Callable[[], None] = lambda: None
    ) -> None:
        """Start a program and keep it running; its output goes to ``<folder>/<name>.log``.

        ``died`` clears away what it leaves behind when it is killed.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{name}.log"
        self._programs[name] = _Program(
            name, argv, died, log, _spawn(argv, log), asyncio.get_running_loop().time()
        )
        self._write_pids()

    def restarts(self) -> dict[str, int]:
        return {name: program.starts - 1 for name, program in self._programs.items()}

    def peak_rss_mb(self) -> dict[str, float]:
        """Return the greatest resident size each program has had, in MB of 10^6 bytes."""
        self._measure()
        return {
            name: round(program.peak_rss_kb * 1024 / 1e6, 1)
            for name, program in self._programs.items()
        }

    async def watch(self) -> Never:
        """Restart what dies; raises BoxSetupError for a program that cannot live."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            self._measure()
            for program in list(self._programs.values()):
                ended = program.process.poll() is not None
                if not ended or self._programs.get(program.name) is not program:
                    continue
                _log.warning("%s ended with %s", program.name, program.process.returncode)
                program.died()
                early = loop.time() - program.started_at < EARLY_S
                program.early_deaths = program.early_deaths + 1 if early else 0
                if program.early_deaths >= DIED_EARLY_MAX:
                    raise BoxSetupError(f"{program.name} cannot run: {_last_line(program.log)}")
                await asyncio.sleep(RESTART_AFTER_S)
                if self._programs.get(program.name) is not program:
                    continue  # stopped meanwhile
                program.process = _spawn(program.argv, program.log)
                program.started_at = loop.time()
                program.starts += 1
                self._write_pids()

    async def stop(self, names: Sequence[str] | None = None) -> None:
        """End programs with SIGTERM, after STOP_S_MAX with SIGKILL; they stay ended."""
        ending = [self._programs.pop(name) for name in list(names or self._programs)]
        for program in ending:
            if program.process.poll() is None:
                program.process.send_signal(signal.SIGINT)
        for program in ending:
            try:
                await asyncio.to_thread(program.process.wait, STOP_S_MAX)
            except subprocess.TimeoutExpired:
                program.process.kill()
                await asyncio.to_thread(program.process.wait)
        self._write_pids()

    def _measure(self) -> None:
        for program in self._programs.values():
            try:
                status = Path(f"/proc/{program.process.pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    program.peak_rss_kb = max(program.peak_rss_kb, int(line.split()[1]))

    def _write_pids(self) -> None:
        pids = {name: program.process.pid for name, program in self._programs.items()}
        (self._folder / "processes.json").write_text(json.dumps(pids))


def _spawn(argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own programs
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which ends them in order
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing else runs in the fork
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"see {log}"
