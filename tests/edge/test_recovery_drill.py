"""A school is lost with its box and rebuilt on a spare; the forgotten stay forgotten."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge import school_restore, vault_keeper
from edge.errors import BoxSetupError, HubAwayError
from edge.hub_recovery import HttpRecoveryHub
from hub.server import open_hub
from hub.vault_shelf import VaultShelf
from provisioning.identity import load_identity
from provisioning.tls import box_client_context
from sync.errors import ForgedError
from sync.keys.recipients import Standing
from sync.logs.oplog import Row
from sync.persons.recovery import RecoveryCode, parse_recovery_code
from sync.persons.vault import Erasing
from sync.persons.vault_backup import VaultReceipt, open_backup
from sync.schema.model import Group
from sync.segments.sealing import recipient_id
from sync.store import connect_readonly
from sync.tables.digests import digest_tables
from tests.edge.running_box import RunningBox, daemon_config, running_box
from tests.hub.running_hub import DAY_MS, RunningHub, revoke, running_hub, until

ROSTER = "name,card,class_group\n张伟,0A00000001,三\n王芳,0A00000002,三\n李娜,0A00000003,三\n"
SETTLED_S = 30.0
WRITTEN = ("person", "enrolment", "class_group", "health_check", "card_tap")


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(school_restore, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(vault_keeper, "LOOK_EVERY_S", 0.1)


@asynccontextmanager
async def a_school(hub: RunningHub, folder: Path) -> AsyncIterator[RunningBox]:
    """Enrol one more box of school 17 and run it."""
    if not (folder / "identity").exists():
        await hub.enrol(17, folder)
    config = daemon_config(folder, network="127.122.7.1/24")
    async with running_box(config, hub.now_ms) as box:
        yield box


async def live_a_while(hub: RunningHub, box: RunningBox) -> str:
    """Let a school have people, health rows and a recovery code; return the code."""
    await box.box.import_roster(ROSTER.encode())
    code: str = (await box.ask("POST", "/recovery/new"))["code"]
    node, writer = box.box._store.node, box.box._writer
    checks: list[Row] = [{"at_ms": n, "person": 5, "temperature_c": 36.5} for n in range(40)]
    await writer.call(node.record, "health_check", checks)
    await box.box.recovery.keeper.bring_up_to_date()
    await receipted(hub)
    await recoverable(box)
    return code


async def receipted(hub: RunningHub) -> None:
    """Wait until the hub holds people and health checks, sealed as they are."""
    await until(
        lambda: (
            hub.rows("SELECT count(*) FROM health_check") == [(40,)]
            and len(hub.rows("SELECT person FROM person WHERE deleted = 0")) >= 2
        )
    )


async def recoverable(box: RunningBox) -> None:
    """Wait until the box says that the hub holds all that the code needs."""
    async with asyncio.timeout(SETTLED_S):
        while True:
            standing = await box.ask("GET", "/recovery")
            if not standing["vault_waits"] and not standing["keys_wait"]:
                return
            box.box._uplink.nudge()
            await asyncio.sleep(0.05)


async def restored(box: RunningBox, code: str, **flags: bool) -> dict[str, Any]:
    await box.ask("POST", "/restore", {"code": code, **flags})
    async with asyncio.timeout(SETTLED_S):
        while True:
            report = await box.ask("GET", "/restore")
            if report["step"] in {"done", "failed"}:
                return report
            await asyncio.sleep(0.05)


async def refusal(client: HttpRecoveryHub) -> str:
    """Ask for the vault until the hub refuses; return its words."""
    for _ in range(100):
        try:
            await client.copy()
        except BoxSetupError as error:
            return str(error)
        await asyncio.sleep(0.1)
    return "never refused"


def has_come_to(box: RunningBox, step: str) -> bool:
    return box.box.recovery.restore.report.step in {step, "compare", "done"}


def names(box: RunningBox) -> set[str]:
    return {known.name for known in box.box._roster._people.values()}


def digests(folder: Path) -> dict[str, bytes]:
    """Return the digests of what the school wrote, names and health with it, as opened there."""
    with closing(connect_readonly(folder / "box.db")) as reader:
        every = digest_tables(reader.cursor(), schools=(17,), groups=tuple(Group))
    return {name: every[name] for name in WRITTEN}


async def forget(box: RunningBox, name: str) -> dict[str, Any]:
    plan = await box.ask("POST", "/forget/plan", {"name": name})
    return await box.ask("POST", "/forget", {"person": plan["person"]})


async def test_a_lost_school_comes_back_whole_on_a_spare(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            await live_a_while(hub, box)
            lost = box.box._store.identity.box
            await box.box._writer.call(box.box._store.node.keys.rotate, "head")
        (tmp_path / "lost" / "generation").write_bytes(b"restored from somewhere")
        async with a_school(hub, tmp_path / "lost") as box:
            store, writer = box.box._store, box.box._writer
            checks: list[Row] = [{"at_ms": 90, "person": 6, "symptoms": "咳嗽"}]
            await writer.call(store.node.record, "health_check", checks)
            code: str = (await box.ask("POST", "/recovery/new"))["code"]
            await box.box.recovery.keeper.bring_up_to_date()
            before = names(box)
            await until(lambda: hub.rows("SELECT count(*) FROM health_check") == [(41,)])
            await recoverable(box)
        assert len(set(hub.rows("SELECT incarnation FROM log WHERE origin = 17"))) == 2
        assert len(set(hub.rows("SELECT epoch FROM key_grant WHERE school = 17"))) > 1
        whole = digests(tmp_path / "lost")
        rmtree(tmp_path / "lost")
        revoke(hub, lost)
        async with a_school(hub, tmp_path / "spare") as spare:
            assert names(spare) == set()
            assert digests(tmp_path / "spare") != whole
            report = await restored(spare, code)
            assert report["step"] == "done", report
            assert report["equal"], report
            assert (report["people"], report["names"]) == (3, 3)
            assert report["fetched"]["segments"] == report["fetched"]["segments_total"] > 0
            assert report["fetched"]["bytes"] == report["fetched"]["bytes_total"] > 0
            assert report["other_boxes"] == []
            assert names(spare) == before == {"张伟", "王芳", "李娜"}
            assert digests(tmp_path / "spare") == whole
            # The spare goes on by itself.
            await spare.box.recovery.keeper.bring_up_to_date()
            await recoverable(spare)
            again = await restored(spare, code)
            assert again["equal"]
            assert again["names"] == 3


async def test_a_restore_that_was_killed_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
        whole = digests(tmp_path / "lost")
        for step in ("code", "fetch", "keys", "vault", "compare"):
            async with a_school(hub, tmp_path / "spare") as spare:
                await spare.ask("POST", "/restore", {"code": code})
                await until(partial(has_come_to, spare, step))
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, code)
            assert report["equal"], report
            assert len(names(spare)) == 3
        assert digests(tmp_path / "spare") == whole


async def test_the_wrong_code_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            old = await live_a_while(hub, box)
            new: str = (await box.ask("POST", "/recovery/new"))["code"]
            await box.box.recovery.keeper.bring_up_to_date()
            with pytest.raises(BoxSetupError, match="not this school's present one"):
                await box.ask("POST", "/recovery/check", {"code": old})
            await box.ask("POST", "/recovery/check", {"code": new})
            await recoverable(box)
        stranger = RecoveryCode(bytes(16)).printed()
        async with a_school(hub, tmp_path / "spare") as spare:
            for code in (stranger, old):
                report = await restored(spare, code)
                assert report["step"] == "failed"
                assert "not the one the school's vault is sealed to" in report["detail"]
                assert (report["keys"], names(spare)) == (0, set())
            report = await restored(spare, stranger, without_names=True)
            assert "opens none of the school's records" in report["detail"]
            with pytest.raises(BoxSetupError, match="mistyped"):
                await spare.ask(
                    "POST", "/restore", {"code": new[:-1] + ("0" if new[-1] != "0" else "1")}
                )
            assert (await restored(spare, new))["equal"]


async def test_the_hub_alone_opens_nothing_of_the_vault(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
            vault = box.box._store.vault
            keys = await box.box._writer.call(lambda: vault.contents().keys)
        shelf = tmp_path / "hub" / "vaults"
        backup = (shelf / "17.backup").read_bytes()
        on_disk = b"".join(
            path.read_bytes() for path in (tmp_path / "hub").rglob("*") if path.is_file()
        )
        for needle in (
            *keys.values(),
            "张伟".encode(),
            code.encode(),
            code.replace("-", "").encode(),
        ):
            assert needle not in on_disk
        with open_hub(hub.config, hub.now_ms) as parts:
            copy = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
            assert copy is not None
            with pytest.raises(ForgedError):
                open_backup(backup, 17, parts.identity.sealing, copy.share)
        # The control: with the code it opens.
        opened = open_backup(backup, 17, parse_recovery_code(code).key(), copy.share)
        assert opened.keys == keys


async def test_a_forgotten_child_comes_back_from_no_backup_older_than_the_completion(
    tmp_path: Path,
) -> None:
    shelf = tmp_path / "hub" / "vaults"
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
            recovery = parse_recovery_code(code).key()
            lost = box.box._store.identity.box
            copytree(shelf, tmp_path / "hub's backup")
            (person,) = box.box._roster.find("张伟")
            cell = box.box._store.reader.execute(
                "SELECT name FROM person WHERE person = ?", (person,)
            ).fetchone()[0]
            proof = await forget(box, "张伟")
            now_ms = hub.now_ms()
            assert (proof["opened_before"], proof["open_now"], proof["waits"]) == (2, 0, False)
            assert proof["log_truncated"]
            assert abs(proof["complete_ms"] - now_ms - 30 * DAY_MS) < 60_000
            assert names(box) == {"王芳", "李娜"}
            (told,) = (await box.ask("GET", "/forget"))["erasures"]
            assert (told["person"], told["complete_ms"]) == (person, proof["complete_ms"])
            with pytest.raises(BoxSetupError, match="forgotten already"):
                await box.ask("POST", "/forget/plan", {"person": person})
            with pytest.raises(BoxSetupError, match="nobody of that name"):
                await box.ask("POST", "/forget/plan", {"name": "张伟"})
            await until(
                lambda: (
                    hub.rows("SELECT complete_ms FROM erasure WHERE complete_ms > 0")
                    == [(proof["complete_ms"],)]
                )
            )
            # The live hub's share opens no older backup, and its backup has no such key.
            old = (tmp_path / "hub's backup" / "17.backup").read_bytes()
            copy = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
            assert copy is not None
            with pytest.raises(ForgedError):
                open_backup(old, 17, recovery, copy.share)
            now = open_backup(copy.backup, 17, recovery, copy.share)
            assert person in now.forgotten
            assert len(now.keys) == 2
            # The control: until it expires, the hub's backup of its shelf and the code do open it.
            former = VaultShelf(tmp_path / "hub's backup", 30, hub.now_ms, os.urandom).copy(17)
            assert former is not None
            key = open_backup(old, 17, recovery, former.share).keys[person]
            nonce, sealed = cell[:12], cell[12:]
            context = f"schoolnode person {person} name".encode()
            opened = ChaCha20Poly1305(key).decrypt(nonce, sealed, context)
            assert opened.startswith("张伟".encode())
            assert key not in b"".join(
                path.read_bytes() for path in (tmp_path / "lost").rglob("*") if path.is_file()
            )
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, code)
            assert report["equal"], report
            assert report["other_boxes"] == [lost]
            assert (report["people"], report["names"], report["forgotten"]) == (2, 2, 1)
            assert names(spare) == {"王芳", "李娜"}
            (told,) = (await spare.ask("GET", "/forget"))["erasures"]
            assert (told["person"], told["complete_ms"]) == (person, proof["complete_ms"])


async def test_a_hub_that_was_set_back_is_noticed_and_the_forgotten_stay_so(
    tmp_path: Path,
) -> None:
    shelf = tmp_path / "hub" / "vaults"
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
            copytree(shelf, tmp_path / "old")
            proof = await forget(box, "张伟")
            await until(
                lambda: hub.rows("SELECT complete_ms FROM erasure WHERE complete_ms > 0") != []
            )
        rmtree(shelf)
        copytree(tmp_path / "old", shelf)
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, code)
            assert report["step"] == "failed"
            assert "the hub was set back" in report["detail"]
            assert names(spare) == set()
            hub.now_ms.ahead_ms += DAY_MS
            report = await restored(spare, code, older_vault=True)
            assert report["equal"], report
            assert names(spare) == {"王芳", "李娜"}
            # Its old share counts from now on again: the day of completion moves, and is told.
            await spare.box.recovery.keeper.bring_up_to_date()
            (told,) = (await spare.ask("GET", "/forget"))["erasures"]
            assert told["complete_ms"] >= proof["complete_ms"] + DAY_MS
            assert not told["waits"]
        after = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
        assert after is not None
        opened = open_backup(after.backup, 17, parse_recovery_code(code).key(), after.share)
        assert told["person"] in opened.forgotten


async def test_a_live_box_mends_a_hub_that_was_set_back(tmp_path: Path) -> None:
    shelf = tmp_path / "hub" / "vaults"
    async with running_hub(tmp_path / "hub") as hub, a_school(hub, tmp_path / "box") as box:
        code = await live_a_while(hub, box)
        copytree(shelf, tmp_path / "old")
        proof = await forget(box, "张伟")
        rmtree(shelf)
        copytree(tmp_path / "old", shelf)
        hub.now_ms.ahead_ms += DAY_MS
        await box.box.recovery.keeper.bring_up_to_date()
        (told,) = (await box.ask("GET", "/forget"))["erasures"]
        assert told["complete_ms"] >= proof["complete_ms"] + DAY_MS
        after = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
        assert after is not None
        assert (
            len(open_backup(after.backup, 17, parse_recovery_code(code).key(), after.share).keys)
            == 2
        )


async def test_a_box_that_is_set_back_with_its_vault_forgets_again(tmp_path: Path) -> None:
    """The whole folder comes from a copy of the disk: no marker beside the store tells it."""
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "box") as box:
            code = await live_a_while(hub, box)
        copytree(tmp_path / "box", tmp_path / "image", ignore=ignore_patterns("*.sock"))
        async with a_school(hub, tmp_path / "box") as box:
            proof = await forget(box, "张伟")
            await until(
                lambda: hub.rows("SELECT complete_ms FROM erasure WHERE complete_ms > 0") != []
            )
        rmtree(tmp_path / "box")
        copytree(tmp_path / "image", tmp_path / "box")
        async with a_school(hub, tmp_path / "box") as box:
            assert names(box) == {"张伟", "王芳", "李娜"}
            # What it adds before it hears of the erasure may bring the key to the hub again: then
            # the day moves.
            await box.box.import_roster(f"{ROSTER}赵敏,0A00000004,三\n".encode())
            await until(lambda: names(box) == {"王芳", "李娜", "赵敏"})
            await box.box.recovery.keeper.bring_up_to_date()
            (told,) = (await box.ask("GET", "/forget"))["erasures"]
            assert not told["waits"]
            assert told["complete_ms"] >= proof["complete_ms"]
            assert proof["person"] not in box.box._store.vault.persons()
        copy = VaultShelf(tmp_path / "hub" / "vaults", 30, hub.now_ms, os.urandom).copy(17)
        assert copy is not None
        opened = open_backup(copy.backup, 17, parse_recovery_code(code).key(), copy.share)
        assert proof["person"] in opened.forgotten
        assert len(opened.keys) == 3
        assert copy.share.generation > proof["hub"]["generation"]


async def test_a_box_from_before_any_backup_forgets_under_a_share_above_the_one_it_takes_up(
    tmp_path: Path,
) -> None:
    """The copy knows of no backup, so what it forgets waits for no share; the hub's has the key."""
    shelf = tmp_path / "hub" / "vaults"
    async with running_hub(tmp_path / "hub") as hub, a_school(hub, tmp_path / "box") as box:
        await box.box.import_roster(ROSTER.encode())
    async with a_school(hub, tmp_path / "box") as box:
        code = (await box.ask("POST", "/recovery/new"))["code"]
    copytree(tmp_path / "box", tmp_path / "image", ignore=ignore_patterns("*.sock"))
    async with running_hub(tmp_path / "hub", hub.config) as hub:
        async with a_school(hub, tmp_path / "box") as box:
            for more in ("赵敏,0A00000004,三\n", "周杰,0A00000005,三\n"):
                await box.box.import_roster(f"{ROSTER}{more}".encode())
            await box.box.recovery.keeper.bring_up_to_date()
            await recoverable(box)
        former = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
        assert former is not None
        rmtree(tmp_path / "box")
        copytree(tmp_path / "image", tmp_path / "box")
        async with a_school(hub, tmp_path / "box") as box:
            proof = await forget(box, "张伟")
            assert proof["waits"]
            report = await restored(box, code)
            assert report["step"] == "done", report
            await box.box.recovery.keeper.bring_up_to_date()
            (told,) = (await box.ask("GET", "/forget"))["erasures"]
            assert not told["waits"]
        recovery = parse_recovery_code(code).key()
        assert proof["person"] in open_backup(former.backup, 17, recovery, former.share).keys
        copy = VaultShelf(shelf, 30, hub.now_ms, os.urandom).copy(17)
        assert copy is not None
        with pytest.raises(ForgedError):
            open_backup(former.backup, 17, recovery, copy.share)
        assert proof["person"] in open_backup(copy.backup, 17, recovery, copy.share).forgotten


