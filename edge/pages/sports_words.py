"""The words of fitness-test stations and their units in the reader's language."""

from collections.abc import Callable, Mapping


def station_words(_: Callable[[str], str]) -> Mapping[str, str]:
    """Translate every station; ``_`` is a catalogue's gettext."""
    return {
        "height": _("height"),
        "weight": _("weight"),
        "vital_capacity": _("vital capacity"),
        "run_50m": _("50 m run"),
        "sit_and_reach": _("sit and reach"),
        "rope_skipping": _("rope skipping, 1 min"),
        "sit_ups": _("sit-ups, 1 min"),
        "pull_ups": _("pull-ups"),
        "standing_jump": _("standing long jump"),
        "run_50x8": _("50 m x 8 shuttle run"),
        "run_800m": _("800 m run"),
        "run_1000m": _("1000 m run"),
    }


def unit_words(_: Callable[[str], str]) -> Mapping[str, str]:
    """Translate units that are words."""
    return {"count": _("times")}
