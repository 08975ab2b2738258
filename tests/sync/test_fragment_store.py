"""Takes on disk: nothing acknowledged is lost, nothing torn is kept, numbers are stored once."""

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.lessons import fragment_files, fragment_shelf, fragment_store
from sync.lessons.fragment_index import NumberSet, decode_entries
from sync.lessons.fragment_log import SIGNATURES, Kind, LessonId, Record, Stream, TakeId
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer, digest, groups_of, sign_group
from sync.lessons.fragment_shelf import TAKES_MAX, LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.segments.sealing import DataKey

LESSON = LessonId("lesson-1")
TAKE = TakeId(b"take-one")
KEY = DataKey(bytes(32))
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
PICTURE = Stream(Kind.MEDIA, 1)
SOUND = Stream(Kind.MEDIA, 2)


def fragment(number: int, track: int = 1, data: bytes | None = None, take: TakeId = TAKE) -> Record:
    times = MediaTimes(
        decode_time=number * 3600, duration=3600, timescale=90000, capture_ms=1000 + number * 40
    )
    data = random.Random(number).randbytes(50 + number % 7) if data is None else data
    sealer = TakeSealer(LESSON, take, KEY)
    return sealer.seal_media(track, number, data, times, keyframe=track == 1 and number % 5 == 0)


def signature(number: int, records: list[Record], *, final: bool = False) -> Record:
    names = [(one.header.stream, one.header.number, digest(one)) for one in records]
    [group] = groups_of(names, final=final)
    return sign_group(LESSON, TAKE, number, group, 0, SIGNING)


def content(store: TakeStore) -> dict[tuple[Stream, int], bytes | None]:
    return {
        (stream, number): store.read(stream, number)
        for stream in store.streams
        for number in store.index(stream).present.numbers()
    }


def test_a_take_closed_while_it_is_made_durable_can_be_opened_at_once(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    store.append(fragment(0))
    pending = store.begin_sync()
    assert pending is not None
    store.close()
    again = TakeStore(tmp_path, LESSON, TAKE)
    assert again.has(PICTURE, 0)
    again.close()
    pending.wait()


def test_what_was_synced_is_there_after_reopening(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    records = [fragment(number) for number in (0, 1, 2, 7)]
    assert all(store.append(record) for record in records)
    store.sync()
    before = content(store)
    store.close()
    again = TakeStore(tmp_path, LESSON, TAKE)
    assert content(again) == before
    assert [record.wire for record in again.records(PICTURE)] == [one.wire for one in records]
    assert again.index(PICTURE).present.missing(9) == [(3, 6), (8, 9)]
    assert again.index(PICTURE).newest_keyframe() == 0
    assert again.index(PICTURE).seconds == pytest.approx(0.16)
    assert again.started_ms == 1000
    again.close()


def test_a_number_already_stored_is_dropped(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    assert store.append(fragment(3))
    stored = store.stored_bytes
    assert not store.append(fragment(3, data=b"another"))
    assert store.stored_bytes == stored
    store.close()


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 12),
    synced=st.integers(0, 12),
    log_cut=st.integers(0, 400),
    index_cut=st.integers(0, 100),
    garbage=st.binary(max_size=40),
    rotten=st.none() | st.integers(1, 400),
)
def test_a_torn_tail_costs_only_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    synced: int,
    log_cut: int,
    index_cut: int,
    garbage: bytes,
    rotten: int | None,
) -> None:
    """Whatever a crash leaves of the unsynced tail, the rest is intact and can be added to."""
    folder = tmp_path_factory.mktemp("take")
    store = TakeStore(folder, LESSON, TAKE)
    durable = 0
    for number in range(count):
        store.append(fragment(number))
        if number < synced:
            store.sync()
            durable = store.stored_bytes
    crashed = folder.parent / f"{folder.name}-crashed"
    shutil.copytree(folder, crashed)
    store.close()
    log, index = crashed / "records.log", crashed / "records.idx"
    written = log.read_bytes()
    left = bytearray(written[: max(durable, len(written) - log_cut)])
    if rotten is not None and len(left) - rotten >= durable:
        left[-rotten] ^= 0xFF  # a block that never reached the disk
    log.write_bytes(left + garbage)
    entries = index.read_bytes()
    index.write_bytes(entries[: max(0, len(entries) - index_cut)])
    again = TakeStore(crashed, LESSON, TAKE)
    kept = list(again.index(PICTURE).present.numbers())
    assert kept == list(range(len(kept)))
    assert len(kept) >= min(synced, count)
    for number in range(count + 1):
        again.append(fragment(number))
    assert [one.wire for one in again.records(PICTURE)] == [
        fragment(number).wire for number in range(count + 1)
    ]
    again.close()
    shutil.rmtree(crashed)


