"""The office's page and the screens it pairs: who may do what, and what the cards then show."""

import re
from dataclasses import replace
from datetime import datetime

import pytest

from edge.attendance.rules import MINUTE_MS
from edge.class_cards.office import NamePolicy
from edge.class_cards.screens import PAIRING_MS, PAIRINGS_PER_ADDRESS
from edge.pages.assets import Assets
from edge.pages.box_view import LessonRole
from edge.pages.screens import SCREEN_COOKIE
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import DAY_MS, NOW_MS, ZONE, SimulatedBox

CARD = "/class-card?room=r301"
DAY = datetime.fromtimestamp(NOW_MS / 1_000, ZONE).date().isoformat()


async def read(client: Client, path: str = CARD) -> str:
    return await (await client.get(path)).text()


async def post(client: Client, action: str, status: int = 200, /, **fields: str | int) -> str:
    answer = await client.post(f"/office/{action}", data=fields)
    text = await answer.text()
    assert answer.status == status, text
    return text


async def pair(staff: Client, room: str = "r301") -> str:
    """Pair this very browser as a screen and return the code it had shown."""
    page = await read(staff, "/class-card/pair")
    found = re.search(r'class="code"[^>]*>(\d{3}) (\d{3})<', page)
    assert found
    code = found[1] + found[2]
    await post(staff, "pair", code=code, room=room, name="301 门口")
    answer = await staff.get("/class-card/pair", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/class-card")
    return code


@pytest.fixture
def pupils(box: SimulatedBox) -> SimulatedBox:
    for person in (901, 902, 903):
        box.insert("person", person=person, kind="pupil")
        box.insert("enrolment", person=person, class_group="g3c1", since_ms=0)
    return box


@pytest.mark.usefixtures("pupils")
@pytest.mark.parametrize("action", ["emergency", "publish", "pair", "leave", "correct", "health"])
async def test_without_the_setup_code_nothing_is_entered_and_no_name_is_shown(
    client: Client, action: str
) -> None:
    page = await post(client, action, 403, text_zh="x", person=901)
    assert "Enter the setup code first." in page
    assert "欧阳若琳" not in await read(client, "/office")


async def test_a_screen_is_paired_by_the_code_it_shows_and_is_its_rooms_card_from_then_on(
    staff: Client, box: SimulatedBox
) -> None:
    code = await pair(staff)
    page = await read(staff, "/class-card")
    assert "三楼 301" in page
    assert 'data-events="/class-card/stream?v=' in page
    answer = await post(staff, "pair", 409, code=code, room="r302")
    assert "no screen shows this code" in answer
    (screen,) = box.cards.screens.all()
    assert (screen.room, screen.name) == ("r301", "301 门口")
    kept = (box.path.parent / "screens.json").read_text()
    cookies = {morsel.value for morsel in staff.session.cookie_jar if morsel.key.endswith("screen")}
    assert cookies
    assert not any(token in kept for token in cookies)


async def test_a_revoked_screen_is_a_stranger(staff: Client, box: SimulatedBox) -> None:
    await pair(staff)
    (screen,) = box.cards.screens.all()
    await post(staff, "revoke", screen=screen.screen)
    assert "Which room is this screen in?" in await read(staff, "/class-card")
    answer = await staff.post("/class-card/tap", json={"taps": []})
    assert answer.status == 403


async def test_a_code_ends_after_ten_minutes(staff: Client, box: SimulatedBox) -> None:
    page = await read(staff, "/class-card/pair")
    found = re.search(r'class="code"[^>]*>(\d{3}) (\d{3})<', page)
    assert found
    box.clock_ms += PAIRING_MS
    await post(staff, "pair", 409, code=found[1] + found[2], room="r301")


async def test_one_address_cannot_take_all_pairings(client: Client, box: SimulatedBox) -> None:
    for _ in range(PAIRINGS_PER_ADDRESS):
        client.session.cookie_jar.clear()
        assert (await client.get("/class-card/pair")).status == 200
    client.session.cookie_jar.clear()
    assert (await client.get("/class-card/pair")).status == 503
    assert box.cards.screens.begin("10.8.3.9")


async def test_an_emergency_covers_the_cards_it_names_and_counts_who_painted_it(
    staff: Client, box: SimulatedBox
) -> None:
    await pair(staff)
    await post(staff, "emergency", text_zh="立即到操场集合", text_en="To the yard, now")
    page = await read(staff)
    found = re.search(r'class="emergency"[^>]*data-message="([^"]+)"', page)
    assert found
    assert "To the yard, now" in page
    assert "not confirmed" in await read(staff, "/office")
    box.clock_ms += 180
    for _ in range(2):
        answer = await staff.post("/class-card/painted", json={"message": found[1]})
        assert answer.status == 200
    assert "after 0.2 s" in await read(staff, "/office")
    await post(staff, "lift", message=found[1])
    box.clock_ms += 1
    assert 'class="emergency"' not in await read(staff)
    assert (await staff.post("/class-card/painted", json={"message": found[1]})).status == 404
    office = await read(staff, "/office")
    assert "stands on the cards" not in office
    assert "Emergencies of the last thirty days" in office
    assert "after 0.2 s" in office, "who had painted it is asked about afterwards"
    box.clock_ms += 31 * 24 * 60 * MINUTE_MS
    assert "Emergencies of the last thirty days" not in await read(staff, "/office")


async def test_an_emergency_of_one_room_leaves_the_others_alone(staff: Client) -> None:
    await post(staff, "emergency", text_zh="疏散", room="r302")
    assert 'class="emergency"' not in await read(staff)
    assert 'class="emergency"' in await read(staff, "/class-card?room=r302")


async def test_an_exam_hides_everything_else_while_it_lasts(
    staff: Client, box: SimulatedBox
) -> None:
    await post(
        staff,
        "publish",
        kind="exam",
        text_zh="期中数学",
        text_en="Mathematics mid-term",
        begins=f"{DAY}T09:30",
        ends=f"{DAY}T10:30",
    )
    page = await read(staff)
    assert "Mathematics mid-term" in page
    assert "in-exam" not in page
    box.clock_ms += 30 * MINUTE_MS
    assert "in-exam" in await read(staff)


async def test_a_notice_shows_in_the_readers_language(staff: Client) -> None:
    await post(
        staff,
        "publish",
        kind="notice",
        text_zh="明天带水彩笔",
        text_en="Bring paints tomorrow",
        begins=f"{DAY}T08:00",
        ends=f"{DAY}T23:00",
    )
    assert "Bring paints tomorrow" in await read(staff)
    assert "明天带水彩笔" in await read(staff, f"{CARD}&lang=zh-CN")


@pytest.mark.usefixtures("pupils")
async def test_duty_and_the_star_of_the_week_stand_on_the_card(staff: Client) -> None:
    await post(staff, "duty", group="g3c1", on=DAY, person=902)
    await post(staff, "honour", group="g3c1", on=DAY, person=903, reason="帮助同学")
    page = await read(staff)
    assert re.search(r"On duty</dt><dd>李明", page)
    assert re.search(r"Star of the week</dt><dd>张伟 <span[^>]*>帮助同学", page)
    await post(staff, "duty", group="g3c1", on=DAY, person="")
    await post(staff, "honour", group="g3c1", on=DAY, person="", reason="")
    page = await read(staff)
    assert "On duty" not in page
    assert "Star of the week" not in page


@pytest.mark.usefixtures("pupils")
async def test_a_class_of_the_roster_stands_on_the_card_of_the_room_that_the_office_chose(
    staff: Client, box: SimulatedBox
) -> None:
    box.insert("class_group", class_group="g3c1", name="三年级1班", room=None)  # as a roster tells
    await post(staff, "duty", group="g3c1", on=DAY, person=902)
    assert "On duty" not in await read(staff)
    office = await read(staff, "/office?group=g3c1")
    assert "stand on no class card" in office
    await post(staff, "room", group="g3c1", room="r301")
    page = await read(staff)
    assert re.search(r"On duty</dt><dd>李明", page)
    assert "三年级1班" in page
    assert "stand on no class card" not in await read(staff, "/office?group=g3c1")


@pytest.mark.parametrize(
    ("policy", "shown", "hidden"),
    [
        (NamePolicy.FULL, "李明", "person 902"),
        (NamePolicy.MASKED, "李*", "李明"),
        (NamePolicy.NUMBER, "person 902", "李"),
    ],
)
async def test_a_card_writes_names_as_the_school_lets_it(
    client: Client, box: SimulatedBox, policy: NamePolicy, shown: str, hidden: str
) -> None:
    box.cards.names = policy
    taps = await read(client, "/class-card/taps?room=r301")
    assert shown in taps
    assert hidden not in taps


async def test_the_card_counts_who_is_here_late_and_absent(
    client: Client, pupils: SimulatedBox
) -> None:
    for person, status in ((901, "present"), (902, "late")):
        pupils.insert("attendance_entry", day=DAY, slot="d0p1", person=person, status=status)
    taps = await read(client, "/class-card/taps?room=r301")
    assert "here 2" in taps
    assert "late 1" in taps
    assert "awaited 1" in taps
    chinese = await client.get("/class-card/taps?room=r301", headers={"Accept-Language": "zh-CN"})
    assert "已到 2" in await chinese.text()


async def test_leave_correction_and_health_are_entered_and_judged_again(
    staff: Client, pupils: SimulatedBox
) -> None:
    await post(
        staff, "leave", person=901, begins=f"{DAY}T08:00", ends=f"{DAY}T12:00", reason="发烧"
    )
    assert pupils.judged
    page = await read(staff, f"/office?group=g3c1&day={DAY}")
    assert "发烧" in page
    await post(
        staff,
        "correct",
        group="g3c1",
        day=DAY,
        slot="d0p1",
        person=902,
        status="present",
        teacher="王老师",
        reason="忘带卡",
    )
    page = await read(staff, f"/office?group=g3c1&day={DAY}")
    assert "王老师: 忘带卡" in page
    await post(staff, "health", person=903, temperature_c="37.9", symptoms="咳嗽")
    with pupils.connect() as connection:
        row = connection.execute("SELECT person, temperature_c FROM health_check").fetchone()
    assert tuple(row) == (903, 37.9)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("leave", {"person": "901", "begins": f"{DAY}T12:00", "ends": f"{DAY}T08:00"}),
        ("leave", {"person": "901", "begins": "yesterday, at 8", "ends": f"{DAY}T08:00"}),
        ("duty", {"group": "g3c1", "on": "2026-02-30", "person": "901"}),
        ("health", {"person": "901"}),
        ("health", {"person": "901", "temperature_c": "99"}),
        ("correct", {"day": DAY, "slot": "s", "person": "1", "status": "gone"}),
        ("publish", {"kind": "emergency", "text_zh": "x", "begins": DAY, "ends": DAY}),
        ("emergency", {"text_zh": "x" * 301}),
        ("emergency", {"text_zh": "x", "unknown": "1"}),
    ],
)
async def test_what_makes_no_sense_is_refused(
    staff: Client, action: str, fields: dict[str, str]
) -> None:
    assert "missing or not as it should be" in await post(staff, action, 400, **fields)


