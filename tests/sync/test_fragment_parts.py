"""Records in parts: whole again whatever comes between, and bounded whatever a peer sends."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.lessons import fragment_parts
from sync.lessons.fragment_parts import Lane, PartJoiner, split

RECORDS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6)


@given(RECORDS, RECORDS, st.integers(1, 100), st.randoms())
def test_lanes_that_are_mixed_give_their_records_whole_and_in_order(
    live: list[bytes], late: list[bytes], part_bytes: int, rng: random.Random
) -> None:
    lanes = {
        lane: [part for record in records for part in split(record, part_bytes, lane)]
        for lane, records in ((Lane.LIVE, live), (Lane.CATCH_UP, late))
    }
    joiner = PartJoiner()
    found: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}
    while any(lanes.values()):
        lane = Lane(rng.random() < 0.5) if all(lanes.values()) else _left(lanes)
        whole = joiner.take(lanes[lane].pop(0))
        if whole is not None:
            found[lane].append(whole)
    assert found == {Lane.LIVE: live, Lane.CATCH_UP: late}


def _left(lanes: dict[Lane, list[bytes]]) -> Lane:
    return next(lane for lane, parts in lanes.items() if parts)


def test_a_whole_record_passes_between_the_parts_of_another() -> None:
    joiner = PartJoiner()
    first, *rest = split(b"a picture", 4, Lane.LIVE)
    assert joiner.take(first) is None
    assert joiner.take(b"SF sound") == b"SF sound"
    assert [joiner.take(part) for part in rest] == [None, b"a picture"]


def test_a_picture_given_up_in_the_middle_leaves_nothing_behind() -> None:
    joiner = PartJoiner()
    for part in list(split(b"given up", 3, Lane.LIVE))[:-1]:
        assert joiner.take(part) is None
    assert [joiner.take(part) for part in split(b"next", 3, Lane.LIVE)] == [None, b"next"]


def test_a_part_without_a_beginning_and_one_record_too_large_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joiner = PartJoiner()
    first, last = split(b"abcd", 2, Lane.CATCH_UP)
    with pytest.raises(MalformedError, match="no beginning"):
        joiner.take(last)
    monkeypatch.setattr(fragment_parts, "RECORD_BYTES_MAX", 3)
    assert joiner.take(first) is None
    with pytest.raises(MalformedError, match="larger than any"):
        joiner.take(last)
    with pytest.raises(MalformedError, match="no beginning"):
        joiner.take(last)


@pytest.mark.parametrize("message", [b"SP", b"SP\1\1\0", b"SP\2\1\0x", b"SP\1\4\0x", b"SP\1\1\2x"])
def test_what_is_no_part_but_says_so_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedError):
        PartJoiner().take(message)
