"""A real box daemon on loopback, in this process, asked through its control socket."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.config import BoxConfig, PagesPort
from edge.control import serve_control
from edge.control_client import ask_daemon
from edge.daemon import Box, run_box
from tests.edge.school import box_config
from tests.hub.running_hub import HOST, Clock, until_served
from tests.loopback import free_port


@dataclass(frozen=True)
class RunningBox:
    config: BoxConfig
    box: Box

    async def ask(self, method: str, path: str, wish: object = None) -> dict[str, Any]:
        body = None if wish is None else msgspec.json.encode(wish)
        return await ask_daemon(self.config.folder, method, path, body)

    async def devices(self) -> list[dict[str, Any]]:
        devices: list[dict[str, Any]] = (await self.ask("GET", "/status"))["devices"]
        return devices


def daemon_config(folder: Path, *, ports: tuple[Path, ...] = (), network: str) -> BoxConfig:
    pages = PagesPort(addresses=(HOST,), port=free_port(), plain_port=free_port())
    return msgspec.structs.replace(box_config(folder, ports=ports, network=network), pages=pages)


@asynccontextmanager
async def running_box(config: BoxConfig, now_ms: Clock) -> AsyncIterator[RunningBox]:
    """Run an enrolled box's daemon for the time of the block."""
    made: asyncio.Future[Box] = asyncio.get_running_loop().create_future()

    async def control(stack: AsyncExitStack, box: Box) -> None:
        await serve_control(stack, box, config.folder)
        made.set_result(box)

    daemon = asyncio.create_task(run_box(config, now_ms, random.Random(7), control))
    try:
        await until_served(config.pages.port, daemon)
        yield RunningBox(config, await made)
    finally:
        daemon.cancel()
        await asyncio.wait([daemon])
        if not daemon.cancelled():
            daemon.result()
