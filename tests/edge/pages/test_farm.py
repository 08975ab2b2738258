"""The farm's pages: who may enter what, what is shown of it, and how it is said."""

import re
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import FormData

from drivers.discovery.candidate import DeviceKind
from drivers.entities import DeviceId
from edge.devices.adopted import AdoptedDevice
from edge.farm.conditions import Because
from edge.farm.rule import Output
from edge.pages.box_view import Light, Sign
from edge.pages.farm_words import sentence_of
from edge.pages.language import load_languages
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import (
    JPEG,
    MINUTE_MS,
    NOW_MS,
    ZONE,
    SimulatedBox,
    measured,
)

BOARD, PROBE = "modbus:relays", "modbus:soil"
PUMP = f"{BOARD}|relay_1"
PLACES = (
    *("point", "value", "test", "limit", "for_min", "how"),
    *("clock", "runs", "minutes", "device", "command"),
)
"""Every fact that a reason may be filled with."""
RULE = {
    "name": "Morning water",
    "output": PUMP,
    "when1_place": f"{PROBE}|soil_moisture",
    "when1_test": "below",
    "when1_value": "35",
    "when1_back": "45",
    "when1_for": "10",
    "days": "school_days",
    "starts": "06:30",
    "ends": "08:00",
    "never_with": f"{BOARD}|relay_2",
    "longest": "5",
    "pause": "20",
    "litres": "40",
    "litres_min": "8",
}


@pytest.fixture
def farm(box: SimulatedBox, tmp_path: Path) -> SimulatedBox:
    """A roof with a relay board and a probe that nobody plugged in, and a class that cares."""
    for device, kind, profile, unit in (
        (BOARD, DeviceKind.FARM_ACTUATOR, "relay-waveshare-rtu-8", 9),
        (PROBE, DeviceKind.FARM_SENSOR, "soil-sen0601", 17),
    ):
        box.hang_up(
            AdoptedDevice(
                device=DeviceId(device),
                kind=kind,
                name=f"屋顶 {device}",
                profile=profile,
                address=f"serial:{tmp_path / device}?baud=9600&unit={unit}",
                room=None,
            ),
            Light.BAD,
            Sign.LINK_LOST,
        )
    for person in (901, 902):
        box.insert("person", person=person, kind="pupil")
        box.insert("enrolment", person=person, class_group="g3c1", since_ms=0)
    return box


async def read(client: Client, path: str = "/rooftop", language: str = "en") -> str:
    answer = await client.get(path, headers={"Accept-Language": language})
    assert answer.status == 200
    return await answer.text()


async def post(client: Client, path: str, status: int = 200, /, **fields: str | list[str]) -> str:
    pairs = [
        (name, value)
        for name, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    answer = await client.post(path, data=FormData(pairs))
    text = await answer.text()
    assert answer.status == status, text
    return text


def rows(box: SimulatedBox, query: str) -> list[tuple[object, ...]]:
    with box.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


async def enter_plots(staff: Client, box: SimulatedBox) -> list[str]:
    await post(staff, "/rooftop/plot", name="东一", crop="生菜", group="g3c1", devices=[PROBE])
    await post(staff, "/rooftop/plot", name="东二")
    return [plot.plot for plot in box.farm.keeper.plots]


@pytest.mark.parametrize(
    "path",
    [
        "/rooftop/rule",
        "/rooftop/rule/switch",
        "/rooftop/override",
        "/rooftop/plot",
        "/rooftop/experiments",
    ],
)
async def test_without_the_code_nothing_is_entered(
    client: Client, farm: SimulatedBox, path: str
) -> None:
    page = await post(client, path, 403, **RULE)
    assert "Enter the setup code first." in page
    tried = await post(client, path, 403, act="try", **RULE)
    assert 'id="tried"' not in tried
    assert not rows(farm, "SELECT rule FROM farm_rule UNION SELECT plot FROM farm_plot")


@pytest.mark.usefixtures("farm")
async def test_the_grow_log_is_closed_without_the_code(client: Client) -> None:
    assert "欧阳若琳" not in await read(client, "/rooftop/log")
    assert (await client.get(f"/rooftop/photo/{'0' * 32}")).status == 403
    await post(client, "/rooftop/log", 403, plot="p")


async def test_a_rule_is_entered_by_a_form_and_said_in_words(
    staff: Client, farm: SimulatedBox
) -> None:
    await post(staff, "/rooftop/rule", act="enter", **RULE)
    (stored,) = farm.farm.keeper.rules
    assert stored.rule is not None
    assert stored.rule.limits.seconds_a_day == 300
    page = await read(staff)
    for words in (
        "Morning water",
        "below 35",
        "until 45",
        "for 10 min",
        "06:30-08:00",
        "40 litres",
    ):
        assert words in page
    chinese = await read(staff, language="zh-CN")
    assert "低于 35" in chinese
    await post(staff, "/rooftop/rule/switch", rule=stored.name, word="off")
    assert rows(farm, "SELECT enabled, plot IS NULL FROM farm_rule") == [(0, 0)]
    assert "switched off" in await read(staff)
    await post(staff, "/rooftop/rule/switch", rule=stored.name, word="remove")
    assert not farm.farm.keeper.rules


async def test_a_rule_is_changed_by_the_form_that_made_it(
    staff: Client, farm: SimulatedBox
) -> None:
    await post(staff, "/rooftop/rule", act="enter", **RULE)
    (stored,) = farm.farm.keeper.rules
    page = await read(staff, f"/rooftop/rule?rule={stored.name}")
    held = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]*value="([^"]*)"', page))
    assert (held["name"], held["when1_value"], held["longest"]) == ("Morning water", "35.0", "5")
    assert f'value="{PROBE}|soil_moisture" selected' in page
    await post(staff, "/rooftop/rule", act="enter", rule=stored.name, **{**RULE, "longest": "7"})
    (changed,) = farm.farm.keeper.rules
    assert changed.rule is not None
    assert (changed.name, changed.rule.limits.longest_on_min) == (stored.name, 7)


