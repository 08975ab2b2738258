import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge.lesson.lesson_keys import ensure_key, read_keys
from sync.sealing import (
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


def test_a_lesson_has_one_key_however_often_it_is_asked_for(box: Box) -> None:
    with box.opened() as store:
        own = store.identity.sealing
        keys = {ensure_key(store.node, store.reader, "a1", own, (), os.urandom) for _ in range(3)}
        assert len(keys) == 1
        assert ensure_key(store.node, store.reader, "a2", own, (), os.urandom) not in keys
    assert box.rows("SELECT count(*) FROM lesson_key_grant") == [(2,)]


def test_the_key_outlives_the_daemon(box: Box) -> None:
    with box.opened() as store:
        own = store.identity.sealing
        key = ensure_key(store.node, store.reader, "a1", own, (), os.urandom)
    with box.opened() as store:
        assert ensure_key(store.node, store.reader, "a1", own, (), os.urandom) == key


def test_a_partner_confirmed_late_is_granted_the_same_key_once(box: Box) -> None:
    late = X25519PrivateKey.generate()
    with box.opened() as store:
        own = store.identity.sealing
        key = ensure_key(store.node, store.reader, "a1", own, (), os.urandom)
        for _ in range(2):
            ensure_key(store.node, store.reader, "a1", own, [late.public_key()], os.urandom)
        assert list(read_keys(store.reader, "a1", 17, late).values()) == [key]
    assert box.rows("SELECT count(*) FROM lesson_key_grant") == [(2,)]


def test_a_key_that_another_party_hands_out_is_not_the_lessons(box: Box) -> None:
    """A school the hub made up could grant the flagship a key that the hub knows."""
    planted = new_data_key(os.urandom)
    with box.opened() as store:
        own = store.identity.sealing
        box.plant(
            "lesson_key_grant",
            {
                "school": 99,
                "lesson": "a1",
                "lesson_key": key_id(planted),
                "recipient": recipient_id(own.public_key()),
                "suite": SUITE_X25519_SHA256_CHACHA20,
                "wrapped": wrap(planted, own.public_key(), b"lesson\x00a1"),
            },
        )
        assert list(read_keys(store.reader, "a1", 99, own).values()) == [planted]
        assert ensure_key(store.node, store.reader, "a1", own, (), os.urandom) != planted
        assert planted not in read_keys(store.reader, "a1", 17, own).values()


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
