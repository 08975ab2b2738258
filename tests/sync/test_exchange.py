"""The exchange survives cuts, restarts and restores; nothing is lost, doubled or starved."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import MalformedError
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX, Message, parse_message
from sync.exchange.session import HOLD_MESSAGES_MAX
from sync.logs.lanes import LANE_WEIGHTS, LaneTurns
from sync.logs.log_state import Holding
from sync.logs.oplog import Row
from sync.schema.model import Lane
from sync.segments.segment import SEGMENT_BYTES_MAX, LogName, parse_segment
from tests.sync.district import District, new_keys, one_round
from tests.sync.turns import TurnSession

SCHOOLS = (17, 18, 19)


def noise(district: District, count: int) -> list[Row]:
    """Rows of about 6 KiB that do not compress."""
    return [
        {
            "at_ms": at_ms,
            "device": "d",
            "event": "e",
            "detail": district.chance.randbytes(5000).hex(),
        }
        for at_ms in range(count)
    ]


def alarm(at_ms: int) -> Row:
    return {"at_ms": at_ms, "device": "button", "alarm": "panic"}


def lanes_of(message: bytes) -> list[Lane]:
    return [parse_segment(wire).header.log.lane for wire in parse_message(message).segments]


class TestTurns:
    def test_lanes_share_by_weight_while_all_wait(self) -> None:
        turns = LaneTurns()
        waiting = {int(lane): lane for lane in Lane}
        sent: Counter[Lane] = Counter()
        for _ in range(100 * sum(LANE_WEIGHTS.values())):
            log = turns.first(waiting)
            turns.charge(log, waiting[log], 1000)
            sent[waiting[log]] += 1
        for lane, weight in LANE_WEIGHTS.items():
            assert abs(sent[lane] - 100 * weight) <= 1 + weight

    def test_a_lane_that_wakes_up_neither_waits_nor_catches_up(self) -> None:
        turns = LaneTurns()
        for _ in range(1000):
            turns.charge(turns.first({4: Lane.TELEMETRY}), Lane.TELEMETRY, 16_000)
        both = {4: Lane.TELEMETRY, 2: Lane.ATTENDANCE}
        sent: Counter[int] = Counter()
        for _ in range(100):
            log = turns.first(both)
            turns.charge(log, both[log], 16_000)
            sent[log] += 1
        assert sent[2] == pytest.approx(80, abs=2)
        assert sent[4] == pytest.approx(20, abs=2)

    def test_logs_of_one_lane_take_turns(self) -> None:
        turns = LaneTurns()
        waiting = dict.fromkeys((7, 8, 9), Lane.BULK)
        order = []
        for _ in range(6):
            log = turns.first(waiting)
            turns.charge(log, Lane.BULK, 100)
            order.append(log)
        assert sorted(order[:3]) == sorted(order[3:]) == [7, 8, 9]


class TestCredit:
    def test_the_first_message_stays_within_its_size_and_more_follows_the_credit(
        self, district: District
    ) -> None:
        school = district.nodes[17]
        school.record("device_event", noise(district, 60))
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        first = parse_message(edge.request())
        assert 0 < sum(map(len, first.segments)) <= FIRST_BYTES_MAX
        edge = TurnSession(school, 0)
        (request, _), taken, _ = one_round(edge, hub)
        assert taken.stored == len(parse_message(request).segments)
        second = parse_message(edge.request())
        assert FIRST_BYTES_MAX < sum(map(len, second.segments)) <= CREDIT_BYTES

    def test_no_credit_is_respected_and_any_other_moves_something(self, district: District) -> None:
        school, hub_node = district.nodes[17], district.nodes[0]
        school.record("device_event", noise(district, 20))
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(hub_node, 17)
        answer, _, _ = hub.answer(edge.request(), credit_bytes=0, retry_after_ms=5000)
        _, message = edge.receive_answer(answer)
        assert message.retry_after_ms == 5000
        request = edge.request()
        assert parse_message(request).segments == []
        assert edge.to_send_bytes() > 0
        edge.receive_answer(hub.answer(request, credit_bytes=1)[0])
        assert len(parse_message(edge.request()).segments) == 1

    def test_a_short_message_is_asked_for_on_a_slow_link(self, district: District) -> None:
        school = district.nodes[17]
        school.record("device_event", noise(district, 30))
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        one_round(edge, hub)
        sent = parse_message(edge.request(bytes_max=SEGMENT_BYTES_MAX)).segments
        assert 0 < sum(map(len, sent)) <= SEGMENT_BYTES_MAX

    def test_an_alarm_overtakes_a_backlog_and_the_backlog_moves_all_the_same(
        self, district: District
    ) -> None:
        school = district.nodes[17]
        school.record("device_event", noise(district, 200))
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        for _ in range(3):
            one_round(edge, hub)
        school.record("alarm", [alarm(1)])
        school.seal_all()
        (request, _), _, _ = one_round(edge, hub)
        assert lanes_of(request) in ([Lane.ALARM], [Lane.CONTROL, Lane.ALARM])  # and no more
        assert lanes_of(edge.request()).count(Lane.TELEMETRY) > 5


class TestVectors:
    def test_the_whole_vector_is_told_once_and_then_what_changed(self, district: District) -> None:
        hub_node, school = district.nodes[0], district.nodes[17]
        hub_node.record("notice", [{"school": 0, "notice": "n1"}])
        school.record("card_tap", [{"at_ms": 1}])
        district.exchange(17)
        edge, hub = TurnSession(school, 0), TurnSession(hub_node, 17)
        (request, answer), _, _ = one_round(edge, hub)
        for message in map(parse_message, (request, answer)):
            assert message.complete
            assert len(message.have) >= 2
        (request, answer), _, _ = one_round(edge, hub)
        for message in map(parse_message, (request, answer)):
            assert not message.complete
            assert message.have == []
        assert len(request) + len(answer) < 100
        school.record("card_tap", [{"at_ms": 2}])
        district.seal(17)
        (_, answer), _, _ = one_round(edge, hub)
        (told,) = parse_message(answer).have
        assert (told.log.lane, told.stored, told.applied) == (Lane.ATTENDANCE, 2, 2)

    def test_after_an_answer_was_lost_everything_is_told_again(self, district: District) -> None:
        school = district.nodes[17]
        school.record("card_tap", [{"at_ms": 1}])
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        one_round(edge, hub)
        hub.answer(edge.request())
        request = edge.request()
        answer, _, _ = hub.answer(request)
        assert parse_message(request).complete
        assert parse_message(answer).complete

    def test_a_log_the_peer_no_longer_names_is_sent_again(self, district: District) -> None:
        school = district.nodes[17]
        school.record("card_tap", [{"at_ms": 1}])
        district.exchange(17)
        lost = district.nodes[0]._connection
        for table in ("log", "segment", "card_tap", "key_grant"):
            lost.execute(f"DELETE FROM {table}")  # noqa: S608 - a list of our own
        district.exchange(17)
        assert district.rows(0, "SELECT at_ms FROM card_tap") == [(1,)]

    def test_what_a_restored_hub_lost_is_offered_at_once(self, district: District) -> None:
        school = district.nodes[17]
        for at_ms in range(3):
            if at_ms == 1:
                backup = district.back_up(0)
            school.record("card_tap", [{"at_ms": at_ms}])
            district.exchange(17)
        district.restore(0, backup, b"second")
        school.record("card_tap", [{"at_ms": 3}])
        school.seal_all()
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        for _ in range(2):  # the first offers what follows the old receipt
            message = edge.speak()
            assert message is not None
            hub.hear(message)
            answer = hub.speak()
            assert answer is not None
            edge.hear(answer)
        assert district.rows(0, "SELECT count(*) FROM card_tap") == [(4,)]


class TestRefusals:
    def test_what_a_peer_does_not_take_is_not_sent_in_every_message(
        self, district: District
    ) -> None:
        school, hub_node = district.nodes[17], district.nodes[0]
        school.record("card_tap", [{"at_ms": 1}])
        school.record("alarm", [alarm(1)])
        school.seal_all()
        hub_node._connection.execute(
            "INSERT INTO log (origin, incarnation, audience, lane, frozen)"
            " SELECT 17, ?, 's17', 2, 'a test'",
            (school.incarnation,),
        )
        edge, hub = TurnSession(school, 0), TurnSession(hub_node, 17)
        refused = 0
        for _ in range(4 * HOLD_MESSAGES_MAX):
            answer, imported, _ = hub.answer(edge.request())
            refused += len(imported.refused)
            # Not heeded: the hub's word on the fork is kept from the school here.
            message = parse_message(answer)
            calm = msgspec.structs.replace(message, have=[], refused=[])
            edge.receive_answer(msgspec.msgpack.encode(calm))
        assert 2 <= refused <= 10
        assert district.rows(0, "SELECT count(*) FROM alarm") == [(1,)]

    def test_a_refusal_is_told_to_the_sender(self, district: District) -> None:
        school = district.nodes[18]
        school.record("room", [{"room": "r"}])
        school.seal_all()
        # School 17's session carries segments of school 18.
        spoofed = msgspec.msgpack.encode(
            msgspec.structs.replace(
                parse_message(TurnSession(district.nodes[17], 0).request()),
                segments=[wire for _, _, wire in district.wires(18)],
            )
        )
        answer, imported, _ = TurnSession(district.nodes[0], 17).answer(spoofed)
        assert imported.stored == 0
        assert {each.log for each in parse_message(answer).refused} == {
            name for name, _, _ in district.wires(18)
        }

    def test_a_signer_nobody_certified_is_named_and_taken_once_it_is(
        self, district: District
    ) -> None:
        school = district.nodes[17]
        school.record("card_tap", [{"at_ms": 1}])
        school.seal_all()
        certified = district.keys[17]
        district.keys[17] = new_keys(17, district.chance)
        edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
        (_, answer), _, _ = one_round(edge, hub)
        assert "is not known here" in parse_message(answer).refused[0].reason
        district.keys[17] = certified
        for _ in range(HOLD_MESSAGES_MAX):
            one_round(edge, hub)
        assert district.rows(0, "SELECT at_ms FROM card_tap") == [(1,)]

    def test_another_schools_log_is_not_given_whatever_is_asked(self, district: District) -> None:
        district.nodes[18].record("room", [{"room": "r"}])
        district.exchange(18)
        (log,) = [log for log in district.nodes[0].logs() if log.name.origin == 18][:1]
        curious = msgspec.structs.replace(
            parse_message(TurnSession(district.nodes[17], 0).request()),
            have=[Holding(log.name, 0, 0, bytes(8), frozen=False)],
        )
        hub = TurnSession(district.nodes[0], 17)
        answer, _, _ = hub.answer(msgspec.msgpack.encode(curious))
        assert parse_message(answer).segments == []

    def test_a_stranger_to_a_lesson_reaches_none_of_its_parties(self, district: District) -> None:
        district.lessons["L1"] = frozenset({17})
        stranger = district.nodes[18]
        stranger.record("hand_raise", [{"at_ms": 1, "lesson": "L1"}])
        district.settle()
        assert district.rows(17, "SELECT * FROM hand_raise") == []
        assert district.rows(17, "SELECT * FROM log WHERE origin = 18") == []


def holding(**changed: object) -> Holding:
    plain = Holding(LogName(17, 1, "s17", Lane.ATTENDANCE), 1, 1, bytes(8), frozen=False)
    return msgspec.structs.replace(plain, **changed)


class TestMessages:
    HONEST = Message(
        version=1,
        incarnation=5,
        have=[holding()],
        segments=[],
        credit_bytes=0,
        waiting_bytes=0,
        retry_after_ms=0,
        now_ms=0,
        refused=[],
        taken=0,
    )

    def test_an_honest_message_is_read(self) -> None:
        assert parse_message(msgspec.msgpack.encode(self.HONEST)) == self.HONEST

    @pytest.mark.parametrize(
        "changed",
        [
            {"version": 2},
            {"incarnation": -1},
            {"incarnation": 2**63},
            {"credit_bytes": -1},
            {"now_ms": 2**63},
            {"waiting_bytes": 2**64 - 1},
            {"taken": -1},
            {"have": [holding(stored=-1)]},
            {"have": [holding(stored=2**64 - 1)]},
            {"have": [holding(applied=2)]},
            {"have": [holding(head=b"")]},
            {"have": [holding(log=LogName(17, 2**64 - 1, "s17", Lane.BULK))]},
            {"have": [holding(log=LogName(17, 1, "s\ud7ff", Lane.BULK))]},
            {"have": [holding()] * 9000},
            {"segments": [b""] * 3000},
            {"segments": [bytes(1 << 19)]},
            {"segments": [bytes(1 << 21)]},
            {"refused": [("x" * 1000, 1, "")]},
            {"refused": [("x", 1, "")] * 100},
        ],
    )
    def test_a_message_out_of_bounds_is_refused(self, changed: dict[str, object]) -> None:
        with pytest.raises(MalformedError):
            parse_message(msgspec.msgpack.encode(msgspec.structs.replace(self.HONEST, **changed)))

    @given(st.binary(max_size=200))
    def test_bytes_that_are_no_message_are_called_malformed(self, data: bytes) -> None:
        for each in (data, msgspec.msgpack.encode(self.HONEST)[: len(data)] + data):
            with pytest.raises(MalformedError):
                parse_message(each)


@dataclass
class Storm:
    """A hub and three schools with a bad link, power and disks, all from one seed.

    What was written is remembered here, outside of the nodes.
    """

    district: District
    chance: random.Random
    taps: Counter[tuple[int, int]] = field(default_factory=Counter)
    rooms: dict[tuple[int, str], str] = field(default_factory=dict)
    edges: dict[int, TurnSession] = field(default_factory=dict)
    hubs: dict[int, TurnSession] = field(default_factory=dict)
    copy: bytes | None = None
    restores: int = 0
    cuts: int = 0

    def step(self) -> None:
        self.district.now += self.chance.randrange(1, 4000)
        school = self.chance.choice(SCHOOLS)
        kind = self.chance.choices(
            (self.write, self.seal, self.talk, self.restart, self.back_up, self.restore_hub),
            (8, 4, 12, 1, 0.5, 0.5),
        )[0]
        kind(school)

    def write(self, school: int) -> None:
        node = self.district.nodes[school]
        rows: list[Row] = []
        for _ in range(self.chance.randrange(1, 30)):
            number = sum(self.taps.values())
            self.taps[school, number] += 1
            rows.append({"at_ms": number, "device": "door"})
        node.record("card_tap", rows)
        room, name = f"r{self.chance.randrange(3)}", f"name {self.district.now}"
        self.rooms[school, room] = name
        node.record("room", [{"room": room, "name": name}])
        slot: Row = {"school": school, "slot": "1", self.chance.choice(["room", "subject"]): name}
        self.district.nodes[self.chance.choice([0, school])].record("timetable_slot", [slot])

    def seal(self, school: int) -> None:
        self.district.seal(school, 0)

    def talk(self, school: int) -> None:
        """One round that may be cut before, within or after the hub's work."""
        nodes = self.district.nodes
        if school not in self.edges or self.chance.random() < 0.2:
            self.edges[school] = TurnSession(nodes[school], 0)
        if school not in self.hubs or self.chance.random() < 0.1:
            self.hubs[school] = TurnSession(nodes[0], school)
        request = self.edges[school].request()
        cut = self.chance.random()
        if cut < 0.15:
            self.cuts += 1
            return
        answer, _, _ = self.hubs[school].answer(request)
        if self.chance.random() < 0.1:
            answer, _, _ = self.hubs[school].answer(request)
        if cut < 0.4:
            self.cuts += 1
            return
        self.edges[school].receive_answer(answer)

    def restart(self, school: int) -> None:
        origin = self.chance.choice([school, school, 0])
        self.district.reopen(origin, self.generation(origin))
        self.edges.pop(school, None)
        self.hubs.clear() if origin == 0 else None

    def back_up(self, _: int) -> None:
        self.copy = self.district.back_up(0)

    def restore_hub(self, _: int) -> None:
        if self.copy is not None:
            self.restores += 1
            self.hubs.clear()
            self.district.restore(0, self.copy, self.generation(0))

    def generation(self, origin: int) -> bytes:
        return bytes([self.restores]) if origin == 0 else b"first"

    def check(self) -> None:
        self.district.settle()
        arrived = Counter(self.district.rows(0, "SELECT school, at_ms FROM card_tap"))
        assert arrived == self.taps
        rooms = self.district.rows(0, "SELECT school, room, name FROM room")
        assert {(school, room): name for school, room, name in rooms} == self.rooms
        slots = "SELECT school, slot, room, subject, hlc FROM timetable_slot"
        for school in SCHOOLS:
            assert set(self.district.rows(school, slots)) <= set(self.district.rows(0, slots))
            node = self.district.nodes[school]
            cursors = node.peers.cursors(0)
            for log in node.logs():
                if log.name.origin == school:
                    assert cursors[log.id] == (log.stored, log.stored)


@pytest.mark.parametrize("seed", range(6))
def test_no_cut_restart_or_restore_loses_or_doubles_a_row(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    storm = Storm(District(tmp_path, chance), chance)
    for origin in (0, *SCHOOLS):
        storm.district.add(origin, storm.generation(origin))
    for _ in range(120):
        storm.step()
    storm.check()
    assert storm.cuts > 5
    for node in storm.district.nodes.values():
        node.close()


def test_the_storms_restore_the_hub_too(tmp_path: Path) -> None:
    chance = random.Random(1)
    storm = Storm(District(tmp_path, chance), chance)
    for origin in (0, *SCHOOLS):
        storm.district.add(origin, storm.generation(origin))
    for school in SCHOOLS:
        storm.write(school)
    storm.district.settle()
    storm.back_up(0)
    for school in SCHOOLS:
        storm.write(school)
    storm.district.settle()
    before = storm.district.rows(0, "SELECT count(*) FROM card_tap")
    storm.restore_hub(0)
    assert storm.district.rows(0, "SELECT count(*) FROM card_tap") < before
    storm.check()
    for node in storm.district.nodes.values():
        node.close()
