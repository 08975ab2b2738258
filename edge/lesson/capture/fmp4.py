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

VIDEO_TRACK = 1
AUDIO_TRACK = 2
VIDEO_TIMESCALE = 90_000

_UNITY_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE_UNDETERMINED = 0x55C4
_SYNC_SAMPLE = 0x0200_0000  # depends on no other
_OTHER_SAMPLE = 0x0101_0000  # depends on others, no sync sample
_BASE_IS_MOOF = 0x02_0000
_RUN_FIELDS = 0x701  # data offset; duration, size and flags of each sample
_HIGH_PROFILES = {100, 110, 122, 144, 244}  # whose avcC repeats chroma format and bit depths

_ENTRY_RATE_MAX = 0xFFFF

_MOOF_HEAD = struct.Struct(">I4sI4sIII4sI4sIII4sIQI4sIII")
_SAMPLE = struct.Struct(">III")
_BOX = struct.Struct(">I4s")


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One picture or sound frame; ``duration`` is in the track's timescale."""

    data: bytes
    duration: int
    keyframe: bool


def video_init(video: VideoFormat, track: int = VIDEO_TRACK) -> bytes:
    """Return the initialisation segment of a video track, in ``VIDEO_TIMESCALE``."""
    facts = video.facts
    entry = _box(
        b"avc1",
        _visual_entry(facts.width, facts.height),
        _box(b"avcC", _decoder_configuration(video)),
    )
    header = _full_box(b"vmhd", 1, bytes(8))
    size = (facts.width, facts.height)
    return _init(track, VIDEO_TIMESCALE, b"vide", header, entry, size)


def audio_init(audio: AudioFormat | OpusFormat, track: int = AUDIO_TRACK) -> bytes:
    """Return the initialisation segment of an audio track; its timescale is the sample rate."""
    rate = audio.sample_rate if audio.sample_rate <= _ENTRY_RATE_MAX else 0  # esds tells it
    sound = struct.pack(">6xH8x2H4xH2x", 1, audio.channels, 16, rate)
    match audio:
        case AudioFormat():
            entry = _box(b"mp4a", sound, _full_box(b"esds", 0, _elementary_stream(audio)))
        case OpusFormat():
            entry = _box(b"Opus", sound, _box(b"dOps", _opus_specific(audio)))
    header = _full_box(b"smhd", 0, bytes(4))
    return _init(track, audio.sample_rate, b"soun", header, entry, (0, 0))


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
        moof_bytes + _BOX.size,
    )
    data = b"".join([s.data for s in samples])
    return b"".join((head, table, _BOX.pack(_BOX.size + len(data), b"mdat"), data))


def _init(
    track: int,
    timescale: int,
    kind: bytes,
    media_header: bytes,
    entry: bytes,
    size: tuple[int, int],
) -> bytes:
    track_header = struct.pack(
        ">8xI4x4x8x2h2h36s2I",
        track,
        0,
        0,
        0x100 if kind == b"soun" else 0,
        0,
        _UNITY_MATRIX,
        size[0] << 16,
        size[1] << 16,
    )
    sample_table = _box(
        b"stbl",
        _full_box(b"stsd", 0, struct.pack(">I", 1), entry),
        _full_box(b"stts", 0, bytes(4)),
        _full_box(b"stsc", 0, bytes(4)),
        _full_box(b"stsz", 0, bytes(8)),
        _full_box(b"stco", 0, bytes(4)),
    )
    references = _full_box(b"dref", 0, struct.pack(">I", 1), _full_box(b"url ", 1))
    media = _box(
        b"mdia",
        _full_box(b"mdhd", 0, struct.pack(">8xI4xH2x", timescale, _LANGUAGE_UNDETERMINED)),
        _full_box(b"hdlr", 0, struct.pack(">4x4s12x", kind), b"\0"),
        _box(b"minf", media_header, _box(b"dinf", references), sample_table),
    )
    movie_header = struct.pack(">8xI4xIH10x36s24xI", 1000, 0x10000, 0x100, _UNITY_MATRIX, track + 1)
    return _box(b"ftyp", b"iso6", bytes(4), b"iso6mp41") + _box(
        b"moov",
        _full_box(b"mvhd", 0, movie_header),
        _box(b"trak", _full_box(b"tkhd", 7, track_header), media),
        _box(b"mvex", _full_box(b"trex", 0, struct.pack(">5I", track, 1, 0, 0, 0))),
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
    return _descriptor(0x03, struct.pack(">HB", AUDIO_TRACK, 0), decoder, _descriptor(6, b"\x02"))


def _opus_specific(audio: OpusFormat) -> bytes:
    """Return an OpusSpecificBox's body (Opus in ISOBMFF §4.3.2), channel mapping family 0.

    Its pre-skip is 0: a capture begins amid a stream, nothing of it is to be cut away. Its rate is
    for information, but Chromium refuses any that the sample entry does not tell too.
    """
    return struct.pack(">BBHIhB", 0, audio.channels, 0, audio.sample_rate, 0, 0)


def _descriptor(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag, len(body))) + body


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return _BOX.pack(_BOX.size + len(body), kind) + body


def _full_box(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return _box(kind, flags.to_bytes(4, "big"), *parts)
