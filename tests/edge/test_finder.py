import asyncio
import random
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from drivers.codecs.card_frames import encode_card_frame
from drivers.discovery import line_search
from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.entities import DeviceEvent
from drivers.errors import SetupError
from drivers.simulators.pty_link import PtyLink
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_port import SerialPort
from edge import finder as finder_module
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.finder import Finder
from edge.notebook import Notebook
from edge.pages.box_view import Change
from firmware_profiles.catalog import load_catalog
from tests.drivers.serial_bench import now_ms, running, until
from tests.edge.school import box_config

CAMERA = Candidate(
    identity="onvif:serial:SIM1",
    kind=DeviceKind.CAMERA,
    address="http://127.122.3.21:8000/onvif/device_service",
    name="教室摄像机",
    profile="onvif-camera",
    evidence=(),
    confidence=0.95,
)


class Search:
    def __init__(self, folder: Path) -> None:
        self.events: list[DeviceEvent] = []
        self.changes: list[Change] = []
        catalog = load_catalog()
        notebook = Notebook(folder / "notebook.json")
        self.fleet = Fleet(catalog, notebook, now_ms, self.events.append, random.Random(1))
        config = box_config(folder, ports=(folder / "lines",), network="127.122.3.1/24")
        self.finder = Finder(
            config, catalog, self.fleet, now_ms, random.Random(1), self.changes.append
        )


@pytest.fixture
def search(tmp_path: Path) -> Search:
    (tmp_path / "lines").mkdir()
    return Search(tmp_path)


async def test_a_reader_on_a_port_is_found_and_hidden_once_it_is_adopted(
    search: Search, tmp_path: Path
) -> None:
    link = PtyLink(tmp_path / "lines" / "gate")
    finder = search.finder
    async with running(finder.run()):
        finder.start({DeviceKind.CARD_READER})
        await until(lambda: link.is_open)
        for _ in range(3):
            link.write(encode_card_frame("6F007B3972"))
            await asyncio.sleep(0.1)
        await until(lambda: finder.progress.finished_ms is not None)
    (found,) = finder.candidates()
    assert found.kind is DeviceKind.CARD_READER
    assert finder.seen_at(found.identity) == found.address
    search.fleet.add(
        AdoptedDevice(
            device=found.identity,  # type: ignore[arg-type]  # what adoption makes of it
            kind=found.kind,
            name=found.name,
            profile=found.profile or "",
            address=found.address,
            room=None,
        )
    )
    assert finder.candidates() == []
    await search.fleet.remove(found.identity)  # type: ignore[arg-type]  # as above
    assert finder.candidates() == [found]


def test_what_nobody_confirmed_of_a_model_is_told_with_its_candidate(search: Search) -> None:
    search.finder.note(replace(CAMERA, profile="input-moxa-e1210"))
    (found,) = search.finder.candidates()
    assert found.unconfirmed[:2] == ("input_1", "input_2")


async def test_a_port_that_another_program_holds_is_told_until_it_is_free(
    search: Search, tmp_path: Path
) -> None:
    link = PtyLink(tmp_path / "lines" / "gate")
    other = SerialPort(link.path, LineSettings(baud=9600))
    finder = search.finder
    async with running(finder.run()):
        finder.start({DeviceKind.CARD_READER})
        await until(lambda: finder.progress.finished_ms is not None)
        (sentence,) = finder.progress.unsearched
        assert sentence == f"{link.path} is in use by another program; stop that program"
        other.close()
        finder.start({DeviceKind.CARD_READER})
        await until(lambda: finder.progress.running and link.is_open)
        finder.stop()
        await until(lambda: finder.progress.finished_ms is not None)
    assert finder.progress.unsearched == ()


