"""What is sealed to a school is found nowhere else: canaries, and controls that must be found.

Canaries are looked for in bytes as they are, and in every cell and field that the hub's keys make
of them (:mod:`sync.readable`): a name in a column stands in no byte of a packed message.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.courier.parts import pack_segments
from sync.courier.trip import Inbound, Outbound, batches
from sync.errors import ForgedError
from sync.history.bounding import HistoryPolicy
from sync.persons.vault import PersonVault
from sync.persons.vault_backup import VaultShare, open_backup, seal_backup
from sync.readable import keys_granted, readable, readable_in_file
from sync.schema.model import Group, Lane
from sync.segments.columnar import Value
from sync.segments.sealing import DataKey, key_id
from sync.segments.segment import LogName, parse_segment
from sync.tables.row_check import Row
from tests.sync.district import District, one_round, segments_held
from tests.sync.line import Line
from tests.sync.turns import TurnSession
from tests.sync.wiretap import Wiretap

NAME = "张伟同学李四"
GUARDIAN, CODE = "王秀英奶奶", "420111201709013"
CANARIES = (
    NAME.encode(),
    NAME.encode("gb18030"),
    NAME.encode("unicode_escape"),
    GUARDIAN.encode(),
    CODE.encode(),
)
IN_THE_OPEN = "运动会通知"


def plant(district: District) -> list[bytes]:
    """Write canaries and bring them to the hub; return what went over the wire."""
    write_names(district)
    messages: list[bytes] = []
    edge, hub = TurnSession(district.nodes[17], 0), TurnSession(district.nodes[0], 17)
    for _ in range(4):
        district.seal(17, 0)
        pair, _, _ = one_round(edge, hub)
        messages += pair
    return messages


def write_names(district: District) -> None:
    """Write canaries into every kind of sealed column that takes text."""
    school = district.nodes[17]
    as_bytes: list[Value] = [*CANARIES]
    leaves: list[Row] = [{"person": 5, "from_ms": 1, "reason": NAME, "until_ms": 2}]
    people: list[Row] = [
        {"person": number, "kind": "pupil", "name": name} for number, name in enumerate(as_bytes)
    ]
    people.append(
        {"person": 5, "kind": "pupil", "guardian": GUARDIAN.encode(), "code": CODE.encode()}
    )
    school.record_all(
        {
            "leave": leaves,
            "person": people,
            "health_check": [{"at_ms": 1, "person": 5, "symptoms": NAME}],
            "evaluation_entry": [{"at_ms": 1, "person": 5, "remark": NAME}],
            "grow_log": [{"at_ms": 1, "plot": IN_THE_OPEN, "entry": NAME}],
        }
    )


def files_of(district: District, origin: int) -> bytes:
    return b"".join(path.read_bytes() for path in district.folder.glob(f"{origin}.db*"))


def keys_of_the_hub(district: District) -> set[DataKey]:
    keys = keys_granted(district.store(0), district.keys[0].sealing)
    assert keys >= set(district.nodes[0]._keyring._opened.values())
    assert keys
    return keys


def read_by_the_hub(district: District, *things: object) -> bytes:
    """Return what the hub's keys make readable of bytes, or of what decoders made of them."""
    return b"\0".join({*readable(things, keys_of_the_hub(district))})


def read_at_the_hub(district: District, store: Path | None = None) -> bytes:
    """Return every cell of the hub's database, or of a copy, with every body its keys open."""
    keys = keys_of_the_hub(district)
    return b"\0".join({*readable_in_file(store or district.store(0), keys)})


def test_no_planted_name_leaves_the_school(district: District) -> None:
    messages = plant(district)
    at_the_hub = files_of(district, 0)
    read = read_at_the_hub(district)
    heard = read_by_the_hub(district, *messages)
    for canary in CANARIES:
        assert canary in files_of(district, 17)
        assert canary not in at_the_hub
        assert canary not in read
        assert canary not in heard
    assert IN_THE_OPEN.encode() in heard
    assert IN_THE_OPEN.encode() in at_the_hub
    assert IN_THE_OPEN.encode() in read


