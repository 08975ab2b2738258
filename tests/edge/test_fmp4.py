import io
import json
import struct
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.aac import parse_config
from drivers.codecs.h264 import ParameterSets, VideoFormat
from drivers.codecs.opus import OpusFormat
from drivers.simulators.live_encoder import (
    FRAME_SAMPLES,
    EncodedPicture,
    EncodedSound,
    LiveEncoder,
    StreamShape,
)
from edge.lesson.capture.fmp4 import (
    VIDEO_TIMESCALE,
    Sample,
    audio_init,
    fragment,
    video_init,
)
from sync.lessons.tracks import PICTURE, SOUND
from tests.system_needs import need

SHAPE = StreamShape(width=320, height=180, frame_rate=25, bit_rate=300_000)
# x264's parameter sets of 322x182 Main and 1920x1080 High: FFmpeg 5.1, -s SIZE -profile:v PROFILE.
MAIN = "674d400deca0a8cf11360220000003002000000641e28532c0"
HIGH = "67640028acd940780227e5c044000003000400000300c83c60c658"


def video_format(sps: bytes, pps: bytes) -> VideoFormat:
    sets = ParameterSets()
    sets.put(sps)
    sets.put(pps)
    found = sets.video_format()
    assert found is not None
    return found


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        assert 8 <= size <= len(data) - position
        yield kind, data[position + 8 : position + size]
        position += size


@pytest.fixture(scope="module")
def recording() -> list[EncodedPicture | EncodedSound]:
    """A second and a bit of what a camera would encode."""
    found: list[EncodedPicture | EncodedSound] = []

    def deliver(encoded: EncodedPicture | EncodedSound) -> None:
        found.append(encoded)
        if len([one for one in found if isinstance(one, EncodedPicture)]) >= 30:
            encoder.stop()

    encoder = LiveEncoder(SHAPE, lambda: 1_790_000_000_000, deliver)
    encoder.run()
    return found


