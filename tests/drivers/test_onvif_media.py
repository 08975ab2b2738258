"""A camera's pictures by both media services, by whichever way it tells them, however written."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from drivers.cameras.messages import CameraDescription
from drivers.cameras.worker import CameraWorker
from drivers.errors import RefusedError
from drivers.simulators import onvif_replies
from drivers.simulators.onvif_dialects import Dialect
from drivers.simulators.onvif_faults import FaultError
from drivers.simulators.onvif_habits import CameraHabits
from tests.drivers.camera_bench import DIALECTS, HOST, JPEG, Camera, running_worker

PROFILE_S = CameraHabits(has_media2=False)
PROFILE_T = CameraHabits(has_media1=False)
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
    habits = CameraHabits(has_media2=service == "media2", plays_over_tcp=False)
    camera = Camera(tmp_path, habits=habits)
    async with camera.plugged_in():
        assert shown(await worker.describe(camera.access)) == expected()


@pytest.mark.parametrize("way", ["GetServices", "GetCapabilities"])
async def test_a_camera_that_tells_its_services_in_one_way_alone_is_understood(
    tmp_path: Path, worker: CameraWorker, way: str
) -> None:
    habits = CameraHabits(
        tells_services=way == "GetServices", tells_capabilities=way == "GetCapabilities"
    )
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
    camera = Camera(tmp_path, habits=CameraHabits(tells_services=False, tells_capabilities=False))
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match="offers no media service"):
            await worker.describe(camera.access)


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
    habits = CameraHabits(
        has_media1=habits.has_media1, has_media2=habits.has_media2, dialect=dialect
    )
    camera = Camera(tmp_path, habits=habits, encoding="H265")
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
    habits = CameraHabits(
        has_media1=habits.has_media1,
        has_media2=habits.has_media2,
        dialect=Dialect(empty=frozenset({"GetProfiles"})),
    )
    camera = Camera(tmp_path, habits=habits)
    async with camera.plugged_in():
        with pytest.raises(RefusedError, match="no video profile; set one up on it"):
            await worker.describe(camera.access)
