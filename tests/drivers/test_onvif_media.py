"""A camera's pictures by both media services, by whichever way it tells them, however written."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from drivers.cameras.messages import CameraDescription
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.errors import LoginRefusedError, ProtocolError, RefusedError
from drivers.simulators import onvif_camera, onvif_replies
from drivers.simulators.onvif_dialects import Dialect
from drivers.simulators.onvif_faults import FaultError
from drivers.simulators.onvif_habits import CameraHabits
from tests.drivers.camera_bench import DIALECTS, HOST, JPEG, Camera, running_worker

PROFILE_S = CameraHabits(left_out=frozenset({"media2"}))
PROFILE_T = CameraHabits(left_out=frozenset({"media"}))
WAYS = frozenset({"GetServices", "GetCapabilities"})
"""To tell of services."""
UNGUARDED = onvif_camera.OPEN_OPERATIONS | {
    "GetDeviceInformation",
    "GetNetworkInterfaces",
    "GetProfiles",
}
"""What a careless camera tells anybody: only its addresses are for those with a password."""
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[CameraWorker]:
    """One worker for all: whatever camera has the address is asked anew what it offers."""
    async with running_worker() as worker:
        yield worker


def shown(description: CameraDescription) -> tuple[object, ...]:
    """Return what every camera here must tell, whatever its habits."""
    main, sub = description.main, description.sub
    assert sub is not None
    return (
        (main.uri, main.width, main.height, main.fps, main.encoding),
        (sub.uri, sub.width, sub.height, sub.fps, sub.encoding),
        description.snapshot_uri,
        description.has_ptz,
        description.video_source,
    )


def expected(encoding: str = "H264") -> tuple[object, ...]:
    return (
        (f"rtsp://{HOST}:8554/main", 1280, 720, 25.0, encoding),
        (f"rtsp://{HOST}:8554/sub", 320, 180, 10.0, encoding),
        f"http://{HOST}:8000/onvif/snapshot.jpg",
        True,
        onvif_replies.SOURCE_TOKEN,
    )


@pytest.mark.parametrize("encoding", ["H264", "H265"])
@pytest.mark.parametrize(
    ("habits", "service"),
    [(CameraHabits(), "media2"), (PROFILE_T, "media2"), (PROFILE_S, "media")],
    ids=["both", "T alone", "S alone"],
)
async def test_the_second_media_service_is_asked_where_there_is_one_and_both_tell_main_and_sub(
    tmp_path: Path, worker: CameraWorker, habits: CameraHabits, service: str, encoding: str
) -> None:
    camera = Camera(tmp_path, habits=habits, encoding=encoding)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert described.snapshot_uri is not None
        assert await worker.fetch_snapshot(camera.access, described.snapshot_uri) == JPEG
    assert shown(described) == expected(encoding)
    assert described.notes == ()
    spoken = {line["service"] for line in camera.lines("request") if "Profiles" in str(line)}
    assert spoken == {onvif_replies.SERVICES[service]}


@pytest.mark.parametrize("service", ["media", "media2"])
async def test_a_camera_that_plays_over_udp_alone_tells_its_addresses_all_the_same(
    tmp_path: Path, worker: CameraWorker, service: str
) -> None:
    habits = replace(PROFILE_S if service == "media" else CameraHabits(), plays_over_tcp=False)
    camera = Camera(tmp_path, habits=habits)
    async with camera.plugged_in():
        assert shown(await worker.describe(camera.access)) == expected()


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_a_camera_that_tells_its_services_in_one_way_alone_is_understood(
    tmp_path: Path, worker: CameraWorker, way: str
) -> None:
    habits = CameraHabits(refused=WAYS - {way})
    camera = Camera(tmp_path, habits=habits)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        assert await worker.list_presets(camera.access, "main")
    assert shown(described) == expected()
    assert described.has_events
    # GetCapabilities has no word for the second media service.
    service = "media2" if way == "GetServices" else "media"
    spoken = {line["service"] for line in camera.lines("request") if "Profiles" in str(line)}
    assert spoken == {onvif_replies.SERVICES[service]}


async def test_get_services_counts_where_the_two_ways_differ(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera(tmp_path)
    old = f"http://{HOST}:1"
    wrong = onvif_replies.capabilities(old)
    monkeypatch.setattr(onvif_replies, "capabilities", lambda *_, **__: wrong)
    async with camera.plugged_in():
        assert shown(await worker.describe(camera.access)) == expected()


async def test_a_camera_that_tells_no_services_at_all_is_refused_with_what_is_missing(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path, habits=CameraHabits(refused=WAYS))
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match="offers no media service"):
            await worker.describe(camera.access)


async def test_services_that_cannot_be_read_are_not_taken_for_missing_ones(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = "<tds:Other/>"
    monkeypatch.setattr(onvif_replies, "services", lambda *_, **__: nonsense)
    monkeypatch.setattr(onvif_replies, "capabilities", lambda *_, **__: nonsense)
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        with pytest.raises(ProtocolError, match="services cannot be read; update its software"):
            await worker.describe(camera.access)
        with pytest.raises(ProtocolError, match="services cannot be read; update its software"):
            await worker.list_presets(camera.access, "main")


@pytest.mark.parametrize("operation", ["GetCapabilities", "GetProfiles", "GetStreamUri"])
@pytest.mark.parametrize(
    "habits", [CameraHabits(), PROFILE_S, PROFILE_T], ids=["both", "S alone", "T alone"]
)
async def test_a_login_that_was_refused_is_not_tried_again_in_another_way(
    tmp_path: Path,
    worker: CameraWorker,
    monkeypatch: pytest.MonkeyPatch,
    habits: CameraHabits,
    operation: str,
) -> None:
    monkeypatch.setattr(onvif_camera, "OPEN_OPERATIONS", UNGUARDED - {operation})
    camera = Camera(tmp_path, habits=habits)
    wrong = Credentials(user="admin", password="wrong-secret-0815")
    async with camera.plugged_in():
        with pytest.raises(LoginRefusedError, match="user name or password refused"):
            await worker.describe(replace(camera.access, credentials=wrong))
    assert [line["operation"] for line in camera.lines("token_refused")] == [operation]


@pytest.mark.parametrize("operation", ["GetNetworkInterfaces", "GetSnapshotUri"])
async def test_what_an_account_alone_may_not_ask_costs_only_itself(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    answered = UNGUARDED | {"GetStreamUri", "GetSnapshotUri"}
    monkeypatch.setattr(onvif_camera, "OPEN_OPERATIONS", answered - {operation})
    camera = Camera(tmp_path)
    small = Credentials(user="viewer", password="few-rights-0815")
    async with camera.plugged_in():
        described = await worker.describe(replace(camera.access, credentials=small))
    assert (described.mac is None) is (operation == "GetNetworkInterfaces")
    assert (described.snapshot_uri is None) is (operation == "GetSnapshotUri")
    assert [line["operation"] for line in camera.lines("token_refused")] == [operation]


@pytest.mark.parametrize("answer", ["fault", "nonsense", "empty", "no encoder"])
async def test_a_second_media_service_that_does_not_work_leaves_the_first_with_a_note(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    camera = Camera(tmp_path, encoding="H265")

    def tell(_: object) -> str:
        if answer == "fault":
            raise FaultError("ActionNotSupported", "half finished")
        return {
            "nonsense": "<tr2:Other/>",
            "empty": "<tr2:GetProfilesResponse/>",
            "no encoder": (
                '<tr2:GetProfilesResponse><tr2:Profiles token="main"><tr2:Name>main</tr2:Name>'
                "</tr2:Profiles></tr2:GetProfilesResponse>"
            ),
        }[answer]

    monkeypatch.setattr(camera.device._media2, "_tell_profiles", tell)
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        await worker.use_h264(camera.access, "main")
    assert shown(described) == expected("H265")
    (note,) = described.notes
    assert HOST in note
    assert [line["service"] for line in camera.lines("encoder_set")] == ["media"]


@pytest.mark.parametrize("habits", [PROFILE_S, PROFILE_T], ids=["S", "T"])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
async def test_an_answer_means_the_same_however_it_is_written(
    tmp_path: Path, worker: CameraWorker, habits: CameraHabits, dialect: Dialect
) -> None:
    camera = Camera(tmp_path, habits=replace(habits, dialect=dialect), encoding="H265")
    async with camera.plugged_in():
        described = await worker.describe(camera.access)
        presets = await worker.list_presets(camera.access, "main")
        imaging = await worker.read_imaging(camera.access, onvif_replies.SOURCE_TOKEN)
        pulled = await worker.pull_events(camera.access, 1)
        await worker.unsubscribe(camera.access)
        await worker.use_h264(camera.access, "main")
        with pytest.raises(RefusedError, match="no such preset"):
            await worker.go_to_preset(camera.access, "main", "nowhere")
    assert shown(described) == expected("H265")
    assert described.notes == ()
    assert len(presets) == (0 if dialect.empty else 3)
    assert [value.value for value in imaging] == [50.0] * 4
    topics = [event.topic for event in pulled.events]
    assert topics == ([] if dialect.empty else ["RuleEngine/CellMotionDetector/Motion"])
    (line,) = camera.lines("encoder_set")
    assert (line["encoding"], line["width"], line["group"]) == ("H264", "1280", "25")


@pytest.mark.parametrize("habits", [PROFILE_S, PROFILE_T], ids=["S", "T"])
async def test_a_camera_without_profiles_says_what_a_person_does(
    tmp_path: Path, worker: CameraWorker, habits: CameraHabits
) -> None:
    nothing = Dialect(empty=frozenset({"GetProfiles"}))
    camera = Camera(tmp_path, habits=replace(habits, dialect=nothing))
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match="no video profile; set one up on it"):
            await worker.describe(camera.access)