async def test_forgetting_while_the_hub_is_away_is_finished_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub, a_school(hub, tmp_path / "box") as box:
        code = await live_a_while(hub, box)
    async with a_school(hub, tmp_path / "box") as box:
        proof = await forget(box, "张伟")
        assert (proof["open_now"], proof["waits"], proof["complete_ms"]) == (0, True, None)
        assert "hub" in proof["detail"]
        (told,) = (await box.ask("GET", "/forget"))["erasures"]
        assert told["waits"]
    async with running_hub(tmp_path / "hub", hub.config), a_school(hub, tmp_path / "box") as box:
        await box.box.recovery.keeper.bring_up_to_date()
        (told,) = (await box.ask("GET", "/forget"))["erasures"]
        assert not told["waits"]
        assert told["complete_ms"]
        copy = VaultShelf(tmp_path / "hub" / "vaults", 30, hub.now_ms, os.urandom).copy(17)
        assert copy is not None
        opened = open_backup(copy.backup, 17, parse_recovery_code(code).key(), copy.share)
        assert told["person"] in opened.forgotten


async def test_a_box_that_died_before_the_hub_knew_is_rebuilt_without_the_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure reached the logs and the vault's backup did not: no sign of a hub set back."""
    monkeypatch.setattr(vault_keeper, "LOOK_EVERY_S", 600.0)
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
            (person,) = box.box._roster.find("张伟")
            await box.box._writer.call(box.box.recovery.erasures._destroy, person, "head")
            await until(lambda: hub.rows("SELECT person FROM erasure") == [(person,)])
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, code)
            assert report["step"] == "done", report
            assert names(spare) == {"王芳", "李娜"}
            assert (await spare.ask("GET", "/forget"))["erasures"][0]["waits"]
            await spare.box.recovery.keeper.bring_up_to_date()
            (told,) = (await spare.ask("GET", "/forget"))["erasures"]
            assert told["complete_ms"]


