"""A lesson that was recorded earlier, without the time that it took."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import LessonId, TakeId
from sync.lessons.fragment_sealing import new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import PICTURE, SOUND
from sync.segments.sealing import DataKey
from tests.edge.lesson_bench import KEY, SIGNING


def record(
    shelf: LessonShelf,
    lesson: LessonId,
    seconds: int,
    begins_ms: int = 1_000_000,
    *,
    key: DataKey = KEY,
    signing: Ed25519PrivateKey = SIGNING,
    closed: bool = True,
) -> TakeId:
    """Record five pictures a second, a keyframe each second, and their sound; return the take."""
    name = new_take()
    take = TakeRecorder(shelf.take(lesson, name), key, signing, lambda _: None, lambda _: None)
    take.add_init(PICTURE, 'video/mp4; codecs="avc1.42E01E"', b"picture", begins_ms)
    take.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', b"sound", begins_ms)
    for number in range(seconds * 5):
        for track in (PICTURE, SOUND):
            take.add(
                MediaFragment(
                    track=track,
                    number=number,
                    keyframe=track == SOUND or number % 5 == 0,
                    decode_time=number * 18_000,
                    duration=18_000,
                    timescale=90_000,
                    capture_ms=begins_ms + number * 200 + track,
                    data=b"%d" % number,
                )
            )
    if closed:
        take.close()
    return name