KILLED = """
import os, sys
from pathlib import Path
from sync.lessons.fragment_log import LessonId, TakeId
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.fragment_store import TakeStore
from sync.segments.sealing import DataKey
store = TakeStore(Path(sys.argv[1]), LessonId("lesson-1"), TakeId(b"take-one"))
sealer = TakeSealer(store.lesson, store.take, DataKey(bytes(32)))
for number in range(100):
    times = MediaTimes(decode_time=0, duration=1, timescale=25, capture_ms=0)
    store.append(sealer.seal_media(1, number, bytes(100), times, keyframe=True))
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_loses_nothing_it_had_appended(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    store = TakeStore(tmp_path, LESSON, TAKE)
    assert store.index(PICTURE).present.spans() == [(0, 99)]
    store.close()


def test_a_byte_that_rots_on_disk_makes_a_gap_and_not_a_wrong_fragment(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    for number in range(3):
        store.append(fragment(number))
    store.sync()
    offset, _ = store.index(PICTURE).place(1)
    log = bytearray((tmp_path / "records.log").read_bytes())
    log[offset + 60] ^= 1
    (tmp_path / "records.log").write_bytes(log)
    assert store.read(PICTURE, 1) is None
    assert store.index(PICTURE).present.missing(2) == [(1, 1)]
    assert store.append(fragment(1))
    store.close()
    again = TakeStore(tmp_path, LESSON, TAKE)
    assert again.read(PICTURE, 1) == fragment(1).wire
    again.close()


def test_a_stored_forgery_is_taken_back_when_the_signature_comes(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    genuine = [fragment(0), fragment(1)]
    store.append(genuine[0])
    store.append(fragment(1, data=b"forged by another holder of the lesson's key"))
    store.append(signature(0, genuine))
    assert store.is_proven(PICTURE, 0)
    assert not store.has(PICTURE, 1)
    with pytest.raises(ForgedError):
        store.append(fragment(1, data=b"forged again"))
    assert store.append(genuine[1])
    assert store.is_proven(PICTURE, 1)
    store.close()
    again = TakeStore(tmp_path, LESSON, TAKE)
    assert again.read(PICTURE, 1) == genuine[1].wire
    assert again.unproven() == 0
    again.close()


def test_a_signature_over_something_signed_before_is_refused(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    store.append(signature(0, [fragment(0), fragment(1)]))
    with pytest.raises(MalformedError, match="signed before"):
        store.append(signature(1, [fragment(1), fragment(2)]))
    assert not store.has(SIGNATURES, 1)
    store.close()


def test_the_last_signature_ends_a_take(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    store.append(fragment(0))
    assert store.unsigned() == [(PICTURE, 0, digest(fragment(0)))]
    assert not store.final
    store.append(signature(0, [fragment(0)], final=True))
    assert store.final
    assert store.unsigned() == []
    store.close()


def test_what_the_flagship_lost_and_never_signed_is_given_up_once_all_is_signed(
    tmp_path: Path,
) -> None:
    records = [fragment(number) for number in range(4)]
    store = TakeStore(tmp_path, LESSON, TAKE)
    for record in records:
        store.append(record)
    store.append(signature(1, records[2:3], final=True))
    assert content(store).keys() >= {(PICTURE, 3)}, "an earlier signature may still name it"
    store.append(signature(0, records[:2]))
    assert not store.has(PICTURE, 3)
    assert store.unproven() == 0
    assert not store.append(records[3])
    store.close()
    again = TakeStore(tmp_path, LESSON, TAKE)
    assert [record.wire for record in again.records(PICTURE)] == [one.wire for one in records[:3]]
    again.close()


def test_an_index_that_the_disk_does_not_take_is_written_at_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    store.append(fragment(0))

    def write_half(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(fragment_files, "_write_all", write_half)
        with pytest.raises(FragmentStoreError, match="free space"):
            store.sync()
    store.append(fragment(1))
    store.sync()
    entries = list(decode_entries((tmp_path / "records.idx").read_bytes()))
    assert [each.number for each in entries] == [0, 1]
    store.close()


def open_files() -> set[str]:
    return {descriptor.name for descriptor in Path("/proc/self/fd").iterdir()}


def test_a_take_that_cannot_be_opened_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fragment_store, "_sync_folder", refuse)
    before = open_files()
    with pytest.raises(FragmentStoreError):
        TakeStore(tmp_path / "take", LESSON, TAKE)
    assert open_files() == before
    assert not (tmp_path / "take").exists()


def test_a_record_of_another_take_is_refused(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    with pytest.raises(MalformedError):
        store.append(fragment(0, take=TakeId(b"take-two")))
    store.close()


def test_a_take_is_open_in_one_process_only(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    with pytest.raises(FragmentStoreError, match="stop the other"):
        TakeStore(tmp_path, LESSON, TAKE)
    store.close()


def test_a_full_disk_is_reported_and_the_take_stays_whole(tmp_path: Path) -> None:
    limited = """
