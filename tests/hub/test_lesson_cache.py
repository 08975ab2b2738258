"""Debian's nginx, configured as the hub ships it, before a real hub: whom it serves, how often it
asks, and that it cannot look into what it keeps."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.nginx_peer import running_nginx
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.receive import LessonReceiver, Listener
from hub.config import Lessons
from hub.lesson.objects import CacheOrigin
from provisioning.identity import Identity
from sync.lessons.fragment_log import Kind, LessonId, Stream, TakeId
from sync.lessons.fragment_objects import BATCH_RECORDS, object_path, parse_batch
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey, key_id
from tests.hub.running_hub import HOST, RunningHub, hub_config, revoke, running_hub
from tests.loopback import free_port
from tests.system_needs import need

SHIPPED = Path(__file__).parents[2] / "hub" / "deploy" / "nginx.conf"
LESSON = LessonId("lesson-1")
KEY = DataKey(bytes(range(32)))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
FLAGSHIP, STRANGER = 1, 9
RECEIVERS = (2, 3, 4)
PICTURES = 300
CANARY = "圆周率 canary 3.14159".encode()
PICTURE = Stream(Kind.MEDIA, 1)


@dataclass
class District:
    """A hub with its cache and enrolled boxes; ``log`` is nginx's own."""

    hub: RunningHub
    cache_url: str
    cache: Path
    log: Path
    boxes: dict[int, Identity]
    sessions: dict[int, aiohttp.ClientSession]
    nginx: ExitStack
    take: TakeId

    async def get(self, school: int, path: str) -> tuple[int, bytes]:
        async with self.sessions[school].get(self.cache_url + path) as answer:
            return answer.status, await answer.read()

    def asked(self) -> Counter[tuple[str, str]]:
        """Return how often each path was answered and how: MISS is asked of the hub, HIT not."""
        lines = self.log.read_text().splitlines()
        return Counter((path, status) for status, path in (line.split() for line in lines))