async def test_taps_kept_by_a_screen_count_once_however_often_they_are_delivered(
    staff: Client, box: SimulatedBox
) -> None:
    await pair(staff)
    box.cards_of["0008075634"] = 902
    taps = [
        {"key": "a" * 32, "card": "6f007b3972", "at_ms": NOW_MS - 2 * DAY_MS},
        {"key": "b" * 32, "card": "00AABBCC", "at_ms": NOW_MS + DAY_MS},
        {"key": "c" * 32, "card": "00AABBCC", "at_ms": NOW_MS - 40 * DAY_MS},
    ]
    for _ in range(3):
        answer = await staff.post("/class-card/tap", json={"taps": taps})
        assert await answer.json() == {"taken": 2, "too_old": ["c" * 32]}
    with box.connect() as connection:
        rows = connection.execute(
            "SELECT at_ms, person, room, card FROM card_tap WHERE device LIKE 'screen-%'"
            " ORDER BY at_ms"
        ).fetchall()
    assert [tuple(row) for row in rows] == [
        (NOW_MS - 2 * DAY_MS, 902, "r301", None),
        (NOW_MS, None, "r301", f"{0x00AABBCC:010}"),
    ]


async def test_a_tap_of_the_first_of_thirty_days_counts_on_its_day_though_it_arrives_a_week_late(
    staff: Client, box: SimulatedBox
) -> None:
    await pair(staff)
    at_ms = NOW_MS - (30 + 7) * DAY_MS
    wish = {"taps": [{"key": "a" * 32, "card": "00AABBCC", "at_ms": at_ms}]}
    answer = await staff.post("/class-card/tap", json=wish)
    assert await answer.json() == {"taken": 1, "too_old": []}
    with box.connect() as connection:
        rows = connection.execute(
            "SELECT at_ms FROM card_tap WHERE device LIKE 'screen-%'"
        ).fetchall()
    assert [row[0] for row in rows] == [at_ms]
    assert at_ms in box.judged


