"""A school with valid keys that sends what it likes harms only itself."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import Reason
from sync.intake.admission import LOGS_OF_ONE_ORIGIN_MAX
from sync.intake.intake import REFUSALS_MAX, Imported
from sync.logs.oplog import DELETED_FIELD, HLC_FIELD, PRESENT_FIELD, SCHOOL_FIELD
from sync.schema import BY_NAME
from sync.schema.model import Group, Lane
from sync.segments.body import TableColumns, pack_tables
from sync.segments.columnar import Value, encode_column
from sync.segments.sealing import (
    SUITE_X25519_SHA256_CHACHA20,
    UNSEALED,
    DataKey,
    key_id,
    recipient_id,
    wrap,
)
from sync.segments.segment import (
    FIRST_PREV,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
    parse_segment,
)
from sync.segments.signing import signer_id
from tests.sync.district import District

KEY = DataKey(bytes(range(32)))
INCARNATION = 99
STAMP = 1_790_000_000_000 << 16
ATTENDANCE_LOG = LogName(18, INCARNATION, "s18", Lane.ATTENDANCE)
CONTROL = LogName(18, INCARNATION, "s18", Lane.CONTROL)
LESSONS = LogName(18, INCARNATION, "s18", Lane.LESSONS)
PURPOSE = "18/s18/district/1"


@dataclass
class Mallory:
    """School 18, which seals and signs whatever it is told."""

    district: District

    def segment(
        self,
        bodies: Sequence[PlainBody],
        log: LogName = ATTENDANCE_LOG,
        tables: Sequence[tuple[int, int]] = ((20, 2),),
        seq: int = 1,
        prev: bytes = FIRST_PREV,
        rows: tuple[int, int] = (1, 9),
        last_stamp: int = STAMP,
    ) -> bytes:
        place = Place(
            log=log,
            seq=seq,
            prev=prev,
            first_row=rows[0],
            last_row=rows[1],
            first_stamp=1,
            last_stamp=last_stamp,
        )
        signing = self.district.keys[18].signing
        headers = [TableHeader(number, 1, count) for number, count in tables]
        signer = (signer_id(signing.public_key()), signing)
        return build_segment(place, headers, list(bodies), bytes(16), signer)

    @cached_property
    def grant(self) -> bytes:
        """The segment by which KEY stays with its maker and comes to the hub."""
        return self.grant_in(CONTROL)

    def grant_in(self, log: LogName) -> bytes:
        readers = [self.district.keys[origin].sealing.public_key() for origin in (18, 0)]
        columns: dict[int, Sequence[Value]] = {
            1: [key_id(KEY)] * 2,
            2: [PURPOSE] * 2,
            3: [1] * 2,
            4: [recipient_id(each) for each in readers],
            5: [SUITE_X25519_SHA256_CHACHA20] * 2,
            6: [wrap(KEY, each, PURPOSE.encode()) for each in readers],
        }
        table = TableColumns(
            72,
            1,
            2,
            encode_column([1, 2]),
            [(number, encode_column(values)) for number, values in columns.items()],
        )
        return self.segment([grants([table])], log=log, tables=[(72, 2)])

    def send(self, *wires: bytes) -> Imported:
        hub = self.district.nodes[0]
        return hub.import_segments([self.grant, *wires], 18, lambda name: name.origin == 18)

    def parked(self) -> list[str]:
        return [str(reason) for (reason,) in self.district.rows(0, "SELECT reason FROM parked")]


def sealed(content: bytes, group: Group = Group.DISTRICT) -> PlainBody:
    return PlainBody(group=group, key=KEY, key_id=key_id(KEY), content=content)


def grants(tables: list[TableColumns]) -> PlainBody:
    content = pack_tables(tables)
    return PlainBody(group=Group.GRANT, key=None, key_id=UNSEALED, content=content)


def taps(columns: dict[int, Sequence[Value]], numbers: Sequence[Value] = (1, 2)) -> TableColumns:
    encoded = [(number, encode_column(values)) for number, values in sorted(columns.items())]
    return TableColumns(20, 1, len(numbers), encode_column(numbers), encoded)


@pytest.fixture
def mallory(district: District) -> Mallory:
    return Mallory(district)


def test_honest_rows_of_its_own_are_taken(mallory: Mallory) -> None:
    wire = mallory.segment([sealed(pack_tables([taps({1: [5, 6], 3: [7, None]})]))])
    assert mallory.send(wire).rows == 4  # two grants, two taps
    assert mallory.district.rows(0, "SELECT school, at_ms, person FROM card_tap") == [
        (18, 5, 7),
        (18, 6, None),
    ]


HOSTILE_BODIES = {
    "no msgpack": b"\xc1",
    "broken text": b"\x91\x95\x14\x01\x02\x93\x00\xc0\x01\x91\x92\x01\x93\x00\xc0\xa1\xff",
    "nested beyond reason": b"\x91" * 5000,
    "nothing": pack_tables([]),
    "text where a moment belongs": pack_tables([taps({1: ["noon", "one"]})]),
    "bytes where text belongs": pack_tables([taps({2: [b"\xff", b""]})]),
    "a fraction where a moment belongs": pack_tables([taps({1: [0.5, 1.5]})]),
    "infinity where a moment belongs": pack_tables([taps({1: [float("inf"), 1.0]})]),
    "NaN": msgspec.msgpack.encode([[20, 1, 2, [0, None, 1], [[1, [0, None, float("nan")]]]]]),
    "an integer of 65 bits": msgspec.msgpack.encode(
        [[20, 1, 2, [1, None, 1, 1, 0, b""], [[1, [0, None, 2**64 - 1]]]]]
    ),
    "integers that add up beyond 64 bits": msgspec.msgpack.encode(
        [[20, 1, 2, [1, None, 1, 1, 0, b""], [[1, [1, None, 2**63 - 1, 5, 0, b""]]]]]
    ),
    "row numbers outside": pack_tables([taps({1: [5, 6]}, numbers=[1, 13])]),
    "negative row numbers": pack_tables([taps({1: [5, 6]}, numbers=[-1, 1])]),
    "one row twice": pack_tables([taps({1: [5, 6]}, numbers=[3, 3])]),
    "rows that go back": pack_tables([taps({1: [5, 6]}, numbers=[4, 3])]),
    "row numbers that are text": pack_tables([taps({1: [5, 6]}, numbers=["1", "2"])]),
    "row numbers that are missing": pack_tables([taps({1: [5, 6]}, numbers=[None, 2])]),
    "more rows than stated": pack_tables([taps({1: [5, 6, 7]}, numbers=[1, 2, 3])]),
    "a column of another group": pack_tables([taps({5: ["card", "card"]})]),
    "another lane's table": pack_tables([TableColumns(13, 1, 2, encode_column([1, 2]), [])]),
    "another audience's table": pack_tables([TableColumns(37, 1, 2, encode_column([1, 2]), [])]),
    "the hub's table": pack_tables([TableColumns(24, 1, 2, encode_column([1, 2]), [])]),
    "grants among sealed rows": pack_tables([TableColumns(72, 1, 2, encode_column([1, 2]), [])]),
    "a table beyond 63 bits": pack_tables(
        [TableColumns(2**64 - 1, 1, 2, encode_column([1, 2]), [])]
    ),
    "a table of the future": pack_tables([TableColumns(900, 1, 2, encode_column([1, 2]), [])]),
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys())
def test_a_body_that_cannot_be_applied_is_parked_with_a_reason(
    mallory: Mallory, body: bytes
) -> None:
    tables = [(13, 2), (20, 2), (24, 2), (37, 2), (72, 2), (900, 2)]
    done = mallory.send(mallory.segment([sealed(body)], tables=tables, rows=(1, 12)))
    assert mallory.parked()
    assert done.rows == 2  # the grants
    assert mallory.district.rows(0, "SELECT stored = applied FROM log") == [(1,), (1,)]


ATTENDANCE = BY_NAME["attendance_entry"].number


def entries(fields: dict[int, Sequence[Value]]) -> TableColumns:
    honest: dict[int, Sequence[Value]] = {
        SCHOOL_FIELD: [18, 18],
        HLC_FIELD: [5, 6],
        DELETED_FIELD: [0, 0],
        1: ["2026-11-21", "2026-11-21"],
        2: ["1", "1"],
        3: [1, 2],
        4: ["late", "present"],
    }
    merged = sorted({**honest, **fields}.items())
    columns = [(number, encode_column(values)) for number, values in merged]
    return TableColumns(ATTENDANCE, 1, 2, encode_column([1, 2]), columns)


@pytest.mark.parametrize(
    "fields",
    [
        {SCHOOL_FIELD: [17, 17]},
        {SCHOOL_FIELD: [18, 17]},
        {SCHOOL_FIELD: [None, None]},
        {SCHOOL_FIELD: ["18", "18"]},
        {SCHOOL_FIELD: [2**40, 2**40]},
        {HLC_FIELD: [0, 1]},
        {HLC_FIELD: [-5, 1]},
        {HLC_FIELD: [5, STAMP + 1]},
        {HLC_FIELD: [None, None]},
        {HLC_FIELD: [b"1", b"2"]},
        {1: [None, None]},
        {3: ["one", "two"]},
        {PRESENT_FIELD: [1, 1], 3: [None, None]},
    ],
)
def test_a_state_that_claims_too_much_is_parked(
    mallory: Mallory, fields: dict[int, Sequence[Value]]
) -> None:
    wire = mallory.segment([sealed(pack_tables([entries(fields)]))], tables=[(ATTENDANCE, 2)])
    mallory.send(wire)
    assert len(mallory.parked()) == 1
    assert mallory.district.rows(0, "SELECT count(*) FROM attendance_entry") == [(0,)]


@pytest.mark.parametrize("present", [[-1, -1], [2**62, 2**62], [None, 5], ["all", "all"]])
def test_a_write_with_any_set_of_columns_is_merged_or_parked(
    mallory: Mallory, present: list[Value]
) -> None:
    slot: dict[int, Sequence[Value]] = {
        SCHOOL_FIELD: [18, 18],
        HLC_FIELD: [5, 6],
        PRESENT_FIELD: present,
        DELETED_FIELD: [0, 0],
        1: ["1", "2"],
        4: ["maths", "music"],
        6: [b"noon", b"one"],
    }
    columns = [(number, encode_column(values)) for number, values in sorted(slot.items())]
    table = TableColumns(30, 1, 2, encode_column([1, 2]), columns)
    wire = mallory.segment([sealed(pack_tables([table]))], log=LESSONS, tables=[(30, 2)])
    mallory.send(wire)
    stored = mallory.district.rows(0, "SELECT count(*) FROM timetable_slot")
    # What names columns that are not known yet is applied as far as it is, and kept for an upgrade.
    kept = f"{Reason.COLUMNS_UNKNOWN}: "
    refused = [reason for reason in mallory.parked() if not reason.startswith(kept)]
    assert stored == [(0 if refused else 2,)]


def test_cells_that_expand_without_end_are_parked(mallory: Mallory) -> None:
    numbers = list(range(1, 1001))
    long = taps({2: ["x" * 100_000] * 1000}, numbers=numbers)
    wire = mallory.segment([sealed(pack_tables([long]))], tables=[(20, 1000)], rows=(1, 1000))
    assert len(wire) < 2000
    mallory.send(wire)
    (reason,) = mallory.parked()
    assert "expand" in reason


def test_a_thousand_tables_of_nothing_cost_one_refusal(mallory: Mallory) -> None:
    tables = [TableColumns(number, 1, 4096, [0, None, 1], []) for number in range(1, 2000)]
    mallory.send(mallory.segment([sealed(pack_tables(tables))]))
    (reason,) = mallory.parked()
    assert "rows" in reason


def test_columns_of_the_future_are_parked_and_the_known_ones_applied(mallory: Mallory) -> None:
    wire = mallory.segment(
        [sealed(pack_tables([taps({SCHOOL_FIELD: [17, 17], 1: [5, 6], 40: ["a", "b"]})]))]
    )
    assert mallory.send(wire).rows == 4  # two grants, two taps
    (reason,) = mallory.parked()
    assert f"[{SCHOOL_FIELD}, 40]" in reason
    assert mallory.district.rows(0, "SELECT at_ms FROM card_tap") == [(5,), (6,)]


def test_rows_that_are_numbered_again_freeze_that_log_only(mallory: Mallory) -> None:
    body = sealed(pack_tables([taps({1: [5, 6]})]))
    first = mallory.segment([body])
    again = mallory.segment([body], seq=2, prev=parse_segment(first).header_digest)
    done = mallory.send(first, again)
    assert done.stored == 2
    (refusal,) = done.refused
    assert "numbers rows again" in refusal[2]
    frozen = mallory.district.rows(0, "SELECT lane FROM log WHERE frozen IS NOT NULL")
    assert frozen == [(Lane.ATTENDANCE,)]


def test_a_segment_that_follows_another_than_ours_freezes_that_log_only(
    mallory: Mallory,
) -> None:
    body = sealed(pack_tables([taps({1: [5, 6]})]))
    other = mallory.segment([body], seq=2, prev=bytes(range(32)), rows=(10, 19))
    done = mallory.send(mallory.segment([body]), other)
    assert "does not follow" in done.refused[0][2]


def forged_grants(mallory: Mallory, school: int, log: LogName = CONTROL) -> bytes:
    """Grants of a school's keys to the hub that hold noise, more than anyone tries."""
    district = mallory.district
    hub = district.keys[0].sealing.public_key()
    theirs = district.rows(school, "SELECT DISTINCT key_id, purpose FROM key_grant") * 20
    columns: list[tuple[int, list[Value]]] = [
        (1, [name for name, _ in theirs if isinstance(name, bytes)]),
        (2, [str(purpose) for _, purpose in theirs]),
        (4, [recipient_id(hub)] * len(theirs)),
        (5, [SUITE_X25519_SHA256_CHACHA20] * len(theirs)),
        (6, [b"noise"] * len(theirs)),
    ]
    rows = [*range(1, len(theirs) + 1)]
    table = TableColumns(
        72, 1, len(theirs), encode_column(rows), [(n, encode_column(v)) for n, v in columns]
    )
    counts = [(72, len(theirs))]
    return mallory.segment([grants([table])], log=log, tables=counts, rows=(1, len(theirs)))


