"""Two boxes on copies of one store: each keeps what it wrote, whatever becomes of the other."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.clock_spans import ClockSpans, Trust
from sync.history.bounding import HistoryPolicy
from sync.history.taking_back import give_way
from sync.keys.keyring import Keyring
from sync.logs.oplog import Row
from sync.node import Node
from sync.schema.model import Lane
from sync.segments.segment import parse_segment
from tests.sync.district import District, empty_store, one_round
from tests.sync.turns import TurnSession

MOMENTS = "SELECT at_ms FROM card_tap ORDER BY at_ms"
HOLLOW = (
    "SELECT DISTINCT l.lane FROM segment s JOIN log l ON l.id = s.log"
    " WHERE l.origin = 17 AND substr(s.wire, 1, 4) = CAST('SNH1' AS BLOB)"
)


def taps(*moments: int) -> list[Row]:
    return [{"at_ms": at_ms, "device": "door"} for at_ms in moments]


@pytest.fixture
def twin(district: District, tmp_path: Path) -> Iterator[Node]:
    """A second box of school 17 on a copy of its disk, after one tap was acknowledged."""
    district.nodes[17].record("card_tap", taps(1))
    district.exchange(17)
    other = copied(district, tmp_path / "twin")
    yield other.nodes[17]
    other.nodes[17].close()


def copied(district: District, folder: Path) -> District:
    """Start a second box of school 17 on a copy of its disk, in a folder of its own."""
    folder.mkdir()
    (folder / "17.db").write_bytes(district.back_up(17))
    other = District(folder, random.Random(99), now=district.now, keys=district.keys)
    other.add(17)
    return other


def bound_history(district: District) -> None:
    """Let school 17 record two taps beside states, and drop the bodies by a checkpoint."""
    box = district.nodes[17]
    for at_ms in (1, 2):
        box.record_all(
            {
                "card_tap": taps(at_ms),
                "attendance_entry": [{"day": "d", "slot": "1", "person": 3, "at_ms": at_ms}],
            }
        )
        district.settle()
    empty = HistoryPolicy(written_bytes=1, apart_ms=0, retention_ms=0)
    for _ in range(3):
        for origin in (17, 0):
            for _ in district.nodes[origin].history.steps(empty):
                pass
        district.settle()


def talk(district: District, box: Node) -> None:
    edge, hub = TurnSession(box, 0), TurnSession(district.nodes[0], 17)
    for _ in range(8):
        box.seal_all()
        one_round(edge, hub)


def test_a_clone_without_a_log_that_the_hub_has_begins_logs_of_its_own(
    district: District, twin: Node
) -> None:
    district.nodes[17].record("farm_action", [{"at_ms": 2, "device": "pump"}])
    talk(district, district.nodes[17])
    talk(district, twin)
    twin.record("farm_action", [{"at_ms": 3, "device": "pump"}])
    talk(district, twin)
    assert district.rows(0, "SELECT at_ms FROM farm_action ORDER BY at_ms") == [(2,), (3,)]
    assert district.rows(0, "SELECT lane FROM log WHERE frozen IS NOT NULL") == []


@pytest.mark.parametrize("taps_of_the_clone", [1, 3])
def test_a_box_reissues_what_a_restored_hub_took_from_its_clone_instead(
    district: District, twin: Node, taps_of_the_clone: int
) -> None:
    box = district.nodes[17]
    backup = district.back_up(0)
    for at_ms in (2, 3):
        box.record("card_tap", taps(at_ms))
        talk(district, box)
    district.restore(0, backup, b"second")
    for at_ms in range(10, 10 + taps_of_the_clone):
        twin.record("card_tap", taps(at_ms))
        talk(district, twin)
    for _ in range(3):
        talk(district, box)
        talk(district, twin)
    expected = [(1,), (2,), (3,), *((10 + each,) for each in range(taps_of_the_clone))]
    assert district.rows(0, MOMENTS) == expected
    assert district.rows(17, MOMENTS) == expected
    assert district.rows(17, "SELECT lane FROM log WHERE frozen IS NOT NULL") == []


def test_events_that_a_checkpoint_covers_stand_again_after_a_clone_gave_way(
    district: District, tmp_path: Path
) -> None:
    bound_history(district)
    box = district.nodes[17]
    other = copied(district, tmp_path / "twin")
    twin = other.nodes[17]
    district.restore(0, empty_store(), b"second")
    one_round(TurnSession(twin, 0), TurnSession(district.nodes[0], 17))  # its receipts are void now
    box.record("card_tap", taps(3))
    district.exchange(17)
    assert (int(Lane.ATTENDANCE),) in district.rows(0, HOLLOW)
    twin.record("card_tap", taps(4))
    for _ in range(3):
        talk(district, twin)
        talk(district, box)
    held = district.rows(0, MOMENTS)
    assert {at_ms for (at_ms,) in held} == {1, 2, 3, 4}
    assert other.rows(17, MOMENTS) == held
    assert district.rows(17, MOMENTS) == held
    twin.close()


def late_by_a_day(district: District) -> list[tuple[object, ...]]:
    """Let school 17 record taps by a clock of 1970, and correct them; return their moments."""
    box = district.nodes[17]
    spans = ClockSpans(box, "boot")
    spans.begin(1_000, 60_000, Trust.UNKNOWN, 0)
    box.record("card_tap", taps(60_100, 60_200))
    district.exchange(17)
    assert spans.correct(district.now - 1_000, "hub", district.now, district.now + 300) == 1
    return [(district.now + 100,), (district.now + 200,)]


def test_a_correction_that_made_way_for_grants_counts_once_when_it_comes_back(
    district: District, tmp_path: Path
) -> None:
    """What was sealed and not receipted is taken back when the hub holds a clone's next segment."""
    expected = late_by_a_day(district)
    box = district.nodes[17]
    (before,) = district.rows(17, "SELECT log, row FROM clock_correction")
    box.keys.rotate("head")
    box.seal_all()
    (after,) = district.rows(17, "SELECT log, row FROM clock_correction")
    assert after[0] == before[0]
    assert after[1] != before[1]
    other = copied(district, tmp_path / "twin")
    for node, who in ((other.nodes[17], "twin"), (box, "box")):
        node.record("audit_entry", [{"at_ms": 1, "who": who}])
        node.seal_all()
    for _ in range(3):
        talk(district, other.nodes[17])
        talk(district, box)
    for each in (district.rows(0, MOMENTS), district.rows(17, MOMENTS), other.rows(17, MOMENTS)):
        assert each == expected
    other.nodes[17].close()


