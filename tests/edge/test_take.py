import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs.rtp import RtpPacket, encode_rtp
from drivers.codecs.rtsp import Interleaved, MessageReader, Response
from drivers.codecs.rtsp_session import TrackPacket
from drivers.codecs.sdp import Media, parse_sdp
from drivers.errors import RefusedError, UnreachableError
from drivers.opus_encoder import has_libopus
from drivers.simulators.rtp_sender import RtpSender, picture_payloads, sound_payload
from edge.lesson.capture.camera_capture import choose_media
from edge.lesson.capture.capture_events import CaptureEvent, MediaFragment, MediaGap, TakeInit
from edge.lesson.capture.take import Part, Take
from edge.lesson.capture.timeline import TakeTimeline
from tests.system_needs import give_up

CAPTURE = Path(__file__).parents[1] / "vectors" / "rtsp" / "gstreamer_162x122.bin"
SPS = bytes.fromhex("6742c01fd9005005bb011000000300100000030320f1832480")  # x264, 1280x720
WIDER_SPS = bytes.fromhex("67640028acd940780227e5c044000003000400000300c83c60c658")
PPS = bytes.fromhex("68ce3c80")
IDR, SLICE = b"\x65" + bytes(3000), b"\x61" + bytes(500)
MEDIA = (
    Media(kind="video", payload_type=96, encoding="H264", clock_rate=90000, parameters={}),
    Media(
        kind="audio",
        payload_type=97,
        encoding="MPEG4-GENERIC",
        clock_rate=48000,
        parameters={
            "mode": "AAC-hbr",
            "sizelength": "13",
            "indexlength": "3",
            "indexdeltalength": "3",
            "config": "1188",
        },
    ),
)


class Camera:
    """Sends a take what a test wants it to see."""

    def __init__(
        self,
        media: tuple[Media, ...] = MEDIA,
        part: Part | None = None,
        events: list[CaptureEvent] | None = None,
        seed: int = 4,
    ) -> None:
        self.events: list[CaptureEvent] = [] if events is None else events
        self.part = part or Part()
        self.take = Take(media, self.events.append, self.part)
        chance = random.Random(seed)
        self.senders = RtpSender(96, 90_000, chance), RtpSender(97, 48_000, chance)

    def picture(self, t_ms: int, *units: bytes) -> None:
        sent = self.senders[0].packets(t_ms * 90, picture_payloads(units))
        self.send(0, sent, t_ms)

    def keyframe(self, t_ms: int, sps: bytes = SPS) -> None:
        self.picture(t_ms, sps, PPS, IDR)

    def sound(self, number: int, t_ms: int, size: int = 90) -> None:
        self.send(1, self.senders[1].packets(number * 1024, [sound_payload(b"\x21" * size)]), t_ms)

    def report(self, track: int, began_s: float, timestamp: int) -> None:
        data = self.senders[track].report(began_s, timestamp)
        self.take.receive(TrackPacket(track, True, data), 0, 0)

    def lose_picture(self, t_ms: int) -> None:
        self.senders[0].packets(t_ms * 90, picture_payloads([SLICE]))

    def send(self, track: int, packets: list[bytes], t_ms: int) -> None:
        for packet in packets:
            self.take.receive(TrackPacket(track, False, packet), t_ms, t_ms)

    def fragments(self, track: int) -> list[MediaFragment]:
        found = [event for event in self.events if isinstance(event, MediaFragment)]
        return [fragment for fragment in found if fragment.track == track]


def test_every_picture_is_a_fragment_at_once() -> None:
    camera = Camera()
    camera.keyframe(1000)
    assert [type(event) for event in camera.events] == [TakeInit, MediaFragment]
    camera.picture(1040, SLICE)
    camera.picture(1080, SLICE)
    fragments = camera.fragments(1)
    assert [f.number for f in fragments] == [0, 1, 2]
    assert [f.decode_time for f in fragments] == [0, 3600, 7200]
    assert [f.keyframe for f in fragments] == [True, False, False]
    assert [f.capture_ms for f in fragments] == [1000, 1040, 1080]
    assert [f.duration for f in fragments] == [3600] * 3


def test_the_first_fragment_is_a_keyframe_and_sound_waits_for_it() -> None:
    camera = Camera()
    camera.picture(0, SLICE)
    camera.sound(0, 10)
    assert camera.events == []
    camera.keyframe(40)
    camera.sound(1, 45)
    first, second, third = camera.events
    assert isinstance(first, TakeInit)
    assert isinstance(second, MediaFragment)
    assert second.keyframe
    assert isinstance(third, TakeInit)
    assert (first.mime, third.mime) == (
        'video/mp4; codecs="avc1.42c01f"',
        'audio/mp4; codecs="mp4a.40.2"',
    )


