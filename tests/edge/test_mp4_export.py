"""A recording as an ordinary MP4 file, judged by players that are not ours."""

import asyncio
import contextlib
import io
import json
import random
import subprocess
import tracemalloc
from array import array
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.aac import parse_config
from drivers.simulators.live_encoder import FRAME_SAMPLES
from edge.lesson.capture.fmp4 import Sample, audio_init, fragment
from edge.lesson.recordings.mp4_boxes import media_data_header
from edge.lesson.recordings.mp4_export import Movie, MovieMaker, Piece
from edge.lesson.recordings.mp4_reading import Samples, TrackFormat, read_fragment, read_init
from edge.lesson.recordings.recording_file import RecordingError, RecordingReader, movie_ms
from sync.errors import MalformedError
from sync.lessons.fragment_shelf import LessonShelf
from sync.segments.sealing import key_id
from tests.edge.footage import (
    BEGAN_MS,
    KEY,
    LESSON,
    PICTURE,
    PICTURES,
    SOUND,
    Footage,
    film,
    shoot,
)
from tests.system_needs import give_up, need


@pytest.fixture(scope="module")
def footage() -> Footage:
    return shoot()


def export(shelf: LessonShelf, chapters: tuple[tuple[int, str], ...] = ()) -> tuple[bytes, Movie]:
    """Return the whole file, which is as long as it said it would be."""

    async def read() -> tuple[bytes, Movie]:
        reader = RecordingReader(shelf, LESSON, {key_id(KEY): KEY})
        file = await reader.open_file(PICTURE, SOUND, chapters)
        whole = b"".join([part async for part in reader.read(file, 0, file.movie.size)])
        assert len(whole) == file.movie.size
        rng = random.Random(1)
        for _ in range(20):  # as a browser that seeks asks for it
            first = rng.randrange(file.movie.size)
            end = min(file.movie.size, first + rng.randrange(1, 5000))
            part = b"".join([one async for one in reader.read(file, first, end)])
            assert part == whole[first:end]
        return whole, file.movie

    return asyncio.run(read())


def probe(path: Path, *options: str) -> dict[str, list[dict[str, str]]]:
    need("ffprobe", "ffmpeg")
    command = ["ffprobe", "-v", "warning", "-of", "json", *options, str(path)]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stderr == b""
    found: dict[str, list[dict[str, str]]] = json.loads(result.stdout)
    return found


def packets(path: Path, kind: str) -> list[tuple[float, float]]:
    """Return when each packet is shown and how long, as ffprobe reads the file."""
    told = probe(path, "-select_streams", kind, "-show_entries", "packet=pts_time,duration_time")
    return [(float(one["pts_time"]), float(one["duration_time"])) for one in told["packets"]]


def decode_all(path: Path) -> None:
    """Let FFmpeg decode every picture and sound; it has nothing to say."""
    command = [need("ffmpeg", "ffmpeg"), "-v", "warning", "-i", str(path), "-f", "null", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stderr == b""


def test_a_whole_take_is_one_seekable_file_with_both_tracks(
    tmp_path: Path, footage: Footage
) -> None:
    shelf = LessonShelf(tmp_path / "lessons")
    film(shelf, footage, BEGAN_MS)
    chapters = ((BEGAN_MS, "导入"), (BEGAN_MS + 1000, "圆的周长"))
    path = tmp_path / "lesson.mp4"
    path.write_bytes(export(shelf, chapters)[0])
    shelf.close()

    told = probe(path, "-show_streams", "-show_format", "-show_chapters")
    assert [one["codec_name"] for one in told["streams"]] == ["h264", "aac"]
    shown = packets(path, "v")
    assert [at for at, _ in shown] == pytest.approx([n / 25 for n in range(PICTURES)])
    assert [float(one["start_time"]) for one in told["chapters"]] == [0.0, 1.0]
    assert [one["tags"]["title"] for one in told["chapters"]] == ["导入", "圆的周长"]  # type: ignore[index] # ffprobe nests
    decode_all(path)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data), "r") as container:
        keyframes = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keyframes == [keyframe for _, keyframe in footage.pictures]


