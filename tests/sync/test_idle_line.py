"""A line on which nobody writes: what it carried is acknowledged, and is not carried again."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sync.exchange.conversation import HEARTBEAT_MS
from sync.logs.oplog import Row
from sync.segments.segment import parse_segment
from sync.segments.signing import SignerId
from tests.sync.district import District, empty_store
from tests.sync.line import Line
from tests.sync.test_clones import copied, talk
from tests.sync.test_conversation import noise

QUARTER_MS = 900_000


def be_idle(line: Line) -> None:
    """Let a quarter of an hour pass, with the questions that it brings."""
    until_ms = line.now_ms + QUARTER_MS
    while line.now_ms < until_ms:
        line.now_ms += HEARTBEAT_MS // 2
        for direction in ("up", "down"):
            line.speak(direction)
            line.pass_all_on(direction)


def sent(line: Line, direction: str) -> list[str]:
    """Return the segments that went one way, by log and number."""
    headers = [
        parse_segment(wire).header
        for towards, message in line.heard
        for wire in message.segments
        if towards == direction
    ]
    return [f"{header.log} {header.seq}" for header in headers]


class TestHistoryGivenBack:
    def test_a_school_that_lost_its_store_does_not_send_back_what_the_hub_gives_it(
        self, district: District
    ) -> None:
        district.nodes[17].record("device_event", noise(district, 30))
        district.exchange(17)
        district.restore(17, empty_store(), b"second")
        line = Line(district)
        line.settle()
        be_idle(line)
        given, returned = sent(line, "down"), sent(line, "up")
        assert len(given) > 10
        assert not {*given} & {*returned}
        assert line.edge.under_way == {}
        node = district.nodes[17]
        held = node.peers.cursors(0)
        own = [log for log in node.logs() if log.name.origin == 17]
        assert {log.id: (log.stored, log.applied) for log in own} == held


@dataclass
class Forgetful(District):
    """A district whose directory has not heard yet of some boxes."""

    unknown: set[int] = field(default_factory=set)

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        return None if origin in self.unknown else super().signing_key(origin, signer)


class TestLogsNotTaken:
    @pytest.mark.parametrize("unknown", [17, 0])
    def test_what_was_refused_for_want_of_a_signer_is_taken_once_it_is_known(
        self, tmp_path: Path, unknown: int
    ) -> None:
        district = Forgetful(tmp_path, random.Random(7), unknown={unknown})
        room: Row = {"room": "r1", "name": "named"}
        notice: Row = {"school": 0, "notice": "n1", "title_en": "told"}
        district.add(17).record("room", [room])
        district.add(0).record("notice", [notice])
        district.seal(0, 17)
        line = Line(district)
        line.settle()
        be_idle(line)
        lacking = 17 - unknown
        table = "room" if unknown else "notice"
        assert district.rows(lacking, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608 - one of two
        district.unknown.clear()
        be_idle(line)
        assert district.rows(lacking, f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608 - one of two
        for node in district.nodes.values():
            node.close()


class TestTwins:
    def test_what_two_boxes_on_copies_of_one_disk_wrote_comes_home_without_anything_more(
        self, district: District, tmp_path: Path
    ) -> None:
        box, hub = district.nodes[17], district.nodes[0]
        box.record("card_tap", [{"at_ms": 1}])
        district.exchange(17)
        other = copied(district, tmp_path / "twin")
        line = Line(district)
        line.settle()
        twin = other.nodes[17]
        twin.record("card_tap", [{"at_ms": 2}])
        talk(district, twin)
        box.record("card_tap", [{"at_ms": 3}])
        box.seal_all()
        box.record("card_tap", [{"at_ms": 4}])
        be_idle(line)
        box.seal_all()
        be_idle(line)
        assert district.rows(0, "SELECT at_ms FROM card_tap ORDER BY 1") == [(1,), (2,), (3,), (4,)]
        assert district.digests(17)["card_tap"] == district.digests(0)["card_tap"]
        assert not any(log.last_row > log.sealed_row for log in box.logs())
        assert [log.frozen for log in hub.logs() if log.frozen]
        twin.close()

    def test_a_box_that_gave_way_knows_that_the_hub_has_what_it_gave_back(
        self, district: District, tmp_path: Path
    ) -> None:
        box, hub = district.nodes[17], district.nodes[0]
        box.record("card_tap", [{"at_ms": 1}])
        district.exchange(17)
        other = copied(district, tmp_path / "twin")
        twin = other.nodes[17]
        twin.record("card_tap", [{"at_ms": 2}])
        talk(district, twin)
        for moment in (3, 4):
            box.record("card_tap", [{"at_ms": moment}])
            box.seal_all()
        line = Line(district, first_bytes_max=0)
        line.settle()
        be_idle(line)
        box.seal_all()
        be_idle(line)
        told, names = box.peers.cursors(0), {log.name: log.id for log in box.logs()}
        held = [log for log in hub.logs() if log.name.origin == 17]
        assert [told[names[log.name]] for log in held] == [
            (log.stored, log.applied) for log in held
        ]
        assert not {*sent(line, "down")} & {*sent(line, "up")}
        twin.close()