def test_the_canaries_are_found_once_their_groups_are_released(district: District) -> None:
    plant(district)
    for group in (Group.IDENTITY, Group.HEALTH):
        district.nodes[17].keys.release(group, "head")
    district.exchange(17)
    at_the_hub = files_of(district, 0)
    read = read_at_the_hub(district)
    for canary in CANARIES:
        assert canary in at_the_hub
        assert canary in read
    assert district.rows(0, "SELECT symptoms FROM health_check") == [(NAME,)]
    assert district.rows(0, "SELECT * FROM unopened") == []


def test_a_group_is_released_by_its_keys_alone_and_nothing_sealed_travels_again(
    district: District,
) -> None:
    school = district.nodes[17]
    plant(district)
    district.exchange(17)
    before = stored_logs(district)
    for group in (Group.IDENTITY, Group.HEALTH):
        school.keys.release(group, "head")
    edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
    sent = 0
    for _ in range(4):
        district.seal(17, 0)
        (message, _), _, _ = one_round(edge, hub)
        sent += len(message)
    grown = {name for name, stored in stored_logs(district).items() if before.get(name) != stored}
    assert {name.lane for name in grown if name.origin == 17} == {Lane.CONTROL}
    assert district.rows(0, "SELECT symptoms FROM health_check") == [(NAME,)]
    carried = sum(len(wire) for wire in sealed_wires(district))
    assert sent < carried, "all that opened now weighs more than what went over the line for it"


def stored_logs(district: District) -> dict[LogName, int]:
    return {log.name: log.stored for log in district.nodes[0].logs()}


def sealed_wires(district: District) -> list[bytes]:
    hub = district.nodes[0]
    logs = [log for log in hub.logs() if log.name.origin == 17 and log.name.lane != Lane.CONTROL]
    return [wire for log in logs for _, wire in segments_held(hub, log.id)]


def test_one_group_released_opens_no_other(district: District) -> None:
    plant(district)
    district.nodes[17].keys.release(Group.HEALTH, "head")
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


def test_an_epoch_released_lets_out_neither_the_one_before_it_nor_the_one_after(
    district: District,
) -> None:
    school = district.nodes[17]
    for number in (1, 2, 3):
        school.record("leave", [{"person": 5, "from_ms": number, "reason": f"{NAME} {number}"}])
        school.seal_all()
        school.keys.rotate("head")
    assert school.keys.release(Group.IDENTITY, "head", [2]) == 1
    school.record("leave", [{"person": 5, "from_ms": 4, "reason": f"{NAME} 4"}])
    district.exchange(17)
    read = read_at_the_hub(district)
    at_the_hub = files_of(district, 0)
    for number in (1, 2, 3, 4):
        planted = f"{NAME} {number}".encode()
        assert (planted in read) == (planted in at_the_hub) == (number == 2)


def test_a_courier_file_tells_its_finder_no_name_and_its_hub_no_more_than_the_wire(
    district: District,
) -> None:
    plant(district)
    wires = [wire for _, _, wire in district.wires(17)]
    content = pack_segments(wires)
    read = read_by_the_hub(district, *wires)
    for canary in CANARIES:
        assert canary not in content
        assert canary not in read
    assert IN_THE_OPEN.encode() in read
    assert IN_THE_OPEN.encode() not in content
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert CANARIES[0] in read_by_the_hub(district, *wires)


def test_a_stick_tells_its_finder_no_name_in_either_direction(district: District) -> None:
    school, hub = district.nodes[17], district.nodes[0]
    write_names(district)
    hub.record("notice", [{"school": 0, "notice": "n", "title_zh": IN_THE_OPEN}])
    carried = carry(district, 17, 0) + carry(district, 0, 17)
    assert district.rows(17, "SELECT title_zh FROM notice") == [(IN_THE_OPEN,)]
    assert IN_THE_OPEN.encode() in read_at_the_hub(district)
    found = b"".join(carried)
    assert b"jiangxia" in found
    for canary in (*CANARIES, IN_THE_OPEN.encode()):
        assert canary not in found
    read = read_by_the_hub(district, *carried)
    assert IN_THE_OPEN.encode() in read
    for canary in CANARIES:
        assert canary not in read
        assert canary not in files_of(district, 0)
    school.keys.release(Group.IDENTITY, "head")
    school.keys.release(Group.HEALTH, "head")
    carry(district, 17, 0)
    for canary in CANARIES:
        assert canary in read_by_the_hub(district, *carried)
        assert canary in files_of(district, 0)


