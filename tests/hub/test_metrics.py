import random
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from hub.metrics import HubFigures, hub_families
from hub.pages.hub_view import SchoolLight
from hub.sync_queries import DistrictSync, GivenLane, read_district_sync, read_school_sync
from provisioning.scrape_token import FILE
from sync.exposition import SERIES_MAX, expose
from sync.schema.model import Group, Lane
from sync.store import connect_readonly, open_store
from tests.edge.test_uplink import READINGS, line
from tests.hub.running_hub import HOST, running_hub, until
from tests.promtool import check_with_promtool
from tests.sync.district import District
from tests.sync.test_checkpoint import write_record

NOW_MS = 1_795_226_400_000
MINUTE = 60_000


def test_promtool_finds_no_fault_and_no_school_has_a_series_of_its_own() -> None:
    silent_ms = [None, 0, 3 * MINUTE, 20 * MINUTE]
    boxes = [
        SchoolLight(
            school=school,
            heartbeat_ms=None if (ago := silent_ms[school % 4]) is None else NOW_MS - ago,
            waiting_bytes=None if ago is None else school,
            not_after_ms=NOW_MS + school,
        )
        for school in range(4_000)
    ]
    sync = DistrictSync(
        stored=dict.fromkeys(Lane, 7),
        applied=dict.fromkeys(Lane, 6),
        sealed_only={(lane, group): 1 for lane in Lane for group in Group},
        parked_rows=5,
        parked_for_good_rows=2,
        refused_segments=0,
        frozen_logs=1,
        clamped_segments=0,
        evicted_schools=0,
        refused_checkpoints=0,
    )

    shown = expose(hub_families(HubFigures(now_ms=NOW_MS, boxes=boxes, read_ms=1, sync=sync)))

    check_with_promtool(shown)
    lines = [line for line in shown.decode().splitlines() if not line.startswith("#")]
    assert len(lines) < SERIES_MAX / 10
    for state in ("never", "connected", "quiet", "silent"):
        assert f'schoolnode_hub_boxes{{state="{state}"}} 1000' in lines
    # What silent boxes said long ago counts for nothing now.
    assert f"schoolnode_hub_waiting_bytes {sum(range(1, 4_000, 4))}" in lines
    assert 'schoolnode_hub_sync_parked_rows{retriable="yes"} 3' in lines


