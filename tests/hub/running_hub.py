"""A real hub on loopback, in this process: its files, its ports and boxes that enrol with it."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from hub.config import BoxPort, HubConfig, PagesPort, SealSettings
from hub.registry import box_row
from hub.server import open_hub, run_hub
from provisioning.claim import claim
from provisioning.identity import Identity
from provisioning.tls import box_client_context
from sync.logs.oplog import Row
from sync.segments.segment import HUB
from sync.segments.signing import SignerId, signer_id
from sync.store import connect_readonly
from tests.loopback import free_port

HOST = "127.0.0.1"
DAY_MS = 24 * 3600 * 1000


class Clock:
    """The wall clock, set forward by ``ahead_ms``."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


class OwnHub:
    """The directory of a box that knows its hub, itself, and nobody else."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        public = Ed25519PublicKey.from_public_bytes(self._identity.hub.keys.signing)
        return public if (origin, signer) == (HUB, signer_id(public)) else None

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        return self.signing_key(origin, signer) is not None

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        public = X25519PublicKey.from_public_bytes(self._identity.hub.keys.sealing)
        return public if self.signing_key(origin, signer) is not None else None

    def sealing_keys(self, school: int) -> list[X25519PublicKey]:
        if school != HUB:
            return [self._identity.sealing.public_key()]
        return [X25519PublicKey.from_public_bytes(self._identity.hub.keys.sealing)]

    def members(self, audience: str) -> frozenset[int]:
        return frozenset({self._identity.school}) if audience else frozenset()


@dataclass(frozen=True)
class RunningHub:
    config: HubConfig
    now_ms: Clock

    @property
    def store(self) -> Path:
        return self.config.folder / "hub.db"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(connect_readonly(self.store)) as reader:
            return [tuple(row) for row in reader.execute(query)]

    def record(self, table: str, *rows: Row) -> None:
        """Write as an administration command does: from beside the daemon."""
        with open_hub(self.config, self.now_ms) as parts:
            parts.node.record(table, rows)

    def invite(self, school: int) -> str:
        with open_hub(self.config, self.now_ms) as parts:
            code = parts.desk.invite(school=school, school_name=f"第{school}小学")
            row: Row = {"school": school, "name": f"第{school}小学", "role": "receiver"}
            parts.node.record("school", [row])
        return code.text()

    async def enrol(self, school: int, folder: Path) -> Identity:
        """Enrol one more box of a school over the hub's own port."""
        claimed = await claim(
            self.invite(school), folder / "identity", lan_names=[HOST], now_ms=self.now_ms
        )
        return claimed.identity

    def session(self, identity: Identity) -> aiohttp.ClientSession:
        """Return a client that shows the box's certificate."""
        return aiohttp.ClientSession(
            f"https://{HOST}:{self.config.boxes.port}",
            connector=aiohttp.TCPConnector(ssl=box_client_context(identity, self.now_ms)),
        )


def revoke(hub: RunningHub, box: str) -> None:
    """Revoke a box from beside the daemon."""
    with open_hub(hub.config, hub.now_ms) as parts:
        enrolled = parts.registry.box(box)
        assert enrolled is not None
        parts.node.record("box_certificate", [box_row(enrolled, revoked=True)])


def hub_config(folder: Path) -> HubConfig:
    return HubConfig(
        district="jiangxia",
        district_name="江夏区",
        folder=folder,
        boxes=BoxPort(address=HOST, port=free_port(), names=(HOST,)),
        pages=PagesPort(addresses=(HOST,), port=free_port()),
        seal=SealSettings(after_s=0.1),
    )


@asynccontextmanager
async def running_hub(
    folder: Path, config: HubConfig | None = None, now_ms: Clock | None = None
) -> AsyncIterator[RunningHub]:
    """Run a hub over ``folder`` for the time of the block."""
    hub = RunningHub(config or hub_config(folder), now_ms or Clock())
    daemon = asyncio.create_task(run_hub(hub.config, hub.now_ms))
    try:
        await until_served(hub.config.boxes.port, daemon)
        await until_served(hub.config.pages.port, daemon)
        yield hub
    finally:
        daemon.cancel()
        await asyncio.wait([daemon])
        if not daemon.cancelled():
            daemon.result()


async def until_served(port: int, daemon: "asyncio.Task[None]", host: str = HOST) -> None:
    async with asyncio.timeout(20):
        while True:
            if daemon.done():
                daemon.result()
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until something is so; sqlite's word for a table not yet made counts as no."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                if condition():
                    return
            except sqlite3.OperationalError:
                pass
            await asyncio.sleep(0.02)
