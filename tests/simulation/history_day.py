"""A day on which all happens that lets history go, or carries it by another way than the line.

Checkpoints are made, countersigned and pruned by, then the next ones over them; a stick is carried
there and back; keys are rotated and granted anew; and a box that lost its disk comes back by what
the hub holds, without bodies. People look at what they wrote at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.courier.parts import parse_part
from sync.courier.trip import Inbound, Outbound, batches
from sync.history.bounding import CheckpointState, HistoryPolicy
from sync.history.checkpoint import read_checkpoints
from sync.history.snapshot_part import may_be_hollow
from sync.keys.recipients import RecipientKind
from sync.logs.log_state import find_log
from sync.logs.oplog import Row
from sync.logs.stored_segments import read_segment
from sync.schema.model import Lane
from sync.segments.columnar import Value
from sync.segments.sealing import KeyId, recipient_id, unwrap
from sync.segments.segment import HUB, LogName, parse_segment
from tests.simulation.books import Books, BrokenInvariantError
from tests.simulation.checks import check_quiet, check_receipts, settle
from tests.simulation.crash_points import Course, Step, UnfinishedError
from tests.simulation.machine import Machine
from tests.simulation.school_day import record_events, seal
from tests.simulation.world import World
from tests.sync.district import empty_store

POLICY = HistoryPolicy(written_bytes=1, apart_ms=1_000, retention_ms=60_000)
_NO_MORE = replace(POLICY, written_bytes=1 << 40)
"""Makes no checkpoint: what is known is verified, countersigned and pruned by."""
_TRIES_MAX = 40
"""More than a disk fails in a row."""
_MESSAGES_MAX = 60
_WHO = "principal"
_DISTRICT = "simulated"
_STICK_BYTES = 1 << 30
_UNSEALED = bytes(8)
_SEALED_COLUMNS = frozenset({"reason"})


def history_day(world: World) -> Course:
    day = _HistoryDay(world)
    return Course(day.phases(), day.end)


_Cell = tuple[str, str, str]
"""Table, key and column."""


@dataclass(slots=True)
class _Edits:
    """What people wrote into cells of states, in turn, and whether a node said it is on disk."""

    _tried: dict[_Cell, list[tuple[Value, bool]]] = field(default_factory=dict)

    def record(self, machine: Machine, table: str, key: str, row: Row) -> None:
        """Write some cells of a row; raises what the machine's disk raises."""
        columns: dict[str, Value] = {name: value for name, value in row.items() if name != "school"}
        names = _KEYS[table]
        cells = {(table, key, name): value for name, value in columns.items() if name not in names}
        for cell, value in cells.items():
            self._tried.setdefault(cell, []).append((value, False))
        with machine.at_work() as node:
            node.record(table, [{**_key_row(table, key), **row}])
        for cell, value in cells.items():
            self._tried[cell][-1] = (value, True)

    def check(self, machine: Machine) -> None:
        """Raise BrokenInvariantError unless each cell holds what was last written, or tried since.

        The hub does not read what is sealed to the school.
        """
        for (table, key, column), tried in self._tried.items():
            last = max((place for place, (_, written) in enumerate(tried) if written), default=-1)
            allowed: list[Value] = [value for value, _ in tried[max(last, 0) :]]
            if last < 0:
                allowed.append(None)
            found = self._found(machine, table, key, column)
            if machine.origin == HUB and column in _SEALED_COLUMNS:
                allowed = [None]
            if found not in allowed:
                raise BrokenInvariantError(
                    f"{machine.name}: {table} {key} {column} holds {found!r}, not {allowed}"
                )

    def _found(self, machine: Machine, table: str, key: str, column: str) -> object:
        """Return a cell; a row that was deleted may stand as a tombstone or be gone."""
        where = " AND ".join(f"{name} = ?" for name in _key_row(table, key))
        with machine.healthy() as store:
            rows = store.execute(
                f"SELECT {column} FROM {table} WHERE {where}",  # noqa: S608 - the schema's names
                tuple(_key_row(table, key).values()),
            ).fetchall()
        if len(rows) > 1:
            raise BrokenInvariantError(f"{machine.name}: {table} {key} is there {len(rows)} times")
        absent = 1 if column == "deleted" else None
        return rows[0][0] if rows else absent


