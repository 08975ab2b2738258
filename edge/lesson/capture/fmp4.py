"""Fragmented MP4, one file a track: an initialisation segment, then moof+mdat after moof+mdat.

Pure: formats and samples in, bytes out. Layout: ISO/IEC 14496-12 (boxes), -14 (esds), -15 (avcC),
"Encapsulation of Opus in ISO Base Media File Format" (dOps); what a browser accepts of it: W3C
"ISO BMFF Byte Stream Format".
"""

import struct
from collections.abc import Sequence

import msgspec

from drivers.codecs.aac import AudioFormat
from drivers.codecs.h264 import VideoFormat
from drivers.codecs.opus import OpusFormat
from edge.lesson.capture.iso_boxes import (
    BOX,
    PICTURE_KIND,
    SOUND_KIND,
    box,
    full_box,
    media,
    movie_header,
    track_header,
)
from sync.lessons.tracks import PICTURE, SOUND

VIDEO_TIMESCALE = 90_000

_SYNC_SAMPLE = 0x0200_0000  # depends on no other
_OTHER_SAMPLE = 0x0101_0000  # depends on others, no sync sample
_BASE_IS_MOOF = 0x02_0000
_RUN_FIELDS = 0x701  # data offset; duration, size and flags of each sample
_HIGH_PROFILES = {100, 110, 122, 144, 244}  # whose avcC repeats chroma format and bit depths

_ENTRY_RATE_MAX = 0xFFFF

_MOOF_HEAD = struct.Struct(">I4sI4sIII4sI4sIII4sIQI4sIII")
_SAMPLE = struct.Struct(">III")


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One picture or sound frame; ``duration`` is in the track's timescale."""

    data: bytes
    duration: int
    keyframe: bool


def video_init(video: VideoFormat, track: int = PICTURE) -> bytes:
    """Return the initialisation segment of a video track, in ``VIDEO_TIMESCALE``."""
    facts = video.facts
    entry = box(
        b"avc1",
        _visual_entry(facts.width, facts.height),
        box(b"avcC", _decoder_configuration(video)),
    )
    return _init(track, VIDEO_TIMESCALE, PICTURE_KIND, entry, (facts.width, facts.height))


def audio_init(audio: AudioFormat | OpusFormat, track: int = SOUND) -> bytes:
    """Return the initialisation segment of an audio track; its timescale is the sample rate."""
    rate = audio.sample_rate if audio.sample_rate <= _ENTRY_RATE_MAX else 0  # esds tells it
    sound = struct.pack(">6xH8x2H4xH2x", 1, audio.channels, 16, rate)
    match audio:
        case AudioFormat():
            entry = box(b"mp4a", sound, full_box(b"esds", 0, _elementary_stream(audio)))
        case OpusFormat():
            entry = box(b"Opus", sound, box(b"dOps", _opus_specific(audio)))
    return _init(track, audio.sample_rate, SOUND_KIND, entry, (0, 0))


def fragment(track: int, number: int, decode_time: int, samples: Sequence[Sample]) -> bytes:
    """Return moof+mdat of at least one sample; ``number`` counts a track's fragments from 0."""
    table = b"".join(
        _SAMPLE.pack(s.duration, len(s.data), _SYNC_SAMPLE if s.keyframe else _OTHER_SAMPLE)
        for s in samples
    )
    moof_bytes = _MOOF_HEAD.size + len(table)
    head = _MOOF_HEAD.pack(
        moof_bytes,
        b"moof",
        16,
        b"mfhd",
        0,
        (number + 1) & 0xFFFFFFFF,
        moof_bytes - 24,
        b"traf",
        16,
        b"tfhd",
        _BASE_IS_MOOF,
        track,
        20,
        b"tfdt",
        1 << 24,
        decode_time,
        20 + len(table),
        b"trun",
        _RUN_FIELDS,
        len(samples),
        moof_bytes + BOX.size,
    )
    data = b"".join([s.data for s in samples])
    return b"".join((head, table, BOX.pack(BOX.size + len(data), b"mdat"), data))


def _init(track: int, timescale: int, kind: bytes, entry: bytes, size: tuple[int, int]) -> bytes:
    sample_table = box(
        b"stbl",
        full_box(b"stsd", 0, struct.pack(">I", 1), entry),
        full_box(b"stts", 0, bytes(4)),
        full_box(b"stsc", 0, bytes(4)),
        full_box(b"stsz", 0, bytes(8)),
        full_box(b"stco", 0, bytes(4)),
    )
    return box(b"ftyp", b"iso6", bytes(4), b"iso6mp41") + box(
        b"moov",
        movie_header(1000, 0, track),
        box(b"trak", track_header(track, kind, size, 0), media(kind, timescale, 0, sample_table)),
        box(b"mvex", full_box(b"trex", 0, struct.pack(">5I", track, 1, 0, 0, 0))),
    )


def _visual_entry(width: int, height: int) -> bytes:
    """Return a VisualSampleEntry without its boxes: 72 dpi, one frame a sample, 24 bits."""
    resolution = 72 << 16
    return struct.pack(
        ">6xH16x2H2I4xH32x2H", 1, width, height, resolution, resolution, 1, 24, 0xFFFF
    )


def _decoder_configuration(video: VideoFormat) -> bytes:
    """Return an AVCDecoderConfigurationRecord with lengths of four bytes (14496-15 §5.3.3.1)."""
    facts = video.facts
    parts = [b"\x01", video.sps[0][1:4], bytes((0xFF, 0xE0 | len(video.sps)))]
    parts += [len(unit).to_bytes(2, "big") + unit for unit in video.sps]
    parts.append(bytes((len(video.pps),)))
    parts += [len(unit).to_bytes(2, "big") + unit for unit in video.pps]
    if facts.profile in _HIGH_PROFILES:
        luma, chroma = facts.luma_bits - 8, facts.chroma_bits - 8
        parts.append(bytes((0xFC | facts.chroma_format, 0xF8 | luma, 0xF8 | chroma, 0)))
    return b"".join(parts)


def _elementary_stream(audio: AudioFormat) -> bytes:
    """Return an ES_Descriptor of MPEG-4 audio (14496-1 §7.2.6.5)."""
    decoder = _descriptor(
        0x04,
        struct.pack(">BB3sII", 0x40, 0x15, bytes(3), 0, 0),
        _descriptor(0x05, audio.config),
    )
    return _descriptor(0x03, struct.pack(">HB", SOUND, 0), decoder, _descriptor(6, b"\x02"))


def _opus_specific(audio: OpusFormat) -> bytes:
    """Return an OpusSpecificBox's body (Opus in ISOBMFF §4.3.2), channel mapping family 0.

    Its pre-skip is 0: a capture begins amid a stream, nothing of it is to be cut away. Its rate is
    for information, but Chromium refuses any that the sample entry does not tell too.
    """
    return struct.pack(">BBHIhB", 0, audio.channels, 0, audio.sample_rate, 0, 0)


def _descriptor(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag, len(body))) + body
