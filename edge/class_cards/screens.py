"""Which screens belong to the school: paired by a code they show, known by a token, revocable."""

import hashlib
import hmac
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edge.books import Record
from edge.class_cards.screen_health import (
    NOT_KNOWN,
    Heard,
    Heartbeat,
    ScreenHealth,
    ScreenTrouble,
    Sight,
    find_troubles,
)
from edge.errors import BoxSetupError
from edge.pages.box_view import Change
from provisioning.durable_file import read_private, write_private
from sync.logs.oplog import Row

PAIRING_MS = 10 * 60_000
PAIRINGS_MAX = 64
PAIRINGS_PER_ADDRESS = 4
SCREENS_MAX = 256
NOTED_EVERY_MS = 60 * 60_000
"""How often the hub is told that a screen is still as it was."""
CHANGED_APART_MS = 10 * 60_000
"""How often it is told at most of one that changes again and again."""
CODE_DIGITS = 6
VERSION_CHARS_MAX = 32


class PairingError(Exception):
    """A screen cannot be paired; the message says fact and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTaps:
    """Cards read at a screen that count for nobody, in all since its browser is in use.

    ``full``: it could not keep them; ``too_old``: the box refused them.
    """

    full: int = 0
    too_old: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One paired screen; ``seen_ms`` is when it last spoke, None before that."""

    screen: str
    room: str
    name: str
    paired_ms: int
    seen_ms: int | None = None
    version: str = ""
    is_open: bool = False
    lost: LostTaps = LostTaps()
    health: ScreenHealth = NOT_KNOWN


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token_digest: str
    room: str
    name: str
    paired_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the hub was last told of a screen, and when, by the box's clock."""

    at_ms: int
    seen_ms: int
    version: str
    health: ScreenHealth

    def is_as(self, version: str, health: ScreenHealth) -> bool:
        """Whether that is still so; moments and amounts alone are no news."""
        mine = self.health
        return (self.version, mine.troubles, mine.browser, mine.lacks, mine.error) == (
            version,
            health.troubles,
            health.browser,
            health.lacks,
            health.error,
        )


@dataclass(slots=True, kw_only=True)
class _Pairing:
    code: str
    address: str
    until_ms: int
    token: str | None = None


