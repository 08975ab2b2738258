"""The lesson's decoders at box and hub, fed with damaged real bytes: nothing but their errors.

Each takes what another machine made. The wire of the fragment log is in tests/sync/test_fuzz.py;
the codecs below the capture have tests beside theirs in tests/drivers. A decoder of outside bytes
in ``edge/lesson`` or ``hub/lesson`` that is not named here fails a test.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs.aac import parse_config
from drivers.codecs.rtsp import Interleaved, MessageReader, Response
from drivers.codecs.sdp import parse_sdp
from drivers.errors import DriverError
from edge.demo.lesson_viewer import LessonViewer
from edge.lesson.capture.camera_capture import (
    choose_media,
    choose_picture,
    silence_of,
)
from edge.lesson.capture.fmp4 import Sample, audio_init, fragment, video_init
from edge.lesson.capture.shared_screen import parse_share
from edge.lesson.classroom.replay import parse_place
from edge.lesson.recordings.mp4_reading import read_fragment, read_init
from edge.lesson.recordings.webvtt import read_vtt
from hub.lesson.relay import _parse_positions
from sync.errors import SyncError
from sync.lessons.fragment_parts import Lane, PartJoiner, split
from sync.lessons.materials import chunks_of, decode_chunk, encode_chunk
from tests.damaged_bytes import damaged
from tests.decoders import ROOT, decoders_in, unnamed
from tests.edge.test_fmp4 import MAIN, video_format
from tests.edge.test_shared_screen import configuration, picture
from tests.edge.test_webvtt import CAPTIONS

CAPTURED = (ROOT / "tests" / "vectors" / "rtsp" / "gstreamer_162x122.bin").read_bytes()
EXAMPLES_EACH = 40


def as_text(decode: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: decode(data.decode("latin-1"))


def read_description(data: bytes) -> None:
    """As the capture does with what a camera answers to DESCRIBE."""
    description = parse_sdp(data)
    for choose in (choose_media, choose_picture, silence_of):
        choose(description)


def join_parts(data: bytes) -> None:
    joiner = PartJoiner()
    for start in range(0, len(data), 70):
        joiner.take(data[start : start + 70])


def descriptions() -> list[bytes]:
    """Return what captured cameras told of themselves, made up to be whole."""
    reader = MessageReader()
    found = [
        event.body for event in reader.feed(CAPTURED) if isinstance(event, Response) and event.body
    ]
    assert not [each for each in found if isinstance(each, Interleaved)]
    return found


PPS = bytes.fromhex("68ce3c80")
INITS = [
    video_init(video_format(bytes.fromhex(MAIN), PPS)),
    audio_init(parse_config(bytes.fromhex("1188"))),
]
FRAGMENTS = [
    fragment(1, 0, 0, [Sample(b"picture", 3600, keyframe=True)]),
    fragment(2, 7, 2**40, [Sample(bytes(number), 1024, keyframe=True) for number in range(1, 6)]),
]
DECODERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "capture.choose_media": (read_description, descriptions()),
    "fragment_parts.take": (join_parts, [b"".join(split(bytes(300), 60, Lane.LIVE))]),
    "lesson_viewer.feed": (lambda data: LessonViewer().feed(data, 0), INITS),
    "materials.decode_chunk": (decode_chunk, [encode_chunk(e) for e in chunks_of(bytes(900))]),
    "mp4_reading.read_fragment": (read_fragment, FRAGMENTS),
    "mp4_reading.read_init": (read_init, INITS),
    "relay._parse_positions": (
        as_text(_parse_positions),
        [b"74616b652d6f6e65:1:7,74616b652d6f6e65:2:9"],
    ),
    "replay.parse_place": (
        as_text(lambda text: parse_place(*[*text.split("|"), "", "", ""][:3])),
        [b"74616b65|1:120,2:48|", b"74616b65|1:0|picture"],
    ),
    "shared_screen.parse_share": (
        parse_share,
        [configuration(), picture(7, keyframe=True), picture(8, keyframe=False)],
    ),
    "webvtt.read_vtt": (read_vtt, [CAPTIONS.encode()]),
}
ERRORS = (SyncError, DriverError)
OTHER_ERRORS = {"lesson_viewer.feed": (ValueError,)}
"""The demo's viewer is no product: it says ValueError."""
EXTREMES = (b"\xff" * 8,)
PASSED_OVER = {
    "hls_desk._parse": "sync.lessons.fragment_objects.parse_number, within a request",
    "live_count.__init__": "the box's own file",
    "materials.digests": "names of the box's own files, looked at first",
    "partners._read": "the box's own file",
    "protected.__init__": "the box's own file",
    "recorded_lessons._take": "the store's own row",
    "slide_desk.serve": "hexadecimal digits, looked at first",
}


def refusal(name: str, data: bytes) -> str | None:
    """Return why bytes are refused, None if they are read."""
    try:
        DECODERS[name][0](data)
    except (*ERRORS, *OTHER_ERRORS.get(name, ())) as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_whole_example_is_read(name: str) -> None:
    decode, examples = DECODERS[name]
    assert examples
    for example in examples:
        decode(example)


@pytest.mark.parametrize("name", sorted(DECODERS))
@settings(max_examples=EXAMPLES_EACH)
@given(data=st.data())
def test_what_was_damaged_is_read_or_refused_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    assert refusal(name, data.draw(damaged(DECODERS[name][1], EXTREMES))) != ""


def test_every_decoder_of_the_lessons_is_named_here() -> None:
    found = decoders_in("edge/lesson", "hub/lesson")
    assert len(found) >= 6  # as many as there were: none is looked for in vain
    assert unnamed(found, DECODERS.keys() | PASSED_OVER.keys()) == set()
    assert found.keys() >= PASSED_OVER.keys(), "passed over, and no decoder any more"
