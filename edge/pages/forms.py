"""Posted forms, read strictly."""

from typing import TypeVar

import msgspec
from aiohttp import web

from edge.pages.actions import ActionError

FIELDS_MAX = 16
T = TypeVar("T")


async def read_form(request: web.Request, shape: type[T]) -> T:
    """Read a posted form as ``shape``; empty fields count as left out.

    Raises ActionError for what does not fit.
    """
    posted = await request.post()
    if len(posted) > FIELDS_MAX:
        raise ActionError(413, "invalid", f"more than {FIELDS_MAX} fields")
    fields: dict[str, object] = {key: value for key, value in posted.items() if value != ""}
    if "kinds" in fields:
        fields["kinds"] = posted.getall("kinds")
    try:
        return msgspec.convert(fields, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ActionError(400, "invalid", str(error)) from error
