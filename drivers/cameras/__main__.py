"""The camera worker: one child process for all cameras of a box, told what to do over a pipe.

``python -m drivers.cameras FOLDER``: an empty folder of its own, which the daemon takes away.
Requests, and with them passwords, come in on standard input only; replies go out on standard
output. It ends when the daemon does.
"""

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

from drivers.allocator import keep_giving_back, share_one_arena
from drivers.cameras import lean_imports  # noqa: F401 — first, see there
from drivers.cameras.lean_wsdl import write_lean
from drivers.cameras.messages import Request, read_request
from drivers.cameras.worker_tasks import answer_requests


async def _main(folder: Path) -> None:
    # Whatever a library prints must not get between the frames.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), os.fdopen(0, "rb", closefd=False)
    )
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, replies)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def read() -> Request | None:
        return await read_request(requests)

    async with asyncio.TaskGroup() as tasks:
        giving_back = tasks.create_task(keep_giving_back())
        await answer_requests(
            read,
            writer,
            now_ms=lambda: time.time_ns() // 1_000_000,
            wsdl=write_lean(folder),
        )
        giving_back.cancel()


def main() -> None:
    share_one_arena()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    asyncio.run(_main(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
