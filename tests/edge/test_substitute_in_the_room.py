"""An earlier lesson's recording in a room to which nothing comes live, and live again after it."""

import random
from pathlib import Path

import pytest

from edge.lesson import stand_in
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.keys.lesson_keys import LessonKeys
from edge.lesson.lesson_views import LessonViews
from edge.lesson.receiver_run import ReceiverRun
from edge.lesson.status import Cause, Phase
from edge.lesson.teaching.teacher_code import TeacherCodes
from edge.pages.box_view import LessonState, LessonView
from provisioning.identity import load_identity
from sync.lessons.fragment_log import Kind, LessonId, TakeId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import PICTURE, SOUND
from tests.edge.earlier_lesson import record
from tests.edge.lesson_bench import now_ms, until
from tests.edge.return_bench import (
    FLAGSHIP,
    LESSON,
    NEAR,
    ROOMS,
    School,
    Town,
    quicken,
    read_grants,
    town,
)
from tests.edge.school import MINUTE, schedule
from tests.edge.storm_line import Line
from tests.loopback import free_port

LOCAL = "127.0.0.1"
EARLIER = LessonId("earlier")
LONG_AGO_MS = 1_000_000
RECORDED_S = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    monkeypatch.setattr(stand_in, "NEVER_CAME_MS", 1000)
    monkeypatch.setattr(stand_in, "SILENT_MS", 1000)
    monkeypatch.setattr(stand_in, "LOOK_EVERY_S", 0.05)


def name_earlier_lesson(opened: Town) -> TakeId:
    """Record an earlier lesson at the near school, and name it for the case of a failure.

    It is sealed with the key that its flagship granted to the school's box. Returns its take.
    """
    giver, taker = opened.boxes[FLAGSHIP], opened.boxes[NEAR]
    schedule(taker, EARLIER, LONG_AGO_MS, LONG_AGO_MS + MINUTE, ROOMS)
    now = now_ms()
    schedule(taker, LESSON, now - MINUTE, now + 40 * MINUTE, ROOMS, substitute=EARLIER)
    own = load_identity(taker.folder / "identity").sealing.public_key()
    with giver.opened() as store:
        sealing, chance = store.identity.sealing, random.Random(1)
        keys = LessonKeys(store.node, store.reader, sealing, chance.randbytes, now_ms)
        keys.grant(EARLIER, [own])
        key, signing = keys.sealing_key(EARLIER), store.identity.signing
    for row in read_grants(giver, FLAGSHIP):
        taker.plant("lesson_key_grant", row)
    shelf = LessonShelf(taker.folder / "lessons")
    take = record(shelf, EARLIER, RECORDED_S, LONG_AGO_MS, key=key, signing=signing)
    shelf.close()
    return take


def playable(items: list[StreamItem]) -> set[int]:
    """Return the tracks of which a page can play something: media after its init."""
    begun: set[int] = set()
    played: set[int] = set()
    for item in items:
        if item.kind is Kind.INIT:
            begun.add(item.track)
        elif item.kind is Kind.MEDIA and item.track in begun:
            played.add(item.track)
    return played


def since(school: School, take: TakeId) -> list[StreamItem]:
    """Return what the room was given after the last of a take; all, while it has none of it."""
    items = school.room.items
    last = max((place for place, one in enumerate(items) if one.take == take), default=-1)
    return items[last + 1 :]


def lives(school: School, earlier: TakeId) -> bool:
    """Tell whether the room's pages can play what comes live, without what came before it."""
    return not stands_in(school) and playable(since(school, earlier)) >= {PICTURE, SOUND}


def stands_in(school: School) -> bool:
    assert isinstance(school.run, ReceiverRun)
    return school.run.is_substituted


def shown(school: School) -> LessonView:
    """Return the lesson as the school's own pages show it."""
    codes = TeacherCodes(lambda _: 0, lambda: 0.0)
    views = LessonViews(school.means.shelf, codes, lambda _: 0, now_ms, "")
    return views.view(school.run.lesson, school.run)


async def test_a_lesson_whose_flagship_never_came_is_the_named_recording_and_says_so(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as opened:
        take = name_earlier_lesson(opened)
        near = await opened.begin(NEAR)
        await until(lambda: {one.take for one in near.room.items} == {take})
        await until(lambda: playable(near.room.items) == {PICTURE, SOUND})
        await until(lambda: near.room.shown[-1].cause is Cause.SUBSTITUTE)
        assert near.room.shown[-1].phase is Phase.DEGRADED
        page = shown(near)
        assert (page.state, page.cause) == (LessonState.DEGRADED, Cause.SUBSTITUTE)
        assert page.substitute == "圆的周长"


async def test_a_flagship_that_is_heard_again_takes_its_room_back_where_a_page_can_join(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as opened:
        earlier = name_earlier_lesson(opened)
        async with Line((LOCAL, free_port()), (LOCAL, opened.hub_port)) as line:
            teacher = await opened.begin(FLAGSHIP, hub_port=line.port)
            near = await opened.begin(NEAR)
            await opened.share_keys(teacher, near)
            await until(lambda: lives(near, earlier))
            await line.cut()
            await until(lambda: stands_in(near) and near.room.items[-1].take == earlier)
            await until(lambda: near.room.shown[-1].cause is Cause.SUBSTITUTE)

            await line.mend()
            await until(lambda: near.room.items[-1].take != earlier)
            assert not stands_in(near)
            await until(lambda: lives(near, earlier))
            first = next(one for one in since(near, earlier) if one.kind is Kind.MEDIA)
            assert first.keyframe
            # The take goes on, so that its init does not come once more by itself.
            assert len({one.take for one in near.room.items} - {earlier}) == 1
            await until(lambda: near.room.shown[-1].cause is not Cause.SUBSTITUTE)
            assert shown(near).substitute == ""
