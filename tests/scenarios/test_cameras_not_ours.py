"""A school with a camera that is not ours beside a simulated one, seen through its box."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.ipycam_peer import SITE, running_ipycam
from tests.scenarios.running_demo import SCHOOLNODE
from tests.scenarios.small_district import PAGES_PORT, SmallDistrict, claim, told_by

pytestmark = pytest.mark.timeout(120)

NETWORK = 86
ANSWERED_S_MAX = 30.0
JPEG_START = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class BoxApi:
    """What a program of the school does over HTTPS, trusting the district's root alone."""

    def __init__(self, address: str, root: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=str(root))
        self._cookie = ""

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        connection = http.client.HTTPSConnection(
            self._address, PAGES_PORT, timeout=20, context=self._context
        )
        headers = {
            "Origin": f"https://{self._address}:{PAGES_PORT}",
            "Content-Type": "application/json",
            "Cookie": self._cookie,
        }
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def sign_in(self, code: str) -> None:
        opened = self.ask("POST", "/api/session", {"code": code})
        assert opened.status == 200, opened.body
        self._cookie = opened.headers["Set-Cookie"].partition(";")[0]


@dataclass(frozen=True, slots=True)
class School:
    """The box's command line and its API, with both cameras switched on."""

    config: Path
    api: BoxApi
    peer_address: str

    def told(self, *command: str) -> dict[str, Any]:
        told = told_by(SCHOOLNODE, *command, f"--config={self.config}", "--json")
        assert told.code == 0, told.err
        answer: dict[str, Any] = json.loads(told.out)
        return answer


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    district = SmallDistrict(tmp_path, NETWORK)
    district.write_hub()
    config = district.write_box(1, interface=str(SITE))
    with ExitStack() as stack:
        peer_address = stack.enter_context(running_ipycam(tmp_path, None))
        stack.enter_context(_simulated_camera(tmp_path))
        stack.enter_context(district.hub_running())
        claimed = claim(config, district.invite(1))
        assert claimed.code == 0, claimed.err
        stack.enter_context(district.box_running(config))
        data = config.parent / "data"
        api = BoxApi(district.address(1), data / "identity" / "root.pem")
        api.sign_in((data / "setup-code").read_text())
        yield School(config, api, peer_address)


def test_both_cameras_are_found_adopted_and_seen(school: School) -> None:
    found = school.told("discover", "--kind=camera")["candidates"]
    assert len(found) == 2
    assert {each["kind"] for each in found} == {"camera"}
    peer, ours = sorted(found, key=lambda each: each["address"] != school.peer_address)
    assert peer["address"] == school.peer_address
    assert peer["needs"] == ours["needs"] == "nothing"
    assert all(each["evidence"] for each in found)
    for each, name in ((peer, "后墙摄像机"), (ours, "讲台摄像机")):
        school.told("adopt", each["identity"], f"--name={name}", "--room=301")

    wait_until(lambda: lights(school) == {"后墙摄像机": "good", "讲台摄像机": "good"})
    for each in (peer, ours):
        shown = school.api.ask("GET", f"/api/snapshot/{each['identity']}")
        assert shown.status == 200, shown.body
        assert shown.headers["Content-Type"] == "image/jpeg"
        assert shown.body.startswith(JPEG_START)
    page = school.api.ask("GET", "/").body.decode()
    assert "后墙摄像机" in page
    assert "讲台摄像机" in page


def lights(school: School) -> dict[str, str]:
    devices = json.loads(school.api.ask("GET", "/api/status").body)["devices"]
    return {each["name"]: each["state"] for each in devices if each["kind"] == "camera"}


def wait_until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + ANSWERED_S_MAX
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.2)


@contextmanager
def _simulated_camera(place: Path) -> Iterator[None]:
    (place / "cards").write_text("0000000001")
    command = [
        sys.executable,
        "-m",
        "drivers.simulators",
        "--seed=7",
        f"--network={SITE.network}",
        f"--lines={place / 'lines'}",
        f"--ledgers={place / 'ledgers'}",
        f"--cards={place / 'cards'}",
        "--with=network",
    ]
    with (
        (place / "devices.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as devices,
    ):
        try:
            yield
        finally:
            devices.send_signal(signal.SIGINT)
