import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sync.exchange.holdings import (
    HeldLane,
    SealedOnly,
    count_sealed_only,
    read_held,
    read_held_of_others,
)
from sync.schema.model import Group, Lane
from sync.store import connect_readonly
from tests.sync.district import District


@pytest.fixture
def district(tmp_path: Path) -> Iterator[District]:
    district = District(tmp_path, random.Random(5))
    for origin in (0, 17):
        district.add(origin)
    yield district
    for node in district.nodes.values():
        node.close()


def held(district: District, lane: Lane) -> HeldLane:
    with closing(connect_readonly(district.store(0))) as reader:
        (found,) = [each for each in read_held(reader.cursor(), 17) if each.lane is lane]
        return found


def test_what_is_stored_and_cannot_be_read_is_counted_by_its_group(district: District) -> None:
    school = district.nodes[17]
    for person in (1, 2, 3):
        school.record("person", [{"person": person, "name": b"sealed"}])
        school.seal_all()
        district.exchange(17)

    lane = held(district, Lane.CONTROL)

    assert (lane.stored, lane.frozen) == (lane.applied, 0)
    assert lane.stored >= 3
    assert lane.sealed_only == (SealedOnly(group=Group.IDENTITY, segments=3),)
    with closing(connect_readonly(district.store(0))) as reader:
        assert count_sealed_only(reader.cursor()) == {(Lane.CONTROL, Group.IDENTITY): 3}

    school.keys.release(Group.IDENTITY, "headteacher")
    school.seal_all()
    district.exchange(17)
    while district.nodes[0].open_waiting():
        pass

    assert held(district, Lane.CONTROL).sealed_only == ()


def test_a_box_sees_the_hubs_logs_and_not_its_own(district: District) -> None:
    district.nodes[0].record("school", [{"school": 17, "name": "小学"}])
    district.nodes[0].seal_all()
    district.nodes[17].record("card_tap", [{"at_ms": 1, "device": "gate", "person": 4}])
    district.exchange(17)
    with closing(connect_readonly(district.store(17))) as reader:
        origins = {each.origin for each in read_held_of_others(reader.cursor(), 17)}
    assert origins == {0}
