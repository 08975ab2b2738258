"""What a browser or a program posted, read from whoever sends it."""

import asyncio
import zlib
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiDictProxy

BODY_S_MAX = 30.0
"""Forms and wishes are short: who takes longer holds a connection, and sends nothing."""
T = TypeVar("T")
Posted = MultiDictProxy[str | bytes | bytearray | web.FileField]

# What aiohttp's parsers stumble over: encodings that nobody knows, parts without an end or with
# too many headers, bodies that break off.
STUMBLES = (
    ValueError,
    LookupError,
    AssertionError,
    RuntimeError,
    zlib.error,
    HttpProcessingError,
    web.RequestPayloadError,
    ConnectionError,
)


async def read_posted(request: web.Request) -> Posted:
    """Return the fields of a form; raises HTTPBadRequest for a body that is none, or too slow."""
    return await _read(request.post(), "the form cannot be read; reload the page")


async def read_body(request: web.Request) -> bytes:
    """Return a short body whole; raises HTTPBadRequest for one that breaks off, or too slow."""
    return await _read(request.read(), "the request's body cannot be read; send it again")


async def _read(reading: Awaitable[T], refusal: str) -> T:
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await reading
    except (*STUMBLES, TimeoutError) as error:
        raise web.HTTPBadRequest(text=refusal) from error
