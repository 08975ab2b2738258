"""What an intake checks one by one: each of these lines, broken, is found here."""

import msgspec
import pytest

from sync.exchange.session import Session
from sync.folding.fold import fold_body
from sync.logs.log_state import log_id_of
from sync.logs.oplog import HLC_FIELD, SCHOOL_FIELD
from sync.schema import BY_NAME, TABLES
from sync.schema.model import Audience, Group, Kind, Owner, Table
from sync.segments.body import TableColumns
from sync.segments.columnar import Value, encode_column
from sync.segments.sealing import DataKey, KeyId, key_id, recipient_id, wrap
from sync.segments.segment import (
    FIRST_PREV,
    HUB,
    Header,
    LogName,
    TableHeader,
    frame_segment,
    parse_segment,
)
from sync.segments.signing import sign
from sync.tables.row_check import Row
from tests.sync.district import District, one_round
from tests.sync.turns import TurnSession

CONTEXT = b"schoolnode segment"


def taps(district: District, school: int, segments: int) -> list[bytes]:
    """Return so many segments of one attendance log."""
    node = district.nodes[school]
    for each in range(segments):
        node.record("card_tap", [{"at_ms": each, "device": "door"}])
        node.seal_all()
    return [wire for log, _, wire in district.wires(school) if log.endswith("/attendance")]


def give_grants(district: District, school: int) -> None:
    """Bring the hub what a school granted; without that it takes nothing sealed."""
    control = [wire for log, _, wire in district.wires(school) if log.endswith("/control")]
    assert not district.nodes[0].import_segments(control, school, lambda _: True).refused


def signed_again(district: District, wire: bytes, signer: int) -> bytes:
    """Return a segment that names its signer and carries somebody else's signature."""
    segment = parse_segment(wire)
    signature = sign(district.keys[signer].signing, CONTEXT, segment.header_bytes)
    return frame_segment(segment.header_bytes, signature, segment.bodies)


def stored(district: District, origin: int, of: int) -> int:
    return sum(log.stored for log in district.nodes[origin].logs() if log.name.origin == of)


def test_a_segment_that_its_named_signer_did_not_sign_is_refused(district: District) -> None:
    (wire,) = taps(district, 17, 1)
    give_grants(district, 17)
    hub = district.nodes[0]
    forged = signed_again(district, wire, 18)
    done = hub.import_segments([forged], 17, lambda _: True)
    assert done.stored == 0
    assert [(seq, "signature" in reason) for _, seq, reason in done.refused] == [(1, True)]
    assert district.rows(0, "SELECT * FROM card_tap") == []
    assert signed_again(district, wire, 17) == wire
    assert hub.import_segments([wire], 17, lambda _: True).stored == 1


def test_segments_that_come_too_early_wait_for_the_missing_one(district: District) -> None:
    first, second, third = taps(district, 17, 3)
    give_grants(district, 17)
    hub = district.nodes[0]
    done = hub.import_segments([third, second], 17, lambda _: True)
    assert (done.stored, done.refused) == (0, [])
    assert hub.import_segments([first, second, third], 17, lambda _: True).stored == 3
    assert district.rows(0, "SELECT * FROM log WHERE frozen IS NOT NULL") == []


def test_a_frozen_log_takes_nothing_more(district: District) -> None:
    backup = district.back_up(17)
    first, second, _ = taps(district, 17, 3)
    give_grants(district, 17)
    district.restore(17, backup, b"first")
    district.now += 5000
    (other, *_) = taps(district, 17, 1)
    assert parse_segment(other).header.log == parse_segment(first).header.log
    hub = district.nodes[0]
    hub.import_segments([first], 17, lambda _: True)
    assert hub.import_segments([other], 17, lambda _: True).refused
    done = hub.import_segments([second], 17, lambda _: True)
    assert done.stored == 0
    assert "frozen" in done.refused[0][2]
    assert district.rows(0, "SELECT stored FROM log WHERE origin = 17 AND lane = 2") == [(1,)]


def test_a_node_takes_nothing_of_its_own_present_incarnation_from_anybody(
    district: District,
) -> None:
    school = district.nodes[17]
    backup = district.back_up(17)
    ahead = taps(district, 17, 2)
    school = district.restore(17, backup, b"first")
    done = school.import_segments(ahead, 0, lambda _: True)
    assert (done.stored, done.refused) == (0, [])
    assert stored(district, 17, 17) == 0


