"""The demo's figures, gathered from ledgers, stores and recordings, and which of them fail."""

import os
from collections.abc import Mapping

from edge.demo import evidence, hub_figures, name_search
from edge.demo.plan import NETWORK, SERIAL, DemoPlan, SchoolPlan
from edge.demo.progress import percentile


def device_figures(plan: DemoPlan, discovered: Mapping[str, int]) -> dict[str, object]:
    """Return what came of the devices; hub and boxes must have ended."""
    hub = plan.hub_config.parent / "hub.db"
    taps, readings = evidence.Account(0, 0, 0), evidence.Account(0, 0, 0)
    wired, networked = _simulating(plan, SERIAL), _simulating(plan, NETWORK)
    for school in wired:
        taps += evidence.account_for_taps(hub, school, os.urandom)
        readings += evidence.account_for_readings(hub, school)
    rows = hub_figures.count_rows_at_hub(hub)
    wire = hub_figures.sealed_bytes_at_hub(hub)
    return {
        "enrolled": sum(
            (school.folder / "data" / "identity" / "identity.json").exists()
            for school in plan.schools
        ),
        "discovered": dict(discovered),
        "adopted": dict(hub_figures.devices_at_hub(hub)),
        "readings_stored": readings.stored,
        "taps_stored": taps.stored,
        "panels_on": hub_figures.panels_on(hub),
        "boards_on": sum(evidence.board_was_switched_on(hub, school) for school in wired),
        "lamps_switched": sum(evidence.lamp_was_switched(hub, school) for school in networked),
        "terminals_heard": hub_figures.terminals_heard(hub),
        "readers_heard": hub_figures.readers_heard(hub),
        "doors_heard": hub_figures.doors_heard(hub),
        "fitness_heard": hub_figures.fitness_heard(hub),
        "motion_told": sum(evidence.motion_was_told(hub, school) for school in networked),
        "cameras_turned": sum(evidence.camera_was_turned(school) for school in networked),
        "roofs_watered": hub_figures.roofs_watered(hub),
        "labour_courses": hub_figures.labour_courses(hub),
        "emergency_shown_ms": hub_figures.emergencies_at_hub(hub),
        "drills_held": hub_figures.drills_at_hub(hub),
        "exercise_lessons": hub_figures.exercise_lessons_at_hub(hub),
        "heart_rates_at_hub": hub_figures.heart_rates_at_hub(hub),
        "rows_folded_at_hub": rows,
        "rows_lost": taps.lost + readings.lost,
        "rows_doubled": taps.doubled + readings.doubled,
        "wire_bytes_per_row": round(wire / max(rows, 1), 1),
        "plaintext_names_at_hub": name_search.count_names_at_hub(plan),
        "plaintext_names_control_found": name_search.search_finds_names(plan),
    }


def lesson_figures(plan: DemoPlan, lesson: str, mended_ms: int) -> dict[str, object]:
    """Return what classrooms saw of a lesson and what each node keeps of it; as above.

    ``mended_ms`` is when the line that was cut was whole again.
    """
    watched = {
        school.number: evidence.read_watch(school.report, mended_ms) for school in plan.schools[1:]
    }
    folders = {"hub": plan.hub_config.parent / "lessons"}
    for school in plan.schools:
        folders[f"school-{school.number}"] = school.folder / "data" / "lessons"
    recorded = {name: evidence.read_recording(folder, lesson) for name, folder in folders.items()}
    latencies = sorted(each for seen in watched.values() for each in seen.latencies_ms)
    return {
        "lesson_frames_at_each_classroom": {
            f"school-{number}": seen.frames for number, seen in watched.items()
        },
        "lesson_frames_after_the_cut": {
            f"school-{number}": seen.frames_after_ms for number, seen in watched.items()
        },
        "lesson_sounds_with_tone": {
            f"school-{number}": seen.tones for number, seen in watched.items()
        },
        "lesson_glass_to_glass_ms_p50": percentile(latencies, 0.50),
        "lesson_glass_to_glass_ms_p95": percentile(latencies, 0.95),
        "recording_seconds_at_each_node": {name: each.seconds for name, each in recorded.items()},
        "recording_gap_seconds_at_each_node": {
            name: each.gap_seconds for name, each in recorded.items()
        },
        "recordings_equal": len({each.digest for each in recorded.values()}) == 1,
    }


