"""Two seconds of real picture and sound, and takes recorded of them."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.codecs.aac import parse_config
from drivers.codecs.h264 import ParameterSets, VideoFormat
from drivers.simulators.live_encoder import (
    FRAME_SAMPLES,
    EncodedPicture,
    EncodedSound,
    LiveEncoder,
    StreamShape,
)
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.capture.fmp4 import Sample, audio_init, fragment, video_init
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_sealing import new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import DataKey

SHAPE = StreamShape(width=320, height=180, frame_rate=25, bit_rate=300_000)
PICTURES = 50
LESSON = LessonId("lesson-1")
KEY = DataKey(bytes(range(32)))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
BEGAN_MS = 1_790_000_000_000
PICTURE, SOUND = 1, 2
PICTURE_STEP = 3600
SOUND_FRAMES = 4


@dataclass(frozen=True)
class Footage:
    """Two seconds of picture and sound as fragments' data, with their formats."""

    picture_init: bytes
    sound_init: bytes
    pictures: list[tuple[bytes, bool]]
    sounds: list[bytes]


def shoot() -> Footage:
    """Encode a moving picture and a tone; takes as long as it lasts."""
    pictures: list[EncodedPicture] = []
    sounds: list[EncodedSound] = []

    def deliver(encoded: EncodedPicture | EncodedSound) -> None:
        if isinstance(encoded, EncodedPicture):
            pictures.append(encoded)
        else:
            sounds.append(encoded)
        if len(pictures) >= PICTURES:
            encoder.stop()

    encoder = LiveEncoder(SHAPE, lambda: BEGAN_MS, deliver)
    encoder.run()
    sets = ParameterSets()
    for unit in pictures[0].units:
        if unit[0] & 0x1F in {7, 8}:
            sets.put(unit)
    told = sets.video_format()
    assert isinstance(told, VideoFormat)
    return Footage(
        picture_init=video_init(told),
        sound_init=audio_init(parse_config(bytes.fromhex("1188"))),
        pictures=[
            (
                b"".join(
                    len(unit).to_bytes(4, "big") + unit
                    for unit in one.units
                    if unit[0] & 0x1F in {1, 5, 6}
                ),
                one.keyframe,
            )
            for one in pictures[:PICTURES]
        ],
        sounds=[one.data for one in sounds],
    )


def film(
    shelf: LessonShelf,
    footage: Footage,
    began_ms: int,
    *,
    without: frozenset[tuple[int, int]] = frozenset(),
    lesson: LessonId = LESSON,
) -> None:
    """Record a take of the footage; ``without`` are (track, number) that were never captured."""
    recorder = TakeRecorder(
        shelf.take(lesson, new_take()), KEY, SIGNING, lambda _: None, lambda _: None
    )
    # A camera's init is written down a moment after its first packet arrived.
    recorder.add_init(
        PICTURE, 'video/mp4; codecs="avc1.42E01E"', footage.picture_init, began_ms + 3
    )
    recorder.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', footage.sound_init, began_ms + 3)
    made: list[MediaFragment] = []
    for number, (data, keyframe) in enumerate(footage.pictures):
        sample = Sample(data, PICTURE_STEP, keyframe)
        at = number * PICTURE_STEP
        made.append(
            MediaFragment(
                track=PICTURE,
                number=number,
                keyframe=keyframe,
                decode_time=at,
                duration=PICTURE_STEP,
                timescale=90_000,
                capture_ms=began_ms + at // 90,
                data=fragment(PICTURE, number, at, [sample]),
            )
        )
    lasts = SOUND_FRAMES * FRAME_SAMPLES
    for number in range(len(footage.sounds) // SOUND_FRAMES):
        frames = footage.sounds[number * SOUND_FRAMES : (number + 1) * SOUND_FRAMES]
        samples = [Sample(frame, FRAME_SAMPLES, keyframe=True) for frame in frames]
        made.append(
            MediaFragment(
                track=SOUND,
                number=number,
                keyframe=True,
                decode_time=number * lasts,
                duration=lasts,
                timescale=48_000,
                capture_ms=began_ms + number * lasts // 48,
                data=fragment(SOUND, number, number * lasts, samples),
            )
        )
    for each in sorted(made, key=lambda one: one.capture_ms):
        if (each.track, each.number) not in without:
            recorder.add(each)
    recorder.close()
