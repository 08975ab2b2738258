"""Captions and chapters as WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format").

Times are milliseconds. What is read was uploaded by a person: it is taken line by line by the
standard's grammar, bounded, and refused with the line that does not fit.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from sync.errors import MalformedError

FILE_BYTES_MAX = 512 * 1024
CUES_MAX = 5000
TEXT_CHARS_MAX = 1000
LESSON_MS_MAX = 12 * 3600 * 1000

_TIMING = re.compile(
    r"(?:(\d{2,3}):)?([0-5]\d):([0-5]\d)\.(\d{3})[ \t]+-->[ \t]+"
    r"(?:(\d{2,3}):)?([0-5]\d):([0-5]\d)\.(\d{3})(?:[ \t].*)?",
    re.ASCII,
)
_TAG = re.compile(r"<[^>]*>?")
_ENTITIES = {
    "&lt;": "<",
    "&gt;": ">",
    "&nbsp;": "\u00a0",
    "&lrm;": "\u200e",
    "&rlm;": "\u200f",
    "&amp;": "&",
}
_ENTITY = re.compile("|".join(_ENTITIES))
_BESIDE = ("NOTE", "STYLE", "REGION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A text and when it is shown; ``until_ms`` is greater than ``from_ms``."""

    from_ms: int
    until_ms: int
    text: str


def read_vtt(data: bytes) -> list[Cue]:
    """Return a file's cues in order of time, as plain text; raises MalformedError."""
    if len(data) > FILE_BYTES_MAX:
        raise MalformedError(f"captions of {len(data)} bytes; {FILE_BYTES_MAX} at most")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError("the captions are not in UTF-8; save them so") from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]) is None:
        raise MalformedError("the file does not begin with WEBVTT; save the captions as WebVTT")
    cues = [cue for number, block in _blocks(lines) for cue in _cues(number, block)]
    if len(cues) > CUES_MAX:
        raise MalformedError(f"{len(cues)} captions; {CUES_MAX} at most")
    return sorted(cues, key=lambda cue: (cue.from_ms, cue.until_ms))


def write_vtt(cues: Iterable[Cue]) -> str:
    """Return a file of cues; their order is kept."""
    parts = ["WEBVTT\n"]
    for cue in cues:
        lines = [escape(line, quote=False) for line in cue.text.splitlines() if line.strip()]
        if lines:
            parts.append(f"{_stamp(cue.from_ms)} --> {_stamp(cue.until_ms)}\n" + "\n".join(lines))
    return "\n".join(parts) + "\n" if len(parts) == 1 else "\n\n".join(parts) + "\n"


def _blocks(lines: list[str]) -> Iterable[tuple[int, list[str]]]:
    """Yield what lies between blank lines, with its first line's number, after the header."""
    block: list[str] = []
    header = True
    for number, line in enumerate([*lines, ""]):
        if line:
            block.append(line)
            continue
        if block and not header:
            yield number + 1 - len(block), block
        header, block = False, []


def _cues(number: int, block: list[str]) -> Iterable[Cue]:
    if block[0].split()[:1] and block[0].split()[0] in _BESIDE:
        return
    at = next((at for at, line in enumerate(block[:2]) if "-->" in line), None)
    if at is None:
        raise MalformedError(f"line {number}: no time is given; write 00:01.000 --> 00:04.000")
    found = _TIMING.fullmatch(block[at])
    if found is None:
        raise MalformedError(f"line {number + at}: write a time as 00:01.000 --> 00:04.000")
    from_ms, until_ms = _ms(found.groups()[:4]), _ms(found.groups()[4:])
    if not from_ms < until_ms <= LESSON_MS_MAX:
        raise MalformedError(f"line {number + at}: a caption ends before it begins, or too late")
    told = "\n".join(block[at + 1 :])
    if len(told) > TEXT_CHARS_MAX or "-->" in told:
        raise MalformedError(f"line {number + at + 1}: {TEXT_CHARS_MAX} characters at most")
    plain = _ENTITY.sub(lambda name: _ENTITIES[name[0]], _TAG.sub("", told)).strip()
    if plain:
        yield Cue(from_ms=from_ms, until_ms=until_ms, text=plain)


def _ms(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, ms = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms


def _stamp(at_ms: int) -> str:
    seconds, ms = divmod(at_ms, 1000)
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:02}:{m:02}:{s:02}.{ms:03}"
