"""What pages' scripts and programs ask for as JSON, and how they are answered."""

from typing import TypeVar

import msgspec
from aiohttp import web

from edge.pages.actions import ActionError
from provisioning.posted_form import read_body

T = TypeVar("T")


async def read_wish(request: web.Request, shape: type[T]) -> T:
    """Return a posted wish; raises ActionError or an HTTP error for whatever is none."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    return decode_wish(await read_body(request), shape)


def decode_wish(body: bytes, shape: type[T]) -> T:
    """Return a body as ``shape``; raises ActionError for what does not fit."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ActionError(400, "invalid", str(error)) from error


def json_answer(body: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