WRONG: tuple[tuple[dict[str, str], str], ...] = (
    ({"when1_value": "a lot"}, "is no number"),
    ({"when1_value": "nan"}, "is no number"),
    ({"when1_value": ""}, "give the value"),
    ({"when1_back": "20"}, "must lie above"),
    ({"when1_back": "nan"}, "when1_back"),
    ({"when1_for": "1441"}, "when1_for"),
    ({"output": f"{BOARD}|explode"}, "no output that a rule may drive"),
    ({"longest": "241"}, "longest_on_min"),
    ({"litres": ""}, "litres"),
    ({"when1_place": f"{PROBE}|rainfall"}, "nothing adopted measures"),
    ({"when1_place": "nothing"}, "when1_place"),
    ({"starts": "26:00"}, "starts"),
    ({"name": "x" * 90}, "name"),
)


@pytest.mark.parametrize("act", ["enter", "try"])
async def test_a_rule_that_cannot_be_is_refused_with_a_word_and_the_form_stays_filled(
    staff: Client, farm: SimulatedBox, act: str
) -> None:
    for wrong, words in WRONG:
        answer = await staff.post("/rooftop/rule", data={**RULE, **wrong, "act": act})
        page = await answer.text()
        assert answer.status in {400, 409}, wrong
        assert 'role="alert"' in page
        assert words in page
    assert 'value="40.0"' not in page  # a form that cannot even be read is empty
    wish = {**RULE, "when1_back": "20", "act": act}
    answer = await staff.post("/rooftop/rule", data=wish)
    assert 'name="when1_back" type="number" step="any" value="20"' in await answer.text()
    assert not rows(farm, "SELECT * FROM farm_rule")


async def test_what_a_rule_would_have_done_is_shown_and_nothing_is_done(
    staff: Client, farm: SimulatedBox
) -> None:
    for minute, value in ((300, 40.0), (290, 30.0), (280, 30.0), (270, 50.0)):
        farm.insert(
            "reading",
            at_ms=NOW_MS - minute * MINUTE_MS,
            device=PROBE,
            point="soil_moisture",
            value=value,
            quality="good",
        )
    wish = {**RULE, "days": "every_day", "starts": "", "ends": "", "when1_for": "0"}
    page = await post(staff, "/rooftop/rule", act="try", **wish)
    assert "1 runs, 5 min on" in page
    assert "soil moisture is 30, below 35" in page
    assert 'value="Morning water"' in page
    assert not rows(farm, "SELECT * FROM farm_rule")


