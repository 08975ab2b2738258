"""What the demo's hub knows, in figures: counted from the rows of its own database."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from edge.class_cards.messages import EMERGENCY_MS
from sync.store import connect_readonly


def ask_number(store: Path, sql: str, *values: object) -> int:
    """Return the one number that a question to a store comes to."""
    with closing(connect_readonly(store)) as connection:
        (number,) = connection.execute(sql, values).fetchone()
    return int(number)


def schools_with_minutes(hub: Path, lesson: str) -> int:
    """Return how many schools have written a lesson's minutes down, as the hub knows."""
    return ask_number(
        hub, "SELECT count(*) FROM lesson_minutes WHERE lesson = ? AND deleted = 0", lesson
    )


def lesson_ends_ms(hub: Path, lesson: str, planned_ms: int) -> int:
    """Return when a lesson ends, Unix ms: as its teacher ordered, else as planned."""
    return ask_number(
        hub,
        "SELECT coalesce(max(ends_ms), ?) FROM lesson_order WHERE lesson = ? AND deleted = 0",
        planned_ms,
        lesson,
    )


def count_rows_at_hub(hub: Path) -> int:
    """Return how many rows of the schools the hub has folded, over all tables."""
    with closing(connect_readonly(hub)) as store:
        return sum(
            int(
                store.execute(
                    f"SELECT count(*) FROM {table} t JOIN log l ON l.id = t.log"  # noqa: S608 - names from the schema
                    " WHERE l.origin <> 0"
                ).fetchone()[0]
            )
            for table in _tables(store)
        )


def sealed_bytes_at_hub(hub: Path) -> int:
    """Return the bytes of all segments that schools sent."""
    return ask_number(
        hub,
        "SELECT coalesce(sum(length(wire)), 0) FROM segment s JOIN log l ON l.id = s.log"
        " WHERE l.origin <> 0",
    )


def devices_at_hub(hub: Path) -> Counter[str]:
    """Return how many devices of each kind the hub knows as adopted."""
    with closing(connect_readonly(hub)) as store:
        rows = store.execute("SELECT kind FROM device WHERE deleted = 0").fetchall()
    return Counter(row["kind"] for row in rows)


def terminals_heard(hub: Path) -> int:
    """Return in how many schools both terminals, by ADMS and by ISAPI, told of known pupils."""
    return ask_number(
        hub,
        "SELECT count(*) FROM (SELECT school FROM card_tap WHERE person IS NOT NULL"
        " GROUP BY school"
        " HAVING sum(device LIKE 'adms:%') > 0 AND sum(device LIKE 'isapi:%') > 0)",
    )


def panels_on(hub: Path) -> int:
    """Return from how many schools the hub knows a networked panel's order that was read back.

    Not how many are on now: one whose power was cut a moment ago is still warming up.
    """
    return ask_number(
        hub,
        "SELECT count(DISTINCT d.school) FROM device d"
        " JOIN device_event e ON e.school = d.school AND e.device = d.device"
        " WHERE d.kind = 'blackboard' AND d.address LIKE 'tcp://%'"
        " AND e.event = 'command power on: verified'",
    )


def roofs_watered(hub: Path) -> int:
    """Return in how many schools a farm rule switched a pump on and off again, both read back."""
    return ask_number(
        hub,
        "SELECT count(*) FROM (SELECT school FROM farm_action"
        " WHERE outcome = 'verified' AND rule <> 'hand' GROUP BY school"
        " HAVING sum(command LIKE '% on') > 0 AND sum(command LIKE '% off') > 0)",
    )


def emergencies_at_hub(hub: Path) -> dict[int, int]:
    """Return by school how many ms a class card took to show an emergency that was lifted again."""
    with closing(connect_readonly(hub)) as store:
        rows = store.execute(
            "SELECT m.school, min(r.after_ms) FROM card_message m"
            " JOIN card_receipt r ON r.school = m.school AND r.message = m.message"
            " JOIN card_screen s ON s.school = r.school AND s.screen = r.screen"
            " WHERE m.kind = 'emergency' AND s.deleted = 0 AND m.until_ms - m.from_ms < ?"
            " GROUP BY m.school",
            (EMERGENCY_MS,),
        ).fetchall()
    return {row[0]: row[1] for row in rows}


def drills_at_hub(hub: Path) -> int:
    """Count schools that held a drill in which a button was pressed and a siren sounded."""
    return ask_number(
        hub,
        "SELECT count(DISTINCT drill.school) FROM drill WHERE EXISTS (SELECT 1 FROM alarm"
        " JOIN alarm_step AS step ON step.school = alarm.school"
        " AND step.incident = alarm.incident AND step.step = 'siren_on'"
        " WHERE alarm.school = drill.school AND alarm.drill = 1 AND alarm.alarm = 'panic')",
    )


def exercise_lessons_at_hub(hub: Path) -> int:
    """Count schools of which the hub has a lesson with bands, and its figures."""
    return ask_number(
        hub,
        "SELECT count(DISTINCT school) FROM exercise_session WHERE ends_ms IS NOT NULL"
        " AND density IS NOT NULL AND intensity_bpm IS NOT NULL",
    )


def heart_rates_at_hub(hub: Path) -> int:
    """Count heart rates that the hub can read: none, they stay in the schools."""
    return ask_number(hub, "SELECT count(*) FROM heart_rate")


def doors_heard(hub: Path) -> int:
    """Count schools in which a door that is watched was opened."""
    return ask_number(hub, "SELECT count(DISTINCT school) FROM alarm WHERE alarm = 'door'")


def readers_heard(hub: Path) -> int:
    """Count schools in which a card reader of each kind read cards of known pupils."""
    return ask_number(
        hub,
        "SELECT count(*) FROM (SELECT t.school FROM card_tap t"
        " JOIN device d ON d.school = t.school AND d.device = t.device"
        " WHERE d.kind = 'card_reader' AND t.person IS NOT NULL"
        " GROUP BY t.school HAVING count(DISTINCT d.profile) = 2)",
    )


def fitness_heard(hub: Path) -> int:
    """Count schools that have results of known pupils from stations behind a serial server."""
    return ask_number(
        hub,
        "SELECT count(DISTINCT r.school) FROM fitness_result r"
        " JOIN device d ON d.school = r.school AND d.device = r.source"
        " WHERE d.address LIKE 'tcp://%' AND r.person IS NOT NULL AND r.result IS NOT NULL",
    )


def labour_courses(hub: Path) -> int:
    """Count schools with an experiment on two plots and a grow log's entry of each of them."""
    return ask_number(
        hub,
        "SELECT count(DISTINCT e.school) FROM farm_experiment e"
        " JOIN grow_log a ON a.school = e.school AND a.plot = e.plot_a"
        " JOIN grow_log b ON b.school = e.school AND b.plot = e.plot_b"
        " WHERE a.height_mm IS NOT NULL AND b.height_mm IS NOT NULL AND e.deleted = 0",
    )


def _tables(store: sqlite3.Connection) -> list[str]:
    rows = store.execute(
        "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'row'"
        " WHERE m.type = 'table'"
    ).fetchall()
    return [row[0] for row in rows]
