"""Which outputs are to sound now, and how long still. Pure; moments are monotonic seconds."""

from collections.abc import Iterable

from edge.safety.circuits import Circuit, CircuitKind, Effect
from edge.safety.incidents import Incident

TONE_S = 1.5
"""How long an output that is tried sounds."""


class Sounding:
    """Counts from when each incident was raised and each bell rung."""

    def __init__(self) -> None:
        self._raised: dict[str, float] = {}
        self._rung: dict[str, float] = {}
        self._tried_until: dict[str, float] = {}

    def begin(self, incident: str, now: float) -> None:
        self._raised[incident] = now

    def end(self, incident: str) -> None:
        self._raised.pop(incident, None)

    def ring(self, bell: str, now: float) -> None:
        self._rung[bell] = now

    def try_for_a_moment(self, output: Circuit, now: float) -> None:
        self._tried_until[output.circuit] = now + TONE_S

    def wanted(
        self, circuits: Iterable[Circuit], incidents: Iterable[Incident], now: float
    ) -> set[str]:
        """Return the outputs that are to sound.

        A siren does for an incident that nobody acknowledged, a chime for a bell, each no longer
        than its circuit says.
        """
        known = list(circuits)
        alarm_s = min(
            (
                now - self._raised.get(each.incident, now)
                for each in incidents
                if Effect.SIREN in each.effects and not each.is_acknowledged
            ),
            default=None,
        )
        chimes = {each.circuit for each in known if Effect.CHIME in each.effects}
        bell_s = min((now - at for bell, at in self._rung.items() if bell in chimes), default=None)
        ages = {CircuitKind.SIREN: alarm_s, CircuitKind.CHIME: bell_s}
        wanted = {name for name, until in self._tried_until.items() if now < until}
        for each in known:
            age_s = ages.get(each.kind)
            if age_s is not None and age_s < each.longest_s:
                wanted.add(each.circuit)
        return wanted & {each.circuit for each in known if each.is_output}
