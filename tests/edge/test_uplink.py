import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import edge.uplink
from edge.box_store import BoxStore, open_box
from edge.certificates import Certificates
from edge.demo.link import Link
from edge.metering import Hold, Meter, Night
from edge.pages.box_view import LinkState
from edge.sync_status import SILENT_MS, sync_lights
from edge.uplink import Uplink
from hub import server
from sync.logs.oplog import Row
from sync.node import Imported, SealPolicy
from sync.store import connect_readonly
from sync.writer import Writer
from tests.drivers.serial_bench import until
from tests.edge.school import box_config
from tests.hub.running_hub import DAY_MS, HOST, RunningHub, revoke, running_hub
from tests.loopback import free_port

HOUR_MS = 3600 * 1000
READINGS = "SELECT count(*) FROM reading"


@dataclass
class Line:
    """A box's uplink at work, and what it imported."""

    store: BoxStore
    writer: Writer
    uplink: Uplink
    certificates: Certificates
    imported: list[Imported] = field(default_factory=list)

    async def record(self, rows: int) -> None:
        readings: list[Row] = [{"at_ms": n, "device": "d", "value": float(n)} for n in range(rows)]
        await self.writer.call(self.store.node.record, "reading", readings)


@asynccontextmanager
async def line(
    hub: RunningHub,
    folder: Path,
    port: int | None = None,
    policy: SealPolicy = SealPolicy(age_ms=100),  # noqa: B008 - frozen
    meter: Meter | None = None,
) -> AsyncIterator[Line]:
    """Run an uplink from the box in ``folder``; ``port``: where it calls, the hub's if None."""
    with open_box(box_config(folder), hub.now_ms) as store, Writer() as writer:
        imported: list[Imported] = []
        certificates = Certificates(store.identity, [HOST], hub.now_ms, random.Random(7))
        uplink = Uplink(
            store.identity,
            certificates.hub_context,
            store.node,
            writer,
            policy=policy,
            rng=random.Random(7),
            on_import=imported.append,
            on_change=lambda: None,
            meter=meter,
        )
        if port is not None:
            uplink._base = f"https://{HOST}:{port}"
        running = asyncio.create_task(uplink.run())
        try:
            yield Line(store, writer, uplink, certificates, imported)
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_rows_reach_the_hub_and_the_hubs_reach_the_box(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
        async with line(hub, tmp_path / "box") as box:
            await box.record(300)
            await until(lambda: hub.rows(READINGS) == [(300,)] and box.uplink.state.connected)
            hub.record("notice", {"school": 0, "notice": "n1", "title_zh": "通知"})
            await until(lambda: any("notice" in each.tables for each in box.imported))


async def test_a_burst_on_a_connected_box_arrives_though_nothing_is_old_enough_to_be_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.uplink, "SEAL_EVERY_S", 3600.0)  # only what is told can seal
    patient = SealPolicy(age_ms=DAY_MS)
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
        async with line(hub, tmp_path / "box", policy=patient) as box:
            await until(lambda: box.uplink.state.connected)
            for _ in range(5):
                await box.record(1000)
            await box.record(900)

            await until(lambda: hub.rows(READINGS) == [(5000,)])

            waiting = [log.last_row - log.sealed_row for log in box.store.node.logs()]
            assert max(waiting) == 900  # for company, or until they are old


async def test_rows_wait_while_the_hub_is_away_and_arrive_once_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
    async with line(hub, tmp_path / "box") as box:
        await box.record(50)
        await until(lambda: box.uplink.state.detail != "not tried yet")
        assert not box.uplink.state.connected
        async with running_hub(tmp_path / "hub", hub.config):
            await until(lambda: hub.rows(READINGS) == [(50,)])
        await until(lambda: not box.uplink.state.connected)
        await box.record(50)
        async with running_hub(tmp_path / "hub", hub.config):
            await until(lambda: hub.rows(READINGS) == [(100,)])


