"""A posted form that may bring a file: read part by part, each within its bound."""

from typing import TypeVar

import msgspec
from aiohttp import BodyPartReader, web

from edge.pages.actions import ActionError
from edge.pages.forms import FIELDS_MAX
from provisioning.posted_form import STUMBLES

FIELD_BYTES_MAX = 4_096
T = TypeVar("T")


async def read_file_form(
    request: web.Request, shape: type[T], name: str, bytes_max: int
) -> tuple[T, bytes | None]:
    """Read a form that may bring a file in the field ``name``; raises ActionError."""
    fields: dict[str, str] = {}
    file = None
    try:
        reader = await request.multipart()
        for _ in range(FIELDS_MAX):
            part = await reader.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise ActionError(400, "invalid", "the form cannot be read; reload the page")
            is_file = part.name == name
            content = await _read_part(part, bytes_max if is_file else FIELD_BYTES_MAX)
            if is_file:
                file = content or None
            elif content:
                fields[part.name] = content.decode()
        else:
            raise ActionError(413, "invalid", f"more than {FIELDS_MAX} fields")
        return msgspec.convert(fields, shape, strict=False), file
    except STUMBLES as error:  # msgspec's and codecs' errors are ValueErrors too
        raise ActionError(400, "invalid", str(error)) from error


async def _read_part(part: BodyPartReader, bytes_max: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk():
        content += chunk
        if len(content) > bytes_max:
            raise ActionError(413, "invalid", f"{part.name} has more than {bytes_max} bytes")
    return bytes(content)
