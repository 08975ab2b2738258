"""What a follower is still to be sent: in turn, once, and no more than is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.lesson.wants import WANTS_MAX, Wants
from sync.lessons.fragment_exchange import Turn
from sync.lessons.fragment_log import (
    FILES,
    SIGNATURES,
    Kind,
    LessonId,
    Stream,
    TakeId,
    parse_record,
)
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.materials import chunks_of, encode_chunk
from sync.segments.sealing import DataKey

LESSON, TAKE = LessonId("lesson-1"), TakeId(b"take-one")
PICTURE, SOUND = Stream(Kind.MEDIA, 1), Stream(Kind.MEDIA, 2)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[LessonShelf]:
    """Ten pictures, ten sounds and three chunks of a file."""
    opened = LessonShelf(tmp_path)
    store = opened.take(LESSON, TAKE)
    sealer = TakeSealer(LESSON, TAKE, DataKey(bytes(32)))
    for number in range(10):
        times = MediaTimes(decode_time=number, duration=1, timescale=25, capture_ms=number)
        for stream in (PICTURE, SOUND):
            store.append(sealer.seal_media(stream.track, number, b"m", times, keyframe=False))
    for chunk in chunks_of(bytes(70_000)):
        store.append(sealer.seal_file(encode_chunk(chunk), 0))
    yield opened
    opened.close()


def taken(wants: Wants, upto: Turn = Turn.PICTURE) -> list[tuple[Stream, int]]:
    found = []
    while (wire := wants.next_record(upto)) is not None:
        header = parse_record(wire).header
        found.append((header.stream, header.number))
    return found


def test_sound_is_sent_before_files_and_files_before_pictures(shelf: LessonShelf) -> None:
    wants = Wants(shelf, LESSON)
    wants.add(TAKE, PICTURE, 8, 9)
    wants.add(TAKE, FILES, 0, 500)
    wants.add(TAKE, SOUND, 9, 9)
    assert taken(wants) == [(SOUND, 9), *((FILES, n) for n in range(3)), (PICTURE, 8), (PICTURE, 9)]


def test_pictures_wait_until_it_is_their_turn(shelf: LessonShelf) -> None:
    wants = Wants(shelf, LESSON)
    wants.add(TAKE, PICTURE, 3, 3)
    wants.add(TAKE, FILES, 2, 2)
    assert taken(wants, Turn.FILE) == [(FILES, 2)]
    assert taken(wants) == [(PICTURE, 3)]


def test_what_is_asked_for_again_while_catch_up_rests_is_sent_once(shelf: LessonShelf) -> None:
    wants = Wants(shelf, LESSON)
    for _ in range(3 * WANTS_MAX):
        wants.add(TAKE, PICTURE, 2, 5)
    wants.add(TAKE, PICTURE, 3, 4)
    wants.add(TAKE, PICTURE, 0, 6)
    assert not wants.is_full
    assert taken(wants) == [(PICTURE, n) for n in range(7)]


def test_runs_that_follow_one_another_are_one_want(shelf: LessonShelf) -> None:
    wants = Wants(shelf, LESSON)
    for number in range(3 * WANTS_MAX):
        wants.add(TAKE, FILES, number, number)
    assert not wants.is_full
    assert taken(wants) == [(FILES, n) for n in range(3)]


def test_what_the_hub_does_not_hold_is_passed_over(shelf: LessonShelf) -> None:
    wants = Wants(shelf, LESSON)
    wants.add(TakeId(b"another."), PICTURE, 0, 5)
    wants.add(TAKE, SIGNATURES, 0, 5)
    wants.add(TAKE, SOUND, 50, 60)
    assert taken(wants) == []