def test_sound_is_gathered_for_less_than_60_ms_and_laid_end_to_end() -> None:
    camera = Camera()
    camera.keyframe(0)
    for number in range(12):
        camera.sound(number, 30 + number * 21)
    fragments = camera.fragments(2)
    assert [f.number for f in fragments] == [0, 1, 2, 3, 4, 5]
    assert [f.duration for f in fragments] == [2048] * 6
    assert [f.decode_time for f in fragments] == [30 * 48 + 2048 * n for n in range(6)]
    assert [f.capture_ms for f in fragments] == [30, 72, 114, 156, 198, 240]


def test_light_sound_is_gathered_for_longer_as_each_fragment_costs_a_poor_line() -> None:
    camera = Camera()
    camera.keyframe(0)
    for number in range(12):
        camera.sound(number, 30 + number * 21, size=64)  # 24 kb/s
    assert [f.duration for f in camera.fragments(2)] == [4096] * 3
    for number in range(12, 18):
        camera.sound(number, 30 + number * 21, size=170)  # 64 kb/s
    assert [f.duration for f in camera.fragments(2)] == [4096] * 3 + [2048] * 3


def test_a_track_that_never_sends_is_never_announced() -> None:
    camera = Camera()
    for number in range(50):
        camera.keyframe(40 * number)
    assert {event.track for event in camera.events} == {1}


def test_a_picture_only_camera_makes_a_take() -> None:
    camera = Camera(MEDIA[:1])
    camera.keyframe(0)
    assert len(camera.fragments(1)) == 1


def test_lost_pictures_are_reported_and_time_goes_on() -> None:
    camera = Camera()
    camera.keyframe(0)
    camera.lose_picture(40)
    camera.picture(80, SLICE)
    camera.keyframe(120)
    assert MediaGap(track=1, packets=1, capture_ms=80) in camera.events
    fragments = camera.fragments(1)
    assert [f.number for f in fragments] == [0, 1]
    assert [f.decode_time for f in fragments] == [0, 10800]


def test_lost_sound_leaves_its_time_empty() -> None:
    camera = Camera()
    camera.keyframe(0)
    for number in (0, 1, 3, 4, 5, 6):
        camera.sound(number, 21 * number)
    fragments = camera.fragments(2)
    assert [(f.decode_time, f.duration) for f in fragments] == [
        (0, 2048),
        (3072, 2048),
        (5120, 2048),
    ]


def test_a_sound_clock_slower_than_its_sound_drops_a_frame_and_not_the_lips() -> None:
    camera = Camera()
    camera.keyframe(0)
    sender = RtpSender(97, 48_000, random.Random(9))
    for number in range(400):
        # The camera says 1000 where it sends 1024 samples.
        camera.send(1, sender.packets(number * 1000, [sound_payload(b"\x21" * 90)]), 0)
    last = camera.fragments(2)[-1]
    assert abs(last.decode_time + last.duration - 400 * 1000) <= 4 * 1024
    assert len(camera.fragments(2)) == 400 * 1000 // 1024 // 2


def test_sender_reports_align_sound_with_the_picture() -> None:
    camera = Camera()
    camera.keyframe(0)
    camera.sound(0, 120)  # arrives 120 ms later, but was taken 20 ms later
    camera.report(0, 1_790_000_000.0, 0)
    camera.report(1, 1_790_000_000.02, 0)
    camera.picture(40, SLICE)
    assert camera.fragments(1)[-1].decode_time == (40 + 100) * 90


def test_malformed_packets_are_counted_and_change_nothing_else() -> None:
    camera = Camera()
    camera.keyframe(0)
    for data in (b"", b"\x00" * 12, encode_rtp(RtpPacket(96, True, 9, 9, 9, b""))[:11]):
        camera.take.receive(TrackPacket(0, False, data), 5, 5)
        camera.take.receive(TrackPacket(1, True, b"x"), 5, 5)
    assert camera.take.malformed == 6
    camera.picture(40, SLICE)
    assert [f.number for f in camera.fragments(1)] == [0, 1]


def test_packets_of_another_payload_type_are_passed_over() -> None:
    camera = Camera()
    camera.send(0, RtpSender(99, 90_000, random.Random(1)).packets(0, [IDR]), 0)
    camera.keyframe(0)
    assert len(camera.fragments(1)) == 1


def test_another_picture_size_ends_the_take() -> None:
    camera = Camera()
    camera.keyframe(0)
    with pytest.raises(UnreachableError, match="changed its picture's format"):
        camera.keyframe(40, WIDER_SPS)


def test_a_stream_that_begins_anew_ends_the_take() -> None:
    camera = Camera()
    camera.keyframe(0)
    with pytest.raises(UnreachableError, match="restarted its stream"):
        camera.send(0, RtpSender(96, 90_000, random.Random(8)).packets(0, [IDR]), 40)


