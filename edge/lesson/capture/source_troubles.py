"""What of a lesson's sources does not come while it runs: the fact, and what to do. Pure."""

from collections.abc import Mapping

from drivers.errors import DriverError
from edge.lesson.preparing.checks import Fixer, SourceTrouble, Standing
from edge.lesson.preparing.preflight import CAMERA_REMEDIES, fault_of
from sync.lessons.tracks import PICTURE


def source_troubles(found: Mapping[int, DriverError]) -> tuple[SourceTrouble, ...]:
    """Judge why tracks do not come (``FlagshipCapture.troubles``), in the order of the tracks.

    While the main camera is away nothing else is tried, so that of the others nothing is known.
    """
    told = {PICTURE} if PICTURE in found else found.keys()
    return tuple(_trouble(track, found[track]) for track in sorted(told))


def _trouble(track: int, error: DriverError) -> SourceTrouble:
    return SourceTrouble(
        track=track,
        state=Standing.BAD if track == PICTURE else Standing.WARN,
        fact=str(error),
        remedy=CAMERA_REMEDIES[fault_of(error)],
        who=Fixer.IT,
    )