_KEYS: Mapping[str, tuple[str, ...]] = {
    "room": ("room",),
    "attendance_entry": ("day", "slot", "person"),
    "timetable_slot": ("school", "slot"),
    "notice": ("school", "notice"),
}


def _key_row(table: str, key: str) -> dict[str, Value]:
    match table:
        case "attendance_entry":
            return {"day": "d", "slot": "1", "person": int(key)}
        case "timetable_slot":
            return {"school": 1, "slot": key}
        case "notice":
            return {"school": 0, "notice": key}
    return {table: key}


class _HistoryDay:
    def __init__(self, world: World) -> None:
        self._world = world
        self._box, self._hub = world.machines["1"], world.hub
        self._edits = _Edits()
        self._stick: tuple[bytes, ...] = ()
        self._carried: dict[LogName, int] = {}
        self._recovery = X25519PrivateKey.from_private_bytes(world.chance.randbytes(32))
        self._ended: tuple[dict[LogName, int], set[bytes]] = {}, set()

    def phases(self) -> Mapping[str, Sequence[Step]]:
        """Return what happens; programs' rounds are made once, people insist."""
        talk, age = Step(self._talk), Step(self._pass_retention)
        box, hub = (Step(partial(self._bound, each)) for each in (self._box, self._hub))
        home = Step(self._come_home, _TRIES_MAX)
        recovery = Step(self._let_recovery_read, _TRIES_MAX)
        return {
            "writing": [talk, *self._writing(1), talk],
            "checkpoint": [box, hub, *self._writing(2), talk],
            "countersigning": [hub, box, talk],
            "pruning": [age, box, hub, talk],
            "next checkpoint": [*self._writing(3), talk, *[age, box, talk, hub] * 2],
            "stick": [
                *self._writing(4),
                Step(partial(self._export, self._box, HUB), _TRIES_MAX),
                Step(partial(self._import, self._hub), _TRIES_MAX),
                Step(partial(self._export, self._hub, self._box.origin), _TRIES_MAX),
                Step(partial(self._import, self._box), _TRIES_MAX),
                Step(self._check_carried, _TRIES_MAX),
            ],
            "keys": [
                Step(self._rotate, _TRIES_MAX),
                recovery,
                *self._writing(5),
                talk,
            ],
            "adoption": [
                *[age, box, talk, hub] * 2,  # by now bodies went, whatever failed before
                home,
                Step(self._lose_disk),
                home,
                recovery,  # who rebuilt a box confirms once more who reads
                *self._writing(6),
                talk,
            ],
        }

    def end(self) -> None:
        """See that all was kept, and let the history come to its end.

        Raises BrokenInvariantError if it does not, or if anything is lost by it.
        """
        self._check_cells()
        self._check_keys()
        self._check_adopted()
        for policy in (POLICY, _NO_MORE, _NO_MORE):
            self._pass_retention()
            for machine in (self._box, self._hub):
                self._bound(machine, policy)
                settle(self._world, everyone=False)
        check_quiet(self._world, cloned=set())
        self._check_cells()
        self._check_bounded()

    def _writing(self, turn: int) -> list[Step]:
        """Return what both write in a part of the day: events beside states, and apart.

        Some rows are edited in each part, of some nothing is heard again.
        """
        world, box, hub, edits = self._world, self._box, self._hub, self._edits
        entry: Row = {"status": f"s{turn}", "reason": f"r{turn}"}
        works = [
            partial(edits.record, box, "attendance_entry", "0", entry),
            partial(edits.record, box, "attendance_entry", f"{turn}", entry),
            partial(record_events, world, box, "card_tap", 2, ("card", f"c{turn}")),
            partial(edits.record, box, "room", "kept", {"name": f"n{turn}"}),
            partial(edits.record, box, "room", "gone", {"deleted": int(turn % 2 == 0)}),
            partial(edits.record, hub, "timetable_slot", "mon1", {"teacher": f"t{turn}"}),
            partial(edits.record, hub, "timetable_slot", f"once {turn}", {"teacher": "t"}),
            partial(edits.record, hub, "notice", "n1", {"title_en": f"t{turn}"}),
            partial(edits.record, hub, "notice", f"once {turn}", {"title_en": "t"}),
            partial(seal, box),
            partial(edits.record, box, "timetable_slot", "mon1", {"room": f"r{turn}"}),
            partial(record_events, world, hub, "audit_entry", 1),
            partial(record_events, world, box, "health_check", 1, ("symptoms", f"c{turn}")),
            partial(seal, hub),
        ]
        return [Step(work) for work in works]

    def _talk(self) -> None:
        """Let the box call, and both ends speak until both are quiet."""
        world = self._world
        world.district.now += 20_000
        line = world.connect(self._box)
        for _ in range(_MESSAGES_MAX):
            said = 0
            for end, other in ((line.edge, line.desk), (line.desk, line.edge)):
                seal(end.machine)
                data = world.compose(line, end)
                if data is not None and other.machine.node is other.node:
                    said += 1
                    world.hear(line, other, data)
                if not line.is_open:
                    raise UnfinishedError("the line broke")
            if not said:
                return

    def _pass_retention(self) -> None:
        self._world.district.now += POLICY.retention_ms + 1

    def _bound(self, machine: Machine, policy: HistoryPolicy = POLICY) -> None:
        with machine.at_work() as node:
            for _ in node.history.steps(policy):
                pass

    def _export(self, machine: Machine, recipient: int) -> None:
        """Write a stick with all that a peer lacks by its last receipts."""
        with machine.at_work() as node:
            trip = Outbound(node, recipient, _DISTRICT, _STICK_BYTES, machine.random_bytes)
            files = tuple(trip.part(number)[1] for number in range(1, trip.parts + 1))
            if recipient == HUB:
                self._carried = {
                    log.name: log.stored for log in node.logs() if log.name.origin != HUB
                }
        for file in files:
            part = parse_part(file)
            self._world.watch(machine, recipient, part.segments, part.manifest.have)
        self._stick = files

    def _import(self, machine: Machine) -> None:
        with machine.at_work() as node:
            inbound = Inbound(node, _DISTRICT)
            for file in self._stick:
                part = inbound.open(file)
                inbound.take_receipts(part)
                for segments in batches(part):
                    inbound.take(part, segments)
        check_receipts(self._world, machine)

    def _check_carried(self) -> None:
        """Whatever broke on the way: what was on the stick arrived, and the box was told so."""
        with self._box.at_work() as node:
            told = node.peers.cursors(HUB)
            known = {log.name: told.get(log.id, (0, 0))[0] for log in node.logs()}
        missing = {name for name, stored in self._carried.items() if known.get(name, 0) < stored}
        if missing:
            raise BrokenInvariantError(f"the box has no receipt for what it carried: {missing}")

    def _rotate(self) -> None:
        """End all keys of the box; what it seals from now on it seals with others."""
        with self._box.at_work() as node:
            node.seal_all()
            heads = {log.name: log.stored for log in node.logs()}
            ended = {bytes(each.epoch.name) for each in node.keys.states()}
            node.keys.rotate(_WHO)
        self._ended = heads, ended

    def _let_recovery_read(self) -> None:
        public = self._recovery.public_key().public_bytes_raw()
        with self._box.at_work() as node:
            node.keys.confirm(RecipientKind.RECOVERY, public, "code", _WHO)

    def _come_home(self) -> None:
        """Talk until neither end lacks anything that the other would give it."""
        self._talk()
        lacking = Books(self._world).lacking(self._box)
        if lacking:
            raise UnfinishedError(lacking)

    def _lose_disk(self) -> None:
        self._box.replace_store(empty_store(), b"second")

    def _check_adopted(self) -> None:
        """What lost its disk comes back by checkpoints of both ends, not by bodies alone."""
        with self._box.healthy() as store:
            adopted = store.execute(
                "SELECT DISTINCT l.origin FROM adopted a JOIN log l ON l.id = a.log ORDER BY 1"
            ).fetchall()
        if adopted != [(HUB,), (self._box.origin,)]:
            raise BrokenInvariantError(f"the box took over checkpoints of {adopted} only")

    def _check_cells(self) -> None:
        for machine in (self._box, self._hub):
            self._edits.check(machine)

    def _check_keys(self) -> None:
        """What was sealed since the keys were rotated, and all that was before, at the hub."""
        heads, ended = self._ended
        granted = self._granted()
        for name, seq, keys in self._keys_used():
            again = keys & ended
            if seq > heads.get(name, 0) and again and not name.lane == Lane.SNAPSHOT:
                raise BrokenInvariantError(f"{name} segment {seq} is sealed with a key that ended")
            if keys - granted:
                raise BrokenInvariantError(f"the recovery key cannot open {name} segment {seq}")

    def _keys_used(self) -> Iterator[tuple[LogName, int, set[bytes]]]:
        """Yield each whole segment of the box's at the hub, with the keys of its bodies."""
        with self._hub.healthy() as store:
            wires = store.execute(
                "SELECT s.wire FROM segment s JOIN log l ON l.id = s.log WHERE l.origin = ?",
                (self._box.origin,),
            ).fetchall()
        for (wire,) in msgspec.convert(wires, list[tuple[bytes]]):
            segment = parse_segment(wire)
            if not segment.is_hollow:
                keys = {body.key_id for body in segment.header.bodies} - {_UNSEALED}
                yield segment.header.log, segment.header.seq, keys

    def _granted(self) -> set[bytes]:
        """Return the keys that a grant at the hub gives to the recovery key."""
        with self._hub.healthy() as store:
            grants = store.execute(
                "SELECT key_id, purpose, suite, wrapped FROM key_grant WHERE recipient = ?",
                (recipient_id(self._recovery.public_key()),),
            ).fetchall()
        granted = set()
        for key, purpose, suite, wrapped in msgspec.convert(
            grants, list[tuple[bytes, str, int, bytes]]
        ):
            unwrap(wrapped, suite, self._recovery, purpose.encode(), KeyId(key))
            granted.add(key)
        return granted

    def _check_bounded(self) -> None:
        """Every newest checkpoint was found whole and let bodies go, and none before it is left."""
        for machine in (self._box, self._hub):
            with machine.healthy(), machine.at_work() as node:
                states = node.history.states()
            if {each.origin for each in states} != {HUB, self._box.origin}:
                raise BrokenInvariantError(f"{machine.name} does not know both ends' checkpoints")
            for each in states:
                is_done = each.verified_ms and each.countersigned and each.dropped_ms
                if each.refused or not is_done:
                    raise BrokenInvariantError(f"{machine.name}'s history is not bounded: {each}")
            with machine.healthy() as store:
                ((count,),) = store.execute("SELECT count(*) FROM checkpoint").fetchall()
            if count != len(states):
                raise BrokenInvariantError(f"{machine.name} keeps former checkpoints: {count}")
            for each in states:
                self._check_bodies_gone(machine, each)

    def _check_bodies_gone(self, machine: Machine, state: CheckpointState) -> None:
        with machine.healthy(), machine.at_work() as node, node.transaction() as cursor:
            (checkpoint,) = read_checkpoints(cursor, state.origin, state.audience)
            for cover in checkpoint.record.covers:
                log = find_log(cursor, checkpoint.source(cover))
                assert log is not None, "it was verified here"
                for seq in range(1, cover.seq + 1):
                    segment = read_segment(cursor, log.id, seq)
                    if segment and may_be_hollow(segment.header) and not segment.is_hollow:
                        raise BrokenInvariantError(f"{machine.name} keeps {log.name} segment {seq}")
