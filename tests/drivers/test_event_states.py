"""What a camera's events mean, also when its clock goes back."""

from collections.abc import Sequence

import pytest

from drivers.cameras.event_states import EventStates
from drivers.codecs.pull_point import CameraEvent
from drivers.entities import DeviceId, InputEdge, Measurement
from firmware_profiles.model import Event

TOPIC = "RuleEngine/CellMotionDetector/Motion"
NOW_MS = 1_000_000_000


def told(at_ms: int, state: str, operation: str = "Changed") -> CameraEvent:
    return CameraEvent(topic=TOPIC, operation=operation, at_ms=at_ms, data=(("IsMotion", state),))


def edges(events: Sequence[CameraEvent], repeat_ms: int = 0) -> list[int]:
    """Return when motion began, one answer of the camera an event."""
    known = Event(
        id="motion", capability="motion", format="onvif", topic=f"tns1:{TOPIC}", repeat_ms=repeat_ms
    )
    states = EventStates(DeviceId("camera"), [known], "onvif")
    meanings = [each for event in events for each in states.take([event], NOW_MS, 0)]
    assert sum(isinstance(each, Measurement) for each in meanings) == len(events)
    return [each.observed_ms for each in meanings if isinstance(each, InputEdge)]


def test_only_a_beginning_is_an_edge_and_what_a_subscription_begins_with_is_none() -> None:
    events = [
        told(1_000, "true", "Initialized"),
        told(2_000, "false"),
        told(3_000, "true"),
        told(4_000, "true"),
    ]
    assert edges(events) == [3_000]


@pytest.mark.parametrize("back_ms", [1, 3_600_000])
def test_a_clock_that_goes_back_hides_no_beginning(back_ms: int) -> None:
    first, again = 90_000_000, 90_000_000 - back_ms
    events = [told(first, "true"), told(first, "false"), told(again, "true")]
    assert edges(events) == [first, again]


def test_what_is_repeated_within_its_time_is_told_once_though_the_clock_jitters() -> None:
    events = [told(at, state) for at in (50_000, 50_400, 49_990) for state in ("true", "false")]
    assert edges(events, repeat_ms=1_000) == [50_000]
    events.append(told(51_000, "true"))
    assert edges(events, repeat_ms=1_000) == [50_000, 51_000]
