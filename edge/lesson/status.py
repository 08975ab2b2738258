"""How a lesson goes at this box, with the evidence and its age."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sync.lessons.fragment_log import is_sound
from sync.lessons.fragment_rungs import Rung
from sync.lessons.tracks import PICTURE, PICTURE_SMALL

FRESH_MS_MAX = 2000
"""Sound or picture older than this is no longer live."""
TOGETHER_MS = 500
"""What stopped within this of each other stopped together: not for a moment one of it, then all."""


class Phase(StrEnum):
    """What a class or a status light is told."""

    WAITING = "waiting"  # nothing has come yet
    LIVE = "live"
    DEGRADED = "degraded"  # it was live; now sound, picture or the hub is missing
    CATCHING_UP = "catching_up"  # live or over, while holes of the recording are being filled
    DONE = "done"  # the lesson is over and the recording is whole


class Cause(StrEnum):
    """Why it is not simply live; a page has a sentence for each in two languages."""

    NONE = ""
    HUB_UNREACHABLE = "hub_unreachable"
    HUB_REFUSES = "hub_refuses"  # this school has no part in the lesson, as the hub sees it
    FLAGSHIP_SILENT = "flagship_silent"  # the hub answers, nothing comes from the flagship
    CAMERA_SILENT = "camera_silent"  # at the flagship: the capture gives nothing
    PICTURE_REDUCED = "picture_reduced"  # the link carries the small stream only
    NO_PICTURE = "no_picture"
    NO_SOUND = "no_sound"
    SUBSTITUTE = "substitute"  # a recording plays until the flagship is back
    NO_KEY = "no_key"  # the lesson's key was not granted to this box
    DISK = "disk"  # the disk does not take the recording


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonStatus:
    """One moment's state.

    Ages are milliseconds since the newest sound and picture fragment came (at the flagship: left);
    None before the first. ``missing`` counts media fragments known to exist and not stored here
    (at the flagship: not yet held by the hub). ``refused`` counts forged, altered or malformed
    records, ``dropped`` live ones this link was too slow for. ``rung`` is the teacher's picture
    that comes (at the flagship: leaves): sound when none has for 2 s.
    """

    phase: Phase
    cause: Cause
    at_ms: int
    connected: bool
    sound_age_ms: int | None
    picture_age_ms: int | None
    missing: int
    refused: int = 0
    dropped: int = 0
    rung: Rung = Rung.MAIN

    @property
    def age_ms(self) -> int | None:
        """Milliseconds since anything came, sound or picture; None before the first."""
        ages = (self.sound_age_ms, self.picture_age_ms)
        return min((age for age in ages if age is not None), default=None)

    @property
    def evidence_ms(self) -> int | None:
        """When anything came last, Unix ms of this box; None before the first."""
        return None if self.age_ms is None else self.at_ms - self.age_ms


def waiting(at_ms: int) -> LessonStatus:
    """Return the state before anything has come."""
    return LessonStatus(
        phase=Phase.WAITING,
        cause=Cause.NONE,
        at_ms=at_ms,
        connected=False,
        sound_age_ms=None,
        picture_age_ms=None,
        missing=0,
    )


class Pulse:
    """Remembers when sound and picture last came, and judges by that how the lesson goes."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._sound_s: float | None = None
        self._picture_s: float | None = None
        self._teacher_s: dict[int, float] = {}

    def beat(self, track: int) -> None:
        if is_sound(track):
            self._sound_s = self._monotonic_s()
        else:
            self._picture_s = self._monotonic_s()
            if track in (PICTURE, PICTURE_SMALL):
                self._teacher_s[track] = self._picture_s

    @property
    def sound_age_ms(self) -> int | None:
        return self._age_ms(self._sound_s)

    @property
    def picture_age_ms(self) -> int | None:
        return self._age_ms(self._picture_s)

    @property
    def rung(self) -> Rung:
        """The teacher's picture that goes by: the large one, also with the small beside it."""
        for track, rung in ((PICTURE, Rung.MAIN), (PICTURE_SMALL, Rung.SMALL)):
            age_ms = self._age_ms(self._teacher_s.get(track))
            if age_ms is not None and age_ms < FRESH_MS_MAX:
                return rung
        return Rung.SOUND

    @property
    def fresh(self) -> bool:
        """Tell whether anything came within the last 2 s."""
        ages = (self.sound_age_ms, self.picture_age_ms)
        return any(age is not None and age < FRESH_MS_MAX for age in ages)

    def judge(self, link: Cause, silence: Cause, missing: int) -> tuple[Phase, Cause]:
        """Return the phase of a running lesson.

        ``link`` is what ails the way to the hub, ``silence`` what it means that nothing comes
        although the link stands.
        """
        sound, picture = self.sound_age_ms, self.picture_age_ms
        if sound is None and picture is None:
            return Phase.WAITING, link
        if not self.fresh:
            return Phase.DEGRADED, silence if link is Cause.NONE else link
        lacking = self._lacking(sound, picture)
        if lacking is not Cause.NONE:
            return Phase.DEGRADED, lacking
        if link is Cause.DISK:
            return Phase.LIVE, link
        return (Phase.CATCHING_UP if missing else Phase.LIVE), Cause.NONE

    def _lacking(self, sound_ms: int | None, picture_ms: int | None) -> Cause:
        if sound_ms is not None and picture_ms is not None:
            went_on = abs(sound_ms - picture_ms) >= TOGETHER_MS
            if went_on and sound_ms >= FRESH_MS_MAX:
                return Cause.NO_SOUND
            if went_on and picture_ms >= FRESH_MS_MAX:
                return Cause.NO_PICTURE
        return Cause.PICTURE_REDUCED if self.rung is Rung.SMALL else Cause.NONE

    def _age_ms(self, at_s: float | None) -> int | None:
        return None if at_s is None else int((self._monotonic_s() - at_s) * 1000)
