"""Posted forms, read strictly."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec
from aiohttp import web

from edge.pages.actions import ActionError
from provisioning.posted_form import read_posted

FIELDS_MAX = 16
T = TypeVar("T")


async def read_form(
    request: web.Request,
    shape: type[T],
    *,
    fields_max: int = FIELDS_MAX,
    lists: Collection[str] = ("kinds",),
) -> T:
    """Read a posted form as ``shape``; empty fields count as left out, ``lists`` have many values.

    Raises ActionError for what does not fit.
    """
    posted = await read_posted(request)
    if len(posted) > fields_max:
        raise ActionError(413, "invalid", f"more than {fields_max} fields")
    fields: dict[str, object] = {key: value for key, value in posted.items() if value != ""}
    for name in lists:
        if name in fields:
            fields[name] = posted.getall(name)
    return fitted(fields, shape)


def fitted(fields: Mapping[str, object], shape: type[T]) -> T:
    """Return the texts of a form as ``shape``; raises ActionError for what does not fit."""
    try:
        return msgspec.convert(fields, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ActionError(400, "invalid", str(error)) from error