def test_a_restored_node_reuses_no_salt(district: District) -> None:
    district.exchange(17)
    backup = district.back_up(17)
    salts = []
    for generation in (b"second", b"third"):
        wires = taps(district, 17, 3)
        salts += [body.salt for wire in wires for body in parse_segment(wire).header.bodies]
        district.restore(17, backup, generation)
    assert len(salts) == len(set(salts)) >= 6


def test_a_grant_for_one_scope_opens_nothing_of_another(district: District) -> None:
    school, hub = district.nodes[17], district.keys[0].sealing.public_key()
    key = DataKey(bytes(range(32)))
    purpose = "17/s17/health/1"
    school.record(
        "key_grant",
        [
            {
                "key_id": key_id(key),
                "purpose": purpose,
                "epoch": 1,
                "recipient": recipient_id(hub),
                "suite": 0x0020_0001_0003,
                "wrapped": wrap(key, hub, purpose.encode()),
            }
        ],
    )
    district.exchange(17)
    node = district.nodes[0]
    with node.transaction() as cursor:
        found = {
            group: node._keyring.key(cursor, (17, "s17", group), KeyId(key_id(key)))
            for group in (Group.IDENTITY, Group.DISTRICT, Group.HEALTH)
        }
    assert found == {Group.IDENTITY: None, Group.DISTRICT: None, Group.HEALTH: key}


def test_only_the_latest_refusals_of_a_peer_are_kept(district: District) -> None:
    wires = taps(district, 17, 210)
    hub = district.nodes[0]
    for start in range(0, len(wires), 30):
        district.now += 1000
        hub.import_segments(wires[start : start + 30], 17, lambda _: False)
    kept = district.rows(0, "SELECT seq FROM quarantine ORDER BY seq")
    assert len(kept) == 200
    assert (210,) in kept


def test_a_clone_leaves_the_incarnation_as_soon_as_the_hub_names_a_log_of_the_other(
    district: District,
) -> None:
    district.exchange(17)
    twin = district.back_up(17)
    before = district.nodes[17].incarnation
    alarm: Row = {"at_ms": 1, "device": "button", "alarm": "panic"}
    district.nodes[17].record("alarm", [{**alarm, "place": "here"}])
    district.exchange(17)
    district.restore(17, twin, b"first")
    assert district.nodes[17].incarnation == before
    edge, hub = TurnSession(district.nodes[17], 0), TurnSession(district.nodes[0], 17)
    one_round(edge, hub)
    assert district.nodes[17].incarnation != before
    district.nodes[17].record("alarm", [{**alarm, "place": "there"}])
    district.exchange(17)
    assert district.rows(0, "SELECT place FROM alarm ORDER BY 1") == [("here",), ("there",)]
    assert district.rows(0, "SELECT * FROM log WHERE frozen IS NOT NULL") == []


def test_a_school_takes_no_log_of_another_school_from_the_hub(district: District) -> None:
    hub, school = district.nodes[0], district.nodes[17]
    for number in (17, 18):
        hub.record("timetable_slot", [{"school": number, "slot": "1", "subject": "maths"}])
    hub.seal_all()
    message = Session(hub, 17).speak()
    assert message is not None
    meant = [wire for log, _, wire in district.wires(0) if "/s18/" in log]
    done = Session(school, 0).hear(msgspec.structs.replace(message, segments=meant))
    assert done.stored == 0
    assert len(done.refused) == len(meant) > 0
    assert district.rows(17, "SELECT * FROM log WHERE audience = 's18'") == []


def test_the_hubs_own_rows_of_a_lesson_go_to_its_parties_alone(district: District) -> None:
    district.lessons["L1"] = frozenset({17})
    row: Row = {"at_ms": 1, "clamped_log": "x", "clamped_seq": 1, "clamped_ms": 1}
    district.nodes[0].record("clock_clamp", [row], audience="lL1")
    district.settle()
    for school, count in ((17, 1), (18, 0)):
        found = district.rows(school, "SELECT count(*) FROM log WHERE audience = 'lL1' AND stored")
        assert found == [(count,)]


def header_of(log: LogName, table: Table, rows: int = 1) -> Header:
    return Header(
        log=log,
        seq=1,
        prev=FIRST_PREV,
        signer=bytes(8),
        first_row=1,
        last_row=rows,
        first_stamp=1,
        last_stamp=9,
        tables=[TableHeader(table.number, 1, rows)],
        bodies=[],
    )