async def test_a_crash_after_the_key_is_destroyed_leaves_the_rest_to_the_next_start(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "box") as box:
            await live_a_while(hub, box)
            (person,) = box.box._roster.find("张伟")
            await box.box._writer.call(box.box._store.vault.forget, person, 77, "head")
        async with a_school(hub, tmp_path / "box") as box:
            assert names(box) == {"王芳", "李娜"}
            rows = box.box._store.reader.execute("SELECT at_ms, person FROM erasure").fetchall()
            assert [tuple(row) for row in rows][:1] == [(77, person)]
            await box.box.recovery.keeper.bring_up_to_date()
            (told,) = (await box.ask("GET", "/forget"))["erasures"]
            assert told["complete_ms"]


async def test_a_receipt_that_was_lost_on_the_way_is_asked_for_again(tmp_path: Path) -> None:
    class Lossy(HttpRecoveryHub):
        """Lets the line break after the hub has stored, once."""

        lost = 0

        async def store(self, backup: bytes) -> VaultReceipt:
            receipt = await super().store(backup)
            if not self.lost:
                self.lost += 1
                raise HubAwayError("cut")
            return receipt

    async with running_hub(tmp_path / "hub") as hub, a_school(hub, tmp_path / "box") as box:
        await live_a_while(hub, box)
        keeper = box.box.recovery.keeper
        store = box.box._store
        keeper._hub = Lossy(store.identity, box.box._certificates.hub_context)
        proof = await forget(box, "张伟")
        await keeper.bring_up_to_date()
        (told,) = (await box.ask("GET", "/forget"))["erasures"]
        assert told["complete_ms"]
        query = "SELECT count(*) FROM erasure WHERE complete_ms IS NOT NULL"
        assert tuple(store.reader.execute(query).fetchone()) == (1,)
        # A crash between the row and the end of the waiting writes no second row.
        erasing = Erasing(proof["person"], 1, "head", 1)
        generation = (await keeper._hub.state()).generation
        await box.box._writer.call(keeper._complete, (erasing,), generation, told["complete_ms"])
        assert tuple(store.reader.execute(query).fetchone()) == (1,)


