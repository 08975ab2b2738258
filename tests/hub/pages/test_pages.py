import asyncio
import re
from contextlib import closing
from html import unescape

import pytest

from hub.lesson.pairing import read_lesson
from hub.pages.access import SESSION_COOKIE
from hub.pages.hub_view import FlowLight
from provisioning.code_sessions import ATTEMPTS_PER_ADDRESS
from sync.logs.oplog import Row
from sync.store import open_store
from tests.hub.pages.browser import Browser
from tests.hub.pages.paper_hub import DAY, HOUR, MINUTE, SECOND, TEN_O_CLOCK, PaperHub, fill

PAGE_BYTES_MAX = 120 * 1024
EVIL = "<script>alert('学校')</script>"
FORM = [
    ("kind", "delivery"),
    ("title_zh", "水彩画 秋天的树"),
    ("title_en", "Watercolour"),
    ("subject", "美术"),
    ("teacher", "李老师"),
    ("day", "2026-11-21"),
    ("starts", "14:00"),
    ("ends", "14:40"),
    ("weeks", "1"),
    ("flagship_school", "1 江夏区第一小学"),
    ("flagship_class_group", "3-2"),
    ("flagship_room", "301"),
    ("receiver_school", "Guangming Primary"),
    ("receiver_class_group", "3"),
    ("receiver_room", "A"),
    ("receiver_school", "3"),
    ("receiver_class_group", "3"),
    ("receiver_room", "B"),
    ("receiver_school", ""),
    ("receiver_class_group", ""),
    ("receiver_room", ""),
]
REQUEST = {
    "kind": "delivery",
    "title_zh": "水彩画",
    "title_en": "Watercolour",
    "subject": "美术",
    "teacher": "李老师",
    "starts_ms": TEN_O_CLOCK + HOUR,
    "ends_ms": TEN_O_CLOCK + HOUR + 40 * MINUTE,
    "flagship": {"school": 1, "class_group": "3-2", "room": "301"},
    "receivers": [{"school": 2, "class_group": "3", "room": "A"}],
}


def with_field(name: str, value: str) -> list[tuple[str, str]]:
    return [(key, value if key == name else old) for key, old in FORM]


async def schedule(browser: Browser, **changes: object) -> str:
    answer = await browser.post_json("/api/lessons", {"request": REQUEST | changes})
    assert answer.status == 201, answer.text
    return str(answer.json()["lessons"][0])


@pytest.mark.parametrize("path", ["/", "/?screen=1", "/lessons", "/lessons/new", "/schools/1"])
async def test_a_stranger_is_sent_to_the_login_and_then_where_they_wanted(
    hub: PaperHub, stranger: Browser, path: str
) -> None:
    fill(hub)

    sent = await stranger.get(path)
    login = await stranger.get(sent.headers["Location"])
    target = re.search(r'name="next" value="([^"]*)"', login.text)
    assert target is not None
    opened = await stranger.log_in(target=unescape(target[1]))

    assert (sent.status, login.status, opened.status) == (303, 200, 303)
    assert opened.headers["Location"] == path
    assert (await stranger.get(path)).status == 200


@pytest.mark.parametrize("path", ["/api/district", "/api/lessons", "/api/events", "/api/x"])
async def test_a_program_without_a_session_is_refused_as_json(stranger: Browser, path: str) -> None:
    answer = await stranger.get(path)

    assert answer.status == 401
    assert "administrator" in str(answer.json()["error"])


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(
    stranger: Browser,
) -> None:
    cookie = (await stranger.log_in()).headers["Set-Cookie"]

    assert cookie.startswith(f"{SESSION_COOKIE}=")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert attribute in cookie


async def test_logging_out_ends_the_session_at_the_hub(browser: Browser) -> None:
    kept = [(cookie.key, cookie.value) for cookie in browser.jar]

    await browser.post("/logout", {})
    browser.jar.update_cookies(dict(kept))

    assert (await browser.get("/")).status == 303


