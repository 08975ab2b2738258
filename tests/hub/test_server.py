import asyncio
import sqlite3
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from edge.hub_stream import HubUnreachableError
from hub import server
from hub.exchange_api import Heartbeat
from hub.lesson.timetable import Row
from hub.server import HubServer, open_hub, run_hub
from provisioning.box_keys import new_box_keys
from provisioning.door import PortLimits
from provisioning.errors import SetupError
from provisioning.join_code import parse_join_code
from sync.errors import RowError
from sync.store import connect_readonly
from sync.writer import Writer
from tests.hub.box_call import calling
from tests.hub.running_hub import (
    DAY_MS,
    HOST,
    Clock,
    RunningHub,
    hub_config,
    revoke,
    running_hub,
    until,
)
from tests.loopback import own_address
from tests.provisioning.district import request_body

CERTIFIED = "SELECT school, revoked FROM box_certificate ORDER BY school"


async def test_a_box_that_enrolled_just_before_a_crash_is_told_to_the_schools(
    tmp_path: Path,
) -> None:
    hub = RunningHub(hub_config(tmp_path), Clock())
    code = parse_join_code(hub.invite(17))
    with open_hub(hub.config, hub.now_ms) as parts:
        parts.desk.enrol(request_body(code, new_box_keys(), lan_names=[HOST]), HOST)
    assert hub.rows(CERTIFIED) == []

    async with running_hub(tmp_path, hub.config):
        assert hub.rows(CERTIFIED) == [(17, 0)]


