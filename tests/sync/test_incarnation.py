"""A school whose store was restored, lost or cloned loses and doubles nothing it need not."""

import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from sync.logs.oplog import Row
from sync.schema.model import Lane
from tests.sync.district import District, one_round
from tests.sync.turns import TurnSession

TAP_ROWS = "SELECT at_ms FROM card_tap ORDER BY at_ms"


def taps(*moments: int) -> list[Row]:
    return [{"at_ms": at_ms, "device": "door"} for at_ms in moments]


def moments(district: District, origin: int) -> list[int]:
    return [at_ms for (at_ms,) in district.rows(origin, TAP_ROWS) if isinstance(at_ms, int)]


def test_what_was_acknowledged_after_the_copy_comes_back(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    school.record("card_tap", taps(2))  # unsealed in the copy, sealed and sent afterwards
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    copy = district.back_up(17)
    school.record("card_tap", taps(3))
    district.exchange(17)
    restored = district.restore(17, copy, b"second")
    restored.record("card_tap", taps(4))
    assert moments(district, 17) == [1, 2, 4]
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == [1, 2, 3, 4]
        slots = district.rows(origin, "SELECT slot, room FROM timetable_slot")
        assert slots == [("1", "r2")]


def test_rows_of_the_copy_that_were_never_sealed_are_reissued(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    school.record("card_tap", taps(2))
    school.record("room", [{"room": "r1", "name": "one"}])
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    district.restore(17, district.back_up(17), b"second")
    district.exchange(17)
    assert moments(district, 0) == [1, 2]
    assert district.rows(0, "SELECT name FROM room") == [("one",)]
    assert district.rows(0, "SELECT room FROM timetable_slot") == [("r2",)]
    assert district.digests(0)["card_tap"] == district.digests(17)["card_tap"]


def test_nothing_is_ever_appended_to_a_former_incarnation(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    school.seal_all()
    school.record("card_tap", taps(2))
    before = {name: seq for name, seq, _ in district.wires(17)}
    again = district.reopen(17, b"second")
    again.record("card_tap", taps(3))
    again.seal_all()
    district.exchange(17)
    after = {name: seq for name, seq, _ in district.wires(17)}
    assert before == {name: after[name] for name in before}
    assert moments(district, 0) == [1, 2, 3]


def test_a_store_that_was_lost_is_filled_again_from_the_hub(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(*range(300)))
    school.record("person", [{"person": 5, "kind": "pupil", "name": b"sealed"}])
    district.nodes[0].record("notice", [{"school": 0, "notice": "n1"}])
    district.settle()
    held = district.digests(17)
    school.close()
    for path in district.folder.glob("17.db*"):
        path.unlink()
    district.add(17, b"second")
    district.exchange(17)
    now = district.digests(17)
    for table in ("card_tap", "person", "notice"):
        assert now[table] == held[table]
    assert district.rows(17, "SELECT name FROM person") == [(b"sealed",)]
    assert moments(district, 0) == list(range(300))


def test_a_disk_that_went_back_in_time_unnoticed_loses_no_new_row(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    copy = district.back_up(17)
    school.record("card_tap", taps(2))
    district.exchange(17)
    before = school.incarnation
    rolled_back = district.restore(17, copy, b"first")
    rolled_back.record("card_tap", taps(3))
    district.exchange(17)
    assert rolled_back.incarnation != before
    for origin in (17, 0):
        assert moments(district, origin) == [1, 2, 3]


def test_a_disk_that_went_back_and_was_appended_to_loses_no_row(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    copy = district.back_up(17)
    school.record("card_tap", taps(2))
    district.exchange(17)
    forked = district.restore(17, copy, b"first")
    forked.record("card_tap", taps(3))
    forked.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    forked.seal_all()
    forked.record("card_tap", taps(4))
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == [1, 2, 3, 4]
        slots = district.rows(origin, "SELECT slot, room FROM timetable_slot")
        assert slots == [("1", "r2")]


def test_two_boxes_on_one_store_freeze_one_log_and_both_go_on(
    district: District, tmp_path: Path
) -> None:
    district.nodes[17].record("card_tap", taps(1))
    district.exchange(17)
    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "17.db").write_bytes(district.back_up(17))
    twin_district = District(folder, random.Random(99), now=district.now, keys=district.keys)
    twin = twin_district.add(17)
    district.nodes[17].record("card_tap", taps(2))
    twin.record("card_tap", taps(3))
    for each in (district.nodes[17], twin, district.nodes[17], twin):
        each.seal_all()
        edge, hub = TurnSession(each, 0), TurnSession(district.nodes[0], 17)
        for _ in range(6):
            one_round(edge, hub)
            each.seal_all()
    district.nodes[17].record("card_tap", taps(4))
    twin.record("card_tap", taps(5))
    for each in (district.nodes[17], twin):
        each.seal_all()
        edge, hub = TurnSession(each, 0), TurnSession(district.nodes[0], 17)
        for _ in range(6):
            one_round(edge, hub)
    twin.close()
    assert moments(district, 0) == [1, 2, 3, 4, 5]
    frozen = district.rows(0, "SELECT lane FROM log WHERE frozen IS NOT NULL")
    assert set(frozen) <= {(Lane.ATTENDANCE,)}


def test_a_log_that_its_hub_froze_is_left_and_its_rows_reissued(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    district.nodes[0]._connection.execute("UPDATE log SET frozen = 'a test' WHERE lane = 2")
    school.record("card_tap", taps(2))
    school.seal_all()
    school.record("card_tap", taps(3))
    district.exchange(17)
    assert moments(district, 0) == [1, 2, 3]
    assert district.digests(0)["card_tap"] == district.digests(17)["card_tap"]


def test_changes_in_a_log_that_its_hub_froze_are_reissued_column_by_column(
    district: District,
) -> None:
    school = district.nodes[17]
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r1"}])
    district.exchange(17)
    district.nodes[0]._connection.execute("UPDATE log SET frozen = 'a test' WHERE lane = 3")
    school.record("timetable_slot", [{"school": 17, "slot": "1", "room": "r2"}])
    district.nodes[0].record("timetable_slot", [{"school": 17, "slot": "1", "subject": "music"}])
    school.record("timetable_slot", [{"school": 17, "slot": "2", "deleted": True}])
    school.seal_all()
    school.record("timetable_slot", [{"school": 17, "slot": "1", "teacher": "t"}])
    district.exchange(17)
    slots = "SELECT slot, room, subject, teacher, deleted FROM timetable_slot ORDER BY slot"
    for origin in (17, 0):
        assert district.rows(origin, slots) == [
            ("1", "r2", "music", "t", 0),
            ("2", None, None, None, 1),
        ]


def test_a_hub_does_not_give_way_to_a_school(district: District) -> None:
    hub = district.nodes[0]
    hub.record("notice", [{"school": 0, "notice": "n1"}])
    district.settle()
    district.nodes[17]._connection.execute("UPDATE log SET frozen = 'a lie' WHERE origin = 0")
    before = hub.incarnation
    hub.record("notice", [{"school": 0, "notice": "n2"}])
    district.exchange(18)
    hub_session, edge = TurnSession(hub, 17), TurnSession(district.nodes[17], 0)
    for _ in range(3):
        one_round(edge, hub_session)
    assert hub.incarnation == before
    assert len(district.rows(18, "SELECT * FROM notice")) == 2


def test_a_copy_that_is_restored_twice_doubles_nothing_it_held_unsealed(district: District) -> None:
    school = district.nodes[17]
    school.record("card_tap", taps(1))
    district.exchange(17)
    school.record("card_tap", taps(2, 3))
    copy = district.back_up(17)
    district.restore(17, copy, b"second")
    district.exchange(17)
    school = district.restore(17, copy, b"third")
    school.record("card_tap", taps(4))
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == [1, 2, 3, 4]


def test_rows_that_made_room_are_found_in_the_log_that_comes_after(district: District) -> None:
    """Their numbers are another row's, and they were written anew elsewhere already."""
    empty = district.back_up(17)
    district.nodes[17].record("card_tap", taps(9))
    district.exchange(17)
    district.restore(17, empty, b"first").record("card_tap", taps(1, 2))
    copy = district.back_up(17)
    district.restore(17, copy, b"second")
    district.exchange(17)
    district.restore(17, copy, b"third")
    district.exchange(17)
    for origin in (17, 0):
        assert moments(district, origin) == [1, 2, 9]


class _Doubtful(sqlite3.Connection):
    """Says once that a commit failed, as of a disk whose last answer was lost."""

    good = -1  # commits until then

    def cursor(self, *_: object) -> sqlite3.Cursor:  # type: ignore[override]
        return super().cursor(_DoubtfulCursor)


class _DoubtfulCursor(sqlite3.Cursor):
    def execute(self, sql: str, values: Sequence[object] = ()) -> Self:  # type: ignore[override]
        super().execute(sql, values)
        if sql == "COMMIT":
            _Doubtful.good -= 1
            if _Doubtful.good == -1:
                raise sqlite3.OperationalError("disk I/O error")
        return self


def talk(edge: TurnSession, hub: TurnSession) -> None:
    for _ in range(4):
        one_round(edge, hub)


@pytest.mark.parametrize("good", range(4))
def test_a_commit_that_failed_and_stands_all_the_same_loses_no_row(
    district: District, monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    """The box gave way to its hub, and goes on where its store says, not where it thought."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Doubtful))
    copy, hubs = district.back_up(17), district.back_up(0)
    district.nodes[17].record("card_tap", taps(1))
    district.exchange(17)
    school = district.restore(17, copy, b"first")
    school.record("card_tap", taps(*range(10, 20)))
    school.seal_all()
    edge, hub = TurnSession(school, 0), TurnSession(district.nodes[0], 17)
    _Doubtful.good = good
    with pytest.raises(sqlite3.OperationalError):
        talk(edge, hub)
    school.record("card_tap", taps(3))
    school.seal_all()
    district.restore(0, hubs, b"second")
    district.exchange(17)
    for origin in (17, 0):
        assert set(moments(district, origin)) >= {3, *range(10, 20)}


@pytest.mark.parametrize("seed", range(4))
def test_no_restore_of_a_school_doubles_a_row_or_loses_an_acknowledged_one(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    district = District(tmp_path, chance)
    for origin in (0, 17):
        district.add(origin)
    written = 0
    copies = [district.back_up(17)]
    generation = b"first"
    may_be_lost: set[int] = set()
    for step in range(80):
        district.now += chance.randrange(1, 2000)
        match chance.choices(["write", "seal", "talk", "copy", "restore"], (8, 4, 8, 2, 1))[0]:
            case "write":
                fresh = range(written, written + chance.randrange(1, 20))
                written = fresh.stop
                district.nodes[17].record("card_tap", taps(*fresh))
            case "seal":
                district.seal(17, 0)
            case "talk":
                edge, hub = TurnSession(district.nodes[17], 0), TurnSession(district.nodes[0], 17)
                for _ in range(chance.randrange(1, 4)):
                    one_round(edge, hub)
            case "copy":
                copies.append(district.back_up(17))
            case _:
                generation = str(step).encode()
                before = set(moments(district, 17))
                district.restore(17, chance.choice(copies[-3:]), generation)
                kept = {*moments(district, 17), *moments(district, 0)}
                may_be_lost |= before - kept
    district.exchange(17)
    arrived = Counter(moments(district, 0))
    assert set(arrived.values()) <= {1}
    assert set(range(written)) - arrived.keys() <= may_be_lost
    assert moments(district, 17) == sorted(arrived)
    for node in district.nodes.values():
        node.close()