async def test_a_session_left_alone_for_half_a_day_ends_and_a_used_one_does_not(
    hub: PaperHub, browser: Browser
) -> None:
    for _ in range(3):
        hub.wall_ms += 11 * HOUR
        assert (await browser.get("/api/district")).status == 200
    hub.wall_ms += 13 * HOUR

    assert (await browser.get("/api/district")).status == 401


async def test_codes_cannot_be_guessed_quickly(hub: PaperHub, stranger: Browser) -> None:
    tried = [await stranger.log_in(f"guess {n}") for n in range(ATTEMPTS_PER_ADDRESS)]
    locked = await stranger.log_in()
    hub.wall_ms += 61 * SECOND
    later = await stranger.log_in()

    assert {answer.status for answer in tried} == {403}
    assert "not the administrator" in tried[0].text
    assert (locked.status, later.status) == (429, 303)
    assert 0 < int(locked.headers["Retry-After"]) <= 61


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/\r\nX: 1", "x" * 500, ""],
)
async def test_the_login_never_sends_anyone_to_another_site(stranger: Browser, target: str) -> None:
    assert (await stranger.log_in(target=target)).headers["Location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_another_site_cannot_change_anything_with_a_session(
    hub: PaperHub, browser: Browser, headers: dict[str, str]
) -> None:
    fill(hub)
    lesson = await schedule(browser)

    for path in ("/lessons", f"/lessons/{lesson}/cancel", "/logout", "/login"):
        assert (await browser.post(path, FORM, headers)).status == 403
    page = await browser.get(f"/api/lessons/{lesson}")

    assert page.json()["phase"] == "ahead"


