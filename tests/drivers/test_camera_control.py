"""Turning cameras, setting their picture, and hearing their events."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.cameras import onvif_camera
from drivers.cameras.messages import Motion
from drivers.cameras.outages import Loss, Outage, Outages
from drivers.cameras.worker import CameraWorker
from drivers.codecs.digest import Credentials
from drivers.entities import Outcome
from drivers.errors import RefusedError
from drivers.simulators.onvif_habits import CameraHabits
from drivers.simulators.onvif_motor import PRESETS
from drivers.simulators.onvif_security import UsernameTokens
from tests.drivers.camera_bench import ADOPTED, Camera, running_worker, until, wall_ms
from tests.drivers.camera_watch import watched


@pytest.fixture
async def worker() -> AsyncIterator[CameraWorker]:
    async with running_worker() as worker:
        yield worker


@pytest.mark.parametrize("service", ["media", "media2"])
async def test_a_camera_set_to_h265_is_switched_to_h264_and_read_back(
    tmp_path: Path, worker: CameraWorker, service: str
) -> None:
    habits = CameraHabits(left_out=frozenset({"media", "media2"} - {service}))
    camera = Camera(tmp_path, encoding="H265", habits=habits)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: watch.camera.description is not None)
        assert watch.camera.known().main.encoding == "H265"
        result = await watch.camera.use_h264()
        assert (result.command, result.outcome) == ("use_h264", Outcome.VERIFIED)
        assert watch.camera.known().main.encoding == "H264"
        assert watch.camera.known().sub is not None
    line, small = camera.lines("encoder_set")
    assert small["profile"] == "sub"
    assert (line["service"], small["service"]) == (service, service)
    found = {name: line[name] for name in ("profile", "encoding", "width", "frame_rate", "group")}
    assert found == {
        "profile": "main",
        "encoding": "H264",
        "width": "1280",
        "frame_rate": "25",
        "group": "25",
    }


async def test_a_camera_that_does_not_take_h264_says_what_a_person_does(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera(tmp_path, encoding="H265")
    deaf = "<tr2:SetVideoEncoderConfigurationResponse/>"
    monkeypatch.setattr(camera.device._media2, "_set", lambda _: deaf)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: watch.camera.description is not None)
        result = await watch.camera.use_h264()
    assert result.outcome is Outcome.FAILED
    assert "keeps H265; set its video encoding to H.264 on its own page" in result.detail


async def test_a_camera_turns_until_it_is_told_to_stop_and_ends_a_move_nobody_repeats(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: bool(watch.camera.control.imaging))
        await watch.camera.control.move(Motion(pan=-0.5, tilt=0.25))
        await watch.camera.control.stop()
        await watch.camera.control.move(Motion(zoom=1.0))
        await until(lambda: bool(camera.lines("move_timed_out")))
        assert (
            await watch.camera.control.nudge("left", Motion(pan=-1))
        ).outcome is Outcome.ACKNOWLEDGED
    moves = [(line["pan"], line["tilt"], line["zoom"]) for line in camera.lines("move")]
    assert moves == [(-0.5, 0.25, 0.0), (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)]
    assert [line["timeout_s"] for line in camera.lines("move")] == [2.0] * 3
    assert len(camera.lines("stop")) == 2


async def test_presets_are_kept_found_and_removed_and_home_is_reached(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        device = watch.camera
        await until(lambda: bool(device.control.imaging))
        assert tuple(preset.name for preset in device.control.presets) == PRESETS
        assert (await device.control.set_preset("窗户")).outcome is Outcome.VERIFIED
        assert device.control.presets[-1].name == "窗户"
        assert (
            await device.control.go_to_preset(device.control.presets[-1].token)
        ).outcome is Outcome.ACKNOWLEDGED
        assert (
            await device.control.remove_preset(device.control.presets[-1].token)
        ).outcome is Outcome.VERIFIED
        assert tuple(preset.name for preset in device.control.presets) == PRESETS
        gone = await device.control.remove_preset("preset-99")
        assert (gone.outcome, "no such preset" in gone.detail) == (Outcome.FAILED, True)
        assert (await device.control.go_home()).outcome is Outcome.ACKNOWLEDGED
    assert [line["name"] for line in camera.lines("preset_set")] == ["窗户"]
    assert len(camera.lines("home")) == 1


async def test_a_picture_is_set_within_its_range_and_read_back(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: bool(watch.camera.control.imaging))
        assert [
            (value.field, value.value, value.high) for value in watch.camera.control.imaging
        ] == [
            ("brightness", 50.0, 100.0),
            ("contrast", 50.0, 100.0),
            ("saturation", 50.0, 100.0),
            ("sharpness", 50.0, 100.0),
        ]
        assert (
            await watch.camera.control.set_imaging("saturation", 70)
        ).outcome is Outcome.VERIFIED
        refused = await watch.camera.control.set_imaging("contrast", 700)
        assert refused.outcome is Outcome.FAILED
        values = {value.field: value.value for value in watch.camera.control.imaging}
    assert (values["saturation"], values["contrast"]) == (70, 50)


async def test_motion_is_told_once_each_time_it_begins_and_a_camera_is_left_unsubscribed(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with camera.plugged_in():
        async with watched(camera, worker) as watch:
            await until(lambda: watch.measured("motion") == ["no"])
            assert watch.edges() == []
            for motion in (True, True, False, True):
                before = len(watch.measured("motion"))
                camera.device.events.set_motion(motion)
                await until(lambda before=before: len(watch.measured("motion")) > before)  # type: ignore[misc]  # bound now
            assert watch.measured("motion") == ["no", "yes", "yes", "no", "yes"]
            assert watch.edges() == ["motion", "motion"]
        await until(lambda: bool(camera.lines("unsubscribed")))
    assert len(camera.lines("subscribed")) == 1
    assert not camera.lines("token_refused")


async def test_events_go_on_after_the_camera_has_lost_its_power_and_the_loss_is_in_the_ledger(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path)
    async with watched(camera, worker) as watch:
        async with camera.plugged_in():
            await until(lambda: watch.measured("motion") == ["no"])
        await until(lambda: watch.presences()[-1:] == [False])
        async with camera.plugged_in():
            await until(lambda: len(watch.measured("motion")) == 2)
            camera.device.events.set_motion(True)
            await until(lambda: watch.edges() == ["motion"])
            told = {line.loss: line for line in watch.camera.outages.ledger()}
    assert watch.presences()[:3] == [True, False, True]
    assert set(told) == {Loss.CONTROL, Loss.EVENTS}
    assert all(line.until_ms is not None for line in told.values())
    assert len(watch.measured("recovery_control")) == len(watch.measured("recovery_events")) == 1


async def test_a_subscription_is_renewed_before_the_short_time_that_the_camera_grants_is_over(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path, habits=CameraHabits(lifetime_s_max=2))
    moment = [wall_ms()]  # the camera's clock goes on between renewals only: no stall ends them
    camera.device.events.now_ms = lambda: moment[0]
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: watch.measured("motion") == ["no"])
        for _ in range(3):
            known = len(camera.lines("renewed"))
            await until(lambda known=known: len(camera.lines("renewed")) > known)  # type: ignore[misc]  # bound now
            moment[0] += 1_900
        camera.device.events.set_motion(True)
        await until(lambda: watch.edges() == ["motion"])
        assert not watch.camera.outages.ledger()
    assert len(camera.lines("subscribed")) == 1


async def test_a_subscription_that_the_camera_forgot_is_made_anew(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onvif_camera, "EVENTS_AGAIN_S", 0.1)
    camera = Camera(tmp_path, habits=CameraHabits(lifetime_s_max=2))
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: watch.measured("motion") == ["no"])
        camera.device.events.restart()
        await until(lambda: len(camera.lines("subscribed")) == 2)
        await until(lambda: len(watch.measured("motion")) == 2)
        camera.device.events.set_motion(True)
        await until(lambda: watch.edges() == ["motion"])
        (lost,) = watch.camera.outages.ledger()
    assert (lost.loss, lost.until_ms is not None) == (Loss.EVENTS, True)
    assert "no such subscription" in lost.reason
    assert watch.presences() == [True]


async def test_a_password_that_was_changed_is_not_tried_over_and_over_for_events(
    tmp_path: Path, worker: CameraWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onvif_camera, "EVENTS_AGAIN_S", 0.01)
    camera = Camera(tmp_path)

    def clock_readings() -> int:
        told = camera.lines("request")
        return sum(line["operation"] == "GetSystemDateAndTime" for line in told)

    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: watch.measured("motion") == ["no"])
        changed = Credentials(user=ADOPTED.user, password="changed-0815")
        camera.device._tokens = UsernameTokens(changed, wall_ms)
        camera.device.events.set_motion(True)  # ends the pull that is under way
        await until(lambda: len(camera.lines("token_refused")) == 2)
        until_then = clock_readings()
        await until(lambda: clock_readings() >= until_then + 5)
        (lost,) = watch.camera.outages.ledger()
        assert "not authorized" in lost.reason
        # Once more, as its clock might have been the reason.
        assert len(camera.lines("token_refused")) == 2


async def test_a_camera_that_cannot_be_turned_is_not_told_to(
    tmp_path: Path, worker: CameraWorker
) -> None:
    camera = Camera(tmp_path, has_ptz=False)
    async with camera.plugged_in(), watched(camera, worker) as watch:
        await until(lambda: bool(watch.camera.control.imaging))
        with pytest.raises(RefusedError, match="cannot be turned"):
            await watch.camera.control.move(Motion(pan=1))
        assert (await watch.camera.control.go_home()).outcome is Outcome.FAILED
    assert not camera.lines("move")


def test_the_ledger_keeps_the_first_reason_and_forgets_the_oldest() -> None:
    outages = Outages()
    assert outages.back(Loss.STREAM, 5) is None
    for number in range(40):
        outages.lost(Loss.STREAM, f"first {number}", 10 * number)
        outages.lost(Loss.STREAM, "second", 10 * number + 1)
        ended = outages.back(Loss.STREAM, 10 * number + 4)
        assert ended is not None
        assert (ended.reason, ended.until_ms) == (f"first {number}", 10 * number + 4)
    outages.lost(Loss.EVENTS, "now", 1_000)
    ledger = outages.ledger()
    assert [ledger[0].reason, ledger[-1].reason] == ["first 8", "now"]
    assert ledger[-1].until_ms is None


def test_each_who_plays_a_stream_sees_its_own_loss_and_what_nobody_plays_does_not_last() -> None:
    outages = Outages()
    for seen_by in ("lesson", "page"):
        outages.lost(Loss.STREAM, f"of the {seen_by}", 10, seen_by)
    ended = outages.back(Loss.STREAM, 14, "page")
    assert ended is not None
    assert (ended.reason, ended.until_ms) == ("of the page", 14)
    assert outages.ledger()[-1] == Outage(loss=Loss.STREAM, reason="of the lesson", since_ms=10)
    outages.leave(Loss.STREAM, "lesson")
    outages.leave(Loss.STREAM, "page")
    assert [(each.reason, each.is_watched) for each in outages.ledger()] == [
        ("of the page", True),
        ("of the lesson", False),
    ]
    assert outages.back(Loss.STREAM, 99, "lesson") is None, "who plays it next saw no loss"


def test_a_clock_set_back_tells_no_negative_outage() -> None:
    outages = Outages()
    outages.lost(Loss.CONTROL, "gone", 1_000)
    ended = outages.back(Loss.CONTROL, 10)
    assert ended is not None
    assert ended.until_ms == 1_000
