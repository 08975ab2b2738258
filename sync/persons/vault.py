"""Persons' keys: identifying cells are sealed under a key of that person's own.

The vault is one replaceable file beside the store, never part of a log, a courier file or a
backup of one. Forgetting a person is destroying one key; the sealed cells, wherever copies of them
lie, are then noise. Its own backup at the hub is ``sync.persons.vault_backup``; what that needs to
know stands here, so that it is never older or newer than the keys.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sync.errors import ForgedError
from sync.segments.sealing import KEY_BYTES, RandomBytes

PERSON_MAX = 2**24
"""Ordinals lie from 1 to below this: small on the wire, 26 times the district's pupils."""
_NONCE_BYTES = 12
_PAD_BYTES = 32  # a cell's length tells at most how many times 32 bytes it holds
_STORED = ("number", "generation", "stored_ms", "clear_ms", "digest")
_ELSEWHERE = b""  # an ordinal that is taken, whose key is not here


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultContents:
    """All that a vault's backup carries; ``number`` rises with each change of the vault."""

    number: int
    keys: dict[int, bytes]
    forgotten: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBackup:
    """The backup that the hub last acknowledged; ``stored_ms`` is the hub's clock."""

    number: int
    generation: int
    stored_ms: int
    clear_ms: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Erasing:
    """A person whose key is destroyed here, and of whom the hub's backup is not known clear."""

    person: int
    asked_ms: int
    who: str
    generation: int  # of the share under which the last backup with that key was stored; 0: none


@dataclass(frozen=True, slots=True)
class Merged:
    """What taking up a backup did; ``clashes`` are ordinals that stand for others here."""

    added: int
    forgotten: int
    clashes: frozenset[int]


