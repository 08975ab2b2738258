"""Two simulated cameras and onvif-util in a network of their own; started by its test.

onvif-util asks the network's multicast route, which a test must not change: hence the namespace.
Prints one JSON object: what onvif-util said to each of ``SESSIONS``.
"""

import asyncio
import json
import random
import sys
from ipaddress import IPv4Interface
from pathlib import Path

from drivers.codecs.digest import Credentials
from drivers.simulators.ledger import Ledger, read_ledger
from drivers.simulators.onvif_camera import CameraMedia, SimulatedOnvifCamera
from drivers.simulators.onvif_replies import CameraStream
from tests.drivers.serial_bench import now_ms, running, until

LOCKED, OPEN = "127.0.0.1", "127.0.0.2"
CREDENTIALS = Credentials(user="admin", password="geheim")
WISHES = (
    "get profiles",
    "get profile",
    "get rtsp",
    "get imaging options",
    "set brightness 70",
    "get imaging",
    "quit\n",
)
SESSIONS = {
    "search": (["-a"], ""),
    "locked": (["-u", CREDENTIALS.user, "-p", CREDENTIALS.password, LOCKED], "quit\n"),
    "wrong": (["-u", CREDENTIALS.user, "-p", "falsch", LOCKED], "quit\n"),
    "open": (["-u", "nobody", "-p", "nothing", OPEN], "\n".join(WISHES)),
}


def camera(folder: Path, host: str, credentials: Credentials | None) -> SimulatedOnvifCamera:
    main = CameraStream(uri=f"rtsp://{host}:8554/main", width=1280, height=720, fps=25, kbps=2000)
    return SimulatedOnvifCamera(
        IPv4Interface(f"{host}/8"),
        CameraMedia(main=main, sub=main, snapshot=lambda: b""),
        Ledger(folder / f"{host}.jsonl", now_ms),
        now_ms,
        random.Random(host),
        name=f"camera {host}",
        credentials=credentials,
    )


async def main(folder: Path) -> None:
    cameras = [camera(folder, LOCKED, CREDENTIALS), camera(folder, OPEN, None)]
    ledgers = [folder / f"{each.host}.jsonl" for each in cameras]
    told: dict[str, str] = {each.host: each.identity.serial for each in cameras}
    async with running(*(each.run() for each in cameras)):
        await until(lambda: all(read_ledger(path) for path in ledgers))
        for name, (arguments, wishes) in SESSIONS.items():
            client = await asyncio.create_subprocess_exec(
                "onvif-util",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await client.communicate(wishes.encode())
            told[name] = said.decode()
    print(json.dumps(told))  # noqa: T201 — its answer to the test


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
