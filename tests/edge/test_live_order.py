"""What of the records that come is played in the room, and what only fills the recording."""

import pytest

from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.transfer.live_order import LATE_S_MAX, LiveOrder
from sync.lessons.fragment_log import LessonId, Record, TakeId
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import DataKey

TAKE = TakeId(b"take-one")


class Room:
    def __init__(self) -> None:
        self.played: list[tuple[int, int]] = []
        self._sealer = TakeSealer(LessonId("lesson-1"), TAKE, DataKey(bytes(32)))
        self._order = LiveOrder(self._play, lambda _, __: None)
        self._order.begin(TAKE)

    def _play(self, item: StreamItem) -> None:
        self.played.append((item.track, item.number))

    def come(self, track: int, number: int, at_s: float, *, keyframe: bool = True) -> bool:
        return self._order.play(self._record(track, number, at_s, keyframe=keyframe), b"opened")

    def _record(self, track: int, number: int, at_s: float, *, keyframe: bool) -> Record:
        times = MediaTimes(
            decode_time=round(at_s * 1000), duration=40, timescale=1000, capture_ms=0
        )
        return self._sealer.seal_media(track, number, b"m", times, keyframe=keyframe)


def test_catch_up_of_the_large_picture_is_not_played_between_the_small_ones() -> None:
    room = Room()
    assert room.come(PICTURE, 0, 0.0)
    assert room.come(PICTURE_SMALL, 100, 10.0)
    assert room.come(SOUND, 100, 10.0)
    assert not room.come(PICTURE, 1, 0.04, keyframe=False)
    assert not room.come(PICTURE, 50, 10.0 - LATE_S_MAX - 0.04)
    assert room.come(PICTURE, 250, 10.0)
    assert room.played == [(PICTURE, 0), (PICTURE_SMALL, 100), (SOUND, 100), (PICTURE, 250)]


@pytest.mark.parametrize(("keyframe", "is_played"), [(True, True), (False, False)])
def test_after_a_hole_a_picture_begins_at_a_keyframe(*, keyframe: bool, is_played: bool) -> None:
    room = Room()
    room.come(PICTURE, 0, 0.0)
    assert room.come(PICTURE, 2, 0.08, keyframe=keyframe) is is_played
