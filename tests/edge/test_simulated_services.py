"""Cameras and terminals made of nothing but a profile, met by the drivers over real sockets."""

import asyncio
import errno
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from drivers.cameras.messages import CameraAccess
from drivers.discovery.candidate import Need
from drivers.discovery.onvif import discover_cameras
from drivers.entities import DeviceId
from drivers.errors import SetupError
from drivers.simulators.profile_services import LOGIN, Clockwork, ProfileService
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.camera_bench import running_worker
from tests.drivers.serial_bench import now_ms, running, until
from tests.drivers.terminal_bench import ZONE
from tests.edge.test_profile_commands import simulated
from tests.edge.test_push_port import BOX, device, opened
from tests.loopback import own_address

PROFILES = load_catalog().profiles
ADMS, ISAPI = PROFILES[ProfileId("zkteco-adms")], PROFILES[ProfileId("hikvision-acs")]
TAPO, PLAIN = PROFILES[ProfileId("camera-tapo")], PROFILES[ProfileId("onvif-camera")]
CAMERA, TERMINAL = own_address("84.31"), own_address("84.50")
CLOCK = Clockwork(now_ms=now_ms, zone=ZONE, event_s=0.05)


@dataclass
class Plugged:
    """A device made of a profile: where it is, and what it told of itself."""

    service: ProfileService
    told: list[Mapping[str, object]] = field(default_factory=list)

    def kinds(self) -> list[object]:
        return [line["kind"] for line in self.told]


@asynccontextmanager
async def plugged_in(profile: Profile, **options: object) -> AsyncIterator[Plugged]:
    told: list[Mapping[str, object]] = []
    given = {"listen": None, "calls": None, **options}
    service = ProfileService(profile, tell=told.append, clock=CLOCK, **given)  # type: ignore[arg-type]  # each test names real options
    ready = asyncio.Event()
    async with running(service.run(ready.set)):
        await ready.wait()
        yield Plugged(service, told)


@pytest.mark.parametrize("profile", [TAPO, PLAIN], ids=lambda p: p.id)
async def test_a_camera_of_the_catalogue_is_described_photographed_and_moves(
    profile: Profile,
) -> None:
    async with plugged_in(profile, listen=f"http:{CAMERA}:0") as camera, running_worker() as worker:
        access = CameraAccess(
            address=camera.service.place, credentials=LOGIN, quirks=profile.quirk_ids
        )
        described = await worker.describe(access)
        assert described.manufacturer == profile.vendor
        assert (described.snapshot_uri is None) is (profile is TAPO)
        if described.snapshot_uri is not None:
            assert await worker.fetch_snapshot(access, described.snapshot_uri)
        states = set[bool | None]()
        while states != {True, False}:
            pulled = await worker.pull_events(access, 1)
            states |= {event.state for event in pulled.events}
    assert {"request", "subscribed", "pulled"} <= set(camera.kinds())


async def test_a_camera_that_is_held_does_not_stop_moving() -> None:
    held = {"people": "yes"}
    async with (
        plugged_in(TAPO, listen=f"http:{CAMERA}:0", held=held) as camera,
        running_worker() as worker,
    ):
        access = CameraAccess(address=camera.service.place, credentials=LOGIN)
        pulled = await worker.pull_events(access, 1)
        await asyncio.sleep(4 * CLOCK.event_s)
        assert [event.state for event in pulled.events] == [True]
    assert camera.kinds().count("pulled") == 1


