"""The camera worker: one child process for all cameras of a box, told what to do over a pipe.

Requests, and with them passwords, come in on standard input only; replies go out on standard
output. It ends when the daemon does.
"""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from drivers.cameras import lean_httpx  # noqa: F401 — first, see there
from drivers.cameras.lean_wsdl import write_lean
from drivers.cameras.messages import Request, read_request
from drivers.cameras.worker_tasks import answer_requests


async def _main() -> None:
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
    with tempfile.TemporaryDirectory(prefix="schoolnode-wsdl-") as folder:
        wsdl = write_lean(Path(folder))

        async def read() -> Request | None:
            request = await read_request(requests)
            if request is None:
                # First of all: a worker that takes long to say goodbye is killed.
                shutil.rmtree(folder, ignore_errors=True)
            return request

        await answer_requests(read, writer, now_ms=lambda: time.time_ns() // 1_000_000, wsdl=wsdl)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    asyncio.run(_main())


if __name__ == "__main__":
    main()
