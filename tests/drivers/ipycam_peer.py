"""ipycam, an ONVIF camera that is not ours, in its own environment built once for each lock."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from benchmarks.peer_environment import peer_python
from drivers.codecs.digest import Credentials
from tests.system_needs import need, need_peer

SITE = IPv4Interface("127.0.0.1/24")
"""ipycam answers from the address the kernel prefers for loopback."""
STARTED_S_MAX = 60.0
STARTS_MAX = 3
LOG = "ipycam.log"


def ipycam_python() -> Path:
    """Return the interpreter of ipycam's environment; skips, or fails in CI, without one."""
    need("ffmpeg", "ffmpeg")
    return need_peer(peer_python, "ipycam")


@contextmanager
def running_ipycam(
    folder: Path, credentials: Credentials | None, source: str = "video"
) -> Iterator[str]:
    """Run ipycam; yields the address of its device service.

    ``source`` is a file whose picture it shows again and again, unless told it waits for one.
    """
    python = ipycam_python()
    for _ in range(STARTS_MAX):
        port = _free_port()
        _configure(folder, port, credentials)
        with _started(python, folder, source) as process:
            if not _is_serving(process, port):
                continue  # one of its ports was taken before it came to that
            yield f"http://{SITE.ip}:{port}/onvif/device_service"
            return
    pytest.fail(f"ipycam ends: {(folder / LOG).read_text(errors='replace')[-1000:]}")


def _configure(folder: Path, port: int, credentials: Credentials | None) -> None:
    config = {
        "name": "Peer",
        "local_ip": str(SITE.ip),
        "onvif_port": port,
        "rtsp_port": _free_port(),
        "main_width": 320,
        "main_height": 180,
        "main_fps": 2,
        "main_bitrate": "200K",
        "sub_width": 160,
        "sub_height": 90,
        "sub_fps": 2,
        "sub_bitrate": "100K",
        "hw_accel": "cpu",
        "username": credentials.user if credentials else "",
        "password": credentials.password if credentials else "",
    }
    (folder / "ipycam.json").write_text(json.dumps(config))


@contextmanager
def _started(python: Path, folder: Path, source: str) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / LOG).open("wb") as log,
        subprocess.Popen(
            [python, "-m", "ipycam", "--config", "ipycam.json", "--source", source],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            # ipycam's ffmpeg belongs to its process group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _is_serving(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it does, or has ended."""
    end_s = time.monotonic() + STARTED_S_MAX
    while not _is_open(port):
        if process.poll() is not None:
            return False
        assert time.monotonic() < end_s, "ipycam does not start"
        time.sleep(0.1)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((str(SITE.ip), 0))
        return int(probe.getsockname()[1])


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((str(SITE.ip), port), timeout=1).close()
    except OSError:
        return False
    return True