async def test_a_search_that_fails_is_over_and_the_next_one_may_begin(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> list[Candidate]:
        raise ZeroDivisionError

    monkeypatch.setattr(finder_module, "discover_cameras", broken)
    finder = search.finder
    finder.start({DeviceKind.CAMERA})
    with pytest.raises(ExceptionGroup):
        await finder.run()
    assert not finder.progress.running
    assert finder.progress.finished_ms is not None
    finder.start({DeviceKind.CAMERA})
    assert not finder._wanted.empty()


async def test_what_announces_itself_again_is_seen_at_its_new_address(search: Search) -> None:
    finder = search.finder
    finder.note(CAMERA)
    finder.note(replace(CAMERA, address="http://127.122.3.22:8000/onvif/device_service"))
    assert finder.seen_at(CAMERA.identity) == "http://127.122.3.22:8000/onvif/device_service"
    assert len(finder.candidates()) == 1


async def test_the_inbox_is_bounded(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder_module, "CANDIDATES_MAX", 2)
    for number in range(5):
        search.finder.note(replace(CAMERA, identity=f"onvif:serial:SIM{number}"))
    assert len(search.finder.candidates()) == 2


async def test_what_was_put_aside_is_gone_until_it_is_found_again(search: Search) -> None:
    search.finder.note(CAMERA)
    search.finder.dismiss(CAMERA.identity)
    with pytest.raises(SetupError, match="search again"):
        search.finder.candidate(CAMERA.identity)
    search.finder.note(CAMERA)
    assert search.finder.candidate(CAMERA.identity) == CAMERA


async def test_a_search_that_is_stopped_ends_with_what_it_found(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(*_: object, **__: object) -> list[Candidate]:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    monkeypatch.setattr(finder_module, "discover_cameras", endless)
    finder = search.finder
    async with running(finder.run()):
        finder.note(CAMERA)
        finder.start({DeviceKind.CAMERA})
        await begun.wait()
        finder.stop()
        await until(lambda: finder.progress.finished_ms is not None)
        assert finder.candidates() == [CAMERA]
        begun.clear()
        finder.start({DeviceKind.CAMERA})  # the next one may begin
        await begun.wait()


async def test_a_subnet_that_is_not_the_schools_is_refused_before_anything_is_sent(
    search: Search,
) -> None:
    with pytest.raises(SetupError, match="private"):
        search.finder.start(None, [IPv4Network("8.8.8.0/28")])
    assert not search.finder.progress.running


async def test_a_port_that_is_plugged_in_is_listened_to_and_waits_to_be_searched(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder_module, "PORTS_EVERY_S", 0.02)
    monkeypatch.setattr(line_search, "LISTEN_S", 0.05)
    finder = search.finder
    async with running(finder.watch_ports()):
        await until(lambda: finder._plugged is not None)
        link = PtyLink(tmp_path / "lines" / "gate")
        await until(lambda: bool(finder.fresh_ports()))
        assert [port.path.name for port in finder.fresh_ports()] == ["gate"]
        link.unplug()
        await until(lambda: not finder.fresh_ports())
    assert finder.candidates() == []


async def test_of_several_models_a_person_must_choose_one_that_fits(search: Search) -> None:
    found = replace(CAMERA, profile=None, choices=("benq-ifp", "viewsonic-viewboard"))
    search.finder.note(found)
    with pytest.raises(SetupError, match="benq-ifp, viewsonic-viewboard"):
        search.finder.adoptable(CAMERA.identity, None)
    with pytest.raises(SetupError, match="say which"):
        search.finder.adoptable(CAMERA.identity, "soil-sen0601")
    candidate, model = search.finder.adoptable(CAMERA.identity, "benq-ifp")
    assert (candidate.kind, model) == (DeviceKind.BLACKBOARD, "benq-ifp")
    search.finder.note(replace(CAMERA, profile=None))
    with pytest.raises(SetupError, match="no profile fits"):
        search.finder.adoptable(CAMERA.identity, None)


async def test_what_is_listened_to_and_found_is_not_opened_again_by_a_search(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder_module, "PORTS_EVERY_S", 0.02)
    finder = search.finder
    async with running(finder.watch_ports(), finder.run()):
        await until(lambda: finder._plugged is not None)
        link = PtyLink(tmp_path / "lines" / "gate")
        await until(lambda: link.is_open)
        finder.start({DeviceKind.CARD_READER})  # while the port is listened to
        await until(lambda: finder.progress.running)
        closings = link.closings
        while not finder.candidates():
            link.write(encode_card_frame("6F007B3972"))
            await asyncio.sleep(0.05)
        await until(lambda: finder.progress.finished_ms is not None)
        await until(lambda: not link.is_open)
        assert link.closings == closings + 1