def test_a_farewell_ends_the_take() -> None:
    with pytest.raises(UnreachableError, match="ended its stream"):
        Camera().take.receive(TrackPacket(0, True, bytes.fromhex("81cb0001a0b0c0d0")), 0, 0)


@pytest.mark.parametrize("t_ms", [-30_000, -5_000, 30_000])
def test_a_clock_that_jumps_ends_the_take(t_ms: int) -> None:
    camera = Camera()
    camera.keyframe(60_000)
    with pytest.raises(UnreachableError, match="jumped"):
        camera.keyframe(60_000 + t_ms)


def test_b_frames_are_refused_with_the_remedy() -> None:
    camera = Camera()
    camera.keyframe(0)
    camera.picture(120, SLICE)
    with pytest.raises(RefusedError, match="B-frames to 0"):
        camera.picture(40, SLICE)


def test_a_camera_without_keyframes_is_given_up_with_the_remedy() -> None:
    camera = Camera()
    for number in range(251):
        camera.picture(40 * number, SLICE)
    with pytest.raises(UnreachableError, match="I-frame interval"):
        camera.picture(40 * 251, SLICE)


def test_a_keyframe_that_comes_late_is_waited_for() -> None:
    camera = Camera()
    for number in range(200):
        camera.picture(40 * number, SLICE)
    camera.keyframe(8040)
    assert len(camera.fragments(1)) == 1


class Stage:
    """The sources of one take, all on the box's steady clock; each runs by its camera's crystal."""

    def __init__(self, *parts: Part) -> None:
        self.events: list[CaptureEvent] = []
        self.cameras = [Camera(MEDIA[:1], part, self.events) for part in parts]

    def picture(self, number: int, t_ms: float, ppm: float = 0, *, keyframe: bool = True) -> None:
        """Have a source take a picture at a true time; it arrives at once."""
        units = (SPS, PPS, b"\x65" + bytes(30)) if keyframe else (b"\x61" + bytes(30),)
        camera = self.cameras[number]
        sent = camera.senders[0].packets(
            round(t_ms * 90 * (1 + ppm / 1e6)), picture_payloads(units)
        )
        camera.send(0, sent, int(t_ms))

    def apart_ms(self) -> float:
        """Return by how much the newest pictures of two tracks lie otherwise than they arrived."""
        main, other = (
            next(
                event
                for event in reversed(self.events)
                if isinstance(event, MediaFragment) and event.track == camera.part.picture
            )
            for camera in self.cameras
        )
        lie_ms = (other.decode_time - main.decode_time) / 90
        return lie_ms - (other.capture_ms - main.capture_ms)


def parts(*, shares_clock: bool) -> tuple[Part, Part]:
    timeline = TakeTimeline()
    return Part(timeline=timeline), Part(
        picture=7, is_main=False, shares_clock=shares_clock, timeline=timeline
    )


def test_a_further_source_waits_for_the_main_one_and_lies_on_its_time() -> None:
    stage = Stage(*parts(shares_clock=False))
    stage.picture(1, 0)
    assert stage.events == []
    stage.picture(0, 500)
    stage.picture(1, 1700)
    fragments = [event for event in stage.events if isinstance(event, MediaFragment)]
    assert [(one.track, one.number, one.decode_time) for one in fragments] == [
        (1, 0, 0),
        (7, 0, 1200 * 90),
    ]


@pytest.mark.parametrize(("main_ppm", "other_ppm"), [(200, -200), (-200, 200)])
def test_two_hours_of_a_document_camera_whose_clock_runs_otherwise(
    main_ppm: float, other_ppm: float
) -> None:
    stage = Stage(*parts(shares_clock=False))
    stage.picture(0, 0, main_ppm)
    for second in range(2, 7200, 2):
        stage.picture(0, second * 1000, main_ppm)
        if second > 600:  # it is switched on later
            stage.picture(1, second * 1000 + 20, other_ppm)
            assert abs(stage.apart_ms()) < 40


def test_a_cameras_small_picture_lies_where_the_camera_took_it() -> None:
    stage = Stage(*parts(shares_clock=True))
    main, small = stage.cameras
    stage.picture(0, 0)
    small.send(0, small.senders[0].packets(0, picture_payloads((SPS, PPS, IDR))), 130)
    main.report(0, 1_790_000_000.0, 0)
    small.report(0, 1_790_000_000.0, 0)  # taken with the first, and 130 ms longer under way
    for number in range(1, 60):
        stage.picture(0, number * 1000)
        stage.picture(1, number * 1000)
        small.report(0, 1_790_000_000.0, number * 90_000)
    assert abs(stage.apart_ms()) < 40
    times = [e.decode_time for e in stage.events if isinstance(e, MediaFragment) and e.track == 7]
    assert times == sorted(set(times))