def test_grants_of_another_schools_keys_hide_nothing_from_the_hub(mallory: Mallory) -> None:
    district = mallory.district
    school = district.add(19)
    school.record("card_tap", [{"at_ms": 1, "device": "d", "card": "04:A1"}])
    school.seal_all()
    forged = forged_grants(mallory, 19)
    assert district.nodes[0].import_segments([forged], 18, lambda _: True).rows >= 40
    district.exchange(19)
    school.keys.release(Group.IDENTITY, "head")
    district.exchange(19)
    assert district.rows(0, "SELECT at_ms, card FROM card_tap") == [(1, "04:A1")]


def test_grants_of_another_schools_keys_keep_it_from_granting_nothing(mallory: Mallory) -> None:
    district = mallory.district
    district.lessons["L1"] = frozenset({17, 18})
    school = district.nodes[17]
    school.record("card_tap", [{"at_ms": 1, "device": "d", "card": "04:A1"}])
    school.seal_all()
    forged = forged_grants(mallory, 17, LogName(18, INCARNATION, "lL1", Lane.CONTROL))
    assert school.import_segments([forged], 0, lambda _: True).rows >= 40
    district.reopen(17).keys.release(Group.IDENTITY, "head")
    district.exchange(17)
    assert district.rows(0, "SELECT at_ms, card FROM card_tap") == [(1, "04:A1")]


