"""A recording stands in for a flagship that fails, at its own pace, until the flagship is back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.lesson import stand_in, substitute
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.stand_in import NEVER_CAME_MS, SILENT_MS, StandIn, is_due
from edge.lesson.status import Cause, LessonStatus, Phase, waiting
from edge.lesson.substitute import SubstitutePlayer
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import Kind, LessonId, TakeId, is_sound
from sync.lessons.fragment_sealing import new_take, split_init
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import BLACKBOARD, CALLED_PICTURE, CALLED_SOUND, PICTURE, SOUND
from sync.segments.sealing import DataKey, key_id
from tests.drivers.serial_bench import running, until
from tests.edge.earlier_lesson import record
from tests.edge.lesson_bench import KEY, SIGNING

OTHER = LessonId("earlier")
NOW_MS = 1_800_000_000_000
LIVE_TAKE = TakeId(b"livelive")
SILENT = replace(
    waiting(NOW_MS),
    phase=Phase.DEGRADED,
    cause=Cause.FLAGSHIP_SILENT,
    connected=True,
    sound_age_ms=SILENT_MS,
    picture_age_ms=SILENT_MS + 40,
)


@pytest.mark.parametrize(
    ("status", "since_bell_ms", "due"),
    [
        (replace(waiting(0), connected=True), NEVER_CAME_MS, True),
        (replace(waiting(0), connected=True), NEVER_CAME_MS - 1, False),
        (replace(waiting(0), connected=False), NEVER_CAME_MS, False),
        (SILENT, 60_000, True),
        (replace(SILENT, sound_age_ms=SILENT_MS - 1), 60_000, False),
        (replace(SILENT, cause=Cause.HUB_UNREACHABLE), 60_000, False),
        (replace(SILENT, connected=False), 60_000, False),
        (replace(SILENT, phase=Phase.LIVE), 60_000, False),
        (SILENT, -1, False),
    ],
)
def test_a_flagship_fails_when_the_hub_answers_and_nothing_comes_for_long(
    status: LessonStatus, since_bell_ms: int, *, due: bool
) -> None:
    assert is_due(status, since_bell_ms) is due


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[LessonShelf]:
    made = LessonShelf(tmp_path / "lessons")
    record(made, OTHER, seconds=3)
    yield made
    made.close()


def player(shelf: LessonShelf, played: list[StreamItem], key: DataKey = KEY) -> SubstitutePlayer:
    return SubstitutePlayer(shelf, OTHER, {key_id(key): key}, played.append, lambda: NOW_MS)


def numbers(items: list[StreamItem], track: int) -> list[int]:
    return [one.number for one in items if one.kind is Kind.MEDIA and one.track == track]


async def test_a_recording_plays_whole_in_order_and_as_of_now(shelf: LessonShelf) -> None:
    played: list[StreamItem] = []
    began_s = asyncio.get_running_loop().time()
    await player(shelf, played).play(0)
    assert [one.kind for one in played[:2]] == [Kind.INIT, Kind.INIT]
    assert numbers(played, 1) == numbers(played, 2) == list(range(15))
    assert {one.capture_ms for one in played} == {NOW_MS}
    # Nothing is played before its time: 14 steps of 200 ms.
    assert asyncio.get_running_loop().time() - began_s >= 14 * 0.2 - 0.05


async def test_a_recording_is_joined_at_the_keyframe_of_a_moment(
    shelf: LessonShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    played: list[StreamItem] = []
    await player(shelf, played).play(1500)
    assert numbers(played, 1) == list(range(5, 15))
    assert numbers(played, 2)[0] == 5


async def test_of_a_recording_only_what_its_flagship_signed_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    cut_off = LessonShelf(tmp_path / "cut off")
    record(cut_off, OTHER, seconds=3, closed=False)
    played: list[StreamItem] = []
    await player(cut_off, played).play(0)
    cut_off.close()
    assert numbers(played, 1) == list(range(10))  # a group is signed when the next one begins


async def test_a_recording_that_nobody_signed_is_none(tmp_path: Path) -> None:
    unsigned = LessonShelf(tmp_path / "unsigned")
    record(unsigned, OTHER, seconds=1, closed=False)
    assert not player(unsigned, []).opens
    unsigned.close()


async def test_a_recording_shorter_than_the_lesson_plays_from_its_beginning(
    shelf: LessonShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    played: list[StreamItem] = []
    await player(shelf, played).play(60_000)
    assert numbers(played, 1) == list(range(15))


CALLED_MS = 1_000_000
"""Begin of the lesson in which two classes are called on, one after the other."""


def record_called(shelf: LessonShelf) -> None:
    """Record six seconds with the blackboard from the start, and a class in the 2nd and the 5th."""
    take = TakeRecorder(shelf.take(OTHER, new_take()), KEY, SIGNING, lambda _: None, lambda _: None)
    begun: set[tuple[int, int]] = set()
    counts = dict.fromkeys((PICTURE, SOUND, BLACKBOARD, CALLED_SOUND, CALLED_PICTURE), 0)
    for step in range(30):
        second, at_ms = step // 5, CALLED_MS + step * 200
        for track in counts:
            is_called = track in {CALLED_SOUND, CALLED_PICTURE}
            if is_called and second not in {1, 4}:
                continue
            source = second if is_called else 0
            if (track, source) not in begun:
                begun.add((track, source))
                # The blackboard's is written down a moment after its first picture came.
                init_ms = at_ms + 50 if track == BLACKBOARD else at_ms
                kind = "audio" if is_sound(track) else "video"
                take.add_init(track, f'{kind}/mp4; codecs="x"', b"source %d" % source, init_ms)
            take.add(
                MediaFragment(
                    track=track,
                    number=counts[track],
                    keyframe=is_sound(track) or step % 5 == 0,
                    decode_time=step * 18_000,
                    duration=18_000,
                    timescale=90_000,
                    capture_ms=at_ms,
                    data=b"source %d" % source,
                )
            )
            counts[track] += 1
    take.close()


@pytest.mark.parametrize(("from_ms", "voice"), [(0, range(10)), (2000, range(5, 10))])
async def test_the_class_that_was_called_on_and_the_blackboard_are_part_of_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_ms: int, voice: range
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    shelf = LessonShelf(tmp_path / "called")
    record_called(shelf)
    played: list[StreamItem] = []
    await player(shelf, played).play(from_ms)
    shelf.close()
    step = from_ms // 200
    assert numbers(played, PICTURE) == numbers(played, SOUND) == list(range(step, 30))
    assert numbers(played, BLACKBOARD) == list(range(step, 30))
    assert numbers(played, CALLED_SOUND) == numbers(played, CALLED_PICTURE) == list(voice)
    in_force: dict[int, bytes] = {}
    for item in played:
        if item.kind is Kind.INIT:
            in_force[item.track] = split_init(item.data)[1]
        else:
            assert item.data == in_force[item.track], "each class is played by its own init"


async def test_takes_follow_one_another_without_the_pause_between_them(
    shelf: LessonShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    record(shelf, OTHER, seconds=1, begins_ms=9_000_000)
    played: list[StreamItem] = []
    await player(shelf, played).play(0)
    assert numbers(played, 1) == [*range(15), *range(5)]
    assert len({one.take for one in played}) == 2


async def test_a_recording_whose_key_is_not_here_shows_nothing(
    shelf: LessonShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    played: list[StreamItem] = []
    keyless = player(shelf, played, DataKey(bytes(32)))
    assert not keyless.opens
    await keyless.play(0)
    assert played == []
    assert player(shelf, played).opens


async def test_nothing_of_a_lesson_that_is_not_here(tmp_path: Path) -> None:
    shelf = LessonShelf(tmp_path / "empty")
    assert not player(shelf, []).opens
    await player(shelf, []).play(0)


class Lesson:
    """A room, its flagship's state, and what was asked for."""

    def __init__(self, shelf: LessonShelf) -> None:
        self.played: list[StreamItem] = []
        self.status = SILENT
        self.since_bell_ms = 300_000
        self.rejoined: list[TakeId] = []
        self._player = player(shelf, self.played)
        self.stand_in = StandIn(self.played.append, self._load, self._rejoin, self._judge)

    async def _load(self) -> SubstitutePlayer:
        return self._player

    def _rejoin(self, take: TakeId) -> list[StreamItem]:
        self.rejoined.append(take)
        return [live(Kind.INIT, 0), live(Kind.MEDIA, 7)]

    def _judge(self) -> tuple[LessonStatus, int]:
        return self.status, self.since_bell_ms


