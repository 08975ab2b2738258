"""One day of a district, proved by what its devices wrote down and what its hub holds."""

import time
from typing import Any

import pytest

from tests.scenarios.running_demo import MENDED, RunningDemo

pytestmark = pytest.mark.timeout(420)

MENDED_S_MAX = 180.0
AFTER_THE_CUT_S = 10.0
DAY_S_MAX = 150.0
CLASSROOMS = {"school-2", "school-3"}
NODES = {"hub", "school-1", *CLASSROOMS}


@pytest.fixture(scope="module")
def day(district: RunningDemo) -> dict[str, Any]:
    """What the district's day brought, whose lesson its school ended; its exit code was 0."""
    district.wait_for_note(MENDED, MENDED_S_MAX)
    time.sleep(AFTER_THE_CUT_S)
    district.end_lesson()
    return district.finish(DAY_S_MAX)


def test_nothing_that_should_be_observed_was_not(day: dict[str, Any]) -> None:
    assert day["failed"] == []


def test_three_boxes_enrolled_and_everything_found_was_adopted(day: dict[str, Any]) -> None:
    assert day["enrolled"] == 3
    every = {
        "farm_sensor": 12,
        "farm_actuator": 6,
        "card_reader": 6,
        "attendance_terminal": 6,
        "camera": 3,
        "blackboard": 9,
        "safety_input": 3,
        "sports_gateway": 6,
    }
    assert day["discovered"] == every
    assert day["adopted"] == every


def test_panels_cameras_and_class_cards_did_what_they_were_told(day: dict[str, Any]) -> None:
    assert day["panels_on"] == day["boards_on"] == day["cameras_turned"] == 3
    assert day["lamps_switched"] == 3
    assert set(day["emergency_shown_ms"]) == {"1", "2", "3"}
    assert all(0 <= ms < 20_000 for ms in day["emergency_shown_ms"].values())


def test_every_other_device_was_heard_of_at_the_hub(day: dict[str, Any]) -> None:
    assert day["terminals_heard"] == day["readers_heard"] == 3
    assert day["doors_heard"] == day["motion_told"] == day["fitness_heard"] == 3
    assert day["labour_courses"] == 3


def test_every_row_the_devices_sent_is_at_the_hub_once(day: dict[str, Any]) -> None:
    assert day["rows_lost"] == 0
    assert day["rows_doubled"] == 0
    assert day["readings_stored"] > 50
    assert day["taps_stored"] > 20
    assert day["rows_folded_at_hub"] >= day["readings_stored"] + day["taps_stored"]
    assert day["wire_bytes_per_row"] > 0


def test_no_pupils_name_reaches_the_hub_and_the_search_would_find_one(
    day: dict[str, Any],
) -> None:
    assert day["plaintext_names_at_hub"] == 0
    assert day["plaintext_names_control_found"] is True


def test_a_link_cut_for_twenty_seconds_is_survived(day: dict[str, Any]) -> None:
    assert day["link_cut_seconds_survived"] >= 20
    assert set(day["lesson_frames_after_the_cut"]) == CLASSROOMS
    assert all(frames > 25 for frames in day["lesson_frames_after_the_cut"].values())


def test_both_classrooms_saw_and_heard_the_lesson_in_time(day: dict[str, Any]) -> None:
    for figure in ("lesson_frames_at_each_classroom", "lesson_sounds_with_tone"):
        assert set(day[figure]) == CLASSROOMS
        assert all(count > 100 for count in day[figure].values()), figure
    assert day["lesson_glass_to_glass_ms_p50"] <= 600
    assert day["lesson_glass_to_glass_ms_p95"] >= day["lesson_glass_to_glass_ms_p50"] > 0


def test_every_node_keeps_the_same_recording_once_all_have_written_the_lesson_down(
    day: dict[str, Any],
) -> None:
    seconds, gaps = day["recording_seconds_at_each_node"], day["recording_gap_seconds_at_each_node"]
    assert set(seconds) == set(gaps) == NODES
    assert all(each > 0 for each in seconds.values())
    whole = {node: seconds[node] + gaps[node] for node in NODES}
    assert max(whole.values()) - min(whole.values()) < 1.0, whole
    # It was waited for: a school writes a lesson down once it has, durably, all that there is.
    assert day["lesson_archived"] is True
    assert day["recordings_equal"] is True, gaps


def test_nothing_fell_over_and_a_box_without_a_lesson_stays_small(day: dict[str, Any]) -> None:
    assert set(day["restarts"].values()) == {0}
    schools = [mb for name, mb in day["peak_rss_mb_before_lesson"].items() if "school" in name]
    assert len(schools) == 3
    assert max(schools) <= 120