LESSON_LOG = LogName(18, INCARNATION, "lL1", Lane.LESSONS)


@pytest.mark.parametrize(
    ("log", "table", "reason"),
    [
        (LESSONS, 37, "does not travel in"),
        (LogName(18, INCARNATION, "lL1", Lane.ATTENDANCE), 20, "does not travel in"),
        (LogName(18, INCARNATION, "d", Lane.ATTENDANCE), 20, "does not travel in"),
        (CONTROL, 72, "nothing in the group district"),
        (CONTROL, 74, "which the header does not state"),
        (CONTROL, 24, "which is the hub's"),
        (LESSON_LOG, 37, "for another lesson"),
    ],
)
def test_a_table_that_does_not_belong_where_it_stands_is_parked(
    mallory: Mallory, log: LogName, table: int, reason: str
) -> None:
    columns = [(1, encode_column([1, 2])), (2, encode_column(["L2", "L2"]))]
    body = pack_tables([TableColumns(table, 1, 2, encode_column([1, 2]), columns)])
    # Whoever reads a lesson's or the district's log has a key for it; here the hub is given it.
    scope = (18, log.audience, Group.DISTRICT)
    mallory.district.nodes[0]._keyring._opened[scope, key_id(KEY)] = KEY
    stated = [(table, 2 if table != 74 else 1)]
    wires = [mallory.segment([sealed(body)], log=log, tables=stated)]
    if log.lane is not Lane.CONTROL:
        wires.append(mallory.grant_in(LogName(18, INCARNATION, log.audience, Lane.CONTROL)))
    mallory.district.nodes[0].import_segments(wires, 18, lambda _: True)
    (parked,) = mallory.parked()
    assert reason in parked