import resource, signal, sys
from pathlib import Path
from sync.lessons.fragment_log import LessonId, TakeId
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.segments.sealing import DataKey
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = TakeStore(Path(sys.argv[1]), LessonId("lesson-1"), TakeId(b"take-one"))
sealer = TakeSealer(store.lesson, store.take, DataKey(bytes(32)))
times = MediaTimes(decode_time=0, duration=1, timescale=25, capture_ms=0)
try:
    for number in range(9):
        store.append(sealer.seal_media(1, number, bytes(200), times, keyframe=True))
except FragmentStoreError as error:
    print(number, error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", limited, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert ran.stdout.startswith("3 ")
    assert "free space" in ran.stdout
    store = TakeStore(tmp_path, LESSON, TAKE)
    assert store.index(PICTURE).present.spans() == [(0, 2)]
    store.close()


def test_who_joins_gets_the_newest_group_of_pictures_with_its_sound(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    store.append(TakeSealer(LESSON, TAKE, KEY).seal_init(1, "video/mp4", b"init", 0))
    for number in range(13):
        store.append(fragment(number, track=1))
        store.append(fragment(number, track=2))
    joined = [(one.header.stream, one.header.number) for one in store.join()]
    assert joined[0] == (Stream(Kind.INIT, 1), 0)
    assert sorted(joined[1:]) == [(PICTURE, n) for n in (10, 11, 12)] + [
        (SOUND, n) for n in (10, 11, 12)
    ]
    store.close()


def test_who_joins_gets_no_picture_that_ended_long_before_and_no_sound_of_that_time(
    tmp_path: Path,
) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    times = MediaTimes(decode_time=0, duration=3600, timescale=90000, capture_ms=1000)
    store.append(TakeSealer(LESSON, TAKE, KEY).seal_media(9, 0, b"called", times, keyframe=True))
    for number in range(303):
        store.append(fragment(number, track=1))
        store.append(fragment(number, track=2))
    joined = {(one.header.stream, one.header.number) for one in store.join()}
    assert joined == {(one, n) for one in (PICTURE, SOUND) for n in (300, 301, 302)}
    store.close()


def test_a_seek_finds_the_keyframe_before_the_wished_time(tmp_path: Path) -> None:
    store = TakeStore(tmp_path, LESSON, TAKE)
    for number in range(13):
        store.append(fragment(number))
    assert store.index(PICTURE).keyframe_at(1000 + 9 * 40) == 5
    assert store.index(PICTURE).keyframe_at(999) == -1
    store.close()


async def test_space_is_reclaimed_from_the_oldest_take_of_no_running_lesson(tmp_path: Path) -> None:
    shelf = LessonShelf(tmp_path)
    for lesson in ("a", "b", "running"):
        sealer = TakeSealer(LessonId(lesson), TAKE, KEY)
        times = MediaTimes(decode_time=0, duration=1, timescale=25, capture_ms=0)
        store = shelf.take(LessonId(lesson), TAKE)
        store.append(sealer.seal_media(1, 0, bytes(1000), times, keyframe=True))
    await shelf.sync()
    [gone] = shelf.reclaim(2500, keep={LessonId("running")})
    assert (gone.lesson, gone.freed_bytes > 1000) == ("a", True)
    assert [gone.lesson for gone in shelf.reclaim(0, keep={LessonId("running")})] == ["b"]
    assert shelf.takes(LessonId("a")) == []
    assert len(shelf.takes(LessonId("running"))) == 1
    shelf.close()


def take_name(number: int) -> TakeId:
    return TakeId(number.to_bytes(8, "big"))


def last_of(take: int, length: int) -> Record:
    """Return the last fragment of a take that is so long; takes are captured in order."""
    times = MediaTimes(decode_time=0, duration=40, timescale=1000, capture_ms=10**6 * take)
    sealer = TakeSealer(LESSON, take_name(take), KEY)
    return sealer.seal_media(1, length - 1, b"picture", times, keyframe=False)


def test_of_more_takes_than_a_lesson_may_have_the_shortest_gives_way(tmp_path: Path) -> None:
    shelf = LessonShelf(tmp_path)
    event = TakeSealer(LESSON, take_name(0), KEY).seal_event(b"{}", 5)
    shelf.take(LESSON, take_name(0)).append(event)
    for number in range(1, TAKES_MAX):
        length = {7: 30, TAKES_MAX - 1: 10}.get(number, 100 + number)
        shelf.take(LESSON, take_name(number)).append(last_of(number, length))
    short = shelf.take(LESSON, take_name(7))
    shelf.take(LESSON, take_name(1000))
    held = {store.take for store in shelf.takes(LESSON)}
    # Events are few and no picture, and the newest take goes on, as short as it is.
    assert held == {take_name(number) for number in range(TAKES_MAX) if number != 7}
    assert (short.streams, short.read(PICTURE, 29), short.begin_sync()) == ([], None, None)
    with pytest.raises(FragmentStoreError, match="given up"):
        short.append(last_of(7, 31))
    shelf.take(LESSON, take_name(1001))
    assert shelf.find(LESSON, take_name(1000)) is None  # one with nothing in it goes first
    assert len(shelf.takes(LESSON)) == TAKES_MAX - 1
    shelf.close()


def test_what_was_told_stays_where_captures_without_picture_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fragment_shelf, "TAKES_MAX", 3)
    shelf = LessonShelf(tmp_path)
    shelf.take(LESSON, take_name(0)).append(
        TakeSealer(LESSON, take_name(0), KEY).seal_event(b"{}", 5)
    )
    for number in range(1, 9):
        sealer = TakeSealer(LESSON, take_name(number), KEY)
        init = sealer.seal_init(1, "video/mp4", b"init", 10**6 * number)
        shelf.take(LESSON, take_name(number)).append(init)
    assert [store.take for store in shelf.takes(LESSON)] == [
        take_name(0),
        take_name(7),
        take_name(8),
    ]
    shelf.close()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=5, max_size=20), st.randoms(use_true_random=False))