def test_a_correction_that_is_written_anew_counts_once_when_it_comes_back(
    district: District,
) -> None:
    """A box is restored before its correction was sealed, then to before it was sealed anew."""
    expected = late_by_a_day(district)
    first = district.restore(17, district.back_up(17), b"second")
    one_round(TurnSession(first, 0), TurnSession(district.nodes[0], 17))
    assert district.rows(17, "SELECT row FROM clock_correction WHERE log = 1") == []
    backup = district.back_up(17)
    district.exchange(17)
    district.restore(17, backup, b"third")
    district.exchange(17)
    for origin in (0, 17):
        assert district.rows(origin, MOMENTS) == expected


def test_what_was_adopted_and_taken_back_is_adopted_again(district: District) -> None:
    bound_history(district)
    box = district.restore(17, empty_store(), b"second")
    district.exchange(17)
    (log,) = [each for each in box.logs() if each.name.lane is Lane.ATTENDANCE and each.stored]
    keyring = Keyring(17, district.keys[17].sealing, district.chance.randbytes)
    with box.transaction() as cursor:
        cursor.execute("INSERT INTO unopened VALUES (?, 1, 0, 17, x'00', 1)", (log.id,))
        give_way(cursor, keyring, log, 0, box.incarnation, district.now)
    assert box.open_waiting() == 0
    district.exchange(17)
    assert {*district.rows(17, MOMENTS)} == {(1,), (2,)}
    assert district.rows(17, MOMENTS) == district.rows(0, MOMENTS)


def tap_beside_states(box: Node, *moments: int, has_card: bool = True) -> None:
    """Record taps in segments that hold states too, which a checkpoint copies."""
    for at_ms in moments:
        card = f"04:{at_ms}" if has_card else None
        box.record_all(
            {
                "card_tap": [{"at_ms": at_ms, "device": "door", "card": card}],
                "attendance_entry": [{"day": "d", "slot": "1", "person": 3, "at_ms": at_ms}],
            }
        )
        box.seal_all()


def bound_alone(box: Node) -> None:
    """Let a box make a checkpoint of what the hub holds; no body goes yet."""
    for _ in box.history.steps(HistoryPolicy(written_bytes=1, apart_ms=0)):
        pass


CARDS = "SELECT at_ms, card FROM card_tap ORDER BY at_ms"


