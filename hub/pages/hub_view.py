"""What the pages need of the running hub; the server behind them implements it."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.lesson.timetable import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolLight:
    """What the hub itself knows of one school's box; None is "not known", never "fine".

    ``heartbeat_ms``: last authenticated exchange. ``stored_ms``: last segment stored. ``lag_ms``:
    how long ago the box was last heard with nothing sealed and not here, so that it rises while the
    box is silent. ``waiting_bytes``: sealed and not here, as the box last said. ``not_after_ms``:
    end of the box's certificate. Moments are Unix ms.
    """

    school: int
    heartbeat_ms: int | None = None
    stored_ms: int | None = None
    lag_ms: int | None = None
    waiting_bytes: int | None = None
    box: str | None = None
    not_after_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLight:
    """What the relay saw of one party of a lesson.

    For the flagship: fragments received from it; for a receiver: fragments handed to it.
    ``missing``: fragments the flagship's numbering shows and this party lacks, None if not known.
    """

    school: int
    role: str
    fragment_ms: int | None
    fragments: int
    bytes: int
    missing: int | None


class HubView(Protocol):
    @property
    def district(self) -> str:
        """Return the district's id, as in certificates."""

    @property
    def district_name(self) -> str:
        """Return the district's name, as people say it."""

    def now_ms(self) -> int:
        """Return the wall clock, Unix ms."""

    def connect(self) -> sqlite3.Connection:
        """Open the store for reading (``row_factory`` is ``sqlite3.Row``).

        Called in worker threads; whoever opens it closes it there.
        """

    def check_admin_code(self, code: str) -> bool:
        """Say whether this is the administrator's code, in constant time."""

    def school_lights(self) -> Sequence[SchoolLight]:
        """Return what is known of every enrolled school; called on the event loop."""

    def lesson_flow(self, lesson: str) -> Sequence[FlowLight]:
        """Return what the relay saw of a lesson, empty if nothing; called on the event loop."""

    def signing_keys(self, school: int) -> Sequence[Ed25519PublicKey]:
        """Return the signing keys of all boxes a school has or had; called on the event loop."""

    def record_all(self, rows_by_table: Mapping[str, list[Row]]) -> None:
        """Append rows to the hub's own logs in one transaction; returns once it is committed.

        Rows name ``school``, the table's columns and, to withdraw, ``deleted``: 1. Called in a
        worker thread, one call at a time.
        """

    def events(self) -> AsyncIterator[str]:
        """Yield the names of what changes ("school:3", "lesson:<id>"), bounded, for one reader."""
