"""Every circuit of the school: watched, tried by people, shown."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from drivers.entities import DeviceEvent, DeviceId, Measurement, Presence, Quality
from edge.errors import NotNowError
from edge.safety.circuits import Circuit, CircuitState, CircuitWatch
from edge.safety.safety_rows import Tested
from sync.logs.oplog import Row

TEST_MINUTES_MAX = 30
DAY_MS = 24 * 3_600_000
IN_TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitView:
    """A circuit as it is shown; ``is_due``: a person ought to try it again."""

    circuit: Circuit
    state: CircuitState
    since_ms: int
    reason: str
    tested: Tested | None
    is_due: bool
    is_in_test: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An input, or what is known of it, became otherwise."""

    circuit: Circuit
    state: CircuitState
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    until: float
    who: str


class CircuitBoard:
    """Judges readings by circuit; ``now`` is monotonic seconds, ``now_ms`` Unix time."""

    def __init__(self, zone: tzinfo, is_clock_known: Callable[[], bool]) -> None:
        self._zone = zone
        self._is_clock_known = is_clock_known
        self._circuits: dict[str, Circuit] = {}
        self._watches: dict[str, CircuitWatch] = {}
        self._by_point: dict[tuple[DeviceId, str], list[CircuitWatch]] = {}
        self._tested: dict[str, Tested] = {}
        self._trials: dict[str, _Trial] = {}

    @property
    def circuits(self) -> list[Circuit]:
        """All circuits, by name."""
        return sorted(self._circuits.values(), key=lambda each: (each.name, each.circuit))

    def get(self, name: str) -> Circuit | None:
        return self._circuits.get(name)

    def load(self, circuits: Iterable[Circuit], tested: Mapping[str, Tested], now: float) -> None:
        """Begin anew with these."""
        self._circuits, self._watches, self._trials = {}, {}, {}
        self._tested = dict(tested)
        for circuit in circuits:
            self.put(circuit, now)

    def put(self, circuit: Circuit, now: float) -> None:
        self._circuits[circuit.circuit] = circuit
        self._watches.pop(circuit.circuit, None)
        if not circuit.is_output:
            self._watches[circuit.circuit] = CircuitWatch(circuit, now)
        self._index()

    def drop(self, name: str) -> None:
        for table in (self._circuits, self._watches, self._trials, self._tested):
            table.pop(name, None)
        self._index()

    def take(self, event: DeviceEvent, now: float, now_ms: int) -> list[Turn]:
        """Hear what a device reports; return what that turned."""
        watches: list[CircuitWatch] = []
        match event:
            case Measurement():
                watches = self._by_point.get((event.device, event.point), [])
                for watch in watches:
                    if event.quality is Quality.BAD or not isinstance(event.value, str):
                        watch.fail(event.reason or "it has no value")
                    else:
                        watch.read(event.point, event.value, now, event.observed_ms)
            case Presence(online=False):
                watches = [w for w in self._watches.values() if w.circuit.device == event.device]
                for watch in watches:
                    watch.fail(event.reason)
            case _:
                pass
        return _turned(watches, now, now_ms)

    def look(self, now: float, now_ms: int) -> list[Turn]:
        """Return what turned by time alone."""
        return _turned(self._watches.values(), now, now_ms)

    def active(self) -> list[Turn]:
        """Return the inputs that read active now."""
        return [_turn(w) for w in self._watches.values() if w.state is CircuitState.ACTIVE]

    def state(self, name: str) -> CircuitState:
        watch = self._watches.get(name)
        return watch.state if watch else CircuitState.UNKNOWN

    def is_guarded(self, circuit: Circuit, now_ms: int) -> bool:
        """Tell whether an input counts at this hour; a clock that is not known guards."""
        if circuit.hours is None or not self._is_clock_known():
            return True
        local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(self._zone)
        return circuit.hours.contains(local.hour * 60 + local.minute)

    def begin_trial(self, names: Iterable[str], until: float, who: str) -> list[str]:
        """Let inputs be tried; return those that are; raises NotNowError when none is."""
        chosen = [name for name in names if name in self._watches]
        if not chosen:
            raise NotNowError("none of these circuits is an input that is watched")
        for name in chosen:
            self._trials[name] = _Trial(until=until, who=who)
        return chosen

    def end_trial(self, name: str) -> str | None:
        """End an input's trial; return who tries it, None when nobody does."""
        trial = self._trials.pop(name, None)
        return trial.who if trial else None

    def end_old_trials(self, now: float) -> list[str]:
        """End trials whose time is over; return their circuits."""
        over = [name for name, trial in self._trials.items() if trial.until <= now]
        for name in over:
            del self._trials[name]
        return over

    def note_tested(self, name: str, who: str, now_ms: int) -> None:
        self._tested[name] = Tested(at_ms=now_ms, who=who)

    def views(self, now_ms: int) -> list[CircuitView]:
        return [self._view(circuit, now_ms) for circuit in self.circuits]

    def state_row(self, name: str, now_ms: int) -> Row:
        """Return what the hub is told of a circuit: normal, trouble or test.

        That a door stands open or a button is pressed is told by other rows.
        """
        watch, tested = self._watches.get(name), self._tested.get(name)
        is_troubled = watch is not None and watch.state is CircuitState.TROUBLE
        state = CircuitState.TROUBLE if is_troubled else CircuitState.NORMAL
        return {
            "circuit": name,
            "state": IN_TEST if name in self._trials else state.value,
            "since_ms": watch.since_ms if watch is not None and is_troubled else now_ms,
            "reason": (watch.reason or None) if watch is not None and is_troubled else None,
            "tested_ms": tested.at_ms if tested else None,
            "tested_by": tested.who if tested else None,
        }

    def _view(self, circuit: Circuit, now_ms: int) -> CircuitView:
        name = circuit.circuit
        watch, tested = self._watches.get(name), self._tested.get(name)
        is_old = tested is None or now_ms - tested.at_ms > circuit.test_days * DAY_MS
        return CircuitView(
            circuit=circuit,
            state=watch.state if watch else CircuitState.UNKNOWN,
            since_ms=watch.since_ms if watch else 0,
            reason=watch.reason if watch else "",
            tested=tested,
            is_due=circuit.test_days > 0 and is_old,
            is_in_test=name in self._trials,
        )

    def _index(self) -> None:
        self._by_point.clear()
        for watch in self._watches.values():
            for point in watch.circuit.points:
                self._by_point.setdefault((watch.circuit.device, point), []).append(watch)


def _turned(watches: Iterable[CircuitWatch], now: float, now_ms: int) -> list[Turn]:
    return [_turn(watch) for watch in watches if watch.judge(now, now_ms)]


def _turn(watch: CircuitWatch) -> Turn:
    return Turn(
        circuit=watch.circuit, state=watch.state, since_ms=watch.since_ms, reason=watch.reason
    )
