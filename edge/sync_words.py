"""``schoolnode sync status`` in words: every figure with its age, and nothing taken for granted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.clock_watch import ClockLight, clock_words

_TOLD_MAX = 10
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_PEERS = {0: "hub"}
_Figures = Mapping[str, Any]
"""A part of the answer to ``GET /sync``; its shape stands in docs/box.md."""


def show_status(console: Console, told: _Figures) -> None:
    """Print what the daemon told; ages are counted from its own clock."""
    now_ms = told["now_ms"]
    for line in _link(told["sync"], now_ms):
        console.print(line, highlight=False)
    console.print(_lanes(told["sync"]["lanes"], now_ms))
    standing = told["standing"]
    if standing["received"]:
        console.print(_received(standing["received"], now_ms))
    for line in _lines(told["clock"], standing, now_ms):
        console.print(line, highlight=False)


def age(then_ms: int | None, now_ms: int) -> str:
    """Return how long ago a moment was, in its largest fitting unit; "-" for none."""
    if then_ms is None:
        return "-"
    span_s = max(0, now_ms - then_ms) // 1000
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if span_s >= 2 * unit_s:
            return f"{span_s // unit_s} {unit}"
    return f"{span_s} s"


def _link(sync: _Figures, now_ms: int) -> Iterator[str]:
    heard_ms = sync["last_exchange_ms"]
    heard = f"heard {age(heard_ms, now_ms)} ago" if heard_ms else "not heard yet"
    yield f"Link to the hub: {sync['link']} for {age(sync['since_ms'], now_ms)}, {heard}."
    if sync["detail"] not in {"", sync["link"]}:
        yield escape(sync["detail"])
    if sync["held"]:
        until_ms = sync["held_until_ms"]
        until = f", for {(until_ms - now_ms) / 3_600_000:.1f} h yet" if until_ms else ""
        yield f"Held back: {', '.join(sync['held'])}: {escape(sync['held_reason'])}{until}."


def _lanes(lanes: Sequence[_Figures], now_ms: int) -> Table:
    table = Table(
        "to the hub",
        "unsealed",
        "sealed",
        "in flight",
        "stored",
        "applied",
        "sealed only",
        "waiting",
        "oldest waits",
        "sealed ago",
        "told ago",
        caption="rows; in flight and waiting also in bytes; sealed only: segments the hub stores"
        " and cannot read; told: by the hub's last receipt",
    )
    for lane in lanes:
        name = f"{lane['lane']} (held)" if lane["held"] else lane["lane"]
        waiting = f"{lane['waiting_rows']} ({lane['waiting_bytes']} B)"
        table.add_row(
            name,
            str(lane["unsealed_rows"]),
            str(lane["sealed"]),
            f"{lane['under_way_bytes']} B",
            str(lane["stored"]),
            str(lane["applied"]),
            _sealed_only(lane["sealed_only"]),
            waiting if lane["waiting_rows"] else "0",
            age(lane["oldest_waiting_ms"], now_ms),
            age(lane["sealed_ms"], now_ms),
            age(lane["stored_ms"], now_ms),
        )
    return table


def _received(held: Sequence[_Figures], now_ms: int) -> Table:
    table = Table(
        "from",
        "lane",
        "stored",
        "applied",
        "sealed only",
        "parked rows",
        "last ago",
        caption="segments of others that this box holds",
    )
    for each in held:
        frozen = f" ({each['frozen']} frozen)" if each["frozen"] else ""
        table.add_row(
            _PEERS.get(each["origin"], f"school {each['origin']}"),
            each["lane"] + frozen,
            str(each["stored"]),
            str(each["applied"]),
            _sealed_only(each["sealed_only"]),
            str(each["parked_rows"]),
            age(each["stored_ms"], now_ms),
        )
    return table


def _sealed_only(groups: Sequence[_Figures] | None) -> str:
    if groups is None:
        return "being counted"
    return ", ".join(f"{each['group']} {each['segments']}" for each in groups) or "none"


def _lines(clock: _Figures, standing: _Figures, now_ms: int) -> Iterator[str]:
    yield from _clock(clock, standing)
    yield f"Incarnation {standing['incarnation']}."
    if standing["evicted_ms"]:
        since = age(standing["evicted_ms"], now_ms)
        yield f"The hub gave this school up {since} ago; it returns by itself when it is connected."
    yield from _checkpoints(standing["checkpoints"], now_ms)
    yield from _keys(standing["keys"], now_ms)
    yield from _recovery(standing["recovery"], now_ms)
    yield from _parked(standing, now_ms)
    yield from _quarantined(standing, now_ms)


def _clock(clock: _Figures, standing: _Figures) -> Iterator[str]:
    yield f"Clock: {clock_words(msgspec.convert(clock, ClockLight))}."
    if standing["clamped"] or standing["corrections"]:
        yield (
            f"{standing['clamped']} segments had stamps from the future, clamped by the hub;"
            f" {standing['corrections']} corrections of rows written under a wrong clock."
        )


def _checkpoints(checkpoints: Sequence[_Figures], now_ms: int) -> Iterator[str]:
    if not checkpoints:
        yield "No checkpoint yet: the whole history is here."
    for each in checkpoints:
        if each["refused"]:
            word = f"refused: {escape(each['refused'])}"
        elif each["countersigned"]:
            word = "countersigned by the hub"
        else:
            word = "the hub has not countersigned it"
        line = f"Checkpoint {each['number']} of {each['audience']}: {age(each['at_ms'], now_ms)}"
        yield f"{line} ago, {word}."
        if each["dropped_ms"] is not None:
            dropped = age(each["dropped_ms"], now_ms)
            yield f"  {each['dropped_rows']} rows before it: segments let go {dropped} ago."


def _keys(keys: _Figures, now_ms: int) -> Iterator[str]:
    oldest = age(keys["oldest_standing_ms"], now_ms)
    yield (
        f"Keys: {keys['standing']} in use, the oldest since {oldest}; {keys['ended']} ended;"
        f" {keys['recipients']} recipients."
    )
    if keys["released"]:
        yield f"The hub may read: {', '.join(keys['released'])}."
    if keys["undecided"]:
        yield f"{keys['undecided']} wait for a person: schoolnode keys recipients"


def _recovery(recovery: _Figures, now_ms: int) -> Iterator[str]:
    if not recovery["has_code"]:
        yield "No recovery code: a lost box would take all names with it. schoolnode recovery new"
        return
    stored = age(recovery["stored_ms"], now_ms)
    if recovery["stored_ms"] is None:
        yield "Vault: the hub has stored no backup yet."
    else:
        generation = recovery["stored_generation"]
        yield f"Vault: backup of generation {generation} stored at the hub {stored} ago."
    if recovery["vault_waits"] or recovery["keys_wait"]:
        reason = f" ({escape(recovery['detail'])})" if recovery["detail"] else ""
        yield f"The hub lacks the newest vault or keys{reason}; they are sent when it is reached."


def _parked(standing: _Figures, now_ms: int) -> Iterator[str]:
    if not standing["parked_rows"]:
        return
    for_good = standing["parked_for_good_rows"]
    yield f"Parked: {standing['parked_rows']} rows, {for_good} of them for good:"
    for each in standing["parked"][:_TOLD_MAX]:
        fate = "an upgrade may mend it" if each["retriable"] else "kept as evidence"
        place = f"{each['log']} segment {each['seq']}"
        when = age(each["parked_ms"], now_ms)
        yield f"  {place}, {each['rows']} rows, {when} ago: {escape(each['reason'])} ({fate})"


def _quarantined(standing: _Figures, now_ms: int) -> Iterator[str]:
    if not standing["quarantined_segments"]:
        return
    yield f"Refused: {standing['quarantined_segments']} segments:"
    for each in standing["quarantined"][:_TOLD_MAX]:
        place = f"{each['log']} segment {each['seq']}"
        when = age(each["refused_ms"], now_ms)
        yield f"  {escape(place)}, {each['times']} times, {when} ago: {escape(each['reason'])}"
