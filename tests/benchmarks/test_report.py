"""The one shape of every benchmark's outcome."""

import json

import pytest

from benchmarks.report import Report, measured, publish, read_machine, read_versions


def test_a_figure_is_the_median_with_its_spread() -> None:
    figure = measured("speed", [3.0, 1.0, 200.0], "rows/s", "higher", 3)
    assert (figure.value, figure.spread, figure.runs, figure.met) == (3.0, (1.0, 200.0), 3, True)


@pytest.mark.parametrize(
    ("value", "direction", "met"),
    [(9.9, "higher", False), (10.0, "higher", True), (10.1, "lower", False), (10.0, "lower", True)],
)
def test_a_goal_is_at_least_or_at_most_that_much(value: float, direction: str, met: bool) -> None:
    figure = measured("x", [value], "B", "higher" if direction == "higher" else "lower", 10)
    assert figure.met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    assert measured("x", [1.0], "B", "lower").met is None


def test_rounding_never_turns_a_missed_goal_into_a_met_one() -> None:
    assert measured("x", [60.004], "µs", "lower", 60).met is False
    assert measured("x", [19_999.9], "rows/s", "higher", 20_000).met is False


def test_json_has_the_stated_keys(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        benchmark="nothing",
        machine=read_machine(),
        versions=read_versions("msgspec"),
        figures=[measured("x", [1.0], "B", "lower", 2)],
        notes=["a note"],
    )
    publish(report, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"benchmark", "machine", "versions", "figures", "notes"}
    assert told["figures"] == [
        {
            "name": "x",
            "value": 1.0,
            "unit": "B",
            "direction": "lower",
            "goal": 2,
            "met": True,
            "spread": [1.0, 1.0],
            "runs": 1,
        }
    ]
    publish(report, as_json=False)
    assert "a note" in capsys.readouterr().out
