"""What a ZKTeco terminal pushes, and what it is answered: the attendance PUSH protocol ("ADMS").

HTTP carries lines of text: fields between tabs, records between line feeds. The terminal begins
every exchange. Texts are UTF-8, or GB 18030 on Chinese firmware. Names, passwords, pictures and
templates are dropped where they are read.

Sources: ZKTeco "Attendance PUSH Communication Protocol", PUSH V2.4.2, doc V5.8 (2026-03): §3
options, §9.1 ATTLOG, §9.3 OPLOG, §9.4 USER, §10 commands, §11 results; "Security PUSH
Communication Protocol" V3.1.2: ``rtlog``; "PUSH SDK Communication Protocol" V2.0.1 §2: a terminal
sets its clock by the header ``Date`` of an answer.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers.codecs.card_numbers import PRINTED_DIGITS, canonical_card, card_of_hex
from drivers.codecs.device_text import shown
from drivers.errors import ProtocolError

RECORDS_MAX = 10_000
LINE_CHARS_MAX = 16 * 1024
PIN_CHARS_MAX = 24
FIRMWARE_CHARS_MAX = 64
FIELDS_MAX = 64
OFFSET_S_MAX = 14 * 3600
_SERIAL = re.compile(r"[0-9A-Za-z_-]{4,32}\Z")
_PIN = re.compile(r"[0-9A-Za-z_-]{1,24}\Z")
_TIME = re.compile(r"([0-9]{4})(?:-[0-9]{2}){2}[ T][0-9]{2}(?::[0-9]{2}){2}\Z")
_RESULT = re.compile(r"ID=([0-9]{1,9})&Return=(-?[0-9]{1,9})(?:&|\Z)", re.IGNORECASE)
_EVENT = re.compile(r"[0-9]{1,9}\Z")
_OFFSET = re.compile(r"[+-][0-9]{1,5}\Z")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f]{8}|[0-9A-Fa-f]{10})\]\Z")
_OFFSET_FIELD = 10
_YEARS = range(2000, 2100)
_DOOR_EVENTS_FROM = 100
"""Events of an access panel below this are about a person at a reader; above are alarms, doors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Punch:
    """One record: who was seen when, by the terminal's own clock.

    ``number`` is the person's number on the terminal, ``card`` the canonical number of a card, each
    empty when it was not told; never both. ``local`` is naive; ``offset_s`` its distance from UTC,
    where the terminal says it.
    """

    number: str
    card: str
    local: datetime
    offset_s: int | None = None


@dataclass(frozen=True, slots=True)
class Punches:
    """``refused`` counts lines that are no record."""

    punches: tuple[Punch, ...]
    refused: int

    @property
    def lines(self) -> int:
        return len(self.punches) + self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A user of the terminal; ``card`` is empty when it knows none."""

    number: str
    card: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a command: 0 is success."""

    command: int
    code: int


def check_serial(text: str) -> str:
    """Return a terminal's serial number; ProtocolError when it is none."""
    if not _SERIAL.match(text):
        raise ProtocolError(f"{text[:40]!r} is no serial number of a terminal")
    return text


def read_attlog(text: str) -> Punches:
    """Read a body of ``table=ATTLOG``; ProtocolError when it has too many records."""
    return _punches(text, _attlog_line)


def read_rtlog(text: str) -> Punches:
    """Read a body of ``table=rtlog``: events of an access panel; doors and alarms count nowhere."""
    return _punches(text, _rtlog_line)


def read_enrolled(text: str) -> tuple[list[Enrolled], int]:
    """Return the users in a body of ``table=OPERLOG`` and how many lines it had."""
    users: list[Enrolled] = []
    lines = 0
    for line in _lines(text):
        lines += 1
        head, _, rest = line.partition(" ")
        if head.upper() not in {"USER", "USERINFO"}:
            continue
        fields = _fields(rest)
        number = fields.get("pin", "")
        if _PIN.match(number):
            users.append(
                Enrolled(
                    number=number, card=read_card(fields.get("card") or fields.get("cardno") or "")
                )
            )
    return users, lines