async def test_an_output_is_held_by_hand_for_a_while_and_the_page_says_until_when(
    staff: Client, farm: SimulatedBox
) -> None:
    await post(staff, "/rooftop/override", output=PUMP, word="off", minutes="30")
    word = farm.farm.keeper.engine.override_of(Output(device=BOARD, command="relay_1"))
    assert word is not None
    assert not word.is_on
    assert "by hand: off until 09:35:00" in await read(staff)
    await post(staff, "/rooftop/override", output=PUMP, word="back")
    assert farm.farm.keeper.left_s(Output(device=BOARD, command="relay_1")) is None
    actions = [row[0] for row in rows(farm, "SELECT action FROM audit_entry")]
    assert actions == ["farm relay_1 off for 30 min", "farm relay_1 back to the rules"]
    await post(staff, "/rooftop/override", 409, output=f"{BOARD}|x", word="on", minutes="5")
    await post(staff, "/rooftop/override", 400, output=PUMP, word="on", minutes="9999")


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "soil moisture cannot be relied on: no value"), ("zh-CN", "土壤湿度不可靠")],
)
async def test_decisions_stand_with_their_reasons_in_the_readers_words(
    client: Client, farm: SimulatedBox, language: str, words: str
) -> None:
    farm.insert(
        "farm_action",
        at_ms=NOW_MS - MINUTE_MS,
        rule="r1",
        device=BOARD,
        command="relay_1 off",
        outcome="verified",
        reason="doubt",
        facts='{"point":"soil_moisture","how":"bad"}',
    )
    farm.insert("farm_action", at_ms=NOW_MS - 5, reason="of_tomorrow{x}", facts="{nonsense")
    page = await read(client, language=language)
    assert words in page
    assert "of_tomorrow{x}" in page


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_every_reason_is_a_sentence_with_its_facts(language: str) -> None:
    facts = dict.fromkeys(PLACES, "above")
    for because in Because:
        said = sentence_of(because, facts, load_languages()[language], {})
        assert said != because.value
        assert not set("{}") & set(said)
        assert "—" in sentence_of(Because.INTERLOCK, {}, load_languages()[language], {})


async def test_a_plot_of_a_rule_is_not_removed(staff: Client, farm: SimulatedBox) -> None:
    first, second = await enter_plots(staff, farm)
    wish = {**RULE, "when1_place": f"plot={first}|soil_moisture", "plot": first}
    await post(staff, "/rooftop/rule", act="enter", **wish)
    page = await post(staff, "/rooftop/plot/remove", 409, plot=first)
    assert "Morning water" in page
    await post(staff, "/rooftop/plot/remove", plot=second)
    assert [plot.plot for plot in farm.farm.keeper.plots] == [first]
    await post(staff, "/rooftop/plot", 409, name="x", devices=["modbus:nobody"])


async def test_charts_show_what_was_recorded(staff: Client, farm: SimulatedBox) -> None:
    first, _ = await enter_plots(staff, farm)
    for quarter in range(60):
        farm.insert(
            "reading",
            at_ms=NOW_MS - quarter * 15 * MINUTE_MS,
            device=PROBE,
            point="soil_moisture",
            value=30.0 + quarter % 9,
            quality="good",
        )
    page = await read(staff, f"/rooftop/charts?plot={first}&days=1")
    assert page.count('<svg class="chart"') >= 2
    assert "lowest 30, highest 38" in page
    assert "Nothing was recorded" in page  # of the temperature
    assert "style=" not in page
    assert (await staff.get("/rooftop/charts?plot=nobody&days=9999")).status == 200


async def test_an_experiment_from_beginning_to_conclusion(
    staff: Client, client: Client, farm: SimulatedBox
) -> None:
    first, second = await enter_plots(staff, farm)
    day = datetime.fromtimestamp(NOW_MS / 1_000, ZONE).date().isoformat()
    wish: dict[str, str | list[str]] = {
        "title": "Water or none",
        "factor": "watering",
        "hypothesis": "wet grows better",
        "plot_a": first,
        "plot_b": second,
        "points": ["soil_moisture", "soil_temperature"],
        "begins": day,
        "ends": "2026-12-24",
    }
    await post(staff, "/rooftop/experiments", 409, **{**wish, "plot_b": first})
    await post(staff, "/rooftop/experiments", 409, **{**wish, "ends": "2026-01-01"})
    await post(staff, "/rooftop/experiments", 400, **{**wish, "ends": "tomorrow"})
    page = await post(staff, "/rooftop/experiments", **wish)
    assert "wet grows better" in page
    assert "Not enough data" in page
    ((name,),) = rows(farm, "SELECT experiment FROM farm_experiment")
    await post(
        staff, "/rooftop/experiments/conclude", experiment=str(name), conclusion="we cannot say"
    )
    assert "we cannot say" in await read(client, "/rooftop/experiments")
    assert rows(farm, "SELECT title, points FROM farm_experiment") == [
        ("Water or none", "soil_moisture soil_temperature")
    ]
    answer = await client.get(f"/rooftop/experiments/{name}.csv")
    assert answer.content_type == "text/csv"
    assert (await answer.text()).startswith("\ufeffday,point,unit,A mean")
    assert (await client.get("/rooftop/experiments/nobody.csv")).status == 404
    await post(staff, "/rooftop/experiments/conclude", experiment=str(name), word="remove")
    assert "No experiment is entered yet." in await read(client, "/rooftop/experiments")
    await post(staff, "/rooftop/experiments/conclude", 404, experiment=str(name))


