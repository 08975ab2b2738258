"""How long and how often an output was on, by the school's day."""

from msgspec import Struct

DAYS_KEPT = 8
"""More than a wrong clock jumps to and fro: a day that comes again goes on where it was."""


class Usage(Struct, forbid_unknown_fields=True, kw_only=True):
    """One day of one output."""

    on_s: float = 0.0
    runs: int = 0


class Tally:
    """Usage of one output by ISO date; the earliest days are forgotten."""

    def __init__(self, days: dict[str, Usage] | None = None) -> None:
        self.days = dict(days or {})

    def add(self, day: str, on_s: float, runs: int = 0) -> None:
        usage = self.days.setdefault(day, Usage())
        usage.on_s += on_s
        usage.runs += runs
        while len(self.days) > DAYS_KEPT:
            del self.days[min(each for each in self.days if each != day)]

    def of(self, day: str) -> Usage:
        return self.days.get(day, Usage())
