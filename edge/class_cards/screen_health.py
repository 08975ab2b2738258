"""How a class card is: what its page says each minute, and what of that needs somebody. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SILENT_MS: Final = 4 * 60_000
"""A page says each minute how it is; browsers may wake one that is hidden a minute late."""
DATA_OLD_MS: Final = 30 * 60_000
"""A page fetches everything again each five minutes."""
PAGE_OLD_MS: Final = 10 * 60_000
"""A page of an older version is told to load the new one, at most once a minute."""
ERROR_MS: Final = 60 * 60_000
CLOCK_OFF_MS: Final = 60_000
"""Without the box a card goes by its own clock; a lesson is shown by the minute."""

_BROWSERS: Final = (
    # A browser that builds on another names both: the first that fits is the engine that counts.
    ("Firefox", re.compile(r"Firefox/(\d{1,4})")),
    ("Chromium", re.compile(r"(?:Chrome|Chromium|CriOS)/(\d{1,4})")),
    ("Safari", re.compile(r"Version/(\d{1,4}(?:\.\d{1,3})?).{0,40}Safari/")),
)


class ScreenTrouble(StrEnum):
    """What is not well with a screen, worst first; the words travel to the hub."""

    SILENT = "silent"
    DARK = "dark"  # its page is open and paints nothing, or does not say that it does
    DATA_OLD = "data_old"
    PAGE_OLD = "page_old"  # it runs another version of the page than the box has
    BROWSER_OLD = "browser_old"  # it lacks something that the page needs
    ERRORS = "errors"
    CLOCK_OFF = "clock_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a card's page says of itself; ``data_ms``: when the box made what it shows.

    ``clock_ms`` is the screen's own clock. ``lacks`` names what the page needs and the browser has
    not. ``error`` is one's kind and place, never its text: that may quote what the page shows.
    """

    version: str
    clock_ms: int
    data_ms: int
    is_painting: bool
    lacks: Sequence[str] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The newest heartbeat of a screen as the box took it, by the box's clock.

    ``page_old_ms``: since when its page is another than the box's, None while it is not.
    """

    at_ms: int
    data_ms: int
    clock_ahead_ms: int
    browser: str
    lacks: tuple[str, ...]
    is_painting: bool
    page_old_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What there is to judge a screen by at ``now_ms``.

    ``since_ms`` is when anything could first be heard of it: its pairing, or the daemon's start.
    ``opened_ms`` is since when its page is open, None while it is not.
    """

    now_ms: int
    since_ms: int
    seen_ms: int | None
    opened_ms: int | None
    heard: Heard | None
    error_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenHealth:
    """``troubles`` worst first, None while nothing can be said yet; () is well.

    ``error_ms`` is when ``error``, its last one, was told.
    """

    troubles: tuple[ScreenTrouble, ...] | None = None
    data_ms: int | None = None
    browser: str = ""
    lacks: tuple[str, ...] = field(default=())
    error: str = ""
    error_ms: int | None = None
    clock_ahead_ms: int = 0


NOT_KNOWN: Final = ScreenHealth()


def find_troubles(sight: Sight) -> tuple[ScreenTrouble, ...] | None:
    """Return what is not well, worst first; None before there was time to hear anything.

    None also of a screen that is there and shows another page, as a classroom's, not its card.
    """
    now_ms, heard = sight.now_ms, sight.heard
    if sight.opened_ms is None and (sight.seen_ms is None or now_ms - sight.seen_ms > SILENT_MS):
        is_silent = now_ms - max(sight.since_ms, sight.seen_ms or 0) > SILENT_MS
        return (ScreenTrouble.SILENT,) if is_silent else None
    if heard is None or now_ms - heard.at_ms > SILENT_MS:
        is_mute = sight.opened_ms is not None and now_ms - sight.opened_ms > SILENT_MS
        return (ScreenTrouble.DARK,) if is_mute else None
    old_ms, error_ms = heard.page_old_ms, sight.error_ms
    found = {
        ScreenTrouble.DARK: not heard.is_painting,
        ScreenTrouble.DATA_OLD: now_ms - heard.data_ms > DATA_OLD_MS,
        ScreenTrouble.PAGE_OLD: old_ms is not None and now_ms - old_ms > PAGE_OLD_MS,
        ScreenTrouble.BROWSER_OLD: bool(heard.lacks),
        ScreenTrouble.ERRORS: error_ms is not None and now_ms - error_ms <= ERROR_MS,
        ScreenTrouble.CLOCK_OFF: abs(heard.clock_ahead_ms) > CLOCK_OFF_MS,
    }
    return tuple(trouble for trouble, is_so in found.items() if is_so)


def worst(health: ScreenHealth) -> int:
    """Return a number to sort screens by: those that need somebody most come first."""
    ranks = list(ScreenTrouble)
    return min(map(ranks.index, health.troubles or ()), default=len(ranks))


def browser_name(user_agent: str) -> str:
    """Return a browser's engine and version as people say it, ``Chromium 83``; "" for others.

    The header itself (RFC 9110, §10.1.5) is not kept: it tells of a device what nobody asked.
    """
    for name, pattern in _BROWSERS:
        if found := pattern.search(user_agent[:512]):
            return f"{name} {found[1]}"
    return ""
