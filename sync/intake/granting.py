"""Which segments may be stored: those under whose keys a grant is stored too.

What is stored is acknowledged, and its origin may lose its disk in that moment. Its cells open
again only by a grant: one that was not stored before them is gone with the disk.
"""

import sqlite3
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from sync.schema.model import Lane
from sync.segments.sealing import UNSEALED, RecipientId, recipient_id
from sync.segments.segment import HOLLOW_MAGIC, Header, Segment
from sync.segments.signing import SignerId


class SealingKeys(Protocol):
    """The part of the directory that knows whom a signer's own keys are granted to."""

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None: ...


class Grants:
    """Judges one message's segments, control first, inside the caller's transaction."""

    def __init__(self, cursor: sqlite3.Cursor, directory: SealingKeys) -> None:
        self._cursor = cursor
        self._directory = directory
        self._stored: set[tuple[int, str, RecipientId, bytes]] = set()
        self._awaiting: dict[tuple[int, str], bool] = {}

    def may_store(self, segment: Segment) -> bool:
        """Tell whether a segment would open for its signer even if its store were lost now.

        One that may not comes too early, like one behind a gap, and is left for the peer to offer
        again. In a control log the grants stand ahead of what their keys seal
        (:mod:`sync.logs.sealer`): it never waits.
        """
        header = segment.header
        if segment.is_hollow or header.log.lane is Lane.CONTROL:
            return True
        key_ids = [body.key_id for body in header.bodies if body.key_id != UNSEALED]
        return all(self._is_stored(header, key_id) for key_id in key_ids) or (
            self._awaits_snapshot(header)
        )

    def _is_stored(self, header: Header, key_id: bytes) -> bool:
        """Tell whether the key's grant to its maker, who signed the segment, is here.

        It stands in the control log of what the key seals. The maker's grants to others may be in
        another log and come sooner; with them alone it could not read again what it wrote.
        """
        log = header.log
        sealing = self._directory.sealing_key(log.origin, SignerId(header.signer))
        if sealing is None:
            return False
        place = log.origin, log.audience, recipient_id(sealing), key_id
        if place not in self._stored:
            found = self._cursor.execute(
                "SELECT 1 FROM key_grant g JOIN log l ON l.id = g.log"
                " WHERE l.origin = ? AND l.audience = ? AND g.recipient = ? AND g.key_id = ?"
                " LIMIT 1",
                place,
            ).fetchone()
            if found is None:
                return False
            self._stored.add(place)
        return True

    def _awaits_snapshot(self, header: Header) -> bool:
        """Tell whether control segments came without bodies: their grants are in the parts.

        Parts may be sealed under keys that are granted in parts, so these wait for nothing.
        """
        scope = header.log.origin, header.log.audience
        if scope not in self._awaiting:
            found = self._cursor.execute(
                "SELECT 1 FROM log l JOIN segment s ON s.log = l.id AND s.seq > l.applied"
                " WHERE l.origin = ? AND l.audience = ? AND l.lane = ?"
                " AND substr(s.wire, 1, ?) = ? LIMIT 1",
                (*scope, Lane.CONTROL, len(HOLLOW_MAGIC), HOLLOW_MAGIC),
            ).fetchone()
            self._awaiting[scope] = found is not None
        return self._awaiting[scope]
