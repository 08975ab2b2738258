"""One output as the engine knows it: told, seen, counted, rested; times never jump."""

import math
from dataclasses import dataclass, field

from msgspec import Struct

from edge.farm.conditions import Because, Verdict
from edge.farm.rule import Limits, Output, RuleId
from edge.farm.tally import Tally, Usage
from edge.farm.world import Seen

TICK_S = 1.0
"""How often the engine looks; a limit ends a run this much before it is reached."""
UNSEEN_S = 5.0
"""How long a running output, or one that must not run beside it, may go unread."""
SETTLE_S = 10.0
"""How long after "on" an output may still be read as off."""
REPEAT_S = 5.0
"""How soon "off" is said again to what is still on; twice as long each time after that."""
REPEAT_MAX_S = 300.0
HAND_PAUSE_S = 600.0
"""A person who switches a run off by hand is not fought for so long."""
LONGEST_PAUSE_S = 60.0
RETRY_FIRST_S = 60.0
RETRY_MAX_S = 900.0
HAND = RuleId("hand")
"""Who wants an output that a person's override has on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A person's word on an output; it ends at ``until_s`` of the engine's clock."""

    is_on: bool
    until_s: float
    who: str


class KeptOutput(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One output as it survives a restart; spans count from when it was kept."""

    output: Output
    is_on: bool
    off_for_s: float | None
    held_off_s: float | None
    days: dict[str, Usage]


@dataclass(slots=True, eq=False)
class Switch:
    """``on_since_s``: since when it counts as on, by whomever."""

    tally: Tally = field(default_factory=Tally)
    rule: RuleId = HAND
    is_told_on: bool = False
    told_s: float = -math.inf
    on_since_s: float | None = None
    last_on_s: float = -math.inf
    unseen_since_s: float | None = None
    pause_s: float = 0.0
    retry_at_s: float = -math.inf
    failures: int = 0
    repeats: int = 0
    override: Override | None = None

    def see(self, seen: Seen, day: str, passed_s: float, now_s: float) -> None:
        """Count the time since the last look if it was on, and end an override."""
        if self.override and self.override.until_s <= now_s:
            self.override = None
        if self.on_since_s is not None:
            self.tally.add(day, passed_s)
            self.last_on_s = now_s
        if seen is not Seen.UNKNOWN:
            self.unseen_since_s = None
        elif self.unseen_since_s is None:
            self.unseen_since_s = now_s
        if seen is Seen.ON or self.is_told_on:
            if self.on_since_s is None:
                self.on_since_s = self.last_on_s = now_s
        elif seen is Seen.OFF:
            self.on_since_s, self.repeats = None, 0

    def start(self, day: str, now_s: float) -> None:
        self.is_told_on, self.told_s = True, now_s
        self.on_since_s = self.last_on_s = now_s
        self.tally.add(day, 0.0, runs=1)

    def stop(self, because: Because, pause_s: float, now_s: float) -> None:
        self.is_told_on, self.told_s = False, now_s
        self.pause_s = max(pause_s, LONGEST_PAUSE_S if because is Because.LONGEST else 0.0)

    def repeat(self, seen: Seen, now_s: float) -> bool:
        """Tell whether "off" has to be said again, to what was told off or never told on."""
        pause_s = min(REPEAT_S * 2 ** max(0, self.repeats - 1), REPEAT_MAX_S)
        if seen is not Seen.ON or now_s - self.told_s < pause_s:
            return False
        self.repeats = min(self.repeats + 1, 8)
        return True

    def fail(self, now_s: float) -> None:
        """Note that it could not be switched on: it is let be, for longer each time."""
        self.is_told_on = False
        self.retry_at_s = now_s + min(RETRY_FIRST_S * 2**self.failures, RETRY_MAX_S)
        self.failures = min(self.failures + 1, 8)

    def leave_to_hand(self, now_s: float) -> None:
        """Note that a person switched it off: it is let be for a while."""
        self.failures, self.retry_at_s = 0, now_s + HAND_PAUSE_S

    def was_switched_off(self, seen: Seen, now_s: float) -> bool:
        return self.is_told_on and seen is Seen.OFF and now_s - self.told_s >= SETTLE_S

    def is_unseen(self, now_s: float) -> bool:
        """Tell whether nobody knows if it is on: one poll missed is enough where it is off."""
        if self.unseen_since_s is None:
            return False
        return now_s - self.unseen_since_s >= (UNSEEN_S if self.is_told_on else 0.0)

    def may_disturb(self, seen: Seen, now_s: float, *, a_running: bool) -> bool:
        """Tell whether it may be on beside an output that excludes it.

        One that wants to start waits until this one is read as off, some time after it was told
        anything; one that runs ends once this one is on, or unread for UNSEEN_S.
        """
        if self.on_since_s is not None:
            return True
        if a_running:
            since_s = self.unseen_since_s
            return since_s is not None and now_s - since_s >= UNSEEN_S
        return seen is not Seen.OFF or now_s - self.told_s < UNSEEN_S

    def ended_by(self, longest_on_min: float, now_s: float) -> Verdict | None:
        """Return why a run is over by its own length; None while it is not."""
        since_s = now_s if self.on_since_s is None else self.on_since_s
        if now_s - since_s + TICK_S < longest_on_min * 60:
            return None
        return Verdict(False, Because.LONGEST, {"minutes": longest_on_min})

    def refused_by(self, limits: Limits, day: str, now_s: float) -> Verdict | None:
        """Return what of a rule's limits is against its being on; None when nothing is."""
        usage = self.tally.of(day)
        if usage.on_s + TICK_S >= limits.seconds_a_day:
            return Verdict(False, Because.LIMIT_TIME, {"minutes": round(usage.on_s / 60, 1)})
        if self.is_told_on:
            return self.ended_by(limits.longest_on_min, now_s)
        if limits.runs_a_day is not None and usage.runs >= limits.runs_a_day:
            return Verdict(False, Because.LIMIT_RUNS, {"runs": usage.runs})
        if now_s < self.retry_at_s:
            return Verdict(False, Because.FAILED if self.failures else Because.OTHER_HAND)
        pause_s = max(self.pause_s, limits.pause_min * 60)
        if now_s - self.last_on_s < pause_s:
            return Verdict(False, Because.PAUSE, {"minutes": round(pause_s / 60, 1)})
        return None

    def keep(self, output: Output, now_s: float) -> KeptOutput:
        override = self.override
        is_held = override is not None and not override.is_on
        return KeptOutput(
            output=output,
            is_on=self.is_told_on or self.on_since_s is not None,
            off_for_s=None if self.last_on_s == -math.inf else now_s - self.last_on_s,
            held_off_s=override.until_s - now_s if override and is_held else None,
            days=dict(self.tally.days),
        )


def restored(kept: KeptOutput, day: str, elapsed_s: float, now_s: float) -> Switch:
    """Return an output as it stands ``elapsed_s`` later: what was on is taken to have stayed on."""
    switch = Switch(tally=Tally(kept.days))
    if kept.is_on:
        switch.tally.add(day, elapsed_s)
        switch.last_on_s = now_s
    elif kept.off_for_s is not None:
        switch.last_on_s = now_s - kept.off_for_s - elapsed_s
    if kept.held_off_s is not None and kept.held_off_s > elapsed_s:
        until_s = now_s + kept.held_off_s - elapsed_s
        switch.override = Override(is_on=False, until_s=until_s, who="")
    return switch
