"""PJLink class 1 and 2: pure, text lines in and out.

Source: PJLink Specifications, Version 2.10 (JBMIA): §2 format, §4 commands, §5 authentication.
A line ends with CR; commands on TCP, the search on UDP, both port 4352.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from drivers.errors import ProtocolError

PORT = 4352
LINE_BYTES_MAX = 7 + 128 + 32  # header, parameter, digest; §2.2
PARAMETER_CHARS_MAX = 128
LAMPS_MAX = 8  # §4.8
SOURCES_MAX = 50  # §4.9

PjlinkClass = Literal[1, 2]


class ErrorReply(StrEnum):
    """Refusals of §2.2, with what they mean for a person."""

    UNDEFINED = "ERR1"  # the display does not know the command
    OUT_OF_PARAMETER = "ERR2"
    UNAVAILABLE = "ERR3"  # not in the present state, e.g. while warming up
    FAILURE = "ERR4"  # the display itself has failed


class Power(StrEnum):
    """Answers to POWR, §4.2."""

    OFF = "0"
    ON = "1"
    COOLING = "2"
    WARMING = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a display says first; ``token`` is None when it asks for no password."""

    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``%1POWR 1``; a ``parameter`` of ``?`` (with an argument for INNM) asks."""

    pjlink_class: PjlinkClass
    name: str
    parameter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """``%1POWR=OK``; ``parameter`` is the text after the equals sign."""

    pjlink_class: PjlinkClass
    name: str
    parameter: str

    @property
    def error(self) -> ErrorReply | None:
        upper = self.parameter.upper()
        return ErrorReply(upper) if upper in set(ErrorReply) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    hours: int
    lit: bool


_GREETING = re.compile(r"PJLINK (?:0|1 ([0-9A-Za-z]{1,32}))", re.IGNORECASE)
_COMMAND = re.compile(r"%([12])([0-9A-Z]{4}) (.{0,128})", re.IGNORECASE | re.DOTALL)
_REPLY = re.compile(r"%([12])([0-9A-Z]{4})=(.{0,128})", re.IGNORECASE | re.DOTALL)
_DIGEST = re.compile(r"([0-9a-f]{32})(?=%)", re.IGNORECASE)
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
_SOURCE = re.compile(r"[1-6][1-9A-Z]")
_ERROR_DEVICES = ("fan", "lamp", "temperature", "cover", "filter", "other")
_ERROR_LEVELS = {"0": "ok", "1": "warning", "2": "error"}
_SEARCH = "%2SRCH"
AUTHENTICATION_FAILED = "PJLINK ERRA"


class Lines:
    """Cuts a byte stream into lines.

    Raises ProtocolError once a line grows past ``LINE_BYTES_MAX`` or is not UTF-8; the link must
    then be closed.
    """

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes, without their terminators."""
        *lines, self._rest = (self._rest + data).split(b"\r")
        if max(map(len, [*lines, self._rest])) > LINE_BYTES_MAX:
            raise ProtocolError(f"PJLink: a line is longer than {LINE_BYTES_MAX} bytes; hang up")
        return [_text(line) for line in lines]


def _text(line: bytes) -> str:
    try:
        # Some displays end lines with CR LF.
        return line.removeprefix(b"\n").decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"PJLink: byte {error.start} of a line is not UTF-8") from error


def parse_greeting(line: str) -> Greeting:
    found = _GREETING.fullmatch(line)
    if found is None:
        raise ProtocolError(f"PJLink: the greeting reads {line[:40]!r}; not a PJLink display")
    return Greeting(token=found[1])


def build_greeting(greeting: Greeting) -> str:
    return "PJLINK 0" if greeting.token is None else f"PJLINK 1 {greeting.token}"


def digest(token: str, password: str) -> str:
    """Return what precedes the first command of a link, §5; MD5 is the standard's choice."""
    return hashlib.md5((token + password).encode(), usedforsecurity=False).hexdigest()


def encode(line: str) -> bytes:
    return line.encode() + b"\r"


def build_command(command: Command) -> str:
    """Return the line of a command; ProtocolError when the parameter does not fit into one."""
    line = f"%{command.pjlink_class}{command.name} {command.parameter}"
    if _COMMAND.fullmatch(line) is None or "\r" in line:
        raise ProtocolError(f"PJLink: {line[:40]!r} is no command; at most 128 characters, no CR")
    return line


