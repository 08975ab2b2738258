"""The school's safety: from an input's reading to an alarm that a person ends, and its drills.

What happens is on the disk before it is shown or sounds; a disk that refuses delays it for two
seconds at most.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Never

from drivers.entities import DeviceEvent, DeviceId, NowMs, Presence
from drivers.errors import SetupError
from edge.books import Books, Connect, Record
from edge.devices.fleet import Fleet
from edge.errors import NotNowError
from edge.pages.box_view import Change
from edge.safety.card_covers import CardCovers
from edge.safety.circuit_board import TEST_MINUTES_MAX, CircuitBoard, CircuitView, Turn
from edge.safety.circuits import Circuit, CircuitKind, CircuitState, Effect
from edge.safety.incidents import (
    DRILL,
    DRILL_MINUTES_MAX,
    MARKED,
    Incident,
    Rows,
    Standing,
    Step,
    merged,
)
from edge.safety.outputs import Outputs
from edge.safety.safety_rows import Kept, circuit_row, read_answers, read_kept
from edge.safety.sounding import Sounding

_log = logging.getLogger(__name__)

TICK_S = 0.5
CIRCUITS_MAX = 256
TURNS_MAX = 4_096


class SafetyOffice:
    """Owns circuits, incidents and drills; :meth:`take` hears devices, :meth:`run` acts.

    Call on the event loop's thread. What people ask raises NotNowError, or SetupError for a
    circuit that cannot be.
    """

    def __init__(
        self,
        school: int,
        record: Record,
        connect: Connect,
        fleet: Fleet,
        covers: CardCovers,
        board: CircuitBoard,
        *,
        now_ms: NowMs,
        changed: Callable[[Change], None],
    ) -> None:
        self.board = board
        self.outputs = Outputs(fleet, self._note_output)
        self._school = school
        self._books = Books(record)
        self._connect = connect
        self._fleet = fleet
        self._covers = covers
        self._now_ms = now_ms
        self._changed = changed
        self._standing = Standing()
        self._sounding = Sounding()
        self._late: set[str] = set()
        self._drill_until: float | None = None
        self._handled: set[str] = set()
        self._turns: deque[Turn] = deque(maxlen=TURNS_MAX)
        self._wake = asyncio.Event()
        self._answers_due = False

    @property
    def is_behind(self) -> bool:
        """Whether something that happened waits for the disk."""
        return self._books.is_behind

    def circuits(self) -> list[CircuitView]:
        return self.board.views(self._now_ms())

    def inputs_of(self, device: DeviceId) -> dict[str, tuple[str, ...]]:
        """Return a device's inputs with what each may read; SetupError when it is not adopted."""
        return {
            point.id: tuple(dict.fromkeys(point.enum.values()))
            for point in self._fleet.profile_of(device).points
            if point.capability == "input"
        }

    def incidents(self) -> list[Incident]:
        """Return what stands and may be shown, what nobody has taken over first; drills last."""
        standing = self._standing.incidents.values()
        return sorted(
            (each for each in standing if each.is_durable or each.incident in self._late),
            key=lambda each: (each.is_drill, each.is_acknowledged, -each.at_ms),
        )

    def drill(self) -> Incident | None:
        """Return the drill that is on; a clock that is set back makes it no longer."""
        if self._drill_until is not None and _now() >= self._drill_until:
            return None
        return self._standing.drill(self._now_ms())

    async def load(self) -> None:
        """Take up what the store holds: what stood before a restart stands again."""
        kept = await asyncio.to_thread(self._read_kept)
        now, now_ms = _now(), self._now_ms()
        self.board.load(kept.circuits, kept.tested, now)
        self._standing = Standing({each.incident: each for each in kept.standing})
        for each in kept.standing:
            self._sounding.begin(each.incident, now - max(0, now_ms - each.at_ms) / 1000)
            if each.ends_ms is not None:
                left_ms = min(each.ends_ms - max(now_ms, each.at_ms), DRILL_MINUTES_MAX * 60_000)
                self._drill_until = now + left_ms / 1000
        self._changed(Change.SAFETY)

    def take(self, event: DeviceEvent) -> None:
        """Hear what a device reports; never blocks."""
        if isinstance(event, Presence) and not event.online:
            self.outputs.note_lost(
                each
                for each in self.board.circuits
                if each.is_output and each.device == event.device
            )
        self._note_turns(self.board.take(event, _now(), self._now_ms()))

    async def run(self) -> Never:
        """Raise, sound and cover until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._books.run())
            tasks.create_task(self._keep_outputs())
            tasks.create_task(self._keep_covers())
            while True:
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
                await self._attend()
        raise AssertionError("the safety office's tasks run until they are cancelled")

    async def flush(self) -> None:
        """Write what waits, at the end."""
        await self._books.flush()

    async def add(self, circuit: Circuit, who: str) -> None:
        """Watch one more circuit, or one anew; raises SetupError when it cannot be."""
        known = self.board.get(circuit.circuit)
        if known is None and len(self.board.circuits) >= CIRCUITS_MAX:
            raise SetupError(f"{CIRCUITS_MAX} circuits are watched already; remove one first")
        self._check(circuit)
        audit = self._audit(who, "watch circuit", circuit.circuit)
        await self._silence(known)
        await self._books.write({"safety_circuit": [circuit_row(circuit)], **audit})
        self.board.put(circuit, _now())
        self.outputs.forget(circuit.circuit)
        self._handled.discard(circuit.circuit)
        self._changed(Change.SAFETY)

    async def remove(self, name: str, who: str) -> None:
        """Watch a circuit no more; what it raised stands until a person ends it."""
        known = self.board.get(name)
        if known is None:
            raise NotNowError(f"{name} is watched no more; reload the page")
        rows: Rows = {
            table: [{"circuit": name, "deleted": 1}]
            for table in ("safety_circuit", "circuit_state")
        }
        await self._silence(known)
        await self._books.write({**rows, **self._audit(who, "remove circuit", name)})
        self.board.drop(name)
        self.outputs.forget(name)
        self._changed(Change.SAFETY)

    async def acknowledge(self, name: str, who: str) -> None:
        """Take care of an incident: sirens fall silent, everybody sees by whom."""
        await self._do(self._standing.acknowledge(name, who, self._now_ms()))

    async def declare_real(self, name: str, who: str) -> None:
        """Make a drill's alarm a real one."""
        circuit = self.board.get(self._standing.of(name).circuit)
        device = circuit.device if circuit else ""
        rows = self._standing.declare_real(name, device, who, self._now_ms())
        self._sounding.begin(name, _now())
        await self._do(rows)

    async def mark(self, name: str, step: Step, who: str, detail: str = "") -> None:
        """Mark a step of an evacuation with its time."""
        if step not in MARKED:
            raise NotNowError(f"{step} is no step that people mark")
        await self._do(self._standing.note(name, step, self._now_ms(), who=who, detail=detail))

    async def close(self, name: str, who: str) -> None:
        """Give the all-clear: the cards are lifted, and a drill ends with all its alarms."""
        incident = self._standing.of(name)
        if self.board.state(incident.circuit) is CircuitState.ACTIVE and not incident.is_drill:
            raise NotNowError(f"{incident.place} still reads as an alarm; reset it first")
        rows: list[Rows] = []
        if incident.kind == DRILL:
            of_it = [each for each in self._standing.incidents.values() if each.is_drill]
            rows += [await self._end(each, who) for each in of_it if each.incident != name]
        rows.append(await self._end(incident, who))
        await self._do(merged(*rows))

    async def begin_drill(
        self, place: str, minutes: int, effects: Iterable[Effect], who: str
    ) -> None:
        """From now on, for so many minutes at most, every alarm is one of a drill."""
        now_ms, chosen = self._now_ms(), frozenset(effects)
        if self.drill() is not None:
            raise NotNowError("a drill is on already; end it first")
        if not 1 <= minutes <= DRILL_MINUTES_MAX:
            raise NotNowError(f"{minutes} minutes: choose 1 to {DRILL_MINUTES_MAX}")
        incident = Incident(
            incident=f"drill:{now_ms}",
            kind=DRILL,
            circuit="",
            place=place,
            at_ms=now_ms,
            is_drill=True,
            effects=chosen,
            is_durable=False,
        )
        self._drill_until = _now() + minutes * 60
        await self._raise(incident, "", " ".join([str(minutes), *sorted(chosen)]), who)

    async def begin_test(self, names: Iterable[str], minutes: int, who: str) -> None:
        """Let a person try inputs: for so long, one that turns active is tested, and no alarm."""
        if not 1 <= minutes <= TEST_MINUTES_MAX:
            raise NotNowError(f"{minutes} minutes: choose 1 to {TEST_MINUTES_MAX}")
        chosen = self.board.begin_trial(names, _now() + minutes * 60, who)
        now_ms = self._now_ms()
        states: Rows = {"circuit_state": [self.board.state_row(name, now_ms) for name in chosen]}
        audit = self._audit(who, f"test for {minutes} min", " ".join(chosen)[:200])
        await self._do({**states, **audit})

    async def try_output(self, name: str, who: str) -> str:
        """Let an output sound for a moment; return what went wrong, empty when it was tested."""
        circuit = self.board.get(name)
        if circuit is None or not circuit.is_output:
            raise NotNowError(f"{name} is no output that is watched")
        self._sounding.try_for_a_moment(circuit, _now())
        await self.outputs.settle_one(circuit, is_wanted=True)
        failure = self.outputs.failure(circuit)
        if not failure:
            await self._note_tested(name, who)
        return failure

    def note_answers(self) -> None:
        """Take the district's answers from the store, soon."""
        self._answers_due = True
        self._wake.set()

    def _note_turns(self, turns: list[Turn]) -> None:
        if turns:
            self._turns.extend(turns)
            self._wake.set()

    async def _attend(self) -> None:
        """Do what is due: turns of inputs, doors whose hours began, tests and drills that ended."""
        self._note_turns(self.board.look(_now(), self._now_ms()))
        while self._turns:
            await self._take_turn(self._turns.popleft())
        for name in self.board.end_old_trials(_now()):
            await self._write_state(name)
        for turn in self.board.active():
            await self._activate(turn)
        if self._answers_due:
            self._answers_due = False
            try:
                self._standing.answer(await asyncio.to_thread(self._read_answers))
            except sqlite3.Error as error:
                _log.warning("what the district has seen is not known yet: %s", error)
            self._changed(Change.SAFETY)
        for each in list(self._standing.incidents.values()):
            if each.kind == DRILL and each is not self.drill():
                # Nobody ended it: an input that still reads active is no part of it any more.
                self._handled -= {of.circuit for of in self._standing.incidents.values()}
                await self.close(each.incident, "")

    async def _take_turn(self, turn: Turn) -> None:
        name = turn.circuit.circuit
        incident = self._standing.of_circuit(name)
        if turn.state is CircuitState.ACTIVE:
            if name not in self._handled:
                await self._note_trial(turn.circuit)
            await self._activate(turn)
            return
        self._handled.discard(name)
        if turn.state is CircuitState.TROUBLE:
            if incident is not None:
                await self._note(incident.incident, Step.TROUBLE, turn.reason)
        elif incident is not None and _is_active(incident):
            await self._note(incident.incident, Step.RESTORED)
        if turn.circuit.kind not in {CircuitKind.DOOR, CircuitKind.BELL} or turn.reason:
            await self._write_state(name)
        self._changed(Change.SAFETY)

    async def _activate(self, turn: Turn) -> None:
        """Raise what an input that turned active means, once for each time it does."""
        circuit, name = turn.circuit, turn.circuit.circuit
        now_ms = self._now_ms()
        if name in self._handled or not self.board.is_guarded(circuit, now_ms):
            return
        self._handled.add(name)
        self._changed(Change.SAFETY)
        standing = self._standing.of_circuit(name)
        if circuit.kind is CircuitKind.BELL:
            self._sounding.ring(name, _now())
        elif standing is None:
            incident = Incident(
                incident=f"{name}:{now_ms}",
                kind=circuit.kind.value,
                circuit=name,
                place=circuit.name,
                at_ms=min(turn.since_ms, now_ms),
                is_drill=self.drill() is not None,
                effects=circuit.effects,
                is_durable=False,
            )
            await self._raise(incident, circuit.device, turn.reason, "")
        elif not _is_active(standing):
            await self._note(standing.incident, Step.AGAIN)

    async def _note_trial(self, circuit: Circuit) -> None:
        """Take a turn for a test when a person tries the input; at any hour, also of a door."""
        name = circuit.circuit
        trier = self.board.end_trial(name)
        if trier is not None:
            if self.board.is_guarded(circuit, self._now_ms()):
                self._handled.add(name)
            await self._note_tested(name, trier)

    async def _raise(self, incident: Incident, device: str, detail: str, who: str) -> None:
        name = incident.incident
        rows = self._standing.begin(incident, device, detail, who)
        written = self._books.enter(rows)
        written.add_done_callback(partial(self._note_durable, name))
        if not await self._books.wait(written):
            self._late.add(name)
        self._sounding.begin(name, _now())
        _log.warning("%s: %s%s", incident.place, incident.kind, " (drill)" * incident.is_drill)
        self._changed(Change.SAFETY)

    def _note_durable(self, name: str, written: asyncio.Future[None]) -> None:
        if not written.cancelled():
            self._standing.settle(name)
            self._changed(Change.SAFETY)

    async def _end(self, incident: Incident, who: str) -> Rows:
        """Take an incident out of what stands; return its last rows."""
        name, now_ms = incident.incident, self._now_ms()
        rows: Rows = {}
        if incident.is_drill and incident.kind != DRILL and not incident.is_acknowledged:
            rows = self._standing.acknowledge(name, who, now_ms)
        ended, last = self._standing.close(name, who, now_ms)
        self._sounding.end(name)
        self._late.discard(name)
        rows = merged(rows, last)
        if ended.kind == DRILL:
            rows = merged(rows, {"drill": [await self._covers.drill_row(ended, who, now_ms)]})
        await self._covers.lift(ended, who)
        return rows

    async def _do(self, rows: Rows) -> None:
        await self._books.write(rows)
        self._changed(Change.SAFETY)

    async def _note(self, name: str, step: Step, detail: str = "") -> None:
        if name in self._standing.incidents:
            await self._do(self._standing.note(name, step, self._now_ms(), detail=detail))

    async def _note_output(self, circuit: Circuit, is_on: bool, failure: str) -> None:  # noqa: FBT001 - what was switched
        step = Step.SIREN_FAILED if failure else Step.SIREN_ON if is_on else Step.SIREN_OFF
        detail = f"{circuit.name}: {failure}" if failure else circuit.name
        for each in list(self._standing.incidents.values()):
            if circuit.kind is CircuitKind.SIREN and Effect.SIREN in each.effects:
                await self._note(each.incident, step, detail)
        self._changed(Change.SAFETY)

    async def _note_tested(self, name: str, who: str) -> None:
        self.board.note_tested(name, who, self._now_ms())
        await self._write_state(name)
        self._changed(Change.SAFETY)

    async def _write_state(self, name: str) -> None:
        if self.board.get(name) is not None:
            await self._books.write({"circuit_state": [self.board.state_row(name, self._now_ms())]})

    async def _keep_outputs(self) -> Never:
        async with asyncio.TaskGroup() as tasks:
            while True:
                circuits = self.board.circuits
                wanted = self._sounding.wanted(circuits, self.incidents(), _now())
                self.outputs.settle((each for each in circuits if each.is_output), wanted, tasks)
                await asyncio.sleep(TICK_S)
        raise AssertionError("outputs are kept until that is cancelled")

    async def _keep_covers(self) -> Never:
        while True:
            for each in self.incidents():
                message = await self._covers.cover(each)
                if message is not None:
                    await self._note(each.incident, Step.CARDS_COVERED, message)
            await asyncio.sleep(TICK_S)

    async def _silence(self, circuit: Circuit | None) -> None:
        if circuit is not None and circuit.is_output:
            await self.outputs.settle_one(circuit, is_wanted=False)

    def _check(self, circuit: Circuit) -> None:
        if circuit.is_output:
            self.outputs.check(circuit.device, circuit.point, circuit.active)
            return
        words = self.inputs_of(circuit.device)
        for point in circuit.points:
            if circuit.active not in words.get(point, ()):
                raise SetupError(f"{point} of {circuit.device} never reads {circuit.active}")
        if circuit.partner == circuit.point:
            raise SetupError("a contact is no partner of itself; choose the button's other input")

    def _audit(self, who: str, action: str, subject: str) -> Rows:
        return {
            "audit_entry": [
                {"at_ms": self._now_ms(), "who": who, "action": action, "subject": subject}
            ]
        }

    def _read_kept(self) -> Kept:
        with closing(self._connect()) as connection:
            return read_kept(connection, self._school)

    def _read_answers(self) -> dict[str, tuple[int, str]]:
        with closing(self._connect()) as connection:
            return read_answers(connection, self._school)


def _is_active(incident: Incident) -> bool:
    """Tell whether the input was not seen at rest since it was raised or pressed again."""
    last = incident.last(Step.RAISED, Step.AGAIN, Step.RESTORED)
    return last is None or last.step is not Step.RESTORED


def _now() -> float:
    return asyncio.get_running_loop().time()
