"""What the store holds of the farm: plots, rules, decisions, and which days have lessons."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo

import msgspec

from edge.attendance.register import day_of
from edge.farm.rule import Rule, RuleError, RuleId, read_rule

PLOTS_MAX = 64
RULES_MAX = 64
ACTIONS_MAX = 200
DAY_MS = 24 * 3_600_000
BLOCKED = "blocked"
"""The outcome of what a rule wanted and might not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """``devices`` are those that measure it."""

    plot: str
    name: str
    crop: str
    class_group: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRule:
    """``rule`` is None when this version cannot read the definition; ``fault`` says why."""

    name: RuleId
    plot: str
    is_enabled: bool
    definition: str
    rule: Rule | None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision as it was written down; ``outcome``: BLOCKED, or a command's."""

    at_ms: int
    rule: str
    device: str
    command: str
    argument: str
    outcome: str
    reason: str
    facts: Mapping[str, str | float]


def read_plots(connection: sqlite3.Connection, school: int) -> list[Plot]:
    rows = connection.execute(
        "SELECT plot, name, crop, class_group, devices FROM farm_plot"
        " WHERE school = ? AND deleted = 0 ORDER BY name, plot LIMIT ?",
        (school, PLOTS_MAX),
    )
    return [
        Plot(
            plot=row[0],
            name=row[1] or row[0],
            crop=row[2] or "",
            class_group=row[3] or "",
            devices=tuple((row[4] or "").split()),
        )
        for row in rows
    ]


def read_rules(connection: sqlite3.Connection, school: int) -> list[StoredRule]:
    rows = connection.execute(
        "SELECT rule, plot, definition, enabled FROM farm_rule"
        " WHERE school = ? AND deleted = 0 ORDER BY rule LIMIT ?",
        (school, RULES_MAX),
    )
    return [_stored_rule(*row) for row in rows]


def read_actions(
    connection: sqlite3.Connection, school: int, *, from_ms: int, until_ms: int
) -> list[Action]:
    """Return decisions of [from, until), the latest first."""
    rows = connection.execute(
        "SELECT at_ms, rule, device, command, outcome, reason, facts FROM farm_action"
        " WHERE school = ? AND at_ms >= ? AND at_ms < ? ORDER BY at_ms DESC LIMIT ?",
        (school, from_ms, until_ms, ACTIONS_MAX),
    )
    return [_action(*row) for row in rows]


def read_school_days(
    connection: sqlite3.Connection, school: int, zone: tzinfo, *, from_ms: int, until_ms: int
) -> frozenset[str]:
    """Return the dates in [from, until) on which any lesson begins."""
    rows = connection.execute(
        "SELECT DISTINCT starts_ms FROM timetable_slot"
        " WHERE school = ? AND deleted = 0 AND starts_ms >= ? AND starts_ms < ?",
        (school, from_ms, until_ms),
    )
    return frozenset(day_of(row[0], zone) for row in rows)


def write_facts(facts: Mapping[str, str | float]) -> str:
    return msgspec.json.encode(facts).decode()


def _stored_rule(name: str, plot: str | None, definition: str | None, enabled: int) -> StoredRule:
    rule, fault = None, ""
    try:
        rule = read_rule(definition or "")
    except RuleError as error:
        fault = str(error)
    return StoredRule(
        name=RuleId(name),
        plot=plot or "",
        is_enabled=bool(enabled),
        definition=definition or "",
        rule=rule,
        fault=fault,
    )


def _action(
    at_ms: int,
    rule: str | None,
    device: str | None,
    command: str | None,
    outcome: str | None,
    reason: str | None,
    facts: str | None,
) -> Action:
    name, _, argument = (command or "").partition(" ")
    try:
        known = msgspec.json.decode(facts or "{}", type=dict[str, str | float])
    except (msgspec.DecodeError, UnicodeDecodeError):
        known = {}
    return Action(
        at_ms=at_ms,
        rule=rule or "",
        device=device or "",
        command=name,
        argument=argument,
        outcome=outcome or "",
        reason=reason or "",
        facts=known,
    )
