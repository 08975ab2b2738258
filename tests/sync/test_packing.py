"""The transport form brings back every byte, and costs what it should."""

import contextlib
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.exchange.message import Message, Refusal
from sync.exchange.message_packing import TIME_TOLD_EVERY_MS, MessagePacking
from sync.exchange.segment_packing import SLOTS, SegmentPacker, SegmentUnpacker
from sync.logs.log_state import Holding
from sync.logs.oplog import Row
from sync.schema.model import Lane
from sync.segments.sealing import DataKey, KeyId
from sync.segments.segment import LogName, parse_segment
from sync.segments.varints import ByteReader
from tests.sync.district import District
from tests.sync.turns import TurnSession

EMPTY = Message(
    version=1,
    incarnation=0,
    have=[],
    segments=[],
    credit_bytes=262_144,
    waiting_bytes=0,
    retry_after_ms=0,
    now_ms=1_790_000_000_000,
    refused=[],
    taken=0,
)


def no_key(_log: LogName, _name: KeyId) -> DataKey | None:
    return None


def written_logs(district: District, days: int = 12) -> list[bytes]:
    """Segments of several lanes, tables and groups, small as on a connected day."""
    node = district.nodes[17]
    for day in range(days):
        district.now += 60_000
        taps: list[Row] = [
            {"at_ms": district.now + n, "device": "card:gate", "person": 7 * n}
            for n in range(1 + day % 5)
        ]
        node.record("card_tap", taps)
        if day % 2:
            node.record("card_tap", [{"at_ms": district.now, "card": "04:A1"}])
        if day % 3:
            node.record("reading", [{"at_ms": district.now, "device": "d", "value": 1.5}])
        if day % 4:
            node.record("device_state", [{"device": "d", "point": "p", "value": f"v{day}"}])
        if day == days // 2:
            node.record("alarm", [{"at_ms": day, "device": "b", "alarm": "panic"}])
        district.seal(17)
    wires = [wire for _, _, wire in district.wires(17)]
    assert len(wires) > days
    return wires


class TestSegments:
    def test_segments_come_back_whatever_their_order_and_repetition(
        self, district: District
    ) -> None:
        wires = written_logs(district)
        chance = random.Random(3)
        hollow = [parse_segment(wire).hollow() for wire in wires[::3]]
        sent = wires + chance.choices(wires, k=40) + hollow + [b"", b"no segment", wires[0][:-1]]
        chance.shuffle(sent)
        packer, unpacker = SegmentPacker(no_key, set()), SegmentUnpacker(no_key)
        reader = ByteReader(b"".join(map(packer.pack, sent)))
        assert [unpacker.unpack(reader) for _ in sent] == sent
        assert reader.is_at_end

    def test_a_segment_in_its_turn_costs_its_secrets_and_some_bytes(
        self, district: District
    ) -> None:
        wires = written_logs(district)
        packer = SegmentPacker(no_key, set())
        seen = set()
        for wire in wires:
            segment = parse_segment(wire)
            packed = packer.pack(wire)
            secret = 64 + sum(len(body) for body in segment.bodies)
            secret += sum(len(body.salt) for body in segment.header.bodies)
            if segment.header.log in seen:
                assert len(packed) <= secret + 16 + 12 * len(segment.bodies)
            seen.add(segment.header.log)

    def test_more_logs_than_slots_push_out_the_oldest_alike_on_both_ends(
        self, district: District
    ) -> None:
        node = district.nodes[17]
        lessons = [f"L{number}" for number in range(SLOTS + 9)]
        for name in lessons:
            district.lessons[name] = frozenset({17})
        for _ in range(3):
            for name in lessons:
                node.record("hand_raise", [{"at_ms": 1, "lesson": name}])
            district.seal(17)
        wires = [wire for _, _, wire in district.wires(17)]
        by_turns = sorted(wires, key=lambda wire: parse_segment(wire).header.seq)
        for sent in (wires, by_turns):
            packer, unpacker = SegmentPacker(no_key, set()), SegmentUnpacker(no_key)
            reader = ByteReader(b"".join(map(packer.pack, sent)))
            assert [unpacker.unpack(reader) for _ in sent] == sent

    def test_an_altered_packed_segment_is_not_taken_for_what_was_signed(
        self, district: District
    ) -> None:
        written_logs(district)
        wires = [wire for name, _, wire in district.wires(17) if "attendance" in name]
        packer = SegmentPacker(no_key, set())
        first, second = packer.pack(wires[0]), packer.pack(wires[1])
        public = district.keys[17].signing.public_key()
        for place in range(1, len(second)):
            unpacker = SegmentUnpacker(no_key)
            unpacker.unpack(ByteReader(first))
            altered = bytearray(second)
            altered[place] ^= 1
            try:
                wire = unpacker.unpack(ByteReader(bytes(altered)))
                segment = parse_segment(wire)
            except MalformedError:
                continue
            assert wire != wires[1]
            with pytest.raises(Exception, match="sign"):
                segment.verify(public)


