"""What a slow viewer loses: old picture up to a keyframe, sound last, and never without bound."""

from hypothesis import given
from hypothesis import strategies as st

from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_queue import PICTURE_AGE_S_MAX, SOUND_AGE_S_MAX, LiveQueue, Parcel
from sync.lessons.fragment_rungs import Ladder, Rung, Standing
from sync.lessons.tracks import BLACKBOARD, PICTURE_SMALL

PICTURE, SOUND = 1, 2


def picture(number: int, *, keyframe: bool = False, size: int = 10) -> Parcel:
    data = number.to_bytes(4, "big").ljust(size, b".")
    return Parcel(kind=Kind.MEDIA, track=PICTURE, keyframe=keyframe, data=data)


def sound(number: int) -> Parcel:
    return Parcel(kind=Kind.MEDIA, track=SOUND, keyframe=True, data=number.to_bytes(4, "big"))


def take(queue: LiveQueue, now_s: float) -> Parcel | None:
    return queue.take_first(now_s) or queue.take_picture(now_s)


def numbers(queue: LiveQueue, now_s: float) -> list[tuple[int, int]]:
    taken = []
    while (parcel := take(queue, now_s)) is not None:
        taken.append((parcel.track, int.from_bytes(parcel.data[:4], "big")))
    return taken


def test_sound_overtakes_picture_that_waits() -> None:
    queue = LiveQueue()
    queue.offer(picture(0, keyframe=True), 0.0)
    queue.offer(picture(1), 0.0)
    queue.offer(sound(0), 0.0)
    assert numbers(queue, 0.1) == [(SOUND, 0), (PICTURE, 0), (PICTURE, 1)]


def test_inits_and_messages_go_before_all_media() -> None:
    queue = LiveQueue()
    queue.offer(sound(0), 0.0)
    queue.offer(Parcel(kind=Kind.INIT, track=PICTURE, keyframe=False, data=b"\0\0\0\7"), 0.0)
    assert numbers(queue, 0.0) == [(PICTURE, 7), (SOUND, 0)]


def test_picture_older_than_its_limit_is_dropped_to_the_next_keyframe() -> None:
    queue = LiveQueue()
    for number in range(10):
        queue.offer(picture(number, keyframe=number in {0, 6}), number * 0.04)
    late_s = PICTURE_AGE_S_MAX + 0.01
    assert numbers(queue, late_s) == [(PICTURE, number) for number in range(6, 10)]
    assert queue.dropped == 6


def test_after_dropping_everything_picture_waits_for_a_keyframe() -> None:
    queue = LiveQueue()
    queue.offer(picture(0, keyframe=True), 0.0)
    assert numbers(queue, 1.0) == []
    queue.offer(picture(1), 1.0)
    queue.offer(picture(2, keyframe=True), 1.0)
    queue.offer(picture(3), 1.0)
    assert numbers(queue, 1.0) == [(PICTURE, 2), (PICTURE, 3)]
    assert queue.dropped == 2


def test_sound_outlives_picture() -> None:
    queue = LiveQueue()
    queue.offer(sound(0), 0.0)
    queue.offer(picture(0, keyframe=True), 0.0)
    assert numbers(queue, SOUND_AGE_S_MAX - 0.1) == [(SOUND, 0)]


offers = st.lists(
    st.tuples(
        st.sampled_from(["key", "delta", "sound", "init", "take"]),
        st.integers(4, 400),
        st.floats(0, 0.5),
    ),
    max_size=120,
)


@given(offers)
def test_bytes_are_bounded_and_no_picture_follows_a_hole_without_a_keyframe(
    steps: list[tuple[str, int, float]],
) -> None:
    queue = LiveQueue(bytes_max=1000)
    now_s, number, offered, taken = 0.0, 0, 0, 0
    expected = 0
    for kind, size, step_s in steps:
        now_s += step_s
        if kind == "take":
            parcel = take(queue, now_s)
            if parcel is None:
                continue
            taken += 1
            if parcel.kind is Kind.MEDIA and parcel.track == PICTURE:
                got = int.from_bytes(parcel.data[:4], "big")
                assert parcel.keyframe or got == expected
                expected = got + 1
            continue
        offered += 1
        if kind == "sound":
            queue.offer(sound(0), now_s)
        elif kind == "init":
            queue.offer(
                Parcel(kind=Kind.INIT, track=PICTURE, keyframe=False, data=bytes(size)), now_s
            )
        else:
            queue.offer(picture(number, keyframe=kind == "key", size=size), now_s)
            number += 1
        assert queue.queued_bytes <= 1000
    assert taken + queue.dropped + len(queue) == offered


def test_signatures_wait_for_pictures_and_below_the_top_are_left_to_catch_up() -> None:
    proof = Parcel(kind=Kind.SIGNATURE, track=0, keyframe=False, data=b"\0\0\0\x09")
    queue = LiveQueue()
    queue.offer(proof, 0.0)
    queue.offer(picture(0, keyframe=True), 0.0)
    assert numbers(queue, 0.1) == [(PICTURE, 0), (0, 9)]
    assert queue.passes(proof, 0.1)
    low = LiveQueue(ladder=Ladder(Standing(rung=Rung.SOUND)))
    low.offer(proof, 0.0)
    assert not low.passes(proof, 0.0)
    assert numbers(low, 0.1) == []


def test_the_teachers_small_picture_goes_before_other_pictures() -> None:
    queue = LiveQueue(ladder=Ladder(Standing(rung=Rung.SMALL)))
    for track in (BLACKBOARD, PICTURE_SMALL, PICTURE):
        data = track.to_bytes(4, "big")
        queue.offer(Parcel(kind=Kind.MEDIA, track=track, keyframe=True, data=data), 0.0)
    assert [track for track, _ in numbers(queue, 0.1)] == [PICTURE_SMALL, BLACKBOARD]


def test_when_the_small_stream_is_taken_what_waited_of_the_large_one_is_given_up() -> None:
    queue = LiveQueue()
    for number in range(30):
        now_s = number * 0.04
        queue.offer(picture(number, keyframe=number % 10 == 0), now_s)
        small = Parcel(
            kind=Kind.MEDIA, track=PICTURE_SMALL, keyframe=number % 10 == 0, data=bytes(4)
        )
        queue.offer(small, now_s)
    assert queue.ladder.rung is Rung.SMALL
    assert {track for track, _ in numbers(queue, 1.2)} == {PICTURE_SMALL}
