"""A class on its way into the lesson: its place in time, its bounds, and what is never sealed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.lesson.capture.capture_events import MediaFragment, TakeInit
from edge.lesson.capture.fmp4 import Sample, fragment
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.transfer.recording import TakeRecorder
from edge.lesson.way_back.called_class import BURST_BYTES_MAX, INITS_MAX, CalledClass
from edge.lesson.way_back.return_film import ReturnFilm
from sync.errors import MalformedError
from sync.lessons.fragment_log import Header, Kind, LessonId, Record, Stream, TakeId
from sync.lessons.fragment_sealing import new_take
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import TakeStore
from sync.lessons.tracks import CALLED_PICTURE, CALLED_SOUND
from tests.edge.lesson_bench import KEY, LESSON, SIGNING
from tests.edge.test_retimed import init

PICTURE, SOUND = 1, 2
THEIRS = TakeId(b"their-on")
MIME = b"\x10video/mp4; codec"
OPENED_INIT = MIME + init()


@dataclass
class Flagship:
    """A flagship whose take began at 1,000,000 ms of its clock, and one class that is called on."""

    folder: Path
    now_ms: int = 1_000_000
    shelf: LessonShelf = field(init=False)
    recorder: TakeRecorder | None = None
    items: list[StreamItem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shelf = LessonShelf(self.folder)
        self.called = CalledClass(
            lambda: self.recorder, lambda: self.now_ms, lambda: self.now_ms / 1000
        )
        self.begin_take()
        self.called.begin({PICTURE: OPENED_INIT})

    def begin_take(self) -> None:
        store = self.shelf.take(LESSON, new_take())
        self.recorder = TakeRecorder(store, KEY, SIGNING, lambda _: None, self.items.append)
        self.film(0)

    def film(self, decode_ms: int) -> None:
        """Let the own camera give a picture now."""
        assert self.recorder is not None
        self.called.observe(
            StreamItem(
                take=self.recorder.take,
                kind=Kind.MEDIA,
                track=PICTURE,
                number=0,
                keyframe=True,
                capture_ms=self.now_ms,
                decode_us=decode_ms * 1000,
                data=b"",
            )
        )

    def hear(
        self,
        decode_ms: int,
        *,
        track: int = PICTURE,
        keyframe: bool = False,
        take: TakeId = THEIRS,
        size: int = 100,
    ) -> None:
        """Let a fragment of the class arrive now; its own time line is its own."""
        data = fragment(track, 0, decode_ms * 90, [Sample(bytes(size), 3600, keyframe=keyframe)])
        self.called.take_in(header(Kind.MEDIA, track, decode_ms * 90, keyframe, take, size), data)

    def placed(self, track: int = CALLED_PICTURE) -> list[tuple[int, int]]:
        """Return (number, decode ms) of what stands in the lesson."""
        media = [one for one in self.items if one.kind is Kind.MEDIA and one.track == track]
        return [(one.number, one.decode_us // 1000) for one in media]

    def inits(self) -> int:
        return sum(one.kind is Kind.INIT for one in self.items)


def header(
    kind: Kind, track: int, decode_time: int, keyframe: bool, take: TakeId, size: int
) -> Header:
    return Header(
        lesson=LessonId("a1.r18"),
        take=take,
        kind=kind,
        track=track,
        number=0,
        keyframe=keyframe,
        decode_time=decode_time,
        duration=3600,
        timescale=90000,
        capture_ms=5,
        key_id=KEY[:8],  # type: ignore[arg-type]  # unread here
        body_bytes=size,
    )


@pytest.fixture
def flagship(tmp_path: Path) -> Iterator[Flagship]:
    made = Flagship(tmp_path)
    yield made
    made.shelf.close()


def test_a_class_stands_where_it_arrived_on_the_time_line_and_keeps_its_own_steps(
    flagship: Flagship,
) -> None:
    flagship.now_ms += 5_000  # five seconds into the take
    flagship.hear(70_000, keyframe=True)
    flagship.now_ms += 130  # late by 90 ms: its own steps count
    flagship.hear(70_040)
    flagship.now_ms += 10
    flagship.hear(70_080)
    assert flagship.placed() == [(0, 5_000), (1, 5_040), (2, 5_080)]
    assert flagship.inits() == 1


def test_voice_and_picture_of_a_class_keep_their_distance(flagship: Flagship) -> None:
    flagship.called.begin({PICTURE: OPENED_INIT, SOUND: OPENED_INIT})
    flagship.now_ms += 1_000
    flagship.hear(70_000, keyframe=True)
    flagship.now_ms += 300
    flagship.hear(70_020, track=SOUND)
    assert flagship.placed(CALLED_SOUND) == [(0, 1_020)]


def test_picture_begins_at_a_keyframe_and_not_before_its_init(flagship: Flagship) -> None:
    flagship.hear(0)
    flagship.hear(40, keyframe=True)
    flagship.hear(80)
    flagship.hear(0, track=SOUND)
    assert [number for number, _ in flagship.placed()] == [0, 1]
    assert flagship.placed(CALLED_SOUND) == []


def test_a_camera_that_starts_again_far_away_is_placed_anew_and_never_goes_back(
    flagship: Flagship,
) -> None:
    flagship.now_ms += 1_000
    flagship.hear(70_000, keyframe=True)
    flagship.now_ms += 1_000
    flagship.hear(0, keyframe=True, take=TakeId(b"the-next"))
    flagship.now_ms -= 3_000  # our clock is set back
    flagship.hear(40, keyframe=True, take=TakeId(b"the-next"))
    assert flagship.placed() == [(0, 1_000), (1, 2_000)]


def test_a_new_take_is_announced_anew_and_numbered_from_the_beginning(flagship: Flagship) -> None:
    flagship.hear(0, keyframe=True)
    flagship.now_ms += 1_000
    flagship.begin_take()
    flagship.hear(1_000)  # waits for its keyframe
    flagship.hear(1_040, keyframe=True)
    assert flagship.placed() == [(0, 0), (0, 40)]
    assert flagship.inits() == 2


def test_another_class_goes_on_with_the_numbers_under_its_own_init(flagship: Flagship) -> None:
    flagship.hear(0, keyframe=True)
    flagship.called.begin({PICTURE: OPENED_INIT})
    flagship.now_ms += 500
    flagship.hear(9_000, keyframe=True, take=TakeId(b"another-"))
    assert flagship.placed() == [(0, 0), (1, 500)]
    assert flagship.inits() == 2


def test_a_class_that_sends_too_much_loses_picture_up_to_a_keyframe(flagship: Flagship) -> None:
    flagship.hear(0, keyframe=True, size=BURST_BYTES_MAX - 500)
    flagship.now_ms += 1
    flagship.hear(40, size=1_000)
    flagship.now_ms += 1_000
    flagship.hear(80)
    flagship.hear(120, keyframe=True)
    assert [number for number, _ in flagship.placed()] == [0, 1]


def test_a_class_that_begins_anew_without_end_is_refused(flagship: Flagship) -> None:
    for number in range(INITS_MAX):
        flagship.called.take_in(
            header(Kind.INIT, PICTURE, 0, False, THEIRS, 9), OPENED_INIT + bytes([number + 1])
        )
    with pytest.raises(MalformedError, match="too often"):
        flagship.called.take_in(header(Kind.INIT, PICTURE, 0, False, THEIRS, 9), OPENED_INIT + b"x")


def test_without_the_flagships_own_camera_nothing_is_added(flagship: Flagship) -> None:
    flagship.recorder = None
    flagship.hear(0, keyframe=True)
    assert flagship.items == []


@dataclass
class Gate:
    """A class's camera on its way, with both gates in hand."""

    store: TakeStore
    shows: bool = True
    speaks: bool = False
    takes: int = 0
    sent: list[Record] = field(default_factory=list)

    def open_take(self) -> TakeRecorder:
        self.takes += 1
        return TakeRecorder(self.store, KEY, SIGNING, self.sent.append, lambda _: None)

    def streams(self) -> list[tuple[Stream, int]]:
        headers = [one.header for one in self.sent if one.header.kind is not Kind.SIGNATURE]
        return [(one.stream, one.number) for one in headers]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    shelf = LessonShelf(tmp_path)
    yield Gate(shelf.take(LessonId("a1.r18"), new_take()))
    shelf.close()


