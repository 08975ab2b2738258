"""Both ends of a connection over a made line: what they say when, and that nothing is lost."""

import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from sync.errors import MalformedError
from sync.exchange.conversation import HEARTBEAT_MS, PATIENT_RECEIPT_MS, RECEIPT_MS
from sync.exchange.framing import STREAM_VERSION, FrameReader, frame
from sync.exchange.message import FIRST_BYTES_MAX
from sync.exchange.pacing import Pace
from sync.logs.oplog import Row
from sync.logs.sealer import URGENT
from sync.schema.model import Lane
from sync.segments.segment import SEGMENT_BYTES_MAX, parse_segment
from tests.sync.district import District
from tests.sync.line import Line, lanes_of


def noise(district: District, count: int) -> list[Row]:
    """Rows of about 6 KiB that do not compress."""
    chance = district.chance
    return [
        {"at_ms": n, "device": "d", "event": "e", "detail": chance.randbytes(5000).hex()}
        for n in range(count)
    ]


class TestFlow:
    def test_messages_follow_each_other_without_waiting_for_an_answer(
        self, district: District
    ) -> None:
        district.nodes[17].record("device_event", noise(district, 60))
        district.seal(17)
        line = Line(district)
        assert line.speak("up") > 1
        assert sum(line.edge.under_way.values()) < FIRST_BYTES_MAX + SEGMENT_BYTES_MAX
        line.settle()
        assert line.edge.under_way == {}
        assert district.rows(0, "SELECT count(*) FROM device_event") == [(60,)]
        sent = [parse_segment(wire).header for _, each in line.heard for wire in each.segments]
        assert len({(header.log, header.seq) for header in sent}) == len(sent)

    def test_a_receipt_is_awaited_of_long_messages_until_the_last_is_taken_in(
        self, district: District
    ) -> None:
        line = Line(district)
        line.settle()
        district.nodes[17].record("device_event", noise(district, 1)[:1])
        district.nodes[17].record("room", [{"room": "r1", "name": "r1"}])
        district.seal(17)
        assert not line.edge.awaits_receipt
        line.speak("up")
        assert line.edge.awaits_receipt
        line.pass_all_on("up")
        line.speak("down")
        line.pass_on("down")
        assert not line.edge.awaits_receipt

    def test_a_receipt_that_may_take_its_time_is_not_awaited(self, district: District) -> None:
        line = Line(district)
        line.settle()
        district.nodes[17].record("card_tap", [{"at_ms": 1, "device": "d", "person": 1}])
        district.seal(17)
        assert line.speak("up") == 1
        assert not line.edge.awaits_receipt

    def test_what_is_under_way_stays_within_the_window(self, district: District) -> None:
        district.nodes[17].record("device_event", noise(district, 60))
        district.seal(17)
        slow = Pace()
        for cut in range(5):
            slow.note_loss(cut)
        line = Line(district, paces=(slow, Pace()))
        line.speak("up")
        line.pass_on("up")
        line.speak("down")
        line.pass_on("down")
        line.speak("up")
        assert len(line.lines["up"]) == 1  # one segment, which is longer than the window

    def test_an_alarm_is_in_the_next_message_however_much_waits(self, district: District) -> None:
        school = district.nodes[17]
        school.record("device_event", noise(district, 200))
        district.seal(17)
        line = Line(district)
        line.speak("up")
        line.pass_on("up")
        line.speak("down")
        line.pass_on("down")
        line.heard.clear()
        line.pass_all_on("up")
        line.heard.clear()
        school.record("alarm", [{"at_ms": 1, "device": "button", "alarm": "panic"}])
        district.seal(17)
        line.speak("down")
        line.pass_on("down")
        line.speak("up")
        line.pass_on("up")
        first = next(message for direction, message in line.heard if direction == "up")
        assert Lane.ALARM in lanes_of(first)
        assert district.rows(0, "SELECT at_ms FROM alarm") == [(1,)]

    def test_lanes_that_may_not_flow_wait_and_the_others_pass(self, district: District) -> None:
        school = district.nodes[17]
        line = Line(district)
        line.settle()
        school.record("device_event", noise(district, 3))
        school.record("alarm", [{"at_ms": 1, "device": "button", "alarm": "panic"}])
        district.seal(17)
        line.heard.clear()
        line.speak("up", URGENT)
        line.pass_all_on("up")
        sent = [lane for _, message in line.heard for lane in lanes_of(message)]
        assert Lane.ALARM in sent
        assert set(sent) <= URGENT
        assert line.heard[-1][1].waiting_bytes > 3 * 4000
        line.settle()
        assert district.rows(0, "SELECT count(*) FROM device_event") == [(3,)]

    def test_after_a_cut_the_hub_is_asked_before_anything_is_sent_again(
        self, district: District
    ) -> None:
        school = district.nodes[17]
        school.record("device_event", noise(district, 8))
        district.seal(17)
        line = Line(district)
        line.speak("up")
        line.pass_all_on("up")  # and the hub's receipts are lost
        stored = {
            (header.log, header.seq)
            for _, message in line.heard
            for header in (parse_segment(wire).header for wire in message.segments)
        }
        assert stored
        again = Line(district, first_bytes_max=0)
        again.settle()
        sent = {
            (header.log, header.seq)
            for _, message in again.heard
            for header in (parse_segment(wire).header for wire in message.segments)
        }
        assert not stored & sent
        assert district.rows(0, "SELECT count(*) FROM device_event") == [(8,)]

    def test_the_hub_speaks_without_being_asked(self, district: District) -> None:
        line = Line(district)
        line.settle()
        district.nodes[0].record("notice", [{"school": 0, "notice": "n1"}])
        district.seal(0)
        assert line.speak("down") == 1
        line.pass_on("down")
        assert district.rows(17, "SELECT notice FROM notice") == [("n1",)]


