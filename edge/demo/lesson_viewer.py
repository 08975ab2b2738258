"""A viewer without a screen: decodes a lesson as the classroom page gets it, and reads the clock.

It is fed what the page's WebSocket delivers, track by track: initialisation segments and opened
moof+mdat. It parses them itself and gives each sample to the decoder at once, so that it adds no
buffer of its own. Written apart from the muxer: it shares no code with what it judges.
"""

import math
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from drivers.simulators.clock_picture import read_clock

TONE_HZ = 1000
TONE_SHARE_MIN = 0.5
"""The tone is there when it carries at least this share of the sound's power."""
FRAMES_KEPT = 100_000

_FULL_BOX = 4
_BOX_HEAD = struct.Struct(">I4s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedFrame:
    """One decoded picture; ``clock_ms`` is None where no clock could be read in its pixels."""

    clock_ms: int | None
    received_ms: int
    decode_time: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardSound:
    """The samples of one fragment; ``tone_share`` is the tone's share of their power, 0 to 1."""

    received_ms: int
    decode_time: int
    samples: int
    tone_share: float

    @property
    def has_tone(self) -> bool:
        return self.tone_share >= TONE_SHARE_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    decode_time: int
    samples: list[bytes]


OnWave = Callable[[int, int, NDArray[np.float32]], None]
"""Hears decoded sound: its decode time in samples, samples a second, and the samples."""


class LessonViewer:
    """Decodes both tracks of one classroom; keeps the last ``FRAMES_KEPT`` of each.

    ``feed`` takes an initialisation segment or a fragment of either track and may be called with
    a new initialisation segment at any time (another take, another level). A fragment before its
    track's initialisation segment is an error: ValueError, as for bytes that are not MP4.
    """

    def __init__(self, tone_hz: float = TONE_HZ, on_wave: OnWave = lambda *_: None) -> None:
        self._tone_hz = tone_hz
        self._on_wave = on_wave
        self._video: av.VideoCodecContext | None = None
        self._audio: av.AudioCodecContext | None = None
        self.frames: deque[ViewedFrame] = deque(maxlen=FRAMES_KEPT)
        self.sounds: deque[HeardSound] = deque(maxlen=FRAMES_KEPT)
        self.undecodable = 0

    def feed(self, data: bytes, received_ms: int) -> list[ViewedFrame | HeardSound]:
        """Decode and return what this brings; ``received_ms`` is the wall clock at arrival."""
        try:
            boxes = dict(_boxes(data))
            if b"moov" in boxes:
                self._configure(boxes[b"moov"])
                return []
            track, run = _read_fragment(data)
        except (KeyError, IndexError, struct.error) as error:
            raise ValueError("neither an initialisation segment nor a fragment") from error
        if track == 1:
            return list(self._see(run, received_ms))
        return list(self._hear(run, received_ms))

    def _configure(self, moov: bytes) -> None:
        entry, body = _sample_entry(moov)
        if entry == b"avc1":
            video = av.CodecContext.create("h264", "r")
            assert isinstance(video, av.VideoCodecContext)
            video.extradata = dict(_boxes(body[78:]))[b"avcC"]
            video.thread_count = 1  # frame threads would hold pictures back
            video.options = {"flags": "low_delay"}
            self._video = video
        elif entry == b"mp4a":
            audio = av.CodecContext.create("aac", "r")
            assert isinstance(audio, av.AudioCodecContext)
            audio.extradata = _audio_config(dict(_boxes(body[28:]))[b"esds"])
            self._audio = audio
        elif entry == b"Opus":
            audio = av.CodecContext.create("opus", "r")
            assert isinstance(audio, av.AudioCodecContext)
            audio.extradata = _opus_head(dict(_boxes(body[28:]))[b"dOps"])
            self._audio = audio
        else:
            raise ValueError(f"a track of {entry!r}")

    def _see(self, run: _Run, received_ms: int) -> Iterator[ViewedFrame]:
        if self._video is None:
            raise ValueError("a picture before its initialisation segment")
        for sample in run.samples:
            try:
                pictures = self._video.decode(av.Packet(sample))
            except av.error.InvalidDataError:
                self.undecodable += 1
                continue
            for picture in pictures:
                frame = ViewedFrame(
                    clock_ms=read_clock(_luma(picture)),
                    received_ms=received_ms,
                    decode_time=run.decode_time,
                    width=picture.width,
                    height=picture.height,
                )
                self.frames.append(frame)
                yield frame

    def _hear(self, run: _Run, received_ms: int) -> Iterator[HeardSound]:
        if self._audio is None:
            raise ValueError("sound before its initialisation segment")
        blocks: list[NDArray[np.float32]] = []
        rate = 0
        for sample in run.samples:
            try:
                heard = self._audio.decode(av.Packet(sample))
            except av.error.InvalidDataError:
                self.undecodable += 1
                continue
            for block in heard:
                blocks.append(block.to_ndarray()[0])
                rate = block.sample_rate
        if not blocks:
            return
        wave = np.concatenate(blocks)
        self._on_wave(run.decode_time, rate, wave)
        sound = HeardSound(
            received_ms=received_ms,
            decode_time=run.decode_time,
            samples=len(wave),
            tone_share=tone_share(wave, rate, self._tone_hz),
        )
        self.sounds.append(sound)
        yield sound


def tone_share(wave: NDArray[np.float32], rate: int, tone_hz: float) -> float:
    """Return a tone's share of the power of some samples, by Goertzel's recurrence; 0 in silence.

    The tone is matched over whole periods only, so that its share of a pure tone is 1.
    """
    whole = int(len(wave) * tone_hz / rate)
    wave = wave[: round(whole * rate / tone_hz)]
    power = float(np.dot(wave, wave))
    if not whole or power < 1e-4 * len(wave):  # quieter than -40 dB is silence
        return 0.0
    turn = 2 * math.cos(2 * math.pi * tone_hz / rate)
    before, last = 0.0, 0.0
    for value in wave.tolist():
        before, last = last, value + turn * last - before
    found = before * before + last * last - turn * before * last
    return min(1.0, 2 * found / (len(wave) * power))


def _opus_head(specific: bytes) -> bytes:
    """Return Ogg's identification header of a dOps box: the same fields, little-endian."""
    _, channels, skip, rate, gain, family = struct.unpack_from(">BBHIhB", specific)
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, skip, rate, gain, family)


