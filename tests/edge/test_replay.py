"""What a page that was cut off is given of the stored lesson."""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.classroom.replay import Place, Skip, parse_place, replay
from edge.lesson.transfer.recording import TakeRecorder
from sync.errors import MalformedError
from sync.lessons.fragment_log import Kind, Record, Stream, TakeId, is_sound
from sync.lessons.fragment_sealing import FragmentOpener
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.tracks import BLACKBOARD, PICTURE, PICTURE_SMALL, SOUND
from sync.segments.sealing import key_id
from tests.edge.lesson_bench import KEY, LESSON, SIGNING

FIRST, SECOND = TakeId(b"take-one"), TakeId(b"TAKE-two")
BEGAN_MS = 1_000_000


def records_of(
    folder: Path,
    take: TakeId,
    *,
    seconds: int,
    tracks: tuple[int, ...] = (PICTURE, SOUND),
    began_ms: int = BEGAN_MS,
) -> list[Record]:
    """Film a take: 10 pictures and 10 sounds a second, a keyframe each second."""
    made: list[Record] = []
    shelf = LessonShelf(folder)
    recorder = TakeRecorder(shelf.take(LESSON, take), KEY, SIGNING, made.append, lambda _: None)
    for track in tracks:
        kind = "audio" if is_sound(track) else "video"
        recorder.add_init(track, f'{kind}/mp4; codecs="x"', b"init", began_ms)
    for number in range(seconds * 10):
        for track in tracks:
            recorder.add(
                MediaFragment(
                    track=track,
                    number=number,
                    keyframe=is_sound(track) or number % 10 == 0,
                    decode_time=number * 100,
                    duration=100,
                    timescale=1000,
                    capture_ms=began_ms + number * 100,
                    data=bytes((track, number % 256)),
                )
            )
    recorder.close()
    shelf.close()
    return made


def keep(shelf: LessonShelf, records: list[Record], without: Mapping[int, range]) -> None:
    """Store what a receiver has of them: numbers in ``without`` have not come."""
    for record in records:
        header = record.header
        left_out = without.get(header.track, range(0))
        if header.kind is not Kind.MEDIA or header.number not in left_out:
            shelf.take(LESSON, header.take).append(record)


@dataclass(frozen=True)
class Given:
    head: dict[str, object]
    inits: list[int]
    media: dict[int, list[int]]
    takes: list[bytes]


def opener() -> FragmentOpener:
    return FragmentOpener(LESSON, {key_id(KEY): KEY})


def parts(body: bytes) -> Iterator[bytes]:
    while body:
        (length,) = struct.unpack_from(">I", body)
        yield body[4 : 4 + length]
        body = body[4 + length :]


def read(body: bytes) -> Given:
    head, *messages = parts(body)
    inits: list[int] = []
    media: dict[int, list[int]] = {}
    takes: list[bytes] = []
    for message in messages:
        _, kind, track, _, take, number = struct.unpack_from(">BBBBII", message)
        takes.append(take.to_bytes(4, "big"))
        if kind == Kind.INIT:
            inits.append(track)
        else:
            media.setdefault(track, []).append(number)
    return Given(json.loads(head), inits, media, list(dict.fromkeys(takes)))


def ask(
    shelf: LessonShelf, take: TakeId, after: Mapping[int, int], skip: Skip = Skip.NOTHING
) -> Given:
    place = Place(take=take[:4], after=after, skip=skip)
    return read(replay(shelf, opener(), LESSON, place).encode())


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[LessonShelf]:
    opened = LessonShelf(tmp_path / "here")
    yield opened
    opened.close()


def follow(shelf: LessonShelf, take: TakeId, after: Mapping[int, int]) -> dict[int, list[int]]:
    """Ask again and again until what is stored is reached."""
    seen: dict[int, list[int]] = {}
    place = dict(after)
    for _ in range(100):
        given_now = ask(shelf, take, place)
        assert not given_now.head["hole"]
        for track, numbers in given_now.media.items():
            seen.setdefault(track, []).extend(numbers)
            place[track] = numbers[-1]
        if given_now.head["live"]:
            return seen
    pytest.fail("the end is never reached")