async def test_every_answer_carries_the_security_headers(browser: Browser) -> None:
    for path in ("/", "/login", "/nope", "/static/hub.css", "/static/nope", "/api/district"):
        headers = (await browser.get(path)).headers

        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_what_schools_and_people_write_is_text_never_markup(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hub.district_name = EVIL
    hub.add_school(2, EVIL, EVIL)
    hub.hear(2, HOUR, box=EVIL)
    hub.record("alarm", [{"school": 1, "at_ms": hub.wall_ms, "alarm": EVIL, "place": EVIL}])
    hub.record("device", [{"school": 2, "device": EVIL, "kind": EVIL, "name": EVIL, "room": EVIL}])
    hub.record(
        "reading",
        [
            {
                "school": 2,
                "at_ms": hub.wall_ms,
                "device": EVIL,
                "point": EVIL,
                "unit": EVIL,
                "quality": EVIL,
                "reason": EVIL,
            }
        ],
    )
    lesson = await schedule(
        browser,
        title_zh=EVIL,
        title_en=EVIL,
        teacher=EVIL,
        receivers=[{"school": 2, "class_group": EVIL, "room": EVIL}],
        starts_ms=hub.wall_ms - MINUTE,
    )
    hub.record(
        "lesson_quality",
        [
            {
                "school": 2,
                "at_ms": hub.wall_ms,
                "lesson": lesson,
                "hop": EVIL,
                "state": EVIL,
                "cause": EVIL,
            }
        ],
    )

    pages = ["/", "/?screen=1", "/lessons", f"/lessons/{lesson}", "/lessons/new", "/schools/2"]
    for path in pages:
        page = await browser.get(path)
        assert page.status == 200
        assert EVIL not in page.text, path
        assert "&lt;script&gt;" in page.text, path
    typed = await browser.post("/lessons", with_field("title_zh", '"><script>x</script>' * 20))
    assert "<script>x" not in typed.text


async def test_an_empty_district_says_what_to_do_first_in_both_languages(
    browser: Browser,
) -> None:
    for language, words in (("en", "Invite the first school"), ("zh-CN", "邀请第一所学校")):
        for path in (f"/?lang={language}", f"/?screen=1&lang={language}"):
            page = await browser.get(path)
            assert words in page.text
            assert "schoolnode-hub invite --school 1" in page.text
        assert (await browser.get(f"/lessons?lang={language}")).status == 200
    form = await browser.get("/lessons/new", **{"Accept-Language": "en"})
    assert "schoolnode-hub invite" in form.text


async def test_the_language_once_asked_for_stays(hub: PaperHub, browser: Browser) -> None:
    fill(hub)

    asked = await browser.get("/?lang=zh-CN")
    later = await browser.get("/lessons")

    assert '<html lang="zh-CN"' in asked.text
    assert '<html lang="zh-CN"' in later.text
    assert "江夏区第一小学" in asked.text
    assert "Jiangxia No. 1" not in asked.text


async def test_every_school_stands_in_the_picture_and_in_its_table_with_evidence(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hub.hear(3, 25 * MINUTE)
    hub.add_school(4, "新校", "New School", place=None)

    page = (await browser.get("/")).text
    screen = (await browser.get("/?screen=1")).text

    assert "2 of 4 schools need a look" in page
    assert "Silent for 25 min." in page
    assert "heartbeat 7 s ago · data stored 7 s ago · sync lag 4 s" in page
    for school in (1, 2, 3, 4):
        assert page.count(f'href="/schools/{school}"') >= 2
        assert f'href="/schools/{school}"' in screen
    assert 'class="hex unknown"' in page
    assert 'class="hex bad"' in page
    assert '<a href="/">' in screen


async def test_the_json_twin_says_what_the_page_says(hub: PaperHub, browser: Browser) -> None:
    fill(hub)

    district = (await browser.get("/api/district")).json()

    rows = district["rows"]
    assert [row["light"]["word"] for row in rows] == ["connected"] * 3
    assert rows[0]["light"]["evidence"][0] == "heartbeat 7 s ago"
    assert district["taps_today"] == 600


async def test_a_school_s_page_shows_its_rows_and_says_that_names_are_not_here(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)

    page = (await browser.get("/schools/2")).text
    twin = (await browser.get("/api/schools/2")).json()

    for words in ("Guangming Primary", "No names.", "31.517 %", "soil moisture", "card reader"):
        assert words in page
    assert "heartbeat 14 s ago" in page
    assert [reading["point"] for reading in twin["detail"]["readings"]] == ["soil_moisture"]


async def test_a_school_s_page_shows_its_class_cards_the_longest_silent_first(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    assert "Class cards" not in (await browser.get("/schools/2")).text
    for number, (name, seen_ms) in enumerate(
        (("301 门口", TEN_O_CLOCK - MINUTE), ("302 门口", TEN_O_CLOCK - 3 * HOUR))
    ):
        screen: dict[str, str | int] = {
            "screen": f"s{number}",
            "name": name,
            "room": "r",
            "seen_ms": seen_ms,
        }
        hub.record("card_screen", [{"school": 2, "version": "4f1c", **screen}])

    page = (await browser.get("/schools/2")).text
    twin = (await browser.get("/api/schools/2")).json()["detail"]["screens"]

    assert [each["name"] for each in twin] == ["302 门口", "301 门口"]
    assert [each["is_fresh"] for each in twin] == [False, True]
    assert page.index("302 门口") < page.index("301 门口")
    assert "nothing heard of it through its box" in page
    assert "4f1c" in page


SCREENS: list[dict[str, str | int | None]] = [
    {
        "screen": "s1",
        "name": "一年级门口",
        "trouble": "",
        "browser": "Chromium 109",
        "data_ms": TEN_O_CLOCK - MINUTE,
    },
    {"screen": "s2", "name": "二年级门口", "trouble": "silent", "seen_ms": TEN_O_CLOCK - 3 * DAY},
    {"screen": "s3", "name": "三年级门口", "trouble": "silent", "seen_ms": TEN_O_CLOCK - 5 * HOUR},
    {
        "screen": "s4",
        "name": "四年级门口",
        "trouble": "data_old browser_old clock_off",
        "browser": "Chromium 61",
        "lacks": "grid serviceWorker",
        "data_ms": TEN_O_CLOCK - 2 * HOUR,
        "clock_ahead_s": -600,
    },
    {
        "screen": "s5",
        "name": "五年级门口",
        "trouble": "dark errors page_old",
        "error": "TypeError live.js:42",
        "error_ms": TEN_O_CLOCK - 9 * MINUTE,
    },
    {"screen": "s6", "name": "六年级门口", "trouble": None},
    {"screen": "s7", "name": "图书馆", "trouble": "melting"},
]
"""Of school 2: each word of a box's, and one that this hub does not know."""


def hang_screens(hub: PaperHub) -> None:
    for number, screen in enumerate(SCREENS):
        usual: Row = {"school": 2, "room": f"{number}01", "version": "4f1c9a07b2d3"}
        hub.record("card_screen", [{**usual, "seen_ms": TEN_O_CLOCK - MINUTE, **screen}])


async def test_a_school_s_cards_are_summed_up_and_those_that_need_somebody_stand_first(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hang_screens(hub)

    detail = (await browser.get("/api/schools/2")).json()["detail"]
    english = (await browser.get("/schools/2")).text
    chinese = (await browser.get("/schools/2?lang=zh-CN")).text

    assert [(each["screen"], each["state"]) for each in detail["screens"]] == [
        ("s2", "bad"),
        ("s5", "bad"),
        ("s3", "warn"),
        ("s4", "warn"),
        ("s7", "warn"),
        ("s6", "unknown"),
        ("s1", "good"),
    ]
    count = detail["cards"]
    assert (count["well"], count["needing"], count["unknown"]) == (1, 5, 1)
    assert count["troubles"][0] == ["silent", 2]
    for words in (
        "well: 1 of 7",
        "to be looked at: 5",
        "not known: 1",
        "screen silent 2",
        "for 3 d",
        "grid, serviceWorker",
        "behind by 10",
        "TypeError live.js:42",
        "9 min ago",
        "melting",
    ):
        assert words in english
    for words in ("1/7 块", "5 块", "浏览器过旧", "慢 10", "脚本出错"):
        assert words in chinese


async def test_the_district_sums_up_its_class_cards_as_its_schools_pages_do(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    assert "class cards well" not in (await browser.get("/")).text
    hang_screens(hub)
    long_ago = TEN_O_CLOCK - 3 * HOUR  # well when its box last spoke of it
    hub.record("card_screen", [{"school": 1, "screen": "a", "seen_ms": long_ago, "trouble": ""}])

    district = (await browser.get("/api/district")).json()
    english = (await browser.get("/")).text
    chinese = (await browser.get("/?lang=zh-CN")).text

    rows = {row["school"]: row["now"]["cards"] for row in district["rows"]}
    for school in (1, 2):
        cards = (await browser.get(f"/api/schools/{school}")).json()["detail"]["cards"]
        assert {name: cards[name] for name in ("well", "needing", "unknown")} == {
            name: rows[school][name] for name in ("well", "needing", "unknown")
        }
    assert district["cards"] == {"well": 1, "needing": 5, "unknown": 2, "troubles": []}
    assert "class cards well" in english
    assert "to be looked at: 5" in english
    assert 'href="/schools/2#cards"' in english
    assert "块班牌正常" in chinese


async def test_a_school_s_page_says_who_may_read_and_stops_saying_that_the_hub_cannot(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    told: Row = {"school": 2, "at_ms": hub.wall_ms - HOUR, "who": "李老师", "public": bytes(32)}
    hub.record(
        "confirmed_recipient",
        [
            {**told, "recipient": b"1", "kind": "recovery", "name": "code of 2026"},
            {**told, "recipient": b"2", "kind": "box", "name": "spare", "revoked": 1},
            {**told, "recipient": b"3", "kind": "hub", "name": "health in part, identity"},
        ],
    )
    page = (await browser.get("/schools/2")).text
    for words in ("recovery code", "code of 2026", "李老师", "spare", "revoked", "confirmed"):
        assert words in page
    assert "No names." not in page
    assert "names and guardians: until further notice" in page
    assert "health figures: some epochs, now ended" in page
    other = (await browser.get("/schools/1")).text
    assert "No names." in other
    assert "Who may read" not in other


@pytest.mark.parametrize("path", ["/schools/99", "/lessons/nope", "/nope", "/schools/99999999999"])
async def test_what_is_not_there_is_said_so_in_the_reader_s_language(
    hub: PaperHub, browser: Browser, path: str
) -> None:
    fill(hub)

    english = await browser.get(path)
    chinese = await browser.get(path, **{"Accept-Language": "zh"})
    twin = await browser.get("/api" + path)

    assert (english.status, twin.status) == (404, 404)
    assert "There is nothing at this address" in english.text
    assert "此地址没有内容" in chinese.text
    assert "error" in twin.json()


async def test_a_lesson_scheduled_by_the_form_stands_in_the_grid_and_in_every_timetable(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)

    answer = await browser.post("/lessons", FORM)
    page = await browser.get(answer.headers["Location"])
    grid = (await browser.get("/lessons")).text
    connection = hub.connect()
    scheduled = read_lesson(connection, answer.headers["Location"].rpartition("/")[2])
    connection.close()

    assert answer.status == 303
    assert "Starts in 4 h" in page.text
    assert [party.school for party in scheduled.request.parties] == [1, 2, 3]
    assert scheduled.request.starts_ms == TEN_O_CLOCK + 4 * HOUR
    assert {slot.school for slot in scheduled.slots} == {1, 2, 3}
    assert "14:00\u201314:40" in grid
    assert grid.count("Watercolour") == 3
    assert "1+N" in grid


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ends", "13:00", "ends (13:00) before it starts (14:00)"),
        ("starts", "soon", "Day or time is missing"),
        ("day", "2026-02-30", "Day or time is missing"),
        ("weeks", "27", "a number from 1 to 26"),
        ("weeks", "²", "a number from 1 to 26"),
        ("flagship_school", "Hogwarts", "“Hogwarts” is no school known here"),
        ("flagship_school", "3", "cannot also receive it"),
        ("flagship_school", "77", "School 77 is not known here"),
        ("kind", "x", "is no kind of lesson"),
    ],
)
async def test_a_form_with_a_fault_comes_back_filled_with_the_fault_in_words(
    hub: PaperHub, browser: Browser, name: str, value: str, sentence: str
) -> None:
    fill(hub)

    answer = await browser.post("/lessons", with_field(name, value))
    lessons = (await browser.get("/api/lessons")).json()

    assert answer.status == 409
    assert sentence in unescape(answer.text)
    assert 'data-address="/lessons/new"' in answer.text
    assert 'value="水彩画 秋天的树"' in answer.text
    assert lessons["lessons"] == 0


async def test_more_receivers_can_be_added_without_a_script(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)

    answer = await browser.post("/lessons", [*FORM, ("more", "1")])

    assert answer.status == 200
    assert answer.text.count('name="receiver_school"') == 6
    assert 'value="Guangming Primary"' in answer.text


async def test_two_people_at_once_cannot_both_have_the_same_room(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hub.disk_s = 0.05

    answers = await asyncio.gather(*(browser.post("/lessons", FORM) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [303, 409, 409, 409]


async def test_a_term_of_lessons_is_scheduled_at_once(hub: PaperHub, browser: Browser) -> None:
    fill(hub)

    answer = await browser.post_json("/api/lessons", {"request": REQUEST, "weeks": 16})
    in_a_week = (await browser.get("/api/lessons?day=2026-11-28")).json()

    assert len(answer.json()["lessons"]) == 16
    assert in_a_week["lessons"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"request": REQUEST | {"colour": "red"}}, 400),
        ({"request": REQUEST | {"starts_ms": "now"}}, 400),
        ({"request": REQUEST, "weeks": 27}, 400),
        ({}, 400),
        ({"request": REQUEST | {"receivers": []}}, 409),
        ({"request": REQUEST | {"title_zh": "字" * 40_000}}, 413),
    ],
)
async def test_a_program_s_request_is_read_strictly(
    hub: PaperHub, browser: Browser, body: object, status: int
) -> None:
    fill(hub)

    answer = await browser.post_json("/api/lessons", body)

    assert answer.status == status
    assert answer.json()["error"]


async def test_a_program_reads_refusals_in_its_language(hub: PaperHub, browser: Browser) -> None:
    fill(hub)

    answer = await browser.post_json(
        "/api/lessons", {"request": REQUEST | {"receivers": []}}, language="zh"
    )

    (reason,) = answer.json()["reasons"]
    assert reason.startswith("没有听课班")


async def test_a_lesson_can_be_moved_swapped_and_cancelled_from_its_page(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    first = await schedule(browser)
    second = await schedule(
        browser, starts_ms=TEN_O_CLOCK + 5 * HOUR, ends_ms=TEN_O_CLOCK + 6 * HOUR
    )

    moved = await browser.post(
        f"/lessons/{first}/move", {"day": "2026-11-21", "starts": "13:00", "ends": "13:40"}
    )
    clash = await browser.post(
        f"/lessons/{first}/move", {"day": "2026-11-21", "starts": "15:30", "ends": "16:30"}
    )
    swapped = await browser.post(f"/lessons/{first}/swap", {"other": second})
    starts = (await browser.get(f"/api/lessons/{first}")).json()["lesson"]
    cancelled = await browser.post(f"/lessons/{first}/cancel", {})
    again = await browser.post_json(f"/api/lessons/{first}/cancel", {})
    page = await browser.get(f"/lessons/{first}")

    assert (moved.status, swapped.status, cancelled.status) == (303, 303, 303)
    assert clash.status == 409
    assert "choose another time or room" in clash.text
    assert f'data-address="/lessons/{first}"' in clash.text
    assert starts["starts_ms"] == TEN_O_CLOCK + 5 * HOUR
    assert again.status == 409
    assert "Cancelled. Nothing needs doing." in page.text


async def test_a_running_lesson_shows_both_ends_and_the_cause_of_trouble(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    lesson = await schedule(browser, starts_ms=TEN_O_CLOCK - 5 * MINUTE)
    hub.flows[lesson] = [
        FlowLight(
            school=school,
            role=role,
            fragment_ms=hub.wall_ms - age,
            fragments=10,
            bytes=2048,
            missing=0,
        )
        for school, role, age in ((1, "flagship", 300), (2, "receiver", 40 * SECOND))
    ]

    page = (await browser.get(f"/lessons/{lesson}")).text
    grid = (await browser.get("/lessons")).text

    assert "Running; 1 end has trouble" in page
    assert "video received here 0 s ago · 2 KiB so far" in page
    assert "WAN: the line to this school carries less than the lesson needs" in page
    assert "interrupted" in grid


async def test_a_room_never_reported_is_pointed_out_after_scheduling(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hub.record("room", [{"school": 2, "room": "lab", "name": "Lab"}])

    answer = await browser.post("/lessons", FORM)

    assert answer.status == 200
    assert "has not reported a room “A”; it reported lab" in answer.text


async def test_a_change_reaches_an_open_page_and_a_closed_page_leaves_nothing_behind(
    hub: PaperHub, browser: Browser
) -> None:
    async with browser.session.get(browser.origin + "/api/events") as stream:
        assert stream.content_type == "text/event-stream"
        assert await stream.content.readuntil(b"\n\n") == b"retry: 3000\n\n"
        await hub.joined.wait()
        hub.announce("school:2")
        hub.announce("school:3")
        assert await stream.content.readuntil(b"\n\n") == b"event: changed\ndata: 1\n\n"
    while not hub.left.is_set():
        hub.announce("school:2")
        await asyncio.sleep(0.01)


async def test_an_open_page_s_stream_ends_with_the_session(hub: PaperHub, browser: Browser) -> None:
    async with browser.session.get(browser.origin + "/api/events") as stream:
        await stream.content.readuntil(b"\n\n")
        await hub.joined.wait()
        await browser.post("/logout", {})
        hub.announce("school:2")
        await stream.content.read()


async def test_a_district_of_524_schools_stays_light(hub: PaperHub, browser: Browser) -> None:
    for school in range(1, 525):
        hub.add_school(
            school,
            f"江夏区第{school}小学{school % 7}校区",
            f"Jiangxia Primary School No. {school}",
            (30 + (school * 37 % 100) / 200, 114 + (school * 61 % 100) / 100),
        )
        if school % 10:
            hub.hear(school, school * 300, waiting_bytes=school)
        hub.record("card_tap", [{"school": school, "at_ms": hub.wall_ms - school, "person": 1}])
    for flagship in range(1, 521, 4):
        await schedule(
            browser,
            flagship={"school": flagship, "class_group": "3-2", "room": "301"},
            receivers=[
                {"school": flagship + n, "class_group": "3", "room": "A"} for n in (1, 2, 3)
            ],
        )

    assets = [await browser.get(f"/static/{name}") for name in ("schoolnode.css", "hub.css")]
    assets.append(await browser.get("/static/hub.js"))
    shared = sum(asset.bytes_on_wire for asset in assets)
    for path in ("/", "/?screen=1", "/lessons", "/lessons/new"):
        page = await browser.get(path, **{"Accept-Language": "zh-CN"})
        assert page.headers["Content-Encoding"] == "gzip"
        assert page.text.count("江夏区第") >= 520
        assert 0 < page.bytes_on_wire + shared <= PAGE_BYTES_MAX, path


async def test_static_files_are_kept_by_their_content_and_nothing_else_is_served(
    browser: Browser,
) -> None:
    page = await browser.get("/login")
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)

    assert len(named) >= 4
    for url in named:
        asset = await browser.get(url)
        assert asset.status == 200
        assert "immutable" in asset.headers["Cache-Control"]
    for path in ("/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/"):
        assert (await browser.get(path)).status == 404


async def test_the_health_check_needs_no_session_and_tells_nothing(stranger: Browser) -> None:
    assert (await stranger.get("/healthz")).json() == {"ok": True}


async def test_a_schools_page_says_what_the_hub_holds_of_it_and_what_went_wrong(
    hub: PaperHub, browser: Browser
) -> None:
    fill(hub)
    hub.hear(3, 3 * HOUR, lag_ms=3 * HOUR, waiting_bytes=2048)
    with closing(open_store(hub.path)) as store:
        store.execute(
            "INSERT INTO log (id, origin, incarnation, audience, lane, stored, applied, stored_ms,"
            " frozen) VALUES (900, 3, 7, 's3', 2, 412, 410, ?, 'two segments 413')",
            (hub.wall_ms - 3 * HOUR,),
        )
        store.execute(
            "INSERT INTO parked (log, seq, body, table_number, reason, rows, parked_ms)"
            " VALUES (900, 5, 0, 99, 'table-unknown: table 99 is <new>', 12, ?)",
            (hub.wall_ms - HOUR,),
        )
        store.execute(
            "INSERT INTO quarantine VALUES (3, '3/8/s3/alarm', 7, ?, 2, ?)",
            ("forged: the signature is not by signer 3; refuse the bytes", hub.wall_ms - HOUR),
        )

    page = (await browser.get("/schools/3")).text

    for told in (
        "412",
        "410",
        "two segments 413",
        "table 99 is &lt;new&gt;",
        "2 KiB",
        "sync lag 3 h",
        "2 times, last 60 min ago",
    ):
        assert told in page
    chinese = (await browser.get("/schools/3?lang=zh-CN")).text
    for told in (
        "同一编号出现两个不同的数据段",  # frozen
        "本版本不认识该数据表",
        "并非来自其所称的一方",
        '<span class="evidence">(签名不是签名者 3 的；请拒绝这些字节)</span>',  # noqa: RUF001 - Chinese
    ):
        assert told in chinese
    assert (
        "Nothing has arrived from this school yet" in (await browser.get("/schools/2?lang=en")).text
    )
