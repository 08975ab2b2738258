from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.modbus_points import PointValue
from drivers.entities import DeviceId, InputEdge, Quality
from drivers.input_edges import InputEdges
from firmware_profiles.model import Event
from tests.drivers.relay_bench import DEVICE, Relays, board
from tests.drivers.serial_bench import running, until

PRESSED = Event(id="panic", capability="panic", format="edge", point="button", becomes="on")


def pressed(debounce_ms: int = 0) -> Event:
    return Event(
        id="panic",
        capability="panic",
        format="edge",
        point="button",
        becomes="on",
        debounce_ms=debounce_ms,
    )


def edges_of(readings: Sequence[tuple[float, str | None]], debounce_ms: int = 0) -> list[int]:
    """Return when edges were seen, in milliseconds, of readings at times in seconds."""
    edges = InputEdges(DeviceId("door"), [pressed(debounce_ms)])
    found: list[int] = []
    for at_s, word in readings:
        quality = Quality.BAD if word is None else Quality.GOOD
        value = PointValue(word, quality)
        found += [
            edge.observed_ms
            for edge in edges.take("button", value, at_s, round(at_s * 1000), "here")
        ]
    return found


def test_a_press_is_one_edge_however_long_it_lasts() -> None:
    assert edges_of([(0, "off"), (0.2, "on"), (0.4, "on"), (0.6, "off"), (0.8, "on")]) == [200, 800]


def test_a_button_that_is_pressed_when_the_box_starts_is_an_edge() -> None:
    assert edges_of([(0, "on"), (0.2, "on")]) == [0]


def test_what_bounces_is_no_edge_before_it_has_held_and_carries_its_first_moment() -> None:
    bounce = [(0, "off"), (1.0, "on"), (1.02, "off"), (1.04, "on"), (1.06, "on"), (1.1, "on")]
    assert edges_of(bounce, debounce_ms=50) == [1040]


def test_a_release_that_bounces_gives_no_second_edge() -> None:
    story = [(1.0, "on"), (1.1, "on"), (2.0, "off"), (2.02, "on"), (2.2, "on"), (3, "off")]
    assert edges_of(story, debounce_ms=50) == [1000]


def test_a_failed_reading_neither_makes_nor_ends_an_edge() -> None:
    assert edges_of([(0, "off"), (1, "on"), (2, None), (3, "on")]) == [1000]


@given(st.lists(st.sampled_from(["on", "off", None]), max_size=60))
def test_without_bounce_edges_are_the_changes_to_on(words: list[str | None]) -> None:
    said = [word for word in words if word is not None]
    rises = sum(
        word == "on" and (place == 0 or said[place - 1] == "off") for place, word in enumerate(said)
    )
    assert len(edges_of([(float(at), word) for at, word in enumerate(words)])) == rises


async def test_a_pressed_button_is_told_at_once_and_its_value_not_at_every_reading(
    tmp_path: Path,
) -> None:
    relays = Relays(tmp_path, board(events=[PRESSED]))
    bus = relays.bus()

    def told() -> list[InputEdge]:
        return [event for event in relays.events if isinstance(event, InputEdge)]

    async with running(relays.simulator.run(), bus.run()):
        await until(lambda: relays.is_here and bool(relays.readings("button")))
        answered = bus.statistics.answered
        await until(lambda: bus.statistics.answered > answered + 10)
        relays.press(on=True)
        await until(lambda: len(told()) == 1)
        relays.press(on=False)
        await until(lambda: relays.readings("button")[-1] == "off")
        relays.press(on=True)
        await until(lambda: len(told()) == 2)
    edge = told()[0]
    assert (edge.device, edge.event, edge.point) == (DEVICE, "panic", "button")
    # Some readings a second at most, and each change.
    assert len(relays.readings("button")) < bus.statistics.answered / 2
