"""A school that is taken out of a lesson in its middle: what is sealed afterwards is not for it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Never

import aiohttp
from aiohttp import web

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.keys.granting import LessonGrants
from edge.lesson.keys.key_ring import KEYS_EVERY_S, follow_sealing_key
from edge.lesson.keys.lesson_keys import read_keys
from edge.lesson.keys.partners import Partners
from edge.lesson.lesson_means import LessonMeans
from edge.lesson.schedule import ScheduledLesson
from edge.lesson.status import Cause, LessonStatus
from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.publish import LessonPublisher
from edge.lesson.transfer.receive import LessonReceiver, Listener
from edge.pages.box_view import LessonRole
from hub.lesson.relay import LessonRelay
from provisioning.identity import Identity
from sync.errors import KeyMissingError
from sync.lessons.fragment_log import Kind, LessonId, Stream
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey, KeyId, key_id
from sync.writer import Writer
from tests.edge.lesson_bench import FPS, PICTURE, Camera, School, picture_numbers
from tests.edge.lesson_run_bench import lesson_means
from tests.edge.planned_lesson import party, planned_lesson
from tests.edge.school import MINUTE, Box, certificate_row, enrol, new_box
from tests.edge.virtual_time import run_in_virtual_time

FLAGSHIP, STAYING, LEAVING = 17, 18, 19
LESSON = LessonId("a1")
LEAVES_S, FILMED_S = 8, 40


class Everyone:
    """A hub that goes on relaying to a school that left: its bytes must be of no use."""

    def may_publish(self, school: int, lesson: str) -> bool:
        return (school, lesson) == (FLAGSHIP, LESSON)

    def may_receive(self, school: int, lesson: str) -> bool:
        return lesson == LESSON and school > FLAGSHIP


@dataclass
class Class:
    """A school that receives, and the keys that its box may open."""

    school: School
    keys: dict[KeyId, DataKey]

    @property
    def heard(self) -> list[int]:
        return picture_numbers(self.school.items)


def test_what_is_sealed_after_a_school_was_removed_it_cannot_open(tmp_path: Path) -> None:
    box = new_box(tmp_path, FLAGSHIP)
    identities = {
        school: enrol(box.district, tmp_path / str(school), school) for school in (STAYING, LEAVING)
    }
    with box.opened():
        pass
    for identity in identities.values():
        box.plant("box_certificate", certificate_row(identity))
    changed, staying, leaving = run_in_virtual_time(lambda: teach(tmp_path, box, identities))

    assert changed > LEAVES_S * FPS
    assert changed <= (LEAVES_S + 15) * FPS
    # Which pictures a queue let go is not this test's matter; who could open them is.
    assert staying.heard[-1] == FILMED_S * FPS - 1
    assert len([number for number in staying.heard if number >= changed]) > FPS
    assert leaving.heard
    assert leaving.heard[-1] < changed
    assert len(staying.keys) == 2
    assert len(leaving.keys) == 1
    status = leaving.school.receiver.status
    assert status.connected
    assert status.cause is Cause.NO_KEY


async def teach(root: Path, box: Box, identities: dict[int, Identity]) -> tuple[int, Class, Class]:
    """Hold a lesson; return the first picture under the second key, and both classes."""
    async with (
        hub(root / "hub") as url,
        aiohttp.ClientSession(headers={"X-School": str(FLAGSHIP)}) as session,
        asyncio.TaskGroup() as tasks,
    ):
        with box.opened() as store, Writer() as writer:
            means = lesson_means(box, store, writer, (session, url), 1, lambda: box.now_ms)
            partners = Partners(store.node, store.acquaintances, root / "partners.json")
            for school in identities:
                (partner,) = partners.of(school)
                partners.confirm(school, partner.fingerprint, "王老师")
            scheduled = {LESSON: scheduled_lesson(box.now_ms)}
            grants = LessonGrants(
                partners,
                means.keys,
                writer,
                lambda: box.now_ms,
                lambda: scheduled,
                lambda: scheduled,
            )
            publisher = publisher_of(means)
            async with (
                following(root, url, means, identities[STAYING]) as staying,
                following(root, url, means, identities[LEAVING]) as leaving,
            ):
                granting = tasks.create_task(grants.run())
                await asyncio.sleep(2 * KEYS_EVERY_S)
                first = means.keys.sealing_key(LESSON)
                ringing = tasks.create_task(
                    follow_sealing_key(means, LESSON, first, publisher.use_key)
                )
                publishing = tasks.create_task(publisher.run())
                await asyncio.sleep(1)
                filming = tasks.create_task(
                    Camera(random.Random(1)).film(publisher.open_take(), FILMED_S)
                )
                await asyncio.sleep(LEAVES_S)
                lesson = scheduled[LESSON]
                staying_on = tuple(each for each in lesson.parties if each.school != LEAVING)
                scheduled[LESSON] = replace(lesson, parties=staying_on)
                await filming
                await asyncio.sleep(1)
                changed = first_sealed_otherwise(means.shelf, first)
                for task in (granting, ringing, publishing):
                    task.cancel()
            means.shelf.close()
    return changed, staying, leaving


def scheduled_lesson(now_ms: int) -> ScheduledLesson:
    return planned_lesson(
        LESSON,
        now_ms,
        now_ms + 40 * MINUTE,
        party(FLAGSHIP, LessonRole.FLAGSHIP, "101"),
        party(STAYING, LessonRole.RECEIVER, "201"),
        party(LEAVING, LessonRole.RECEIVER, "301"),
    )


def publisher_of(means: LessonMeans) -> LessonPublisher:
    return LessonPublisher(
        lesson=LESSON,
        key=means.keys.sealing_key(LESSON),
        signing=means.identity.signing,
        shelf=means.shelf,
        route=means.route,
        now_ms=means.now_ms,
        on_status=lambda _: None,
    )


def first_sealed_otherwise(shelf: LessonShelf, first: DataKey) -> int:
    (store,) = shelf.takes(LESSON)
    opener = FragmentOpener(LESSON, {key_id(first): first})
    for record in store.records(Stream(Kind.MEDIA, PICTURE)):
        try:
            opener.open(record)
        except KeyMissingError:
            return record.header.number
    raise AssertionError("the key did not change")


@asynccontextmanager
async def hub(root: Path) -> AsyncIterator[str]:
    shelf = LessonShelf(root)
    relay = LessonRelay(shelf, Everyone(), lambda request: int(request.headers["X-School"]))
    app = web.Application()
    relay.add_routes(app)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(relay.run())
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        running.cancel()
    await runner.cleanup()
    shelf.close()


@asynccontextmanager
async def following(
    root: Path, url: str, means: LessonMeans, identity: Identity
) -> AsyncIterator[Class]:
    """Follow the lesson as a school's box, to which its grants travel at once."""
    shelf = LessonShelf(root / f"lessons-{identity.school}")
    keys: dict[KeyId, DataKey] = {}
    items: list[StreamItem] = []
    told: list[LessonStatus] = []

    async def travel() -> Never:
        while True:
            keys.update(read_keys(means.reader, LESSON, FLAGSHIP, identity.sealing))
            await asyncio.sleep(1)

    async with (
        aiohttp.ClientSession(headers={"X-School": str(identity.school)}) as session,
        asyncio.TaskGroup() as tasks,
    ):
        school = School(
            LessonReceiver(
                lesson=LESSON,
                keys=keys,
                flagship=means.identity.signing.public_key(),
                shelf=shelf,
                route=HubRoute(session, url, random.Random(identity.school)),
                now_ms=means.now_ms,
                listener=Listener(
                    on_status=told.append,
                    on_item=items.append,
                ),
            ),
            shelf,
            items,
            told,
        )
        works = [tasks.create_task(travel()), tasks.create_task(school.receiver.run())]
        yield Class(school, keys)
        for work in works:
            work.cancel()
    shelf.close()
