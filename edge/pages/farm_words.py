"""What the farm decided and found, in the reader's language."""

from collections.abc import Mapping
from datetime import datetime, tzinfo

from babel.dates import format_skeleton

from edge.farm.comparison import Finding
from edge.farm.conditions import Because, Facts
from edge.farm.rule import Condition, Window
from edge.pages.language import Language

_COMPARING = frozenset({Because.CONDITIONS, Because.NOT_MET})


def sentence_of(because: str, facts: Facts, language: Language, names: Mapping[str, str]) -> str:
    """Return why something was decided; ``names`` are those of devices.

    A word of a newer version stays as it is.
    """
    _ = language.translations.gettext
    sentences: Mapping[str, str] = {
        Because.CONDITIONS: _("{point} is {value}, {test} {limit}"),
        Because.SCHEDULE: _("it is time"),
        Because.NOT_MET: _("{point} is {value}, not {test} {limit}"),
        Because.REACHED: _("{point} has come to {value}"),
        Because.WAITING: _("{point} is {value}; it has to stay so for {for_min} min"),
        Because.DOUBT: _("{point} cannot be relied on: {how}"),
        Because.GUARD: _("held off: {point} is {value}, {test} {limit}"),
        Because.WINDOW: _("outside its times ({clock})"),
        Because.CLOCK: _("the time of day is not known"),
        Because.LIMIT_RUNS: _("the runs of this day are used ({runs})"),
        Because.LIMIT_TIME: _("the time of this day is used ({minutes} min)"),
        Because.LONGEST: _("the longest time on has passed ({minutes} min)"),
        Because.PAUSE: _("it pauses for {minutes} min"),
        Because.INTERLOCK: _("{device} {command} must not be on with it, and may be"),
        Because.UNSEEN: _("nobody knows whether it is on"),
        Because.OTHER_HAND: _("another hand switched it"),
        Because.FAILED: _("it could not be switched on; tried again later"),
        Because.HAND_ON: _("switched on by hand"),
        Because.HAND_OFF: _("held off by hand"),
        Because.HAND_OVER: _("the time by hand is over"),
        Because.NO_RULE: _("no rule drives it any more"),
    }
    if because not in sentences:
        return because
    sentence = sentences[Because(because)]
    if facts.get("test") == "is":  # a word is compared with nothing
        sentence = _("held off: {point} is {value}") if because == Because.GUARD else sentence
        sentence = _("{point} is {value}") if because in _COMPARING else sentence
    told = {name: _told(name, value, language, names) for name, value in facts.items()}
    return sentence.format_map(_Known(told))


def finding_of(finding: Finding, language: Language) -> str:
    """Return what a class may conclude."""
    _ = language.translations.gettext
    return {
        Finding.TOO_FEW: _("Not enough data: at least five days on which both plots are known."),
        Finding.UNDECIDED: _("No difference is shown: the interval holds zero."),
        Finding.A_MORE: _("Plot A had more, on these days."),
        Finding.B_MORE: _("Plot B had more, on these days."),
    }[finding]


def condition_of(condition: Condition, where: str, language: Language) -> str:
    """Return a condition as a person reads it; ``where`` names its device or plot."""
    _ = language.translations.gettext
    words = language.words
    facts: dict[str, str | float] = {"test": condition.test, "limit": condition.value}
    told = {name: _told(name, value, language, {}) for name, value in facts.items()}
    what = f"{where}{language.colon}{words.point(condition.source.point)}"
    said = f"{what} {told['test']} {told['limit']}"
    if condition.back is not None:
        said += _(", until {back}").format(back=language.number(condition.back))
    if condition.for_min:
        said += _(", for {for_min} min").format(for_min=language.number(condition.for_min))
    return said


def window_of(window: Window, language: Language) -> str:
    _ = language.translations.gettext
    said = days_of(language)[window.days]
    if window.starts != window.ends:
        said += f" {window.starts}-{window.ends}"
    if window.season_from:
        said += f" · {window.season_from} / {window.season_to}"
    return said


def days_of(language: Language) -> Mapping[str, str]:
    _ = language.translations.gettext
    return {
        "every_day": _("every day"),
        "school_days": _("days with lessons"),
        "free_days": _("days without lessons"),
    }


def date_of(at_ms: int, zone: tzinfo, language: Language) -> str:
    """Write month and day."""
    at = datetime.fromtimestamp(at_ms / 1_000, zone)
    return format_skeleton("MMMd", at, locale=language.locale)


class _Known(dict[str, str]):
    """Facts for a sentence; one that an older version did not write is a dash."""

    def __missing__(self, key: str) -> str:
        return "—"


def _told(name: str, value: str | float, language: Language, names: Mapping[str, str]) -> str:
    _ = language.translations.gettext
    if not isinstance(value, str):
        return language.number(value)
    words: Mapping[str, Mapping[str, str]] = {
        "test": {"below": _("below"), "above": _("above"), "is": ""},
        "how": {
            "missing": _("nothing was read yet"),
            "bad": _("no value"),
            "uncertain": _("uncertain"),
            "old": _("too old"),
        },
        "device": names,
    }
    if name in words:
        return words[name].get(value, value)
    if name == "point":
        return language.words.point(value)
    if name == "command":
        return language.words.command(value)
    return language.words.value(value)
