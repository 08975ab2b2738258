"""The desk for class cards over a real store: what is entered stands, and taps count once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from drivers.codecs.card_numbers import canonical_card
from edge.attendance.rules import Status
from edge.books import Record
from edge.class_cards.messages import Messages, find_message, read_receipts
from edge.class_cards.office import CardOffice, Correction, DeliveredTap, week_of
from edge.class_cards.screens import PairingError, Screen
from edge.errors import BoxSetupError
from edge.pages.box_view import Change
from sync.logs.oplog import Row
from sync.store import connect_readonly
from sync.writer import Writer
from tests.edge.school import Box, new_box
from tests.edge.test_attendance_register import ZONE, at

NOW = at(9)


@dataclass
class Desk:
    box: Box
    folder: Path
    record: Record
    office: CardOffice
    changes: list[Change]
    judged: list[int]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.box.rows(query)

    async def screen(self) -> tuple[Screen, str]:
        """Pair a screen; return it and its token."""
        screens = self.office.screens
        secret = screens.begin("10.8.3.5")
        screen = await screens.pair(
            screens.code_of(secret) or "", room="301", name="301 门口", who="test"
        )
        token = screens.collect(secret)
        assert token
        return screen, token


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    box = new_box(tmp_path)
    with box.opened() as store, Writer() as writer:

        async def record(rows: Mapping[str, Sequence[Row]]) -> None:
            await writer.call(store.node.record_all, rows)

        numbers = count()
        changes: list[Change] = []
        judged: list[int] = []
        office = CardOffice(
            tmp_path,
            record,
            person_of=lambda card: {"0008075634": 7}.get(canonical_card(card)),
            judge=lambda *moments: judged.extend(moments),
            now_ms=lambda: NOW,
            draw=lambda: hashlib.sha256(b"%d" % next(numbers)).hexdigest(),
            changed=changes.append,
        )
        yield Desk(box, tmp_path, record, office, changes, judged)


async def test_a_delivery_repeated_after_a_lost_answer_adds_nothing(desk: Desk) -> None:
    screen, _ = await desk.screen()
    taps = [
        DeliveredTap(key="k1", card="6f007b3972", at_ms=at(8)),
        DeliveredTap(key="k2", card="00 aabbccdd", at_ms=at(8, 1)),
    ]
    await desk.office.deliver(screen, taps)
    before = desk.office.turn("301")
    await desk.office.deliver(screen, [*taps, DeliveredTap(key="k3", card="FF00", at_ms=at(8, 2))])
    assert desk.rows("SELECT person, room, card FROM card_tap ORDER BY at_ms") == [
        (7, "301", None),
        (None, "301", f"{0xAABBCCDD:010}"),
        (None, "301", "FF00"),
    ]
    assert at(8, 2) in desk.judged
    assert desk.office.turn("301") > before


async def test_two_screens_keys_do_not_meet(desk: Desk) -> None:
    for screen in ((await desk.screen())[0], (await desk.screen())[0]):
        await desk.office.deliver(screen, [DeliveredTap(key="k1", card="FF00", at_ms=at(8))])
    assert desk.rows("SELECT count(*) FROM card_tap") == [(2,)]


async def test_a_swap_changes_subject_and_teacher_and_nothing_else(desk: Desk) -> None:
    desk.box.plant(
        "timetable_slot",
        {
            "school": 17,
            "slot": "a",
            "class_group": "g3c1",
            "room": "301",
            "subject": "数学",
            "teacher": "李老师",
            "starts_ms": at(8),
            "ends_ms": at(8, 40),
        },
    )
    await desk.office.swap("a", "语文", "王老师", "test")
    assert desk.rows(
        "SELECT subject, teacher, room, class_group, starts_ms FROM timetable_slot"
    ) == [("语文", "王老师", "301", "g3c1", at(8))]
    assert Change.SCHEDULE in desk.changes


async def test_what_is_entered_stands_in_its_table_and_in_the_audit(desk: Desk) -> None:
    office = desk.office
    await office.enter_leave(7, at(8), at(12), "发烧", "test")
    await office.enter_duty("g3c1", "2026-11-23", 7, "test")
    await office.enter_honour("g3c1", week_of(NOW, ZONE), 7, "帮助同学", "test")
    await office.enter_health(7, 37.9, "", "test")
    word = Correction(
        day="2026-11-23",
        slot="a",
        person=7,
        status=Status.PRESENT,
        teacher="王老师",
        reason="忘带卡",
        moment_ms=at(8),
    )
    await office.correct(word, "test")
    assert desk.rows("SELECT person, reason FROM leave WHERE deleted = 0") == [(7, "发烧")]
    assert desk.rows("SELECT day, person FROM duty") == [("2026-11-23", 7)]
    assert desk.rows("SELECT week, person FROM honour") == [("2026-W48", 7)]
    assert desk.rows("SELECT temperature_c, symptoms FROM health_check") == [(37.9, None)]
    assert desk.rows("SELECT status, corrected_by FROM attendance_entry") == [("present", "王老师")]
    await office.withdraw_leave(7, at(8), at(12), "test")
    assert desk.rows("SELECT count(*) FROM leave WHERE deleted = 0") == [(0,)]
    assert len(desk.rows("SELECT action FROM audit_entry")) == 6
    # The audit goes to the district: no name, no reason, no figure of health.
    told = " ".join(str(row) for row in desk.rows("SELECT * FROM audit_entry"))
    assert not any(each in told for each in ("发烧", "37.9", "忘带卡", "帮助同学"))


async def test_a_screen_is_known_again_after_a_restart_and_not_after_it_was_revoked(
    desk: Desk,
) -> None:
    screen, token = await desk.screen()
    office = desk.office

    def reopened() -> CardOffice:
        return CardOffice(
            desk.folder,
            desk.record,
            person_of=lambda _: None,
            judge=lambda *_: None,
            now_ms=lambda: NOW,
            draw=lambda: "x" * 32,
            changed=lambda _: None,
        )

    found = reopened().screens.find(token)
    assert found is not None
    assert (found.screen, found.room) == (screen.screen, "301")
    assert reopened().screens.find("") is None
    assert reopened().screens.find(token[:-1]) is None
    assert token not in (desk.folder / "screens.json").read_text()
    assert (desk.folder / "screens.json").stat().st_mode & 0o077 == 0
    await office.screens.revoke(screen.screen, "test")
    assert office.screens.find(token) is None
    assert reopened().screens.find(token) is None
    assert desk.rows("SELECT count(*) FROM card_screen WHERE deleted = 0") == [(0,)]


async def test_a_broken_file_of_screens_says_what_to_do(desk: Desk) -> None:
    (desk.folder / "screens.json").write_bytes(b'{"a": \xff')
    (desk.folder / "screens.json").chmod(0o600)
    with pytest.raises(BoxSetupError, match="pair the class cards again"):
        CardOffice(
            desk.folder,
            desk.record,
            person_of=lambda _: None,
            judge=lambda *_: None,
            now_ms=lambda: NOW,
            draw=lambda: "",
            changed=lambda _: None,
        )


async def test_a_code_pairs_one_screen_once(desk: Desk) -> None:
    screens = desk.office.screens
    secret = screens.begin("10.8.3.5")
    code = screens.code_of(secret) or ""
    await screens.pair(code, room="301", name="a", who="test")
    with pytest.raises(PairingError):
        await screens.pair(code, room="302", name="b", who="test")
    assert screens.collect(secret)
    assert screens.collect(secret) is None


async def test_each_screen_confirms_an_emergency_once_and_its_time_is_the_first(
    desk: Desk,
) -> None:
    messages: Messages = desk.office.messages
    message = await messages.raise_emergency("集合", "", room=None, who="test")
    assert desk.changes[-1] is Change.EMERGENCY
    for screen in ("s1", "s1", "s2"):
        await messages.note_painted(message, screen)
    with connect_readonly(desk.box.folder / "box.db") as reader:
        assert read_receipts(reader, 17, message) == {"s1": 0, "s2": 0}

    def find() -> object:
        path = desk.box.folder / "box.db"
        return find_message(lambda: connect_readonly(path), 17, message.message, NOW)

    assert find() == message
    await messages.withdraw(message, "test")
    assert find() is None
