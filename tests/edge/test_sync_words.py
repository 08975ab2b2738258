from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from edge.pages.language import LANGUAGES, load_language
from edge.sync_words import LANES_ABREAST, show_status
from sync.schema.model import Lane
from tests.edge.test_metrics import crowded

NOW_MS = 10_000_000
WIDTH = 80


def told() -> dict[str, Any]:
    """Return an answer of the daemon's, as JSON brought it."""
    figures = crowded()
    sync = msgspec.to_builtins(figures.lights)
    for lane, place in zip(sync["lanes"], Lane, strict=True):
        lane |= {"lane": place.name.lower(), "peer": "hub", "held": place is Lane.TELEMETRY}
        lane |= {"sealed": 1_234_567, "under_way_bytes": 123_456_789}
    standing = msgspec.to_builtins(figures.standing)
    standing["parked"] = [
        {"log": "17/000000000000000a/s17/telemetry", "seq": 5, "table": 99, "rows": 2}
        | {"reason": "not-owned: x", "retriable": True, "parked_ms": NOW_MS - 60_000}
    ]
    standing["received"] = [
        {
            "origin": 65_535,
            "lane": "snapshot",
            "logs": 1,
            "stored": 1_234_567,
            "applied": 1_234_567,
            "rows": 9,
            "stored_ms": NOW_MS - 60_000,
            "frozen": 2,
            "sealed_only": [{"group": "identity", "segments": 7}],
            "parked_rows": 3,
        }
    ]
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
        "sync": {**sync, "held": ["telemetry"], "held_reason": "metered"}
        | {"held_until_ms": NOW_MS + 9_000_000},
        "clock": msgspec.to_builtins(figures.clock),
        "standing": standing,
    }


def shown(answer: dict[str, Any], code: str = "en") -> list[str]:
    console = Console(width=WIDTH, force_terminal=False)
    with console.capture() as captured:
        show_status(console, answer, load_language(code))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_each_figure_is_shown_with_its_age_and_its_remedy() -> None:
    words = " ".join(shown(told()))
    for sentence in (
        "Last exchange: 2 h ago.",
        "Held back: readings: today's bytes of this metered link are used.",
        "They flow again in 2 h.",
        "backup of generation 2 stored at the hub 2 h ago",
        "The hub lacks the newest vault or keys; they are sent when it is reached.",
        "the hub [away]",
        "Parked: 3 rows, 1 of them for good",
        "No checkpoint yet: the whole history is here.",
        "Clock: set; the hub's is behind by 1.5 s.",
    ):
        assert sentence in words


def test_a_parked_rows_reason_is_told_in_words_with_its_facts() -> None:
    answer = told()
    answer["standing"]["parked"][0]["reason"] = "table-unknown: table 99 [x]"
    assert "    本版本不认识该数据表；升级后自动补入。 (table 99 [x])" in shown(answer, "zh-CN")  # noqa: RUF001 - Chinese
    answer["standing"]["parked"][0]["reason"] = "as an older version wrote it"
    assert "    It was set aside. (as an older version wrote it)" in shown(answer)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_lanes_figures_are_whole_at_80_columns(code: str) -> None:
    lines = shown(told(), code)
    assert all(cell_len(line) <= WIDTH for line in lines)
    assert not any("…" in line for line in lines)
    # Every lane's figures stand whole in their row, LANES_ABREAST lanes a table.
    sealed = [line for line in lines if "1,234,567" in line and "65535" not in line]
    assert sum(line.count("1,234,567") for line in sealed) >= len(Lane)
    assert max(line.count("1,234,567") for line in sealed) == LANES_ABREAST
    words = load_language(code).words
    assert all(any(words.lanes[lane][:2] in line for line in lines) for lane in Lane)


def test_lanes_without_a_row_are_named_instead_of_shown() -> None:
    answer = told()
    for lane in answer["sync"]["lanes"]:
        if lane["lane"] != "control":
            lane |= {"sealed": 0, "waiting_rows": 0}
    lines = shown(answer, "zh-CN")
    (empty,) = [line for line in lines if line.startswith("尚无记录")]
    assert "密钥与设置" not in empty
    assert empty.count(",") == len(Lane) - 2


def test_chinese_status_holds_no_english_but_what_others_wrote() -> None:
    answer = told()
    answer["standing"]["recovery"]["detail"] = ""
    answer["standing"]["parked"] = answer["standing"]["quarantined"] = []
    text = " ".join(shown(answer, "zh-CN"))
    for command in ("schoolnode keys recipients", "schoolnode recovery new"):
        text = text.replace(command, "")
    assert [
        word for word in text.split() if word.isascii() and word.isalpha() and word.islower()
    ] == []


def test_what_is_not_known_is_not_shown_as_0() -> None:
    answer = told()
    answer["sync"]["last_exchange_ms"] = None
    for lane in answer["sync"]["lanes"]:
        lane |= {"sealed_only": None, "stored_ms": None}
    words = "\n".join(shown(answer))
    assert "Last exchange: —." in words
    assert words.count("being counted") == len(Lane)
