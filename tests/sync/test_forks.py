"""Two segments of one name: who holds one of them freezes that log, and nothing else stops."""

import pytest

from tests.sync.district import District, one_round
from tests.sync.turns import TurnSession

RAISED = "SELECT at_ms FROM hand_raise WHERE school = 17 ORDER BY at_ms"
FROZEN = "SELECT origin, frozen FROM log WHERE frozen IS NOT NULL"


def raise_hands(district: District, school: int, at_ms: int) -> None:
    district.nodes[school].record("hand_raise", [{"at_ms": at_ms, "lesson": "L1", "raised": 1}])


@pytest.mark.parametrize("is_line_kept", [False, True])
def test_a_party_that_holds_what_hub_and_origin_lost_is_told_of_the_fork(
    district: District, *, is_line_kept: bool
) -> None:
    district.lessons["L1"] = frozenset({17, 18})
    raise_hands(district, 17, 1)
    district.settle()
    hub, school = district.back_up(0), district.back_up(17)
    raise_hands(district, 17, 2)
    district.settle()
    district.restore(0, hub, b"second")
    district.restore(17, school, b"first")  # its disk went back in time, and nobody was told
    lines = TurnSession(district.nodes[18], 0), TurnSession(district.nodes[0], 18)
    one_round(*lines)
    raise_hands(district, 17, 3)
    district.exchange(17)
    assert district.rows(0, RAISED) == [(1,), (3,)]
    if is_line_kept:
        for _ in range(4):
            one_round(*lines)
    else:
        district.exchange(18)
    assert district.rows(18, FROZEN) == [(17, "two different segments are numbered 2")]
    assert district.rows(18, RAISED) == [(1,), (2,)]
    assert district.rows(0, FROZEN) == district.rows(17, FROZEN) == []
    raise_hands(district, 18, 4)
    district.settle()
    told = "SELECT at_ms FROM hand_raise WHERE school = 18"
    assert district.rows(17, told) == district.rows(0, told) == [(4,)]


def test_a_party_that_is_ahead_of_its_hub_is_not_given_back_what_it_gave(
    district: District,
) -> None:
    """The hub was restored; the origin brings what it lost, and its party holds that already."""
    district.lessons["L1"] = frozenset({17, 18})
    hub = district.back_up(0)
    for at_ms in (1, 2):
        raise_hands(district, 17, at_ms)
        district.settle()
    district.restore(0, hub, b"second")
    party, desk = TurnSession(district.nodes[18], 0), TurnSession(district.nodes[0], 18)
    one_round(party, desk)
    district.exchange(17)
    seen = [one_round(party, desk)[2].stored for _ in range(4)]
    assert seen == [seen[0], 0, 0, 0]
    logs = {log.name: log for log in district.nodes[0].logs()}
    held = district.nodes[0].peers.cursors(18)
    (lesson,) = [
        log
        for name, log in logs.items()
        if (name.origin, name.audience) == (17, "lL1") and name.lane == 3
    ]
    assert held[lesson.id] == (lesson.stored, lesson.applied)
    assert district.rows(18, FROZEN) == district.rows(0, FROZEN) == []
