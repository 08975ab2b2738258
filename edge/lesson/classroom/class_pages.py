"""Whether a room's classroom page is open and may be heard, by what it says of itself."""

from collections.abc import Callable
from time import monotonic

from edge.lesson.evidence.hop_quality import SCREENS_MAX, ScreenReport
from edge.lesson.preparing.preflight import PageFacts

FRESH_S = 35.0
"""A page tells each ten seconds: one that three times told nothing is closed."""


class ClassPages:
    """The pages of one lesson's room, each by its address."""

    def __init__(self, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._since_s = monotonic_s()
        self._heard: dict[str, tuple[float, bool]] = {}

    def note(self, page: str, told: ScreenReport) -> None:
        """Take in that a page is open, and whether its browser holds its sound back."""
        if page in self._heard or len(self._heard) < SCREENS_MAX:
            self._heard[page] = self._monotonic_s(), told.sound is False

    def facts(self, watching: int) -> PageFacts | None:
        """Return what is known; None while no page has had time to tell.

        ``watching``: how many pages play the lesson now.
        """
        now_s = self._monotonic_s()
        open_now = {
            page: is_mute
            for page, (heard_s, is_mute) in self._heard.items()
            if now_s - heard_s < FRESH_S
        }
        if not open_now and not watching and now_s - self._since_s < FRESH_S:
            return None
        return PageFacts(
            is_open=bool(open_now) or watching > 0,
            mute=tuple(page for page, is_mute in open_now.items() if is_mute),
        )
