"""Alarms and drills from their first moment to the all-clear: what stands, and what may be done."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge.errors import NotNowError
from edge.safety.circuits import Effect
from sync.logs.oplog import Row

DRILL = "drill"
"""The kind of the alarm by which a drill begins."""
DRILL_MINUTES_MAX = 120
STEPS_MAX = 200
"""Of one incident, by the box itself: a contact that chatters does not fill the disk."""
DETAIL_CHARS_MAX = 300


class Step(StrEnum):
    """What was done about an incident, or happened to it."""

    RAISED = "raised"
    RESTORED = "restored"  # the input is at rest again
    AGAIN = "again"  # pressed again before the all-clear
    TROUBLE = "trouble"  # its device was lost meanwhile
    ACKNOWLEDGED = "acknowledged"
    REAL = "real"  # a person says that it is no drill
    SIREN_ON = "siren_on"
    SIREN_OFF = "siren_off"
    SIREN_FAILED = "siren_failed"
    CARDS_COVERED = "cards_covered"
    CARDS_LIFTED = "cards_lifted"
    # Steps of a drill, or of an evacuation, that a person marks.
    LEFT = "left"  # the last class left the building
    ASSEMBLED = "assembled"
    COUNTED = "counted"  # nobody is missing
    NOTE = "note"
    CLOSED = "closed"  # the all-clear


MARKED = (Step.LEFT, Step.ASSEMBLED, Step.COUNTED, Step.NOTE)
"""Steps that people mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One step; ``who`` is empty for the box itself."""

    step: Step
    at_ms: int
    who: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An alarm that was raised, or a drill.

    ``kind`` is a circuit's kind, or DRILL; ``steps`` begin with RAISED. ``is_durable``: it is on
    the disk. ``seen_ms``, ``seen_by``: the district's answer.
    """

    incident: str
    kind: str
    circuit: str
    place: str
    at_ms: int
    is_drill: bool
    steps: tuple[StepTaken, ...] = ()
    effects: frozenset[Effect] = frozenset()
    is_durable: bool = True
    seen_ms: int | None = None
    seen_by: str = ""

    def first(self, *steps: Step) -> StepTaken | None:
        return next((each for each in self.steps if each.step in steps), None)

    def last(self, *steps: Step) -> StepTaken | None:
        return next((each for each in reversed(self.steps) if each.step in steps), None)

    @property
    def is_acknowledged(self) -> bool:
        return self.first(Step.ACKNOWLEDGED) is not None

    @property
    def is_closed(self) -> bool:
        return self.first(Step.CLOSED) is not None

    @property
    def ends_ms(self) -> int | None:
        """When a drill that nobody ends counts no more, None for an alarm."""
        if self.kind != DRILL:
            return None
        raised = self.first(Step.RAISED)
        minutes, _, _ = (raised.detail if raised else "").partition(" ")
        lasts = int(minutes) if minutes.isascii() and minutes.isdigit() else DRILL_MINUTES_MAX
        return self.at_ms + min(lasts, DRILL_MINUTES_MAX) * 60_000


