"""The keys of each lesson: made at the flagship, wrapped for each party, found again from grants.

A lesson has one key until somebody who was granted it is no party any more: then what follows is
sealed under another. Which key seals stands in ``lesson_key``, which no peer writes.

A receiving class's return log has keys of its own, made at its school. They are granted in the
lesson's own rows, which are for the lesson's parties; what they are wrapped for names the log.
"""

import sqlite3
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import parse_return_log
from sync.logs.oplog import Row
from sync.node import Node
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    DataKey,
    KeyId,
    RandomBytes,
    key_id,
    new_data_key,
    recipient_id,
    unwrap,
    wrap,
)


def read_keys(
    store: sqlite3.Connection, lesson: str, flagship: int, own: X25519PrivateKey
) -> dict[KeyId, DataKey]:
    """Return the lesson's keys that its flagship granted to this box.

    For a return log, ``flagship`` is the school whose it is. Another party's grants are no word on
    the key, and forged ones are passed over.
    """
    rows = store.execute(
        "SELECT lesson_key, suite, wrapped FROM lesson_key_grant"
        " WHERE school = ? AND lesson = ? AND recipient = ?",
        (flagship, _granted_in(lesson), recipient_id(own.public_key())),
    ).fetchall()
    keys: dict[KeyId, DataKey] = {}
    for name, suite, wrapped in rows:
        try:
            keys[KeyId(name)] = unwrap(wrapped, suite, own, _purpose(lesson), KeyId(name))
        except (ForgedError, MalformedError):
            continue
    return keys


def read_former_keys(
    store: sqlite3.Connection, lesson: str, own: X25519PrivateKey
) -> dict[KeyId, DataKey]:
    """Return the keys of a lesson that was held, which its flagship granted to this box."""
    flagship = store.execute(
        "SELECT school FROM lesson_party WHERE lesson = ? AND role = 'flagship' AND deleted = 0",
        (lesson,),
    ).fetchone()
    return read_keys(store, lesson, flagship["school"], own) if flagship is not None else {}


class LessonKeys:
    """Makes and grants the keys of lessons, and return logs, that this school gives; blocking."""

    def __init__(
        self,
        node: Node,
        store: sqlite3.Connection,
        own: X25519PrivateKey,
        random_bytes: RandomBytes,
        now_ms: Callable[[], int],
    ) -> None:
        """``store`` reads the node's store on the store's thread."""
        self._node = node
        self._store = store
        self._own = own
        self._random_bytes = random_bytes
        self._now_ms = now_ms

    def sealing_key(self, lesson: str) -> DataKey:
        """Return the key that seals a lesson now, made at the first call."""
        standing = self._standing(lesson, self._keys(lesson))
        return standing or self._begin(lesson)

    def grant(self, lesson: str, recipients: Sequence[X25519PublicKey]) -> None:
        """Grant all of the lesson's keys to ``recipients``, who are its parties now.

        When somebody else was granted the key that seals, another takes its place first. Without
        parties no key is made.
        """
        keys = self._keys(lesson)
        standing = self._standing(lesson, keys)
        entitled = {recipient_id(public) for public in (self._own.public_key(), *recipients)}
        is_closed = standing is not None and self._granted(key_id(standing)) <= entitled
        if not is_closed and (keys or recipients):
            fresh = self._begin(lesson)
            keys[key_id(fresh)] = fresh
        for name, key in keys.items():
            granted = self._granted(name)
            missing = [public for public in recipients if recipient_id(public) not in granted]
            self._write(lesson, name, key, missing)

    def is_shared(self, lesson: str) -> bool:
        """Tell whether somebody else was granted the key that seals now."""
        standing = self._standing(lesson, self._keys(lesson))
        own = recipient_id(self._own.public_key())
        return standing is not None and bool(self._granted(key_id(standing)) - {own})

    def _keys(self, lesson: str) -> dict[KeyId, DataKey]:
        """Return the lesson's keys that were made here."""
        names = {
            row[0]
            for row in self._store.execute(
                "SELECT key_id FROM lesson_key WHERE lesson = ?", (lesson,)
            )
        }
        found = read_keys(self._store, lesson, self._node.origin, self._own)
        return {name: key for name, key in found.items() if name in names}

    def _standing(self, lesson: str, keys: dict[KeyId, DataKey]) -> DataKey | None:
        found = self._store.execute(
            "SELECT key_id FROM lesson_key WHERE lesson = ? AND ended_ms IS NULL"
            " ORDER BY begun_ms DESC LIMIT 1",
            (lesson,),
        ).fetchone()
        return keys.get(KeyId(found[0])) if found else None

    def _begin(self, lesson: str) -> DataKey:
        key = new_data_key(self._random_bytes)
        name = key_id(key)
        now_ms = self._now_ms()
        with self._node.transaction() as cursor:
            cursor.execute(
                "UPDATE lesson_key SET ended_ms = ? WHERE lesson = ? AND ended_ms IS NULL",
                (now_ms, lesson),
            )
            cursor.execute("INSERT INTO lesson_key VALUES (?, ?, ?, NULL)", (name, lesson, now_ms))
            self._record(cursor, lesson, name, key, [self._own.public_key()])
        return key

    def _write(
        self, lesson: str, name: KeyId, key: DataKey, recipients: Sequence[X25519PublicKey]
    ) -> None:
        if recipients:
            with self._node.transaction() as cursor:
                self._record(cursor, lesson, name, key, recipients)

    def _record(
        self,
        cursor: sqlite3.Cursor,
        lesson: str,
        name: KeyId,
        key: DataKey,
        recipients: Sequence[X25519PublicKey],
    ) -> None:
        rows: list[Row] = [
            {
                "lesson": _granted_in(lesson),
                "lesson_key": name,
                "recipient": recipient_id(public),
                "suite": SUITE_X25519_SHA256_CHACHA20,
                "wrapped": wrap(key, public, _purpose(lesson)),
            }
            for public in recipients
        ]
        self._node.record_within(cursor, "lesson_key_grant", rows)
        cursor.executemany(
            "INSERT OR IGNORE INTO own_grant VALUES (?, ?)",
            [(name, recipient_id(public)) for public in recipients],
        )

    def _granted(self, name: KeyId) -> set[bytes]:
        rows = self._store.execute("SELECT recipient FROM own_grant WHERE key_id = ?", (name,))
        return {row[0] for row in rows}


def _granted_in(lesson: str) -> str:
    """Return the lesson in whose rows a log's keys are granted."""
    returned = parse_return_log(LessonId(lesson))
    return lesson if returned is None else returned[0]


def _purpose(lesson: str) -> bytes:
    return b"lesson\x00" + lesson.encode()
