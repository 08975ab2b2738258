"""What the safety page's forms may say."""

from typing import Annotated

import msgspec

from drivers.entities import DeviceId
from edge.metering import parse_night
from edge.pages.actions import ActionError, Identity, Name, Word
from edge.safety.circuit_board import TEST_MINUTES_MAX
from edge.safety.circuits import LONGEST_S_MAX, Circuit, CircuitKind, Effect
from edge.safety.incidents import DETAIL_CHARS_MAX, DRILL_MINUTES_MAX, Step

Place = Annotated[str, msgspec.Meta(max_length=330, pattern=r"\A[a-z0-9_-]{1,64} [^\x00-\x1f]+\Z")]
"""A point or command and its device, as a choice of the form carries them."""
Hours = Annotated[
    str,
    msgspec.Meta(pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]\Z"),
]
Flag = Annotated[str, msgspec.Meta(pattern=r"\A1\Z")]


class OfIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    incident: Identity
    who: Name


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    incident: Identity
    who: Name
    step: Step
    detail: Annotated[str, msgspec.Meta(max_length=DETAIL_CHARS_MAX)] | None = None


class BeginDrill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    place: Name
    who: Name
    minutes: Annotated[int, msgspec.Meta(ge=1, le=DRILL_MINUTES_MAX)]
    siren: Flag | None = None
    cards: Flag | None = None

    @property
    def effects(self) -> frozenset[Effect]:
        return _effects(siren=self.siren, cards=self.cards)


class BeginTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``circuit``: one of them, else all inputs."""

    who: Name
    minutes: Annotated[int, msgspec.Meta(ge=1, le=TEST_MINUTES_MAX)]
    circuit: Identity | None = None


class OfCircuit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    circuit: Identity
    who: Name | None = None


class WatchCircuit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: CircuitKind
    name: Name
    place: Place
    active: Word
    partner: Place | None = None
    room: Word | None = None
    hours: Hours | None = None
    siren: Flag | None = None
    chime: Flag | None = None
    cards: Flag | None = None
    test_days: Annotated[int, msgspec.Meta(ge=0, le=400)] = 0
    longest_s: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_S_MAX)] = 180

    def circuit(self) -> Circuit:
        """Return the circuit; its point is its identity. Raises ActionError."""
        point, _, device = self.place.partition(" ")
        partner, _, other = (self.partner or "").partition(" ")
        if partner and other != device:
            raise ActionError(400, "invalid", "both contacts of a button hang at one device")
        return Circuit(
            circuit=f"{device}/{point}",
            kind=self.kind,
            name=self.name,
            room=self.room,
            device=DeviceId(device),
            point=point,
            active=self.active,
            partner=partner or None,
            hours=parse_night(self.hours) if self.hours else None,
            effects=_effects(siren=self.siren, chime=self.chime, cards=self.cards),
            test_days=self.test_days,
            longest_s=self.longest_s,
        )


def _effects(**flags: str | None) -> frozenset[Effect]:
    return frozenset(Effect(name) for name, flag in flags.items() if flag)
