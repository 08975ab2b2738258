"""What a test does where a program of the system, or one that is not ours, is missing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.peer_environment import PeerMissingError


def need(program: str, package: str) -> str:
    """Return where ``program`` is; without it give up, naming Debian's package."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        give_up(f"{program} is missing; run: apt install {package}")
    return found


def need_peer(environment: Callable[[str], Path], name: str) -> Path:
    """Return a peer from its locked ``environment``; give up where that cannot be made."""
    try:
        return environment(name)
    except PeerMissingError as error:
        give_up(str(error))


def give_up(reason: str) -> NoReturn:
    """Skip the test and show why; in continuous integration fail it, for there a skip hides."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
