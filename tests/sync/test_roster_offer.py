import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.logs.oplog import Row
from sync.rosters.offer import PIECE_BYTES, held_pieces, offer_rows, offer_stamp, read_offer
from sync.rosters.people import Pupil
from sync.rosters.sealed import RosterSealer
from sync.store import connect_readonly
from tests.sync.district import District

MADE_MS = 1_790_000_000_000
BOX = X25519PrivateKey.from_private_bytes(bytes(range(32)))
CHANCE = random.Random(11)


def sealed(pupils: int, made_ms: int = MADE_MS) -> bytes:
    sealer = RosterSealer(BOX.public_key(), ("jiangxia", 17, "0"), made_ms, CHANCE.randbytes)
    for _ in range(pupils):
        sealer.add(Pupil(CHANCE.randbytes(9).hex(), CHANCE.randbytes(5).hex(), "x"))
    return sealer.finish()


@pytest.fixture
def district(tmp_path: Path) -> Iterator[District]:
    made = District(tmp_path, random.Random(3))
    for origin in (0, 17, 18):
        made.add(origin)
    yield made
    for node in made.nodes.values():
        node.close()


@pytest.fixture
def box(district: District) -> Iterator[sqlite3.Connection]:
    with closing(connect_readonly(district.store(17))) as reader:
        yield reader


def propose(district: District, content: bytes, held: int = 0) -> None:
    district.nodes[0].record("roster_offer", offer_rows(17, content, held))
    district.settle()


def test_an_offer_comes_whole_to_its_school_and_to_no_other(
    district: District, box: sqlite3.Connection
) -> None:
    content = sealed(1200)
    assert len(content) > 2 * PIECE_BYTES
    assert read_offer(box, 17) is None
    propose(district, content)
    offer = read_offer(box, 17)
    assert offer is not None
    assert (offer.content, offer.header.pupils) == (content, 1200)
    assert district.rows(18, "SELECT * FROM roster_offer") == []


def test_a_shorter_one_replaces_all_pieces_of_the_longer_before(
    district: District, box: sqlite3.Connection
) -> None:
    propose(district, sealed(1200))
    before = offer_stamp(box, 17)
    held = held_pieces(box, 17)
    later = sealed(3, MADE_MS + 1)
    propose(district, later, held)
    offer = read_offer(box, 17)
    assert offer is not None
    assert offer.content == later
    assert offer_stamp(box, 17) == (MADE_MS + 1, 1) != before
    assert held_pieces(box, 17) == 1 < held


@pytest.mark.parametrize(
    "change",
    [
        {"deleted": 1},
        {"made_ms": MADE_MS + 1},
        {"pieces": 2**62},
        {"pieces": None},
        {"content": None},
        {"content": b"SNR1" + bytes(40)},
        {"piece": 0},
        {"piece": 2**62},
    ],
)
def test_pieces_that_do_not_fit_are_no_offer(
    district: District, box: sqlite3.Connection, change: Row
) -> None:
    first, *rest = offer_rows(17, sealed(1200), 0)
    district.nodes[0].record("roster_offer", [{**first, **change}, *rest])
    district.settle()
    assert offer_stamp(box, 17)[1] >= len(rest)
    assert read_offer(box, 17) is None
