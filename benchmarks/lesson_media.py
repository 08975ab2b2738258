"""Ten seconds of a lesson as a camera sends it, encoded once: large and small picture, and sound.

H.264 by x264 and AAC-LC by FFmpeg (PyAV, which only development has), a keyframe each second. The
picture is a drifting texture with noise, so that the streams need the bit rates they are given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np

from edge.lesson.capture.fmp4 import Sample
from edge.lesson.capture.sound_track import is_gathered
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

SECONDS = 10
FRAME_RATE = 25
SAMPLE_RATE = 48_000
FRAME_SAMPLES = 1024
PICTURE_TIMESCALE = 90_000
LARGE, SMALL = (1280, 720, 1_700_000), (320, 180, 180_000)
SOUND_BITS, LOW_SOUND_BITS = 64_000, 24_000
_SEED = 7


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """Fragments' samples by track; they repeat without end."""

    fragments: dict[int, list[list[Sample]]]


@dataclass(frozen=True, slots=True)
class Due:
    """A fragment to be published so many seconds after the start."""

    at_s: float
    track: int
    number: int
    timescale: int
    decode_time: int
    samples: list[Sample]

    @property
    def duration(self) -> int:
        return sum(sample.duration for sample in self.samples)


def encode_media(sound_bits: int = SOUND_BITS) -> Media:
    return Media(
        fragments={
            PICTURE: [[sample] for sample in encode_picture(*LARGE)],
            PICTURE_SMALL: [[sample] for sample in encode_picture(*SMALL)],
            SOUND: _grouped(list(encode_sound(sound_bits))),
        }
    )


def save_media(media: Media, path: Path) -> None:
    path.write_bytes(msgspec.msgpack.encode(media))


def load_media(path: Path) -> Media:
    return msgspec.msgpack.decode(path.read_bytes(), type=Media)


def timetable(media: Media) -> Iterator[Due]:
    """Yield what is to be published, in order of time, without end."""
    heads = dict.fromkeys(media.fragments, (0, 0))
    while True:
        track = min(heads, key=lambda each: heads[each][1] / _timescale(each))
        number, decode_time = heads[track]
        samples = media.fragments[track][number % len(media.fragments[track])]
        scale = _timescale(track)
        duration = sum(sample.duration for sample in samples)
        # A picture is there when it is taken, sound once its last sample was heard.
        at_s = (decode_time + (duration if track == SOUND else 0)) / scale
        yield Due(at_s, track, number, scale, decode_time, samples)
        heads[track] = number + 1, decode_time + duration


def _timescale(track: int) -> int:
    return SAMPLE_RATE if track == SOUND else PICTURE_TIMESCALE


def encode_picture(width: int, height: int, bit_rate: int) -> Iterator[Sample]:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAME_RATE), Fraction(FRAME_RATE)
    encoder.bit_rate = bit_rate
    encoder.gop_size = FRAME_RATE
    kbits = bit_rate // 1000
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "x264-params": f"keyint={FRAME_RATE}:scenecut=0:vbv-maxrate={kbits}:vbv-bufsize={kbits}",
    }
    rng = np.random.default_rng(_SEED)
    texture = np.kron(rng.integers(40, 200, (height // 20, width // 10)), np.ones((20, 20)))
    duration = PICTURE_TIMESCALE // FRAME_RATE
    for number in range(SECONDS * FRAME_RATE):
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        drifting = np.roll(texture, number * 2, axis=1)[:height, :width]
        noise = rng.integers(0, 12, drifting.shape)
        planes[:height] = (drifting + noise).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = number
        for packet in encoder.encode(frame):
            yield Sample(bytes(packet), duration, packet.is_keyframe)


def encode_sound(bit_rate: int) -> Iterator[Sample]:
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", "fltp"
    encoder.bit_rate = bit_rate
    rng = np.random.default_rng(_SEED)
    for number in range(SECONDS * SAMPLE_RATE // FRAME_SAMPLES):
        moments = (np.arange(FRAME_SAMPLES) + number * FRAME_SAMPLES) / SAMPLE_RATE
        voice = 0.2 * np.sin(2 * np.pi * 220 * moments) + 0.1 * rng.standard_normal(FRAME_SAMPLES)
        frame = av.AudioFrame.from_ndarray(
            voice.astype(np.float32).reshape(1, -1), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = SAMPLE_RATE, number * FRAME_SAMPLES
        for packet in encoder.encode(frame):
            yield Sample(bytes(packet), FRAME_SAMPLES, keyframe=True)


def _grouped(samples: list[Sample]) -> list[list[Sample]]:
    """Return the fragments that a capture makes."""
    fragments, pending = [], list[Sample]()
    for sample in samples:
        pending.append(sample)
        if is_gathered(pending, SAMPLE_RATE):
            fragments.append(pending)
            pending = []
    return fragments