def parse_command(line: str) -> Command:
    found = _COMMAND.fullmatch(line)
    if found is None:
        raise ProtocolError(f"PJLink: {line[:40]!r} is not a command")
    return Command(pjlink_class=_class(found[1]), name=found[2].upper(), parameter=found[3])


def split_digest(line: str) -> tuple[str, str]:
    """Return the digest before a command, empty where there is none, and the command."""
    found = _DIGEST.match(line)
    return (found[1].lower(), line[found.end() :]) if found else ("", line)


def build_reply(reply: Reply) -> str:
    return f"%{reply.pjlink_class}{reply.name}={reply.parameter}"


def parse_reply(line: str) -> Reply:
    found = _REPLY.fullmatch(line)
    if found is None:
        raise ProtocolError(f"PJLink: {line[:40]!r} is not a reply")
    return Reply(pjlink_class=_class(found[1]), name=found[2].upper(), parameter=found[3])


def _class(digit: str) -> PjlinkClass:
    return 1 if digit == "1" else 2


def parse_power(parameter: str) -> Power:
    if parameter not in set(Power):
        raise ProtocolError(f"PJLink: POWR answers {parameter[:20]!r}; expected 0, 1, 2 or 3")
    return Power(parameter)


def parse_errors(parameter: str) -> dict[str, str]:
    """Return ``{"fan": "ok", "lamp": "warning", …}`` from ERST's six digits, §4.7."""
    if len(parameter) != len(_ERROR_DEVICES) or not set(parameter) <= set(_ERROR_LEVELS):
        raise ProtocolError(f"PJLink: ERST answers {parameter[:20]!r}; expected six digits 0-2")
    return {
        device: _ERROR_LEVELS[level]
        for device, level in zip(_ERROR_DEVICES, parameter, strict=True)
    }


def parse_lamps(parameter: str) -> tuple[Lamp, ...]:
    """Return the lamps of LAMP's ``hours state`` pairs, §4.8."""
    words = parameter.split(" ")
    if len(words) % 2 or len(words) > 2 * LAMPS_MAX:
        raise ProtocolError(f"PJLink: LAMP answers {parameter[:40]!r}; expected pairs")
    pairs = list(zip(words[::2], words[1::2], strict=True))
    if not all(re.fullmatch(r"[0-9]{1,5}", hours) and lit in {"0", "1"} for hours, lit in pairs):
        raise ProtocolError(f"PJLink: LAMP answers {parameter[:40]!r}; expected hours and 0 or 1")
    return tuple(Lamp(hours=int(hours), lit=lit == "1") for hours, lit in pairs)


def parse_sources(parameter: str) -> tuple[str, ...]:
    """Return the source codes of INST, e.g. ``("11", "31")``, §4.9 and §4.17."""
    codes = parameter.split(" ")
    if len(codes) > SOURCES_MAX or not all(is_source(code) for code in codes):
        raise ProtocolError(f"PJLink: INST answers {parameter[:40]!r}; expected codes like 31")
    return tuple(codes)


def parse_class(parameter: str) -> PjlinkClass:
    """Return the class that CLSS tells, §4.14; 1 where it names none, which every display knows.

    Optoma writes ``Class 1`` and BenQ ``Version1``. A class that comes after 2 knows 2 as well.
    """
    found = re.search(r"[0-9]", parameter)
    return 1 if found is None or found[0] in "01" else 2


def check_value(reply: Reply) -> None:
    """Raise ProtocolError when an answer's value is not what the standard allows."""
    match reply.name:
        case "POWR":
            parse_power(reply.parameter)
        case "LAMP":
            parse_lamps(reply.parameter)
        case "ERST":
            parse_errors(reply.parameter)
        case "INPT" | "INST":
            parse_sources(reply.parameter)


def is_source(code: str) -> bool:
    """Tell whether a text is a source code: a kind 1-6 and an index 1-9 or A-Z."""
    return _SOURCE.fullmatch(code) is not None


def build_search() -> str:
    """Return the line broadcast to find class 2 displays."""
    return _SEARCH


def is_search(line: str) -> bool:
    return line.upper() == _SEARCH


def build_acknowledgement(mac: str) -> str:
    return f"%2ACKN={mac}"


def parse_acknowledgement(line: str) -> str:
    """Return the MAC address of a display that answered a search, as ``aa:bb:cc:dd:ee:ff``."""
    reply = parse_reply(line)
    if reply.name != "ACKN" or _MAC.fullmatch(reply.parameter) is None:
        raise ProtocolError(f"PJLink: {line[:40]!r} does not answer a search")
    return reply.parameter.lower().replace("-", ":")
