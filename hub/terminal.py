"""The command line's language: Chinese where the terminal's locale is, else English."""

import json
import os
from collections.abc import Mapping

import typer

from hub.locale.catalogue import CHINESE, ENGLISH, Reader
from hub.locale.sentence import Sentence


def terminal_language(environment: Mapping[str, str] = os.environ) -> str:
    """Return the language of the locale that POSIX would choose for messages."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return CHINESE if environment[name].lower().startswith("zh") else ENGLISH
    return ENGLISH


def say(sentence: Sentence) -> str:
    """Return a sentence in the terminal's language."""
    return Reader(terminal_language()).say(sentence)


def retold(text: str) -> str:
    """Return what was said in English below the command line, in the terminal's language."""
    return Reader(terminal_language()).retold(text)


def print_json(value: object) -> None:
    """Print one JSON object for a program."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def tell(sentence: Sentence) -> None:
    """Print a sentence in the terminal's language."""
    typer.echo(say(sentence))
