"""What a browser posted, read from whoever sends it."""

import zlib

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiDictProxy

Posted = MultiDictProxy[str | bytes | bytearray | web.FileField]

# What aiohttp's parsers stumble over: encodings that nobody knows, parts without an end or with
# too many headers, bodies that break off.
_STUMBLES = (
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
    """Return the fields of a form; raises HTTPBadRequest for a body that is none."""
    try:
        return await request.post()
    except _STUMBLES as error:
        raise web.HTTPBadRequest(text="the form cannot be read; reload the page") from error
