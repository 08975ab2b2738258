"""onvif-util of Debian's onvif-tools, a client that is not ours, on the simulated cameras."""

import asyncio
import json
import re
import sys
from pathlib import Path

from drivers.simulators.ledger import read_ledger
from tests.drivers.onvif_util_session import LOCKED, OPEN
from tests.system_needs import give_up, need

NETWORK = (
    "ip link set lo up && ip route add 239.255.255.250/32 dev lo src 127.0.0.1 || exit 77; "
    'exec "$@"'
)


async def test_another_client_finds_signs_in_to_and_sets_the_simulated_cameras(
    tmp_path: Path,
) -> None:
    need("onvif-util", "onvif-tools")
    session = (sys.executable, "-m", "tests.drivers.onvif_util_session", str(tmp_path))
    program = await asyncio.create_subprocess_exec(
        *("unshare", "--map-root-user", "--net", "sh", "-c", NETWORK, "sh", *session),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await program.communicate()
    if program.returncode in {1, 77} and b"Traceback" not in errors:
        give_up(f"no network namespaces here: {errors.decode().strip()}")
    assert program.returncode == 0, errors.decode()
    told: dict[str, str] = json.loads(out)

    found = set(re.findall(r"^([\d.]+) \((.*)\)$", told["search"], re.MULTILINE))
    assert found == {(host, f"camera {host} Simulated camera") for host in (LOCKED, OPEN)}
    for session_name, host in (("locked", LOCKED), ("open", OPEN)):
        assert f"found host: {host}" in told[session_name]
        assert f"serial: {told[host]}" in told[session_name]
    assert "successfully connected" not in told["wrong"]
    refused = [
        line["reason"]
        for line in read_ledger(tmp_path / f"{LOCKED}.jsonl")
        if line["kind"] == "token_refused" and line["operation"] == "GetDeviceInformation"
    ]
    assert set(refused) == {"wrong password"}

    said = told["open"]
    assert "ERROR" not in said
    assert re.findall(r"Token \d: (\w+)", said) == ["main", "sub"]
    assert re.findall(r"(?:Width|Height|Frame Rate|Bitrate):\s+(\d+)", said) == [
        "1280",
        "720",
        "25",
        "2000",
    ]
    assert f"rtsp://{OPEN}:8554/main" in said
    assert "Brightness: 70" in said
    set_to = [
        line["value"]
        for line in read_ledger(tmp_path / f"{OPEN}.jsonl")
        if line["kind"] == "imaging" and line["setting"] == "Brightness"
    ]
    assert set_to == [70]