async def test_a_line_whose_paid_bytes_are_used_carries_taps_and_alarms_and_readings_at_night(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
        minute = hub.now_ms() % DAY_MS // 60_000
        night = Night((minute + 120) % 1440, (minute + 240) % 1440)
        meter = Meter(4_000, night, 0, tmp_path / "metered-link.json")
        async with line(hub, tmp_path / "box", meter=meter) as box:
            await until(lambda: box.uplink.state.connected)
            while box.uplink.state.flows.reason is not Hold.METERED:
                await box.record(500)
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)  # what was composed before has arrived
            (home,) = hub.rows(READINGS)

            await box.record(50)
            tap: Row = {"at_ms": 1, "device": "d", "person": 7}
            alarm: Row = {"at_ms": 1, "device": "button", "alarm": "panic"}
            await box.writer.call(box.store.node.record_all, {"card_tap": [tap], "alarm": [alarm]})
            urgent = "SELECT (SELECT count(*) FROM card_tap), (SELECT count(*) FROM alarm)"
            await until(lambda: hub.rows(urgent) == [(1, 1)])

            with closing(connect_readonly(box.store.path)) as reader:
                own = tuple(reader.execute(READINGS).fetchone())
            assert hub.rows(READINGS) == [home] != [own]
            shown = sync_lights(box.uplink.state, (), hub.now_ms())
            assert shown.held_reason is Hold.METERED
            assert shown.held_until_ms is not None
            assert hub.now_ms() < shown.held_until_ms <= hub.now_ms() + 2 * HOUR_MS

            hub.now_ms.ahead_ms = 2 * HOUR_MS + 60_000
            box.uplink.nudge()
            await until(lambda: hub.rows(READINGS) == [own])
            assert box.uplink.state.flows.reason is None


async def test_a_black_holed_line_is_not_shown_as_connected(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, AsyncExitStack() as stack:
        await hub.enrol(17, tmp_path / "box")
        way = (HOST, free_port())
        link = Link(way, (HOST, hub.config.boxes.port))
        await link.start(stack)
        async with line(hub, tmp_path / "box", way[1]) as box:
            await until(lambda: box.uplink.state.connected)
            link.cut()
            await box.record(10)
            await asyncio.sleep(1.5)
            hub.now_ms.ahead_ms = SILENT_MS

            shown = sync_lights(box.uplink.state, (), hub.now_ms())

            assert shown.link is LinkState.WAITING
            assert "has not answered for" in shown.detail
            link.mend()
            await until(lambda: hub.rows(READINGS) == [(10,)] and box.uplink.state.connected)
            shown = sync_lights(box.uplink.state, (), hub.now_ms())
            assert shown.link is LinkState.CONNECTED


async def test_a_revoked_box_is_told_so_and_keeps_its_rows(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "box")
        async with line(hub, tmp_path / "box") as box:
            await until(lambda: box.uplink.state.connected)
            revoke(hub, identity.box)
            await until(lambda: "revoked" in box.uplink.state.detail)
            assert not box.uplink.state.connected
            await box.record(10)
    assert hub.rows(READINGS) == [(0,)]


async def test_certificates_are_renewed_at_a_third_of_their_life_and_used_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_RENEW_EVERY_S", 0.1)
    async with running_hub(tmp_path / "hub") as hub:
        before = await hub.enrol(17, tmp_path / "box")
        async with line(hub, tmp_path / "box") as box:
            await until(lambda: box.uplink.state.connected)
            await box.certificates.renew_if_due()
            assert box.certificates.identity.binding == before.binding

            hub.now_ms.ahead_ms = 11 * DAY_MS
            await box.certificates.renew_if_due()

            after = box.certificates.identity
            assert after.binding.serial != before.binding.serial
            assert after.binding.not_after_ms > before.binding.not_after_ms
            assert after.binding.keys == before.binding.keys
            hub.now_ms.ahead_ms = 32 * DAY_MS  # the old one is over; the contexts were reloaded
            await box.record(5)
            await until(lambda: hub.rows(READINGS) == [(5,)])


async def test_a_box_that_slept_through_the_summer_is_renewed_and_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
    hub.now_ms.ahead_ms = 70 * DAY_MS
    async with (
        running_hub(tmp_path / "hub", hub.config, hub.now_ms) as later,
        line(later, tmp_path / "box") as box,
    ):
        await until(lambda: "certificate_expired" in box.uplink.state.detail)
        renewing = asyncio.create_task(box.certificates.run())
        await box.record(5)
        await until(lambda: later.rows(READINGS) == [(5,)])
        renewing.cancel()
