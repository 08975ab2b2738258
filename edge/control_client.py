"""The command line's way into the running daemon: JSON on a Unix socket in the box's folder.

Whoever may open the folder may command the box; there is no other check here. It loads nothing of
the daemon, which costs most of a second that a question need not wait for.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from edge.errors import BoxSetupError, DaemonAwayError
from edge.pages.actions import Identity

SOCKET = "control.sock"
ANSWER_S_MAX = 200.0
SUN_PATH_MAX = 107


@contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """Yield a path to the socket that fits ``sun_path`` (unix(7)) however deep the folder lies.

    It is good until the block ends. Raises OSError when the folder cannot be opened.
    """
    path = folder / SOCKET
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        yield str(path)
        return
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{here}/{SOCKET}"
    finally:
        os.close(here)


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gives an adopted device up."""

    device: Identity


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A partner school's key as two people compared it."""

    fingerprint: str


def ask_box(folder: Path, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    """Ask the running daemon from the command line.

    Raises DaemonAwayError when none answers on ``folder``, BoxSetupError with what it answered.
    """
    return asyncio.run(ask_daemon(folder, method, path, body))


def save_from_box(
    folder: Path, path: str, target: Path, note: Callable[[int, int | None], None]
) -> None:
    """Write what the daemon answers to a file; ``note`` hears bytes so far, and of how many.

    Raises DaemonAwayError, and BoxSetupError with what was answered or why the disk refused.
    """
    asyncio.run(_save(folder, path, target, note))


async def _save(
    folder: Path, path: str, target: Path, note: Callable[[int, int | None], None]
) -> None:
    waits = aiohttp.ClientTimeout(total=None, sock_read=ANSWER_S_MAX)
    partial = target.with_name(f".{target.name}.part")
    try:
        async with _answer(folder, waits, "GET", path) as response:
            if not response.ok:
                await _told(folder, response)
            done = 0
            with partial.open("wb") as file:
                async for part in response.content.iter_chunked(256 * 1024):
                    await asyncio.to_thread(file.write, part)
                    done += len(part)
                    note(done, response.content_length)
        partial.rename(target)
    except OSError as error:
        raise BoxSetupError(f"{target}: {error.strerror}; name another place") from error
    finally:
        partial.unlink(missing_ok=True)


async def ask_daemon(
    folder: Path, method: str, path: str, body: bytes | None = None
) -> dict[str, Any]:
    """Do the same on the running event loop."""
    waits = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    async with _answer(folder, waits, method, path, body) as response:
        return await _told(folder, response)


async def _told(folder: Path, response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the content of an answer; raises BoxSetupError with what the daemon refused."""
    content = await response.read()
    try:
        answer = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BoxSetupError(
            f"the daemon on {folder} answers {response.status} in no form this version knows; stop"
            " it and start it again"
        ) from error
    if not response.ok:
        raise BoxSetupError(str(answer["error"]))
    return answer


@asynccontextmanager
async def _answer(
    folder: Path, waits: aiohttp.ClientTimeout, method: str, path: str, body: bytes | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give the daemon's answer; raises DaemonAwayError where there is none, or it breaks off."""
    with ExitStack() as held:
        try:
            place = held.enter_context(socket_path(folder))
        except OSError as error:
            raise _away(folder) from error
        try:
            connector = aiohttp.UnixConnector(place)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=waits) as http,
                http.request(method, f"http://box{path}", data=body) as response,
            ):
                yield response
        except aiohttp.ClientConnectorError as error:
            raise _away(folder) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DaemonAwayError(
                f"the daemon on {folder} did not answer ({error}); try again"
            ) from error


def _away(folder: Path) -> DaemonAwayError:
    return DaemonAwayError(f"no daemon runs on {folder}; start it: schoolnode edge run")