def test_a_page_gets_what_follows_without_a_gap_until_it_has_all(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    keep(shelf, records, {})
    first = ask(shelf, FIRST, {PICTURE: 22, SOUND: 23})
    assert first.inits == []
    assert first.media[SOUND] == list(range(24, 45))
    assert first.media[PICTURE][0] == 23
    assert first.head["media_ms"] == 2000
    assert first.head["newest_ms"] == BEGAN_MS + 89 * 100
    seen = follow(shelf, FIRST, {PICTURE: 22, SOUND: 23})
    assert seen == {PICTURE: list(range(23, 90)), SOUND: list(range(24, 90))}


def test_after_one_take_comes_the_next_with_its_inits(shelf: LessonShelf, tmp_path: Path) -> None:
    keep(shelf, records_of(tmp_path / "a", FIRST, seconds=3), {})
    later = records_of(tmp_path / "b", SECOND, seconds=2, began_ms=BEGAN_MS + 60_000)
    keep(shelf, later, {})
    given_now = ask(shelf, FIRST, {PICTURE: 19, SOUND: 19})
    assert given_now.takes == [FIRST[:4], SECOND[:4]]
    assert sorted(given_now.inits) == [PICTURE, SOUND]
    assert given_now.media[SOUND] == [*range(20, 30), *range(20)]
    assert given_now.head["live"]


def test_sound_that_is_known_to_exist_is_waited_for_and_then_passed_over(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    lost = range(30, 60)
    keep(shelf, records, {PICTURE: lost, SOUND: lost})
    waiting = ask(shelf, FIRST, {PICTURE: 29, SOUND: 29})
    assert (waiting.head["hole"], waiting.media) == ("sound", {})
    passed = ask(shelf, FIRST, {PICTURE: 29, SOUND: 29}, Skip.ALL)
    assert passed.media[SOUND][0] == 60
    assert passed.media[PICTURE][0] == 60
    keep(shelf, records, {})
    assert ask(shelf, FIRST, {PICTURE: 29, SOUND: 29}).media[SOUND][0] == 30


def test_sound_does_not_wait_for_long_for_its_picture_which_comes_back_at_a_keyframe(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    keep(shelf, records, {PICTURE: range(30, 45)})
    waiting = ask(shelf, FIRST, {PICTURE: 29, SOUND: 29})
    assert (waiting.head["hole"], waiting.media) == ("picture", {})
    passed = ask(shelf, FIRST, {PICTURE: 29, SOUND: 29}, Skip.PICTURE)
    assert passed.media[SOUND] == list(range(30, 51))
    assert passed.media[PICTURE] == [50], "numbers 45 to 49 cannot be decoded without 40"


def test_where_the_large_picture_is_missing_the_small_one_is_given(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    tracks = (PICTURE, SOUND, PICTURE_SMALL)
    records = records_of(tmp_path / "there", FIRST, seconds=9, tracks=tracks)
    keep(shelf, records, {PICTURE: range(30, 90)})
    given_now = ask(shelf, FIRST, {PICTURE: 29, SOUND: 29})
    assert not given_now.head["hole"]
    assert given_now.media[PICTURE_SMALL][0] == 30
    assert PICTURE not in given_now.media
    whole = ask(shelf, FIRST, {PICTURE: 4, SOUND: 4, PICTURE_SMALL: 1})
    assert PICTURE_SMALL not in whole.media


def test_a_picture_beside_the_teachers_comes_along_from_a_keyframe(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    tracks = (PICTURE, SOUND, BLACKBOARD)
    keep(shelf, records_of(tmp_path / "there", FIRST, seconds=9, tracks=tracks), {})
    given_now = ask(shelf, FIRST, {PICTURE: 34, SOUND: 34})
    assert given_now.media[BLACKBOARD][0] == 30
    assert given_now.media[BLACKBOARD][-1] == given_now.media[SOUND][-1]


def test_without_sound_the_picture_leads(shelf: LessonShelf, tmp_path: Path) -> None:
    keep(shelf, records_of(tmp_path / "there", FIRST, seconds=5, tracks=(PICTURE,)), {})
    assert follow(shelf, FIRST, {PICTURE: 11}) == {PICTURE: list(range(12, 50))}


def signatures(records: list[Record]) -> list[int]:
    """Return where the signatures stand: that of the inits, then one a second."""
    return [at for at, record in enumerate(records) if record.header.kind is Kind.SIGNATURE]


def test_what_is_not_signed_yet_is_not_shown_again_for_it_comes_live(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    keep(shelf, records[: signatures(records)[5]], {})  # the fifth group's signature is on its way
    seen = follow(shelf, FIRST, {PICTURE: 22, SOUND: 23})
    assert seen == {PICTURE: list(range(23, 40)), SOUND: list(range(24, 40))}
    assert shelf.take(LESSON, FIRST).index(Stream(Kind.MEDIA, SOUND)).head == 49
    at_its_end = ask(shelf, FIRST, {PICTURE: 39, SOUND: 39})
    assert (at_its_end.media, at_its_end.head["live"]) == ({}, True)
    assert at_its_end.head["newest_ms"] == BEGAN_MS + 4900


def test_a_hole_behind_the_signed_end_is_waited_for_and_is_not_live(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    lost = range(43, 45)
    keep(shelf, records[: signatures(records)[5]], {PICTURE: lost, SOUND: lost})
    waiting = ask(shelf, FIRST, {PICTURE: 39, SOUND: 39})
    assert (waiting.head["hole"], waiting.head["live"], waiting.media) == ("sound", False, {})
    passed = ask(shelf, FIRST, {PICTURE: 39, SOUND: 39}, Skip.ALL)
    assert (passed.head["hole"], passed.head["live"], passed.media) == ("", True, {})


def test_a_signature_that_was_lost_is_waited_for_like_what_it_covers(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    lost = signatures(records)[5]
    keep(shelf, records[:lost] + records[lost + 1 :], {})
    waiting = ask(shelf, FIRST, {PICTURE: 39, SOUND: 39})
    assert (waiting.head["hole"], waiting.media) == ("sound", {})
    assert ask(shelf, FIRST, {PICTURE: 39, SOUND: 39}, Skip.ALL).media[SOUND][0] == 50
    keep(shelf, records, {})
    assert ask(shelf, FIRST, {PICTURE: 39, SOUND: 39}).media[SOUND][0] == 40


def test_the_end_of_a_take_before_the_last_is_waited_for_until_it_is_signed(
    shelf: LessonShelf, tmp_path: Path
) -> None:
    records = records_of(tmp_path / "a", FIRST, seconds=3)
    keep(shelf, records[: signatures(records)[-1]], {})
    later = records_of(tmp_path / "b", SECOND, seconds=2, began_ms=BEGAN_MS + 60_000)
    keep(shelf, later, {})
    waiting = ask(shelf, FIRST, {PICTURE: 19, SOUND: 19})
    assert (waiting.head["hole"], waiting.media) == ("sound", {})
    passed = ask(shelf, FIRST, {PICTURE: 19, SOUND: 19}, Skip.ALL)
    assert passed.takes == [SECOND[:4]]
    keep(shelf, records, {})
    assert ask(shelf, FIRST, {PICTURE: 19, SOUND: 19}).media[SOUND] == [*range(20, 30), *range(20)]


def test_a_take_that_nobody_signed_is_not_shown_again(shelf: LessonShelf, tmp_path: Path) -> None:
    records = records_of(tmp_path / "there", FIRST, seconds=9)
    keep(shelf, [one for one in records if one.header.kind is not Kind.SIGNATURE], {})
    given_now = ask(shelf, FIRST, {})
    assert (given_now.inits, given_now.media) == ([], {})


def test_a_take_that_is_not_kept_is_refused(shelf: LessonShelf) -> None:
    with pytest.raises(MalformedError, match="not stored here"):
        ask(shelf, FIRST, {SOUND: 1})


@given(st.text(max_size=12), st.text(max_size=40), st.text(max_size=8))
def test_a_query_is_read_or_refused(take: str, after: str, skip: str) -> None:
    try:
        place = parse_place(take, after, skip)
    except MalformedError:
        return
    assert len(place.take) == 4
    assert all(0 <= track <= 15 for track in place.after)