class PersonVault:
    """Keys of the school's persons. Blocking; one thread at a time."""

    def __init__(self, path: Path, random_bytes: RandomBytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._random_bytes = random_bytes
        self._journal = path.with_name(f"{path.name}-journal")
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # PERSIST keeps the journal in its place on the disk, so that it can be overwritten there.
        for pragma in ("journal_mode=PERSIST", "synchronous=FULL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}").close()
        for statement in (
            # key: null when forgotten, empty when only the ordinal is known to be taken.
            "CREATE TABLE IF NOT EXISTS person_key (person INTEGER PRIMARY KEY, key BLOB)",
            "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
            """CREATE TABLE IF NOT EXISTS erasing (person INTEGER PRIMARY KEY,
                asked_ms INTEGER NOT NULL, who TEXT NOT NULL, generation INTEGER NOT NULL)""",
        ):
            self._connection.execute(statement).close()
        self._wipe_journal()  # of a process that was killed before it could

    @property
    def number(self) -> int:
        """Return how often the vault has changed."""
        number = self._fact("number")
        assert isinstance(number, int | None)
        return number or 0

    def new_person(self) -> int:
        """Draw an ordinal that was never used here, with a key of its own."""
        return self.new_persons(1)[0]

    def new_persons(self, count: int) -> list[int]:
        """Draw several; durable on return, in one step: a disk's flush costs more than a key."""
        drawn: list[int] = []
        if not count:
            return drawn
        with self._changing():
            while len(drawn) < count:
                person = 1 + int.from_bytes(self._random_bytes(4), "big") % (PERSON_MAX - 1)
                added = self._connection.execute(
                    "INSERT OR IGNORE INTO person_key VALUES (?, ?)",
                    (person, self._random_bytes(KEY_BYTES)),
                )
                drawn += [person] * added.rowcount
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

    def forget(self, person: int, asked_ms: int, who: str) -> None:
        """Destroy a person's key for ever; the ordinal stays taken.

        The person stands in :meth:`erasing` until the hub's backup is known to be clear. Asked
        again, nothing changes. Raises KeyError for a person that was never known here.
        """
        row = self._connection.execute(
            "SELECT key FROM person_key WHERE person = ?", (person,)
        ).fetchone()
        if row is None:
            raise KeyError(f"person {person} was never known here")
        if row[0] is None:
            return
        stored = self.stored
        with self._changing():
            self._connection.execute("UPDATE person_key SET key = NULL WHERE person = ?", (person,))
            self._connection.execute(
                "INSERT OR IGNORE INTO erasing VALUES (?, ?, ?, ?)",
                (person, asked_ms, who, stored.generation if stored else 0),
            )
        self._wipe_journal()

    def persons(self) -> list[int]:
        """Return the ordinals of everyone whose key is here."""
        rows = self._connection.execute("SELECT person FROM person_key WHERE length(key) > 0")
        return [person for (person,) in rows]

    def forgotten(self) -> list[int]:
        rows = self._connection.execute("SELECT person FROM person_key WHERE key IS NULL")
        return [person for (person,) in rows]

    def erasing(self) -> list[Erasing]:
        """Return whose erasure the hub has not acknowledged, first asked first."""
        rows = self._connection.execute(
            "SELECT person, asked_ms, who, generation FROM erasing ORDER BY asked_ms, person"
        )
        return [Erasing(*row) for row in rows]

    def erase_again(self, persons: Collection[int], asked_ms: int, generation: int) -> None:
        """Let persons forgotten before wait for the hub again: a backup there holds their keys.

        They wait for a share above ``generation``; who waits for a lower one waits for that.
        """
        with self._changing():
            self._connection.executemany(
                "INSERT INTO erasing SELECT person, ?, 'hub restored', ?"
                " FROM person_key WHERE person = ? AND key IS NULL"
                " ON CONFLICT DO UPDATE SET generation = max(generation, excluded.generation)",
                [(asked_ms, generation, person) for person in persons],
            )

    def erased(self, persons: Collection[int]) -> None:
        """Note that the hub's backup is clear of these persons' keys."""
        self._connection.executemany(
            "DELETE FROM erasing WHERE person = ?", [(person,) for person in persons]
        )

    @property
    def recovery(self) -> X25519PublicKey | None:
        """Return the key to which the backup is sealed, None before a recovery code was made."""
        raw = self._fact("recovery")
        return X25519PublicKey.from_public_bytes(raw) if isinstance(raw, bytes) else None

    def seal_to(self, recovery: X25519PublicKey) -> None:
        """Seal backups to this recovery key from now on; the next is due, under a new share."""
        raw = recovery.public_bytes_raw()
        if self._fact("recovery") != raw:
            stored = self.stored
            with self._changing():
                self._remember("recovery", raw)
                self._remember("above", stored.generation if stored else 0)

    @property
    def generation_passed(self) -> int:
        """Return the generation of a share above which the next backup has to stand."""
        above = self._fact("above")
        assert isinstance(above, int | None)
        return max([above or 0, *(each.generation for each in self.erasing())])

    @property
    def stored(self) -> StoredBackup | None:
        facts = [self._fact(f"stored_{name}") for name in _STORED]
        match facts:
            case [int(number), int(generation), int(stored_ms), int(clear_ms), bytes(digest)]:
                return StoredBackup(
                    number=number,
                    generation=generation,
                    stored_ms=stored_ms,
                    clear_ms=clear_ms,
                    digest=digest,
                )
        return None

    def note_stored(self, backup: StoredBackup) -> None:
        with self._transaction():
            for name in _STORED:
                self._remember(f"stored_{name}", getattr(backup, name))

    def contents(self) -> VaultContents:
        """Return what a backup carries, as it stands now."""
        with self._transaction():
            keys: dict[int, bytes] = dict(
                self._connection.execute(
                    "SELECT person, key FROM person_key WHERE length(key) > 0 ORDER BY person"
                ).fetchall()
            )
            return VaultContents(
                number=self.number, keys=keys, forgotten=frozenset(self.forgotten())
            )

    def merge(self, backup: VaultContents) -> Merged:
        """Take up a backup's keys beside what is here; whoever is forgotten in either stays so.

        The number rises above both, so that the next backup replaces the one taken up.
        """
        before = len(self.persons())
        known: dict[int, bytes | None] = dict(
            self._connection.execute("SELECT person, key FROM person_key").fetchall()
        )
        clashes = frozenset(
            person
            for person, key in backup.keys.items()
            if known.get(person) not in {None, _ELSEWHERE, key}
        )
        with self._changing(at_least=backup.number):
            self._connection.executemany(
                "INSERT INTO person_key VALUES (?1, ?2) ON CONFLICT DO UPDATE SET key = ?2"
                " WHERE length(key) = 0",
                backup.keys.items(),
            )
            self._connection.executemany(
                "INSERT INTO person_key VALUES (?, NULL) ON CONFLICT DO UPDATE SET key = NULL",
                [(person,) for person in backup.forgotten],
            )
        self._wipe_journal()
        return Merged(len(self.persons()) - before, len(backup.forgotten), clashes)

    def rise_above(self, number: int) -> None:
        """Let the next backup replace one of this number, which nobody here can open."""
        if self.number <= number:
            with self._changing(at_least=number):
                pass

    def take(self, persons: Collection[int]) -> None:
        """Keep ordinals from being drawn that the logs know and this vault does not."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO person_key VALUES (?, ?)",
                [(person, _ELSEWHERE) for person in persons],
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _changing(self, at_least: int = 0) -> Iterator[None]:
        """One durable transaction that makes a new backup due."""
        with self._transaction():
            yield
            self._remember("number", max(self.number, at_least) + 1)

    def _fact(self, name: str) -> object:
        row = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _remember(self, name: str, value: int | bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _wipe_journal(self) -> None:
        """Overwrite what the journal holds of pages before their last change.

        Between transactions SQLite has no use for it: its header is zeroed already. The lock keeps
        another process from beginning one meanwhile.
        """
        self._connection.execute("BEGIN EXCLUSIVE")
        try:
            with self._journal.open("r+b") as journal:
                journal.write(bytes(os.fstat(journal.fileno()).st_size))
                journal.flush()
                os.fsync(journal.fileno())
        except FileNotFoundError:
            pass
        finally:
            self._connection.execute("COMMIT")

    def _cipher(self, person: int) -> ChaCha20Poly1305:
        row = self._connection.execute(
            "SELECT key FROM person_key WHERE person = ?", (person,)
        ).fetchone()
        if row is None or not row[0]:
            raise KeyError(f"person {person} has no key here: forgotten, or never known")
        return ChaCha20Poly1305(row[0])


def read_person_key(path: Path, person: int) -> bytes | None:
    """Return a person's key from a vault another process has open, None when it has none.

    For the proof that it is destroyed, by whoever may read the file anyway.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        row = connection.execute(
            "SELECT key FROM person_key WHERE person = ?", (person,)
        ).fetchone()
    return row[0] or None if row else None


def lacks_recovery(path: Path) -> int:
    """Return how many people's names would be lost with this vault: 0 once it has a backup."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (people, is_stored) = connection.execute(
            "SELECT (SELECT count(*) FROM person_key WHERE length(key) > 0),"
            " EXISTS (SELECT 1 FROM fact WHERE name = 'stored_number')"
        ).fetchone()
    return 0 if is_stored else int(people)


def _context(person: int, column: str) -> bytes:
    return f"schoolnode person {person} {column}".encode()
