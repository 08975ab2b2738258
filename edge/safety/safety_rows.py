"""What the store holds of the school's safety: circuits, what stands, and what was."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from drivers.entities import DeviceId
from edge.metering import Night, parse_night
from edge.safety.circuits import LONGEST_S_MAX, Circuit, CircuitKind, Effect
from edge.safety.incidents import Incident, assemble
from sync.logs.oplog import Row

STANDING_MAX = 200
PAST_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """When a person tried a circuit last, and who."""

    at_ms: int
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the box takes up when it starts."""

    circuits: tuple[Circuit, ...]
    tested: Mapping[str, Tested]
    standing: tuple[Incident, ...]


def read_kept(connection: sqlite3.Connection, school: int) -> Kept:
    """Return the circuits and the incidents that no all-clear has ended."""
    circuits = read_circuits(connection, school)
    tested = {
        row[0]: Tested(at_ms=row[1], who=row[2] or "")
        for row in connection.execute(
            "SELECT circuit, tested_ms, tested_by FROM circuit_state"
            " WHERE school = ? AND deleted = 0 AND tested_ms IS NOT NULL",
            (school,),
        )
    }
    standing = _read_incidents(
        connection,
        school,
        circuits,
        # By name, not by time: the clock may have been set back between alarm and all-clear.
        "AND (school, incident) NOT IN (SELECT school, incident FROM alarm_step"
        " WHERE step = 'closed' AND incident IS NOT NULL)",
        STANDING_MAX,
    )
    return Kept(circuits=circuits, tested=tested, standing=tuple(standing))


def read_past(
    connection: sqlite3.Connection, school: int, circuits: Sequence[Circuit]
) -> list[Incident]:
    """Return the latest incidents, standing ones too, the newest first."""
    return _read_incidents(connection, school, circuits, "", PAST_MAX)[::-1]


def read_circuits(connection: sqlite3.Connection, school: int) -> tuple[Circuit, ...]:
    """Return the circuits, by name; one that this version cannot read is left out."""
    rows = connection.execute(
        "SELECT circuit, kind, name, room, device, point, active, partner, hours, effects,"
        " test_days, longest_s FROM safety_circuit WHERE school = ? AND deleted = 0"
        " ORDER BY name, circuit",
        (school,),
    ).fetchall()
    found = (_circuit(row) for row in rows)
    return tuple(circuit for circuit in found if circuit is not None)


def read_answers(connection: sqlite3.Connection, school: int) -> dict[str, tuple[int, str]]:
    """Return what the district has seen, by incident: when and who."""
    rows = connection.execute(
        "SELECT incident, at_ms, who FROM alarm_answer WHERE school = ? AND deleted = 0"
        " AND at_ms IS NOT NULL ORDER BY at_ms DESC LIMIT ?",
        (school, STANDING_MAX),
    )
    return {row[0]: (row[1], row[2] or "") for row in rows}


def read_painted(
    connection: sqlite3.Connection, school: int, message: str, since_ms: int
) -> tuple[int, int | None]:
    """Return how many screens confirmed a message, and after how many ms the last did."""
    row = connection.execute(
        "SELECT count(*), max(after_ms) FROM (SELECT screen, min(after_ms) AS after_ms"
        " FROM card_receipt WHERE school = ? AND at_ms >= ? AND message = ? GROUP BY screen)",
        (school, since_ms, message),
    ).fetchone()
    return row[0], row[1]


def circuit_row(circuit: Circuit) -> Row:
    hours = circuit.hours
    return {
        "circuit": circuit.circuit,
        "kind": circuit.kind.value,
        "name": circuit.name,
        "room": circuit.room,
        "device": circuit.device,
        "point": circuit.point,
        "active": circuit.active,
        "partner": circuit.partner,
        "hours": None if hours is None else hours_text(hours),
        "effects": " ".join(sorted(circuit.effects)) or None,
        "test_days": circuit.test_days,
        "longest_s": circuit.longest_s,
    }


def hours_text(hours: Night) -> str:
    """Write hours as they are entered: ``22:00-06:00``."""
    return "-".join(
        f"{minute // 60:02}:{minute % 60:02}" for minute in (hours.begins_min, hours.ends_min)
    )


def _read_incidents(
    connection: sqlite3.Connection,
    school: int,
    circuits: Sequence[Circuit],
    condition: str,
    most: int,
) -> list[Incident]:
    """Return the newest incidents that fit a condition of this module, the oldest first."""
    alarms = [
        dict(row)
        for row in connection.execute(
            f"SELECT incident, circuit, alarm, place, at_ms, drill FROM alarm"  # noqa: S608 - above
            f" WHERE school = ? AND incident IS NOT NULL {condition} ORDER BY at_ms DESC LIMIT ?",
            (school, most),
        )
    ][::-1]
    if not alarms:
        return []
    names = json.dumps(sorted({row["incident"] for row in alarms}))
    steps = [
        dict(row)
        for row in connection.execute(
            "SELECT incident, step, at_ms, who, detail FROM alarm_step WHERE school = ?"
            " AND incident IN (SELECT value FROM json_each(?)) ORDER BY at_ms, log, row",
            (school, names),
        )
    ]
    effects = {each.circuit: each.effects for each in circuits}
    found = assemble(alarms, steps, effects)
    answers = read_answers(connection, school)
    return [
        replace(each, seen_ms=answers[each.incident][0], seen_by=answers[each.incident][1])
        if each.incident in answers
        else each
        for each in found
    ]


def _circuit(row: sqlite3.Row) -> Circuit | None:
    try:
        return Circuit(
            circuit=row["circuit"],
            kind=CircuitKind(row["kind"]),
            name=row["name"] or row["circuit"],
            room=row["room"],
            device=DeviceId(row["device"]),
            point=row["point"],
            active=row["active"],
            partner=row["partner"],
            hours=parse_night(row["hours"]) if row["hours"] else None,
            effects=frozenset(Effect(word) for word in (row["effects"] or "").split()),
            test_days=row["test_days"] or 0,
            longest_s=min(row["longest_s"] or 180, LONGEST_S_MAX),
        )
    except ValueError:
        return None
