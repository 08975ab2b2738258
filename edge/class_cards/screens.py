"""Which screens belong to the school: paired by a code they show, known by a token, revocable."""

import hashlib
import hmac
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edge.books import Record
from edge.errors import BoxSetupError
from edge.pages.box_view import Change
from provisioning.durable_file import read_private, write_private
from sync.logs.oplog import Row

PAIRING_MS = 10 * 60_000
PAIRINGS_MAX = 64
PAIRINGS_PER_ADDRESS = 4
SCREENS_MAX = 256
NOTED_EVERY_MS = 15 * 60_000
"""How often the hub is told that a screen is there."""
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


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token_digest: str
    room: str
    name: str
    paired_ms: int


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
        self._noted: dict[str, tuple[int, str]] = {}
        self._lost: dict[str, LostTaps] = {}
        self._open: Counter[str] = Counter()

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
        await self._tell(screen, kept, now_ms, "", _audit(now_ms, who, "pair screen", screen))
        self._changed(Change.RECEIPTS)
        return self._shown(screen, kept)

    async def revoke(self, screen: str, who: str) -> None:
        """Forget a screen; its token opens nothing any more. An unknown one is no error."""
        if screen not in self._kept:
            return
        self._keep({name: kept for name, kept in self._kept.items() if name != screen})
        self._seen.pop(screen, None)
        self._noted.pop(screen, None)
        self._lost.pop(screen, None)
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
        self._open[screen] += 1
        try:
            yield
        finally:
            self._open[screen] -= 1
            self.note_seen(screen, version)

    async def note_due(self) -> None:
        """Write down for the hub who was seen: a new version at once, else now and then."""
        for screen, kept in list(self._kept.items()):
            if screen not in self._seen:
                continue
            if self._open[screen] > 0:
                self.note_seen(screen, self._seen[screen][1])
            seen_ms, version = self._seen[screen]
            noted_ms, noted = self._noted.get(screen, (0, None))
            if version != noted or seen_ms - noted_ms >= NOTED_EVERY_MS:
                await self._tell(screen, kept, seen_ms, version)

    async def _tell(
        self, screen: str, kept: _Kept, seen_ms: int, version: str, *audit: Row
    ) -> None:
        row: Row = {
            "screen": screen,
            "room": kept.room,
            "seen_ms": seen_ms,
            "version": version or None,
            "name": kept.name,
            "paired_ms": kept.paired_ms,
        }
        await self._record({"card_screen": [row], "audit_entry": list(audit)})
        self._noted[screen] = (seen_ms, version)

    def _keep(self, screens: dict[str, _Kept]) -> None:
        write_private(self._path, msgspec.json.encode(screens))
        self._kept = screens
        self._by_token = {kept.token_digest: name for name, kept in screens.items()}

    def _shown(self, name: str, kept: _Kept) -> Screen:
        screen = Screen(
            screen=name,
            room=kept.room,
            name=kept.name,
            paired_ms=kept.paired_ms,
            lost=self._lost.get(name, LostTaps()),
        )
        if name not in self._seen:
            return screen
        seen_ms, version = self._seen[name]
        return replace(screen, seen_ms=seen_ms, version=version, is_open=self._open[name] > 0)

    def _drop_old_pairings(self) -> None:
        now_ms = self._now_ms()
        for secret in [key for key, each in self._pairings.items() if each.until_ms <= now_ms]:
            del self._pairings[secret]


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
