"""The words of alarms, circuits and drills in the reader's language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.safety.circuits import CircuitKind, CircuitState, Effect
from edge.safety.incidents import DRILL, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyWords:
    kinds: Mapping[str, str]  # of circuits and incidents
    states: Mapping[CircuitState, str]
    effects: Mapping[Effect, str]
    steps: Mapping[Step, str]


def safety_words(_: Callable[[str], str]) -> SafetyWords:
    """Translate every word; ``_`` is a catalogue's gettext."""
    return SafetyWords(
        kinds={
            CircuitKind.PANIC: _("panic button"),
            CircuitKind.FIRE: _("fire detector"),
            CircuitKind.LEAK: _("water or gas detector"),
            CircuitKind.DOOR: _("door contact"),
            CircuitKind.BELL: _("bell button"),
            CircuitKind.SIREN: _("siren"),
            CircuitKind.CHIME: _("chime"),
            DRILL: _("drill"),
        },
        states={
            CircuitState.UNKNOWN: _("not heard yet"),
            CircuitState.NORMAL: _("at rest"),
            CircuitState.ACTIVE: _("active"),
            CircuitState.TROUBLE: _("trouble"),
        },
        effects={
            Effect.SIREN: _("sound the sirens"),
            Effect.CHIME: _("ring the chimes"),
            Effect.CARDS: _("cover the class cards"),
        },
        steps={
            Step.RAISED: _("raised"),
            Step.RESTORED: _("at rest again"),
            Step.AGAIN: _("active again"),
            Step.TROUBLE: _("its line was lost"),
            Step.ACKNOWLEDGED: _("taken over"),
            Step.REAL: _("declared real"),
            Step.SIREN_ON: _("siren on"),
            Step.SIREN_OFF: _("siren off"),
            Step.SIREN_FAILED: _("siren not switched"),
            Step.CARDS_COVERED: _("class cards covered"),
            Step.CARDS_LIFTED: _("class cards free again"),
            Step.LEFT: _("building empty"),
            Step.ASSEMBLED: _("assembled"),
            Step.COUNTED: _("counted, nobody missing"),
            Step.NOTE: _("note"),
            Step.CLOSED: _("all-clear"),
        },
    )
