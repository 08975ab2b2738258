"""What was acknowledged opens again, whatever is lost then: grants come before what they open."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sync.clock_spans import ClockSpans, Trust
from sync.courier.trip import Inbound, Outbound
from sync.exchange.message import parse_message
from sync.keys.recipients import RecipientKind
from sync.logs.log_state import holding_of
from sync.node import Node
from sync.schema import BY_NAME
from sync.schema.model import Group, Lane
from sync.segments.sealing import recipient_id
from sync.segments.segment import Segment, parse_segment
from tests.sync.district import District
from tests.sync.turns import TurnSession

GRANT = BY_NAME["key_grant"].number
CARDS = "SELECT at_ms, card FROM card_tap ORDER BY at_ms"


@pytest.fixture
def district(tmp_path: Path) -> District:
    made = District(tmp_path, random.Random(23))
    for origin in (0, 17):
        made.add(origin)
    return made


def tap(node: Node, at_ms: int) -> None:
    node.record("card_tap", [{"at_ms": at_ms, "device": "door", "card": f"04:{at_ms}"}])


def audit(node: Node, rows: int) -> None:
    """Record so many rows of a control log, which hardly compress."""
    chance = random.Random(rows)
    node.record(
        "audit_entry",
        [{"at_ms": at, "who": "head", "subject": chance.randbytes(90).hex()} for at in range(rows)],
    )


def by_lane(district: District, lane: Lane, origin: int = 17) -> list[bytes]:
    wires = [wire for _, _, wire in district.wires(origin)]
    return [wire for wire in wires if parse_segment(wire).header.log.lane is lane]


def bring(district: District, wires: Sequence[bytes], origin: int = 17) -> int:
    done = district.nodes[0].import_segments(wires, origin, lambda _: True)
    assert not done.refused
    return done.stored


def keys_of(segment: Segment) -> set[bytes]:
    return {body.key_id for body in segment.header.bodies} - {bytes(8)}


def lose_the_disk(district: District, school: int) -> None:
    """Replace a box by one without a store, which keeps its keys."""
    empty = District(district.folder, random.Random(1))
    empty.keys = district.keys
    district.nodes[school].close()
    for path in district.folder.glob(f"{school}.db*"):
        path.unlink()
    district.add(school, b"second")


def test_a_segment_is_not_stored_before_a_grant_of_its_key(district: District) -> None:
    tap(district.nodes[17], 1)
    district.seal(17)
    assert bring(district, by_lane(district, Lane.ATTENDANCE)) == 0
    assert bring(district, by_lane(district, Lane.CONTROL)) > 0
    assert bring(district, by_lane(district, Lane.ATTENDANCE)) == 1


def test_in_one_message_the_order_does_not_matter(district: District) -> None:
    tap(district.nodes[17], 1)
    district.seal(17)
    wires = [*by_lane(district, Lane.ATTENDANCE), *by_lane(district, Lane.CONTROL)]
    assert bring(district, wires) == len(wires)
    assert district.rows(0, "SELECT at_ms FROM card_tap") == [(1,)]


@pytest.mark.parametrize("lanes", [(Lane.ATTENDANCE,), (Lane.CONTROL, Lane.ATTENDANCE)])
def test_cells_that_were_acknowledged_open_again_when_their_box_lost_its_disk(
    district: District, lanes: Sequence[Lane]
) -> None:
    """The box still has its keys; a recovery key would be granted what it grants itself."""
    school = district.nodes[17]
    tap(school, 1)
    district.seal(17)
    for lane in lanes:
        bring(district, by_lane(district, lane))
    acknowledged = "SELECT stored FROM log WHERE lane = 2 AND stored > 0"
    held = district.rows(0, acknowledged)
    assert held == ([(1,)] if Lane.CONTROL in lanes else [])
    lose_the_disk(district, 17)
    district.exchange(17)
    assert district.rows(17, CARDS) == ([(1, "04:1")] if held else [])


def test_a_grant_to_a_recovery_key_alone_lets_nothing_be_acknowledged(district: District) -> None:
    """The box's own grants may wait in a log that forked, and be lost with its disk."""
    backup = district.back_up(17)
    district.nodes[17].record("alarm", [{"at_ms": 1, "alarm": "fire"}])
    district.exchange(17)
    school = district.restore(17, backup, b"first")
    tap(school, 2)
    district.seal(17)
    taps = by_lane(district, Lane.ATTENDANCE)
    held = [holding_of(log) for log in district.nodes[0].logs()]
    school.peers.note_holdings(0, held, complete=True)
    public = X25519PrivateKey.from_private_bytes(district.chance.randbytes(32)).public_key()
    school.keys.confirm(RecipientKind.RECOVERY, public.public_bytes_raw(), "code", "head")
    district.seal(17)
    (card,) = {body.key_id for body in parse_segment(taps[0]).header.bodies if body.group == 2}
    control = by_lane(district, Lane.CONTROL)
    bring(district, control)
    assert district.rows(0, f"SELECT recipient FROM key_grant WHERE key_id = x'{card.hex()}'") == [  # noqa: S608 - a key's name
        (recipient_id(public),)
    ]
    assert bring(district, taps) == 0
    district.exchange(17)
    lose_the_disk(district, 17)
    district.exchange(17)
    assert district.rows(17, CARDS) == [(2, "04:2")]


