import contextlib
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_log import Kind, LessonId, Stream
from sync.lessons.fragment_sealing import (
    MediaTimes,
    TakeSealer,
    digest,
    groups_of,
    new_take,
    sign_group,
)
from sync.lessons.fragment_store import TakeStore
from sync.lessons.lesson_minutes import (
    Disagreement,
    Minutes,
    disagreements,
    parse_rungs,
    recording_digest,
)
from sync.segments.sealing import DataKey

LESSON = LessonId("a1")
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
FLAGSHIP = Minutes(
    school=17,
    lesson="a1",
    live_s=2400,
    recorded_s=2400,
    missing_s=0,
    sent_s=2400,
    rungs={"main": 2400},
    digest=bytes(32),
)
RECEIVER = replace(FLAGSHIP, school=18, sent_s=0, rungs={"main": 2000, "small": 300, "sound": 90})


def test_what_a_school_signed_holds_and_nothing_else_does() -> None:
    row = RECEIVER.row(SIGNING)
    signature = row["signature"]
    assert isinstance(signature, bytes)
    RECEIVER.check(signature, [OTHER.public_key(), SIGNING.public_key()])
    with pytest.raises(ForgedError, match="school 18"):
        RECEIVER.check(signature, [OTHER.public_key()])
    for changed in (
        replace(RECEIVER, school=17),
        replace(RECEIVER, lesson="a2"),
        replace(RECEIVER, live_s=2401),
        replace(RECEIVER, recorded_s=2399),
        replace(RECEIVER, missing_s=1),
        replace(RECEIVER, sent_s=1),
        replace(RECEIVER, rungs={"main": 2300, "sound": 90}),
        replace(RECEIVER, digest=bytes(31) + b"\1"),
    ):
        with pytest.raises(ForgedError):
            changed.check(signature, [SIGNING.public_key()])


def test_the_rung_that_held_longest_names_the_lesson() -> None:
    assert RECEIVER.rung == "main"
    assert replace(RECEIVER, rungs={"small": 5, "sound": 9}).rung == "sound"
    assert replace(RECEIVER, rungs={"small": 5, "sound": 5}).rung == "small"
    assert replace(RECEIVER, rungs={}).rung == ""


@pytest.mark.parametrize(
    ("receiver", "found"),
    [
        (RECEIVER, []),
        (replace(RECEIVER, recorded_s=2399, live_s=2402), []),
        (replace(RECEIVER, recorded_s=2100, missing_s=300), [Disagreement.RECORDED_LESS]),
        (replace(RECEIVER, recorded_s=2500), [Disagreement.RECORDED_MORE]),
        (replace(RECEIVER, live_s=2500), [Disagreement.LIVE_MORE]),
        (replace(RECEIVER, digest=bytes(31) + b"\1"), [Disagreement.OTHER_BYTES]),
    ],
)
def test_two_ends_are_held_against_each_other(receiver: Minutes, found: list[Disagreement]) -> None:
    assert disagreements(FLAGSHIP, receiver) == found


@given(
    st.text(max_size=80)
    | st.dictionaries(st.text(max_size=6), st.integers()).map(
        lambda told: msgspec.json.encode(told).decode()
    )
)
def test_rungs_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedError):
        assert all(seconds > 0 for seconds in parse_rungs(text).values())


def record_take(folder: Path, rng: random.Random) -> TakeStore:
    """A take of two tracks, each group signed."""
    take = new_take()
    sealer = TakeSealer(LESSON, take, DataKey(bytes(32)))
    store = TakeStore(folder, LESSON, take)
    for group in range(3):
        signed: list[tuple[Stream, int, bytes]] = []
        for number in range(group * 5, group * 5 + 5):
            for track in (1, 2):
                times = MediaTimes(
                    decode_time=number, duration=1, timescale=25, capture_ms=number * 40
                )
                one = sealer.seal_media(track, number, rng.randbytes(50), times, keyframe=False)
                store.append(one)
                signed.append((one.header.stream, number, digest(one)))
        (covered,) = groups_of(signed, final=group == 2)
        store.append(sign_group(LESSON, take, group, covered, 1, SIGNING))
    return store


def test_equal_recordings_have_one_digest_whatever_order_they_came_in(tmp_path: Path) -> None:
    rng = random.Random(4)
    store = record_take(tmp_path / "flagship", rng)
    records = [record for stream in store.streams for record in store.records(stream)]
    rng.shuffle(records)
    other = TakeStore(tmp_path / "receiver", LESSON, store.take)
    for record in records[:-1]:
        other.append(record)
    assert recording_digest([other]) != recording_digest([store])
    other.append(records[-1])
    assert recording_digest([other]) == recording_digest([store])
    assert other.has(Stream(Kind.MEDIA, 1), 14)
    store.close()
    other.close()
