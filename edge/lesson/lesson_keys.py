"""The key of each lesson: made at the flagship, wrapped for each party, found again from grants."""

import sqlite3
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)

from sync.errors import ForgedError, MalformedError
from sync.node import Node
from sync.oplog import Row
from sync.sealing import (
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

    Another party's grants are no word on the lesson's key, and forged ones are passed over.
    """
    rows = store.execute(
        "SELECT lesson_key, suite, wrapped FROM lesson_key_grant"
        " WHERE school = ? AND lesson = ? AND recipient = ?",
        (flagship, lesson, recipient_id(own.public_key())),
    ).fetchall()
    keys: dict[KeyId, DataKey] = {}
    for name, suite, wrapped in rows:
        try:
            keys[KeyId(name)] = unwrap(wrapped, suite, own, _purpose(lesson), KeyId(name))
        except (ForgedError, MalformedError):
            continue
    return keys


def ensure_key(
    node: Node,
    store: sqlite3.Connection,
    lesson: str,
    own: X25519PrivateKey,
    recipients: Sequence[X25519PublicKey],
    random_bytes: RandomBytes,
) -> DataKey:
    """Return the lesson's key, made at the first call, granted to this box and to ``recipients``.

    Blocking; grants that exist are not made again.
    """
    keys = read_keys(store, lesson, node.origin, own)
    key = next(iter(keys.values()), None) or new_data_key(random_bytes)
    granted = {
        row["recipient"]
        for row in store.execute(
            "SELECT recipient FROM lesson_key_grant"
            " WHERE school = ? AND lesson = ? AND lesson_key = ?",
            (node.origin, lesson, key_id(key)),
        )
    }
    rows: list[Row] = [
        {
            "lesson": lesson,
            "lesson_key": key_id(key),
            "recipient": recipient_id(public),
            "suite": SUITE_X25519_SHA256_CHACHA20,
            "wrapped": wrap(key, public, _purpose(lesson)),
        }
        for public in (own.public_key(), *recipients)
        if recipient_id(public) not in granted
    ]
    node.record("lesson_key_grant", rows)
    return key


def _purpose(lesson: str) -> bytes:
    return b"lesson\x00" + lesson.encode()
