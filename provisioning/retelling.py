"""Sentences made in English where a fact was known, retold in the language of who reads them.

Errors, reasons and details arise below the pages, are stored, sent and logged in English, and may
hold one another: ``/dev/ttyUSB0 cannot run at 300 baud; use another rate, 3 times in a row``. A
catalogue holds the pattern each was made from (``{0} cannot run at {1} baud; use another rate``)
and how the other language says it. The sentence is found by its pattern, and what fills the places
is retold by the same rule. What no pattern knows stays as it is: a device's own words, a name, a
sentence of another version.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

from babel.messages.pofile import read_po

LINE_CHARS_MAX = 1_000
TEXT_CHARS_MAX = 8 * LINE_CHARS_MAX
TURNS_MAX = 40
"""How many parts of one line are looked at: whoever made it, it takes milliseconds."""
_CHARS_A_TURN = 100
"""A long part takes the turns of several."""
_KEPT = 1_024
PACKAGES = ("drivers", "edge", "firmware_profiles", "hub", "provisioning", "sync")
"""Whose sentences a person may meet, at a box or at the hub: each tells what the other said. Their
catalogues are read as files beside this one's package; nobody has to know whose code made them."""
_SURE_SIGNS = 9
"""A pattern with fewer of its own, like ``{0} on {1}``, might fit what somebody else said."""
_LONG_SPACES = 2
"""A sentence with as many spaces is known again in the middle of a text."""
_HOUSE = Path(__file__).parent.parent
_PLACE = re.compile(r"\{(\d+)\}")
_SPEAKS = re.compile(r"[a-z]{2}")
_SEAMS = {
    ": ": "\N{FULLWIDTH COLON}",
    "; ": "\N{FULLWIDTH SEMICOLON}",
    ", ": "\N{FULLWIDTH COMMA}",
    " (": "\N{FULLWIDTH LEFT PARENTHESIS}",
    ")": "\N{FULLWIDTH RIGHT PARENTHESIS}",
}
"""Where sentences are put together without a pattern of their own, and what Chinese has there."""
_SEAM = re.compile("|".join(map(re.escape, _SEAMS)))


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A pattern cut at its places: ``places[n]`` follows ``literals[n]``."""

    literals: tuple[str, ...]
    places: tuple[str, ...]
    anchor: str
    signs: int
    told: str

    def fillings(self, text: str) -> Mapping[str, str] | None:
        """Return what fills the places, each as short as can be; None when ``text`` is other."""
        if self.anchor not in text:
            return None
        first, *between, last = self.literals
        if not (text.startswith(first) and text.endswith(last)):
            return None
        begin, end = len(first), len(text) - len(last)
        found: dict[str, str] = {}
        for place, literal in zip(self.places, between, strict=False):
            at = text.find(literal, begin, end)
            if at < 0:
                return None
            found[place] = text[begin:at]
            begin = at + len(literal)
        if begin > end:
            return None
        found[self.places[-1]] = text[begin:end]
        return found

    def filled(self, parts: Mapping[str, str]) -> str:
        """Return the other language's sentence with ``parts`` in its places."""
        return _PLACE.sub(lambda place: parts[place[1]], self.told)


class Retelling:
    """One language's sentences; without any, each text stays as it is."""

    def __init__(self, sentences: Mapping[str, str]) -> None:
        self._whole = {text: told for text, told in sentences.items() if not _PLACE.search(text)}
        self._long = sorted(
            ((text, told) for text, told in self._whole.items() if text.count(" ") >= _LONG_SPACES),
            key=lambda each: -len(each[0]),
        )
        made = [_sentence(text, told) for text, told in sentences.items() if _PLACE.search(text)]
        # The more a pattern says itself, the surer it is the one.
        self._patterns = sorted(made, key=lambda sentence: -sentence.signs)
        self._remembered = lru_cache(_KEPT)(self._retell_line)

    def retold(self, text: str) -> str:
        """Return ``text`` in this language, as far as its sentences are known."""
        if not self._patterns or len(text) > TEXT_CHARS_MAX:
            return text
        return "\n".join(map(self._remembered, text.split("\n")))

    def _retell_line(self, text: str) -> str:
        if len(text) > LINE_CHARS_MAX:
            return text
        turns = iter(range(TURNS_MAX))
        told = self._retell(text, turns, is_part=False)
        if told == text:  # perhaps an empty last place was cut off with the space before it
            whole = f"{text} "
            told = self._retell(whole, turns, is_part=False)
            return text if told == whole else told.rstrip(" ")
        return told

    def _retell(self, text: str, turns: Iterator[int], *, is_part: bool) -> str:
        told = self._whole.get(text)
        if told is not None:
            return told
        cost = islice(turns, len(text) // _CHARS_A_TURN, None)
        if not _SPEAKS.search(text) or next(cost, None) is None:
            return text
        for sentence in self._patterns:
            found = sentence.fillings(text)
            if found is None:
                continue
            parts = {
                place: self._retell(part, turns, is_part=True) for place, part in found.items()
            }
            if sentence.signs >= _SURE_SIGNS or all(
                _is_plain(part, is_part=is_part) or parts[place] != part
                for place, part in found.items()
            ):
                return sentence.filled(parts)
        return self._retell_parts(text, turns)

    def _retell_parts(self, text: str, turns: Iterator[int]) -> str:
        """Retell a text that sentences were put together to without a pattern."""
        for sentence, told in self._long:
            before, found, after = text.partition(sentence)
            if found and not (before[-1:].isalnum() or after[:1].isalnum()):
                before, joint, after = _joined(before, told, after)
                return joint.join(
                    self._retell(part, turns, is_part=True) for part in (before, after)
                )
        seam = _SEAM.search(text)
        if seam is not None:
            parts = text[: seam.start()], text[seam.end() :]
            told_parts = tuple(self._retell(part, turns, is_part=True) for part in parts)
            if told_parts != parts:
                return _SEAMS[seam[0]].join(told_parts)
        return text


def _joined(before: str, told: str, after: str) -> tuple[str, str, str]:
    """Move the seam on each side of a sentence into it, as its language has it."""
    left = next(filter(before.endswith, _SEAMS), "")
    right = next(filter(after.startswith, (*_SEAMS, " ")), "")
    told = _SEAMS.get(left, left) + told + _SEAMS.get(right, right)
    return before.removesuffix(left), told, after.removeprefix(right)


def _is_plain(part: str, *, is_part: bool) -> bool:
    """Tell whether what fills a faint pattern shows that it is the one: a figure, or one word."""
    return not any(map(str.isalpha, part)) or not (is_part or " " in part)


def _sentence(text: str, told: str) -> _Sentence:
    parts = _PLACE.split(text)
    literals = tuple(parts[::2])
    return _Sentence(
        literals=literals,
        places=tuple(parts[1::2]),
        anchor=max(literals, key=len),
        signs=sum(map(len, literals)),
        told=told,
    )


@cache
def load_retelling(language: str) -> Retelling:
    """Return what all packages say, in ``language`` (such as zh-CN); English has no catalogue."""
    locale = language.replace("-", "_")
    sentences: dict[str, str] = {}
    for package in PACKAGES:
        source = _HOUSE / package / "locale" / locale / "LC_MESSAGES" / "sentences.po"
        if source.exists():
            with source.open("rb") as stream:
                catalogue = read_po(stream, locale=locale, abort_invalid=True)
            sentences |= {
                str(each.id): str(each.string) for each in catalogue if each.id and each.string
            }
    return Retelling(sentences)
