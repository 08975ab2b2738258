"""What of a stored take is proven, held against the plain rule."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.lessons.fragment_log import Kind, LessonId, Record, Stream, TakeId
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import MediaTimes, TakeSealer, digest, groups_of, sign_group
from sync.lessons.fragment_store import TakeStore
from sync.segments.sealing import DataKey

LESSON, TAKE = LessonId("a1"), TakeId(bytes(8))
PICTURE = Stream(Kind.MEDIA, 1)
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
COUNT = 24


def _records() -> list[Record]:
    """Return COUNT pictures, one each 100 ms, every fourth a keyframe."""
    sealer = TakeSealer(LESSON, TAKE, DataKey(bytes(32)))
    times = [
        MediaTimes(decode_time=n, duration=1, timescale=10, capture_ms=1000 + 100 * n)
        for n in range(COUNT)
    ]
    return [sealer.seal_media(1, n, b"x", times[n], keyframe=n % 4 == 0) for n in range(COUNT)]


RECORDS = _records()
numbers = st.integers(0, COUNT - 1)


def _stored(folder: Path, present: set[int], signed: list[set[int]]) -> Iterator[TakeStore]:
    store = TakeStore(folder, LESSON, TAKE)
    for number in sorted(present):
        store.append(RECORDS[number])
    for at, group in enumerate(signed):
        named = [(PICTURE, number, digest(RECORDS[number])) for number in sorted(group)]
        for one in groups_of(named, final=False):
            store.append(sign_group(LESSON, TAKE, at, one, 1000, SIGNING))
    yield store
    store.close()


@given(present=st.sets(numbers), signed=st.sets(numbers), cut=numbers, first=st.integers(0, COUNT))
def test_proven_is_what_is_stored_and_signed(
    present: set[int], signed: set[int], cut: int, first: int
) -> None:
    groups = [{n for n in signed if n >= cut}, {n for n in signed if n < cut}]
    with tempfile.TemporaryDirectory() as folder:
        for store in _stored(Path(folder) / "take", present, groups):
            proven = ProvenStream(store, PICTURE)
            both = sorted(present & signed)
            assert list(proven.numbers(first)) == [n for n in both if n >= first]
            assert [one.header.number for one in proven.records(first)] == list(
                proven.numbers(first)
            )
            assert proven.head == max(both, default=-1)
            assert [n for n in range(COUNT + 2) if proven.has(n)] == both
            known = max(present | signed, default=-1)
            for number in range(COUNT + 2):
                lacks = number not in both
                ahead = set(range(number, max(present, default=-1) + 1)) - present
                assert proven.is_unproven(number) == (lacks and number <= known)
                assert proven.is_awaited(number) == (
                    lacks and (number <= max(signed, default=-1) or bool(ahead))
                )
                keyframes = [n for n in both if n % 4 == 0 and n <= number]
                assert proven.keyframe_at(1000 + 100 * number) == max(keyframes, default=-1)


@pytest.mark.parametrize("number", [0, COUNT - 1])
def test_a_record_is_read_only_once_it_is_signed(tmp_path: Path, number: int) -> None:
    for store in _stored(tmp_path / "take", set(range(COUNT)), [{number}]):
        proven = ProvenStream(store, PICTURE)
        assert proven.read(number) == RECORDS[number]
        assert proven.read(COUNT // 2) is None