async def test_a_box_is_told_to_the_schools_once_however_often_the_hub_starts(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        await hub.enrol(17, tmp_path / "box")
    told = hub.rows("SELECT hlc FROM box_certificate")

    async with running_hub(tmp_path / "hub", hub.config):
        pass

    assert hub.rows("SELECT hlc FROM box_certificate") == told


async def test_a_revoked_box_is_not_kept_waiting_for_news(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "box")
        async with calling(hub, identity, tmp_path / "store") as box:
            await box.next_message()

            revoke(hub, identity.box)

            await box.until_ended()
        with pytest.raises(HubUnreachableError, match="revoked"):
            async with calling(hub, identity, tmp_path / "store"):
                pass


async def test_a_revoked_box_is_refused_in_words_and_its_code_is_worthless(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "box")
        revoke(hub, identity.box)
        async with hub.session(identity) as http, asyncio.timeout(5):
            while (response := await http.post("/sync/exchange", data=b"x")).status != 403:
                await response.read()
                await asyncio.sleep(0.05)
            assert await response.json() == {"reason": "revoked"}
            renewal = await http.post("/enrol/renewal", data=b"{}")
            assert renewal.status in {403, 404}


async def test_a_revocation_outlives_the_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = await hub.enrol(17, tmp_path / "box")
    revoke(hub, identity.box)
    async with running_hub(tmp_path / "hub", hub.config), hub.session(identity) as http:
        assert (await http.post("/sync/exchange", data=b"x")).status == 403


async def test_the_hub_serves_its_renewed_certificate_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_RENEW_EVERY_S", 0.05)
    async with running_hub(tmp_path) as hub:
        ports = (hub.config.boxes.port, hub.config.pages.port)
        before = [await _serial(port) for port in ports]
        hub.now_ms.ahead_ms = 11 * DAY_MS
        async with asyncio.timeout(10):
            for port in ports:
                while await _serial(port) in before:  # noqa: ASYNC110 - another task's doing
                    await asyncio.sleep(0.05)


def test_processes_that_open_a_new_hub_at_once_make_one_authority(tmp_path: Path) -> None:
    config = hub_config(tmp_path)

    def root() -> str:
        with open_hub(config, Clock()) as parts:
            return parts.identity.trust.root_pin().hex() + parts.admin_code

    with ThreadPoolExecutor(4) as pool:
        roots = {each.result() for each in [pool.submit(root) for _ in range(8)]}

    assert len(roots) == 1


async def test_a_second_hub_on_the_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        with pytest.raises(SetupError, match="another hub runs on this folder; stop it"):
            await run_hub(hub.config, hub.now_ms)


async def test_rows_of_several_tables_are_recorded_whole_or_not_at_all(tmp_path: Path) -> None:
    hub = RunningHub(hub_config(tmp_path), Clock())
    with (
        open_hub(hub.config, hub.now_ms) as parts,
        Writer() as writer,
        closing(connect_readonly(parts.store)) as reader,
    ):
        running = HubServer(parts, writer, reader, hub.now_ms)
        good: Row = {"school": 17, "lesson": "a1", "role": "flagship"}
        with pytest.raises(RowError):
            running.record_all(
                {"lesson_party": [good], "lesson": [{"lesson": "a1", "starts_ms": "noon"}]}
            )
        assert hub.rows("SELECT * FROM lesson_party") == []

        running.record_all({"lesson_party": [good], "lesson": [{"lesson": "a1"}]})
        assert hub.rows("SELECT lesson FROM lesson_party") == [("a1",)]


async def test_a_school_never_heard_has_no_lag_and_that_of_a_silent_one_rises(
    tmp_path: Path,
) -> None:
    hub = RunningHub(hub_config(tmp_path), Clock())
    with (
        open_hub(hub.config, hub.now_ms) as parts,
        Writer() as writer,
        closing(connect_readonly(parts.store)) as reader,
    ):
        code = parse_join_code(hub.invite(17))
        parts.desk.enrol(request_body(code, new_box_keys(), lan_names=[HOST]), HOST)
        parts.registry.read_boxes()
        running = HubServer(parts, writer, reader, hub.now_ms)
        (unheard,) = running.school_lights()
        assert (unheard.heartbeat_ms, unheard.lag_ms, unheard.not_after_ms) == (None, None, None)

        hub.now_ms.ahead_ms = 0
        name = unheard.box or ""
        caught_up_ms = hub.now_ms()
        running._exchange.heartbeats[name] = Heartbeat(
            caught_up_ms, caught_up_ms, waiting_bytes=0, caught_up_ms=caught_up_ms
        )
        hub.now_ms.ahead_ms = 3 * 3_600_000
        (silent,) = running.school_lights()
        assert silent.waiting_bytes == 0
        assert silent.lag_ms is not None
        assert silent.lag_ms >= 3 * 3_600_000

        parts.registry.revoked.add(name)
        assert running.school_lights() == []


async def test_a_full_disk_stops_sealing_and_not_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SEAL_RETRY_S", 0.05)
    async with running_hub(tmp_path) as hub:
        hub.record("school", {"school": 17, "name": "一小"})
        with closing(sqlite3.connect(hub.store)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            blocker.execute("ALTER TABLE segment RENAME TO taken_away")
            blocker.execute("COMMIT")
            await asyncio.sleep(0.3)
            hub.record("school", {"school": 18, "name": "二小"})
            await asyncio.sleep(1.0)
            blocker.execute("ALTER TABLE taken_away RENAME TO segment")
            blocker.commit()
        await until(lambda: hub.rows("SELECT count(*) FROM segment") != [(0,)])


async def _serial(port: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


async def test_who_fills_the_boxes_port_keeps_no_box_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BOXES_LIMITS", PortLimits(connections=8, of_an_address=4))
    async with running_hub(tmp_path / "hub") as hub:
        port, source = hub.config.boxes.port, (own_address("75.9"), 0)
        crowd = [await asyncio.open_connection(HOST, port, local_addr=source) for _ in range(12)]
        left = [reader for reader, _ in crowd]
        await until(lambda: sum(not (one.at_eof() or one.exception()) for one in left) == 4)
        identity = await hub.enrol(17, tmp_path / "box")
        async with calling(hub, identity, tmp_path / "store") as box:
            await box.next_message()
        for _, writer in crowd:
            writer.close()