@pytest.mark.parametrize("audience", ["d", "s17"])
def test_a_hub_that_is_restored_opens_what_a_school_acknowledged(
    district: District, audience: str
) -> None:
    """The hub's grant to a school does not open anything for the hub."""
    district.exchange(17)
    backup = district.back_up(0)
    hub, school = district.nodes[0], district.nodes[17]
    hub.record("scoring_table", [{"station": "run", "grade": 3, "sex": "f", "bounds": "1 2"}])
    hub.record("timetable_slot", [{"school": 17, "slot": "1", "subject": "art"}])
    district.seal(0)
    control = by_lane(district, Lane.CONTROL, 0)
    wires = [wire for wire in control if parse_segment(wire).header.log.audience == audience]
    wires += by_lane(district, Lane.BULK, 0) + by_lane(district, Lane.LESSONS, 0)
    for wire in wires:
        school.import_segments([wire], 0, lambda _: True)
    taken = {log.name for log in school.logs() if log.name.origin == 0 and log.stored}
    assert len({name.lane for name in taken}) == 2
    district.restore(0, backup, b"second")
    district.exchange(17)
    returned = [log for log in district.nodes[0].logs() if log.name in taken]
    assert len(returned) == len(taken)
    assert all(log.applied == log.stored for log in returned)


def first_message(node: Node, bytes_max: int) -> list[Segment]:
    message = parse_message(TurnSession(node, 0).request(bytes_max))
    return [parse_segment(wire) for wire in message.segments]


def test_grants_go_ahead_of_an_alarm_under_a_new_key_whatever_else_waits(
    district: District,
) -> None:
    school = district.nodes[17]
    audit(school, 400)
    school.record("alarm", [{"at_ms": 1, "alarm": "fire"}])
    district.seal(17)
    sent = first_message(school, 12_000)
    lanes = [segment.header.log.lane for segment in sent]
    assert Lane.ALARM in lanes
    assert bring(district, [segment.wire for segment in sent]) == len(sent)
    assert district.rows(0, "SELECT alarm FROM alarm") == [("fire",)]


def test_an_alarm_under_a_standing_key_does_not_wait_for_a_control_log(
    district: District,
) -> None:
    school = district.nodes[17]
    school.record("alarm", [{"at_ms": 1, "alarm": "drill"}])
    district.exchange(17)
    audit(school, 400)
    school.record("alarm", [{"at_ms": 2, "alarm": "fire"}])
    district.seal(17)
    edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
    answer, _, _ = hub.answer(edge.request(0))
    edge.receive_answer(answer)
    message = parse_message(edge.request(1_000))
    first = parse_segment(message.segments[0])
    assert first.header.log.lane is Lane.ALARM


def test_all_who_were_entitled_when_a_key_was_made_are_granted_it_first(
    district: District,
) -> None:
    """Also where their grants do not fit one segment: the recovery key is among them."""
    school = district.nodes[17]
    keys = [X25519PrivateKey.from_private_bytes(district.chance.randbytes(32)) for _ in range(230)]
    for number, key in enumerate(keys):
        public = key.public_key().public_bytes_raw()
        school.keys.confirm(RecipientKind.RECOVERY, public, f"code {number}", "head")
    school.record("alarm", [{"at_ms": 1, "alarm": "fire"}])
    district.seal(17)
    granted = [wire for wire in by_lane(district, Lane.CONTROL) if holds_grants(wire)]
    assert len(granted) > 1
    edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
    came: list[Segment] = []
    while not any(each.header.log.lane is Lane.ALARM for each in came):
        message = parse_message(request := edge.request(4_000))
        came += [parse_segment(wire) for wire in message.segments]
        answer, _, _ = hub.answer(request)
        edge.receive_answer(answer)
    (alarm,) = keys_of(next(each for each in came if each.header.log.lane is Lane.ALARM))
    written = district.rows(0, "SELECT key_id, recipient FROM key_grant")
    readers = {reader for key, reader in written if key == alarm}
    assert len(readers) == len(keys) + 2  # the box itself, and the hub


