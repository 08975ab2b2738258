"""Two boxes on copies of one store: each keeps what it wrote, whatever becomes of the other."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.exchange.session import Session
from sync.logs.oplog import Row
from sync.node import Node
from tests.sync.district import District, one_round

MOMENTS = "SELECT at_ms FROM card_tap ORDER BY at_ms"


def taps(*moments: int) -> list[Row]:
    return [{"at_ms": at_ms, "device": "door"} for at_ms in moments]


@pytest.fixture
def twin(district: District, tmp_path: Path) -> Iterator[Node]:
    """A second box of school 17 on a copy of its disk, after one tap was acknowledged."""
    district.nodes[17].record("card_tap", taps(1))
    district.exchange(17)
    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "17.db").write_bytes(district.back_up(17))
    other = District(folder, random.Random(99), now=district.now, keys=district.keys)
    yield other.add(17)
    other.nodes[17].close()


def talk(district: District, box: Node) -> None:
    edge, hub = Session(box, 0), Session(district.nodes[0], 17)
    for _ in range(8):
        box.seal_all()
        one_round(edge, hub)


def test_a_clone_without_a_log_that_the_hub_has_begins_logs_of_its_own(
    district: District, twin: Node
) -> None:
    district.nodes[17].record("farm_action", [{"at_ms": 2, "device": "pump"}])
    talk(district, district.nodes[17])
    talk(district, twin)
    twin.record("farm_action", [{"at_ms": 3, "device": "pump"}])
    talk(district, twin)
    assert district.rows(0, "SELECT at_ms FROM farm_action ORDER BY at_ms") == [(2,), (3,)]
    assert district.rows(0, "SELECT lane FROM log WHERE frozen IS NOT NULL") == []


@pytest.mark.parametrize("taps_of_the_clone", [1, 3])
def test_a_box_reissues_what_a_restored_hub_took_from_its_clone_instead(
    district: District, twin: Node, taps_of_the_clone: int
) -> None:
    box = district.nodes[17]
    backup = district.back_up(0)
    for at_ms in (2, 3):
        box.record("card_tap", taps(at_ms))
        talk(district, box)
    district.restore(0, backup, b"second")
    for at_ms in range(10, 10 + taps_of_the_clone):
        twin.record("card_tap", taps(at_ms))
        talk(district, twin)
    for _ in range(3):
        talk(district, box)
        talk(district, twin)
    expected = [(1,), (2,), (3,), *((10 + each,) for each in range(taps_of_the_clone))]
    assert district.rows(0, MOMENTS) == expected
    assert district.rows(17, MOMENTS) == expected
    assert district.rows(17, "SELECT lane FROM log WHERE frozen IS NOT NULL") == []
