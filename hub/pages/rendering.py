"""Fills templates in the reader's language; whatever varies is escaped."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hub.lesson.pairing import pick
from hub.locale.catalogue import LANGUAGES, Reader
from hub.locale.sentence import Sentence
from hub.pages.lesson_evidence import hop_word, rung_word
from hub.pages.lesson_lights import CAUSES, school_word
from hub.pages.words import (
    ALARMS,
    DEVICE_KINDS,
    GROUPS,
    LANES,
    LESSON_KINDS,
    POINTS,
    QUALITIES,
    READERS,
    ROLES,
    SCREEN_TROUBLES,
    TELLERS,
    reason_of,
    who_of,
    word_of,
)

WORDS: Final = {
    "alarm_word": ALARMS,
    "lesson_kind": LESSON_KINDS,
    "role_word": ROLES,
    "teller_word": TELLERS,
    "cause_word": CAUSES,
    "device_kind": DEVICE_KINDS,
    "screen_trouble": SCREEN_TROUBLES,
    "point_word": POINTS,
    "quality_word": QUALITIES,
    "reader_word": READERS,
    "group_word": GROUPS,
    "lane_word": LANES,
}


@dataclass(frozen=True, slots=True)
class Marks:
    """How a language parts its words: clauses, items of a list, what follows, what comes on top."""

    comma: str
    item: str
    colon: str
    semicolon: str


MARKS: Final = {
    "en": Marks(", ", ", ", ": ", "; "),
    "zh-CN": Marks("\uff0c", "、", "\uff1a", "\uff1b"),
}
TEMPLATES: Final = Path(__file__).parent / "templates"


@cache
def open_reader(language: str) -> Reader:
    return Reader(language)


@cache
def build_environment(language: str) -> Environment:
    """Return the templates in one language; built once, then shared by all threads."""
    assert language in LANGUAGES
    reader = open_reader(language)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(  # type: ignore[attr-defined] # the extension adds it
        reader.translations, newstyle=True
    )
    environment.globals["language"] = language
    environment.globals["marks"] = MARKS[language]
    environment.filters["say"] = reader.fill
    environment.filters["number"] = reader.number
    environment.filters["clock"] = reader.clock
    environment.filters["clock_with_seconds"] = reader.clock_with_seconds
    environment.filters["day"] = reader.day
    environment.filters["age"] = reader.age
    environment.filters["bytes"] = reader.bytes
    environment.filters["retold"] = reader.retold
    environment.globals.update({name: partial(word_of, words) for name, words in WORDS.items()})
    environment.globals["reason_of"] = reason_of
    environment.globals["who_of"] = who_of
    environment.globals["school_word"] = school_word
    environment.globals["rung_word"] = rung_word
    environment.globals["hop_word"] = hop_word
    environment.globals["pick"] = partial(pick, language=language)
    return environment


def render(language: str, template: str, context: Mapping[str, object]) -> str:
    return build_environment(language).get_template(template).render(context)


def render_json(language: str, model: object) -> bytes:
    """Return a page's model as JSON, its sentences said in the reader's language."""
    return msgspec.json.encode(plain(model, open_reader(language)))


def plain(value: object, reader: Reader) -> object:
    if isinstance(value, Sentence):
        return reader.say(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), reader) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item, reader) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, reader) for item in value]
    return value
