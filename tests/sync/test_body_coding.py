"""Short bodies told by their cells: every byte comes back, none is trusted, and what it costs."""

import contextlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import MalformedError, SyncError
from sync.exchange.body_coding import CELLS_MAX, LogMemory, Rows, make_content, maker, read_content
from sync.exchange.message import Message
from sync.exchange.message_packing import MessagePacking
from sync.exchange.range_coding import BYTES_MAX, Bits, Integers, Reader, Writer
from sync.exchange.segment_packing import SegmentPacker, SegmentUnpacker
from sync.logs.oplog import Row
from sync.segments.columnar import Value
from sync.segments.sealing import KeyId
from sync.segments.segment import TableHeader, parse_segment
from sync.segments.varints import ByteReader
from tests.sync.district import District

SALT_AND_SIGNATURE = 16 + 64
INTEGERS = st.integers(-(2**64), 2**64) | st.integers(-300, 300)
VALUES: tuple[st.SearchStrategy[Value], ...] = (
    st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 21.5, 21.25, -3.125, 1e300]),
    st.text("ae°中🚌", max_size=9) | st.sampled_from(["card:gate-east", "card:gate-west", "°C"]),
    st.binary(max_size=9),
)


def one_of_type(kind: int) -> st.SearchStrategy[Value]:
    return st.none() | VALUES[kind]


@st.composite
def tables(draw: st.DrawFn) -> list[Rows]:
    made = []
    for table in sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=2))):
        rows = draw(st.integers(1, 6))
        numbers = sorted(draw(st.sets(st.integers(1, 2**40), min_size=rows, max_size=rows)))
        columns: dict[int, list[Value]] = {
            number: draw(st.lists(one_of_type(number % 4), min_size=rows, max_size=rows))
            for number in sorted(draw(st.sets(st.integers(-4, 7), max_size=5)))
        }
        made.append(Rows(table, draw(st.integers(1, 9)), numbers, columns))
    return made


def headers_of(body: Sequence[Rows]) -> list[TableHeader]:
    return [TableHeader(rows.table, rows.version, len(rows.numbers)) for rows in body]


class TestCoding:
    @given(st.lists(INTEGERS, max_size=40), st.lists(st.integers(0, 2**16 - 1), max_size=9))
    def test_what_was_written_is_read(self, integers: list[int], even: list[int]) -> None:
        model, writer = Integers(), Writer()
        for value in integers:
            writer.integer(model, value)
        for value in even:
            writer.even(value, 16)
        model, reader = Integers(), Reader(writer.finish())
        assert [reader.integer(model, 0) for _ in integers] == integers
        assert [reader.even(0, 16) for _ in even] == even
        reader.finish()

    def test_what_is_certain_costs_next_to_nothing(self) -> None:
        model, writer = Bits(1), Writer()
        for _ in range(1000):
            writer.bit(model, 0, 1)
        assert len(writer.finish()) <= 3

    @given(st.binary(max_size=60))
    def test_any_bytes_are_read_as_something_or_called_malformed(self, data: bytes) -> None:
        model, reader = Integers(), Reader(data)
        with contextlib.suppress(MalformedError):
            for _ in range(30):
                assert abs(reader.integer(model, 0)) < 2**66
                assert 0 <= reader.even(0, 16) < 2**16

    def test_more_bytes_than_a_short_body_takes_are_refused(self) -> None:
        with pytest.raises(MalformedError, match="coded bytes"):
            Reader(bytes(BYTES_MAX + 1))

    def test_bytes_that_tell_nothing_are_refused(self) -> None:
        writer = Writer()
        writer.even(7, 16)
        reader = Reader(writer.finish() + b"\x01" * 9)
        reader.even(0, 16)
        with pytest.raises(MalformedError, match="after the last"):
            reader.finish()


