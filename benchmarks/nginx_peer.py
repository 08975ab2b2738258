"""Debian's nginx in the foreground, by the configuration of a benchmark or a test."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peer_environment import PeerMissingError
from benchmarks.processes import children_of

_START_S_MAX = 10.0


def nginx_program() -> str:
    """Return where nginx is; raises PeerMissingError."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if found is None:
        raise PeerMissingError("nginx is missing; run: apt install nginx-light")
    return found


@contextmanager
def running_nginx(server: str, folder: Path, *, workers: int = 1) -> Iterator[list[int]]:
    """Run it for the time of the block with what belongs into ``http``; yield its workers."""
    pid = folder / "nginx.pid"
    pid.unlink(missing_ok=True)
    config = folder / "nginx-main.conf"
    paths = "".join(
        f"    {kind}_temp_path {folder}/{kind}_temp;\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"""daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {workers};
pid {pid};
error_log {folder}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
{paths}{server}
}}
"""
    )
    argv = [nginx_program(), "-p", str(folder), "-c", str(config)]
    log = folder / "nginx-start.log"
    with log.open("wb") as told:
        process = subprocess.Popen(argv, stdout=told, stderr=told)
    try:
        yield _workers(process, workers, log)
    finally:
        process.terminate()
        process.wait()


def _workers(process: "subprocess.Popen[bytes]", count: int, log: Path) -> list[int]:
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if len(found := children_of(process.pid)) >= count:
            return found
        time.sleep(0.02)
    raise RuntimeError(f"nginx does not start: {log.read_text()[-500:]}")