async def test_a_running_hub_shows_its_figures_to_who_bears_the_token_alone(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession() as http:
        await hub.enrol(17, tmp_path / "box")
        url = f"https://{HOST}:{hub.config.pages.port}/metrics"
        token = (hub.config.folder / FILE).read_text().strip()
        async with http.get(url, ssl=False) as refused:
            assert (refused.status, token in await refused.text()) == (401, False)
        bearer = {"Authorization": f"Bearer {token}"}
        async with http.get(url, headers=bearer, ssl=False) as answer:
            shown = await answer.read()
    check_with_promtool(shown)
    assert b'schoolnode_hub_boxes{state="never"} 1' in shown
    assert "小学".encode() not in shown


async def test_a_box_is_caught_up_once_it_says_that_nothing_sealed_waits(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, aiohttp.ClientSession() as http:
        await hub.enrol(17, tmp_path / "box")
        url = f"https://{HOST}:{hub.config.pages.port}/metrics"
        bearer = {"Authorization": f"Bearer {(hub.config.folder / FILE).read_text().strip()}"}
        async with http.get(url, headers=bearer, ssl=False) as answer:
            assert b"schoolnode_hub_boxes_caught_up 0" in await answer.read()
        async with line(hub, tmp_path / "box") as box:
            await box.record(30)
            await until(lambda: hub.rows(READINGS) == [(30,)])
            async with http.get(url, headers=bearer, ssl=False) as answer:
                shown = await answer.read()
    for told in (b"boxes_caught_up 1", b'boxes{state="connected"} 1', b"hub_waiting_bytes 0"):
        assert told in shown
    assert b"\nschoolnode_hub_sync_lag_seconds " in shown


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A hub's store with two schools' logs, as trouble left them."""
    path = tmp_path / "hub.db"
    with closing(open_store(path)) as writer:
        fill(writer)
    return path


def fill(writer: sqlite3.Connection) -> None:
    writer.executemany(
        "INSERT INTO log (id, origin, incarnation, audience, lane, stored, applied, stored_ms,"
        " frozen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (1, 3, 7, "s3", Lane.ATTENDANCE, 10, 9, 500, None),
            (2, 3, 8, "s3", Lane.ATTENDANCE, 5, 5, 900, None),
            (3, 3, 8, "s3", Lane.TELEMETRY, 4, 4, 100, "two segments 5"),
            (4, 33, 1, "s33", Lane.TELEMETRY, 2, 2, 100, None),
            (5, 0, 1, "d", Lane.CONTROL, 6, 6, 100, None),
            (6, 0, 1, "s3", Lane.CONTROL, 3, 3, 100, None),
            (7, 0, 1, "s33", Lane.CONTROL, 40, 40, 100, None),
            (8, 33, 1, "lmath", Lane.LESSONS, 9, 9, 100, None),
            (9, 33, 1, "lmusic", Lane.LESSONS, 70, 70, 100, None),
        ],
    )
    writer.executemany(
        "INSERT INTO lesson (school, lesson, hlc, origin, log, row) VALUES (0, ?, 1, 0, 5, ?)",
        [("math", 4), ("music", 5)],
    )
    writer.executemany(
        "INSERT INTO lesson_party (lesson, school, role, hlc, origin, log, row)"
        " VALUES (?, ?, 'receiver', 1, 0, 5, ?)",
        [("math", 3, 6), ("music", 33, 7)],
    )
    writer.executemany(
        "INSERT INTO peer_cursor (peer, log, claimed, stored, applied, told_ms)"
        " VALUES (3, ?1, ?2, ?2, ?3, ?4)",
        [(5, 6, 4, 80), (6, 1, 1, 90), (8, 20, 2, 70)],
    )
    writer.executemany(
        "INSERT INTO parked (log, seq, body, table_number, reason, rows, parked_ms, retriable)"
        " VALUES (?, ?, 0, 99, 'not known', ?, ?, ?)",
        [(1, 4, 12, 50, 1), (3, 2, 3, 60, 0), (4, 1, 8, 60, 1)],
    )
    writer.execute("INSERT INTO quarantine VALUES (3, '3/8/s3/alarm', 1, 'forged', 2, 70)")
    writer.execute("INSERT INTO peer_heard VALUES (3, 880)")
    writer.executemany(
        "INSERT INTO clock_clamp (school, log, row, at_ms, clamped_log, clamped_seq, clamped_ms)"
        " VALUES (?, 5, ?, 1, ?, 1, 1)",
        [(3, 1, "3/0000000000000008/s3/telemetry"), (33, 2, "33/0000000000000001/s33/telemetry")],
    )
    writer.execute(
        "INSERT INTO eviction (school, member, at_ms, hlc, origin, log, row)"
        " VALUES (33, 33, 640, 1, 0, 5, 3)"
    )


def test_a_school_is_told_by_its_own_logs_and_troubles_alone(store: Path) -> None:
    with closing(connect_readonly(store)) as reader:
        three, other = read_school_sync(reader, 3), read_school_sync(reader, 33)
        unknown = read_school_sync(reader, 4)
    assert [(each.lane, each.stored, each.applied, each.stored_ms) for each in three.lanes] == [
        (Lane.ATTENDANCE, 15, 14, 900),
        (Lane.TELEMETRY, 4, 4, 100),
    ]
    assert [(each.frozen, each.parked_rows) for each in three.lanes] == [(0, 12), (1, 3)]
    assert (three.incarnations, three.heard_ms, three.refused_segments) == (2, 880, 1)
    assert (three.frozen, three.clamped_segments, three.evicted_ms) == (
        ("forked: two segments 5",),
        1,
        None,
    )
    assert [(each.seq, each.reason, each.times) for each in three.refused] == [(1, "forged", 2)]
    assert [(each.rows, each.retriable) for each in three.parked] == [(3, False), (12, True)]
    assert (other.evicted_ms, other.clamped_segments, other.refused_segments) == (640, 1, 0)
    assert (unknown.lanes, unknown.heard_ms) == ((), None)


def test_what_the_hub_holds_for_a_school_is_told_by_what_its_box_said_it_has(store: Path) -> None:
    with closing(connect_readonly(store)) as reader:
        given = read_school_sync(reader, 3).given
    assert given == (
        GivenLane(lane=Lane.CONTROL, held=9, stored=7, applied=5, told_ms=90),
        GivenLane(lane=Lane.LESSONS, held=9, stored=9, applied=2, told_ms=70),
    )
    assert [each.waiting for each in given] == [2, 0]


def test_a_checkpoint_passed_over_for_its_number_is_told_beside_the_one_that_counts(
    tmp_path: Path,
) -> None:
    district = District(tmp_path, random.Random(7))
    for origin in (0, 17):
        district.add(origin)
    for number in (3, 2**63 - 1):
        write_record(district, number)
    with closing(connect_readonly(district.store(0))) as reader:
        counted, passed_over = read_school_sync(reader, 17).checkpoints
    assert (counted.number, counted.refused, passed_over.number) == (3, None, 2**63 - 1)
    assert "far above number 3" in str(passed_over.refused)
    for node in district.nodes.values():
        node.close()


def test_the_district_is_the_sum_of_its_schools_and_not_of_the_hubs_own_logs(store: Path) -> None:
    with closing(connect_readonly(store)) as reader:
        sync = read_district_sync(reader)
    assert sync.stored == {Lane.ATTENDANCE: 15, Lane.TELEMETRY: 6, Lane.LESSONS: 79}
    assert sync.applied == {Lane.ATTENDANCE: 14, Lane.TELEMETRY: 6, Lane.LESSONS: 79}
    assert (sync.parked_rows, sync.parked_for_good_rows) == (23, 3)
    assert (sync.frozen_logs, sync.clamped_segments, sync.evicted_schools) == (1, 2, 1)