def test_a_stick_from_before_an_erasure_opens_nobody_that_was_forgotten(
    district: District, tmp_path: Path
) -> None:
    chance = Random(5)
    vault = PersonVault(tmp_path / "vault.db", chance.randbytes)
    gone, here = vault.new_persons(2)
    cells = {person: vault.seal(person, "name", NAME) for person in (gone, here)}
    rows: list[Row] = [
        {"person": person, "kind": "pupil", "name": cell} for person, cell in cells.items()
    ]
    district.nodes[17].record("person", rows)
    brought = carry(district, 17, 0)
    # Whoever has every key of the school, the box itself, reads of the stick no more than cells.
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    carry(district, 17, 0)
    read = read_by_the_hub(district, *brought)
    assert all(cell in read for cell in cells.values())
    assert vault.open(gone, "name", cells[gone]) == NAME
    key = vault.contents().keys[gone]
    vault.forget(gone, 1, "head")
    with pytest.raises(KeyError):
        vault.open(gone, "name", cells[gone])
    assert vault.open(here, "name", cells[here]) == NAME
    vault.close()
    assert key not in b"".join([read, *brought, (tmp_path / "vault.db").read_bytes()])


def carry(district: District, origin: int, recipient: int) -> list[bytes]:
    """Bring all that waits by stick; return what stood on it."""
    trip = Outbound(
        district.nodes[origin], recipient, "jiangxia", 1 << 30, district.chance.randbytes
    )
    inbound = Inbound(district.nodes[recipient], "jiangxia")
    parts = [trip.part(number)[1] for number in range(1, trip.parts + 1)]
    for data in parts:
        part = inbound.open(data)
        inbound.take_receipts(part)
        for some in batches(part):
            assert inbound.take(part, some).refused == []
    return parts


def test_a_snapshot_opens_no_further_than_what_it_replaces(district: District) -> None:
    school = district.nodes[17]
    for number in range(30):
        district.now += 1000
        school.record("leave", [{"person": number % 3, "from_ms": 1, "reason": NAME}])
        school.record("room", [{"room": f"r{number % 3}", "name": f"{IN_THE_OPEN} {number}"}])
        school.seal_all()
    bound_history(district)
    parts = snapshot_of(district, 17)
    assert parts
    assert {wire[:4] for _, _, wire in district.wires(17)} >= {b"SNH1", b"SNS1"}
    read = read_by_the_hub(district, *parts)
    assert IN_THE_OPEN.encode() in read
    for canary in CANARIES:
        assert canary not in read
        assert canary not in b"".join(parts)
        assert canary not in files_of(district, 0)
    school.keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert NAME.encode() in read_by_the_hub(district, *parts)
    assert set(district.rows(0, "SELECT reason FROM leave")) == {(NAME,)}


def bound_history(district: District) -> None:
    """Let the school make a checkpoint, the hub countersign it, and bodies go at both."""
    at_once = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=0)
    for _ in range(3):
        district.settle()
        for origin in (17, 0):
            for _ in district.nodes[origin].history.steps(at_once):
                pass
    district.settle()


def snapshot_of(district: District, origin: int) -> list[bytes]:
    """Return what the hub holds of a school's snapshots."""
    hub = district.nodes[0]
    return [
        wire
        for log in hub.logs()
        if (log.name.origin, log.name.lane) == (origin, Lane.SNAPSHOT)
        for _, wire in segments_held(hub, log.id)
    ]


