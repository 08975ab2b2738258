"""The hub's two languages: catalogues, the choice between them, and how figures are read."""

from datetime import datetime, timedelta, timezone
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale
from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

from hub.locale.sentence import Age, Argument, Bytes, Clock, Day, Sentence
from provisioning.retelling import load_retelling

CHINESE: Final = "zh-CN"
ENGLISH: Final = "en"
LANGUAGES: Final = (CHINESE, ENGLISH)
FOLDER: Final = Path(__file__).parent
# China keeps one offset and no summer time, so the box needs no time-zone database for this.
CHINA_TIME: Final = timezone(timedelta(hours=8), "CST")

ACCEPT_CHARS_MAX: Final = 200
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
KIB: Final = 1024
# Schools send times too; what no calendar can show is shown at its edge instead of failing.
MOMENT_MS_MAX: Final = 250_000_000_000_000


def choose_language(asked: str | None, remembered: str | None, accepted: str) -> str:
    """Return the language of a page: asked for, else remembered, else the browser's, else Chinese.

    ``accepted`` is an Accept-Language header; its order counts, its weights do not matter for two
    languages, and anything unreadable in it is passed over.
    """
    for wish in (asked, remembered):
        if wish in LANGUAGES:
            return wish
    for entry in accepted[:ACCEPT_CHARS_MAX].split(","):
        tag = entry.partition(";")[0].strip().lower()
        if tag.startswith("zh"):
            return CHINESE
        if tag.startswith("en"):
            return ENGLISH
    return CHINESE


def start_of_day(at_ms: int) -> int:
    """Return the moment (Unix ms) the district's day of ``at_ms`` began."""
    moment = datetime.fromtimestamp(at_ms / 1000, CHINA_TIME)
    return int(moment.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1000


@cache
def load_translations(language: str) -> Translations:
    """Compile the catalogue of ``language`` from its .po file; there is no build step."""
    locale = Locale.parse(language, sep="-")
    path = FOLDER / language.replace("-", "_") / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=locale)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


class Reader:
    """Says sentences, ages, times and numbers in one language and the district's time."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.locale = Locale.parse(language, sep="-")
        self.translations = load_translations(language)

    def say(self, sentence: Sentence) -> str:
        arguments = {name: self.fill(value) for name, value in sentence.arguments.items()}
        return str(self.translations.gettext(sentence.message)) % arguments

    def retold(self, text: str) -> str:
        """Return what was said in English below the pages, as far as it is known there."""
        return load_retelling(self.language).retold(text)

    def fill(self, value: Argument) -> str:
        match value:
            case Sentence():
                text = self.say(value)
            case Age(ms):
                text = self.age(ms)
            case Clock(at_ms):
                text = self.clock(at_ms)
            case Day(at_ms):
                text = self.day(at_ms)
            case Bytes(count):
                text = self.bytes(count)
            case int():
                text = self.number(value)
            case str():
                text = value
        return text

    def age(self, ms: int) -> str:
        """Read a span as its largest whole unit; a clock a little ahead reads as 0 s."""
        ms = max(0, ms)
        if ms < 2 * MINUTE_MS:
            return self.say(Sentence("%(n)s s", {"n": ms // SECOND_MS}))
        if ms < 2 * HOUR_MS:
            return self.say(Sentence("%(n)s min", {"n": ms // MINUTE_MS}))
        if ms < 2 * DAY_MS:
            return self.say(Sentence("%(n)s h", {"n": ms // HOUR_MS}))
        return self.say(Sentence("%(n)s d", {"n": ms // DAY_MS}))

    def clock(self, at_ms: int) -> str:
        return f"{self.moment(at_ms):%H:%M}"

    def clock_with_seconds(self, at_ms: int) -> str:
        return f"{self.moment(at_ms):%H:%M:%S}"

    def day(self, at_ms: int) -> str:
        return format_date(self.moment(at_ms), "full", locale=self.locale)

    def number(self, value: float) -> str:
        if isinstance(value, int):
            return f"{value:,}"  # as both languages write it; a large page has thousands of these
        return format_decimal(value, locale=self.locale)

    def bytes(self, count: int) -> str:
        amount = float(count)
        for unit in ("B", "KiB", "MiB"):
            if amount < KIB:
                return f"{format_decimal(amount, format='#,##0.#', locale=self.locale)} {unit}"
            amount /= KIB
        return f"{format_decimal(amount, format='#,##0.#', locale=self.locale)} GiB"

    def moment(self, at_ms: int) -> datetime:
        bounded_ms = min(max(at_ms, 0), MOMENT_MS_MAX)
        return datetime.fromtimestamp(bounded_ms / 1000, CHINA_TIME)