def test_what_is_missing_stays_missing_in_time(tmp_path: Path, footage: Footage) -> None:
    """Sound without 7 … 14 is silence there; picture without 5 stands still to the keyframe."""
    shelf = LessonShelf(tmp_path / "lessons")
    film(
        shelf,
        footage,
        BEGAN_MS,
        without=frozenset({(SOUND, n) for n in range(7, 15)} | {(PICTURE, 5)}),
    )
    path = tmp_path / "lesson.mp4"
    path.write_bytes(export(shelf)[0])
    shelf.close()

    keyframes = [n for n, (_, keyframe) in enumerate(footage.pictures) if keyframe]
    resumes = next(n for n in keyframes if n > 5)
    shown = [round(at * 25) for at, _ in packets(path, "v")]
    assert shown == [*range(5), *range(resumes, PICTURES)]
    heard = [round(at * 48_000) for at, _ in packets(path, "a")]
    assert heard == [n * FRAME_SAMPLES for n in range(len(heard))]
    decode_all(path)
    with av.open(str(path), "r") as container:
        loudest = [float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0)]
    assert max(loudest[31:58]) < 1e-3  # a frame more at either end: AAC's frames overlap
    assert max(loudest[:28]) > 0.01


def test_takes_lie_as_far_apart_as_they_were_captured(tmp_path: Path, footage: Footage) -> None:
    shelf = LessonShelf(tmp_path / "lessons")
    film(shelf, footage, BEGAN_MS)
    film(shelf, footage, BEGAN_MS + 7000)
    path = tmp_path / "lesson.mp4"
    path.write_bytes(export(shelf)[0])
    shelf.close()

    shown = [at for at, _ in packets(path, "v")]
    assert shown[:PICTURES] == pytest.approx([n / 25 for n in range(PICTURES)])
    assert shown[PICTURES:] == pytest.approx([7 + n / 25 for n in range(PICTURES)])
    heard = packets(path, "a")
    assert all(
        later == pytest.approx(at + lasts, abs=0.002) for (at, lasts), (later, _) in pairwise(heard)
    )
    assert heard[-1][0] > 8
    decode_all(path)


GSTREAMER = """
import sys, gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
line = Gst.parse_launch(
    f"filesrc location={sys.argv[1]} ! qtdemux name=d"
    " d.video_0 ! queue ! h264parse ! avdec_h264 ! fakesink name=v signal-handoffs=true sync=false"
    " d.audio_0 ! queue ! aacparse ! avdec_aac ! fakesink name=a signal-handoffs=true sync=false"
)
seen = {"v": [], "a": []}
for name, found in seen.items():
    sink = line.get_by_name(name)
    sink.connect("handoff", lambda _, one, pad, found=found: found.append(one.pts / 1e9))
line.set_state(Gst.State.PLAYING)
wanted = Gst.MessageType.EOS | Gst.MessageType.ERROR
told = line.get_bus().timed_pop_filtered(60 * Gst.SECOND, wanted)
line.set_state(Gst.State.NULL)
assert told is not None and told.type == Gst.MessageType.EOS, told and told.parse_error()
print(len(seen["v"]), len(seen["a"]), seen["v"][0], seen["v"][-1], seen["a"][-1])
"""


def need_gstreamer() -> None:
    """Give up where the system's Python has no GStreamer."""
    probe = 'import gi; gi.require_version("Gst", "1.0")'
    found = subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False)
    if found.returncode:
        give_up("GStreamer is missing; run: apt install python3-gi gstreamer1.0-libav")


def test_gstreamer_decodes_two_takes_to_the_end(tmp_path: Path, footage: Footage) -> None:
    shelf = LessonShelf(tmp_path / "lessons")
    film(shelf, footage, BEGAN_MS)
    film(shelf, footage, BEGAN_MS + 4000)
    path = tmp_path / "lesson.mp4"
    path.write_bytes(export(shelf)[0])
    shelf.close()
    need_gstreamer()
    result = subprocess.run(
        ["/usr/bin/python3", "-c", GSTREAMER, str(path)], capture_output=True, check=True, text=True
    )
    pictures, sounds, begins, ends, sound_ends = map(float, result.stdout.split())
    assert pictures == 2 * PICTURES
    assert sounds > 4 * 48_000 / FRAME_SAMPLES
    assert begins == pytest.approx(0, abs=0.01)
    assert ends == pytest.approx(4 + (PICTURES - 1) / 25, abs=0.01)
    assert sound_ends > 5


