"""The interpreter of a program that is not ours, in an environment of its own.

``peers/<name>/requirements.lock`` says what is in it, with hashes; it is built once for each lock
under the user's cache.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = Path(__file__).with_name("peers")


class PeerMissingError(Exception):
    """The peer cannot be installed here; the message says why."""


def peer_python(name: str) -> Path:
    """Return the interpreter, building its environment the first time (network, half a minute).

    Raises PeerMissingError.
    """
    lock = PEERS / name / "requirements.lock"
    cache = Path.home() / ".cache" / "schoolnode-peers"
    home = cache / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
        install = ["install", "--quiet", "--require-hashes", "-r", str(lock)]
        try:
            subprocess.run([sys.executable, "-m", "venv", building], check=True)
            subprocess.run([building / "bin" / "pip", *install], check=True)
            building.rename(home)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(building)
            # Another run may have been quicker.
            if not home.exists():
                raise PeerMissingError(f"{name} cannot be installed: {error}") from error
    return home / "bin" / "python"


def peer_node(name: str) -> Path:
    """Return a folder with the peer's own scripts and what ``package-lock.json`` names.

    Raises PeerMissingError.
    """
    lock = PEERS / name / "package-lock.json"
    sources = [lock, lock.with_name("package.json"), *lock.parent.glob("*.js")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources)))
    cache = Path.home() / ".cache" / "schoolnode-peers"
    home = cache / f"{name}-{digest.hexdigest()[:12]}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
        install = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            for path in sources:
                shutil.copy(path, building)
            subprocess.run(install, cwd=building, check=True)
            building.rename(home)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(building)
            # Another run may have been quicker.
            if not home.exists():
                raise PeerMissingError(f"{name} cannot be installed: {error}") from error
    return home