def test_rows_in_the_clear_are_parked_unless_they_are_grants(mallory: Mallory) -> None:
    body = grants([TableColumns(2, 1, 1, encode_column([1]), [(1, encode_column(["r1"]))])])
    wire = mallory.segment([body], log=CONTROL, tables=[(2, 1)])
    mallory.district.nodes[0].import_segments([wire], 18, lambda _: True)
    (parked,) = mallory.parked()
    assert "nothing in the group grant" in parked


def test_grants_of_any_shape_are_passed_over(mallory: Mallory) -> None:
    both = [recipient_id(mallory.district.keys[each].sealing.public_key()) for each in (18, 0)]
    shapes: list[list[tuple[int, Sequence[Value]]]] = [
        [(1, [key_id(KEY)] * 2), (4, both)],
        [(1, [key_id(KEY)] * 2), (2, ["18/s18"] * 2), (4, both), (6, [b""] * 2)],
        [(1, [key_id(KEY)] * 2), (2, [PURPOSE] * 2), (4, both), (6, [b"x" * 80] * 2)],
        [(1, [b""] * 2), (4, [b""] * 2), (5, [-1] * 2)],
    ]
    prev, wires = FIRST_PREV, []
    for seq, columns in enumerate(shapes, start=1):
        numbers = [2 * seq, 2 * seq + 1]
        table = TableColumns(
            72, 1, 2, encode_column(numbers), [(n, encode_column(v)) for n, v in columns]
        )
        wire = mallory.segment(
            [grants([table])],
            log=CONTROL,
            tables=[(72, 2)],
            seq=seq,
            prev=prev,
            rows=(numbers[0], numbers[1]),
        )
        prev = parse_segment(wire).header_digest
        wires.append(wire)
    body = sealed(pack_tables([taps({1: [5, 6]})]))
    hub_node = mallory.district.nodes[0]
    done = hub_node.import_segments([*wires, mallory.segment([body])], 18, lambda _: True)
    assert done.stored == 5
    assert not done.refused
    waiting = mallory.district.rows(0, "SELECT lane, applied FROM log WHERE stored > applied")
    assert waiting == [(Lane.ATTENDANCE, 0)]


