"""The cameras of a lesson benchmark: one with sound, one without, on addresses of their own.

Both show the clock picture; a tone begins with each second of the same clock. Prints a line when
both are plugged in; ends with its standard input.
"""

import argparse
import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from drivers.simulators.ledger import Ledger
from drivers.simulators.live_encoder import Sound, StreamShape
from drivers.simulators.onvif_camera import SimulatedOnvifCamera
from drivers.simulators.rtsp_camera import RtspCamera

WITH_SOUND, SILENT = 21, 22
"""The host numbers of the two."""
RTSP_PORT = 8554
LARGE, MEDIUM, SMALL = "large", "medium", "small"
SHAPES = {
    LARGE: (1280, 720, 25, 2_000_000),
    MEDIUM: (640, 360, 10, 800_000),
    SMALL: (320, 180, 10, 200_000),
}
"""Width, height, pictures and bits a second of each size of stream."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=IPv4Network, required=True)
    parser.add_argument("--ledgers", type=Path, required=True)
    parser.add_argument("--sound-ppm", type=int, default=0, help="how much its sound clock is fast")
    parser.add_argument("--main", choices=SHAPES, default=LARGE, help="size of the main stream")
    asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        running = []
        for host, sound in ((WITH_SOUND, Sound.BURSTS), (SILENT, Sound.NONE)):
            streams = {
                name: StreamShape(
                    width=width,
                    height=height,
                    frame_rate=rate,
                    bit_rate=bits,
                    sound=sound,
                    sound_ppm=options.sound_ppm,
                )
                for name, (width, height, rate, bits) in (
                    ("main", SHAPES[options.main]),
                    ("sub", SHAPES[SMALL]),
                )
            }
            interface = IPv4Interface(
                f"{options.network.network_address + host}/{options.network.prefixlen}"
            )
            chance = random.Random(host)
            ledger = Ledger(options.ledgers / f"camera-{host}.jsonl", _now_ms)
            camera = RtspCamera(ledger, None, now_ms=_now_ms, chance=chance, streams=streams)
            await stack.enter_async_context(camera.serving(str(interface.ip), RTSP_PORT))
            onvif = SimulatedOnvifCamera(interface, camera.media(), ledger, _now_ms, chance)
            running.append(tasks.create_task(onvif.run()))
        print("plugged in", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
