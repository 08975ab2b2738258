"""Which language a reader gets, and how it writes ages, numbers and dates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Protocol

from aiohttp import web
from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

from edge.pages.words import Words, build_words
from provisioning.retelling import load_retelling

LANGUAGES = ("zh-CN", "en")
LANGUAGE_COOKIE = "schoolnode-language"
CATALOGUES = Path(__file__).parent.parent / "locale"

SECOND_MS = 1_000
IN_STEP_MS = 100
"""Clocks that differ by less are one and the same to a person."""
AGE_STEPS = (  # an age counts in a unit until it reaches the limit
    ("s", SECOND_MS, 60 * SECOND_MS),
    ("min", 60 * SECOND_MS, 3_600 * SECOND_MS),
    ("h", 3_600 * SECOND_MS, 48 * 3_600 * SECOND_MS),
)
SIZE_STEPS = (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000))
DAY_MS = 24 * 3_600 * SECOND_MS


class Say(Protocol):
    """Says a sentence in some language; see :meth:`Language.say`."""

    def __call__(self, message: str, /, **facts: object) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: its catalogue, its words, its ways of writing."""

    code: str
    locale: Locale
    translations: Translations
    words: Words

    @property
    def colon(self) -> str:
        return "\uff1a" if self.locale.language == "zh" else ": "

    @property
    def semicolon(self) -> str:
        return "\uff1b" if self.locale.language == "zh" else "; "

    @property
    def full_stop(self) -> str:
        return "。" if self.locale.language == "zh" else ". "

    @property
    def comma(self) -> str:
        """What parts the items of a list."""
        return "、" if self.locale.language == "zh" else ", "

    def age(self, then_ms: int | None, now_ms: int) -> str:
        """Write how long ago; a moment in the future (a clock that ran ahead) is zero."""
        if then_ms is None:
            return "—"
        age_ms = max(0, now_ms - then_ms)
        for unit, unit_ms, limit_ms in AGE_STEPS:
            if age_ms < limit_ms:
                return self.words.ages[unit].replace("{n}", self.number(age_ms // unit_ms))
        return self.words.ages["d"].replace("{n}", self.number(age_ms // DAY_MS))

    def ago(self, then_ms: int | None, now_ms: int) -> str:
        if then_ms is None:
            return "—"
        return self.translations.gettext("%(age)s ago") % {"age": self.age(then_ms, now_ms)}

    def say(self, message: str, /, **facts: object) -> str:
        """Return a sentence of the catalogue with its ``{places}`` filled."""
        return self.translations.gettext(message).format(**facts)

    def retold(self, text: str) -> str:
        """Return what was said in English below the pages, as far as it is known there."""
        return load_retelling(self.code).retold(text)

    def offset(self, offset_ms: int | None) -> str:
        """Write how far the hub's clock is ahead of the box's or behind it; None: not heard."""
        _ = self.translations.gettext
        if offset_ms is None:
            return _("the hub's was not heard yet")
        if abs(offset_ms) < IN_STEP_MS:
            return _("in step with the hub's")
        told = (
            _("the hub's is ahead by {n} s") if offset_ms > 0 else _("the hub's is behind by {n} s")
        )
        return told.replace("{n}", self.number(round(abs(offset_ms) / SECOND_MS, 1)))

    def number(self, value: float) -> str:
        return format_decimal(value, locale=self.locale)

    def size(self, count: int) -> str:
        """Write bytes with the unit a person would choose."""
        for unit, unit_bytes in SIZE_STEPS:
            if count >= unit_bytes:
                return f"{format_decimal(round(count / unit_bytes, 1), locale=self.locale)} {unit}"
        return f"{count} B"

    def moment(self, at_ms: int, zone: tzinfo) -> str:
        return datetime.fromtimestamp(at_ms / 1_000, zone).strftime("%H:%M:%S")

    def day(self, at: date) -> str:
        return format_date(at, format="full", locale=self.locale)

    def short_moment(self, at_ms: int, zone: tzinfo) -> str:
        """Write day and time without the year."""
        at = datetime.fromtimestamp(at_ms / 1_000, zone)
        return f"{format_skeleton('MMMd', at, locale=self.locale)} {at:%H:%M}"

    def either(self, zh: str | None, en: str | None) -> str:
        """Choose of a text stored in both languages; the other one where it is empty."""
        chosen, other = (zh, en) if self.locale.language == "zh" else (en, zh)
        return chosen or other or ""


def clock_time(at_ms: int, zone: tzinfo) -> str:
    """Write hours and minutes; both languages write them alike."""
    return datetime.fromtimestamp(at_ms / 1_000, zone).strftime("%H:%M")


@cache
def load_language(code: str) -> Language:
    """Compile a catalogue, straight from its source."""
    locale = Locale.parse(code, sep="-")
    source = CATALOGUES / code.replace("-", "_") / "LC_MESSAGES" / "messages.po"
    with source.open("rb") as stream:
        catalogue = read_po(stream, locale=locale, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    translations = Translations(compiled)
    return Language(
        code=code,
        locale=locale,
        translations=translations,
        words=build_words(translations.gettext),
    )


def load_languages() -> Mapping[str, Language]:
    return {code: load_language(code) for code in LANGUAGES}


def choose_language(request: web.Request, default: str) -> str:
    """Choose by ``?lang=``, then the cookie, then Accept-Language, then the school's own."""
    for wish in (request.query.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if wish in LANGUAGES:
            return wish
    return _accepted(request.headers.get("Accept-Language", "")) or default


def _accepted(header: str) -> str | None:
    """Read RFC 9110 §12.5.4, the first sixteen ranges of it."""
    ranked: list[tuple[float, str]] = []
    for item in header[:512].split(",")[:16]:
        tag, _, weight = item.strip().partition(";q=")
        try:
            ranked.append((float(weight or 1), tag.lower()))
        except ValueError:
            continue
    for quality, wanted in sorted(ranked, key=lambda pair: -pair[0]):
        for code in LANGUAGES:
            if quality > 0 and wanted.split("-")[0] == code.split("-")[0]:
                return code
    return None
