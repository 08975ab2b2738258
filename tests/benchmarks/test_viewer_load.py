"""The C programs of the fan-out benchmark: they compile without a warning and count what came."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.peer_environment import PeerMissingError
from benchmarks.viewer_load import compiled, watch
from tests.system_needs import give_up

VIEWERS = 4


def _program(name: str, *libraries: str) -> Path:
    try:
        return compiled(name, *libraries)
    except PeerMissingError as error:
        give_up(str(error))


@contextmanager
def _sender(picture_bytes: int) -> Iterator[tuple[int, int]]:
    """Run the sender; yield its process and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    argv = [str(_program("sender")), "127.0.0.1", str(port), str(picture_bytes), "1000"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid, port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_each_viewer_counts_the_messages_and_bytes_of_the_time_it_measures() -> None:
    _program("viewers", "-lssl", "-lcrypto")
    with _sender(9000) as (pid, port):
        arguments = ("stream", "127.0.0.1", str(port), "/", str(VIEWERS), "0.3", "1", "20")
        load = await asyncio.to_thread(watch, [pid], arguments)
    watched = load.watched
    assert (watched.viewers, watched.lost) == (VIEWERS, 0)
    # Pictures of 9,000 bytes and sounds of 1,000, with 4 bytes of frame each.
    assert watched.messages >= VIEWERS
    assert 1004 < watched.bytes / watched.messages < 9004
    assert 0 <= watched.median_ms <= watched.p95_ms
    assert load.cores > 0


async def test_what_a_viewer_cannot_watch_is_an_error_and_no_figure() -> None:
    _program("viewers", "-lssl", "-lcrypto")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        arguments = ("stream", "127.0.0.1", str(port), "/", "1", "0.1", "0.1", "20")
        with pytest.raises(RuntimeError, match="viewers ended with 1"):
            await asyncio.to_thread(watch, [], arguments)