async def test_a_damaged_vault_is_refused_and_the_rest_comes_back_without_it(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
        path = tmp_path / "hub" / "vaults" / "17.backup"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, code)
            assert report["step"] == "failed"
            assert "the hub's copy is damaged" in report["detail"].lower()
            report = await restored(spare, code, without_names=True)
            assert report["equal"], report
            assert (report["people"], report["names"]) == (3, 0)
            await spare.box.import_roster(ROSTER.replace("0A", "0B").encode())
            assert len(names(spare)) == 3
            # The hub keeps what it has until a new code is made: the old vault may yet be mended.
            await spare.box.recovery.keeper.bring_up_to_date()
            assert path.read_bytes() == content
            fresh: str = (await spare.ask("POST", "/recovery/new"))["code"]
            await spare.box.recovery.keeper.bring_up_to_date()
            await recoverable(spare)
            await spare.ask("POST", "/recovery/check", {"code": fresh})
            assert path.read_bytes() != content


async def test_a_code_that_was_replaced_is_not_made_good_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            old = await live_a_while(hub, box)
            await box.ask("POST", "/recovery/new")
            await recoverable(box)
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, old, without_names=True)
            assert report["step"] == "done", report
            assert report["unopened"] > 0
            assert not report["equal"]
            identity = recipient_id(parse_recovery_code(old).key().public_key())
            known = await spare.box._writer.call(spare.box._store.node.keys.recipients)
            assert Standing.CONFIRMED not in {
                each.standing for each in known if each.id == identity
            }
            assert (await spare.ask("GET", "/recovery"))["fingerprint"] is None


