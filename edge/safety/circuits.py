"""One input or output of the school's safety, and what its readings amount to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from drivers.entities import DeviceId
from edge.metering import Night

FIRST_WORD_S = 20.0
"""How long a circuit may say nothing after a start."""
SILENT_S = 6.0
"""Inputs are reported each second; one without a good reading for this long is in trouble."""
DIFFER_S = 1.0
"""How long the two contacts of a button may read alike while it moves."""
RESTORE_S = 0.5
"""How long an input must read at rest to count as restored."""
LONGEST_S_MAX = 1800


class CircuitKind(StrEnum):
    """What hangs at a circuit."""

    PANIC = "panic"
    FIRE = "fire"
    LEAK = "leak"
    DOOR = "door"  # an alarm only in its hours
    BELL = "bell"  # somebody rings: no alarm
    SIREN = "siren"  # an output
    CHIME = "chime"  # an output


class Effect(StrEnum):
    """What an input sets off."""

    SIREN = "siren"
    CHIME = "chime"
    CARDS = "cards"  # the class cards are covered


class CircuitState(StrEnum):
    """What a circuit is known to be."""

    UNKNOWN = "unknown"  # nothing was heard since the start
    NORMAL = "normal"
    ACTIVE = "active"  # it reads what means alarm; an output: it sounds
    TROUBLE = "trouble"  # it could not tell of an alarm


OUTPUTS = frozenset({CircuitKind.SIREN, CircuitKind.CHIME})
HOLD_S: Mapping[CircuitKind, float] = MappingProxyType(
    {CircuitKind.LEAK: 2.0, CircuitKind.DOOR: 0.5}
)
"""How long an input must read active; a button counts at its first reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """``active`` is the word of ``point`` that means alarm, or of a command that means on.

    ``partner`` is the button's other contact, which reads otherwise at all times. ``hours`` are
    those of a door, None for always; ``test_days`` how often a person tries it, 0 for never;
    ``longest_s`` how long an output sounds.
    """

    circuit: str
    kind: CircuitKind
    name: str
    room: str | None
    device: DeviceId
    point: str
    active: str
    partner: str | None = None
    hours: Night | None = None
    effects: frozenset[Effect] = frozenset()
    test_days: int = 0
    longest_s: int = 180

    @property
    def is_output(self) -> bool:
        return self.kind in OUTPUTS

    @property
    def points(self) -> tuple[str, ...]:
        return (self.point,) if self.partner is None else (self.point, self.partner)


@dataclass(slots=True)
class _Contact:
    word: str
    since: float
    since_ms: int
    good_at: float


@dataclass(slots=True)
class CircuitWatch:
    """Judges one input by its readings; moments are monotonic seconds, ``_ms`` Unix time.

    A cut wire, a dead device and a contact that contradicts its partner are trouble, never
    silence. While a button's contacts contradict each other, what the first one says still counts
    as an alarm: somebody may be pressing a damaged button.
    """

    circuit: Circuit
    started_at: float
    state: CircuitState = CircuitState.UNKNOWN
    since_ms: int = 0
    reason: str = ""
    _contacts: dict[str, _Contact] = field(default_factory=dict)
    _failure: str = ""
    _alike_since: float | None = None

    def read(self, point: str, word: str, now: float, now_ms: int) -> None:
        """Take a good reading of one of the circuit's points."""
        contact = self._contacts.get(point)
        if contact is None or contact.word != word:
            self._contacts[point] = _Contact(word, since=now, since_ms=now_ms, good_at=now)
        else:
            contact.good_at = now
        self._failure = ""

    def fail(self, reason: str) -> None:
        """Take note that a read failed or the device is gone; why, if it lasts, is shown."""
        self._failure = reason

    def judge(self, now: float, now_ms: int) -> bool:
        """Settle the state as of now; return whether it or its reason changed."""
        state, reason, since_ms = self._settle(now, now_ms)
        if (state, reason) == (self.state, self.reason):
            return False
        if state is not self.state:
            self.since_ms = since_ms
        self.state, self.reason = state, reason
        return True

    def _settle(self, now: float, now_ms: int) -> tuple[CircuitState, str, int]:
        silence = self._silence(now)
        if silence:
            return CircuitState.TROUBLE, silence, now_ms
        unchanged = (self.state, self.reason, self.since_ms)
        if any(point not in self._contacts for point in self.circuit.points):
            return unchanged
        contact, contradiction = self._contacts[self.circuit.point], self._contradiction(now)
        if contact.word == self.circuit.active:
            is_held = now - contact.since >= HOLD_S.get(self.circuit.kind, 0.0)
            return (CircuitState.ACTIVE, contradiction, contact.since_ms) if is_held else unchanged
        if contradiction:
            return CircuitState.TROUBLE, contradiction, now_ms
        if self.state is CircuitState.ACTIVE and now - contact.since < RESTORE_S:
            return unchanged
        return CircuitState.NORMAL, "", contact.since_ms

    def _silence(self, now: float) -> str:
        """Return why nothing is known of a point, once that has lasted."""
        for point in self.circuit.points:
            contact = self._contacts.get(point)
            since, most_s = (
                (self.started_at, FIRST_WORD_S) if contact is None else (contact.good_at, SILENT_S)
            )
            if now - since >= most_s:
                return self._failure or "nothing is heard from it"
        return ""

    def _contradiction(self, now: float) -> str:
        """Return what is wrong with the two contacts, once it has lasted."""
        if self.circuit.partner is None:
            return ""
        words = [self._contacts[point].word for point in self.circuit.points]
        if words[0] != words[1]:
            self._alike_since = None
            return ""
        if self._alike_since is None:
            self._alike_since = now
        if now - self._alike_since < DIFFER_S:
            return ""
        points = " and ".join(self.circuit.points)
        return f"both contacts read {words[0]}; check the wiring of {points}"
