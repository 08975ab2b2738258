"""``schoolnode profile``: a stranger's profile from the README is checked, plugged in and read."""

import asyncio
import json
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import firmware_profiles
from drivers.bus import ModbusBus
from drivers.entities import DeviceEvent, DeviceId, Measurement, Quality
from drivers.modbus_device import AdoptedUnit, modbus_settings
from drivers.transports.port_address import parse_port_address
from edge.errors import BoxSetupError
from edge.profile_commands import profile_app
from firmware_profiles.catalog import examine_profile
from tests.drivers.serial_bench import now_ms, running, until

BUNDLED = Path(firmware_profiles.__file__).parent / "devices"
SOIL = BUNDLED / "farm_sensor" / "soil-sen0601.toml"


def profile(*words: str) -> Result:
    """Run the command as a shell would; what it cannot do is raised."""
    result = CliRunner().invoke(profile_app, list(words))
    if isinstance(result.exception, BoxSetupError):
        raise result.exception
    return result


def readme_profile(folder: Path) -> Path:
    readme = (BUNDLED.parent / "README.md").read_text()
    path = folder / "co2-acme-7.toml"
    path.write_text(readme.partition("```toml\n")[2].partition("```")[0])
    return path


@asynccontextmanager
async def simulated(*words: str) -> AsyncIterator[tuple[str, asyncio.StreamReader]]:
    """Run ``schoolnode profile simulate`` as a program; give where it waits and what it prints."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", "profile", "simulate", *words, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await program.stdout.readline()
        yield json.loads(line)["waiting"], program.stdout
    finally:
        program.terminate()
        assert await program.wait() == 0


def test_every_bundled_profile_is_without_fault() -> None:
    files = sorted(str(path) for path in BUNDLED.glob("*/*.toml"))
    result = profile("lint", *files, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["files"], told["faults"]) == (len(files), [])


def test_lint_names_what_no_document_confirms_and_finds_no_fault_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = BUNDLED / "safety_input" / "input-moxa-e1210.toml"
    result = profile("lint", str(path))
    assert result.exit_code == 0
    first, *others = result.stdout.splitlines()
    line = path.read_text().partition("[[points]]")[0].count("\n") + 1
    assert first == (
        f"{path}:{line}: point input_1 is confirmed by no document and no device; check it by hand"
        " first"
    )
    assert len(others) == 16  # its other inputs, and that nothing is wrong
    monkeypatch.setenv("LC_ALL", "zh_CN")
    (chinese, *_) = profile("lint", str(path)).stdout.splitlines()
    assert chinese == f"{path}:{line}：点 input_1 没有任何文档或设备证实；请先人工核对"  # noqa: RUF001 - Chinese signs
    told = json.loads(profile("lint", str(path), str(SOIL), "--json").stdout)
    assert told["unconfirmed"][0]["line"] == line
    assert {each["file"] for each in told["unconfirmed"]} == {str(path)}
    assert told["hints"] == []


def test_lint_hints_at_a_source_without_an_address_and_finds_no_fault_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = readme_profile(tmp_path)
    line = path.read_text().partition("sources =")[0].count("\n") + 1
    told = json.loads(profile("lint", str(path), "--json").stdout)
    assert (told["faults"], told["unconfirmed"]) == ([], [])
    (hint,) = told["hints"]
    assert hint["line"] == line
    first, *_ = profile("lint", str(path)).stdout.splitlines()
    assert first == hint["message"]
    assert first == (
        f"{path}:{line}: source 'Acme Seven manual, §4' has no url; add it if the source can be"
        " looked up"
    )
    monkeypatch.setenv("LC_ALL", "zh_CN")
    (chinese, *_) = profile("lint", str(path)).stdout.splitlines()
    assert chinese.endswith("没有网址；如能查到该来源，请补上网址")  # noqa: RUF001 - Chinese signs


@pytest.mark.parametrize(
    ("kind", "model", "table"),
    [("card_reader", "wiegand-converter", "[[events]]"), ("blackboard", "lg-signage", "[[links]]")],
)
def test_lint_names_events_and_links_that_no_document_confirms_at_their_line(
    kind: str, model: str, table: str
) -> None:
    path = BUNDLED / kind / f"{model}.toml"
    told = json.loads(profile("lint", str(path), "--json").stdout)
    (doubt,) = told["unconfirmed"]
    assert doubt["line"] == path.read_text().partition(table)[0].count("\n") + 1
    assert "is confirmed by no document and no device" in doubt["message"]


def test_lint_names_file_line_fact_and_remedy_of_each_fault(tmp_path: Path) -> None:
    text = SOIL.read_text()
    broken = tmp_path / "soil.toml"
    broken.write_text(text.replace('dtype = "int16"', 'dtype = "int17"', 1))
    wrong = tmp_path / "values.toml"
    wrong.write_text(
        text.replace("65.8", "65.9").replace("soil_temperature = -10.1", "soil_temperature = 10.1")
    )
    result = profile("lint", str(broken), str(wrong), str(SOIL), "--json")
    assert result.exit_code == 1
    faults = json.loads(result.stdout)["faults"]
    lines = [(Path(fault["file"]).name, fault["line"]) for fault in faults]
    line = text[: text.index('dtype = "int16"')].count("\n") + 1
    vectors = text[: text.index("[[vectors]]")].count("\n") + 1
    assert lines == [("soil.toml", line), ("values.toml", vectors), ("values.toml", vectors)]
    assert "soil_moisture is 65.8, not 65.9; quote the bytes again" in faults[1]["message"]
    shown = profile("lint", str(wrong))
    assert shown.stderr.splitlines()[0].startswith(f"{wrong}:{vectors}: ")


def test_the_profile_in_the_readme_is_thirty_lines(tmp_path: Path) -> None:
    assert len(readme_profile(tmp_path).read_text().splitlines()) <= 30


def test_the_profile_in_the_readme_lints_is_plugged_in_and_is_read(tmp_path: Path) -> None:
    path = readme_profile(tmp_path)
    assert profile("lint", str(path)).exit_code == 0
    model, _ = examine_profile(path)
    assert model is not None

    async def story() -> list[DeviceEvent]:
        events: list[DeviceEvent] = []
        words = (str(path), "--listen", f"serial:{tmp_path / 'line'}", "--set", "co2=612")
        async with simulated(*words, "--unit", "17") as (_, printed):
            address = parse_port_address(f"serial:{tmp_path / 'line'}?baud=9600&unit=17")
            bus = ModbusBus(
                address=address,
                settings=modbus_settings(model, address),
                units=[AdoptedUnit(device=DeviceId("co2"), unit=17, profile=model)],
                now_ms=now_ms,
                sink=events.append,
                rng=random.Random(1),
            )
            async with running(bus.run()):
                await until(lambda: any(isinstance(event, Measurement) for event in events))
            exchange = json.loads(await printed.readline())
            assert exchange["values"] == {"co2": 612.0}
        return events

    (measured,) = [e for e in asyncio.run(story()) if isinstance(e, Measurement)][:1]
    assert (measured.point, measured.value, measured.quality) == ("co2", 612.0, Quality.GOOD)


@pytest.mark.parametrize(
    ("model", "listen", "at"),
    [
        ("soil-sen0601", "serial:{folder}/line", "serial:{folder}/line?baud=9600&unit=5"),
        ("soil-sen0601", "tcp:127.0.0.1:0", "tcp://{place}?unit=5"),
        ("io-moxa-e1214", "modbus:127.0.0.1:0", "modbus://{place}?unit=5"),
        ("samsung-mdc", "tcp:127.0.0.1:0", "tcp://{place}"),
        ("pjlink-projector", "tcp:127.0.0.1:0", "tcp://{place}"),
    ],
)
def test_what_is_recorded_lints_in_the_file_it_was_added_to(
    tmp_path: Path, model: str, listen: str, at: str
) -> None:
    (bundled,) = BUNDLED.glob(f"*/{model}.toml")
    copy = tmp_path / bundled.name
    copy.write_text(bundled.read_text().partition("\n[[vectors]]")[0])

    async def story() -> Result:
        where = listen.format(folder=tmp_path)
        unit = ("--unit", "5") if "unit=5" in at else ()
        async with simulated(model, "--listen", where, *unit) as (waiting, _):
            place = waiting.partition(":")[2]
            address = at.format(folder=tmp_path, place=place)
            words = ("record", address, "--profile", model, "--to", str(copy))
            return await asyncio.to_thread(profile, *words)

    assert asyncio.run(story()).exit_code == 0
    linted = profile("lint", str(copy))
    assert linted.exit_code == 0, linted.stderr
    recorded, _ = examine_profile(copy)
    assert recorded is not None
    shown = {name for vector in recorded.vectors for name in vector.values}
    # A display in standby refuses what only a picture has.
    standby = recorded.kind == "blackboard"
    assert shown == {point.id for point in recorded.points} or (standby and "power" in shown)
    assert all(vector.source.startswith("recorded from") for vector in recorded.vectors)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("simulate", "soil-sen0601", "--listen", "serial"), "is no place; write serial:PATH"),
        (("simulate", "onvif-camera", "--listen", "tcp:127.0.0.1:0"), "write http:HOST:PORT"),
        (("simulate", "soil-sen0601"), "soil-sen0601 waits to be asked; say --listen"),
        (
            ("simulate", "soil-sen0601", "--listen", "tcp:127.0.0.1:0", "--calls", "127.0.0.1:9"),
            "soil-sen0601 never calls; leave --calls out",
        ),
        (("simulate", "zkteco-adms"), "say where, --calls HOST:PORT"),
        (("simulate", "soil-sen0601", "--listen", "tcp:203.0.113.1:502"), "choose another place"),
        (
            ("simulate", "soil-sen0601", "--listen", "tcp:127.0.0.1:0", "--set", "wet"),
            "wet: write --set",
        ),
        (("simulate", "nothing", "--listen", "tcp:127.0.0.1:0"), "nothing: cannot be read"),
        (
            ("record", "serial:/nowhere?baud=9600", "--profile", "soil-sen0601"),
            "/nowhere is not there; plug the adapter in",
        ),
        (
            ("record", "modbus://127.0.0.1:9", "--profile", "soil-sen0601"),
            "is not spoken to at modbus://",
        ),
    ],
)
def test_what_cannot_be_done_is_said_with_its_remedy(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BoxSetupError, match=says):
        profile(*words)


def test_a_camera_whose_port_is_taken_is_told_so_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"http:127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BoxSetupError, match="choose another place"):
            profile("simulate", "onvif-camera", "--listen", place)