def holds_grants(wire: bytes) -> bool:
    return any(each.table == GRANT for each in parse_segment(wire).header.tables)


@pytest.mark.parametrize("rows", [1, 400])
def test_in_a_control_log_grants_stand_ahead_of_what_their_keys_seal(
    district: District, rows: int
) -> None:
    school = district.nodes[17]
    for turn in range(2):
        audit(school, rows)
        district.seal(17)
        school.keys.rotate(f"head {turn}")  # which is a row of the audit itself
    district.seal(17)
    wires = by_lane(district, Lane.CONTROL)
    for count in range(1, len(wires) + 1):
        fresh = District(district.folder / f"{count}", random.Random(count))
        fresh.folder.mkdir()
        fresh.keys = district.keys
        hub = fresh.add(0)
        assert hub.import_segments(wires[:count], 17, lambda _: True).stored == count
        assert fresh.rows(0, "SELECT * FROM log WHERE applied < stored") == []
        hub.close()
    assert bring(district, wires) == len(wires)
    assert district.rows(0, "SELECT count(*) FROM audit_entry") == [(2 * rows + 2,)]


def test_segments_of_grants_hold_nothing_else_where_they_went_ahead(district: District) -> None:
    """So no checkpoint takes their bodies."""
    district.nodes[17].record("room", [{"room": "r1", "name": "lab"}])
    district.seal(17)
    headers = [parse_segment(wire).header for wire in by_lane(district, Lane.CONTROL)]
    assert [[each.table for each in header.tables] for header in headers] == [
        [GRANT],
        [BY_NAME["room"].number],
    ]


def test_rows_that_let_grants_go_ahead_keep_the_clock_they_were_written_by(
    district: District,
) -> None:
    """A box began in 1970; its clock was set before anything was sealed."""
    school = district.nodes[17]
    true_ms, district.skew[17] = district.now, -district.now + 5_000
    spans = ClockSpans(school, "boot")
    spans.begin(1_000, 5_000, Trust.UNKNOWN, 5_000)
    school.record("audit_entry", [{"at_ms": 5_100, "who": "early"}])
    district.skew[17] = 0
    spans.begin(2_000, true_ms + 1_000, Trust.SET, 6_000)
    school.record("audit_entry", [{"at_ms": true_ms + 1_500, "who": "late"}])
    spans.correct(true_ms - 1_000, "hub", district.now, true_ms + 2_000)
    district.exchange(17)
    moments = [(true_ms + 100, "early"), (true_ms + 1_500, "late")]
    for origin in (0, 17):
        read = "SELECT at_ms, who FROM audit_entry ORDER BY at_ms"
        assert district.rows(origin, read) == moments


def test_a_stick_brings_grants_first(district: District) -> None:
    school = district.nodes[17]
    for at_ms in range(40):
        school.record("alarm", [{"at_ms": at_ms, "alarm": "fire"}])
        school.seal_all()
    trip = Outbound(school, 0, "county", 2**20, district.chance.randbytes)
    _, content = trip.part(1)
    inbound = Inbound(district.nodes[0], "county")
    part = inbound.open(content)
    for wire in part.segments:
        assert inbound.take(part, [wire]).stored == 1
    assert district.rows(0, "SELECT count(*) FROM alarm") == [(40,)]


def test_the_hub_still_reads_nothing_that_was_not_released(district: District) -> None:
    tap(district.nodes[17], 1)
    district.exchange(17)
    assert district.rows(0, CARDS) == [(1, None)]
    district.nodes[17].keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert district.rows(0, CARDS) == [(1, "04:1")]


def test_where_grants_come_with_a_snapshot_nothing_waits_for_them(district: District) -> None:
    """Parts may be sealed under keys that are granted in parts."""
    school = district.nodes[17]
    school.record("room", [{"room": "r1", "name": "lab"}])
    tap(school, 1)
    district.seal(17)
    (control,) = map(parse_segment, by_lane(district, Lane.CONTROL))
    assert {each.table for each in control.header.tables} == {GRANT, BY_NAME["room"].number}
    taps = by_lane(district, Lane.ATTENDANCE)
    assert bring(district, taps) == 0
    assert bring(district, [*taps, control.hollow()]) == 2
