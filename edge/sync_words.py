"""``schoolnode sync status`` in words: every figure with its age, and nothing taken for granted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from edge.metering import Hold
from edge.pages.box_view import LinkState
from edge.pages.language import Language
from sync.clock_spans import Trust
from sync.schema.model import Group, Lane
from sync.segments.segment import HUB

LANES_ABREAST = 4
"""What fits a terminal of 80 columns in both languages."""
_TOLD_MAX = 10
_Figures = Mapping[str, Any]
"""A part of the answer to ``GET /sync``; its shape stands in docs/box.md."""


def show_status(console: Console, told: _Figures, language: Language) -> None:
    """Print what the daemon told; ages are counted from its own clock."""
    words = _StatusWords(language, told["now_ms"])
    for line in words.link(told["sync"]):
        console.print(line, highlight=False, markup=False)
    for table in words.lanes(told["sync"]["lanes"]):
        console.print(table)
    standing = told["standing"]
    for line in (*words.received(standing["received"]), *words.lines(told["clock"], standing)):
        console.print(line, highlight=False, markup=False)


class _StatusWords:
    """One answer's words in one language."""

    def __init__(self, language: Language, now_ms: int) -> None:
        self._language = language
        self._say = language.say
        self._now_ms = now_ms

    def link(self, sync: _Figures) -> Iterator[str]:
        say, words = self._say, self._language.words
        link = words.links[LinkState(sync["link"])]
        yield say("Uplink: {link}, for {age}.", link=link, age=self._age(sync["since_ms"]))
        yield say("Last exchange: {ago}.", ago=self._ago(sync["last_exchange_ms"]))
        if sync["detail"] not in {"", sync["link"]}:
            yield self._language.retold(sync["detail"])
        if sync["held"]:
            lanes = ", ".join(self._lane(name) for name in sync["held"])
            reason = words.holds[Hold(sync["held_reason"])] if sync["held_reason"] else ""
            yield say("Held back: {lanes}: {reason}.", lanes=lanes, reason=reason)
            if sync["held_until_ms"]:
                left = self._language.age(self._now_ms, sync["held_until_ms"])
                yield say("They flow again in {age}.", age=left)

    def lanes(self, lanes: Sequence[_Figures]) -> Iterator[Table | str]:
        """Return lanes as columns, LANES_ABREAST a table; those that never held a row are named."""
        say = self._say
        used = [lane for lane in lanes if lane["sealed"] or lane["waiting_rows"]]
        for first in range(0, len(used), LANES_ABREAST):
            some = used[first : first + LANES_ABREAST]
            table = Table(box=SIMPLE, pad_edge=False)
            table.add_column(say("to the hub, in rows"), overflow="fold")
            for lane in some:
                held = f"\n({say('held back')})" if lane["held"] else ""
                table.add_column(self._lane(lane["lane"]) + held, justify="right", overflow="fold")
            for label, cells in self._figures(some):
                table.add_row(label, *cells)
            yield table
        empty = [self._lane(lane["lane"]) for lane in lanes if lane not in used]
        if empty:
            yield say("Nothing recorded yet: {lanes}.", lanes=", ".join(empty))
        yield say(
            "Sealed to the school: segments that the hub stores and cannot read. Stored: by its"
            " last receipt."
        )

    def _figures(self, lanes: Sequence[_Figures]) -> Iterator[tuple[str, list[str]]]:
        say, number, size = self._say, self._language.number, self._language.size
        yield say("not sealed yet"), [number(lane["unsealed_rows"]) for lane in lanes]
        yield say("sealed"), [number(lane["sealed"]) for lane in lanes]
        yield say("on the way"), [size(lane["under_way_bytes"]) for lane in lanes]
        yield say("stored at the hub"), [number(lane["stored"]) for lane in lanes]
        yield say("gone through there"), [number(lane["applied"]) for lane in lanes]
        yield say("sealed to the school"), [self._sealed_only(lane) for lane in lanes]
        yield say("waiting"), [number(lane["waiting_rows"]) for lane in lanes]
        yield say("waiting, in bytes"), [size(lane["waiting_bytes"]) for lane in lanes]
        yield say("oldest waits for"), [self._age(lane["oldest_waiting_ms"]) for lane in lanes]
        yield say("last sealed"), [self._ago(lane["sealed_ms"]) for lane in lanes]
        yield say("last receipt"), [self._ago(lane["stored_ms"]) for lane in lanes]

    def received(self, held: Sequence[_Figures]) -> Iterator[str]:
        say, number = self._say, self._language.number
        if held:
            yield say("From others, in segments:")
        for each in held:
            origin = each["origin"]
            whose = say("hub") if origin == HUB else say("school {school}", school=origin)
            yield "  " + say(
                "{whose}, {lane}: {stored} stored, {applied} gone through, last {ago}",
                whose=whose,
                lane=self._lane(each["lane"]),
                stored=number(each["stored"]),
                applied=number(each["applied"]),
                ago=self._ago(each["stored_ms"]),
            )
            if each["sealed_only"] is None or each["sealed_only"]:
                groups = self._sealed_only(each).replace("\n", ", ")
                yield "    " + say("not readable here: {groups}", groups=groups)
            if each["parked_rows"]:
                yield "    " + say("rows parked: {n}", n=number(each["parked_rows"]))
            if each["frozen"]:
                yield "    " + say("logs frozen: {n}", n=number(each["frozen"]))

    def lines(self, clock: _Figures, standing: _Figures) -> Iterator[str]:
        yield from self._clock(clock, standing)
        yield self._say("Incarnation {name}.", name=standing["incarnation"])
        if standing["evicted_ms"]:
            yield self._say(
                "The hub gave this school up {ago}; it returns by itself when it is connected.",
                ago=self._ago(standing["evicted_ms"]),
            )
        yield from self._checkpoints(standing["checkpoints"])
        yield from self._keys(standing["keys"])
        yield from self._recovery(standing["recovery"])
        yield from self._parked(standing)
        yield from self._quarantined(standing)

    def _clock(self, clock: _Figures, standing: _Figures) -> Iterator[str]:
        language = self._language
        yield self._say(
            "Clock: {trust}; {offset}.",
            trust=language.words.clock_trust[Trust(clock["trust"])],
            offset=language.offset(clock["hub_offset_ms"]),
        )
        if standing["clamped"] or standing["corrections"]:
            yield self._say(
                "{clamped} segments had stamps from the future, clamped by the hub; {corrected}"
                " corrections of rows written under a wrong clock.",
                clamped=language.number(standing["clamped"]),
                corrected=language.number(standing["corrections"]),
            )

    def _checkpoints(self, checkpoints: Sequence[_Figures]) -> Iterator[str]:
        say = self._say
        if not checkpoints:
            yield say("No checkpoint yet: the whole history is here.")
        for each in checkpoints:
            if each["refused"]:
                word = say("refused: {reason}", reason=self._reason(each["refused"]))
            elif each["countersigned"]:
                word = say("countersigned by the hub")
            else:
                word = say("the hub has not countersigned it")
            yield say(
                "Checkpoint {number} of {audience}, {ago}: {word}",
                number=each["number"],
                audience=each["audience"],
                ago=self._ago(each["at_ms"]),
                word=word,
            )
            if each["dropped_ms"] is not None:
                yield "  " + say(
                    "{rows} rows before it: segments let go {ago}.",
                    rows=self._language.number(each["dropped_rows"]),
                    ago=self._ago(each["dropped_ms"]),
                )

    def _keys(self, keys: _Figures) -> Iterator[str]:
        say = self._say
        yield say(
            "Keys: {standing} in use, the oldest for {age}; {ended} ended; {recipients}"
            " recipients.",
            standing=keys["standing"],
            age=self._age(keys["oldest_standing_ms"]),
            ended=keys["ended"],
            recipients=keys["recipients"],
        )
        if keys["released"]:
            groups = ", ".join(self._group(name) for name in keys["released"])
            yield say("The hub may read: {groups}.", groups=groups)
        if keys["undecided"]:
            yield say(
                "{n} wait for a person to decide: schoolnode keys recipients", n=keys["undecided"]
            )

    def _recovery(self, recovery: _Figures) -> Iterator[str]:
        say = self._say
        if not recovery["has_code"]:
            yield say(
                "No recovery code: a lost box would take all names with it. Make one: schoolnode"
                " recovery new"
            )
            return
        if recovery["stored_ms"] is None:
            yield say("Vault: the hub has stored no backup yet.")
        else:
            yield say(
                "Vault: backup of generation {generation} stored at the hub {ago}.",
                generation=recovery["stored_generation"],
                ago=self._ago(recovery["stored_ms"]),
            )
        if recovery["vault_waits"] or recovery["keys_wait"]:
            yield say("The hub lacks the newest vault or keys; they are sent when it is reached.")
            if recovery["detail"]:
                yield f"  {self._language.retold(recovery['detail'])}"

    def _parked(self, standing: _Figures) -> Iterator[str]:
        say = self._say
        if not standing["parked_rows"]:
            return
        yield say(
            "Parked: {rows} rows, {for_good} of them for good:",
            rows=self._language.number(standing["parked_rows"]),
            for_good=self._language.number(standing["parked_for_good_rows"]),
        )
        for each in standing["parked"][:_TOLD_MAX]:
            fate = say("an update may mend it") if each["retriable"] else say("kept as evidence")
            place = say("{log} segment {seq}", log=each["log"], seq=each["seq"])
            rows = say("{n} rows", n=self._language.number(each["rows"]))
            yield f"  {place}, {rows}, {self._ago(each['parked_ms'])} ({fate}):"
            yield f"    {self._reason(each['reason'])}"

    def _quarantined(self, standing: _Figures) -> Iterator[str]:
        say = self._say
        if not standing["quarantined_segments"]:
            return
        count = self._language.number(standing["quarantined_segments"])
        yield say("Refused: {n} segments:", n=count)
        for each in standing["quarantined"][:_TOLD_MAX]:
            place = say("{log} segment {seq}", log=each["log"], seq=each["seq"])
            times = say("{n} times", n=self._language.number(each["times"]))
            yield f"  {place}, {times}, {self._ago(each['refused_ms'])}:"
            yield f"    {self._reason(each['reason'])}"

    def _reason(self, text: str) -> str:
        word, details = self._language.words.reason(text)
        return f"{word} ({self._language.retold(details)})"

    def _lane(self, name: str) -> str:
        return self._language.words.lanes[Lane[name.upper()]]

    def _group(self, name: str) -> str:
        return self._language.words.groups[Group(name)]

    def _sealed_only(self, told: _Figures) -> str:
        groups = told["sealed_only"]
        if groups is None:
            return self._say("being counted")
        return (
            "\n".join(f"{self._group(each['group'])} {each['segments']}" for each in groups) or "—"
        )

    def _age(self, then_ms: int | None) -> str:
        return self._language.age(then_ms, self._now_ms)

    def _ago(self, then_ms: int | None) -> str:
        return self._language.ago(then_ms, self._now_ms)