def _configured(folder: Path, config_folder: Path, origin: Path, port: int) -> str:
    text = SHIPPED.read_text()
    for old, new in (
        ("/opt/schoolnode/lessons.sock", str(origin)),
        ("/opt/schoolnode/data", str(config_folder)),
        ("/var/cache/nginx", str(folder / "cache")),
        ("listen 7444", f"listen {HOST}:{port}"),
        ("proxy_cache_valid 204 5s", "proxy_cache_valid 204 1s"),
        ("    access_log off;", f"    access_log {folder}/asked.log asked;"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "cache").mkdir()
    return f"log_format asked '$upstream_cache_status $uri';\n{text}"


@asynccontextmanager
async def _district(folder: Path) -> AsyncIterator[District]:
    need("nginx", "nginx-light")
    port = free_port()
    cache_url, origin = f"https://{HOST}:{port}", folder / "o"
    config = msgspec.structs.replace(
        hub_config(folder / "hub"), lessons=Lessons(cache_url=cache_url, origin=origin)
    )
    async with running_hub(folder / "hub", config) as hub, AsyncExitStack() as stack:
        schools = (FLAGSHIP, *RECEIVERS, STRANGER)
        boxes = {each: await hub.enrol(each, folder / f"box-{each}") for each in schools}
        sessions = {
            each: await stack.enter_async_context(hub.session(box)) for each, box in boxes.items()
        }
        now_ms = hub.now_ms()
        hub.record(
            "lesson_party",
            *(
                {
                    "school": each,
                    "lesson": LESSON,
                    "role": "flagship" if each == FLAGSHIP else "receiver",
                }
                for each in schools[:-1]
            ),
        )
        hub.record("lesson", {"lesson": LESSON, "starts_ms": now_ms, "ends_ms": now_ms + 1000})
        served = folder / "nginx"
        served.mkdir(mode=0o755)
        text = _configured(served, config.folder, origin, port)
        with ExitStack() as nginx:
            nginx.enter_context(running_nginx(text, served))
            opened = District(
                hub=hub,
                cache_url=cache_url,
                cache=served / "cache",
                log=served / "asked.log",
                boxes=boxes,
                sessions=sessions,
                nginx=nginx,
                take=TakeId(b""),
            )
            opened.take = await asyncio.wait_for(_publish(opened, folder), 30)
            yield opened


def _route(district: District, school: int) -> HubRoute:
    url = f"https://{HOST}:{district.hub.config.boxes.port}"
    return HubRoute(district.sessions[school], url, random.Random(school))


async def _publish(district: District, folder: Path) -> TakeId:
    """Give a lesson of pictures with a canary in each, until the hub durably holds it."""
    publisher = LessonPublisher(
        lesson=LESSON,
        key=KEY,
        signing=SIGNING,
        shelf=LessonShelf(folder / "flagship"),
        route=_route(district, FLAGSHIP),
        now_ms=district.hub.now_ms,
        on_status=lambda _: None,
    )
    recorder = publisher.open_take()
    recorder.add_init(1, "video/mp4", b"ftyp moov", 0)
    for number in range(PICTURES):
        recorder.add(
            MediaFragment(
                track=1,
                number=number,
                keyframe=number % 25 == 0,
                decode_time=number * 3600,
                duration=3600,
                timescale=90_000,
                capture_ms=number * 40,
                data=CANARY + number.to_bytes(4, "big") * 50,
            )
        )
    publisher.finish()
    await publisher.run()
    return recorder.take


@pytest.fixture
async def district(tmp_path: Path) -> AsyncIterator[District]:
    async with _district(tmp_path) as opened:
        yield opened


def _objects(take: TakeId) -> list[str]:
    spans = [(first, first + BATCH_RECORDS - 1) for first in range(0, 256, BATCH_RECORDS)]
    return [object_path(LESSON, take, PICTURE, span) for span in spans]


async def test_many_schools_get_each_object_by_one_fetch_from_the_hub_and_nobody_else_does(
    district: District,
) -> None:
    paths = _objects(district.take)
    answers = await asyncio.gather(
        *(district.get(school, path) for school in RECEIVERS for path in paths for _ in range(4))
    )
    assert {status for status, _ in answers} == {200}
    assert len({body for _, body in answers}) == len(paths)
    asked = district.asked()
    assert all(asked[path, "MISS"] == 1 for path in paths)
    assert sum(count for (path, how), count in asked.items() if how != "MISS") == (
        len(RECEIVERS) * 4 * len(paths) - len(paths)
    )
    assert (await district.get(STRANGER, paths[0]))[0] == 403
    async with (
        aiohttp.ClientSession() as nobody,
        nobody.get(district.cache_url + paths[0], ssl=False) as refused,
    ):
        assert refused.status == 400
    # What is not there yet is not remembered as missing, and nothing else is served.
    assert (await district.get(2, object_path(LESSON, district.take, PICTURE, (256, 319))))[
        0
    ] == 404
    assert (await district.get(2, "/lessons/lesson-1/index"))[0] == 404
    assert (await district.get(2, "/lessons/lesson-1/admitted"))[0] == 404
    assert (await district.get(2, "/admitted"))[0] == 404
    assert (await district.get(2, f"{paths[0]}%0a"))[0] == 404


async def test_the_cache_cannot_open_a_byte_of_what_it_keeps(district: District) -> None:
    path = _objects(district.take)[0]
    _, body = await district.get(2, path)
    kept = b"".join(file.read_bytes() for file in district.cache.rglob("*") if file.is_file())
    assert body in kept
    assert CANARY not in kept
    opener = FragmentOpener(LESSON, {key_id(KEY): KEY})
    assert all(CANARY in opener.open(record) for record in parse_batch(body))


async def test_a_revoked_box_is_served_no_more_though_the_cache_has_it_all(
    district: District,
) -> None:
    path = _objects(district.take)[0]
    assert (await district.get(2, path))[0] == 200
    revoke(district.hub, district.boxes[2].binding.box)
    async with asyncio.timeout(20):
        while (await district.get(2, path))[0] != 403:  # noqa: ASYNC110 - nginx tells nobody
            await asyncio.sleep(0.1)
    assert (await district.get(3, path))[0] == 200


async def test_receivers_fill_their_recordings_from_the_cache_and_from_the_hub_without_it(
    district: District, tmp_path: Path
) -> None:
    async def follow(school: int) -> list[bytes]:
        shelf = LessonShelf(tmp_path / f"school-{school}")
        receiver = LessonReceiver(
            lesson=LESSON,
            keys={key_id(KEY): KEY},
            flagship=SIGNING.public_key(),
            shelf=shelf,
            route=_route(district, school),
            now_ms=district.hub.now_ms,
            listener=Listener(on_status=lambda _: None),
        )
        receiver.finish()
        await asyncio.wait_for(receiver.run(), 30)
        [store] = shelf.takes(LESSON)
        wires = [record.wire for record in store.records(PICTURE)]
        shelf.close()
        return wires

    first, second = await asyncio.gather(follow(2), follow(3))
    assert first == second
    assert len(first) == PICTURES
    fetched = {path for path, _ in district.asked()}
    assert set(_objects(district.take)[1:]) <= fetched
    assert all(district.asked()[path, "MISS"] == 1 for path in fetched)
    district.nginx.close()
    assert len(await follow(4)) == PICTURES


async def test_a_socket_that_cannot_be_had_is_named_with_the_remedy(tmp_path: Path) -> None:
    origin = CacheOrigin(LessonShelf(tmp_path), None, lambda _, __: True)  # type: ignore[arg-type]  # nobody is let in
    async with AsyncExitStack() as stack:
        with pytest.raises(Exception, match=r"lessons\.origin"):
            await origin.serve(stack, tmp_path / "no such folder" / "lessons.sock")


def test_a_unix_socket_fits_where_tests_run(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(tmp_path / "o"))
