"""Which segments may be stored: those under whose keys a grant is stored too.

What is stored is acknowledged, and its origin may lose its disk in that moment. Its cells open
again only by a grant: one that was not stored before them is gone with the disk.
"""

import sqlite3

from sync.schema.model import Lane
from sync.segments.sealing import UNSEALED
from sync.segments.segment import HOLLOW_MAGIC, LogName, Segment


class Grants:
    """Judges one message's segments, control first, inside the caller's transaction."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._stored: set[tuple[int, str, bytes]] = set()
        self._awaiting: dict[tuple[int, str], bool] = {}

    def may_store(self, segment: Segment) -> bool:
        """Tell whether a segment would open for somebody even if its origin were lost now.

        One that may not comes too early, like one behind a gap, and is left for the peer to offer
        again. In a control log the grants stand ahead of what their keys seal
        (:mod:`sync.logs.sealer`): it never waits.
        """
        log = segment.header.log
        if segment.is_hollow or log.lane is Lane.CONTROL:
            return True
        return all(
            body.key_id == UNSEALED or self._is_stored(log, body.key_id)
            for body in segment.header.bodies
        )

    def _is_stored(self, log: LogName, key_id: bytes) -> bool:
        """Tell whether a grant by the key's maker is here, or will come with a snapshot.

        Each key is granted to its maker in the control log of what it seals; the hub's copies for
        single schools stand elsewhere and do not count.
        """
        place = log.origin, log.audience, key_id
        if place in self._stored:
            return True
        found = self._cursor.execute(
            "SELECT 1 FROM key_grant g JOIN log l ON l.id = g.log"
            " WHERE g.key_id = ? AND l.origin = ? AND l.audience = ? LIMIT 1",
            (key_id, log.origin, log.audience),
        ).fetchone()
        if found is not None:
            self._stored.add(place)
            return True
        return self._awaits_snapshot(log)

    def _awaits_snapshot(self, log: LogName) -> bool:
        """Tell whether control segments came without bodies: their grants are in the parts.

        Parts may be sealed under keys that are granted in parts, so these wait for nothing.
        """
        scope = log.origin, log.audience
        if scope not in self._awaiting:
            found = self._cursor.execute(
                "SELECT 1 FROM log l JOIN segment s ON s.log = l.id AND s.seq > l.applied"
                " WHERE l.origin = ? AND l.audience = ? AND l.lane = ?"
                " AND substr(s.wire, 1, ?) = ? LIMIT 1",
                (*scope, Lane.CONTROL, len(HOLLOW_MAGIC), HOLLOW_MAGIC),
            ).fetchone()
            self._awaiting[scope] = found is not None
        return self._awaiting[scope]
