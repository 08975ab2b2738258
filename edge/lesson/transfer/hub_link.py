"""A WebSocket to the hub that comes back: short jittered waits, bounded silences."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from edge.lesson.status import Cause
from edge.supervision import apart
from sync.errors import MalformedError
from sync.lessons.fragment_exchange import (
    MESSAGE_BYTES_MAX,
    Holdings,
    HubMinute,
    decode_from_hub,
)
from sync.lessons.fragment_log import RECORD_BYTES_MAX

_log = logging.getLogger(__name__)

RETRY_S_MAX = 2.0
CONNECT_S_MAX = 5.0
SILENCE_S_MAX = 5.0
"""The hub speaks every second; a link silent for longer is taken for cut."""
_RETRY_S_MIN = 0.1
_REFUSED = (401, 403)

Serve = Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HubRoute:
    """How to reach the hub: ``url`` is scheme and authority of the boxes' port.

    ``session`` speaks its mutual TLS; ``rng`` spreads reconnections.
    """

    session: aiohttp.ClientSession
    url: str
    rng: random.Random


class HubSilentError(Exception):
    """The link closed or fell silent: connect again."""


async def keep_connected(
    route: HubRoute,
    path: Callable[[], str],
    serve: Serve,
    note: Callable[[Cause], None],
) -> None:
    """Connect and ``serve`` until that returns of itself.

    ``path`` is asked before each attempt. ``note`` hears why there is no link, and
    ``Cause.NONE`` when there is one. ``serve`` raises HubSilentError or an aiohttp error when the
    link ends; anything else is a bug and passes through.
    """
    retry_s = _RETRY_S_MIN
    while True:
        started_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                socket = await route.session.ws_connect(
                    route.url + path(),
                    max_msg_size=max(RECORD_BYTES_MAX, MESSAGE_BYTES_MAX),
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
            try:
                note(Cause.NONE)
                await apart(serve(socket))
            finally:
                await socket.close()
        except aiohttp.WSServerHandshakeError as error:
            refused = error.status in _REFUSED
            note(Cause.HUB_REFUSES if refused else Cause.HUB_UNREACHABLE)
            _log.info("the hub answers %d to %s", error.status, error.request_info.url.path)
        except (aiohttp.ClientError, HubSilentError, OSError) as error:  # and TimeoutError
            note(Cause.HUB_UNREACHABLE)
            _log.info("no link to the hub: %s", error)
        else:
            return
        if asyncio.get_running_loop().time() - started_s > RETRY_S_MAX:
            retry_s = _RETRY_S_MIN
        await asyncio.sleep(retry_s * route.rng.uniform(0.5, 1.0))
        retry_s = min(2 * retry_s, RETRY_S_MAX)


async def receive_from_hub(
    socket: aiohttp.ClientWebSocketResponse,
) -> bytes | Holdings | HubMinute:
    """Return the next record's bytes or message; raises HubSilentError when there is none."""
    try:
        async with asyncio.timeout(SILENCE_S_MAX):
            received = await socket.receive()
    except TimeoutError as error:
        raise HubSilentError(f"the hub was silent for {SILENCE_S_MAX:.0f} s") from error
    if received.type is aiohttp.WSMsgType.BINARY:
        wire: bytes = received.data
        return wire
    if received.type is aiohttp.WSMsgType.TEXT:
        try:
            return decode_from_hub(received.data)
        except MalformedError as error:
            raise HubSilentError(str(error)) from error
    raise HubSilentError(f"the hub closed the link ({socket.close_code}: {received.extra or '-'})")
