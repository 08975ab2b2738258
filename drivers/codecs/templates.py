"""Texts of a profile with a place for a value: filled in to ask, matched to read what was said.

``{value}`` stands for the wire value, ``{value:02x}`` or ``{value:03d}`` for a number of two
hexadecimal or three decimal digits. In what a device answers ``?`` stands for any one character and
``*`` at the end for anything more. Letters are the same in either case.
"""

import re
from functools import lru_cache

from drivers.errors import ProtocolError

_PLACE = re.compile(r"\{value(?::0?([0-9]{0,2})([dxX]))?\}")
_DIGITS_MAX = 9
_CACHED = 2048


def fill(template: str, wire: str) -> str:
    """Return a template with its value; ProtocolError when a number is wanted and this is none."""

    def filled(place: re.Match[str]) -> str:
        if place[2] is None:
            return wire
        return f"{_number(wire):0{place[1]}{place[2]}}"

    return _PLACE.sub(filled, template)


def read_request(template: str, text: str) -> str | None:
    """Return the wire value in a request made by ``fill``, decimal for a number; None if no fit."""
    return _value(_request_pattern(template), text)


def read_answer(template: str, text: str) -> str | None:
    """Return the wire value in an answer, decimal for a number; None when it does not fit.

    A template without a place that fits gives the empty text.
    """
    return _value(_answer_pattern(template), text)


def put_value(template: str, text: str, wire: str) -> str:
    """Return an answer that fits the template with its value replaced; as it is without a place."""
    place = _PLACE.search(template)
    match = _answer_pattern(template).fullmatch(text)
    if place is None or match is None:
        return text
    start, end = match.span(next(iter(match.groupdict())))
    return text[:start] + fill(place[0], wire) + text[end:]


def _number(wire: str) -> int:
    try:
        return int(wire, 16) if wire.lower().startswith("0x") else int(wire)
    except ValueError as error:
        raise ProtocolError(f"{wire[:20]!r} is no number; correct the profile's values") from error


def _value(found: re.Pattern[str], text: str) -> str | None:
    match = found.fullmatch(text)
    if match is None:
        return None
    groups = match.groupdict()
    if groups.get("hexadecimal") is not None:
        return str(int(groups["hexadecimal"], 16))
    if groups.get("decimal") is not None:
        return str(int(groups["decimal"]))
    return groups.get("text") or ""


@lru_cache(_CACHED)
def _request_pattern(template: str) -> re.Pattern[str]:
    before, place, after = _parts(template)
    return _compiled(re.escape(before) + place + re.escape(after))


@lru_cache(_CACHED)
def _answer_pattern(template: str) -> re.Pattern[str]:
    body = template.removesuffix("*")
    before, place, after = _parts(body)
    rest = ".*" if body != template else ""
    return _compiled(_wild(before) + place + _wild(after) + rest)


def _wild(text: str) -> str:
    return re.escape(text).replace(r"\?", ".")


def _parts(template: str) -> tuple[str, str, str]:
    """Return what precedes the value, the pattern of the value, and what follows it."""
    place = _PLACE.search(template)
    if place is None:
        return template, "", ""
    return template[: place.start()], _group(place), template[place.end() :]


def _group(place: re.Match[str]) -> str:
    if place[2] is None:
        return "(?P<text>.+?)"
    width = f"{{{int(place[1])}}}" if place[1] else f"{{1,{_DIGITS_MAX}}}"
    if place[2] == "d":
        return f"(?P<decimal>[0-9]{width})"
    return f"(?P<hexadecimal>[0-9A-Fa-f]{width})"


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
