"""Programs that are not ours, each in an environment of its own.

A lock in ``peers/<name>`` says what is in it, with hashes; it is built once for each lock under the
user's cache.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

PEERS = Path(__file__).with_name("peers")


class PeerMissingError(Exception):
    """The peer cannot be installed here; the message says why."""


def peer_python(name: str) -> Path:
    """Return the interpreter, building its environment the first time (network, half a minute).

    Raises PeerMissingError.
    """
    lock = PEERS / name / "requirements.lock"
    install = ["install", "--quiet", "--require-hashes", "-r", str(lock)]

    def build(home: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "pip", *install], check=True)

    return _built(name, [lock], build) / "bin" / "python"


def peer_node(name: str) -> Path:
    """Return a folder with the peer's own scripts and what ``package-lock.json`` names.

    Raises PeerMissingError.
    """
    sources = [*(PEERS / name).glob("*.js"), *(PEERS / name).glob("package*.json")]
    install = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]

    def build(home: Path) -> None:
        for path in sources:
            shutil.copy(path, home)
        subprocess.run(install, cwd=home, check=True)

    return _built(name, sources, build)


def _built(name: str, sources: Iterable[Path], build: Callable[[Path], None]) -> Path:
    """Return the folder that ``build`` filled, once for each state of the sources."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources)))
    cache = Path.home() / ".cache" / "schoolnode-peers"
    home = cache / f"{name}-{digest.hexdigest()[:12]}"
    if not home.exists():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
        try:
            build(building)
            building.rename(home)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(building)
            # Another run may have been quicker.
            if not home.exists():
                raise PeerMissingError(f"{name} cannot be installed: {error}") from error
    return home
