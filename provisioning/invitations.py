"""Invitations: one row a join code, kept in the hub's database, without the secret."""

import sqlite3
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

INVITATION_SCHEMA = """
CREATE TABLE IF NOT EXISTS invitation (
    box TEXT PRIMARY KEY,
    secret_sha256 BLOB NOT NULL,
    school INTEGER NOT NULL,
    school_name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    withdrawn_ms INTEGER,
    key_sha256 BLOB,
    bound_ms INTEGER,
    certificate BLOB
) STRICT, WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """``box`` is the id the box will have; ``key_sha256`` the keys the code is bound to."""

    box: str
    secret_sha256: bytes = field(repr=False)
    school: int
    school_name: str
    created_ms: int
    expires_ms: int
    withdrawn_ms: int | None = None
    key_sha256: bytes | None = None
    bound_ms: int | None = None
    certificate: bytes | None = field(default=None, repr=False)


class InvitationStore(Protocol):
    """Where the hub keeps invitations; each call is one durable, atomic step."""

    def add(self, invitation: Invitation) -> bool:
        """Store a new invitation; return False when its box id is taken."""

    def find(self, box: str) -> Invitation | None: ...

    def bind(self, box: str, key_sha256: bytes, now_ms: int) -> Invitation | None:
        """Bind the code to the first keys ever given, and return the row as it stands now."""

    def settle(self, box: str, certificate: bytes) -> Invitation | None:
        """Keep the first certificate ever given, and return the row as it stands now."""

    def withdraw(self, box: str, now_ms: int) -> Invitation | None: ...

    def list_all(self) -> list[Invitation]: ...


class SqliteInvitations:
    """The store on a connection of its own; every change is one statement, so processes may race.

    The caller keeps the connection's ``synchronous`` at FULL: an answer is sent after its commit.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        with connection:
            connection.execute(INVITATION_SCHEMA)

    def add(self, invitation: Invitation) -> bool:
        with self._connection:
            added = self._connection.execute(
                "INSERT INTO invitation (box, secret_sha256, school, school_name, created_ms, "
                "expires_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (box) DO NOTHING",
                (
                    invitation.box,
                    invitation.secret_sha256,
                    invitation.school,
                    invitation.school_name,
                    invitation.created_ms,
                    invitation.expires_ms,
                ),
            )
        return added.rowcount == 1

    def find(self, box: str) -> Invitation | None:
        return self._one("SELECT * FROM invitation WHERE box = ?", (box,))

    def bind(self, box: str, key_sha256: bytes, now_ms: int) -> Invitation | None:
        return self._one(
            "UPDATE invitation SET key_sha256 = coalesce(key_sha256, ?), "
            "bound_ms = coalesce(bound_ms, ?) WHERE box = ? RETURNING *",
            (key_sha256, now_ms, box),
        )

    def settle(self, box: str, certificate: bytes) -> Invitation | None:
        return self._one(
            "UPDATE invitation SET certificate = coalesce(certificate, ?) "
            "WHERE box = ? RETURNING *",
            (certificate, box),
        )

    def withdraw(self, box: str, now_ms: int) -> Invitation | None:
        return self._one(
            "UPDATE invitation SET withdrawn_ms = coalesce(withdrawn_ms, ?) "
            "WHERE box = ? RETURNING *",
            (now_ms, box),
        )

    def list_all(self) -> list[Invitation]:
        return self._rows("SELECT * FROM invitation ORDER BY created_ms, box")

    def _one(self, statement: str, values: tuple[str | int | bytes, ...]) -> Invitation | None:
        rows = self._rows(statement, values)
        return rows[0] if rows else None

    def _rows(self, statement: str, values: tuple[str | int | bytes, ...] = ()) -> list[Invitation]:
        with self._connection:
            # Fetched to the end: a RETURNING statement left open would keep the write lock.
            cursor = self._connection.execute(statement, values)
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return msgspec.convert(rows, list[Invitation])