def test_a_clones_snapshot_does_not_mix_its_rows_with_those_of_the_same_numbers(
    district: District, twin: Node
) -> None:
    tap_beside_states(twin, 11, 12, 13)
    talk(district, twin)
    bound_alone(twin)
    box = district.nodes[17]
    tap_beside_states(box, 21, 22, 23)
    talk(district, twin)  # its snapshot is at the hub, and goes to the other before that gives way
    for _ in range(3):
        talk(district, box)
        talk(district, twin)
    moments = [(1,), (11,), (12,), (13,), (21,), (22,), (23,)]
    for origin in (0, 17):
        assert district.rows(origin, MOMENTS) == moments
    cards = [card for _, card in district.rows(17, CARDS)]
    assert cards == [None, *(f"04:{at_ms}" for (at_ms,) in moments[1:])]
    assert district.digests(0)["card_tap"] == district.digests(17)["card_tap"]


def test_a_hub_that_was_restored_between_clones_takes_no_row_of_the_other_branch_from_a_snapshot(
    district: District, twin: Node
) -> None:
    backup = district.back_up(0)
    tap_beside_states(twin, 11, 12, 13)
    talk(district, twin)
    bound_alone(twin)
    district.restore(0, backup, b"second")
    tap_beside_states(district.nodes[17], 21, 22, 23)
    for _ in range(3):
        talk(district, district.nodes[17])
        talk(district, twin)
    moments = [(1,), (11,), (12,), (13,), (21,), (22,), (23,)]
    for origin in (0, 17):
        assert district.rows(origin, MOMENTS) == moments
    assert district.digests(0)["card_tap"] == district.digests(17)["card_tap"]


def test_nobody_adopts_by_the_checkpoint_of_another_branch(
    district: District, tmp_path: Path
) -> None:
    bound_history(district)
    other = copied(district, tmp_path / "twin")
    twin, box = other.nodes[17], district.nodes[17]
    tap_beside_states(twin, 11, 12, 13, has_card=False)
    talk(district, twin)
    bound_alone(twin)
    assert [each.number for each in twin.history.states() if each.origin == 17] == [2]
    tap_beside_states(box, 21, 22, 23, 24, has_card=False)
    sent: list[bytes] = []
    for source, lane in (
        (district, Lane.CONTROL),
        (other, Lane.SNAPSHOT),
        (district, Lane.ATTENDANCE),
    ):
        wires = [wire for _, _, wire in source.wires(17)]
        sent += [wire for wire in wires if parse_segment(wire).header.log.lane is lane]
    district.nodes[0].close()
    for path in district.folder.glob("0.db*"):
        path.unlink()
    hub = district.add(0, b"second")
    assert not hub.import_segments(sent, 17, lambda _: True).refused
    assert district.rows(0, MOMENTS) == [(1,), (2,), (21,), (22,), (23,), (24,)]
    twin.close()


def until_the_hub_has_it(district: District, box: Node) -> None:
    """Let what a box sealed reach the hub, of whose receipt the box never hears."""
    TurnSession(district.nodes[0], 17).answer(TurnSession(box, 0).request())


def diverge(district: District, box: Node, other: Node) -> list[int]:
    """Let two boxes on one disk go on, and talk in turns; return what the hub holds of taps."""
    for at_ms, each in ((1001, box), (1002, other)):
        each.record("card_tap", taps(at_ms))
        each.seal_all()
        each.record("card_tap", taps(at_ms + 1000))
    for _ in range(3):
        for each in (box, other):
            talk(district, each)
    return [at_ms for (at_ms,) in district.rows(0, MOMENTS) if isinstance(at_ms, int)]


NEW = [1001, 1002, 2001, 2002]


@pytest.mark.parametrize("segments", [1, 3])
def test_what_the_hub_holds_without_the_boxs_knowing_is_not_written_anew_by_a_copy(
    district: District, tmp_path: Path, segments: int
) -> None:
    box = district.nodes[17]
    box.record("card_tap", taps(1))
    district.exchange(17)
    sent = range(2, 2 + segments)
    for at_ms in sent:
        box.record("card_tap", [{"at_ms": at_ms, "device": "door", "person": 5, "card": "04:5"}])
        box.seal_all()
    until_the_hub_has_it(district, box)
    other = copied(district, tmp_path / "twin")
    assert diverge(district, box, other.nodes[17]) == [1, *sent, *NEW]
    for each in (district, other):
        assert each.rows(17, CARDS) == [
            (1, None),
            *((at, "04:5") for at in sent),
            *((at, None) for at in NEW),
        ]
        assert each.digests(17)["card_tap"] == district.digests(0)["card_tap"]
    other.nodes[17].close()