def read_card(text: str) -> str:
    """Return a card number as canonical, empty for none.

    In brackets the bytes come lowest first (§9.4: ``[%02x%02x%02x%02x]``), else it is decimal.
    """
    bracketed = _BRACKETED.match(text.strip())
    if bracketed:
        digits = bytes.fromhex(bracketed[1])[:4][::-1].hex()
        return card_of_hex(digits) if int(digits, 16) else ""
    card = canonical_card(text[:PIN_CHARS_MAX])
    return card if card.strip("0") and card.isalnum() and card.isascii() else ""


def read_results(text: str) -> list[Result]:
    """Return the results in a body of ``devicecmd``; other lines belong to what was asked for."""
    results: list[Result] = []
    for line in _lines(text):
        found = _RESULT.match(line)
        if found is not None:
            results.append(Result(command=int(found[1]), code=int(found[2])))
    return results


def firmware_of_info(info: str) -> str:
    """Return the version, empty for none, in ``INFO`` of ``getrequest`` (§7), which begins so."""
    return shown(info.partition(",")[0], FIRMWARE_CHARS_MAX)


def firmware_of_options(text: str) -> str:
    """Return the version in a body of ``table=options`` or ``registry``, empty for none.

    ``~DeviceName=X,FWVersion=Y,…``
    """
    pairs = {
        name.strip().lstrip("~").lower(): value.strip()
        for part in re.split(r"[,\n\r\t]", text[:LINE_CHARS_MAX])[: 4 * FIELDS_MAX]
        for name, equals, value in [part.partition("=")]
        if equals
    }
    return shown(pairs.get("fwversion") or pairs.get("firmver") or "", FIRMWARE_CHARS_MAX)


def write_options(serial: str, *, stamp: str, delay_s: int, utc_offset: timedelta) -> str:
    """Return the answer to a terminal that asks how it is to work (§3.2).

    It pushes at once, asks for commands every ``delay_s``, and sends records and users, no
    pictures and no templates. ``stamp`` is where its records go on.
    """
    minutes = int(utc_offset.total_seconds()) // 60
    lines = [
        f"GET OPTION FROM: {serial}",
        f"ATTLOGStamp={stamp}",
        "OPERLOGStamp=9999",
        "ATTPHOTOStamp=None",
        "ErrorDelay=30",
        f"Delay={delay_s}",
        "TransTimes=00:00;14:05",
        "TransInterval=1",
        "TransFlag=TransData AttLog\tEnrollUser\tChgUser",
        # Whole hours are told as hours, others as minutes (§3.2).
        f"TimeZone={minutes // 60 if minutes % 60 == 0 else minutes}",
        "Realtime=1",
        "Encrypt=None",
        "ServerVer=2.4.1",
        "PushProtVer=2.4.1",
        "SupportPing=1",
    ]
    return "\n".join(lines) + "\n"


def write_commands(commands: Sequence[tuple[int, str]]) -> str:
    """Return the answer to ``getrequest``."""
    return "".join(f"C:{number}:{text}\n" for number, text in commands) or "OK"


def put_user(number: str, card: str) -> str:
    """Return the command that lets a terminal know a card; ``number`` stands for the person.

    ``card`` is a canonical number. The name is left empty: what a terminal shows and sends in
    clear is no name.
    """
    # A long number is hexadecimal, also where it happens to have no letter.
    digits = str(int(card, 16)) if len(card) > PRINTED_DIGITS else card
    return (
        f"DATA UPDATE USERINFO PIN={number}\tName=\tPri=0\tPasswd=\tCard={digits}"
        "\tGrp=1\tTZ=0000000000000000"
    )


def delete_user(number: str) -> str:
    return f"DATA DELETE USERINFO PIN={number}"


