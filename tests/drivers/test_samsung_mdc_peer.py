"""python-samsung-mdc, a client that is not ours, drives the simulated Samsung panel."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from benchmarks.peer_environment import peer_python
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.panel import SimulatedPanel
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import ProfileId
from tests.drivers.serial_bench import now_ms, running, until
from tests.system_needs import need_peer

PORT = 21_515
CLIENT = f"""
import asyncio, json
from samsung_mdc import MDC
from samsung_mdc.exceptions import NAKError

async def main():
    said = {{}}
    async with MDC("127.0.0.1:{PORT}") as mdc:
        said["off"] = [int(word) for word in await mdc.power(1)]
        try:
            await mdc.input_source(1)
        except NAKError:
            said["refused"] = True
        await mdc.power(1, ["ON"])
        await asyncio.sleep(0.3)
        said["on"] = [int(word) for word in await mdc.power(1)]
        await mdc.input_source(1, ["HDMI2"])
        said["source"] = [int(word) for word in await mdc.input_source(1)]
        said["set_volume"] = list(await mdc.volume(1, [37]))
        said["volume"] = list(await mdc.volume(1))
        await mdc.mute(1, ["ON"])
        said["mute"] = [int(word) for word in await mdc.mute(1)]
        await mdc.safety_lock(1, ["ON"])
        said["lock"] = [int(word) for word in await mdc.safety_lock(1)]
        await mdc.panel(1, ["OFF"])
        said["panel"] = [int(word) for word in await mdc.panel(1)]
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.mark.timeout(300)
async def test_an_independent_client_drives_the_simulated_panel(tmp_path: Path) -> None:
    python = await asyncio.to_thread(need_peer, peer_python, "samsung_mdc")
    profile = load_catalog().profiles[ProfileId("samsung-mdc")]
    ledger = tmp_path / "panel.jsonl"
    panel = SimulatedPanel(profile, Ledger(ledger, now_ms), random.Random(1), warm_up_s=0.1)
    async with running(panel.serve_tcp("127.0.0.1", PORT)):
        await until(lambda: bool(read_ledger(ledger)))
        client = await asyncio.create_subprocess_exec(
            python, "-c", CLIENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, errors = await client.communicate()
        assert client.returncode == 0, errors.decode()
        assert panel.state == {
            "power": "on",
            "source": "hdmi2",
            "volume": "37",
            "mute": "on",
            "blank": "on",
            "lock": "on",
        }
    assert json.loads(out) == {
        "off": [0],
        "refused": True,
        "on": [1],
        "source": [0x23],
        "set_volume": [37],
        "volume": [37],
        "mute": [1],
        "lock": [1],
        "panel": [1],
    }