class TestMessages:
    def test_a_real_exchange_comes_back_message_by_message(self, district: District) -> None:
        school, hub = district.nodes[17], district.nodes[0]
        one, other = MessagePacking(), MessagePacking()
        edge, desk = TurnSession(school, 0), TurnSession(hub, 17)
        chance = random.Random(1)
        sizes = []
        for turn in range(60):
            district.now += 60_000
            if chance.random() < 0.7:
                school.record("card_tap", [{"at_ms": turn, "device": "d"}])
            if chance.random() < 0.2:
                hub.record("notice", [{"school": 0, "notice": f"n{turn}"}])
            district.seal(17, 0)
            for speaker, listener, packing, unpacking in (
                (edge, desk, one, other),
                (desk, edge, other, one),
            ):
                message = speaker.speak()
                if message is None:
                    continue
                packed = packing.pack(message)
                read = unpacking.unpack(packed)
                assert read.now_ms in {0, message.now_ms}
                assert msgspec.structs.replace(read, now_ms=message.now_ms) == message
                listener.hear(read)
                if not message.segments and not message.complete:
                    sizes.append(len(packed))
        assert district.rows(0, "SELECT count(*) FROM card_tap") != [(0,)]
        assert min(sizes) <= 7

    def test_the_wall_clock_is_told_at_first_and_then_now_and_then(self) -> None:
        one, other = MessagePacking(), MessagePacking()
        told = []
        for minute in range(25):
            now_ms = EMPTY.now_ms + minute * 60_000
            message = msgspec.structs.replace(EMPTY, now_ms=now_ms)
            told.append(other.unpack(one.pack(message)).now_ms == now_ms)
        minutes = TIME_TOLD_EVERY_MS // 60_000
        assert told == [minute % minutes == 0 for minute in range(25)]

    def test_a_head_the_peer_did_not_send_is_told_whole_and_a_claimed_one_is_refused(
        self, district: District
    ) -> None:
        wires = written_logs(district)
        segment = parse_segment(wires[0])
        log = segment.header.log
        head = segment.header_digest[:8]
        one, other = MessagePacking(), MessagePacking()
        other.unpack(one.pack(msgspec.structs.replace(EMPTY, segments=wires[:1])))
        for told in (head, bytes(8)):
            holding = Holding(log, 1, 1, told, frozen=False)
            message = msgspec.structs.replace(EMPTY, have=[holding])
            assert one.unpack(other.pack(message)).have == [holding]
        liar = MessagePacking()
        liar.unpack(MessagePacking().pack(msgspec.structs.replace(EMPTY, segments=wires[:1])))
        holding = Holding(log, 1, 1, head, frozen=False)
        claimed = liar.pack(msgspec.structs.replace(EMPTY, have=[holding]))
        with pytest.raises(MalformedError, match="not sent"):
            MessagePacking().unpack(claimed)

    @given(st.data())
    @settings(max_examples=60)
    def test_messages_of_any_content_come_back(self, data: st.DataObject) -> None:
        amounts = st.integers(0, 2**47)
        logs = st.builds(
            LogName,
            st.just(3),
            st.integers(1, 2**63 - 1),
            st.sampled_from(["d", "s3", "lABC"]),
            st.sampled_from(list(Lane)),
        )
        one, other = MessagePacking(), MessagePacking()
        now_ms = 0
        for _ in range(data.draw(st.integers(1, 5))):
            now_ms += TIME_TOLD_EVERY_MS
            holdings = [
                Holding(log, stored, data.draw(st.integers(0, stored)), head, frozen=frozen)
                for log, stored, head, frozen in data.draw(
                    st.lists(
                        st.tuples(logs, amounts, st.binary(min_size=8, max_size=8), st.booleans()),
                        max_size=5,
                    )
                )
            ]
            message = Message(
                version=1,
                incarnation=data.draw(st.integers(0, 2**63 - 1)),
                have=holdings,
                segments=data.draw(st.lists(st.binary(max_size=40), max_size=3)),
                credit_bytes=data.draw(amounts),
                waiting_bytes=data.draw(amounts),
                retry_after_ms=data.draw(amounts),
                now_ms=now_ms,
                refused=data.draw(
                    st.lists(st.builds(Refusal, st.text(max_size=9), amounts, st.text(max_size=9)))
                ),
                taken=data.draw(amounts),
            )
            assert other.unpack(one.pack(message)) == message

    @given(st.lists(st.binary(max_size=80), max_size=4))
    def test_bytes_that_are_no_message_are_called_malformed(self, pieces: list[bytes]) -> None:
        packing = MessagePacking()
        for piece in pieces:
            with contextlib.suppress(MalformedError):
                packing.unpack(piece)

    def test_honest_messages_with_a_flipped_byte_break_nothing_else(
        self, district: District
    ) -> None:
        wires = written_logs(district, 4)
        chance = random.Random(9)
        first = msgspec.structs.replace(EMPTY, incarnation=5, segments=wires[:3])
        second = msgspec.structs.replace(EMPTY, segments=wires[3:])
        for _ in range(400):
            packer, reader = MessagePacking(), MessagePacking()
            reader.unpack(packer.pack(first))
            packed = bytearray(packer.pack(second))
            packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
            with contextlib.suppress(MalformedError):
                reader.unpack(bytes(packed))
