"""What was said of a log's clock since its rows were sealed: clamps and corrections."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sync.folding.clamps import Clamps, read_clamps
from sync.folding.correction import Correction, corrected_moments, read_corrections
from sync.segments.columnar import Value
from sync.segments.segment import Header, LogName


@dataclass(frozen=True, slots=True)
class Told:
    """What was said since of one log's stamps and moments."""

    clamps: Clamps | None
    corrections: tuple[Correction, ...]

    def stamps(self, header: Header, stamps: Sequence[int]) -> list[int]:
        """Return the stamps that count, of one table's rows in their order in the segment."""
        return self.clamps.stamps(header, stamps) if self.clamps else [*stamps]

    def moments(self, rows: Sequence[int], moments: Sequence[Value]) -> list[Value]:
        """Return the moments that count, of events with these row numbers."""
        return corrected_moments(self.corrections, rows, moments)


def read_told(cursor: sqlite3.Cursor, log_id: int, name: LogName) -> Told | None:
    """Return what is known of a log's clock; None for a log of which nobody said anything."""
    clamps = read_clamps(cursor, log_id, name)
    corrections = read_corrections(cursor, name)
    return Told(clamps, corrections) if clamps or corrections else None
