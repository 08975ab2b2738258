"""Decides what of the farm is on: pure, no clock and no I/O; one :meth:`Engine.look` a second.

An output that a rule drives belongs to the rules: it is on only while one of them, or a person's
override, wants it and nothing forbids it. Guards and interlocks of any rule protect the output
whoever wants it. Whatever is not known counts against being on.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from msgspec import Struct

from edge.farm.conditions import Because, Conditions, Facts, Verdict
from edge.farm.rule import Output, Rule, RuleId
from edge.farm.switch import HAND, KeptOutput, Override, Switch, restored
from edge.farm.tally import Usage
from edge.farm.world import Seen, World

BLOCKED_EVERY_S = 60.0
OVERRIDE_LONGEST_MIN = 30.0
_ORDINARY = frozenset({Because.PAUSE, Because.LONGEST})
"""A rule that rests between two runs is not said to be held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``argument`` is on or off, None when a rule wants it on and may not.

    A repeated one is told the device again and written down no more.
    """

    output: Output
    rule: RuleId
    argument: bool | None
    because: Because
    facts: Facts
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rule stands now; ``is_on``: its output is on by this rule."""

    is_on: bool
    because: Because
    facts: Facts


class Kept(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the engine must not forget; ``day`` is the one it counts into."""

    day: str
    outputs: tuple[KeptOutput, ...] = ()


Judged = Mapping[RuleId, tuple[Verdict, Verdict]]
"""Of each rule: whether it wants its output on, and whether its guards allow that."""


class Engine:
    """Owns every output that one of its rules drives; not thread-safe."""

    def __init__(self) -> None:
        self._rules: dict[RuleId, Rule] = {}
        self._conditions: dict[RuleId, Conditions] = {}
        self._switches: dict[Output, Switch] = {}
        self._never: frozenset[frozenset[Output]] = frozenset()
        self._blocked: dict[RuleId, tuple[Because, float]] = {}
        self._looked_s: float | None = None
        self._day = ""
        self.standings: dict[RuleId, Standing] = {}

    @property
    def outputs(self) -> list[Output]:
        """What :meth:`look` has to be told of: all that it drives, or must not run beside it."""
        return sorted({output for pair in self._never for output in pair} | set(self._governed()))

    def set_rules(self, rules: Mapping[RuleId, Rule]) -> None:
        """Go by these rules from now on; one that is unchanged keeps its conditions' memory."""
        self._conditions = {
            name: self._conditions[name] if self._rules.get(name) == rule else Conditions(rule)
            for name, rule in rules.items()
        }
        self._rules = dict(sorted(rules.items()))
        self._never = frozenset(
            frozenset((rule.output, other)) for rule in rules.values() for other in rule.never_with
        )
        self._blocked = {name: told for name, told in self._blocked.items() if name in rules}
        self.standings = {name: at for name, at in self.standings.items() if name in rules}

    def set_override(self, output: Output, override: Override | None) -> None:
        """Let a person's word go before the rules; None ends it."""
        self._switch(output).override = override

    def override_of(self, output: Output) -> Override | None:
        switch = self._switches.get(output)
        return switch.override if switch else None

    def usage_of(self, output: Output) -> Usage:
        """Return what was used on the day that counts now."""
        switch = self._switches.get(output)
        return switch.tally.of(self._day) if switch else Usage()

    def is_told_on(self, output: Output) -> bool:
        switch = self._switches.get(output)
        return switch is not None and switch.is_told_on

    @property
    def is_anything_on(self) -> bool:
        return any(each.is_told_on or each.on_since_s for each in self._switches.values())

    def note_switched_on(self, output: Output) -> None:
        """Take that an order to switch on was carried out."""
        self._switch(output).failures = 0

    def note_failed(self, output: Output, now_s: float) -> None:
        """Take that an order to switch on failed: it is off, and is let be for a while."""
        self._switch(output).fail(now_s)

    def look(self, world: World) -> list[Decision]:
        """Return what is to be switched, or may not be, by what is seen now."""
        self._see(world)
        judged = {name: each.judge(world) for name, each in self._conditions.items()}
        decisions: list[Decision] = []
        # What runs comes first: what it stops now is free at a later look, when it is seen off.
        for output in sorted(self._governed(), key=lambda each: not self.is_told_on(each)):
            decisions += self._decide(output, judged, world)
        return decisions

    def keep(self, now_s: float) -> Kept:
        """Return what must survive a restart."""
        switches = sorted(self._switches.items())
        return Kept(
            day=self._day,
            outputs=tuple(switch.keep(output, now_s) for output, switch in switches),
        )

    def rest(self, now_s: float) -> None:
        """Take that everything was made safe: the box stops, and its drivers see to that."""
        for switch in self._switches.values():
            if switch.is_told_on:
                switch.stop(Because.NO_RULE, 0.0, now_s)
            switch.on_since_s = None

    def restore(self, kept: Kept, elapsed_s: float, now_s: float) -> None:
        """Go on after ``elapsed_s`` without the engine: what was on then was on all the time.

        A person's "on" ends with the restart, an "off" goes on.
        """
        self._day = kept.day
        for each in kept.outputs:
            self._switches[each.output] = restored(each, kept.day, elapsed_s, now_s)

    def _governed(self) -> list[Output]:
        driven = {rule.output for rule in self._rules.values()}
        switches = self._switches.items()
        return sorted(driven | {each for each, on in switches if on.is_told_on or on.override})

    def _switch(self, output: Output) -> Switch:
        return self._switches.setdefault(output, Switch())

    def _see(self, world: World) -> None:
        """Count the time since the last look for all that was on, into the school's day."""
        if world.moment is not None:
            day = world.moment.date().isoformat()
            if not self._day:  # the clock was not known until now: what was used is of this day
                for switch in self._switches.values():
                    usage = switch.tally.days.pop("", Usage())
                    switch.tally.add(day, usage.on_s, usage.runs)
            self._day = day
        before_s = world.mono_s if self._looked_s is None else self._looked_s
        passed_s = max(0.0, world.mono_s - before_s)
        for output in self.outputs:
            seen = world.seen_of(output)
            self._switch(output).see(seen, self._day, passed_s, world.mono_s)
        self._looked_s = world.mono_s

    def _decide(self, output: Output, judged: Judged, world: World) -> Iterator[Decision]:
        switch, now_s, was_on = self._switch(output), world.mono_s, self.is_told_on(output)
        if switch.was_switched_off(world.seen_of(output), now_s):
            switch.leave_to_hand(now_s)
            verdicts = {
                name: Verdict(False, Because.OTHER_HAND)
                for name in (switch.rule, *self._rules_of(output))
            }
        else:
            verdicts = self._verdicts(output, judged, world)
        wanted = [name for name, verdict in verdicts.items() if verdict.holds]
        if wanted:
            if not was_on or switch.rule not in wanted:
                switch.rule = wanted[0]
            if not was_on:
                switch.start(self._day, now_s)
                yield _decision(output, switch.rule, verdicts[switch.rule], is_on=True)
        else:
            yield from self._keep_off(output, verdicts, world)
        for name in self._rules_of(output):
            verdict, is_on = verdicts[name], switch.is_told_on and switch.rule == name
            self.standings[name] = Standing(is_on, verdict.because, verdict.facts)
            if was_on and not switch.is_told_on:
                self._blocked[name] = (verdict.because, -math.inf)
            elif judged[name][0].holds:
                yield from self._tell_blocked(output, name, verdict, now_s)

    def _verdicts(self, output: Output, judged: Judged, world: World) -> dict[RuleId, Verdict]:
        """Return of each who might want an output on whether it may be."""
        switch, now_s = self._switch(output), world.mono_s
        forbidden = self._forbidden(output, judged, world)
        override = switch.override
        if override is None:
            return {
                name: forbidden or self._verdict(name, judged[name][0], now_s)
                for name in self._rules_of(output)
            }
        because = Because.HAND_ON if override.is_on else Because.HAND_OFF
        spoken = Verdict(override.is_on, because, {"who": override.who})
        if override.is_on:  # limits and times are lifted, protection and the longest run are not
            longest = [self._rules[each].limits.longest_on_min for each in self._rules_of(output)]
            longest_min = min(longest, default=OVERRIDE_LONGEST_MIN)
            ended = switch.ended_by(longest_min, now_s) if switch.is_told_on else None
            if ended is not None:
                switch.override = None
            spoken = forbidden or ended or spoken
        return dict.fromkeys((HAND, *self._rules_of(output)), spoken)

    def _keep_off(
        self, output: Output, verdicts: Mapping[RuleId, Verdict], world: World
    ) -> Iterator[Decision]:
        switch, now_s = self._switch(output), world.mono_s
        if switch.is_told_on:
            because = Because.HAND_OVER if switch.rule == HAND else Because.NO_RULE
            verdict = verdicts.get(switch.rule, Verdict(False, because))
            is_first = True
        elif switch.repeat(world.seen_of(output), now_s):
            verdict, is_first = Verdict(False, Because.OTHER_HAND), switch.on_since_s == now_s
        else:
            return
        pauses = [self._rules[name].limits.pause_min * 60 for name in self._rules_of(output)]
        switch.stop(verdict.because, max(pauses, default=0.0), now_s)
        yield replace(
            _decision(output, switch.rule, verdict, is_on=False), is_repeated=not is_first
        )

    def _forbidden(self, output: Output, judged: Judged, world: World) -> Verdict | None:
        """Return what forbids an output to be on whoever wants it; None when nothing does."""
        switch, now_s = self._switch(output), world.mono_s
        for name in self._rules_of(output):
            if not judged[name][1].holds:
                return judged[name][1]
        for other in sorted(o for pair in self._never if output in pair for o in pair - {output}):
            if self._switch(other).may_disturb(
                world.seen_of(other), now_s, a_running=switch.is_told_on
            ):
                facts = {"device": other.device, "command": other.command}
                return Verdict(False, Because.INTERLOCK, facts)
        if switch.is_unseen(now_s):
            return Verdict(False, Because.UNSEEN)
        if not switch.is_told_on and world.seen_of(output) is Seen.ON:
            return Verdict(False, Because.OTHER_HAND)
        return None

    def _verdict(self, name: RuleId, wish: Verdict, now_s: float) -> Verdict:
        """Return whether a rule wants its output on, within its own limits."""
        if not wish.holds:
            return wish
        rule = self._rules[name]
        return self._switch(rule.output).refused_by(rule.limits, self._day, now_s) or wish

    def _rules_of(self, output: Output) -> list[RuleId]:
        return [name for name, rule in self._rules.items() if rule.output == output]

    def _tell_blocked(
        self, output: Output, name: RuleId, verdict: Verdict, now_s: float
    ) -> Iterator[Decision]:
        """Tell when a rule whose conditions hold may not switch on, once for each reason."""
        if verdict.holds:
            self._blocked.pop(name, None)
            return
        before, told_s = self._blocked.get(name, (None, -math.inf))
        is_new = before is not verdict.because and verdict.because not in _ORDINARY
        if is_new and now_s - told_s >= BLOCKED_EVERY_S:
            self._blocked[name] = (verdict.because, now_s)
            yield _decision(output, name, verdict, is_on=None)


def _decision(output: Output, rule: RuleId, verdict: Verdict, *, is_on: bool | None) -> Decision:
    return Decision(
        output=output,
        rule=rule,
        argument=is_on,
        because=verdict.because,
        facts=verdict.facts,
    )