async def test_a_port_that_is_taken_is_the_plain_error_and_nothing_goes_on() -> None:
    told: list[Mapping[str, object]] = []
    with socket.create_server((CAMERA, 0)) as taken:
        listen = f"http:{CAMERA}:{taken.getsockname()[1]}"
        service = ProfileService(TAPO, listen=listen, calls=None, tell=told.append, clock=CLOCK)
        with pytest.raises(OSError, match="in use") as refused:
            await service.run()
    assert refused.value.errno == errno.EADDRINUSE
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_terminal_that_pushes_is_met_adopted_and_heard(tmp_path: Path) -> None:
    async with opened(tmp_path) as door, plugged_in(ADMS, calls=f"{BOX}:{door.port}") as terminal:
        await until(lambda: bool(door.met))
        (serial,) = {met.identity.removeprefix("adms:") for met in door.met}
        assert serial in ADMS.vectors[0].request
        door.adopt(serial)
        await until(lambda: len({number for number, *_ in door.school.seen()}) >= 2)
        quoted = " ".join(str(each.values.get("tap")) for each in ADMS.vectors)
        assert all(number in quoted for number, *_ in door.school.seen())
    assert {"punch", "punched"} <= set(terminal.kinds())


async def test_the_tap_that_is_set_is_the_tap_that_is_heard(tmp_path: Path) -> None:
    async with (
        opened(tmp_path) as door,
        plugged_in(ADMS, calls=f"{BOX}:{door.port}", held={"tap": "4711"}),
    ):
        await until(lambda: bool(door.met))
        door.adopt(door.met[0].identity.removeprefix("adms:"))
        await until(lambda: bool(door.school.seen()))
        assert {number for number, *_ in door.school.seen()} == {"4711"}


async def test_an_isapi_terminal_is_met_adopted_heard_and_asked_with_its_password(
    tmp_path: Path,
) -> None:
    async with (
        opened(tmp_path) as door,
        plugged_in(ISAPI, listen=f"http:{TERMINAL}:0", calls=f"{BOX}:{door.port}") as terminal,
    ):
        await until(lambda: bool(door.met))
        met = door.met[0]
        assert met.needs is Need.PASSWORD
        await door.notebook.keep_password(DeviceId(met.identity), f"{LOGIN.user}:{LOGIN.password}")
        door.fleet.add(device(met.identity, terminal.service.place, "hikvision-acs"))
        await until(lambda: "1234567890" in {card for _, card, _ in door.school.seen()})
        await until(lambda: "request" in terminal.kinds())
        await until(lambda: any(line.get("taken") for line in terminal.told))


@pytest.mark.parametrize(
    ("profile", "options", "says"),
    [
        (ADMS, {}, "calls the box; say where, --calls HOST:PORT"),
        (ISAPI, {}, "waits to be asked; say where, --listen http:HOST:PORT"),
        (TAPO, {"listen": "tcp:127.0.0.1:0"}, "is no place for it; write http:HOST:PORT"),
        (TAPO, {"listen": "http:here"}, "is no place; write http:HOST:PORT"),
        (TAPO, {"listen": "http:127.0.0.1:0", "held": {"wind": "yes"}}, "has no event 'wind'"),
        (TAPO, {"listen": "http:127.0.0.1:0", "held": {"people": "1"}}, "give yes or no"),
        (ADMS, {"calls": "127.0.0.1:9", "held": {"tap": "a\tb"}}, "give a number"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_its_remedy(
    profile: Profile, options: dict[str, object], says: str
) -> None:
    given = {"listen": None, "calls": None, **options}
    with pytest.raises(SetupError, match=says):
        ProfileService(profile, tell=print, clock=CLOCK, **given)  # type: ignore[arg-type]  # each case names real options


async def test_the_command_plugs_a_camera_in_and_a_search_finds_it_as_its_make() -> None:
    async with simulated("camera-reolink", "--listen", f"http:{CAMERA}:0") as (place, printed):
        found = await discover_cameras(
            IPv4Interface(f"{CAMERA}/24"),
            now_ms,
            random.Random(1),
            by_scopes=load_catalog().by_scopes,
        )
        assert [(each.address, each.profile) for each in found] == [(place, "camera-reolink")]
        kinds = [json.loads(await printed.readline())["kind"] for _ in range(2)]
    assert kinds[0] == "plugged_in"
    assert "probe_answered" in kinds