def set_time(local: datetime) -> str:
    """Return the command that sets the clock to the school's local time.

    No published list of commands has it: servers in use send it, and every answer carries ``Date``
    for terminals that do not take it.
    """
    return f"SET OPTION DateTime={_compact(local)}"


def write_time(local: datetime) -> str:
    """Return the answer to an access panel that asks for the time (``rtdata?type=time``)."""
    offset_min = int((local.utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if offset_min < 0 else "+"
    hours, minutes = divmod(abs(offset_min), 60)
    return f"DateTime={_compact(local)},ServerTZ={sign}{hours:02}{minutes:02}"


def query_records(since: datetime, until: datetime) -> str:
    return (
        f"DATA QUERY ATTLOG StartTime={since:%Y-%m-%d %H:%M:%S}\tEndTime={until:%Y-%m-%d %H:%M:%S}"
    )


QUERY_USERS = "DATA QUERY USERINFO"
REBOOT = "REBOOT"


def read_time(text: str) -> datetime | None:
    """Return a moment of a terminal's clock, naive; None for what is none of this century."""
    tidied = text.strip()
    found = _TIME.match(tidied)
    if found is None or int(found[1]) not in _YEARS:
        return None
    try:
        return datetime.fromisoformat(tidied)
    except ValueError:
        return None


def _punches(text: str, read: Callable[[str], Punch | None]) -> Punches:
    punches: list[Punch] = []
    refused = 0
    for line in _lines(text):
        punch = read(line)
        if punch is None:
            refused += 1
        elif punch.number or punch.card:
            punches.append(punch)
    return Punches(tuple(punches), refused)


def _attlog_line(line: str) -> Punch | None:
    fields = line.split("\t")[:FIELDS_MAX]
    if len(fields) == 1:  # old firmware separates by spaces, the time too
        number, *rest = line.split(" ")[:FIELDS_MAX]
        fields = [number, " ".join(rest[:2]), *rest[2:]]
    number, local = fields[0].strip(), read_time(fields[1]) if len(fields) > 1 else None
    if local is None or not _PIN.match(number):
        return None
    offset = fields[_OFFSET_FIELD].strip() if len(fields) > _OFFSET_FIELD else ""
    offset_s = int(offset) if _OFFSET.match(offset) else None
    if offset_s is not None and abs(offset_s) > OFFSET_S_MAX:
        return None
    return Punch(number="" if number == "0" else number, card="", local=local, offset_s=offset_s)


def _rtlog_line(line: str) -> Punch | None:
    fields = _fields(line)
    local, event = read_time(fields.get("time", "")), _event_number(fields.get("event", ""))
    if local is None or event is None:
        return None
    if event >= _DOOR_EVENTS_FROM:
        return Punch(number="", card="", local=local)
    number, card = fields.get("pin", "").strip(), read_card(fields.get("cardno", ""))
    # A card says more than a number that was given to it: numbers are given anew.
    number = "" if card or number == "0" or not _PIN.match(number) else number
    return Punch(number=number, card=card, local=local)


def _lines(text: str) -> Iterator[str]:
    lines = text.split("\n", RECORDS_MAX)
    if len(lines) > RECORDS_MAX and lines[-1].strip("\r\0 "):
        raise ProtocolError(f"more than {RECORDS_MAX} records in one push; refused")
    for line in lines:
        tidied = line[:LINE_CHARS_MAX].strip("\r\0 ")
        if tidied:
            yield tidied


def _fields(text: str) -> Mapping[str, str]:
    return {
        name.strip().lower(): value
        for part in text.split("\t")[:FIELDS_MAX]
        for name, equals, value in [part.partition("=")]
        if equals
    }


def _compact(local: datetime) -> int:
    """Return a local time as terminals count it: every month has 31 days."""
    days = ((local.year - 2000) * 12 + local.month - 1) * 31 + local.day - 1
    return days * 86_400 + (local.hour * 60 + local.minute) * 60 + local.second


def _event_number(text: str) -> int | None:
    return int(text) if _EVENT.match(text.strip()) else None
