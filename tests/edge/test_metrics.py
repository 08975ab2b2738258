import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from rich.console import Console

from edge.clock_watch import ClockLight
from edge.metrics import BoxFigures, box_families
from edge.pages.box_view import LaneLight, LinkState, SyncLights
from edge.pages.language import load_language
from edge.sync_standing import CheckpointFigure, KeyFigures, SyncStanding
from edge.sync_words import show_status
from edge.uplink import UplinkState
from provisioning.scrape_token import FILE
from sync.clock_spans import Trust
from sync.exchange.holdings import HeldLane, SealedOnly
from sync.exposition import SERIES_MAX, count, expose
from sync.schema.model import Group, Lane
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.edge.school import enrol
from tests.hub.running_hub import HOST, Clock, until
from tests.promtool import check_with_promtool
from tests.provisioning.district import make_district

NETWORK = "127.122.7.1/24"


def crowded() -> BoxFigures:
    """Return figures in which everything that can be said is said, of a thousand schools."""
    lanes = tuple(
        LaneLight(
            lane=lane,
            sealed=9,
            stored=8,
            waiting_rows=1,
            waiting_bytes=700,
            sealed_ms=1_000,
            stored_ms=2_000,
            oldest_waiting_ms=3_000,
            sealed_only=tuple(SealedOnly(group=group, segments=2) for group in Group),
        )
        for lane in Lane
    )
    received = tuple(
        HeldLane(
            origin=origin,
            lane=lane,
            logs=1,
            stored=2,
            applied=1,
            rows=2,
            stored_ms=1,
            sealed_only=(SealedOnly(group=Group.HEALTH, segments=1),),
        )
        for origin in range(1_000)
        for lane in Lane
    )
    standing = SyncStanding(
        at_ms=5_000,
        incarnation="0",
        received=received,
        parked_rows=3,
        parked_for_good_rows=1,
        parked=(),
        quarantined_segments=0,
        quarantined=(),
        clamped=0,
        corrections=0,
        evicted_ms=None,
        checkpoints=(),
        keys=KeyFigures(
            standing=1,
            ended=0,
            oldest_standing_ms=1,
            recipients=2,
            reading=2,
            undecided=0,
            released=(),
        ),
    )
    lights = SyncLights(
        link=LinkState.CONNECTED, since_ms=0, last_exchange_ms=4_000, detail="", lanes=lanes
    )
    return BoxFigures(
        lights=lights,
        standing=standing,
        uplink=UplinkState(sent_bytes=10, received_bytes=20),
        clock=ClockLight(trust=Trust.SET, added_ms=0, hub_offset_ms=-1_500),
        devices=(),
    )


def test_promtool_finds_no_fault_and_a_thousand_schools_are_few_series() -> None:
    shown = expose(box_families(crowded()))
    check_with_promtool(shown)
    lines = [line for line in shown.decode().splitlines() if not line.startswith("#")]
    assert len(lines) < SERIES_MAX / 10
    assert 'schoolnode_sync_received_segments{origin="schools",lane="alarm"} 1998' in lines
    assert 'schoolnode_sync_parked_rows{retriable="no"} 1' in lines
    assert "schoolnode_clock_offset_seconds -1.5" in lines


def test_what_was_not_looked_at_yet_is_not_said() -> None:
    figures = crowded()
    lights = SyncLights(
        link=LinkState.WAITING, since_ms=0, last_exchange_ms=None, detail="", lanes=()
    )
    silent = BoxFigures(
        lights=lights,
        standing=None,
        uplink=figures.uplink,
        clock=ClockLight(trust=Trust.UNKNOWN, added_ms=0, hub_offset_ms=None),
        devices=(),
    )
    shown = expose(box_families(silent)).decode()
    for unknown in ("last_exchange", "parked", "offset", "stored_rows", "recipients"):
        assert unknown not in shown
    assert "schoolnode_sync_connected 0" in shown


def test_a_checkpoint_that_is_refused_is_not_the_last_one_made() -> None:
    made = CheckpointFigure(
        audience="s17",
        number=3,
        at_ms=7_000,
        verified_ms=None,
        countersigned=False,
        refused=None,
        dropped_ms=None,
        dropped_rows=0,
    )
    lie = replace(made, number=2**63 - 1, at_ms=2**62, refused="number … is far above number 3")
    figures = crowded()
    assert figures.standing is not None
    standing = replace(figures.standing, checkpoints=(made, lie))
    shown = expose(box_families(replace(figures, standing=standing))).decode()
    (line,) = re.findall(
        r"^schoolnode_sync_checkpoint_timestamp_seconds (.+)$", shown, re.MULTILINE
    )
    assert float(line) == 7


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[RunningBox]:
    config = daemon_config(tmp_path / "box", network=NETWORK)
    enrol(make_district(tmp_path / "hub"), config.folder, 17)
    async with running_box(config, Clock()) as running:
        yield running


async def scrape(box: RunningBox, headers: dict[str, str]) -> tuple[int, bytes]:
    url = f"https://{HOST}:{box.config.pages.port}/metrics"
    async with (
        aiohttp.ClientSession() as http,
        http.get(url, headers=headers, ssl=False) as response,
    ):
        return response.status, await response.read()


async def test_a_running_box_shows_its_figures_to_who_bears_the_token_alone(
    box: RunningBox,
) -> None:
    token = (box.config.folder / FILE).read_text().strip()
    assert ((box.config.folder / FILE).stat().st_mode & 0o777) == 0o600
    for refused in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": token},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": "Bearer \udcff"},
    ):
        status, body = await scrape(box, refused)
        assert (status, b"schoolnode_" in body, token.encode() in body) == (401, False, False)

    await box.ask("GET", "/sync")  # it has looked then
    scraped = await scrape(box, {"Authorization": f"Bearer {token}"})
    status, body = scraped
    assert b"schoolnode_keys_epochs" in body
    assert status == 200
    check_with_promtool(body)
    assert b"schoolnode_sync_connected 0" in body
    assert "第17小学".encode() not in body


async def test_the_command_line_is_told_every_lane_with_its_peer_and_what_is_not_known(
    box: RunningBox,
) -> None:
    await until(lambda: bool(box.box.sync_lights().lanes))
    told = await box.ask("GET", "/sync")
    assert told["format"] == 1
    assert [lane["lane"] for lane in told["sync"]["lanes"]] == [each.name.lower() for each in Lane]
    assert {lane["peer"] for lane in told["sync"]["lanes"]} == {"hub"}
    assert told["sync"]["link"] == "waiting"
    assert told["sync"]["last_exchange_ms"] is None
    assert told["clock"]["hub_offset_ms"] is None
    assert told["standing"]["recovery"]["has_code"] is False
    assert told["standing"]["recovery"]["stored_ms"] is None
    console = Console(width=200)
    with console.capture() as captured:
        show_status(console, told, load_language("en"))
    assert "Last exchange: —." in captured.get()
    assert "the hub's was not heard yet" in captured.get()
    assert "No recovery code" in captured.get()


def test_promtool_would_find_a_fault() -> None:
    with pytest.raises(AssertionError, match="_total"):
        check_with_promtool(expose([count("schoolnode_bytes", "A counter.", 1)]))