def test_a_clock_that_was_set_between_two_takes_does_not_part_them(
    tmp_path: Path, footage: Footage
) -> None:
    for began_ms in (BEGAN_MS - 3600_000, BEGAN_MS + 400 * 24 * 3600_000):
        shelf = LessonShelf(tmp_path / f"{began_ms}")
        film(shelf, footage, BEGAN_MS)
        film(shelf, footage, began_ms)
        size = export(shelf)[1].size
        shelf.close()
        assert size < 2_000_000


def test_a_recording_that_this_box_has_no_key_for_is_refused(
    tmp_path: Path, footage: Footage
) -> None:
    shelf = LessonShelf(tmp_path / "lessons")
    film(shelf, footage, BEGAN_MS)
    reader = RecordingReader(shelf, LESSON, {})
    with pytest.raises(RecordingError, match="ask the flagship to grant it"):
        asyncio.run(reader.open_file(PICTURE, SOUND))
    shelf.close()


def test_capture_times_are_found_in_the_file() -> None:
    clock = ((1000, 0), (9000, 5000))
    assert [movie_ms(clock, at) for at in (500, 1000, 4000, 9000, 9500)] == [0, 0, 3000, 5000, 5500]


VIDEO = TrackFormat(handler=b"vide", timescale=90_000, width=2, height=2, entry=b"\0\0\0\x08avc1")
AUDIO = TrackFormat(
    handler=b"soun", timescale=48_000, width=0, height=0, entry=b"\0\0\0\x1cmp4a".ljust(28, b"\0")
)


def test_memory_does_not_grow_with_the_pictures() -> None:
    minutes = 4
    tracemalloc.start()
    maker = MovieMaker(PICTURE, SOUND)
    maker.begin_take(0)
    maker.add_format(PICTURE, VIDEO)
    maker.add_format(SOUND, AUDIO)
    for number in range(minutes * 60 * 25):
        rows = ((3600, 10_000, number % 25 == 0),)
        maker.add(PICTURE, number, Samples(decode_time=3600 * number, rows=rows, data_at=0))
        sound = ((1024, 300, True),) * 2
        maker.add(SOUND, number, Samples(decode_time=1920 * number, rows=sound, data_at=0))
    movie = maker.finish()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    samples = minutes * 60 * 25 * 3
    assert most < 110 * samples
    assert movie.size > 10_000 * minutes * 60 * 25
    first = movie.size // 2
    parts = list(movie.pieces(first, first + 1_000_000))
    assert all(isinstance(part, Piece) for part in parts)
    assert sum(part.end - part.first for part in parts if isinstance(part, Piece)) == 1_000_000


def test_media_data_may_be_longer_than_32_bits() -> None:
    assert media_data_header(1 << 40)[8:] == ((1 << 40) + 16).to_bytes(8, "big")
    assert array("Q").itemsize == 8


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PICTURE, SOUND]),
            st.integers(0, 4_000_000),
            st.integers(0, 2**32 - 1),
            st.integers(0, 100),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_whatever_times_come_the_file_is_whole(
    told: list[tuple[int, int, int, int, bool]],
) -> None:
    maker = MovieMaker(PICTURE, SOUND)
    maker.begin_take(0)
    maker.add_format(PICTURE, VIDEO)
    maker.add_format(SOUND, AUDIO)
    for number, (track, decode_time, duration, size, keyframe) in enumerate(told):
        rows = ((duration, size, keyframe),)
        maker.add(track, number, Samples(decode_time=decode_time, rows=rows, data_at=0))
    try:
        movie = maker.finish()
    except MalformedError:
        return
    lengths = [
        len(piece) if isinstance(piece, bytes) else piece.end - piece.first
        for piece in movie.pieces(0, movie.size)
    ]
    assert sum(lengths) == movie.size


segments = st.binary(max_size=400) | st.builds(
    lambda number, at, data: data[:at] + bytes((number,)) + data[at + 1 :],
    st.integers(0, 255),
    st.integers(0, 600),
    st.sampled_from(
        [
            audio_init(parse_config(bytes.fromhex("1188"))),
            fragment(PICTURE, 3, 5, [Sample(b"abc", 3600, keyframe=True)]),
            fragment(SOUND, 3, 5, [Sample(b"abc", 1024, keyframe=True)] * 4),
        ]
    ),
)


@given(segments)
def test_damaged_segments_are_read_or_refused(data: bytes) -> None:
    for read in (read_init, read_fragment):
        with contextlib.suppress(MalformedError):
            read(data)
