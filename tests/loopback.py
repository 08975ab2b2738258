"""Loopback addresses and ports that no other process of tests uses at the same time."""

import itertools
import os
import socket

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes that run test files side by side this is, from 0 on."""


def own_address(last_two: str) -> str:
    """Return the process's own address, e.g. ``127.200.65.31`` for ``65.31``."""
    return f"127.{200 + PROCESS % 50}.{last_two}"


_FIRST_PORT, _PORTS_A_PROCESS, _PROCESSES = 12_000, 1_000, 20
"""Below 32,768, where Linux begins to take the ports of outgoing connections from: such a port,
free when one looks, is somebody's a moment later."""
_places = itertools.count(os.getpid())


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port to listen on, which this process has not returned of late."""
    first = _FIRST_PORT + PROCESS % _PROCESSES * _PORTS_A_PROCESS
    for place in itertools.islice(_places, _PORTS_A_PROCESS):
        port = first + place % _PORTS_A_PROCESS
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no port from {first} on is free at {host}")
