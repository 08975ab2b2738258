from typing import Any

import msgspec
import pytest
from rich.console import Console

from edge.sync_words import age, show_status
from sync.schema.model import Lane
from tests.edge.test_metrics import crowded

NOW_MS = 10_000_000


def told() -> dict[str, Any]:
    """Return an answer of the daemon's, as JSON brought it."""
    figures = crowded()
    sync = msgspec.to_builtins(figures.lights)
    for lane, place in zip(sync["lanes"], Lane, strict=True):
        lane |= {"lane": place.name.lower(), "peer": "hub", "held": False}
    standing = msgspec.to_builtins(figures.standing)
    standing["received"] = []
    standing["recovery"] = {
        "has_code": True,
        "stored_ms": NOW_MS - 7_200_000,
        "stored_generation": 2,
        "vault_waits": True,
        "keys_wait": False,
        "detail": "the hub [away]",
    }
    return {
        "now_ms": NOW_MS,
        "sync": {**sync, "held": ["telemetry"], "held_reason": "today's bytes are used"}
        | {"held_until_ms": NOW_MS + 9_000_000},
        "clock": msgspec.to_builtins(figures.clock),
        "standing": standing,
    }


def shown(answer: dict[str, Any]) -> str:
    console = Console(width=200, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        show_status(console, answer)
    return captured.get()


def test_each_figure_is_shown_with_its_age_and_its_remedy() -> None:
    words = shown(told())
    for sentence in (
        "heard 2 h ago",
        "Held back: telemetry: today's bytes are used, for 2.5 h yet.",
        "backup of generation 2 stored at the hub 2 h ago",
        "The hub lacks the newest vault or keys (the hub [away])",
        "Parked: 3 rows, 1 of them for good",
        "No checkpoint yet: the whole history is here.",
        "identity 2",
    ):
        assert sentence in words


def test_what_is_not_known_is_not_shown_as_0() -> None:
    answer = told()
    answer["sync"]["last_exchange_ms"] = None
    for lane in answer["sync"]["lanes"]:
        lane |= {"sealed_only": None, "stored_ms": None}
    words = shown(answer)
    assert "not heard yet" in words
    assert words.count("being counted") == len(Lane)


@pytest.mark.parametrize(
    ("ago_ms", "words"),
    [(0, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (-5, "0 s")],
)
def test_an_age_is_told_in_its_largest_fitting_unit(ago_ms: int, words: str) -> None:
    assert age(NOW_MS - ago_ms, NOW_MS) == words
    assert age(None, NOW_MS) == "-"
