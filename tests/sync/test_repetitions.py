"""A device's own repetition, in logs that two boxes or a restored one write: one row stands."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from sync.history.bounding import HistoryPolicy
from sync.logs.log_state import read_logs
from sync.logs.oplog import Row
from sync.node import Node
from tests.sync.district import District
from tests.sync.test_clones import copied, talk

WHERE = (
    "SELECT l.incarnation, t.row, t.device_key, t.card FROM card_tap t JOIN log l ON l.id = t.log"
    " WHERE t.device_key IS NOT NULL ORDER BY t.device_key"
)
HOLLOW = (
    "SELECT count(*) FROM segment s JOIN log l ON l.id = s.log WHERE l.incarnation = 200"
    " AND l.lane = 2 AND substr(s.wire, 1, 4) = CAST('SNH1' AS BLOB)"
)


class Incarnations(random.Random):
    """Chance that draws these numbers wherever a node draws an incarnation."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(str(numbers))
        self._numbers = iter(numbers)

    def randbytes(self, n: int) -> bytes:
        return (next(self._numbers) << 1).to_bytes(8) if n == 8 else super().randbytes(n)


def tap(number: int) -> Row:
    return {"at_ms": number, "device": "door", "device_key": f"t{number}", "card": f"04:{number}"}


def begin(district: District, *incarnations: int) -> Node:
    """Let school 17 go on in the first of these incarnations, and begin the others in turn."""
    district.chance = Incarnations(*incarnations)
    return district.restore(17, district.back_up(17), b"second")


def go_back(district: District, box: Node) -> Node:
    """Let the disk of school 17 forget a segment that its hub holds; no program is told."""
    box.record("card_tap", [tap(1)])
    district.exchange(17)
    backup = district.back_up(17)
    box.record("card_tap", [tap(2)])
    district.exchange(17)
    return district.restore(17, backup, b"second")


@pytest.fixture
def others() -> Iterator[list[District]]:
    """Districts of further boxes, which are closed at the end."""
    kept: list[District] = []
    yield kept
    for other in kept:
        other.nodes[17].close()


def check_alike(district: District, others: Iterable[District], keys: int) -> None:
    """See that each tap stands once, and the same row of it at all nodes."""
    at_hub = district.rows(0, WHERE)
    assert len(at_hub) == keys
    for each in (district, *others):
        at_school = each.rows(17, WHERE)
        assert [row[:3] for row in at_school] == [row[:3] for row in at_hub]
        assert [card for *_, card in at_school] == [f"04:{str(key)[1:]}" for *_, key, _ in at_hub]
        assert each.digests(17)["card_tap"] == district.digests(0)["card_tap"]


@pytest.mark.parametrize("order", [*permutations((100, 200, 300))])
def test_of_a_tap_that_two_boxes_write_anew_the_same_row_stands_everywhere(
    district: District, tmp_path: Path, others: list[District], order: tuple[int, int, int]
) -> None:
    """Both took the other's for a repetition of a row that then moved behind it."""
    present, of_box, of_twin = order
    box = go_back(district, begin(district, present, of_box))
    box.record("card_tap", [tap(number) for number in (3, 4, 5)])
    box.seal_all()
    other = copied(district, tmp_path / "twin")
    others.append(other)
    other.nodes[17].close()
    other.chance = Incarnations(of_twin)
    twin = other.add(17, b"second")
    for _ in range(3):
        talk(district, box)
        talk(district, twin)
    assert {box.incarnation, twin.incarnation} == {of_box, of_twin}
    check_alike(district, others, keys=5)


def test_a_tap_that_is_told_again_after_a_restore_stands_where_it_stood_first(
    district: District,
) -> None:
    """Recorded once more it came to stand before the first, and moved behind it with its log."""
    go_back(district, begin(district, 200, 100, 300))
    box = district.reopen(17, b"third")
    assert box.incarnation == 100
    box.record("card_tap", [tap(1)])
    box = district.reopen(17, b"fourth")
    assert box.incarnation == 300
    district.exchange(17)
    check_alike(district, (), keys=2)


def test_what_lost_and_came_with_a_snapshot_stands_again(district: District) -> None:
    """Its segment lost its bodies beside states, so that it is in a part alone."""
    box = begin(district, 200, 100, 300)
    for number in (1, 2):
        states: list[Row] = [{"day": "d", "slot": "1", "person": 3, "at_ms": number}]
        box.record_all({"card_tap": [tap(number)], "attendance_entry": states})
        district.settle()
    for _ in range(3):
        for origin in (17, 0):
            policy = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=0)
            for _ in district.nodes[origin].history.steps(policy):
                pass
        district.settle()
    assert district.rows(17, HOLLOW) == [(2,)]
    box = district.reopen(17, b"third")
    assert box.incarnation == 100
    box.record("card_tap", [tap(1), tap(2)])
    box = district.reopen(17, b"fourth")
    assert box.incarnation == 300
    district.settle()
    check_alike(district, (), keys=2)


def test_what_stands_between_several_former_logs_is_read_once(district: District) -> None:
    """A box of many incarnations would read the middle ones once for each that moved."""
    box = begin(district, *range(100, 700, 100))
    for number in range(1, 6):
        box.record("card_tap", [tap(number)])
        box.seal_all()
        box = district.reopen(17, str(number).encode())
    assert box.incarnation == 600
    with box.transaction() as cursor:
        former = read_logs(cursor, "WHERE origin = 17 AND incarnation < 600")
        told: list[str] = []
        cursor.connection.set_trace_callback(told.append)
        box.peers.let_stand(cursor, former, box.incarnation)
        cursor.connection.set_trace_callback(None)
    read = Counter(sql for sql in told if "wire" in sql and "FROM segment" in sql)
    assert len(read) >= 4
    assert set(read.values()) == {1}
