"""Whatever is given wrongly costs one clear sentence with its remedy, and nothing else stops."""

import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning.join_code import PIN_BYTES, SECRET_BYTES, parse_join_code
from tests.scenarios.running_demo import SCHOOLNODE, SCHOOLNODE_HUB
from tests.scenarios.small_district import (
    PAGES_PORT,
    SmallDistrict,
    Told,
    claim,
    told_by,
    told_cold_by,
)

NETWORK = 83
EXPIRED, USED, OTHER, LATE = 2, 3, 4, 5
"""Schools with one trouble each; school 1 is in order."""


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDistrict]:
    """A hub that runs, and a box enrolled at it."""
    district = SmallDistrict(tmp_path_factory.mktemp("district"), NETWORK)
    district.write_hub()
    with district.hub_running():
        claimed = claim(district.write_box(1), district.invite(1))
        assert claimed.code == 0, claimed.err
        yield district


@pytest.fixture
def box(district: SmallDistrict) -> Path:
    """The enrolled box's configuration as it should be."""
    return district.write_box(1)


def the_one_sentence(told: Told, program: str = "schoolnode") -> str:
    """Return what the program says for itself; fails unless that is one line and its exit is 1."""
    assert told.code == 1, told
    assert "Traceback" not in told.err
    own = [line for line in told.err.splitlines() if line.startswith(f"{program}: ")]
    assert len(own) == 1, told.err
    assert told.err.splitlines()[-1] == own[0]
    return own[0].removeprefix(f"{program}: ")


@contextmanager
def occupied(address: str, port: int) -> Iterator[None]:
    with closing(socket.create_server((address, port))):
        yield


@pytest.mark.parametrize(
    "command",
    [
        (SCHOOLNODE, "edge", "run"),
        (SCHOOLNODE, "doctor"),
        (SCHOOLNODE_HUB, "run"),
        (SCHOOLNODE, "demo", "--for=1"),
    ],
    ids=["box", "doctor", "hub", "demo"],
)
def test_an_unknown_key_is_named_with_its_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    config = district.hub_config if command[0] == SCHOOLNODE_HUB else district.write_box(1)
    if "demo" in command:
        config.write_text("")
    with config.open("a") as file:
        file.write("colour = 'green'\n")
    told = told_by(*command, f"--config={config}")
    sentence = the_one_sentence(told, Path(command[0]).name)
    assert str(config) in sentence
    assert "`colour`" in sentence
    assert "correct that line" in sentence


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    for program, *command in ((SCHOOLNODE, "edge", "run"), (SCHOOLNODE_HUB, "run")):
        told = told_cold_by(program, *command, f"--config={absent}")
        sentence = the_one_sentence(told, Path(program).name)
        assert str(absent) in sentence
        assert "name another with --config" in sentence


def test_a_busy_port_stops_the_box_with_its_address(district: SmallDistrict, box: Path) -> None:
    with occupied(district.address(1), PAGES_PORT):
        sentence = the_one_sentence(told_by(SCHOOLNODE, "edge", "run", f"--config={box}"))
    assert f"{district.address(1)}:{PAGES_PORT}" in sentence
    assert "change the port" in sentence


def test_a_busy_port_stops_the_hub_with_its_address(tmp_path: Path) -> None:
    other = SmallDistrict(tmp_path, NETWORK + 1)
    other.write_hub()
    with occupied(other.address(0), PAGES_PORT):
        told = told_by(SCHOOLNODE_HUB, "run", f"--config={other.hub_config}")
    sentence = the_one_sentence(told, "schoolnode-hub")
    assert f"{other.address(0)}:{PAGES_PORT}" in sentence
    assert "change the port" in sentence


def test_a_box_that_is_not_enrolled_says_how_to_enrol(tmp_path: Path) -> None:
    config = SmallDistrict(tmp_path, NETWORK).write_box(9)
    sentence = the_one_sentence(told_by(SCHOOLNODE, "edge", "run", f"--config={config}"))
    assert "claim" in sentence
    sentence = the_one_sentence(told_by(SCHOOLNODE, "sync", "status", f"--config={config}"))
    assert "schoolnode edge run" in sentence


