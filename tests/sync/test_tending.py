"""A running program bounds its history between its other work."""

import asyncio

import pytest

from sync.history import tending
from sync.history.bounding import HistoryPolicy
from sync.writer import Writer
from tests.sync.district import District
from tests.sync.test_checkpoint import AT_ONCE, edit_rooms, hollow

_PATIENCE_S = 20.0


async def test_rounds_go_on_until_bodies_are_gone(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_ROUND_S", "ROUND_EVERY_S", "PAUSE_S"):
        monkeypatch.setattr(tending, name, 0.001)
    district.nodes[0].record("notice", [{"school": 0, "notice": "n1"}])
    edit_rooms(district, 10)
    district.settle()
    with Writer() as writer:
        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as tasks:
            kept = [
                tasks.create_task(
                    tending.keep_bounded(district.nodes[origin].history, writer, AT_ONCE)
                )
                for origin in (0, 17)
            ]
            while not await writer.call(hollow, district, 17):
                await writer.call(district.exchange, 17)
            for task in kept:
                task.cancel()
    assert district.digests(0)["room"] == district.digests(17)["room"]


def test_defaults_keep_what_a_backup_of_the_hub_may_still_ask_for() -> None:
    assert HistoryPolicy().retention_ms == 30 * 24 * 3600 * 1000