@dataclass(slots=True)
class Standing:
    """The incidents that no all-clear has ended, the oldest first. Pure.

    Methods change what stands and return the rows that say so; raise NotNowError otherwise.
    """

    incidents: dict[str, Incident] = field(default_factory=dict)

    def drill(self, now_ms: int) -> Incident | None:
        """Return the drill that is on."""
        for each in self.incidents.values():
            if each.ends_ms is not None and now_ms < each.ends_ms:
                return each
        return None

    def of_circuit(self, circuit: str) -> Incident | None:
        return next((each for each in self.incidents.values() if each.circuit == circuit), None)

    def begin(self, incident: Incident, device: str, detail: str = "", who: str = "") -> "Rows":
        """Take up a new incident; its name is its own for ever."""
        taken = StepTaken(step=Step.RAISED, at_ms=incident.at_ms, who=who, detail=detail)
        self.incidents[incident.incident] = replace(incident, steps=(taken,))
        return {
            "alarm": [alarm_row(incident, device)],
            "alarm_step": [step_row(incident.incident, taken)],
        }

    def note(
        self, name: str, step: Step, now_ms: int, *, who: str = "", detail: str = ""
    ) -> "Rows":
        """Add a step."""
        incident = self.of(name)
        if len(incident.steps) >= STEPS_MAX and not who and step is not Step.CLOSED:
            return {}
        taken = StepTaken(step=step, at_ms=now_ms, who=who, detail=detail[:DETAIL_CHARS_MAX])
        self.incidents[name] = replace(incident, steps=(*incident.steps, taken))
        return {"alarm_step": [step_row(name, taken)]}

    def acknowledge(self, name: str, who: str, now_ms: int) -> "Rows":
        """Note that a person takes care of it; sirens fall silent."""
        if self.of(name).is_acknowledged:
            raise NotNowError(f"{name} is acknowledged already")
        return self.note(name, Step.ACKNOWLEDGED, now_ms, who=who)

    def declare_real(self, name: str, device: str, who: str, now_ms: int) -> "Rows":
        """Make an alarm of a drill a real one: it is told anew as such."""
        incident = self.of(name)
        if not incident.is_drill or incident.kind == DRILL:
            raise NotNowError(f"{name} is no alarm of a drill")
        rows = self.note(name, Step.REAL, now_ms, who=who)
        self.incidents[name] = replace(self.incidents[name], is_drill=False)
        return {"alarm": [alarm_row(self.incidents[name], device)], **rows}

    def close(self, name: str, who: str, now_ms: int) -> tuple[Incident, "Rows"]:
        """End an incident that was acknowledged, or a drill; return it as it was."""
        incident = self.of(name)
        if incident.kind != DRILL and not incident.is_acknowledged:
            raise NotNowError(f"{name} is not acknowledged yet; acknowledge it first")
        rows = self.note(name, Step.CLOSED, now_ms, who=who)
        return self.incidents.pop(name), rows

    def settle(self, name: str) -> None:
        """Note that an incident is on the disk."""
        if name in self.incidents:
            self.incidents[name] = replace(self.incidents[name], is_durable=True)

    def answer(self, answers: Mapping[str, tuple[int, str]]) -> None:
        """Take the district's answers, by incident: when and who."""
        for name in answers.keys() & self.incidents.keys():
            seen_ms, seen_by = answers[name]
            self.incidents[name] = replace(self.incidents[name], seen_ms=seen_ms, seen_by=seen_by)

    def of(self, name: str) -> Incident:
        try:
            return self.incidents[name]
        except KeyError as error:
            raise NotNowError(f"{name} does not stand any more; reload the page") from error


Rows = dict[str, list[Row]]


def alarm_row(incident: Incident, device: str) -> Row:
    return {
        "at_ms": incident.at_ms,
        "device": device,
        "alarm": incident.kind,
        "place": incident.place,
        "drill": int(incident.is_drill),
        "incident": incident.incident,
        "circuit": incident.circuit or None,
    }


def step_row(incident: str, taken: StepTaken) -> Row:
    return {
        "at_ms": taken.at_ms,
        "incident": incident,
        "step": taken.step.value,
        "who": taken.who or None,
        "detail": taken.detail or None,
    }


def merged(*parts: Rows) -> Rows:
    """Return the rows of several changes, to be written in one transaction."""
    rows: Rows = {}
    for part in parts:
        for table, of_table in part.items():
            rows.setdefault(table, []).extend(of_table)
    return rows


def assemble(
    alarms: Iterable[Mapping[str, object]],
    steps: Iterable[Mapping[str, object]],
    effects: Mapping[str, frozenset[Effect]],
) -> list[Incident]:
    """Return incidents from rows of ``alarm`` and ``alarm_step``, the oldest first.

    ``effects`` are those of the circuits. An alarm told anew as real is one incident. Rows of steps
    that this version does not know are passed over.
    """
    taken: dict[str, list[StepTaken]] = {}
    for row in steps:
        try:
            step = Step(str(row["step"]))
        except ValueError:
            continue
        at_ms = row["at_ms"]
        assert isinstance(at_ms, int)
        taken.setdefault(str(row["incident"]), []).append(
            StepTaken(
                step=step,
                at_ms=at_ms,
                who=str(row["who"] or ""),
                detail=str(row["detail"] or ""),
            )
        )
    found: dict[str, Incident] = {}
    for row in alarms:
        name, circuit, at_ms = str(row["incident"]), str(row["circuit"] or ""), row["at_ms"]
        assert isinstance(at_ms, int)
        before = found.get(name)
        is_drill = bool(row["drill"]) and (before is None or before.is_drill)
        found[name] = Incident(
            incident=name,
            kind=str(row["alarm"] or ""),
            circuit=circuit,
            place=str(row["place"] or ""),
            at_ms=at_ms,
            is_drill=is_drill,
            steps=tuple(taken.get(name, ())),
            effects=effects.get(circuit, frozenset()),
        )
        if found[name].kind == DRILL:
            found[name] = replace(found[name], effects=_effects_of_drill(found[name]))
    return sorted(found.values(), key=lambda each: (each.at_ms, each.incident))


def _effects_of_drill(drill: Incident) -> frozenset[Effect]:
    """Read them from its first step, which says ``30 siren cards``."""
    raised = drill.first(Step.RAISED)
    words = raised.detail.split() if raised else []
    return frozenset(Effect(word) for word in words if word in set(Effect))
