"""The box's data folder, opened: identity, store, vault and the node over them."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.acquaintances import Acquaintances
from edge.config import BoxConfig
from provisioning.durable_file import read_private
from provisioning.identity import Identity, load_identity
from provisioning.program_folder import hold_folder, open_code, open_generation
from sync.node import Node, NodeKeys
from sync.persons.vault import PersonVault
from sync.store import connect_readonly, open_store

_STORE_FILE = "box.db"
_CODE_FILE = "setup-code"
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

    Raises IdentityMissingError when the box is not enrolled, SetupError when another daemon has
    the folder.
    """
    folder = config.folder
    with ExitStack() as stack:
        stack.enter_context(hold_folder(folder, "schoolnode daemon"))
        identity = load_identity(folder / "identity")
        path = folder / _STORE_FILE
        connection = open_store(path)
        stack.callback(connection.close)
        reader = connect_readonly(path)
        stack.callback(reader.close)
        vault = PersonVault(folder / "vault.db", os.urandom)
        stack.callback(vault.close)
        acquaintances = Acquaintances(identity, reader)
        keys = NodeKeys(origin=identity.school, signing=identity.signing, sealing=identity.sealing)
        node = Node(connection, keys, now_ms, os.urandom, acquaintances, open_generation(folder))
        yield BoxStore(
            identity=identity,
            node=node,
            vault=vault,
            acquaintances=acquaintances,
            path=path,
            reader=reader,
            setup_code=setup_code(folder),
        )


def make_store(folder: Path) -> None:
    """Make the store, unless it is there; a daemon need not load, and keep, what that takes."""
    open_store(folder / _STORE_FILE).close()


def setup_code(folder: Path) -> str:
    """Return the code that opens the set-up page, made at the first call."""
    return open_code(folder / _CODE_FILE, "0123456789", _CODE_CHARACTERS)


def read_setup_code(folder: Path) -> str | None:
    """Return the code that opens the set-up page, None before it is made."""
    path = folder / _CODE_FILE
    return read_private(path).decode() if path.exists() else None
