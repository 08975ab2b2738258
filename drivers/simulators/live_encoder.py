"""Encodes a test card and a tone as a camera does: H.264 and AAC-LC, live, in a thread.

Needs PyAV and numpy, which only the demo and the tests have.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from drivers.entities import NowMs
from drivers.simulators.clock_picture import TestCard

TONE_HZ = 1000
SAMPLE_RATE = 48_000
FRAME_SAMPLES = 1024
VIDEO_CLOCK = 90_000

BURST_MS = 100

_AMPLITUDE = 0.25
_SOUND_BIT_RATE = 64_000
_LATE_S_MAX = 0.2
_START_CODE = re.compile(rb"\x00{2,3}\x01")


class Sound(Enum):
    """What a camera hears."""

    TONE = auto()
    BURSTS = auto()  # the tone for BURST_MS from each second of its clock on
    NONE = auto()  # it has no microphone


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamShape:
    """A keyframe comes each second; the sound's clock runs fast by ``sound_ppm`` millionths."""

    width: int
    height: int
    frame_rate: int
    bit_rate: int
    sound: Sound = Sound.TONE
    sound_ppm: int = 0

    @property
    def sample_rate(self) -> float:
        """Samples in a true second, where ``SAMPLE_RATE`` is what the camera says."""
        return SAMPLE_RATE * (1 + self.sound_ppm / 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPicture:
    """``timestamp`` counts ``VIDEO_CLOCK`` since the encoder began; ``units`` are NAL units."""

    timestamp: int
    keyframe: bool
    units: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSound:
    """``timestamp`` counts samples since the encoder began."""

    timestamp: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What a session description tells: parameter sets and AudioSpecificConfig."""

    sps: bytes
    pps: bytes
    audio_config: bytes


Deliver = Callable[[EncodedPicture | EncodedSound], None]


class LiveEncoder:
    """Runs in a thread of its own between ``run`` and ``stop``; delivers from that thread."""

    def __init__(self, shape: StreamShape, now_ms: NowMs, deliver: Deliver) -> None:
        self._shape = shape
        self._now_ms = now_ms
        self._deliver = deliver
        self._stopping = threading.Event()
        self._keyframe_wanted = threading.Event()
        self.began_ms = now_ms()

    def stop(self) -> None:
        self._stopping.set()

    def want_keyframe(self) -> None:
        self._keyframe_wanted.set()

    def run(self) -> None:
        """Encode at the pace of the clock until stopped; a machine too slow skips pictures."""
        picture_s = 1 / self._shape.frame_rate
        sound_s = FRAME_SAMPLES / self._shape.sample_rate
        picture_encoder = _PictureEncoder(self._shape)
        self.began_ms = self._now_ms()
        sound_encoder = _SoundEncoder(self._shape, self.began_ms)
        began_s = time.monotonic()
        picture, sound = 0, 0
        while not self._stopping.is_set():
            elapsed_s = time.monotonic() - began_s
            if elapsed_s - picture * picture_s > _LATE_S_MAX:
                picture = int(elapsed_s / picture_s)
            if elapsed_s >= picture * picture_s:
                wanted = self._keyframe_wanted.is_set()
                self._keyframe_wanted.clear()
                # Of the instant it is due, as its timestamp says, however late it is drawn.
                t_ms = self.began_ms + round(picture * picture_s * 1000)
                for encoded in picture_encoder.encode(picture, t_ms, keyframe=wanted):
                    self._deliver(encoded)
                picture += 1
            # A sound frame exists once its last sample has been heard.
            while self._shape.sound is not Sound.NONE and elapsed_s >= (sound + 1) * sound_s:
                for heard in sound_encoder.encode(sound):
                    self._deliver(heard)
                sound += 1
            due_s = picture * picture_s
            if self._shape.sound is not Sound.NONE:
                due_s = min(due_s, (sound + 1) * sound_s)
            self._stopping.wait(max(0.0, began_s + due_s - time.monotonic()))


class _PictureEncoder:
    def __init__(self, shape: StreamShape) -> None:
        self._card = TestCard(shape.width, shape.height)
        self._step = VIDEO_CLOCK // shape.frame_rate
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = shape.width, shape.height, "yuv420p"
        encoder.time_base = Fraction(1, VIDEO_CLOCK)
        encoder.framerate = Fraction(shape.frame_rate, 1)
        encoder.bit_rate = shape.bit_rate
        rate = shape.bit_rate // 1000
        encoder.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": f"keyint={shape.frame_rate}:scenecut=0:threads=1:sliced-threads=0"
            f":vbv-maxrate={rate * 4 // 3}:vbv-bufsize={rate * 2 // 5}",
        }
        self._encoder = encoder

    def encode(self, number: int, t_ms: int, *, keyframe: bool) -> Iterator[EncodedPicture]:
        frame = av.VideoFrame.from_ndarray(self._card.draw(t_ms), format="yuv420p")
        frame.pts = number * self._step
        frame.time_base = Fraction(1, VIDEO_CLOCK)
        if keyframe:
            frame.pict_type = PictureType.I
        for packet in self._encoder.encode(frame):
            units = tuple(unit for unit in _START_CODE.split(bytes(packet)) if unit)
            yield EncodedPicture(
                timestamp=number * self._step, keyframe=packet.is_keyframe, units=units
            )


class _SoundEncoder:
    def __init__(self, shape: StreamShape, began_ms: int) -> None:
        self._shape = shape
        self._began_ms = began_ms
        encoder = av.CodecContext.create("aac", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", "fltp"
        encoder.time_base = Fraction(1, SAMPLE_RATE)
        encoder.bit_rate = _SOUND_BIT_RATE
        encoder.open()
        self._encoder = encoder

    @property
    def config(self) -> bytes:
        return bytes(self._encoder.extradata or b"")

    def encode(self, number: int) -> Iterator[EncodedSound]:
        first = number * FRAME_SAMPLES
        at = np.arange(first, first + FRAME_SAMPLES)
        wave = np.sin(2 * np.pi * TONE_HZ * (at % SAMPLE_RATE) / SAMPLE_RATE) * _AMPLITUDE
        if self._shape.sound is Sound.BURSTS:
            clock_ms = self._began_ms + at * 1000 / self._shape.sample_rate
            wave[clock_ms % 1000 >= BURST_MS] = 0
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        for packet in self._encoder.encode(frame):
            yield EncodedSound(timestamp=packet.pts or 0, data=bytes(packet))


def stream_facts(shape: StreamShape) -> StreamFacts:
    """Return what the encoder will put into its streams, by encoding one picture."""
    picture = next(_PictureEncoder(shape).encode(0, 0, keyframe=True))
    by_kind = {unit[0] & 0x1F: unit for unit in picture.units}
    return StreamFacts(sps=by_kind[7], pps=by_kind[8], audio_config=_SoundEncoder(shape, 0).config)


def snapshot_jpeg(width: int, height: int, t_ms: int) -> bytes:
    """Return the test card of an instant as JPEG; sides divide by 4."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(TestCard(width, height).draw(t_ms), format="yuvj420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
