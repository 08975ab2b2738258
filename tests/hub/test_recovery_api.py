"""A box reaches its own school's vault and picture; nobody else reaches any."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import pytest

from edge.errors import BoxSetupError, HubAwayError
from edge.hub_recovery import HttpRecoveryHub
from hub.recovery_api import (
    BACKUP_PATH,
    CALLS_OF_A_SCHOOL_MAX,
    HOLDINGS_PATH,
    PICTURE_PATH,
    SHARE_PATH,
    STATE_PATH,
)
from provisioning.identity import Identity
from provisioning.tls import box_client_context, hub_client_context
from sync.persons.recovery import RecoveryCode
from sync.persons.vault import VaultContents
from sync.persons.vault_backup import BACKUP_BYTES_MAX, VaultShare, seal_backup
from tests.hub.running_hub import HOST, RunningHub, running_hub, until

RECOVERY = RecoveryCode(bytes(16)).key()
ROUTES = (
    ("GET", STATE_PATH),
    ("POST", SHARE_PATH),
    ("PUT", BACKUP_PATH),
    ("GET", BACKUP_PATH),
    ("GET", HOLDINGS_PATH),
    ("GET", PICTURE_PATH),
)


def client(hub: RunningHub, identity: Identity) -> HttpRecoveryHub:
    return HttpRecoveryHub(identity, box_client_context(identity, hub.now_ms))


def backup(school: int, share: VaultShare, number: int = 1) -> bytes:
    contents = VaultContents(number=number, keys={5: bytes(32)}, forgotten=frozenset())
    return seal_backup(school, contents, RECOVERY.public_key(), share, 1, bytes)


async def test_each_school_has_a_shelf_of_its_own(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        own = client(hub, await hub.enrol(17, tmp_path / "17"))
        other = client(hub, await hub.enrol(18, tmp_path / "18"))
        share = await own.share_after(0)
        receipt = await own.store(backup(17, share))
        assert (await own.state()).digest == receipt.digest
        assert (await other.state()).generation == 0
        assert await other.copy() is None
        copy = await own.copy()
        assert copy is not None
        assert copy.share == share
        assert (await other.share_after(0)).share != share.share
        with pytest.raises(BoxSetupError, match="not school 18's"):
            await other.store(backup(17, share))


async def test_a_school_sees_the_holdings_and_digests_of_itself_alone(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        own = client(hub, await hub.enrol(17, tmp_path / "17"))
        other = client(hub, await hub.enrol(18, tmp_path / "18"))
        hub.record("timetable_slot", {"school": 18, "slot": "1", "room": "r2"})
        mine, theirs = await own.picture(), await other.picture()
        assert mine.digests["timetable_slot"] != theirs.digests["timetable_slot"]
        for picture, school in ((mine, 17), (theirs, 18)):
            assert {held.log.audience for held in picture.logs} <= {"d", f"s{school}"}


async def test_who_shows_no_certificate_of_a_box_gets_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "17")
        connector = aiohttp.TCPConnector(ssl=hub_client_context(identity.trust, hub.now_ms))
        base = f"https://{HOST}:{hub.config.boxes.port}"
        async with aiohttp.ClientSession(base, connector=connector) as http:
            for method, path in ROUTES:
                async with http.request(method, path) as response:
                    assert response.status == 401


async def test_rubbish_and_floods_are_refused_in_words(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "17")
        async with hub.session(identity) as http:
            for method, path, body, status in (
                ("PUT", BACKUP_PATH, b"rubbish", 409),
                ("PUT", BACKUP_PATH, bytes(BACKUP_BYTES_MAX + 1), 413),
                ("POST", SHARE_PATH, b"rubbish", 400),
                ("POST", SHARE_PATH, msgspec.msgpack.encode([2**50]), 400),
                ("POST", SHARE_PATH, msgspec.msgpack.encode([-1]), 400),
                ("POST", SHARE_PATH, bytes(100), 413),
                ("GET", BACKUP_PATH, None, 404),
            ):
                async with http.request(method, path, data=body and BytesIO(body)) as response:
                    assert response.status == status, (path, await response.text())
        assert (await client(hub, identity).state()).generation == 0


async def test_a_school_has_only_so_many_calls_under_way_and_others_their_own(
    tmp_path: Path,
) -> None:
    finish = asyncio.Event()
    begun = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal begun
        yield b"rub"
        begun += 1
        await finish.wait()
        yield b"bish"

    async def put(http: aiohttp.ClientSession) -> int:
        async with http.put(BACKUP_PATH, data=body()) as response:
            return response.status

    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "17")
        other = client(hub, await hub.enrol(18, tmp_path / "18"))
        async with hub.session(identity) as http:
            slow = [asyncio.create_task(put(http)) for _ in range(CALLS_OF_A_SCHOOL_MAX)]
            await until(lambda: begun == CALLS_OF_A_SCHOOL_MAX)
            await asyncio.sleep(0.2)
            with pytest.raises(HubAwayError, match="503"):
                await client(hub, identity).state()
            assert (await other.state()).generation == 0
            finish.set()
            assert await asyncio.gather(*slow) == [409] * CALLS_OF_A_SCHOOL_MAX
        assert (await client(hub, identity).state()).generation == 0