def parked_reason(
    district: District, log: LogName, table: Table, columns: list[tuple[int, Value]]
) -> str:
    """Fold one row of a table as if it stood in ``log``; return why it was parked."""
    with district.nodes[0].transaction() as cursor:
        encoded = [(number, encode_column([value])) for number, value in columns]
        body = TableColumns(table.number, 1, 1, encode_column([1]), encoded)
        folded = fold_body(
            cursor, log_id_of(cursor, log), header_of(log, table), table.primary_group, [body]
        )
    assert folded.tables == set()
    (parked,) = folded.parked
    return parked.reason


def row_of_school_18(table: Table) -> list[tuple[int, Value]]:
    cells: dict[str, Value] = {"INTEGER": 1, "TEXT": "x", "BLOB": b"x", "REAL": 1.0}
    named = [
        (column.number, cells[column.type.value])
        for column in table.columns
        if column.name in table.key
    ]
    return [(SCHOOL_FIELD, 18), (HLC_FIELD, 5), *named]


OWNED = [table for table in TABLES if table.owner in {Owner.HUB, Owner.SCHOOL}]


@pytest.mark.parametrize("table", OWNED, ids=lambda table: table.name)
def test_no_node_writes_a_table_of_the_other_side(district: District, table: Table) -> None:
    stranger = 17 if table.owner is Owner.HUB else HUB
    audience = {Audience.DISTRICT: "d", Audience.SCHOOL: "s17", Audience.LESSON: "l1"}
    log = LogName(stranger, 5, audience[table.audience], table.lane)
    assert f"may not write {table.name}" in parked_reason(district, log, table, [])


STATES = [
    table
    for table in TABLES
    if table.kind is Kind.STATE
    and table.owner in {Owner.SCHOOL, Owner.BOTH}
    and table.audience is Audience.SCHOOL
]


@pytest.mark.parametrize("table", STATES, ids=lambda table: table.name)
def test_a_school_writes_no_row_of_another_school(district: District, table: Table) -> None:
    columns = row_of_school_18(table)
    log = LogName(17, 5, "s17", table.lane)
    assert "another school" in parked_reason(district, log, table, sorted(columns))


def test_the_hub_writes_a_schools_rows_only_where_that_school_reads_them(
    district: District,
) -> None:
    table = next(
        table
        for table in TABLES
        if table.kind is Kind.STATE
        and table.owner in {Owner.HUB, Owner.BOTH}
        and table.audience is Audience.SCHOOL
    )
    columns = row_of_school_18(table)
    log = LogName(HUB, 5, "s17", table.lane)
    assert "does not reach" in parked_reason(district, log, table, sorted(columns))


def test_of_a_table_that_cannot_be_applied_nothing_stays(district: District) -> None:
    table = BY_NAME["card_tap"]
    log = LogName(17, 5, "s17", table.lane)
    moments: list[Value] = [*range(1, 100), None]
    columns = [(1, encode_column(moments))]
    body = TableColumns(table.number, 1, 100, encode_column(list(range(1, 101))), columns)
    with district.nodes[0].transaction() as cursor:
        header = header_of(log, table, rows=100)
        folded = fold_body(cursor, log_id_of(cursor, log), header, Group.DISTRICT, [body])
    assert [(each.rows, each.retriable) for each in folded.parked] == [(100, False)]
    assert district.rows(0, "SELECT * FROM card_tap") == []


def test_what_waits_for_its_districts_key_is_stored_and_not_called_applied(
    district: District,
) -> None:
    own = district.keys.pop(0)
    wires = taps(district, 17, 2)
    give_grants(district, 17)  # to the school's own box alone
    district.keys[0] = own
    hub = district.nodes[0]
    assert hub.import_segments(wires, 17, lambda _: True).stored == 2
    cursors = "SELECT stored, applied FROM log WHERE origin = 17 AND lane = 2"
    assert district.rows(0, cursors) == [(2, 0)]
    assert district.rows(0, "SELECT * FROM card_tap") == []
    district.reopen(17).seal_all()
    give_grants(district, 17)
    assert district.rows(0, cursors) == [(2, 2)]
    assert district.rows(0, "SELECT count(*) FROM card_tap") == [(2,)]