def log_form(photo: bytes | BytesIO | None, **fields: str) -> FormData:
    form = FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, value)
    if photo is not None:
        form.add_field("photo", photo, filename="IMG.jpg", content_type="image/jpeg")
    return form


async def test_the_grow_log_takes_text_height_and_a_photo_without_its_place(
    staff: Client, farm: SimulatedBox
) -> None:
    first, _ = await enter_plots(staff, farm)
    place = b"\xff\xe1\x00\x0eExif\0\0GPS 30"
    photo = JPEG[:2] + place + JPEG[2:]
    answer = await staff.post(
        "/rooftop/log",
        data=log_form(
            photo, plot=first, group="g3c1", person="901", text="发芽了", height_cm="3.4"
        ),
    )
    page = await answer.text()
    assert answer.status == 200, page
    for words in ("发芽了", "欧阳若琳", "3.4"):
        assert words in page
    ((name, height),) = rows(farm, "SELECT photo, height_mm FROM grow_log")
    assert height == 34
    picture = await staff.get(f"/rooftop/photo/{name}")
    assert picture.content_type == "image/jpeg"
    assert await picture.read() == JPEG
    assert (await staff.get(f"/rooftop/photo/{'0' * 32}")).status == 404


async def test_an_entry_that_does_not_fit_is_refused_with_a_word(
    staff: Client, farm: SimulatedBox
) -> None:
    for form, status in (
        (log_form(None, plot="p"), 400),
        (log_form(b"GIF89a", plot="p"), 409),
        (log_form(BytesIO(b"x" * 1_500_001), plot="p"), 413),
        (log_form(None, plot="p", text="x" * 5_000), 413),
        (log_form(None, plot="p", height_cm="high"), 400),
        (log_form(None, **{f"f{number}": "1" for number in range(40)}), 413),
        (FormData({"plot": "p"}), 400),
    ):
        answer = await staff.post("/rooftop/log", data=form)
        assert answer.status == status
        assert 'role="alert"' in await answer.text()
    assert not rows(farm, "SELECT * FROM grow_log")


async def test_labour_points_count_once_a_teacher_has_confirmed_them(
    staff: Client, farm: SimulatedBox
) -> None:
    for person, points in (("901", "3"), ("901", "5"), ("902", "4")):
        await post(
            staff, "/rooftop/log/points", person=person, points=points, work="除草", group="g3c1"
        )
    page = await read(staff, "/rooftop/log?group=g3c1")
    assert "Confirmed labour points" not in page
    tasks = {row[0]: row[1] for row in rows(farm, "SELECT points, task FROM labour_point")}
    for worth, word in ((3, "confirm"), (5, "refuse"), (5, "confirm")):
        await post(
            staff,
            "/rooftop/log/answer",
            task=str(tasks[worth]),
            person="901",
            teacher="陈老师",
            word=word,
            group="g3c1",
        )
    page = await read(staff, "/rooftop/log?group=g3c1")
    table = page[page.index("Confirmed labour points") :]
    assert re.findall(r'<td class="right">(\d+)</td>', table) == ["3"]
    assert page.count('name="task"') == 1
    await post(staff, "/rooftop/log/points", 400, person="901", points="500", work="x")


async def test_the_first_page_tells_nothing_where_there_is_nothing(client: Client) -> None:
    page = await read(client)
    for words in ("No plot is entered yet.", "No relay board", "No rule", "Nothing was decided"):
        assert words in page
    assert "No plot is entered yet." in await read(client, "/rooftop/charts")


async def test_a_value_that_no_document_confirms_is_marked_at_its_plot(
    staff: Client, farm: SimulatedBox, tmp_path: Path
) -> None:
    probe = AdoptedDevice(
        device=DeviceId("modbus:roof:20"),
        kind=DeviceKind.FARM_SENSOR,
        name="甲",
        profile="soil-jxct-npk",
        address=f"serial:{tmp_path / 'roof'}?baud=9600&unit=20",
        room=None,
    )
    farm.hang_up(probe, Light.GOOD, Sign.ANSWERED)
    farm.values += [
        measured(probe.device, "soil_ph", 6.5, ""),
        measured(probe.device, "soil_moisture", 31.0, "%"),
    ]
    await post(staff, "/rooftop/plot", name="西", devices=[probe.device])
    page = await read(staff)
    assert page.count("Confirmed by no document: compare before you rely on it.") == 1
