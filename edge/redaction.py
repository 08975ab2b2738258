"""Takes out of texts what must not leave the school: secrets, names, numbers of cards."""

import re
from collections.abc import Collection

GONE = "[redacted]"
WORD_CHARS_MIN = 2
"""A shorter one would be found in every sentence."""
_IN_URL = re.compile(r"(?<=://)[^/\s\"']+(?=@)")
# Card, telephone and identity numbers, keys and digests: digits or hexadecimal, standing alone.
_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8,}[Xx]?(?![0-9A-Za-z])")


class Redaction:
    """Takes known words and everything that looks like a secret number out of values.

    ``kept`` are numbers by which a supporter knows devices.
    """

    def __init__(self, words: Collection[str], kept: Collection[str] = ()) -> None:
        known = {word.strip() for word in words}
        known |= {part for word in known for part in word.split(":")}
        self._words = sorted(
            (word for word in known if len(word) >= WORD_CHARS_MIN), key=len, reverse=True
        )
        self._kept = {number.lower() for text in kept for number in _NUMBER.findall(text)}

    def redacted(self, value: object) -> object:
        """Return a value as JSON has it, made again without them; numbers and moments stay."""
        blob = "\n".join(_texts(value))
        return self._made_again(value, [word for word in self._words if word in blob])

    def _made_again(self, value: object, words: Collection[str]) -> object:
        match value:
            case str():
                return self._clean(value, words)
            case dict():
                return {
                    self._clean(str(key), words): self._made_again(each, words)
                    for key, each in value.items()
                }
            case list() | tuple():
                return [self._made_again(each, words) for each in value]
            case _:
                return value

    def _clean(self, text: str, words: Collection[str]) -> str:
        for word in words:
            if not word.isascii():
                text = text.replace(word, GONE)
            elif word in text:
                apart = rf"(?<![0-9A-Za-z]){re.escape(word)}(?![0-9A-Za-z])"
                text = re.sub(apart, GONE, text)
        text = _IN_URL.sub(GONE, text)
        return _NUMBER.sub(self._number, text)

    def _number(self, found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in self._kept else GONE


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for each in pair for text in _texts(each)]
        case list() | tuple():
            return [text for each in value for text in _texts(each)]
        case _:
            return []