def test_a_flood_of_refusals_is_cut_short(mallory: Mallory) -> None:
    done = mallory.send(*[b"SNS1 nonsense"] * 500)
    assert len(done.refused) == REFUSALS_MAX
    assert mallory.district.rows(0, "SELECT count(*), max(times) FROM quarantine") == [
        (1, REFUSALS_MAX)
    ]


def test_a_flood_of_logs_meets_a_limit(mallory: Mallory) -> None:
    connection = mallory.district.nodes[0]._connection
    connection.executemany(
        "INSERT INTO log (origin, incarnation, audience, lane) VALUES (18, ?, 's18', 2)",
        [(number,) for number in range(1, LOGS_OF_ONE_ORIGIN_MAX + 1)],
    )
    body = sealed(pack_tables([taps({1: [5, 6]})]))
    hub = mallory.district.nodes[0]
    wire = mallory.segment([body], log=LogName(18, INCARNATION, "lL9", Lane.ATTENDANCE))
    done = hub.import_segments([wire], 18, lambda _: True)
    assert "further ones are refused" in done.refused[0][2]


def test_its_stamps_from_the_future_move_nobodys_clock(mallory: Mallory) -> None:
    body = sealed(pack_tables([taps({1: [5, 6]})]))
    mallory.send(mallory.segment([body], last_stamp=2**63 - 1))
    hub = mallory.district.reopen(0)
    assert hub.clock.tick() < (mallory.district.now + 1000) << 16