class TestBodies:
    @given(st.lists(tables(), min_size=1, max_size=4), st.binary(max_size=20))
    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    def test_bodies_come_back_one_after_the_other(
        self, bodies: list[list[Rows]], told: bytes
    ) -> None:
        sender, receiver = LogMemory(), LogMemory()
        for body in bodies:
            writer = Writer()
            sender.code_bytes(writer, told)
            sender.code_tables(writer, headers_of(body), 1, body)
            reader = Reader(writer.finish())
            assert receiver.code_bytes(reader, None) == told
            read = receiver.code_tables(reader, headers_of(body), 1, None)
            reader.finish()
            assert repr(read) == repr(body)  # -0.0 is not 0.0

    @given(tables())
    def test_a_body_is_read_as_rows_only_if_they_make_it_again(self, body: list[Rows]) -> None:
        content = make_content(body)
        read = read_content(content)
        assert read is None or make_content(read) == content

    def test_a_long_body_is_left_as_it_is(self) -> None:
        chance = random.Random(1)
        rows = Rows(20, 1, list(range(1, 500)), {3: [chance.getrandbits(24) for _ in range(499)]})
        assert read_content(make_content([rows])) is None
        assert read_content(b"no zstd frame") is None

    @given(st.binary(max_size=80), st.integers(0, 9), st.integers(1, 2**20))
    @settings(max_examples=300)
    def test_any_bytes_are_some_rows_or_malformed(
        self, data: bytes, versions: int, rows: int
    ) -> None:
        memory, reader = LogMemory(), Reader(data)
        with contextlib.suppress(MalformedError):
            for _ in range(3):
                memory.code_bytes(reader, None)
                headers = [TableHeader(table, 1, rows) for table in range(versions)]
                read = memory.code_tables(reader, headers, 5, None)
                assert sum(len(each.numbers) for each in read) <= CELLS_MAX
                make_content(read)


def minutes_of_taps(district: District, minutes: int, people: int = 60) -> list[bytes]:
    """Segments of the attendance lane, one a minute, of taps at two readers."""
    chance = random.Random(5)
    pupils = chance.sample(range(1, 2**24), people)
    for minute in range(minutes):
        district.now += 60_000
        gaps = sorted(chance.sample(range(60_000), 12))
        readers = chance.choices(["gate-east", "dormitory"], k=len(gaps))
        taps: list[Row] = [
            {
                "at_ms": district.now - 60_000 + gap,
                "device": f"card:{reader}",
                "person": chance.choice(pupils),
                "room": reader,
                "card": "04:A1:B2" if minute % 5 == 0 else None,
            }
            for gap, reader in zip(gaps, readers, strict=True)
        ]
        district.nodes[17].record("card_tap", taps)
        district.seal(17)
    return [wire for name, _, wire in district.wires(17) if "attendance" in name]


def keys_of(wires: Sequence[bytes]) -> set[KeyId]:
    return {KeyId(parse_segment(wire).header.bodies[0].key_id) for wire in wires}