async def test_a_school_without_a_code_is_told_and_forgets_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            await box.box.import_roster(ROSTER.encode())
            standing = await box.ask("GET", "/recovery")
            assert (standing["fingerprint"], standing["people"]) == (None, 3)
            with pytest.raises(BoxSetupError, match="no recovery code yet"):
                await box.ask("POST", "/recovery/check", {"code": RecoveryCode(bytes(16)).text()})
            before_ms = hub.now_ms()
            proof = await forget(box, "李娜")
            assert before_ms <= proof["complete_ms"] <= hub.now_ms()
        async with a_school(hub, tmp_path / "spare") as spare:
            report = await restored(spare, RecoveryCode(bytes(16)).text())
            assert "holds no vault of this school" in report["detail"]


async def test_the_lost_box_is_cut_off_from_the_vault(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        async with a_school(hub, tmp_path / "lost") as box:
            code = await live_a_while(hub, box)
            lost = box.box._store.identity.box
        async with a_school(hub, tmp_path / "spare") as spare:
            assert (await restored(spare, code))["equal"]
            await spare.box.recovery.keeper.bring_up_to_date()
        async with a_school(hub, tmp_path / "lost") as box:
            await box.box.import_roster(ROSTER.replace("0A", "0C").encode())
            with pytest.raises(BoxSetupError, match="run schoolnode restore on the one that stays"):
                await box.box.recovery.keeper.bring_up_to_date()
        identity = load_identity(tmp_path / "lost" / "identity")
        client = HttpRecoveryHub(identity, box_client_context(identity, hub.now_ms))
        assert await client.copy() is not None
        revoke(hub, lost)
        assert "revoked" in await refusal(client)
