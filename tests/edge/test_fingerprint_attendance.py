"""django-fingerprint-attendance, not ours: its terminal calls the box, its server hears ours."""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.peer_environment import peer_python
from drivers.entities import Outcome
from drivers.simulators.adms_terminal import AdmsSimulator, Habits
from drivers.simulators.ledger import Ledger
from edge.devices.terminals import Terminals
from tests.drivers.serial_bench import now_ms
from tests.drivers.terminal_bench import ZONE
from tests.edge.test_push_port import BOX, OTHER, SERIAL, TERMINAL, Door, opened
from tests.loopback import free_port
from tests.system_needs import need_peer

# What the peer's simulator expects of Django's test client, over real HTTP from its own address.
DEVICE = """
import http.client, json, sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import urlencode
from fingerprint_attendance.testing.simulator import ADMSDeviceSimulator

box, port, source, serial, firmware = sys.argv[1:6]

class Client:
    def ask(self, method, path, body, kind):
        link = http.client.HTTPConnection(box, int(port), source_address=(source, 0), timeout=10)
        link.request(method, path, body, {"Content-Type": kind})
        answer = link.getresponse()
        return SimpleNamespace(status_code=answer.status, content=answer.read())
    def get(self, path, params, REMOTE_ADDR):
        return self.ask("GET", f"{path}?{urlencode(params)}", None, "text/plain")
    def post(self, path, data, content_type, REMOTE_ADDR):
        return self.ask("POST", path, data, content_type)

now = datetime.now(timezone(timedelta(hours=8))).replace(tzinfo=None, microsecond=0)
device = ADMSDeviceSimulator(Client(), serial=serial, firmware=firmware)
said = {"options": device.handshake()}
device.punch("1001", now - timedelta(seconds=90))
device.go_offline()
for number in range(1002, 1012):
    device.punch(str(number), now - timedelta(seconds=60))
said["late"] = [each.text for each in device.go_online()]
device.enroll_at_device("1001", 1, b"template", name="Zhang Wei")
device.uploaded = 0
said["again"] = [each.text for each in device.upload_pending(corrupt_line=3)]
print(json.dumps(said), flush=True)
for line in sys.stdin:
    device.run_commands()
    print(json.dumps({"users": device.users, "executed": device.executed}), flush=True)
"""

SETTINGS = """
SECRET_KEY = "x"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework",
                  "fingerprint_attendance"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "peer.sqlite"}}
FINGERPRINT_ATTENDANCE = {}
"""
SERVER = """
import json, os, sys
from threading import Thread
os.environ["DJANGO_SETTINGS_MODULE"] = "peer_settings"
sys.path.insert(0, ".")
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from fingerprint_attendance.models import Device, Punch
from wsgiref.simple_server import make_server, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass
server = make_server(sys.argv[1], int(sys.argv[2]), get_wsgi_application(), handler_class=Quiet)
Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "approve":
        Device.objects.update(status="active")
    punches = [[p.raw_pin, str(p.device_local_time)] for p in Punch.objects.order_by("pk")]
    print(json.dumps(punches), flush=True)
"""


async def python() -> Path:
    return await asyncio.to_thread(need_peer, peer_python, "fingerprint_attendance")


@asynccontextmanager
async def program(
    folder: Path, source: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        await python(),
        "-c",
        source,
        *arguments,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        text = (await process.stdout.readline()).decode()
    assert text, "the peer ended"
    return text


async def tell(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n".encode())
    await process.stdin.drain()


async def put_people(door: Door, terminals: Terminals) -> None:
    door.school.people = {"900000017": "0008075634"}
    terminal = terminals.by_serial(SERIAL)
    assert terminal is not None
    assert (await terminal.order("people", "here")).outcome is Outcome.SENT


@pytest.mark.timeout(300)
@pytest.mark.parametrize("firmware", ["legacy", "push2", "biodata"])
async def test_an_independent_terminal_is_heard_filled_and_emptied(
    tmp_path: Path, firmware: str
) -> None:
    await python()
    async with opened(tmp_path) as door:
        door.adopt()
        arguments = (BOX, str(door.port), TERMINAL, SERIAL, firmware)
        async with program(tmp_path, DEVICE, *arguments) as terminal:
            said = json.loads(await line_of(terminal))
            assert said["options"]["Realtime"] == "1"
            assert said["late"] == ["OK: 10"]
            # All told again, one line broken on the way: each counted once, the broken one as told.
            assert said["again"] == ["OK: 11"]
            numbers = [str(number) for number in range(1001, 1012)]
            assert [number for number, _, _ in door.school.seen()] == numbers
            assert {round(ago, -1) for _, _, ago in door.school.seen()[1:]} == {60}
            await put_people(door, door.fleet.terminals)
            await tell(terminal, "run")
            users = json.loads(await line_of(terminal))["users"]
            assert users["900000017"] == {"name": "", "privilege": 0}
            door.school.people = {}
            await tell(terminal, "run")
            told = json.loads(await line_of(terminal))
            assert set(told["users"]) == {"1001"}
            assert told["executed"][-1] == "DATA DELETE USERINFO PIN=900000017"


@pytest.mark.timeout(300)
async def test_our_terminal_is_heard_by_an_independent_server(tmp_path: Path) -> None:
    (tmp_path / "peer_settings.py").write_text(SETTINGS)
    (tmp_path / "urls.py").write_text(
        "from django.urls import include, path\n"
        "urlpatterns = [path('', include('fingerprint_attendance.adms.urls'))]\n"
    )
    port = free_port()
    async with program(tmp_path, SERVER, OTHER, str(port)) as server:
        assert await line_of(server) == "ready\n"
        ledger = Ledger(tmp_path / "terminal.jsonl", now_ms)
        habits = Habits(source=TERMINAL, zone=ZONE)
        terminal = AdmsSimulator(SERIAL, (OTHER, port), ledger, now_ms, random.Random(1), habits)
        records = [terminal.punch(number) for number in ("1001", "1002", "1003")]
        await terminal.call()
        await tell(server, "approve")
        await line_of(server)
        assert await terminal.call()
        await tell(server, "list")
        stored = json.loads(await line_of(server))
        assert [(number, at[:19]) for number, at in stored] == [
            (record.number, record.local) for record in records
        ]
        assert terminal.acknowledged == len(records)