def test_nothing_is_sealed_that_may_not_be_sent_and_numbers_have_no_holes(gate: Gate) -> None:
    film = ReturnFilm(
        gate, may_show=lambda: gate.shows, may_speak=lambda: gate.speaks, now_ms=lambda: 1
    )
    for track in (PICTURE, SOUND):
        film.take_in(TakeInit(track=track, mime="video/mp4", timescale=90000, data=b"init"))
    steps = [  # shows, speaks, what comes
        (True, False, [piece(0, keyframe=True), piece(0, SOUND)]),
        (True, True, [piece(1), piece(1, SOUND)]),
        (False, True, [piece(2, keyframe=True), piece(2, SOUND)]),
        (True, False, [piece(3), piece(3, SOUND), piece(4, keyframe=True)]),
    ]
    for gate.shows, gate.speaks, pieces in steps:
        for each in pieces:
            film.take_in(each)
    media, inits = Kind.MEDIA, Kind.INIT
    assert gate.streams() == [
        (Stream(inits, PICTURE), 0),
        (Stream(media, PICTURE), 0),
        (Stream(media, PICTURE), 1),
        (Stream(inits, SOUND), 0),
        (Stream(media, SOUND), 0),
        (Stream(media, SOUND), 1),
        (Stream(media, PICTURE), 2),
    ]
    assert gate.takes == 1
    assert {stream.kind for stream in gate.store.streams} == {Kind.INIT, Kind.SIGNATURE}


def piece(number: int, track: int = PICTURE, *, keyframe: bool = False) -> MediaFragment:
    return MediaFragment(
        track=track,
        number=number,
        keyframe=keyframe or track == SOUND,
        decode_time=number * 3600,
        duration=3600,
        timescale=90000,
        capture_ms=1,
        data=b"data",
    )
