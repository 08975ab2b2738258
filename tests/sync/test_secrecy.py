"""What is sealed to a school is found nowhere else: canaries, and controls that must be found."""

from collections.abc import Iterator

from sync.columnar import Value
from sync.errors import ForgedError
from sync.exchange import Session
from sync.oplog import Row
from sync.schema.model import GROUPS, Group
from sync.segment import parse_segment
from tests.sync.district import District, one_round

NAME = "张伟同学李四"
CANARIES = (NAME.encode(), NAME.encode("gb18030"), NAME.encode("unicode_escape"))
IN_THE_OPEN = "运动会通知"


def plant(district: District) -> list[bytes]:
    """Write canaries into every sealed column that takes text; return what went over the wire."""
    school = district.nodes[17]
    as_bytes: list[Value] = [*CANARIES]
    leaves: list[Row] = [{"person": 5, "from_ms": 1, "reason": NAME, "until_ms": 2}]
    people: list[Row] = [
        {"person": number, "kind": "pupil", "name": name} for number, name in enumerate(as_bytes)
    ]
    school.record_all(
        {
            "leave": leaves,
            "person": people,
            "health_check": [{"at_ms": 1, "person": 5, "symptoms": NAME}],
            "evaluation_entry": [{"at_ms": 1, "person": 5, "remark": NAME}],
            "grow_log": [{"at_ms": 1, "plot": IN_THE_OPEN, "entry": NAME}],
        }
    )
    messages: list[bytes] = []
    edge, hub = Session(school, 0), Session(district.nodes[0], 17)
    for _ in range(4):
        district.seal(17, 0)
        pair, _, _ = one_round(edge, hub)
        messages += pair
    return messages


def files_of(district: District, origin: int) -> bytes:
    return b"".join(path.read_bytes() for path in district.folder.glob(f"{origin}.db*"))


def opened_at_the_hub(district: District) -> Iterator[bytes]:
    """Try every key the hub holds on every body it stores."""
    hub = district.nodes[0]
    keys = list(hub._keyring._opened.values())
    assert keys
    for _, wire in [pair for log in hub.logs() for pair in hub.segments_for(log.id, 0, 1 << 30)]:
        segment = parse_segment(wire)
        for place, body in enumerate(segment.header.bodies):
            for key in keys:
                try:
                    yield segment.open(place, None if GROUPS[body.group] is Group.GRANT else key)
                except ForgedError:
                    continue


def test_no_planted_name_leaves_the_school(district: District) -> None:
    messages = plant(district)
    at_the_hub = files_of(district, 0)
    opened = b"".join(opened_at_the_hub(district))
    for canary in CANARIES:
        assert canary in files_of(district, 17)
        assert canary not in at_the_hub
        assert canary not in opened
        assert not any(canary in message for message in messages)
    assert IN_THE_OPEN.encode() in at_the_hub
    assert IN_THE_OPEN.encode() in opened


def test_the_canaries_are_found_once_their_groups_are_released(district: District) -> None:
    plant(district)
    for group in (Group.IDENTITY, Group.HEALTH):
        district.nodes[17].release(group)
    district.exchange(17)
    at_the_hub = files_of(district, 0)
    opened = b"".join(opened_at_the_hub(district))
    for canary in CANARIES:
        assert canary in at_the_hub
        assert canary in opened
    assert district.rows(0, "SELECT symptoms FROM health_check") == [(NAME,)]
    assert district.rows(0, "SELECT * FROM unopened") == []


def test_one_group_released_opens_no_other(district: District) -> None:
    plant(district)
    district.nodes[17].release(Group.HEALTH)
    district.exchange(17)
    assert district.rows(0, "SELECT symptoms FROM health_check") == [(NAME,)]
    assert district.rows(0, "SELECT reason FROM leave") == [(None,)]
    assert district.rows(0, "SELECT * FROM evaluation_entry") == []


def test_no_data_key_lies_in_clear_in_any_store(district: District) -> None:
    plant(district)
    keys = {
        bytes(key) for origin in (17, 0) for key in district.nodes[origin]._keyring._opened.values()
    }
    assert len(keys) >= 3
    for origin in (17, 0):
        content = files_of(district, origin)
        assert not any(key in content for key in keys)


def test_another_school_holds_nothing_of_it(district: District) -> None:
    plant(district)
    district.settle()
    content = files_of(district, 18)
    assert not any(canary in content for canary in (*CANARIES, IN_THE_OPEN.encode()))