def test_no_planted_name_is_in_what_a_stream_carries(district: District) -> None:
    write_names(district)
    tap = minutes_of_taps(district, IN_THE_OPEN)
    assert len(district.rows(0, "SELECT * FROM leave")) == 1
    assert len(tap.heard) > 1000
    read = read_by_the_hub(district, *tap.messages)
    for canary in CANARIES:
        assert canary not in tap.heard
        assert canary not in read
    assert IN_THE_OPEN.encode() not in tap.heard
    assert IN_THE_OPEN.encode() in read


def test_a_name_in_a_wrong_column_is_found_by_decoding_a_stream_and_not_in_its_bytes(
    district: District,
) -> None:
    tap = minutes_of_taps(district, NAME)
    told_by_cells = [
        body
        for message in tap.messages
        for body in bodies_of(message.segments)
        if body not in tap.heard
    ]
    assert told_by_cells, "no body was coded, so nothing is shown of those that are"
    for form in CANARIES[:3]:
        assert form not in tap.heard
    assert NAME.encode() in read_by_the_hub(district, *tap.messages)
    last = [message for message in tap.messages if told_by_cells[-1] in bodies_of(message.segments)]
    assert NAME.encode() in read_by_the_hub(district, *last)


def minutes_of_taps(district: District, room: str) -> Wiretap:
    """Let pupils tap their cards while a connection stands; ``room`` goes in clear columns."""
    line = Line(district)
    tap = Wiretap(lambda _, name: {key_id(key): key for key in keys_of_the_hub(district)}.get(name))
    for minute in range(8):
        card: Row = {"at_ms": minute, "card": NAME, "device": "d", "room": f"{room} {minute}"}
        district.nodes[17].record("card_tap", [card])
        district.seal(17, 0)
        line.now_ms += 1000
        for direction in ("up", "down"):
            line.speak(direction)
            for data in line.lines[direction]:
                tap.hear(direction, data)
            line.pass_all_on(direction)
    return tap


def bodies_of(wires: Iterable[bytes]) -> list[bytes]:
    return [body for wire in wires for body in parse_segment(wire).bodies]


def test_a_backup_of_the_hub_opens_no_further_than_the_hub(
    district: District, tmp_path: Path
) -> None:
    plant(district)
    backup = tmp_path / "backup"
    backup.write_bytes(district.back_up(0))
    read = read_at_the_hub(district, backup)
    for canary in CANARIES:
        assert canary not in read
    assert IN_THE_OPEN.encode() in read
    # What the backup holds sealed, later keys open.
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    read = read_at_the_hub(district, backup)
    for canary in CANARIES:
        assert canary in read


def test_the_vaults_backup_opens_with_nothing_that_the_hub_holds(
    district: District, tmp_path: Path
) -> None:
    chance = Random(3)
    vault = PersonVault(tmp_path / "vault.db", chance.randbytes)
    person = vault.new_person()
    cell = vault.seal(person, "name", NAME)
    contents = vault.contents()
    vault.close()
    recovery = X25519PrivateKey.from_private_bytes(chance.randbytes(32))
    share = VaultShare(1, chance.randbytes(32))
    backup = seal_backup(17, contents, recovery.public_key(), share, 1, chance.randbytes)
    district.nodes[17].record("person", [{"person": person, "kind": "pupil", "name": cell}])
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert cell in read_at_the_hub(district)
    assert contents.keys[person] not in backup + files_of(district, 0) + files_of(district, 17)
    with pytest.raises(ForgedError):
        open_backup(backup, 17, district.keys[0].sealing, share)
    assert open_backup(backup, 17, recovery, share).keys == contents.keys


def test_no_name_and_no_key_reaches_a_log_line(
    district: District, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    plant(district)
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    with pytest.raises(KeyError) as refused:
        district.nodes[17].record("leave", [{"person": 5, "reason": NAME}])
    logging.getLogger("sync").info("a line that is there")
    told = caplog.text + str(refused.value)
    assert "a line that is there" in told
    assert NAME not in told
    assert not any(key.hex() in told for key in keys_of_the_hub(district))