def test_a_second_hub_on_the_same_folder_is_refused(district: SmallDistrict) -> None:
    told = told_by(SCHOOLNODE_HUB, "run", f"--config={district.hub_config}")
    sentence = the_one_sentence(told, "schoolnode-hub")
    assert str(district.hub_config.parent) in sentence
    assert "stop it" in sentence


def test_a_missing_device_and_a_broken_profile_stop_nothing_else(
    district: SmallDistrict, tmp_path: Path
) -> None:
    absent = tmp_path / "ttyUSB7"
    broken = tmp_path / "profiles" / "farm_sensor" / "broken.toml"
    broken.parent.mkdir(parents=True)
    broken.write_text('schema = 1\nid = "broken\n')
    config = district.write_box(1, ports=[absent], profiles=broken.parents[1])
    with district.box_running(config) as log:
        told = told_by(SCHOOLNODE, "doctor", "--json", f"--config={config}")
        found = told_by(SCHOOLNODE, "discover", "--json", f"--config={config}")
        second = told_by(SCHOOLNODE, "edge", "run", f"--config={config}")
    assert told.code == 1
    wrong = [each for each in json.loads(told.out)["findings"] if not each["fine"]]
    by_name = {each["what"]: each for each in wrong}
    assert str(absent) in by_name["serial port"]["fact"]
    assert "plug the adapter in" in by_name["serial port"]["remedy"]
    assert f"{broken}:2" in by_name["device profiles"]["fact"]
    assert by_name["device profiles"]["remedy"]
    assert found.code == 0
    assert json.loads(found.out)["candidates"] == []
    assert "another schoolnode daemon runs" in the_one_sentence(second)
    written = log.read_text()
    assert f"{broken}:2" in written
    assert "Traceback" not in written


def test_a_hub_that_is_not_there_is_named_and_the_box_works_on(
    tmp_path: Path,
) -> None:
    lonely = SmallDistrict(tmp_path, NETWORK + 2)
    lonely.write_hub()
    config = lonely.write_box(LATE)
    code = lonely.invite(LATE)
    sentence = the_one_sentence(claim(config, code))
    assert lonely.address(0) in sentence
    with lonely.hub_running():
        assert claim(config, code).code == 0
    with lonely.box_running(config) as log:
        told = told_by(SCHOOLNODE, "sync", "status", "--json", f"--config={config}")
    assert told.code == 0
    assert json.loads(told.out)["sync"]["link"] != "connected"
    assert "Traceback" not in log.read_text()


def mistyped(code: str) -> str:
    return code[:-1] + ("0" if code[-1] != "0" else "1")


def never_given_out(code: str) -> str:
    return replace(parse_join_code(code), secret=bytes(SECRET_BYTES)).text()


def of_another_district(code: str) -> str:
    return replace(parse_join_code(code), root_pin=bytes(PIN_BYTES)).text()


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (mistyped, "compare both with the printed code"),
        (never_given_out, "check it, or ask for a new one"),
        (of_another_district, "district"),
    ],
)
def test_a_wrong_code_says_what_is_wrong_with_it(
    district: SmallDistrict, change: Callable[[str], str], remedy: str
) -> None:
    config = district.write_box(OTHER)
    assert remedy in the_one_sentence(claim(config, change(district.invite(OTHER))))
    assert not (config.parent / "data" / "identity" / "identity.json").exists()


def test_an_expired_code_asks_for_a_new_one(district: SmallDistrict) -> None:
    code = district.invite(EXPIRED)
    with closing(sqlite3.connect(district.hub_config.parent / "hub.db")) as store, store:
        store.execute("UPDATE invitation SET expires_ms = 1 WHERE school = ?", (EXPIRED,))
    assert "expired" in the_one_sentence(claim(district.write_box(EXPIRED), code))


def test_a_used_code_enrols_no_second_box(district: SmallDistrict) -> None:
    code = district.invite(USED)
    assert claim(district.write_box(USED), code).code == 0
    assert "already used" in the_one_sentence(claim(district.write_box(OTHER), code))
