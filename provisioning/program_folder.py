"""A program's folder: one daemon's at a time, marked against restores, with codes in files."""

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning.durable_file import private_folder, read_private, write_private
from provisioning.errors import SetupError

_GENERATION_BYTES = 16


@contextmanager
def hold_folder(folder: Path, program: str) -> Iterator[None]:
    """Hold the folder for one daemon; raises SetupError if another has it."""
    private_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(
                f"{folder}: another {program} runs on this folder; stop it, or name another folder"
                " in the configuration"
            ) from error
        yield


def open_generation(folder: Path) -> bytes:
    """Return the marker beside the store; a store restored from elsewhere has another."""
    path = folder / "generation"
    if not path.exists():
        write_private(path, secrets.token_bytes(_GENERATION_BYTES))
    return read_private(path)


def open_code(path: Path, alphabet: str, characters: int) -> str:
    """Return the code that a person types, made at the first call; raises SetupError."""
    if not path.exists():
        private_folder(path.parent)
        code = "".join(secrets.choice(alphabet) for _ in range(characters))
        write_private(path, code.encode())
    return read_private(path).decode()