def _luma(picture: av.VideoFrame) -> NDArray[np.uint8]:
    plane = picture.planes[0]
    pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return pixels[: picture.height, : picture.width]


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        if len(data) - position < _BOX_HEAD.size:
            raise ValueError("a box is cut off")
        size, kind = _BOX_HEAD.unpack_from(data, position)
        if not _BOX_HEAD.size <= size <= len(data) - position:
            raise ValueError(f"box {kind!r} of {size} bytes is cut off")
        yield kind, data[position + 8 : position + size]
        position += size


def _inside(data: bytes, *path: bytes) -> bytes:
    for kind in path:
        found = dict(_boxes(data)).get(kind)
        if found is None:
            raise ValueError(f"no box {kind!r}")
        data = found
    return data


def _sample_entry(moov: bytes) -> tuple[bytes, bytes]:
    table = _inside(moov, b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    return next(_boxes(table[_FULL_BOX + 4 :]))


def _audio_config(esds: bytes) -> bytes:
    """Walk ES_Descriptor, DecoderConfigDescriptor, DecoderSpecificInfo."""
    body = _descriptor(esds[_FULL_BOX:], 3)[3:]
    return _descriptor(_descriptor(body, 4)[13:], 5)


def _descriptor(data: bytes, tag: int) -> bytes:
    if data[0] != tag:
        raise ValueError(f"descriptor {data[0]} where {tag} was expected")
    length, position = 0, 1
    while True:
        length = length << 7 | data[position] & 0x7F
        position += 1
        if not data[position - 1] & 0x80:
            return data[position : position + length]


def _read_fragment(data: bytes) -> tuple[int, _Run]:
    moof_at = _position(data, b"moof")
    traf = _inside(data, b"moof", b"traf")
    boxes = dict(_boxes(traf))
    header, time, run = boxes[b"tfhd"], boxes[b"tfdt"], boxes[b"trun"]
    track = int.from_bytes(header[4:8], "big")
    decode_time = int.from_bytes(time[4:12] if time[0] == 1 else time[4:8], "big")
    flags, count, offset = struct.unpack_from(">IIi", run)
    # 14496-12 §8.8.8: data offset 0x1, first flags 0x4, then duration, size, flags, composition.
    if not flags & 0x1 or not flags & 0x200:
        raise ValueError("a run without data offset or sizes")
    position = 12 + (4 if flags & 0x4 else 0)
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    samples: list[bytes] = []
    start = moof_at + offset
    for _ in range(count):
        size_at = position + 4 * fields.index(0x200)
        size = int.from_bytes(run[size_at : size_at + 4], "big")
        samples.append(data[start : start + size])
        if len(samples[-1]) != size:
            raise ValueError("a sample is cut off")
        start += size
        position += 4 * len(fields)
    return track, _Run(decode_time=decode_time, samples=samples)


def _position(data: bytes, wanted: bytes) -> int:
    position = 0
    for kind, body in _boxes(data):
        if kind == wanted:
            return position
        position += 8 + len(body)
    raise ValueError(f"no box {wanted!r}")
