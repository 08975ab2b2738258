"""Loopback addresses that no other process of tests uses at the same time."""

import os

PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes that run test files side by side this is, from 0 on."""


def own_address(last_two: str) -> str:
    """Return the process's own address, e.g. ``127.200.65.31`` for ``65.31``."""
    return f"127.{200 + PROCESS % 50}.{last_two}"