class TestReceipts:
    def test_a_receipt_waits_for_company_and_is_due_then(self, district: District) -> None:
        line = Line(district)
        line.settle()
        line.now_ms += 2 * RECEIPT_MS
        district.nodes[17].record("card_tap", [{"at_ms": 1}])
        district.seal(17)
        line.speak("up")
        line.pass_all_on("up")
        assert line.speak("down") == 0
        assert line.hub.due_ms() == line.now_ms + RECEIPT_MS
        line.now_ms += RECEIPT_MS
        assert line.speak("down") == 1
        line.pass_on("down")
        assert line.edge.under_way == {}

    def test_a_receipt_for_what_was_in_no_hurry_answers_the_callers_question(
        self, district: District
    ) -> None:
        line = Line(district)
        district.nodes[17].record("card_tap", [{"at_ms": 1}])
        district.seal(17)  # with its key, which is a matter of control
        line.settle()
        line.now_ms += HEARTBEAT_MS
        line.settle()
        district.nodes[17].record("card_tap", [{"at_ms": 2}])
        district.seal(17)
        asked_ms = line.edge.due_ms()
        assert asked_ms is not None
        line.speak("up")
        line.pass_on("up")
        while line.now_ms < asked_ms:
            assert line.speak("down") == 0
            line.now_ms += 1000
        assert sum(line.edge.under_way.values()) > 0
        assert line.speak("up") == 1
        line.pass_on("up")
        line.bytes.clear()
        assert line.speak("down") == 1
        assert line.bytes["down"] <= 8
        line.pass_on("down")
        assert line.edge.under_way == {}
        assert line.speak("down") == 0

    def test_the_receipt_for_what_was_in_no_hurry_comes_though_nobody_asks(
        self, district: District
    ) -> None:
        line = Line(district)
        line.settle()
        for at_ms in (1, 2):
            line.now_ms += PATIENT_RECEIPT_MS
            district.nodes[17].record("card_tap", [{"at_ms": at_ms}])
            district.seal(17)
            line.speak("up")
            line.pass_all_on("up")
            due_ms = line.hub.due_ms()
            assert due_ms is not None
            line.now_ms = due_ms
            assert line.speak("down") == 1
            line.pass_on("down")
        assert line.edge.under_way == {}

    def test_what_was_not_taken_is_told_at_once(self, district: District) -> None:
        line = Line(district)
        district.nodes[17].record("card_tap", [{"at_ms": 1}])
        district.seal(17)
        line.settle()
        line.now_ms += 2 * RECEIPT_MS
        district.nodes[0]._connection.execute("UPDATE log SET frozen = 'a test' WHERE lane = 2")
        district.nodes[17].record("card_tap", [{"at_ms": 2}])
        district.seal(17)
        line.speak("up")
        line.pass_all_on("up")
        assert line.speak("down") == 1
        line.pass_on("down")
        _, told = line.heard[-1]
        assert [refusal.seq for refusal in told.refused] == [2]
        assert line.edge.due_ms() == line.now_ms  # in its turn it says at once that it gave way

    def test_an_alarm_is_receipted_at_once(self, district: District) -> None:
        line = Line(district)
        line.settle()
        for at_ms in (1, 2):
            line.now_ms += 2 * RECEIPT_MS
            district.nodes[17].record("alarm", [{"at_ms": at_ms, "device": "b", "alarm": "panic"}])
            district.seal(17)
            line.speak("up")
            line.pass_all_on("up")
            assert line.speak("down") == 1
            line.pass_on("down")
        assert line.edge.under_way == {}

    def test_the_end_of_what_waited_is_receipted_at_once_however_short(
        self, district: District
    ) -> None:
        line = Line(district)
        line.settle()
        line.paces[0].note_rate(1_000)  # of several messages, one segment each
        school = district.nodes[17]
        school.record("device_event", noise(district, 1))
        district.seal(17)
        school.record("device_event", [{"at_ms": 1, "device": "d", "event": "e"}])
        district.seal(17)
        said = line.speak("up")
        assert said > 1
        for _ in range(said):
            line.now_ms += 2 * RECEIPT_MS
            line.pass_on("up")
            assert line.speak("down") == 1
            line.pass_on("down")
        assert line.edge.under_way == {}

    def test_in_a_burst_receipts_come_at_once(self, district: District) -> None:
        line = Line(district)
        line.settle()
        line.now_ms += 2 * RECEIPT_MS
        for at_ms in (1, 2):
            district.nodes[17].record("card_tap", [{"at_ms": at_ms}])
            district.seal(17)
            line.speak("up")
            line.pass_all_on("up")
        assert line.speak("down") == 1

    def test_a_tap_and_its_receipt_cost_little_beside_what_is_secret(
        self, district: District
    ) -> None:
        line = Line(district)
        costs = []
        for at_ms in range(4):
            line.settle()
            line.bytes.clear()
            district.nodes[17].record("card_tap", [{"at_ms": at_ms, "device": "d"}])
            district.seal(17)
            (*_, wire) = [wire for name, _, wire in district.wires(17) if "attendance" in name]
            line.now_ms += 60_000
            line.settle()
            secret = 64 + 16 + len(parse_segment(wire).bodies[0])
            costs.append((line.bytes["up"] - secret, line.bytes["down"]))
        assert costs[-1] <= (20, 8)


