"""Vectors as a profile's file holds them."""

import json
from collections.abc import Iterable

from firmware_profiles.model import Vector


def render_vectors(vectors: Iterable[Vector]) -> str:
    """Return the ``[[vectors]]`` tables of a profile, each preceded by an empty line."""
    return "".join(_render(vector) for vector in vectors)


def _render(vector: Vector) -> str:
    lines = ["", "[[vectors]]", f"name = {_text(vector.name)}"]
    if vector.encoding != "hex":
        lines.append(f"encoding = {_text(vector.encoding)}")
    if vector.request:
        lines.append(f"request = {_text(vector.request)}")
    lines.append(f"reply = {_text(vector.reply)}")
    if vector.values:
        pairs = (f"{name} = {_value(value)}" for name, value in vector.values.items())
        lines.append(f"values = {{ {', '.join(pairs)} }}")
    if vector.source:
        lines.append(f"source = {_text(vector.source)}")
    return "\n".join(lines) + "\n"


def _value(value: float | str) -> str:
    return _text(value) if isinstance(value, str) else repr(float(value))


def _text(text: str) -> str:
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