def failures(observed: Mapping[str, object], plan: DemoPlan) -> list[str]:
    """Return which steps were not really observed."""
    schools = len(plan.schools)
    devices = sum(school.devices_expected for school in plan.schools)
    wired, networked = (len(_simulating(plan, part)) for part in (SERIAL, NETWORK))
    adopted = observed["adopted"]
    assert isinstance(adopted, dict)
    covered = observed["emergency_shown_ms"]
    assert isinstance(covered, dict)
    checks = {
        "enrolled": observed["enrolled"] == schools,
        "adopted": sum(adopted.values()) >= devices,
        "readings_stored": not wired or observed["readings_stored"] != 0,
        "taps_stored": not wired or observed["taps_stored"] != 0,
        "panels_on": observed["panels_on"] == networked,
        "boards_on": observed["boards_on"] == wired,
        "lamps_switched": observed["lamps_switched"] == networked,
        "terminals_heard": observed["terminals_heard"] == networked,
        "roofs_watered": observed["roofs_watered"] == wired,
        "labour_courses": observed["labour_courses"] == wired,
        "readers_heard": observed["readers_heard"] == wired,
        "doors_heard": observed["doors_heard"] == wired,
        "fitness_heard": observed["fitness_heard"] == networked,
        "motion_told": observed["motion_told"] == networked,
        "cameras_turned": observed["cameras_turned"] == networked,
        "emergency_shown_ms": len(covered) == schools,
        "drills_held": observed["drills_held"] == wired,
        "exercise_lessons": observed["exercise_lessons"] == wired,
        "heart_rates_at_hub": observed["heart_rates_at_hub"] == 0,
        "rows_lost": observed["rows_lost"] == 0,
        "rows_doubled": observed["rows_doubled"] == 0,
        "plaintext_names_at_hub": observed["plaintext_names_at_hub"] == 0,
        "plaintext_names_control_found": observed["plaintext_names_control_found"] is True,
        "link_cut_seconds_survived": observed["link_cut_seconds_survived"] != 0,
        "notice_at_schools": observed["notice_at_schools"] == schools,
        "slide_at_classes": observed["slide_at_classes"] == schools - 1,
        "hand_on_the_wall": observed["hand_on_the_wall"] is True,
        "answer_on_the_wall": observed["answer_on_the_wall"] is True,
        "lesson_frames_at_each_classroom": _all_positive(observed, "lesson_frames_after_the_cut"),
        "lesson_sounds_with_tone": _all_positive(observed, "lesson_sounds_with_tone"),
        "lesson_archived": observed["lesson_archived"] is True,
        "recording_seconds_at_each_node": _all_positive(observed, "recording_seconds_at_each_node"),
        "recordings_equal": observed["recordings_equal"] is True
        # A school writes a lesson down once it has all of it: then nothing excuses a difference.
        or (
            observed["lesson_archived"] is not True
            and _any_positive(observed, "recording_gap_seconds_at_each_node")
        ),
    }
    return [name for name, held in checks.items() if not held]


def _all_positive(observed: Mapping[str, object], name: str) -> bool:
    values = observed[name]
    assert isinstance(values, dict)
    return bool(values) and all(value > 0 for value in values.values())


def _any_positive(observed: Mapping[str, object], name: str) -> bool:
    values = observed[name]
    assert isinstance(values, dict)
    return any(value > 0 for value in values.values())


def _simulating(plan: DemoPlan, part: str) -> list[SchoolPlan]:
    """Return the schools in which that part is simulated; of real devices there is no ledger."""
    return [school for school in plan.schools if part in school.simulated]