class TestSilence:
    def test_an_idle_caller_asks_and_is_answered_by_one_byte(self, district: District) -> None:
        line = Line(district)
        line.settle()
        line.bytes.clear()
        assert line.edge.due_ms() is not None
        assert line.hub.due_ms() is None
        line.now_ms = line.edge.due_ms() or 0
        assert line.speak("up") == 1
        line.pass_on("up")
        assert line.speak("down") == 1
        line.pass_on("down")
        assert line.bytes == {"up": 1, "down": 1}
        assert line.speak("up") == line.speak("down") == 0
        assert line.edge.silent_ms(line.now_ms) == 0

    def test_a_dead_peer_is_asked_again_and_its_silence_counts(self, district: District) -> None:
        line = Line(district)
        line.settle()
        began_ms = line.now_ms
        asked = []
        while line.now_ms < began_ms + 4 * HEARTBEAT_MS:
            line.now_ms += 100
            asked += [line.now_ms] * line.speak("up")
        assert len(asked) == 4
        assert {later - earlier for earlier, later in pairwise(asked)} == {HEARTBEAT_MS}
        assert line.edge.silent_ms(line.now_ms) >= 3 * HEARTBEAT_MS

    def test_what_no_peer_says_is_malformed(self, district: District) -> None:
        line = Line(district)
        (content,) = FrameReader().feed(bytes([STREAM_VERSION]) + frame(b"\xc1\xc1\xc1"))
        with pytest.raises(MalformedError):
            line.hub.hear(content, 0)


@dataclass
class Storm:
    """A school and its hub on a line that is cut again and again, from one seed.

    What was written is remembered here, outside of the nodes.
    """

    district: District
    chance: random.Random
    taps: int = 0
    notices: int = 0
    cuts: int = 0

    def __post_init__(self) -> None:
        self.line = Line(self.district)

    def step(self) -> None:
        self.line.now_ms += self.chance.randrange(1, 4000)
        self.district.now += self.chance.randrange(1, 4000)
        (act,) = self.chance.choices(
            (self.write, self.seal, self.speak, self.pass_on, self.cut, self.restart),
            (7, 4, 16, 24, 1.5, 0.5),
        )
        act()

    def write(self) -> None:
        count = self.chance.randrange(1, 60)
        rows: list[Row] = [{"at_ms": self.taps + n, "device": "door"} for n in range(count)]
        self.taps += count
        school, hub = self.district.nodes[17], self.district.nodes[0]
        school.record("card_tap", rows)
        school.record("device_event", noise(self.district, 1))
        hub.record("notice", [{"school": 0, "notice": f"n{self.notices:03}"}])
        self.notices += 1

    def seal(self) -> None:
        self.district.seal(17, 0)

    def speak(self) -> None:
        self.line.speak(self.chance.choice(["up", "down"]))

    def pass_on(self) -> None:
        direction = self.chance.choice(["up", "down"])
        if self.line.lines[direction]:
            self.line.pass_on(direction)

    def cut(self) -> None:
        self.cuts += 1
        self.line = self.line.cut()

    def restart(self) -> None:
        self.district.reopen(self.chance.choice([0, 17]))
        self.cut()


@pytest.mark.parametrize("seed", range(6))
def test_no_cut_or_restart_of_a_stream_loses_or_doubles_a_row(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    district = District(tmp_path, chance)
    for origin in (0, 17):
        district.add(origin)
    storm = Storm(district, chance)
    for _ in range(250):
        storm.step()
    for _ in range(3):
        storm.seal()
        storm.cut()
        storm.line.settle()
    assert storm.cuts > 6
    taps = sorted(district.rows(0, "SELECT at_ms FROM card_tap"))
    assert taps == [(number,) for number in range(storm.taps)]
    notices = sorted(district.rows(17, "SELECT notice FROM notice"))
    assert notices == [(f"n{number:03}",) for number in range(storm.notices)]
    for node in district.nodes.values():
        node.close()