def live(kind: Kind, number: int) -> StreamItem:
    return StreamItem(
        take=LIVE_TAKE,
        kind=kind,
        track=1,
        number=number,
        keyframe=True,
        capture_ms=NOW_MS,
        decode_us=0,
        data=b"",
    )


@pytest.fixture
def lesson(shelf: LessonShelf, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    monkeypatch.setattr(stand_in, "LOOK_EVERY_S", 0.02)
    return Lesson(shelf)


async def test_a_flagship_that_comes_back_takes_the_room_again_with_what_pages_need(
    lesson: Lesson,
) -> None:
    async with running(lesson.stand_in.run()):
        await until(lambda: lesson.stand_in.is_playing and len(lesson.played) > 3)
        lesson.status = replace(SILENT, phase=Phase.LIVE)
        lesson.stand_in.publish(live(Kind.MEDIA, 7))
        assert not lesson.stand_in.is_playing
        assert lesson.rejoined == [LIVE_TAKE]
        came = len(lesson.played)
        lesson.stand_in.publish(live(Kind.MEDIA, 8))
        await asyncio.sleep(0.5)  # time in which the recording would have gone on
        assert [one.take for one in lesson.played[came - 2 :]] == [LIVE_TAKE] * 3
        lesson.status = SILENT
        await until(lambda: lesson.stand_in.is_playing)  # it fails once more


async def test_the_end_of_the_lesson_ends_its_recording(lesson: Lesson) -> None:
    async with running(lesson.stand_in.run()):
        await until(lambda: lesson.stand_in.is_playing)
        lesson.since_bell_ms = -1
        await until(lambda: not lesson.stand_in.is_playing)


async def test_a_recording_that_is_over_is_not_begun_again(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substitute, "PAUSE_MS_MAX", 0)
    async with running(lesson.stand_in.run()):
        await until(lambda: len(numbers(lesson.played, 1)) == 15)
        await until(lambda: not lesson.stand_in.is_playing)
        await asyncio.sleep(0.2)
        assert len(numbers(lesson.played, 1)) == 15


async def test_a_lesson_that_ends_leaves_no_word_of_a_recording_in_its_place(
    lesson: Lesson,
) -> None:
    async with running(lesson.stand_in.run()):
        await until(lambda: lesson.stand_in.is_playing)
    assert not lesson.stand_in.is_playing
