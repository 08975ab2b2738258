"""The class card: today at this room's door, true for thirty days without the box."""

import re
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.status import Cause
from edge.pages.box_view import LessonState
from edge.pages.class_card import DAYS, find_midnights
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import (
    DAY_MS,
    FLAGSHIP,
    MINUTE_MS,
    NOW_MS,
    ZONE,
    SimulatedBox,
)

CARD = "/class-card?room=r301"
SCRIPT = "<script>alert(1)</script>"


async def read(client: Client, path: str = CARD) -> str:
    return await (await client.get(path)).text()


def slots(page: str) -> list[str]:
    return re.findall(r'<li class="(slot[^"]*)"', page)


async def test_the_period_that_runs_is_marked_and_those_before_are_past(client: Client) -> None:
    today = slots(await read(client))[:6]
    assert today == ["slot past", "slot current", "slot", "slot", "slot", "slot"]


async def test_the_card_says_what_is_on_now_and_then_what_is_next(
    client: Client, box: SimulatedBox
) -> None:
    page = await read(client)
    assert '<h2 class="label">Now</h2>\n<strong class="what">数学</strong>' in page
    box.clock_ms = NOW_MS + 32 * MINUTE_MS
    page = await read(client)
    assert '<h2 class="label">Next</h2>\n<strong class="what">Paper-cut windows</strong>' in page
    box.clock_ms = NOW_MS + 10 * 60 * MINUTE_MS
    assert '<strong class="what">No more lessons today</strong>' in await read(client)


async def test_a_delivery_lesson_shows_its_title_and_flagship_in_the_readers_language(
    client: Client,
) -> None:
    page = await read(client)
    assert "Paper-cut windows" in page
    assert "Zhifang Central Primary" in page
    chinese = await read(client, f"{CARD}&lang=zh-CN")
    assert "剪纸窗花" in chinese
    assert "纸坊中心小学" in chinese


async def test_a_cancelled_lesson_says_so(client: Client, box: SimulatedBox) -> None:
    box.insert("lesson", FLAGSHIP, lesson="pe", title_zh="操", title_en="Drill", cancelled=1)
    box.insert(
        "timetable_slot",
        slot="x",
        room="r301",
        starts_ms=NOW_MS,
        ends_ms=NOW_MS + MINUTE_MS,
        lesson="pe",
    )
    assert "slot cancelled" in await read(client)


async def test_taps_show_names_here_and_only_of_this_room_and_today(
    client: Client, box: SimulatedBox
) -> None:
    box.names |= {920: "他班同学", 921: "昨日同学", 922: "他校同学"}
    box.insert("card_tap", at_ms=NOW_MS, person=920, room="r302")
    box.insert("card_tap", at_ms=NOW_MS - DAY_MS, person=921, room="r301")
    box.insert("card_tap", FLAGSHIP, at_ms=NOW_MS, person=922, room="r301")
    page = await read(client)
    assert page.index("刘洋") < page.index("欧阳若琳")
    assert "unknown card" in page
    assert "5 people have tapped today" in page
    for stranger in ("他班同学", "昨日同学", "他校同学"):
        assert stranger not in page


async def test_a_person_whose_name_is_erased_is_shown_by_number(
    client: Client, box: SimulatedBox
) -> None:
    del box.names[902]
    page = await read(client)
    assert "李明" not in page
    assert "person 902" in page


async def test_the_list_of_taps_can_be_fetched_alone(client: Client) -> None:
    part = await read(client, "/class-card/taps?room=r301")
    assert "刘洋" in part
    assert "<html" not in part
    assert (await client.get("/class-card/taps?room=nowhere")).status == 404


async def test_notices_of_the_district_and_the_school_show_while_they_last(
    client: Client, box: SimulatedBox
) -> None:
    for notice, school, from_ms, until_ms in (
        ("own", 17, NOW_MS - 1, NOW_MS + 1),
        ("other", FLAGSHIP, NOW_MS - 1, NOW_MS + 1),
        ("over", 0, NOW_MS - 40 * DAY_MS, NOW_MS - 39 * DAY_MS),
        ("later", 0, NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS),
    ):
        box.insert(
            "notice",
            school,
            notice=notice,
            title_en=f"notice {notice}",
            from_ms=from_ms,
            until_ms=until_ms,
        )
    box.insert(
        "notice", 0, notice="gone", title_en="notice gone", from_ms=0, until_ms=2**53, deleted=1
    )
    page = await read(client)
    assert "Water safety" in page
    assert "notice own" in page
    for absent in ("notice other", "notice over", "notice gone"):
        assert absent not in page
    later = page[: page.index("notice later")].rsplit("<p ", 1)[1]
    assert "hidden" in later


