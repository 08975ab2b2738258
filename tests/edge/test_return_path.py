"""The way from the classes back to their teacher, over a relay that cannot open it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from drivers.cameras.outages import Loss, Outages, StreamWatch
from edge.errors import NotNowError
from edge.lesson.flagship_run import FlagshipRun
from edge.lesson.keys import key_ring
from edge.lesson.status import Cause
from edge.lesson.transfer.stored_records import told_events
from edge.lesson.way_back import return_wall
from edge.lesson.way_back.followed_class import FollowedClass, Heard
from edge.lesson.way_back.return_path import CONFIRM, GIVES_WAY, UNCONFIRMED, ReturnPath
from sync.lessons.fragment_log import Kind, LessonId
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.lesson_events import Answer, Chapter, Hand, Help, LessonEvent, TimedEvent
from sync.lessons.tracks import CALLED_PICTURE, CALLED_SOUND, PICTURE, SOUND, return_log
from sync.segments.sealing import DataKey, key_id
from tests.edge.lesson_bench import until
from tests.edge.return_bench import (
    FAR,
    FLAGSHIP,
    LESSON,
    NEAR,
    School,
    Town,
    class_of,
    quicken,
    town,
    until_class,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def held(opened: Town, *, far_camera: bool = True) -> tuple[School, School, School]:
    """Begin the lesson everywhere, and let each confirm whom it has to."""
    teacher, near = await opened.begin(FLAGSHIP), await opened.begin(NEAR)
    far = await opened.begin(FAR, has_camera=far_camera)
    await opened.share_keys(teacher, near, far)
    await until(lambda: near.is_returning and far.is_returning)
    for pupil in (near, far):
        await opened.share_keys(pupil, teacher)
    await until(lambda: near.back._is_shared and far.back._is_shared)
    await until(lambda: [bool(one._keys) for one in teacher.wall._classes.values()] == [True] * 2)
    return teacher, near, far


async def test_a_class_is_seen_called_on_heard_by_all_and_let_go_when_its_box_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(return_wall, "FREE_AFTER_S", 1.0)
    async with town(tmp_path) as opened:
        teacher, near, far = await held(opened)
        await until_class(teacher.wall, NEAR, lambda one: one.state is Heard.LIVE)
        await until_class(teacher.wall, FAR, lambda one: one.state is Heard.LIVE)
        await near.back.say(Hand(raised=True))
        await far.back.say(Hand(raised=True))
        await until_class(teacher.wall, FAR, lambda one: one.hand_ms is not None)
        assert class_of(teacher.wall, NEAR).hand_ms is not None
        assert near.room.board.hand_ms is not None
        assert not called_tracks(far)
        assert set(teacher.wall._classes[NEAR].inits) == {PICTURE}  # no voice before the call

        # Where the lesson needs the line a class's picture gives way, until it is called on.
        near.back.note(replace(near.run.status, cause=Cause.NO_PICTURE))
        await until_class(teacher.wall, NEAR, lambda one: one.state is Heard.AWAY)
        assert near.back.trouble == GIVES_WAY
        teacher.wall.call_on(NEAR, stage=True)
        await until(lambda: called_tracks(far) == {CALLED_PICTURE, CALLED_SOUND})
        await until(lambda: near.room.board.called == near.room.board.school == NEAR)
        await until_class(
            teacher.wall, NEAR, lambda one: one.hand_ms is None
        )  # the call answered it
        assert class_of(teacher.wall, FAR).hand_ms is not None
        assert teacher.wall.view().stage

        teacher.wall.mute(NEAR, muted=True)
        await until(lambda: NEAR in near.room.board.muted)
        await near.kill()
        await until(lambda: teacher.wall.view().called == 0)
        assert teacher.wall.view().freed == NEAR
        await until(lambda: far.room.board.called == 0)
        assert near.box.rows("SELECT lesson, room, raised FROM hand_raise") == [(LESSON, "201", 1)]


def called_tracks(school: School) -> set[int]:
    """Return the tracks of the called class that a room was given, picture after its init."""
    kinds = {(one.track, one.kind) for one in school.room.items if one.track in {4, 9}}
    return {track for track, kind in kinds if kind is Kind.MEDIA and (track, Kind.INIT) in kinds}


async def test_a_class_whose_camera_falls_silent_on_an_open_line_has_that_in_the_cameras_ledger(
    tmp_path: Path,
) -> None:
    outages = Outages()
    watch = StreamWatch(
        lost=lambda reason: outages.lost(Loss.STREAM, reason, 1),
        back=lambda: outages.back(Loss.STREAM, 2),
        leave=lambda: outages.leave(Loss.STREAM, ""),
    )
    async with town(tmp_path) as opened:
        teacher, near = await opened.begin(FLAGSHIP), await opened.begin(NEAR)
        near.room.watch = watch
        await opened.share_keys(teacher, near)
        await until(lambda: near.is_returning)
        await opened.share_keys(near, teacher)
        await until_class(teacher.wall, NEAR, lambda one: one.state is Heard.LIVE)
        assert not outages.ledger()
        opened.camera.silent.add("sub")
        await until(lambda: bool(outages.ledger()))
        assert "sends no picture" in outages.ledger()[0].reason
        opened.camera.silent.clear()
        await until(lambda: outages.ledger()[0].until_ms is not None)
        opened.camera.silent.add("sub")
        await until(lambda: len(outages.ledger()) > 1)
        await near.kill()
        assert [each.is_watched for each in outages.ledger()] == [True, False]


async def test_a_hostile_class_is_heard_by_nobody_and_its_picture_is_followed_and_kept_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReturnPath, "_may_speak", lambda _: True)  # it speaks without being called
    async with town(tmp_path) as opened:
        teacher, near, far = await held(opened, far_camera=False)
        followed = teacher.wall._classes[NEAR]
        await until(lambda: SOUND in followed.inits and followed.heard is Heard.LIVE)
        before = followed._status.at_ms
        await until(lambda: followed._status.at_ms > before + 1000)
        assert {parcel.track for parcel in followed.fan_out._newest.parcels()} == {PICTURE}
        assert not called_tracks(far)
        await near.back.say(Hand(raised=True))
        await until_class(teacher.wall, NEAR, lambda one: one.hand_ms is not None)
        log = return_log(LESSON, NEAR)
        assert [await opened.follow(one, log) for one in (FLAGSHIP, NEAR, FAR)] == [200, 403, 403]
        folders = [opened.folder / "hub-lessons"]
        folders += [one.box.folder / "lessons" for one in (near, teacher)]
    for folder in folders:
        shelf = LessonShelf(folder)
        kinds = {stream.kind for take in shelf.takes(log) for stream in take.streams}
        shelf.close()
        assert Kind.MEDIA not in kinds
        assert Kind.EVENT in kinds


async def test_without_a_confirmed_flagship_nothing_is_sent_and_the_remedy_is_said(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as opened:
        near = await opened.begin(NEAR)
        await until(lambda: near.is_returning and bool(near.back.trouble))
        assert (near.back.trouble, near.back.remedy) == (UNCONFIRMED, CONFIRM)
        with pytest.raises(NotNowError, match="not confirmed here"):
            await near.back.say(Hand(raised=True))
        assert near.box.rows("SELECT count(*) FROM hand_raise") == [(0,)]


async def test_what_classes_say_comes_in_order_is_counted_once_and_outlives_the_teachers_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[LessonEvent] = []
    take_up = FollowedClass._hear

    def hear(followed: FollowedClass, timed: TimedEvent) -> None:
        heard.append(timed.event)
        take_up(followed, timed)

    monkeypatch.setattr(FollowedClass, "_hear", hear)
    async with town(tmp_path) as opened:
        teacher, near, far = await held(opened, far_camera=False)
        said: list[Hand | Help] = [
            Hand(raised=True),
            Help(wanted=True),
            Hand(raised=False),
            Help(wanted=False),
            Hand(raised=True),
        ]
        for each in said:
            await far.back.say(each)
            await far.back.say(each)  # what holds already is not said again
        await until(lambda: len(heard) == len(said))
        assert heard == said
        assert class_of(teacher.wall, FAR).state is Heard.QUIET
        await until(lambda: "no adopted camera" in far.back.trouble)
        assert far.back.remedy == "Put it right on the set-up page."

        teacher.wall.ask("2+3?", ("5", "6"))
        await until(lambda: is_asked(near) and is_asked(far))
        question = teacher.wall.view().question
        assert question is not None
        name = question.question
        for pupil, choice in ((near, 1), (far, 0), (near, 0)):
            await pupil.back.say(Answer(question=name, choice=choice))
        await until(lambda: counts(teacher) == (2, 0))
        assert near.room.board.choice == 0
        assert near.back.asked is not None
        assert (near.back.asked.question.question, near.back.asked.choice) == (name, 0)
        with pytest.raises(NotNowError, match="no such choice"):
            await near.back.say(Answer(question=name, choice=2))

        before = class_of(teacher.wall, FAR).hand_ms
        teacher.task.cancel()
        await asyncio.wait([teacher.task])
        assert teacher.means.shelf.open_takes(return_log(LESSON, FAR)) == []
        await teacher.kill()
        again = await opened.begin(FLAGSHIP)
        await until(lambda: isinstance(again.run, FlagshipRun) and again.run.wall is not None)
        await until(lambda: len(again.wall.view().classes) == 2)
        await until_class(again.wall, FAR, lambda one: one.hand_ms == before)
        await until(lambda: counts(again) == (2, 0))
        again.wall.ask("", ())
        await until(lambda: closed(near) == (2, 0))
        assert near.back.asked is None
        with pytest.raises(NotNowError, match="not open"):
            await near.back.say(Answer(question=name, choice=1))
        assert near.box.rows("SELECT choice FROM quick_answer") == [("6",), ("5",)]

        lesson = again.run.lesson
        again.wall._running.clear()  # as it is when the wall has failed and begins anew
        staying = tuple(party for party in lesson.parties if party.school != FAR)
        again.run.lesson = replace(lesson, parties=staying)
        await until(lambda: [one.school for one in again.wall.view().classes] == [NEAR])


def is_asked(school: School) -> bool:
    return school.room.board.question is not None


def counts(teacher: School) -> tuple[int, ...]:
    asked = teacher.wall.view().question
    return () if asked is None else asked.counts


def closed(school: School) -> tuple[int, ...] | None:
    asked = school.room.board.question
    return None if asked is None else asked.counts


async def test_what_is_told_after_a_box_left_is_sealed_under_the_next_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "KEY_GRACE_S", 0.05)
    async with town(tmp_path) as opened:
        teacher, near, _ = await held(opened, far_camera=False)
        flagship = teacher.run
        assert isinstance(flagship, FlagshipRun)
        for school, log, tell in (
            (teacher, LESSON, lambda: flagship.tell(Chapter(title="two"))),
            (near, return_log(LESSON, NEAR), lambda: near.back._tell(Help(wanted=True))),
        ):
            means = school.means
            await means.writer.call(means.keys.grant, log, [stranger()])
            await means.writer.call(means.keys.grant, log, [])
            key = await means.writer.call(means.keys.sealing_key, log)

            await until(partial(told_under, tell, means.shelf, log, key))


def told_under(tell: Callable[[], None], shelf: LessonShelf, log: LessonId, key: DataKey) -> bool:
    """Tell of something, and say whether it, or anything, was sealed under a key."""
    tell()
    return any(told_events(shelf, log, {key_id(key): key}))


def stranger() -> X25519PublicKey:
    return X25519PrivateKey.generate().public_key()