def test_a_further_source_that_begins_anew_goes_on_with_its_numbers_behind_what_it_gave() -> None:
    main, other = parts(shares_clock=False)
    stage = Stage(main, other)
    stage.picture(0, 0)
    stage.picture(1, 100)
    stage.picture(1, 5000, keyframe=False)
    stage.cameras[1] = Camera(MEDIA[:1], other, stage.events, seed=9)
    stage.picture(1, 5010)
    found = [e for e in stage.events if not isinstance(e, MediaGap) and e.track == 7]
    assert [type(event) for event in found] == [TakeInit, *[MediaFragment] * 3]
    media = [event for event in found if isinstance(event, MediaFragment)]
    assert [event.number for event in media] == [0, 1, 2]
    assert media[2].decode_time >= media[1].decode_time + media[1].duration


@pytest.mark.parametrize(("picture_ppm", "sound_ppm"), [(200, -200), (-200, 200)])
def test_two_hours_without_sender_reports_keep_lips_and_voice_together(
    picture_ppm: float, sound_ppm: float
) -> None:
    camera, chance = Camera(), random.Random(5)
    camera.keyframe(0)
    for tick in range(1, 7200):
        true_ms = tick * 1000
        late_ms = int(chance.expovariate(1 / 8))
        timestamp = round(true_ms * 90 * (1 + picture_ppm / 1e6))
        units = picture_payloads((b"\x61" + bytes(30),))
        camera.send(0, camera.senders[0].packets(timestamp, units), true_ms + late_ms)
        sounded = round(true_ms * 48 * (1 + sound_ppm / 1e6))
        late_ms = int(chance.expovariate(1 / 8))
        payload = sound_payload(b"\x21" * 9)
        camera.send(1, camera.senders[1].packets(sounded, [payload]), true_ms + late_ms)
    pictures, sounds = camera.fragments(1)[1:], camera.fragments(2)
    assert len(sounds) > 7_000
    apart_ms = [
        sound.decode_time / 48 - picture.decode_time / 90
        for picture, sound in zip(pictures, sounds, strict=False)
    ]
    assert max(apart_ms) - min(apart_ms) < 40


def captured(path: Path = CAPTURE) -> tuple[tuple[Media, ...], list[TrackPacket]]:
    events = list(MessageReader().feed(path.read_bytes()))
    (body,) = (event.body for event in events if isinstance(event, Response) and event.body)
    frames = [event for event in events if isinstance(event, Interleaved)]
    packets = [TrackPacket(f.channel // 2, bool(f.channel % 2), f.data) for f in frames]
    return tuple(choose_media(parse_sdp(body))), packets


def test_a_captured_session_of_another_server_becomes_a_take() -> None:
    media, packets = captured()
    camera = Camera(media)
    for number, packet in enumerate(packets):
        camera.take.receive(packet, 1000 + number, number)
    assert camera.take.malformed == 0
    pictures, sounds = camera.fragments(1), camera.fragments(2)
    assert [p.decode_time for p in pictures] == [9000 * n for n in range(len(pictures))]
    assert [p.keyframe for p in pictures].count(True) == 2
    assert len(pictures) == 16
    assert len(sounds) == 25


@pytest.mark.parametrize("sound", ["opus", "pcma"])
def test_a_captured_session_with_other_sound_is_heard_as_opus_end_to_end(sound: str) -> None:
    if sound == "pcma" and not has_libopus():
        give_up("libopus is missing; run: apt install libopus0")
    media, packets = captured(CAPTURE.with_name(f"gstreamer_{sound}.bin"))
    camera = Camera(media)
    for number, packet in enumerate(packets):
        camera.take.receive(packet, 1000 + number, number)
    assert camera.take.malformed == 0
    assert [e.mime for e in camera.events if isinstance(e, TakeInit)][1].endswith('codecs="opus"')
    sounds = camera.fragments(2)
    assert len(sounds) >= 8
    assert {s.duration for s in sounds} == {4800}
    assert all(a.decode_time + a.duration == b.decode_time for a, b in pairwise(sounds))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 162), st.integers(0, 11), st.integers(0, 255)), max_size=8)
)
def test_damaged_packets_end_a_take_or_make_gaps_and_time_never_goes_back(
    damage: list[tuple[int, int, int]],
) -> None:
    media, packets = captured()
    camera = Camera(media)
    for place, offset, value in damage:
        data = bytearray(packets[place].data)
        data[offset] = value
        packets[place] = TrackPacket(packets[place].track, packets[place].is_control, bytes(data))
    try:
        for packet in packets:
            camera.take.receive(packet, 0, 0)
    except (UnreachableError, RefusedError):
        pass
    for track in (1, 2):
        times = [f.decode_time for f in camera.fragments(track)]
        assert times == sorted(set(times))
        assert [f.number for f in camera.fragments(track)] == list(range(len(times)))
