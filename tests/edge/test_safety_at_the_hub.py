"""An alarm from a box's input to the hub's store, and the district's answer back to the school."""

from contextlib import closing
from pathlib import Path

from edge.safety.circuits import Circuit, CircuitKind
from hub.queries import read_district
from sync.store import connect_readonly
from tests.drivers.serial_bench import until
from tests.edge.adopted_devices import CONTACTS, contact_board, contact_reading
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.hub.running_hub import running_hub
from tests.loopback import own_address


def read(box: RunningBox, word: str) -> None:
    box.box._take(contact_reading(word, box.box.now_ms()))


async def test_an_alarm_reaches_the_district_and_its_answer_the_school(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
        hub.record("school", {"school": 17, "name": "湖泗教学点"})
        config = daemon_config(tmp_path / "box", network=f"{own_address('125.1')}/24")
        async with running_box(config, hub.now_ms) as box:
            box.box._fleet.add(contact_board(tmp_path / "nobody"))
            button = Circuit(
                circuit="gate",
                kind=CircuitKind.PANIC,
                name="门卫室按钮",
                room=None,
                device=CONTACTS,
                point="input_1",
                active="closed",
            )
            await box.box.safety.add(button, "test")
            read(box, "open")
            read(box, "closed")
            await until(lambda: bool(box.box.safety.incidents()))
            (alarm,) = box.box.safety.incidents()
            await until(lambda: bool(hub.rows("SELECT 1 FROM alarm")))
            hub.record(
                "alarm_answer",
                {"school": 17, "incident": alarm.incident, "at_ms": hub.now_ms(), "who": "值班员"},
            )
            await until(lambda: box.box.safety.incidents()[0].seen_by == "值班员")
            await box.box.safety.acknowledge(alarm.incident, "李老师")
            taken = "SELECT who FROM alarm_step WHERE step = 'acknowledged'"
            await until(lambda: hub.rows(taken) == [("李老师",)])
            with closing(connect_readonly(hub.store)) as connection:
                (school,) = read_district(connection, 0, hub.now_ms())
    (told,) = school.alarms
    assert (told.place, told.taken_by, told.seen_by) == ("门卫室按钮", "李老师", "值班员")