async def test_the_card_carries_thirty_days_for_the_time_without_the_box(client: Client) -> None:
    page = await read(client)
    days = re.findall(r'<section data-from-ms="(\d+)" data-until-ms="(\d+)"', page)
    assert len(days) == DAYS
    assert int(days[-1][1]) >= NOW_MS + 30 * DAY_MS
    assert len(slots(page)) == 7 * 6
    assert "No lessons are planned in this room on this day." in page


async def test_a_lesson_in_progress_shows_its_state(client: Client, box: SimulatedBox) -> None:
    box.set_lesson("r301", state=LessonState.DEGRADED, evidence_ms=NOW_MS - 3_000)
    page = await read(client)
    assert '<span class="light warn">picture reduced, sound is safe</span>' in page
    assert ">3 s</time>" in page


async def test_sound_is_called_safe_only_while_it_is(client: Client, box: SimulatedBox) -> None:
    box.set_lesson("r301", state=LessonState.DEGRADED, evidence_ms=NOW_MS, cause=Cause.NO_SOUND)
    page = await read(client)
    assert "sound is safe" not in page
    assert '<span class="light warn">interrupted</span>' in page
    assert "The sound is missing." in page


async def test_an_unknown_room_is_said_clearly_and_the_known_ones_are_offered(
    client: Client,
) -> None:
    answer = await client.get("/class-card?room=r999")
    page = await answer.text()
    assert answer.status == 404
    assert "This school has no room “r999”" in page
    assert 'href="/class-card?room=r301"' in page


async def test_without_a_room_the_page_asks_which(client: Client, box: SimulatedBox) -> None:
    answer = await client.get("/class-card")
    assert answer.status == 200
    assert "Which room is this screen in?" in await answer.text()
    for table in ("room", "class_group", "timetable_slot"):
        box.clear(table)
    assert "Rooms come with the timetable" in await read(client, "/class-card")


async def test_a_room_of_another_school_or_a_deleted_one_is_not_ours(
    client: Client, box: SimulatedBox
) -> None:
    box.insert("room", FLAGSHIP, room="f101", name="Flagship 101")
    box.insert("room", room="old", name="Old room", deleted=1)
    page = await read(client, "/class-card")
    assert "f101" not in page
    assert "Old room" not in page


async def test_words_from_the_store_stay_text(client: Client, box: SimulatedBox) -> None:
    box.insert("room", room=SCRIPT, name=SCRIPT)
    box.insert(
        "timetable_slot",
        slot="x",
        room=SCRIPT,
        subject=SCRIPT,
        teacher=SCRIPT,
        starts_ms=NOW_MS,
        ends_ms=NOW_MS + MINUTE_MS,
    )
    box.insert("card_tap", at_ms=NOW_MS, person=930, room=SCRIPT)
    box.names[930] = SCRIPT
    answer = await client.get("/class-card", params={"room": SCRIPT})
    assert answer.status == 200
    assert "<script>alert" not in await answer.text()
    answer = await client.get("/class-card", params={"room": SCRIPT + "?"})
    assert answer.status == 404
    assert "<script>alert" not in await answer.text()


async def test_the_card_is_installable_and_its_worker_may_rule_its_page(client: Client) -> None:
    page = await read(client)
    assert 'rel="manifest" href="/class-card/manifest.webmanifest?room=r301"' in page
    manifest = await (await client.get("/class-card/manifest.webmanifest?room=r301")).json(
        content_type="application/manifest+json"
    )
    assert manifest["start_url"] == "/class-card?room=r301"
    assert manifest["start_url"].startswith(manifest["scope"])
    assert manifest["display"] == "fullscreen"
    icon = await client.get(manifest["icons"][0]["src"])
    assert icon.content_type == "image/svg+xml"
    worker = await client.get("/class-card/worker.js")
    assert worker.headers["Service-Worker-Allowed"] == "/class-card"
    assert worker.headers["Cache-Control"] == "no-cache"
    assert (await worker.text()).startswith('const VERSION = "')


@pytest.mark.parametrize("zone", [ZONE, ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")])
@given(at=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), days=st.integers(1, 40))  # noqa: DTZ001 — the zone is put on below
def test_midnights_follow_one_another_whatever_the_clocks_do(
    zone: ZoneInfo, at: datetime, days: int
) -> None:
    now = at.replace(tzinfo=zone)
    midnights = find_midnights(now, days)
    assert len(midnights) == days + 1
    assert midnights[0] <= now.timestamp() * 1_000 < midnights[1]
    for midnight in midnights:
        local = datetime.fromtimestamp(midnight / 1_000, zone)
        assert (local.hour, local.minute) == (0, 0)
    for one, following in pairwise(midnights):
        assert timedelta(hours=23) <= timedelta(milliseconds=following - one) <= timedelta(hours=25)
