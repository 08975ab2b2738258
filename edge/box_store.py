"""The box's data folder, opened: identity, store, vault and the node over them."""

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.acquaintances import Acquaintances
from edge.config import BoxConfig
from edge.errors import BoxSetupError
from provisioning.durable_file import private_folder, read_private, write_private
from provisioning.identity import Identity, load_identity
from sync.node import Node, NodeKeys
from sync.persons.vault import PersonVault
from sync.store import connect_readonly, open_store

_CODE_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStore:
    """``path`` is the SQLite file; pages open their own read-only connections on it.

    All but ``identity`` and ``path`` is for one thread at a time, ``reader`` too.
    """

    identity: Identity
    node: Node
    vault: PersonVault
    acquaintances: Acquaintances
    path: Path
    reader: sqlite3.Connection
    setup_code: str


@contextmanager
def open_box(config: BoxConfig, now_ms: Callable[[], int]) -> Iterator[BoxStore]:
    """Open an enrolled box's folder.

    Raises IdentityMissingError when the box is not enrolled, BoxSetupError when another daemon
    has the folder.
    """
    folder = config.folder
    with ExitStack() as stack:
        stack.enter_context(_only_one(folder))
        identity = load_identity(folder / "identity")
        path = folder / "box.db"
        connection = open_store(path)
        stack.callback(connection.close)
        reader = connect_readonly(path)
        stack.callback(reader.close)
        vault = PersonVault(folder / "vault.db", os.urandom)
        stack.callback(vault.close)
        acquaintances = Acquaintances(identity, reader)
        keys = NodeKeys(origin=identity.school, signing=identity.signing, sealing=identity.sealing)
        node = Node(connection, keys, now_ms, os.urandom, acquaintances, _generation(folder))
        yield BoxStore(
            identity=identity,
            node=node,
            vault=vault,
            acquaintances=acquaintances,
            path=path,
            reader=reader,
            setup_code=setup_code(folder),
        )


def setup_code(folder: Path) -> str:
    """Return the code that opens the set-up page, made at the first call."""
    code = read_setup_code(folder)
    if code is None:
        private_folder(folder)
        code = "".join(secrets.choice("0123456789") for _ in range(_CODE_CHARACTERS))
        write_private(folder / "setup-code", code.encode())
    return code


def read_setup_code(folder: Path) -> str | None:
    """Return the code that opens the set-up page, None before it is made."""
    path = folder / "setup-code"
    return read_private(path).decode() if path.exists() else None


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    private_folder(folder)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BoxSetupError(
                f"{folder}: another schoolnode daemon runs on this folder; stop it, or name"
                " another folder in the configuration"
            ) from error
        yield


def _generation(folder: Path) -> bytes:
    """Return the marker beside the store; a store restored from elsewhere has another."""
    path = folder / "generation"
    if not path.exists():
        write_private(path, secrets.token_bytes(16))
    return read_private(path)