async def test_what_a_screen_lost_stands_at_the_office_and_once_in_the_audit(
    staff: Client, box: SimulatedBox
) -> None:
    await pair(staff)
    assert "could not keep" not in await read(staff, "/office")
    for _ in range(2):
        lost = {"full": 12, "too_old": 3}
        answer = await staff.post("/class-card/tap", json={"taps": [], "lost": lost})
        assert answer.status == 200
    page = await read(staff, "/office")
    assert "taps it could not keep: 12" in page
    assert "taps refused as too old: 3" in page
    (screen,) = box.cards.screens.all()
    with box.connect() as connection:
        rows = connection.execute(
            "SELECT who, subject FROM audit_entry WHERE action = 'lose taps'"
        ).fetchall()
    said = f"{screen.screen}:full=12:too_old=3"
    assert [tuple(row) for row in rows] == [(screen.screen, said)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"taps": [{"key": "a", "card": "AABB", "at_ms": 1}]}',
        b'{"taps": [{"key": "aaaaaaaa", "card": "<script>", "at_ms": 1}]}',
        b'{"taps": [{"key": "aaaaaaaa", "card": "AABB", "at_ms": -1}]}',
        b'{"taps": [], "lost": {"full": -1, "too_old": 0}}',
        b'{"taps": [' + b",".join([b'{"key":"aaaaaaaa","card":"AABB","at_ms":1}'] * 101) + b"]}",
    ],
)
async def test_what_is_no_tap_is_refused(staff: Client, body: bytes) -> None:
    await pair(staff)
    answer = await staff.post(
        "/class-card/tap", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400


async def test_the_hub_is_told_of_screens_now_and_then(staff: Client, box: SimulatedBox) -> None:
    await pair(staff)
    screens = box.cards.screens
    (screen,) = screens.all()
    with screens.opened(screen.screen, "v1"):
        await screens.note_due()
        box.clock_ms += 70 * MINUTE_MS
        await screens.note_due()
    with box.connect() as connection:
        row = connection.execute("SELECT room, seen_ms, version FROM card_screen").fetchone()
    assert tuple(row) == ("r301", NOW_MS + 70 * MINUTE_MS, "v1")


def health(box: SimulatedBox, **changes: object) -> dict[str, object]:
    """Return what a screen says that is well but for some changes."""
    version = Assets().digest
    well = {"version": version, "clock_ms": box.now_ms(), "data_ms": box.now_ms()}
    return {**well, "is_painting": True, "lacks": [], **changes}


async def test_screens_that_need_somebody_stand_first_and_the_sum_counts_them(
    staff: Client, box: SimulatedBox
) -> None:
    await pair(staff)
    agent = {"User-Agent": "Mozilla/5.0 (Linux; Android 7.1.2; wv) Chrome/83.0.4103.106 Safari"}
    for said, words in (
        ({}, ("well: 1 of 1", "Chromium 83")),
        (
            {"is_painting": False, "lacks": ["IDBFactory"]},
            ("does not say that it paints", "browser too old", "IDBFactory"),
        ),
        ({"clock_ms": NOW_MS - 10 * MINUTE_MS}, ("clock wrong", "behind by 10 min")),
        ({"data_ms": NOW_MS - 60 * MINUTE_MS}, ("shows what is old",)),
        ({"error": "TypeError live.js:42"}, ("script fails", "TypeError live.js:42")),
    ):
        answer = await staff.post("/class-card/health", json=health(box, **said), headers=agent)
        assert answer.status == 204
        page = await read(staff, "/office")
        assert ("to be looked at: 1" in page) == bool(said)
        for word in words:
            assert word in page
    secret = box.cards.screens.begin("10.8.3.9")
    code = box.cards.screens.code_of(secret) or ""
    await box.cards.screens.pair(code, room="r301", name="another one", who="t")
    page = await read(staff, "/office")
    assert "not known yet: 1" in page
    assert page.index('scope="row">301 门口') < page.index('scope="row">another one')


@pytest.mark.parametrize(
    "changes",
    [
        {"error": "Error: 张伟 is not valid JSON"},  # what a page shows goes to no district
        {"error": "TypeError https://10.8.3.5/live.js:1"},
        {"version": "<b>"},
        {"lacks": ["a b"]},
        {"lacks": ["a"] * 13},
        {"clock_ms": -1},
        {"is_painting": 1},
        {"name": "x"},
    ],
)
async def test_a_heartbeat_that_says_more_than_it_may_is_refused(
    staff: Client, box: SimulatedBox, changes: dict[str, object]
) -> None:
    await pair(staff)
    answer = await staff.post("/class-card/health", json=health(box, **changes))
    assert answer.status == 400


async def test_who_is_not_paired_says_nothing_of_its_health(
    client: Client, box: SimulatedBox
) -> None:
    answer = await client.post("/class-card/health", json=health(box))
    assert answer.status == 403
    assert "card_health.js" not in await read(client)


async def test_a_lessons_code_is_told_to_the_rooms_own_screen_and_to_staff_alone(
    client: Client, staff: Client, box: SimulatedBox
) -> None:
    box.lessons["r301"] = box.lessons["r302"] = replace(
        box.lessons["r301"], role=LessonRole.FLAGSHIP, teacher_code="123456"
    )

    async def told(room: str = "r301") -> str:
        answer = await (await client.get(f"/api/lesson?room={room}")).json()
        return str(answer["lesson"]["teacher_code"])

    assert await told() == "123456"  # the code was entered in this browser
    await pair(staff)
    await client.delete("/api/session")
    assert (await told(), await told("r302")) == ("123456", "")
    assert [screen.seen_ms for screen in box.cards.screens.all()] == [NOW_MS]
    client.session.cookie_jar.clear()
    assert await told() == ""
    client.session.cookie_jar.update_cookies({SCREEN_COOKIE: "nonsense"})
    assert await told() == ""
