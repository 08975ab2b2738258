"""What the demo's proof excuses, and what not."""

from pathlib import Path

import pytest

from edge.demo.plan import DemoConfig, make_plan
from edge.demo.proof import failures

NAMES = ("school-1", "school-2", "school-3")
WELL: dict[str, object] = {
    "enrolled": 3,
    "adopted": {"camera": 1000},
    "readings_stored": 100,
    "taps_stored": 100,
    "panels_on": 3,
    "boards_on": 3,
    "lamps_switched": 3,
    "terminals_heard": 3,
    "roofs_watered": 3,
    "labour_courses": 3,
    "readers_heard": 3,
    "doors_heard": 3,
    "fitness_heard": 3,
    "motion_told": 3,
    "cameras_turned": 3,
    "emergency_shown_ms": dict.fromkeys(("1", "2", "3"), 900),
    "drills_held": 3,
    "exercise_lessons": 3,
    "heart_rates_at_hub": 0,
    "rows_lost": 0,
    "rows_doubled": 0,
    "plaintext_names_at_hub": 0,
    "plaintext_names_control_found": True,
    "link_cut_seconds_survived": 20.0,
    "notice_at_schools": 3,
    "slide_at_classes": 2,
    "hand_on_the_wall": True,
    "answer_on_the_wall": True,
    "lesson_frames_after_the_cut": dict.fromkeys(NAMES[1:], 200),
    "lesson_sounds_with_tone": dict.fromkeys(NAMES[1:], 200),
    "lesson_archived": True,
    "recording_seconds_at_each_node": dict.fromkeys(("hub", *NAMES), 40.0),
    "recording_gap_seconds_at_each_node": dict.fromkeys(("hub", *NAMES), 0.0),
    "recordings_equal": True,
}
"""A day on which all that should be observed was."""
GAPS = {"hub": 0.0, "school-1": 0.0, "school-2": 0.0, "school-3": 1.2}


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, []),
        ({"recordings_equal": False}, ["recordings_equal"]),
        (
            {"recordings_equal": False, "recording_gap_seconds_at_each_node": GAPS},
            ["recordings_equal"],
        ),
        (
            {
                "recordings_equal": False,
                "recording_gap_seconds_at_each_node": GAPS,
                "lesson_archived": False,
            },
            ["lesson_archived"],
        ),
    ],
)
def test_recordings_that_differ_are_excused_by_a_gap_only_where_a_school_waits_for_it(
    tmp_path: Path, changes: dict[str, object], failed: list[str]
) -> None:
    assert failures(WELL | changes, make_plan(tmp_path, DemoConfig())) == failed