@pytest.fixture(scope="module")
def tracks(recording: list[EncodedPicture | EncodedSound]) -> dict[int, bytes]:
    """Both tracks' files: initialisation segment and fragments one after the other."""
    pictures = [one for one in recording if isinstance(one, EncodedPicture)]
    sounds = [one for one in recording if isinstance(one, EncodedSound)]
    sps, pps = (
        next(unit for unit in pictures[0].units if unit[0] & 0x1F == kind) for kind in (7, 8)
    )
    video = [video_init(video_format(sps, pps))]
    for number, picture in enumerate(pictures):
        units = [unit for unit in picture.units if unit[0] & 0x1F in {1, 5, 6}]
        data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
        sample = Sample(data, 3600, picture.keyframe)
        video.append(fragment(PICTURE, number, picture.timestamp, [sample]))
    audio = [audio_init(parse_config(bytes.fromhex("1188")))]
    for number in range(len(sounds) // 4):
        samples = [
            Sample(sound.data, FRAME_SAMPLES, keyframe=True)
            for sound in sounds[4 * number : 4 * number + 4]
        ]
        audio.append(fragment(SOUND, number, number * 4 * FRAME_SAMPLES, samples))
    return {PICTURE: b"".join(video), SOUND: b"".join(audio)}


def test_pictures_decode_with_their_times_and_keyframes(
    recording: list[EncodedPicture | EncodedSound], tracks: dict[int, bytes]
) -> None:
    # A live encoder leaves out what a machine that is held up has no time for.
    encoded = [one for one in recording if isinstance(one, EncodedPicture)]
    with av.open(io.BytesIO(tracks[PICTURE]), "r") as container:
        stream = container.streams.video[0]
        assert stream.time_base == Fraction(1, VIDEO_TIMESCALE)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert len(packets) >= 30
    assert [packet.dts for packet in packets] == [one.timestamp for one in encoded]
    assert [packet.is_keyframe for packet in packets] == [one.keyframe for one in encoded]
    assert sum(one.keyframe for one in encoded) >= 2
    with av.open(io.BytesIO(tracks[PICTURE]), "r") as container:
        pictures = list(container.decode(video=0))
    assert [(p.width, p.height) for p in pictures] == [(320, 180)] * len(encoded)


def test_sound_decodes_end_to_end(tracks: dict[int, bytes]) -> None:
    with av.open(io.BytesIO(tracks[SOUND]), "r") as container:
        assert container.streams.audio[0].sample_rate == 48_000
        frames = list(container.decode(audio=0))
    assert [frame.pts for frame in frames] == [1024 * n for n in range(len(frames))]
    assert len(frames) >= 44


def test_ffprobe_reads_both_without_a_warning(tracks: dict[int, bytes], tmp_path: Path) -> None:
    need("ffprobe", "ffmpeg")
    entries = "stream=codec_name,profile,width,height,sample_rate,channels,nb_read_packets"
    options = ["-v", "warning", "-count_packets", "-show_entries", entries, "-of", "json"]
    found = {}
    for track, data in tracks.items():
        path = tmp_path / f"{track}.mp4"
        path.write_bytes(data)
        result = subprocess.run(
            ["ffprobe", *options, str(path)],
            capture_output=True,
            check=True,
        )
        assert result.stderr == b""
        (found[track],) = json.loads(result.stdout)["streams"]
    assert found[PICTURE]["codec_name"] == "h264"
    assert (found[PICTURE]["width"], found[PICTURE]["height"]) == (320, 180)
    assert found[PICTURE]["nb_read_packets"] == "30"
    assert (found[SOUND]["codec_name"], found[SOUND]["profile"]) == ("aac", "LC")


@pytest.mark.parametrize(
    ("sps", "codec", "size", "tail"),
    [
        (MAIN, "avc1.4d400d", (322, 182), b""),
        (HIGH, "avc1.640028", (1920, 1080), b"\xfd\xf8\xf8\0"),
    ],
)
def test_the_decoder_configuration_repeats_the_parameter_sets(
    sps: str, codec: str, size: tuple[int, int], tail: bytes
) -> None:
    # ISO/IEC 14496-15 §5.3.3.1.2, written out by hand.
    unit, pps = bytes.fromhex(sps), bytes.fromhex("68ebe3cb22c0")
    video = video_format(unit, pps)
    assert video.codec == codec
    record = b"\x01" + unit[1:4] + b"\xff\xe1" + len(unit).to_bytes(2, "big") + unit
    record += b"\x01" + len(pps).to_bytes(2, "big") + pps + tail
    init = video_init(video)
    assert (8 + len(record)).to_bytes(4, "big") + b"avcC" + record in init
    assert struct.pack(">HH", *size) in init
    assert [kind for kind, _ in boxes(init)] == [b"ftyp", b"moov"]


def test_opus_is_described_as_its_mapping_has_it() -> None:
    # "Encapsulation of Opus in ISO Base Media File Format" §4.3.1 and §4.3.2, written out by hand.
    init = audio_init(OpusFormat(channels=2), 4)
    entry = init[init.index(b"Opus") + 4 :]
    assert entry[:28] == bytes.fromhex(
        "000000000000 0001 0000000000000000 0002 0010 00000000 bb800000"
    )
    assert entry[28:47] == bytes.fromhex("00000013") + b"dOps" + bytes.fromhex(
        "00 02 0000 0000bb80 0000 00"
    )
    assert init.index(b"trex") > 0
    assert init[init.index(b"trex") + 8 :][:4] == (4).to_bytes(4, "big")


@given(
    st.integers(1, 2),
    st.integers(0, 1 << 33),
    st.integers(0, (1 << 63) - 1),
    st.lists(
        st.builds(Sample, st.binary(max_size=50), st.integers(0, 1 << 31), st.booleans()),
        min_size=1,
        max_size=8,
    ),
)
def test_a_fragment_tells_where_and_when_each_sample_is(
    track: int, number: int, decode_time: int, samples: list[Sample]
) -> None:
    data = fragment(track, number, decode_time, samples)
    (moof_kind, moof), (mdat_kind, mdat) = boxes(data)
    assert (moof_kind, mdat_kind) == (b"moof", b"mdat")
    parts = dict(boxes(dict(boxes(moof))[b"traf"]))
    assert dict(boxes(moof))[b"mfhd"][4:] == ((number + 1) & 0xFFFFFFFF).to_bytes(4, "big")
    assert parts[b"tfhd"] == struct.pack(">II", 0x020000, track)
    assert parts[b"tfdt"] == struct.pack(">IQ", 1 << 24, decode_time)
    flags, count, offset = struct.unpack_from(">III", parts[b"trun"])
    assert (flags, count) == (0x701, len(samples))
    assert offset == len(data) - len(mdat)
    rows = list(struct.iter_unpack(">III", parts[b"trun"][12:]))
    assert [(duration, size) for duration, size, _ in rows] == [
        (s.duration, len(s.data)) for s in samples
    ]
    # 14496-12 §8.8.3.1: sample_is_non_sync_sample is bit 16.
    assert [not flag >> 16 & 1 for *_, flag in rows] == [s.keyframe for s in samples]
    assert mdat == b"".join(s.data for s in samples)
