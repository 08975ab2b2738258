"""The command line's language: Chinese where the terminal's locale is, else English."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime

import typer

from edge.pages.language import Language, load_language


def terminal_language(environment: Mapping[str, str] = os.environ) -> Language:
    """Return the language of the locale that POSIX would choose for messages."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return load_language("zh-CN" if environment[name].startswith("zh") else "en")
    return load_language("en")


def say(message: str, /, **facts: object) -> str:
    """Return a sentence in the terminal's language with its ``{places}`` filled."""
    return terminal_language().say(message, **facts)


def tell(message: str, /, **facts: object) -> None:
    """Print a sentence in the terminal's language."""
    typer.echo(say(message, **facts))


def retold(text: str) -> str:
    """Return what was said in English below the command line, in the terminal's language."""
    return terminal_language().retold(text)


def moment(at_ms: int | None) -> str:
    """Write a moment (Unix ms) in the machine's time zone; a dash for none."""
    if not at_ms:
        return "—"
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def who_word(name: str) -> str:
    """Return who decided something; a person's name stays as it is."""
    return say("command line of the box") if name == "command line" else name