class Screens:
    """Pairs screens and recognises them; one 0600 file holds hashes of their tokens.

    ``draw`` returns a fresh secret of at least 128 bits, in signs that fit a cookie. Call on the
    event loop's thread.
    """

    def __init__(
        self,
        path: Path,
        record: Record,
        now_ms: Callable[[], int],
        draw: Callable[[], str],
        changed: Callable[[Change], None],
    ) -> None:
        self._path = path
        self._record = record
        self._now_ms = now_ms
        self._draw = draw
        self._changed = changed
        self._kept = _read(path) if path.exists() else {}
        self._by_token = {kept.token_digest: name for name, kept in self._kept.items()}
        self._pairings: OrderedDict[str, _Pairing] = OrderedDict()
        self._seen: dict[str, tuple[int, str]] = {}
        self._told: dict[str, Told] = {}
        self._heard: dict[str, Heard] = {}
        self._errors: dict[str, tuple[str, int]] = {}
        self._lost: dict[str, LostTaps] = {}
        self._open: Counter[str] = Counter()
        self._opened_ms: dict[str, int] = {}
        self._since_ms = now_ms()

    def remember(self, told: Mapping[str, Told]) -> None:
        """Take up what the hub was told before the daemon's start."""
        for screen, before in told.items():
            if screen in self._kept:
                self._told[screen] = before
                self._seen[screen] = (before.seen_ms, before.version)
                if before.health.error and before.health.error_ms is not None:
                    self._errors[screen] = (before.health.error, before.health.error_ms)

    def begin(self, address: str) -> str:
        """Return the secret of a new pairing; raises PairingError when too many are under way."""
        self._drop_old_pairings()
        own = sum(each.address == address for each in self._pairings.values())
        if own >= PAIRINGS_PER_ADDRESS or len(self._pairings) >= PAIRINGS_MAX:
            raise PairingError("too many screens wait to be paired; try again in ten minutes")
        secret = self._draw()
        taken = {each.code for each in self._pairings.values()}
        while (code := _digits(self._draw())) in taken:
            pass
        self._pairings[secret] = _Pairing(
            code=code, address=address, until_ms=self._now_ms() + PAIRING_MS
        )
        return secret

    def code_of(self, secret: str) -> str | None:
        """Return the code a screen shows, None once its pairing is over."""
        self._drop_old_pairings()
        pairing = self._pairings.get(secret)
        return pairing.code if pairing else None

    def collect(self, secret: str) -> str | None:
        """Return the token of a pairing that a person has confirmed, once."""
        pairing = self._pairings.get(secret)
        if pairing is None or pairing.token is None:
            return None
        del self._pairings[secret]
        return pairing.token

    async def pair(self, code: str, *, room: str, name: str, who: str) -> Screen:
        """Confirm the screen that shows ``code``; raises PairingError when none does."""
        self._drop_old_pairings()
        pairing = next(
            (
                each
                for each in self._pairings.values()
                if each.token is None and hmac.compare_digest(each.code, code)
            ),
            None,
        )
        if pairing is None:
            raise PairingError("no screen shows this code; codes change after ten minutes")
        if len(self._kept) >= SCREENS_MAX:
            raise PairingError(f"{SCREENS_MAX} screens are paired; revoke one first")
        token, screen, now_ms = self._draw(), f"screen-{_digits(self._draw())}", self._now_ms()
        while screen in self._kept:
            screen = f"screen-{_digits(self._draw())}"
        kept = _Kept(token_digest=_digest(token), room=room, name=name, paired_ms=now_ms)
        self._keep({**self._kept, screen: kept})
        pairing.token = token
        shown = self._shown(screen, kept)
        await self._tell([shown], _audit(now_ms, who, "pair screen", screen))
        self._changed(Change.RECEIPTS)
        return shown

    async def revoke(self, screen: str, who: str) -> None:
        """Forget a screen; its token opens nothing any more. An unknown one is no error."""
        if screen not in self._kept:
            return
        self._keep({name: kept for name, kept in self._kept.items() if name != screen})
        for known in (self._seen, self._told, self._heard, self._errors, self._lost):
            known.pop(screen, None)
        await self._record(
            {
                "card_screen": [{"screen": screen, "deleted": 1}],
                "audit_entry": [_audit(self._now_ms(), who, "revoke screen", screen)],
            }
        )
        self._changed(Change.RECEIPTS)

    def find(self, token: str) -> Screen | None:
        """Return the screen that holds a token."""
        name = self._by_token.get(_digest(token)) if token else None
        return self._shown(name, self._kept[name]) if name else None

    def all(self) -> list[Screen]:
        shown = [self._shown(name, kept) for name, kept in self._kept.items()]
        return sorted(shown, key=lambda screen: (screen.room, screen.name, screen.screen))

    def note_seen(self, screen: str, version: str) -> None:
        if screen in self._kept:
            self._seen[screen] = (self._now_ms(), version[:VERSION_CHARS_MAX])

    def note_health(self, screen: str, said: Heartbeat, browser: str, *, is_page_old: bool) -> None:
        """Note what a screen's page says of itself; ``is_page_old`` of its version."""
        if screen not in self._kept:
            return
        now_ms = self._now_ms()
        before = self._heard.get(screen)
        old_ms = before.page_old_ms if before else None
        self._heard[screen] = Heard(
            at_ms=now_ms,
            data_ms=min(said.data_ms, now_ms),
            clock_ahead_ms=said.clock_ms - now_ms,
            browser=browser,
            lacks=tuple(said.lacks),
            is_painting=said.is_painting,
            page_old_ms=(now_ms if old_ms is None else old_ms) if is_page_old else None,
        )
        if said.error is not None:
            self._errors[screen] = (said.error, now_ms)
        self.note_seen(screen, said.version)

    async def note_lost(self, screen: str, lost: LostTaps) -> None:
        """Note what a screen says of its lost taps; it says so again with every delivery."""
        if screen not in self._kept or self._lost.get(screen, LostTaps()) == lost:
            return
        self._lost[screen] = lost
        subject = f"{screen}:full={lost.full}:too_old={lost.too_old}"
        audit = _audit(self._now_ms(), screen, "lose taps", subject)
        await self._record({"audit_entry": [audit]})
        self._changed(Change.RECEIPTS)

    @contextmanager
    def opened(self, screen: str, version: str) -> Iterator[None]:
        """Count a screen as open for the time of the block."""
        self.note_seen(screen, version)
        if not self._open[screen]:
            self._opened_ms[screen] = self._now_ms()
        self._open[screen] += 1
        try:
            yield
        finally:
            self._open[screen] -= 1
            self.note_seen(screen, version)

    async def note_due(self) -> None:
        """Write down for the hub how screens are: what changed soon, what did not now and then."""
        for screen in self._kept:
            if self._open[screen] > 0:
                self.note_seen(screen, self._seen[screen][1])
        now = [self._shown(screen, kept) for screen, kept in self._kept.items()]
        await self._tell([screen for screen in now if self._is_due(screen)])

    def _is_due(self, now: Screen) -> bool:
        told = self._told.get(now.screen)
        if told is None:
            return now.seen_ms is not None
        if now.health.troubles is not None and not told.is_as(now.version, now.health):
            is_apart = self._now_ms() - told.at_ms >= CHANGED_APART_MS
            return is_apart or told.health.troubles is None
        return self._turn(now.seen_ms or 0) > self._turn(told.seen_ms)

    def _turn(self, at_ms: int) -> int:
        """Return a number that rises now and then, for all screens at once: they share a segment.

        Not on the hour, as every box would then call at the same time.
        """
        return max(0, at_ms - self._since_ms) // NOTED_EVERY_MS

    async def _tell(self, screens: Sequence[Screen], *audit: Row) -> None:
        if not screens:
            return
        rows = [_row(screen) for screen in screens]
        await self._record({"card_screen": rows, "audit_entry": list(audit)})
        now_ms = self._now_ms()
        for screen in screens:
            self._told[screen.screen] = Told(
                at_ms=now_ms,
                seen_ms=screen.paired_ms if screen.seen_ms is None else screen.seen_ms,
                version=screen.version,
                health=screen.health,
            )

    def _keep(self, screens: dict[str, _Kept]) -> None:
        write_private(self._path, msgspec.json.encode(screens))
        self._kept = screens
        self._by_token = {kept.token_digest: name for name, kept in screens.items()}

    def _shown(self, name: str, kept: _Kept) -> Screen:
        seen_ms, version = self._seen.get(name, (None, ""))
        return Screen(
            screen=name,
            room=kept.room,
            name=kept.name,
            paired_ms=kept.paired_ms,
            seen_ms=seen_ms,
            version=version,
            is_open=self._open[name] > 0,
            lost=self._lost.get(name, LostTaps()),
            health=self._health(name, kept, seen_ms),
        )

    def _health(self, name: str, kept: _Kept, seen_ms: int | None) -> ScreenHealth:
        now_ms, heard = self._now_ms(), self._heard.get(name)
        error, error_ms = self._errors.get(name, ("", None))
        troubles = find_troubles(
            Sight(
                now_ms=now_ms,
                since_ms=max(self._since_ms, kept.paired_ms),
                seen_ms=now_ms if self._open[name] else seen_ms,
                opened_ms=self._opened_ms[name] if self._open[name] else None,
                heard=heard,
                error_ms=error_ms,
            )
        )
        before = NOT_KNOWN if heard or name not in self._told else self._told[name].health
        return replace(
            before if heard is None else _told_by(heard),
            troubles=troubles,
            error=error,
            error_ms=error_ms,
        )

    def _drop_old_pairings(self) -> None:
        now_ms = self._now_ms()
        for secret in [key for key, each in self._pairings.items() if each.until_ms <= now_ms]:
            del self._pairings[secret]


