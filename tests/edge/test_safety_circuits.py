"""What readings of an input amount to, without clocks or devices."""

from dataclasses import replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.entities import DeviceId
from edge.errors import NotNowError
from edge.metering import parse_night
from edge.safety.circuits import (
    DIFFER_S,
    FIRST_WORD_S,
    RESTORE_S,
    SILENT_S,
    Circuit,
    CircuitKind,
    CircuitState,
    CircuitWatch,
    Effect,
)
from edge.safety.incidents import (
    DRILL,
    STEPS_MAX,
    Incident,
    Standing,
    Step,
    assemble,
)
from edge.safety.sounding import Sounding

BUTTON = Circuit(
    circuit="gate",
    kind=CircuitKind.PANIC,
    name="Gate",
    room=None,
    device=DeviceId("modbus:1"),
    point="input_1",
    active="closed",
    effects=frozenset({Effect.SIREN}),
)
PAIR = replace(BUTTON, partner="input_2")
SIREN = replace(
    BUTTON, circuit="roof", kind=CircuitKind.SIREN, point="output_1", active="on", longest_s=60
)


class Line:
    """A watch, and a clock that a test turns."""

    def __init__(self, circuit: Circuit = BUTTON) -> None:
        self.watch = CircuitWatch(circuit, 0.0)
        self.now = 0.0

    def read(self, *words: str, after_s: float = 0.2) -> CircuitState:
        self.now += after_s
        for point, word in zip(self.watch.circuit.points, words, strict=True):
            self.watch.read(point, word, self.now, int(self.now * 1000))
        return self.judge(0)

    def judge(self, after_s: float) -> CircuitState:
        self.now += after_s
        self.watch.judge(self.now, int(self.now * 1000))
        return self.watch.state


def test_a_button_counts_at_its_first_reading() -> None:
    line = Line()
    assert line.read("open") is CircuitState.NORMAL
    assert line.read("closed") is CircuitState.ACTIVE
    assert line.watch.since_ms == 400


def test_a_door_that_rattles_in_the_wind_is_not_open() -> None:
    line = Line(replace(BUTTON, kind=CircuitKind.DOOR, active="open"))
    line.read("closed")
    for _ in range(10):
        assert line.read("open") is CircuitState.NORMAL
        assert line.read("closed") is CircuitState.NORMAL
    line.read("open")
    assert line.read("open", after_s=0.6) is CircuitState.ACTIVE


def test_a_button_that_bounces_is_pressed_once() -> None:
    line = Line()
    line.read("open")
    line.read("closed")
    turns = 0
    for word in ("open", "closed") * 10:
        before = line.watch.state
        line.read(word, after_s=RESTORE_S / 3)
        turns += line.watch.state is not before
    assert turns == 0
    assert line.watch.state is CircuitState.ACTIVE


def test_silence_is_trouble_and_says_why_until_the_input_is_heard_again() -> None:
    line = Line()
    line.read("open")
    assert line.judge(SILENT_S - 0.1) is CircuitState.NORMAL
    line.watch.fail("no answer within 0.3 s")
    assert line.judge(0.2) is CircuitState.TROUBLE
    assert line.watch.reason == "no answer within 0.3 s"
    assert line.read("open") is CircuitState.NORMAL
    assert not line.watch.reason


def test_an_input_never_heard_since_the_start_is_trouble_too() -> None:
    line = Line()
    assert line.judge(FIRST_WORD_S - 0.1) is CircuitState.UNKNOWN
    assert line.judge(0.2) is CircuitState.TROUBLE


def test_an_alarm_is_not_forgotten_when_its_line_is_cut() -> None:
    line = Line()
    line.read("closed")
    assert line.judge(SILENT_S + 1) is CircuitState.TROUBLE
    assert line.read("closed") is CircuitState.ACTIVE


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("open", "closed"), CircuitState.NORMAL),
        (("closed", "open"), CircuitState.ACTIVE),
        (("open", "open"), CircuitState.TROUBLE),  # the second contact's wire is cut
        (("closed", "closed"), CircuitState.ACTIVE),  # maybe a short, maybe somebody in danger
    ],
)
def test_two_contacts_of_a_button_watch_each_other(
    words: tuple[str, str], state: CircuitState
) -> None:
    line = Line(PAIR)
    line.read("open", "closed")
    line.read(*words)
    assert line.read(*words, after_s=DIFFER_S + 0.1) is state
    assert bool(line.watch.reason) is (words[0] == words[1])


def test_a_button_on_its_way_is_no_wiring_fault() -> None:
    line = Line(PAIR)
    line.read("open", "closed")
    assert line.read("open", "open") is CircuitState.NORMAL
    assert line.read("closed", "open") is CircuitState.ACTIVE
    assert not line.watch.reason


READINGS = st.lists(
    st.tuples(st.sampled_from(["open", "closed", None]), st.floats(0.01, 3.0)), max_size=60
)


@given(READINGS)
def test_whatever_is_read_an_alarm_needs_an_active_word_and_rest_needs_a_fresh_one(
    readings: list[tuple[str | None, float]],
) -> None:
    """Against the plain rule: what was heard last, when, and since when it stands."""
    line = Line()
    heard: list[tuple[float, str]] = []
    for word, after_s in readings:
        if word is None:
            line.watch.fail("noise")
            line.judge(after_s)
        else:
            line.read(word, after_s=after_s)
            heard.append((line.now, word))
        state = line.watch.state
        silent_s = line.now - (heard[-1][0] if heard else 0.0)
        if silent_s >= (SILENT_S if heard else FIRST_WORD_S):
            assert state is CircuitState.TROUBLE
        elif heard and heard[-1][1] == "closed":
            assert state is CircuitState.ACTIVE
        elif heard:
            run = list(takewhile(lambda each: each[1] == "open", reversed(heard)))
            since = run[-1][0]
            if line.now - since >= RESTORE_S:
                assert state is CircuitState.NORMAL
        else:
            assert state is CircuitState.UNKNOWN


