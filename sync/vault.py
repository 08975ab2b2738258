"""Persons' keys: identifying cells are sealed under a key of that person's own.

The vault is one replaceable file beside the store, never part of a log, a courier file or a
backup of one. Forgetting a person is deleting one key; the sealed cells, wherever copies of them
lie, are then noise.
"""

import sqlite3
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sync.errors import ForgedError
from sync.sealing import KEY_BYTES, RandomBytes

PERSON_MAX = 2**24
"""Ordinals lie from 1 to below this: small on the wire, 26 times the district's pupils."""
_NONCE_BYTES = 12
_PAD_BYTES = 32  # a cell's length tells at most how many times 32 bytes it holds


class PersonVault:
    """Keys of the school's persons. Blocking; one thread at a time."""

    def __init__(self, path: Path, random_bytes: RandomBytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._random_bytes = random_bytes
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}").close()
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS person_key (person INTEGER PRIMARY KEY, key BLOB)"
        )

    def new_person(self) -> int:
        """Draw an ordinal that was never used here, with a key of its own."""
        return self.new_persons(1)[0]

    def new_persons(self, count: int) -> list[int]:
        """Draw several; durable on return, in one step: a disk's flush costs more than a key."""
        drawn: list[int] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            while len(drawn) < count:
                person = 1 + int.from_bytes(self._random_bytes(4), "big") % (PERSON_MAX - 1)
                added = self._connection.execute(
                    "INSERT OR IGNORE INTO person_key VALUES (?, ?)",
                    (person, self._random_bytes(KEY_BYTES)),
                )
                drawn += [person] * added.rowcount
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return drawn

    def seal(self, person: int, column: str, text: str) -> bytes:
        """Seal one identifying cell; raises KeyError for a person forgotten or never known."""
        content = text.encode()
        content += b"\x80" + bytes(-(len(content) + 1) % _PAD_BYTES)
        nonce = self._random_bytes(_NONCE_BYTES)
        return nonce + self._cipher(person).encrypt(nonce, content, _context(person, column))

    def open(self, person: int, column: str, sealed: bytes) -> str:
        """Open one cell.

        Raises KeyError for a person forgotten or never known, ForgedError for a cell that was not
        sealed for this person and column.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            content = self._cipher(person).decrypt(nonce, rest, _context(person, column))
        except (InvalidTag, ValueError) as error:
            raise ForgedError(f"the {column} of person {person} does not open") from error
        return content.rstrip(b"\x00")[:-1].decode()

    def forget(self, person: int) -> None:
        """Destroy a person's key; the ordinal stays taken."""
        self._connection.execute("UPDATE person_key SET key = NULL WHERE person = ?", (person,))

    def persons(self) -> list[int]:
        """Return the ordinals of everyone who is not forgotten."""
        rows = self._connection.execute("SELECT person FROM person_key WHERE key IS NOT NULL")
        return [person for (person,) in rows]

    def close(self) -> None:
        self._connection.close()

    def _cipher(self, person: int) -> ChaCha20Poly1305:
        row = self._connection.execute(
            "SELECT key FROM person_key WHERE person = ?", (person,)
        ).fetchone()
        if row is None or row[0] is None:
            raise KeyError(f"person {person} has no key here: forgotten, or never known")
        return ChaCha20Poly1305(row[0])


def _context(person: int, column: str) -> bytes:
    return f"schoolnode person {person} {column}".encode()