def test_nodes_come_to_the_same_takes_whatever_they_had_when_one_gave_way(
    lengths: list[int], rng: random.Random
) -> None:
    """A flagship gives takes up as it goes; who follows sees them later, all of them or few."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as root:
        patch.setattr(fragment_shelf, "TAKES_MAX", 4)
        flagship, hub = LessonShelf(Path(root) / "1"), LessonShelf(Path(root) / "2")
        for number, length in enumerate(lengths):
            made = last_of(number, length)
            flagship.take(LESSON, take_name(number)).append(made)
            if rng.random() < 0.7:
                hub.take(LESSON, take_name(number)).append(made)
        held = flagship.takes(LESSON)
        for _ in held:  # the flagship sends what the hub says that it has not
            for store in held:
                if hub.find(LESSON, store.take) is None:
                    for record in store.records(PICTURE):
                        hub.take(LESSON, store.take).append(record)
        assert [each.take for each in hub.takes(LESSON)] == [each.take for each in held]
        for shelf in (flagship, hub):
            shelf.close()


@given(st.sets(st.integers(0, 60)), st.integers(-1, 70))
def test_spans_and_gaps_are_those_of_a_set(numbers: set[int], head: int) -> None:
    marked = NumberSet()
    for number in numbers:
        marked.add(number)
    assert {n for first, last in marked.spans() for n in range(first, last + 1)} == numbers
    missing = {n for first, last in marked.missing(head) for n in range(first, last + 1)}
    assert missing == set(range(head + 1)) - numbers
    assert list(marked.numbers()) == sorted(numbers)
    assert marked.head == max(numbers, default=-1)
