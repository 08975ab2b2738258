"""What a browser shares, from its messages to fragments in a take."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.avc_configuration import parse_avc_configuration
from drivers.codecs.h264 import VideoFormat
from drivers.errors import ProtocolError
from edge.errors import NotNowError
from edge.lesson.capture.capture_events import CaptureEvent, MediaFragment, TakeInit
from edge.lesson.capture.shared_screen import (
    SharedPicture,
    SharedScreen,
    parse_share,
)
from edge.lesson.capture.timeline import TakeTimeline
from sync.lessons.tracks import BLACKBOARD

SPS = bytes.fromhex("6742c01fd9005005bb011000000300100000030320f1832480")  # x264, 1280x720
WIDER_SPS = bytes.fromhex("67640028acd940780227e5c044000003000400000300c83c60c658")
PPS = bytes.fromhex("68ce3c80")


def configuration(sps: bytes = SPS) -> bytes:
    # ISO/IEC 14496-15 §5.3.3.1.2, written out by hand.
    head = b"\x01" + sps[1:4] + b"\xff\xe1" + len(sps).to_bytes(2, "big") + sps
    return b"\0" + head + b"\x01" + len(PPS).to_bytes(2, "big") + PPS


def picture(at_ms: int, *, keyframe: bool = False) -> bytes:
    return struct.pack(">BBQ", 1, keyframe, at_ms * 1000) + b"\0\0\0\x02\x61\x01"


class Page:
    """A page that shares, and the take its pictures come into."""

    def __init__(self) -> None:
        self.screen = SharedScreen()
        self.timeline = TakeTimeline(began_ms=1000)
        self.events: list[CaptureEvent] = []
        self.told: list[dict[str, bool]] = []

    def tell(self, text: bytes) -> None:
        self.told.append(json.loads(text))

    def send(self, *messages: bytes, steady_ms: int = 3000) -> None:
        for message in messages:
            self.screen.take(message, 50, steady_ms)

    def fragments(self) -> list[MediaFragment]:
        return [event for event in self.events if isinstance(event, MediaFragment)]


@pytest.fixture
def page() -> Page:
    return Page()


def test_messages_are_read_as_they_are_described() -> None:
    found = parse_share(configuration())
    assert isinstance(found, VideoFormat)
    assert (found.facts.width, found.facts.height, found.pps) == (1280, 720, (PPS,))
    assert parse_share(picture(7, keyframe=True)) == SharedPicture(
        True, 7000, b"\0\0\0\x02\x61\x01"
    )


def test_a_picture_stands_until_the_next_and_lies_on_the_takes_time(page: Page) -> None:
    with page.screen.sharing(page.tell), page.screen.showing(page.timeline, page.events.append):
        page.send(configuration(), picture(100, keyframe=True), picture(200), picture(900))
    init, *_ = page.events
    assert isinstance(init, TakeInit)
    assert (init.track, init.mime) == (BLACKBOARD, 'video/mp4; codecs="avc1.42c01f"')
    assert [(f.number, f.decode_time, f.duration, f.keyframe) for f in page.fragments()] == [
        (0, 2000 * 90, 100 * 90, True),
        (1, 2100 * 90, 700 * 90, False),
    ]
    assert page.told == [
        {"shown": False, "keyframe": False},
        {"shown": True, "keyframe": True},
        {"shown": False, "keyframe": False},
    ]


def test_a_take_that_begins_in_the_middle_asks_for_a_keyframe_once(page: Page) -> None:
    page.timeline.began_ms = None
    with page.screen.sharing(page.tell):
        page.send(configuration(), picture(0, keyframe=True), picture(100))
        with page.screen.showing(page.timeline, page.events.append):
            page.send(picture(200, keyframe=True))
            assert page.events == []  # the main camera has not begun
            page.timeline.began_ms = 1000
            page.send(picture(300), picture(400))
            assert page.told[2:] == [{"shown": True, "keyframe": True}]
            page.send(picture(500, keyframe=True), picture(600))
            assert len(page.fragments()) == 1


def test_a_pause_and_another_size_go_on_with_the_numbers_behind_what_was_given(page: Page) -> None:
    with page.screen.showing(page.timeline, page.events.append):
        with page.screen.sharing(page.tell):
            page.send(configuration(), picture(0, keyframe=True), picture(100))
        with page.screen.sharing(page.tell):
            page.send(configuration(WIDER_SPS), picture(5, keyframe=True), picture(105))
            page.send(picture(9000), picture(9100, keyframe=True), picture(9200), steady_ms=9999)
    assert len([event for event in page.events if isinstance(event, TakeInit)]) == 2
    fragments = page.fragments()
    assert [f.number for f in fragments] == [0, 1, 2]
    ends = [f.decode_time + f.duration for f in fragments]
    assert all(end <= f.decode_time for end, f in zip(ends, fragments[1:], strict=False))


def test_one_page_at_a_time_shares(page: Page) -> None:
    with (
        page.screen.sharing(page.tell),
        pytest.raises(NotNowError, match="stop it there first"),
        page.screen.sharing(page.tell),
    ):
        pass
    with page.screen.sharing(page.tell):
        pass


@given(
    st.binary(max_size=80)
    | st.builds(
        bytes.__add__,
        st.sampled_from([b"\0\x01\x42\0\x1f\xff\xe1", b"\x01\x01"]),
        st.binary(max_size=60),
    )
    | st.tuples(st.integers(0, 45), st.integers(0, 255)).map(
        lambda damage: (
            configuration()[: damage[0]] + bytes((damage[1],)) + configuration()[damage[0] + 1 :]
        )
    )
)
def test_arbitrary_messages_raise_nothing_but_protocol_errors(message: bytes) -> None:
    screen, timeline = SharedScreen(), TakeTimeline(began_ms=0)
    with screen.sharing(lambda _: None), screen.showing(timeline, lambda _: None):
        for each in (configuration(), message, picture(1, keyframe=True), message):
            try:
                screen.take(each, 0, 0)
            except ProtocolError:
                continue


def test_a_configuration_with_short_lengths_or_without_a_set_is_refused() -> None:
    whole = configuration()[1:]
    for broken in (b"", whole[:4] + b"\xfc" + whole[5:], whole[:-3], whole[:5] + b"\xe0\x00"):
        with pytest.raises(ProtocolError):
            parse_avc_configuration(broken)