def test_hours_of_a_door_may_pass_midnight() -> None:
    hours = parse_night("22:00-06:00")
    assert [hours.contains(hour * 60) for hour in (21, 22, 3, 6)] == [False, True, True, False]


def incident(name: str = "gate:1", **fields: object) -> Incident:
    made = Incident(
        incident=name, kind="panic", circuit="gate", place="Gate", at_ms=1_000, is_drill=False
    )
    return replace(made, **fields)  # type: ignore[arg-type] # a test's own fields


class TestStanding:
    def test_an_alarm_ends_by_a_person_alone_and_in_order(self) -> None:
        standing = Standing()
        standing.begin(incident(), "modbus:1")
        with pytest.raises(NotNowError, match="acknowledge it first"):
            standing.close("gate:1", "Li", 2_000)
        standing.acknowledge("gate:1", "Li", 2_000)
        with pytest.raises(NotNowError, match="already"):
            standing.acknowledge("gate:1", "Wang", 2_100)
        standing.close("gate:1", "Li", 3_000)
        with pytest.raises(NotNowError, match="does not stand"):
            standing.acknowledge("gate:1", "Li", 4_000)

    def test_what_the_rows_say_is_what_stood(self) -> None:
        standing = Standing()
        rows = [
            standing.begin(incident(effects=BUTTON.effects), "modbus:1"),
            standing.note("gate:1", Step.RESTORED, 1_500),
            standing.acknowledge("gate:1", "Li", 2_000),
        ]
        alarms = [row for part in rows for row in part.get("alarm", [])]
        steps = [row for part in rows for row in part["alarm_step"]]
        (again,) = assemble(alarms, steps, {"gate": BUTTON.effects})
        assert again == standing.incidents["gate:1"]

    def test_an_alarm_of_a_drill_can_be_made_real_once(self) -> None:
        standing = Standing()
        before = standing.begin(incident(is_drill=True), "modbus:1")
        after = standing.declare_real("gate:1", "modbus:1", "Li", 2_000)
        assert not standing.incidents["gate:1"].is_drill
        with pytest.raises(NotNowError):
            standing.declare_real("gate:1", "modbus:1", "Li", 3_000)
        (again,) = assemble(
            [*before["alarm"], *after["alarm"]], [*before["alarm_step"], *after["alarm_step"]], {}
        )
        assert not again.is_drill

    def test_a_drill_that_nobody_ends_counts_for_its_minutes_only(self) -> None:
        standing = Standing()
        drill = incident("drill:1", kind=DRILL, circuit="", is_drill=True)
        standing.begin(drill, "", "10 siren", "Li")
        assert standing.drill(1_000 + 9 * 60_000) is not None
        assert standing.drill(1_000 + 10 * 60_000) is None

    def test_a_chattering_contact_does_not_fill_the_disk(self) -> None:
        standing = Standing()
        standing.begin(incident(), "modbus:1")
        written = [standing.note("gate:1", Step.AGAIN, at) for at in range(2 * STEPS_MAX)]
        assert sum(len(rows.get("alarm_step", [])) for rows in written) == STEPS_MAX - 1
        standing.acknowledge("gate:1", "Li", 5_000)
        assert standing.incidents["gate:1"].is_acknowledged
        assert standing.close("gate:1", "Li", 6_000)[1]["alarm_step"]

    def test_steps_of_a_later_version_are_passed_over(self) -> None:
        rows = Standing().begin(incident(), "modbus:1")
        steps = [*rows["alarm_step"], {**rows["alarm_step"][0], "step": "teleported"}]
        (again,) = assemble(rows["alarm"], steps, {})
        assert [each.step for each in again.steps] == [Step.RAISED]


class TestSounding:
    def test_a_siren_sounds_until_somebody_comes_and_never_longer_than_it_may(self) -> None:
        sounding, alarm = Sounding(), incident(effects=frozenset({Effect.SIREN}))
        standing = Standing({"gate:1": alarm})
        sounding.begin("gate:1", 100.0)
        circuits = [BUTTON, SIREN]
        assert sounding.wanted(circuits, standing.incidents.values(), 159.0) == {"roof"}
        assert sounding.wanted(circuits, standing.incidents.values(), 160.0) == set()
        standing.acknowledge("gate:1", "Li", 2_000)
        assert sounding.wanted(circuits, standing.incidents.values(), 110.0) == set()

    def test_an_alarm_without_that_effect_leaves_the_siren_silent(self) -> None:
        sounding = Sounding()
        sounding.begin("gate:1", 100.0)
        assert sounding.wanted([BUTTON, SIREN], [incident()], 101.0) == set()
        sounding.try_for_a_moment(SIREN, 101.0)
        assert sounding.wanted([BUTTON, SIREN], [incident()], 102.0) == {"roof"}
        assert sounding.wanted([BUTTON, SIREN], [incident()], 103.0) == set()

    def test_a_bell_rings_its_chime_and_no_siren(self) -> None:
        bell = replace(
            BUTTON, circuit="bell", kind=CircuitKind.BELL, effects=frozenset({Effect.CHIME})
        )
        chime = replace(SIREN, circuit="hall", kind=CircuitKind.CHIME, longest_s=5)
        sounding = Sounding()
        sounding.ring("bell", 10.0)
        assert sounding.wanted([bell, chime, SIREN], [], 12.0) == {"hall"}
        assert sounding.wanted([bell, chime, SIREN], [], 15.0) == set()
