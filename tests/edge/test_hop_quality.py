from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lesson.evidence.hop_quality import (
    HUB_BUSY_MS_MAX,
    HUB_DISK_MS_MAX,
    MINUTE_S,
    SCREENS_MAX,
    HopCount,
    ScreenReport,
)
from edge.lesson.status import Cause, LessonStatus, Phase
from sync.lessons.fragment_exchange import HubMinute
from sync.lessons.fragment_rungs import Rung
from sync.lessons.tcp_connection import TcpInfo

LIVE = LessonStatus(
    phase=Phase.LIVE,
    cause=Cause.NONE,
    at_ms=0,
    connected=True,
    sound_age_ms=80,
    picture_age_ms=40,
    missing=0,
)


def minute(
    hops: HopCount,
    *,
    fps: int = 25,
    rungs: tuple[Rung | None, ...] = (Rung.MAIN,),
    slow: int = 0,
) -> dict[str, dict[str, Any]]:
    """Let a minute pass, and return what each hop's row says of it."""
    for second in range(MINUTE_S):
        for _ in range(fps):
            hops.media(1)
        hops.media(2)
        hops.tick(LIVE, rungs[second % len(rungs)], watching=2, slow=slow * second // 10)
    rows = hops.rows("a1", 1000)
    assert hops.rows("a1", 1001) == []
    return {
        str(row["hop"]): {"state": row["state"], **msgspec.json.decode(str(row["figures"]))}
        for row in rows
    }


def test_a_good_minute_is_good_at_each_hop() -> None:
    told = minute(HopCount(gives=True))
    assert {hop: each["state"] for hop, each in told.items()} == {
        "camera": "good",
        "wan": "good",
        "lan": "good",
    }
    assert told["camera"]["fps"] == 25.0
    assert "camera" not in minute(HopCount(gives=False))


def test_a_camera_that_gives_fewer_pictures_than_it_did_is_poor() -> None:
    hops = HopCount(gives=True)
    assert minute(hops, fps=25)["camera"]["state"] == "good"
    assert minute(hops, fps=15)["camera"]["state"] == "poor"
    hops.gap(3)
    lossy = minute(hops, fps=25)["camera"]
    assert (lossy["state"], lossy["packets_lost"]) == ("poor", 3)
    assert minute(hops, fps=25)["camera"]["state"] == "good"


@pytest.mark.parametrize(
    ("rungs", "live_s", "reduced_s", "state"),
    [
        ((Rung.MAIN,), 60, 0, "good"),
        ((Rung.MAIN, Rung.SMALL), 60, 30, "poor"),
        ((Rung.SOUND,), 60, 60, "poor"),
        ((Rung.MAIN, None), 30, 0, "poor"),
    ],
)
def test_a_line_is_judged_by_what_came_live(
    rungs: tuple[Rung | None, ...], live_s: int, reduced_s: int, state: str
) -> None:
    told = minute(HopCount(gives=False), rungs=rungs)["wan"]
    assert (told["live_s"], told["reduced_s"], told["state"]) == (live_s, reduced_s, state)


def test_packets_sent_again_are_counted_over_connections() -> None:
    hops = HopCount(gives=True)
    for resent, round_trip_s in ((10, 0.02), (14, 0.3), (2, 0.02)):
        hops.line(
            TcpInfo(
                packet_bytes=1400,
                unacked_packets=0,
                round_trip_s=round_trip_s,
                acked_bytes=1,
                round_trip_s_min=0.02,
                resent_packets=resent,
            )
        )
    hops.line(None)
    told = minute(hops)["wan"]
    assert (told["resent"], told["round_trip_ms"]) == (16, 300)
    assert minute(hops)["wan"]["round_trip_ms"] is None


QUIET = HubMinute(
    busy_ms=40,
    disk_ms=300,
    unstored_s=0,
    silent_s=0,
    reduced_s=0,
    dropped=0,
    waiting_bytes=0,
)


@pytest.mark.parametrize(
    ("seen", "hub", "link"),
    [
        ({"busy_ms": 40, "waiting_bytes": 90_000}, "good", "good"),
        ({"busy_ms": HUB_BUSY_MS_MAX + 1}, "poor", "good"),
        ({"disk_ms": HUB_DISK_MS_MAX + 1}, "poor", "good"),
        ({"unstored_s": 5}, "poor", "good"),
        ({"silent_s": 3}, "good", "good"),
        ({"silent_s": 4}, "good", "poor"),
        ({"reduced_s": 1}, "good", "poor"),
        ({"dropped": 1}, "good", "poor"),
    ],
)
def test_what_the_hub_saw_is_written_down_with_the_rest(
    seen: dict[str, int], hub: str, link: str
) -> None:
    hops = HopCount(gives=False)
    hops.hub(msgspec.structs.replace(QUIET, unstored_s=60))  # before the lesson
    assert "hub" not in minute(hops)
    hops.hub(QUIET)
    hops.hub(msgspec.structs.replace(QUIET, **seen))
    hops.hub(QUIET)  # more than one within a minute: the worse counts
    told = minute(hops)
    assert (told["hub"].pop("state"), told["hub_link"].pop("state")) == (hub, link)
    assert {**told["hub"], **told["hub_link"]} == msgspec.structs.asdict(QUIET) | seen
    assert not {"hub", "hub_link"} & minute(hops).keys()


def test_pages_whose_links_are_too_slow_make_the_lan_poor() -> None:
    hops = HopCount(gives=False)
    assert minute(hops, slow=1)["lan"]["state"] == "poor"
    assert minute(hops)["lan"]["state"] == "good"  # it counts what was new in the minute


def test_a_screen_counts_from_when_it_was_first_heard_or_loaded_again() -> None:
    hops = HopCount(gives=False)
    hops.screen("10.0.0.5", ScreenReport(room="101", frames=1000, dropped=0, stalls=0))
    assert minute(hops)["decode"]["state"] == "good"
    hops.screen("10.0.0.5", ScreenReport(room="101", frames=2400, dropped=100, stalls=0))
    poor = minute(hops)["decode"]
    assert (poor["state"], poor["dropped"]) == ("poor", 100)
    hops.screen("10.0.0.5", ScreenReport(room="101", frames=10, dropped=0, stalls=1))
    assert minute(hops)["decode"]["stalls"] == 1
    assert "decode" not in minute(hops)  # nothing was heard of it


def test_a_crowd_of_made_up_screens_takes_no_room() -> None:
    hops = HopCount(gives=False)
    for number in range(10 * SCREENS_MAX):
        hops.screen(f"10.0.{number % 256}.{number // 256}", ScreenReport(room="101", frames=1))
    assert minute(hops)["decode"]["screens"] == SCREENS_MAX


reports = st.fixed_dictionaries(
    {"room": st.text(max_size=70)},
    optional={
        name: st.none() | st.integers() | st.floats() | st.text(max_size=5)
        for name in ("frames", "dropped", "stalls", "latency_ms", "behind_ms", "more")
    },
)


@given(st.lists(reports, max_size=4))
def test_whatever_a_page_says_is_counted_or_refused(told: list[dict[str, object]]) -> None:
    hops = HopCount(gives=False)
    for each in told:
        try:
            report = msgspec.convert(each, ScreenReport)
        except msgspec.ValidationError:
            continue
        hops.screen("10.0.0.5", report)
    rows = minute(hops)
    assert rows["wan"]["state"] == "good"