JUNK: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=9),
)
ENCODED = st.one_of(
    st.tuples(st.just(0), st.none(), JUNK).map(list),
    st.tuples(st.just(6), st.none(), st.lists(JUNK, min_size=2, max_size=2)).map(list),
    st.tuples(st.sampled_from([1, 2]), st.none(), JUNK, JUNK, JUNK, JUNK).map(list),
    st.tuples(
        st.just(1), st.none(), st.integers(-5, 5), st.integers(-2, 2), st.just(0), st.just(b"")
    ).map(list),
)
NUMBERS = st.one_of(st.just([1, None, 1, 1, 0, b""]), ENCODED)
NUMBERED = (4, 20, 21, 22, 23, 30, 51, 60, 70, 72, 77, 900)
TABLES = st.tuples(
    st.sampled_from(NUMBERED),
    st.integers(0, 3),
    st.sampled_from([0, 1, 2, 2, 2]),
    NUMBERS,
    st.dictionaries(st.integers(-5, 9), ENCODED, max_size=12).map(
        lambda columns: [[number, columns[number]] for number in sorted(columns)]
    ),
).map(list)


_incarnations = itertools.count(1000)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    tables=st.lists(TABLES, min_size=1, max_size=3),
    lane=st.sampled_from(Lane),
    group=st.sampled_from(Group),
)
def test_no_signed_nonsense_stops_the_hub(
    mallory: Mallory, tables: list[list[object]], lane: Lane, group: Group
) -> None:
    district = mallory.district
    content = msgspec.msgpack.encode(sorted(tables, key=str))
    body = sealed(content, group)
    if group is Group.GRANT:
        body = PlainBody(group=group, key=None, key_id=UNSEALED, content=content)
    wire = mallory.segment(
        [body],
        log=LogName(18, next(_incarnations), "s18", lane),
        tables=[(number, 2) for number in NUMBERED],
        rows=(1, 40),
    )
    done = district.nodes[0].import_segments([mallory.grant, wire], 18, lambda _: True)
    assert not done.refused
    assert done.stored >= 1
    district.nodes[17].record("card_tap", [{"at_ms": 1, "device": "d"}])
    district.exchange(17)
    taps = district.rows(0, "SELECT count(*) FROM card_tap WHERE school = 17")
    assert taps == district.rows(17, "SELECT count(*) FROM card_tap")
