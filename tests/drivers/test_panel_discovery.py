"""Panels on serial lines: one read-only question each way, and nothing that others would obey."""

from pathlib import Path

import pytest

from drivers.codecs.modbus_rtu import decode_request_rtu
from drivers.discovery import line_search, panels
from drivers.discovery.candidate import Candidate, DeviceKind, Need
from drivers.discovery.line_search import SearchReport
from drivers.discovery.panels import by_way, framed
from drivers.discovery.serial_bus import search_port
from drivers.discovery.serial_ports import FoundPort
from drivers.displays.framed_link import FRAMINGS
from drivers.errors import ProtocolError
from drivers.simulators.profile_device import Listen, ProfileDevice
from drivers.simulators.profile_speakers import Exchange, quoted
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.serial_bench import now_ms, running, until

PROFILES = list(load_catalog().profiles.values())
SIMULATED = [p for p in framed(PROFILES) if p.tested == "simulated"]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_search, "LISTEN_S", 0.05)
    monkeypatch.setattr(panels, "ANSWER_S", 0.1)
    monkeypatch.setattr(panels, "ANSWER_S_MAX", 0.2)


async def search(line: Path) -> list[Candidate]:
    report = SearchReport(progress=lambda _: None, found=lambda _: None)
    return await search_port(
        FoundPort(path=line, description=line.name), framed(PROFILES), now_ms, report
    )


@pytest.mark.parametrize("profile", SIMULATED, ids=lambda p: p.id)
async def test_a_panel_on_a_serial_line_is_found_as_itself(
    profile: Profile, tmp_path: Path
) -> None:
    line, heard = tmp_path / "panel0", list[Exchange]()
    device = ProfileDevice(profile, Listen(scheme="serial", path=line), heard.append)
    async with running(device.run()):
        await until(line.exists)
        (found,) = await search(line)
    link = profile.links[0]
    assert found.profile == profile.id or profile.id in found.choices
    assert found.kind is DeviceKind.BLACKBOARD
    assert found.identity == "panel:panel0"
    assert found.address == f"serial:{line}?baud={link.baud[0]}&unit={link.unit}"
    orders = {quoted(v, v.request) for v in profile.vectors if v.command is not None}
    assert not {exchange.heard for exchange in heard} & orders


async def test_of_models_that_speak_alike_the_one_that_fits_best_stands_first(
    tmp_path: Path,
) -> None:
    board = load_catalog().profiles[ProfileId("viewsonic-viewboard")]
    line = tmp_path / "panel0"
    device = ProfileDevice(board, Listen(scheme="serial", path=line), lambda _: None)
    async with running(device.run()):
        await until(line.exists)
        (found,) = await search(line)
    assert found.profile == "viewsonic-viewboard"
    assert found.needs is Need.NOTHING


def test_no_question_to_a_panel_is_a_sound_request_on_a_modbus_line() -> None:
    for (link_type, unit), models in by_way(PROFILES).items():
        for model in models:
            for point in model.points:
                if not point.request:
                    continue
                frame = FRAMINGS[link_type](unit).encode_question(point.request)
                try:
                    assert decode_request_rtu(frame) is None
                except ProtocolError:
                    continue
