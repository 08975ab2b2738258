import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge.box_store import BoxStore
from edge.lesson.keys.lesson_keys import LessonKeys, read_keys
from sync.errors import KeyMissingError
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_sealing import FragmentOpener, MediaTimes, TakeSealer, new_take
from sync.lessons.tracks import return_log
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    key_id,
    new_data_key,
    recipient_id,
    wrap,
)
from tests.edge.school import Box, new_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return new_box(tmp_path)


def keys_of(store: BoxStore) -> LessonKeys:
    own = store.identity.sealing
    return LessonKeys(store.node, store.reader, own, os.urandom, lambda: 1)


def test_a_lesson_has_one_key_however_often_it_is_asked_for(box: Box) -> None:
    with box.opened() as store:
        keys = {keys_of(store).sealing_key("a1") for _ in range(3)}
        assert len(keys) == 1
        assert keys_of(store).sealing_key("a2") not in keys
    assert box.rows("SELECT count(*) FROM lesson_key_grant") == [(2,)]


def test_the_key_outlives_the_daemon(box: Box) -> None:
    with box.opened() as store:
        key = keys_of(store).sealing_key("a1")
    with box.opened() as store:
        assert keys_of(store).sealing_key("a1") == key


def test_a_partner_confirmed_late_is_granted_the_same_key_once(box: Box) -> None:
    late = X25519PrivateKey.generate()
    with box.opened() as store:
        key = keys_of(store).sealing_key("a1")
        for _ in range(2):
            keys_of(store).grant("a1", [late.public_key()])
        assert keys_of(store).sealing_key("a1") == key
        assert list(read_keys(store.reader, "a1", 17, late).values()) == [key]
    assert box.rows("SELECT count(*) FROM lesson_key_grant") == [(2,)]


def test_what_follows_a_partys_leaving_is_sealed_under_a_key_it_does_not_get(box: Box) -> None:
    leaving, staying = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    with box.opened() as store:
        keys = keys_of(store)
        keys.grant("a1", [leaving.public_key(), staying.public_key()])
        first = keys.sealing_key("a1")
        keys.grant("a1", [staying.public_key()])
        second = keys.sealing_key("a1")
        assert second != first
        assert list(read_keys(store.reader, "a1", 17, leaving).values()) == [first]
        assert set(read_keys(store.reader, "a1", 17, staying).values()) == {first, second}


def test_a_party_that_joins_after_a_change_of_key_reads_the_lesson_whole(box: Box) -> None:
    leaving, joining = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    with box.opened() as store:
        keys = keys_of(store)
        keys.grant("a1", [leaving.public_key()])
        both = {keys.sealing_key("a1")}
        keys.grant("a1", [])
        both.add(keys.sealing_key("a1"))
        keys.grant("a1", [joining.public_key()])
        assert len(both) == 2
        assert set(read_keys(store.reader, "a1", 17, joining).values()) == both


def test_a_lesson_without_parties_or_key_is_made_none(box: Box) -> None:
    with box.opened() as store:
        keys_of(store).grant("a1", [])
    assert box.rows("SELECT count(*) FROM lesson_key") == [(0,)]


@pytest.mark.parametrize("school", [99, 17])
def test_a_key_that_another_hands_out_does_not_seal_the_lesson(box: Box, school: int) -> None:
    """A school or box the hub made up could grant the flagship a key that the hub knows."""
    planted = new_data_key(os.urandom)
    with box.opened() as store:
        own = store.identity.sealing
        box.plant(
            "lesson_key_grant",
            {
                "school": school,
                "lesson": "a1",
                "lesson_key": key_id(planted),
                "recipient": recipient_id(own.public_key()),
                "suite": SUITE_X25519_SHA256_CHACHA20,
                "wrapped": wrap(planted, own.public_key(), b"lesson\x00a1"),
            },
        )
        assert list(read_keys(store.reader, "a1", school, own).values()) == [planted]
        keys_of(store).grant("a1", [X25519PrivateKey.generate().public_key()])
        assert keys_of(store).sealing_key("a1") != planted


def test_a_grant_that_does_not_open_is_passed_over(box: Box) -> None:
    with box.opened() as store:
        own = store.identity.sealing
        box.plant(
            "lesson_key_grant",
            {
                "school": 17,
                "lesson": "a1",
                "lesson_key": bytes(16),
                "recipient": recipient_id(own.public_key()),
                "suite": SUITE_X25519_SHA256_CHACHA20,
                "wrapped": bytes(80),
            },
        )
        assert read_keys(store.reader, "a1", 17, own) == {}


def test_a_take_goes_on_under_the_new_key_and_opens_with_both() -> None:
    first, second = (new_data_key(os.urandom) for _ in range(2))
    lesson = LessonId("a1")
    sealer = TakeSealer(lesson, new_take(), first)
    times = MediaTimes(decode_time=0, duration=1, timescale=1, capture_ms=0)
    before = sealer.seal_media(1, 0, b"before", times, keyframe=True)
    sealer.use_key(second)
    after = sealer.seal_media(1, 1, b"after", times, keyframe=False)
    both = FragmentOpener(lesson, {key_id(first): first, key_id(second): second})
    assert [both.open(record) for record in (before, after)] == [b"before", b"after"]
    leaver = FragmentOpener(lesson, {key_id(first): first})
    with pytest.raises(KeyMissingError):
        leaver.open(after)
    with pytest.raises(ValueError, match="was sealed before"):
        sealer.seal_media(1, 1, b"again", times, keyframe=False)


def test_a_class_grants_its_way_back_to_the_flagship_in_the_lessons_own_rows(box: Box) -> None:
    flagship, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    log = return_log(LessonId("a1"), 17)
    with box.opened() as store:
        keys = keys_of(store)
        key = keys.sealing_key(log)
        assert not keys.is_shared(log)
        keys.grant(log, [flagship.public_key()])
        assert keys.is_shared(log)
        assert keys.sealing_key(log) == key
        assert list(read_keys(store.reader, log, 17, flagship).values()) == [key]
        assert read_keys(store.reader, log, 17, other) == {}
        # Nobody takes it for a key of the lesson that this school would give.
        assert read_keys(store.reader, "a1", 17, flagship) == {}
    assert set(box.rows("SELECT lesson FROM lesson_key_grant")) == {("a1",)}