def read_told(connection: sqlite3.Connection, school: int) -> dict[str, Told]:
    """Return what the hub was last told of each screen; not who was only paired."""
    rows = connection.execute(
        "SELECT screen, seen_ms, coalesce(version, ''), trouble, data_ms, coalesce(browser, ''),"
        " coalesce(lacks, ''), coalesce(error, ''), error_ms, coalesce(clock_ahead_s, 0)"
        " FROM card_screen WHERE school = ? AND deleted = 0 AND trouble IS NOT NULL LIMIT ?",
        (school, SCREENS_MAX),
    )
    known = frozenset(ScreenTrouble)
    return {
        row[0]: Told(
            at_ms=row[1],
            seen_ms=row[1],
            version=row[2],
            health=ScreenHealth(
                # A newer box's words, on one that was set back.
                troubles=tuple(ScreenTrouble(each) for each in row[3].split() if each in known),
                data_ms=row[4],
                browser=row[5],
                lacks=tuple(row[6].split()),
                error=row[7],
                error_ms=row[8],
                clock_ahead_ms=row[9] * 1_000,
            ),
        )
        for row in rows
    }


def _row(screen: Screen) -> Row:
    health = screen.health
    return {
        "screen": screen.screen,
        "room": screen.room,
        "seen_ms": screen.paired_ms if screen.seen_ms is None else screen.seen_ms,
        "version": screen.version or None,
        "name": screen.name,
        "paired_ms": screen.paired_ms,
        "trouble": None if health.troubles is None else " ".join(health.troubles),
        "data_ms": health.data_ms,
        "browser": health.browser or None,
        "lacks": " ".join(health.lacks) or None,
        "error": health.error or None,
        "error_ms": health.error_ms,
        "clock_ahead_s": round(health.clock_ahead_ms / 1_000),
    }


def _told_by(heard: Heard) -> ScreenHealth:
    return ScreenHealth(
        data_ms=heard.data_ms,
        browser=heard.browser,
        lacks=heard.lacks,
        clock_ahead_ms=heard.clock_ahead_ms,
    )


def _audit(at_ms: int, who: str, action: str, subject: str) -> Row:
    return {"at_ms": at_ms, "who": who, "action": action, "subject": subject}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _digits(secret: str) -> str:
    return f"{int(_digest(secret), 16) % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def _read(path: Path) -> dict[str, _Kept]:
    try:
        return msgspec.json.decode(read_private(path), type=dict[str, _Kept])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"{path}: {error}; restore it, or move it away and pair the class cards again"
        ) from error