class TestSegments:
    def test_a_minute_of_taps_costs_what_is_new_in_it(self, district: District) -> None:
        wires = minutes_of_taps(district, 40)
        find_key = district.nodes[17].district_key
        plain, packer = SegmentPacker(find_key, set()), SegmentPacker(find_key, keys_of(wires))
        unpacker = SegmentUnpacker(find_key)
        sealed, told = [], []
        for wire in wires:
            packed = packer.pack(wire)
            assert unpacker.unpack(ByteReader(packed)) == wire
            has_cards = len(parse_segment(wire).bodies) > 1
            if not has_cards:
                sealed.append(len(plain.pack(wire)))
                told.append(len(packed))
            else:
                plain.pack(wire)
        # Per tap 12.3 bits of time, 5.9 of who and 1 of where; 3 bytes of when it was sealed.
        assert max(told[-8:]) <= SALT_AND_SIGNATURE + 12 * (12.3 + 5.9 + 1) / 8 + 18
        assert sum(told[-8:]) < 0.6 * sum(sealed[-8:])

    def test_cells_of_the_sealed_groups_stay_sealed(self, district: District) -> None:
        wires = minutes_of_taps(district, 12)
        packer = SegmentPacker(district.nodes[17].district_key, keys_of(wires))
        with_cards = 0
        for wire in wires:
            packed = packer.pack(wire)
            district_body, *others = parse_segment(wire).bodies
            if wire != wires[0]:
                assert district_body not in packed
            for body in others:
                with_cards += 1
                assert body in packed
        assert with_cards

    def test_a_key_that_the_peer_did_not_name_keeps_its_bodies_sealed(
        self, district: District
    ) -> None:
        wires = minutes_of_taps(district, 4)
        packer = SegmentPacker(district.nodes[17].district_key, {KeyId(bytes(8))})
        for wire in wires:
            assert parse_segment(wire).bodies[0] in packer.pack(wire)

    def test_what_is_sent_again_is_sent_as_it_is_and_so_is_all_after_it(
        self, district: District
    ) -> None:
        wires = minutes_of_taps(district, 6)
        find_key = district.nodes[17].district_key
        packer, unpacker = SegmentPacker(find_key, keys_of(wires)), SegmentUnpacker(find_key)
        bodies = [parse_segment(wire).bodies[0] for wire in wires]
        sent = [*range(4), 2, 3, 4, 5]
        packed = [packer.pack(wires[place]) for place in sent]
        is_sealed = [bodies[place] in each for place, each in zip(sent, packed, strict=True)]
        assert is_sealed == [True, False, False, False, True, True, True, True]
        read = [unpacker.unpack(ByteReader(each)) for each in packed]
        assert read == [wires[place] for place in sent]

    def test_a_message_tells_only_so_many_cells(self, district: District) -> None:
        wires = minutes_of_taps(district, 2 + CELLS_MAX // (12 * 5))
        find_key = district.nodes[17].district_key
        packer, unpacker = SegmentPacker(find_key, keys_of(wires)), SegmentUnpacker(find_key)
        packer.begin_message()
        unpacker.begin_message()
        packed = [packer.pack(wire) for wire in wires]
        assert [unpacker.unpack(ByteReader(each)) for each in packed] == wires
        bodies = [parse_segment(wire).bodies[0] for wire in wires]
        is_sealed = [body in each for body, each in zip(bodies, packed, strict=True)]
        assert is_sealed == [True, *[False] * (len(wires) - 2), True]
        packer.begin_message()
        more = packer.pack(minutes_of_taps(district, 1)[-1])
        with pytest.raises(MalformedError, match="than a message may"):
            unpacker.unpack(ByteReader(more))

    def test_a_cell_altered_on_the_way_is_not_taken_for_what_was_signed(
        self, district: District
    ) -> None:
        wires = minutes_of_taps(district, 3)
        find_key = district.nodes[17].district_key
        packer = SegmentPacker(find_key, keys_of(wires))
        first, second = packer.pack(wires[0]), packer.pack(wires[1])
        public = district.keys[17].signing.public_key()
        for place in range(len(second)):
            unpacker = SegmentUnpacker(find_key)
            unpacker.unpack(ByteReader(first))
            altered = bytearray(second)
            altered[place] ^= 1 << place % 8
            try:
                segment = parse_segment(unpacker.unpack(ByteReader(bytes(altered))))
            except MalformedError:
                continue
            if segment.wire == wires[1]:  # the last coded byte may have several values
                assert place < len(second) - SALT_AND_SIGNATURE
                continue
            with pytest.raises(SyncError, match="sign"):
                segment.verify(public)


class TestKeysTold:
    def told(self, district: District, hub: MessagePacking, minutes: int) -> list[bool]:
        """Carry taps minute by minute; return of which messages the body stayed sealed."""
        box = MessagePacking(district.nodes[17].district_key)
        is_sealed = []
        for wire in minutes_of_taps(district, minutes):
            packed = box.pack(message(segments=[wire]))
            assert hub.unpack(packed).segments == [wire]
            is_sealed.append(parse_segment(wire).bodies[0] in packed)
            box.unpack(hub.pack(message()))
        return is_sealed

    def test_bodies_are_told_by_their_cells_once_the_peer_said_it_holds_the_key(
        self, district: District
    ) -> None:
        minutes_of_taps(district, 1)
        district.exchange(17)
        hub = MessagePacking(district.nodes[0].district_key)
        assert self.told(district, hub, 3) == [True, False, False, False]

    def test_an_end_without_the_key_is_sent_sealed_bodies(self, district: District) -> None:
        assert self.told(district, MessagePacking(), 3) == [True, True, True]

    def test_a_peer_that_makes_other_bytes_of_the_same_cells_is_sent_sealed_bodies(
        self, district: District
    ) -> None:
        minutes_of_taps(district, 1)
        district.exchange(17)
        hub = MessagePacking(district.nodes[0].district_key)
        box = MessagePacking(district.nodes[17].district_key)
        first, second = minutes_of_taps(district, 1)
        hub.unpack(box.pack(message(segments=[first])))
        answer = hub.pack(message())
        assert maker() in answer
        box.unpack(answer.replace(maker(), b"zstd"))
        assert parse_segment(second).bodies[0] in box.pack(message(segments=[second]))


def message(segments: list[bytes] | None = None) -> Message:
    return Message(
        version=1,
        incarnation=0,
        have=[],
        segments=segments or [],
        credit_bytes=262_144,
        waiting_bytes=0,
        retry_after_ms=0,
        now_ms=1_790_000_000_000,
        refused=[],
        taken=0,
    )