def test_what_waited_unsealed_in_a_copy_is_there_once(district: District, tmp_path: Path) -> None:
    box = district.nodes[17]
    box.record("card_tap", taps(1))
    district.exchange(17)
    box.record("card_tap", taps(2, 3))
    other = copied(district, tmp_path / "twin")
    assert diverge(district, box, other.nodes[17]) == [1, 2, 3, *NEW]
    assert other.digests(17)["card_tap"] == district.digests(0)["card_tap"]
    other.nodes[17].close()


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_disk_that_went_back_before_its_receipt_doubles_nothing(
    district: District, is_sealed: bool
) -> None:
    box = district.nodes[17]
    box.record("card_tap", taps(1))
    district.exchange(17)
    box.record("card_tap", taps(2))
    if is_sealed:
        box.seal_all()
    copy = district.back_up(17)
    box.record("card_tap", taps(3))
    district.exchange(17)
    back = district.restore(17, copy, b"first")
    back.record("card_tap", taps(4))
    district.exchange(17)
    for origin in (17, 0):
        assert district.rows(origin, MOMENTS) == [(1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_state_of_a_clock_that_was_ahead_counts_alike_after_a_copy_took_it_back(
    district: District, tmp_path: Path, is_sealed: bool
) -> None:
    box = district.nodes[17]
    box.record("card_tap", taps(1))
    district.exchange(17)
    district.skew[17] = 86_400_000
    box.record("room", [{"room": "r1", "name": "ahead"}])
    if is_sealed:
        box.seal_all()
    other = copied(district, tmp_path / "twin")
    box.seal_all()
    until_the_hub_has_it(district, box)
    district.skew[17] = 0
    for room, each in (("r2", box), ("r3", other.nodes[17])):
        each.record("room", [{"room": room, "name": room}])
        each.seal_all()
    district.seal(0)
    told = [wire for name, _, wire in district.wires(0) if name.endswith("/s17/control")]
    other.nodes[17].import_segments(told, 0, lambda _: True)
    for _ in range(4):
        for each in (box, other.nodes[17]):
            district.seal(0)
            talk(district, each)
    assert len(district.rows(0, "SELECT * FROM clock_clamp")) > 0
    assert len(other.rows(17, "SELECT * FROM clock_clamp")) > 0
    assert len(district.rows(0, "SELECT * FROM room")) == 3
    for copy in (district, other):
        assert copy.digests(17)["room"] == district.digests(0)["room"]
    other.nodes[17].close()


def test_rows_above_a_clock_that_came_back_are_sealed_so_that_they_apply(
    district: District,
) -> None:
    """As those that were clamped at the hub's moment, and then taken back."""
    box = district.nodes[17]
    district.exchange(17)
    box.record("room", [{"room": "r1", "name": "clamped"}, {"room": "r2", "name": "beside it"}])
    with box.transaction() as cursor:
        cursor.execute("UPDATE room SET hlc = hlc + (60000 << 16) WHERE room = 'r1'")
    district.exchange(17)
    assert district.nodes[0].parked() == []
    assert district.rows(0, "SELECT name FROM room ORDER BY 1") == [("beside it",), ("clamped",)]
    box.record("room", [{"room": "r1", "name": "later"}])
    district.exchange(17)
    assert district.rows(0, "SELECT name FROM room WHERE room = 'r1'") == [("later",)]


def test_a_write_counts_by_its_own_stamp_where_the_hub_clamped_its_clones(
    district: District, tmp_path: Path
) -> None:
    district.nodes[17].record("card_tap", taps(1))
    district.exchange(17)
    copy = copied(district, tmp_path / "twin")
    twin, box = copy.nodes[17], district.nodes[17]
    copy.skew[17] = 365 * 24 * 3600 * 1000
    twin.record("timetable_slot", [{"school": 17, "slot": "mon2", "subject": "music"}])
    talk(district, twin)  # the hub clamps what it takes for the box's own segment
    assert district.rows(0, "SELECT 1 FROM clock_clamp WHERE clamped_log LIKE '%lessons'") == [(1,)]
    district.nodes[0].seal_all()
    district.now += 60_000
    box.record("timetable_slot", [{"school": 17, "slot": "mon1", "teacher": "Li"}])
    box.seal_all()
    # The clamp comes before the box knows that its segment is not the one that was meant.
    box.import_segments([wire for _, _, wire in district.wires(0)], 0, lambda _: True)
    talk(district, box)
    box.record("timetable_slot", [{"school": 17, "slot": "mon1", "room": "r1"}])
    talk(district, box)
    twin.close()
    assert district.digests(17)["timetable_slot"] == district.digests(0)["timetable_slot"]
