"""Exercise lessons as they go on: who wears which band, what it says, what the class comes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.entities import BandReading
from edge.sports.load import Beat, ClassLoad, class_load
from sync.logs.oplog import Row

KEPT_EVERY_MS = 5_000
"""A pupil's heart rate is kept this often; every one is shown."""
HIGH_MS = 10_000
"""How long a heart rate must be too high before the teacher is warned."""
STALE_MS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One pupil as the teacher sees them; ``bpm`` None: nothing fresh from the band."""

    person: int
    band: str
    bpm: int | None
    is_moving: bool
    is_high: bool
    at_ms: int | None


@dataclass(slots=True, kw_only=True)
class Exercise:
    """One lesson that goes on."""

    session: str
    class_group: str
    teacher: str
    starts_ms: int
    alarm_bpm: int
    worn: dict[str, int]
    beats: dict[int, list[Beat]] = field(default_factory=dict)
    latest: dict[int, Beat] = field(default_factory=dict)
    high_since: dict[int, int] = field(default_factory=dict)

    def take(self, reading: BandReading) -> Row | None:
        """Take what a band tells; return the row to be kept, None when it need not be."""
        person = self.worn[reading.band]
        beat = Beat(at_ms=reading.observed_ms, bpm=reading.bpm, moving=reading.moving)
        self.latest[person] = beat
        if beat.bpm >= self.alarm_bpm:
            self.high_since.setdefault(person, beat.at_ms)
        else:
            self.high_since.pop(person, None)
        kept = self.beats.setdefault(person, [])
        # Also when the clock was set back: until it has caught up nothing is known.
        if kept and beat.at_ms - kept[-1].at_ms < KEPT_EVERY_MS:
            return None
        kept.append(beat)
        return {
            "at_ms": beat.at_ms,
            "person": person,
            "bpm": beat.bpm,
            "moving": None if beat.moving is None else int(beat.moving),
        }

    def wear(self, worn: Mapping[str, int]) -> list[Row]:
        """Let bands be worn by others; return the rows that say so."""
        gone: list[Row] = [
            {"session": self.session, "band": band, "deleted": 1}
            for band in self.worn
            if band not in worn
        ]
        self.worn = dict(worn)
        return gone + [
            {"session": self.session, "band": band, "person": person}
            for band, person in worn.items()
        ]

    def tiles(self, now_ms: int) -> list[Tile]:
        """Return every pupil with a band, the too high ones first, then by band."""
        tiles = [self._tile(band, person, now_ms) for band, person in self.worn.items()]
        return sorted(tiles, key=lambda tile: (not tile.is_high, _by_number(tile.band)))

    def load(self, now_ms: int) -> ClassLoad:
        """Return what the class came to until now."""
        beats = {person: self.beats.get(person, []) for person in self.worn.values()}
        return class_load(beats, self.starts_ms, max(self.starts_ms + 1, now_ms))

    def row(self, ends_ms: int | None, load: ClassLoad | None) -> Row:
        return {
            "session": self.session,
            "class_group": self.class_group,
            "starts_ms": self.starts_ms,
            "ends_ms": ends_ms,
            "density": load.group_density if load else None,
            "intensity_bpm": load.mean_bpm if load else None,
            "coverage": load.coverage if load else None,
            "individual_density": load.individual_density if load else None,
            "pupils": load.pupils if load else None,
            "told": load.told if load else None,
            "reached": load.reached if load else None,
            "teacher": self.teacher,
            "alarm_bpm": self.alarm_bpm,
        }

    def _tile(self, band: str, person: int, now_ms: int) -> Tile:
        beat = self.latest.get(person)
        is_fresh = beat is not None and now_ms - beat.at_ms < STALE_MS and beat.bpm > 0
        high_ms = self.high_since.get(person)
        return Tile(
            person=person,
            band=band,
            bpm=beat.bpm if beat is not None and is_fresh else None,
            is_moving=beat is not None and is_fresh and beat.is_motion,
            is_high=is_fresh and high_ms is not None and now_ms - high_ms >= HIGH_MS,
            at_ms=beat.at_ms if beat else None,
        )


def _by_number(band: str) -> tuple[int, str]:
    is_number = band.isascii() and band.isdigit()
    return (int(band) if is_number else 1 << 62, band)
