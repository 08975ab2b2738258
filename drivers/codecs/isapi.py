"""Hikvision's ISAPI as access terminals speak it: pushed events, the search for missed ones, time.

Events come as JSON, XML, or either as a part of a multipart body before a picture, which is not
read. Names are dropped where they are read.

Sources: Hikvision "Device Network SDK (Access Control) Developer Guide" and public integrations:
``EventNotificationAlert`` with ``AccessControllerEvent``, ``POST /ISAPI/AccessControl/AcsEvent``
with ``AcsEventCond``, ``/ISAPI/System/time``, ``/ISAPI/System/deviceInfo``. Major event 5 is what
happened at a reader; its minor numbers differ between firmwares, so that any with a card or a
person counts, an unknown card (9) too. ``portNo`` is "device port No.": where its HTTP is, unless
it names the SDK's own port, which some firmwares do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec

from drivers.codecs.card_numbers import canonical_card
from drivers.codecs.device_text import decode_text, shown
from drivers.codecs.guarded_xml import Element, parse_leniently
from drivers.errors import ProtocolError

READER_EVENTS = 5
PARTS_MAX = 8
PART_HEAD_BYTES_MAX = 2048
PAGE = 30
"""What ``AcsEvent/capabilities`` allows at most in one answer."""
PAGE_EVENTS_MAX = 1000
XML_BYTES_MAX = 256 * 1024
SHOWN_CHARS_MAX = 64
_NOBODY = frozenset({"", "0", "18446744073709551615"})
_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,32}\Z")
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}\Z")
_BOUNDARY = re.compile(r'boundary="?([^";\r\n]{1,70})"?', re.IGNORECASE)
_YEARS = range(2000, 2100)
_PORTS = range(1, 65_536)
_SDK_PORT = 8000

Text = Annotated[str, msgspec.Meta(max_length=4096)] | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessEvent:
    """Somebody at a reader. ``at`` is naive where the terminal names no offset.

    ``serial_no`` counts the terminal's events; ``mac`` is empty in answers to a search; ``port`` is
    where it says that it is asked, None where it does not say.
    """

    mac: str
    at: datetime
    number: str
    card: str
    serial_no: int | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A push that tells of nobody: a heartbeat, a door, an alarm; or a stranger's."""

    mac: str
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``size``: events of any kind in the answer; ``is_last``: none follow."""

    events: tuple[AccessEvent, ...]
    size: int
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    mac: str
    model: str
    firmware: str


class _Controller(msgspec.Struct, rename="camel"):
    major_event_type: Text = None
    sub_event_type: Text = None
    major: Text = None
    minor: Text = None
    card_no: Text = None
    employee_no_string: Text = None
    employee_no: Text = None
    serial_no: Text = None
    time: Text = None


class _Alert(msgspec.Struct, rename="camel"):
    date_time: Text = None
    mac_address: Text = None
    port_no: Text = None
    protocol: Text = None
    controller: _Controller | None = msgspec.field(default=None, name="AccessControllerEvent")
    alert: "_Alert | None" = msgspec.field(default=None, name="EventNotificationAlert")


class _Found(msgspec.Struct, rename="camel"):
    response_status_strg: Text = None
    events: Annotated[list[_Controller], msgspec.Meta(max_length=PAGE_EVENTS_MAX)] = msgspec.field(
        default_factory=list, name="InfoList"
    )


class _Answer(msgspec.Struct):
    found: _Found = msgspec.field(name="AcsEvent")


def normal_mac(text: str) -> str:
    """Return twelve small hexadecimal digits; ProtocolError when the text is no MAC address."""
    lowered = text.strip().lower()
    if not _MAC.match(lowered):
        raise ProtocolError(f"{text[:40]!r} is no MAC address")
    return lowered.replace(":", "").replace("-", "")


def read_push(content_type: str, body: bytes) -> AccessEvent | Caller:
    """Read a push; the body may end early, in the picture.

    Raises ProtocolError when nothing in it is an event of a terminal.
    """
    for text in _documents(content_type, body):
        alert = _read_alert(text)
        if alert is not None:
            return _event_of(alert)
    raise ProtocolError("a push without an event; refused")


def search(search_id: str, position: int, since: datetime, until: datetime) -> bytes:
    """Return the body of ``POST /ISAPI/AccessControl/AcsEvent?format=json``; times with offset."""
    condition = {
        "searchID": search_id,
        "searchResultPosition": position,
        "maxResults": PAGE,
        "major": READER_EVENTS,
        "minor": 0,
        "startTime": since.isoformat(timespec="seconds"),
        "endTime": until.isoformat(timespec="seconds"),
    }
    return msgspec.json.encode({"AcsEventCond": condition})


def read_page(body: bytes) -> Page:
    """Read the answer to a search; raises ProtocolError."""
    try:
        found = msgspec.json.decode(body, type=_Answer, strict=False).found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"an answer to a search that cannot be read: {error}") from error
    read = [_event("", _text(each.time), each) for each in found.events]
    events = [event for event in read if isinstance(event, AccessEvent)]
    status = _text(found.response_status_strg).upper()
    return Page(
        events=tuple(events),
        size=len(found.events),
        is_last=status != "MORE" or not found.events,
    )


def read_time(body: bytes) -> datetime:
    """Return the terminal's clock from ``/ISAPI/System/time``; raises ProtocolError."""
    at = _moment(_root(body).first_text("localTime"))
    if at is None:
        raise ProtocolError("the terminal tells no time")
    return at


def write_time(now: datetime) -> bytes:
    """Return the body that sets the clock; ``now`` has the school's offset."""
    offset = now.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset is not None else 0
    # POSIX counts the other way round: east of Greenwich is minus.
    sign, hours, rest = "-" if minutes >= 0 else "+", *divmod(abs(minutes), 60)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Time version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
        "<timeMode>manual</timeMode>"
        f"<localTime>{now.isoformat(timespec='seconds')}</localTime>"
        f"<timeZone>CST{sign}{hours}:{rest:02}:00</timeZone></Time>"
    ).encode()


def read_device_info(body: bytes) -> DeviceInfo:
    """Read ``/ISAPI/System/deviceInfo``; raises ProtocolError."""
    root = _root(body)
    return DeviceInfo(
        mac=normal_mac(root.first_text("macAddress")),
        model=shown(root.first_text("model"), SHOWN_CHARS_MAX),
        firmware=shown(root.first_text("firmwareVersion"), SHOWN_CHARS_MAX),
    )


def _event_of(alert: _Alert) -> AccessEvent | Caller:
    mac = _text(alert.mac_address)
    mac = normal_mac(mac) if mac else ""
    if alert.controller is None:
        return Caller(mac, _port(alert))
    told = _text(alert.date_time) or _text(alert.controller.time)
    return _event(mac, told, alert.controller, _port(alert))


def _port(alert: _Alert) -> int | None:
    told = _text(alert.port_no)
    is_number = told.isascii() and told.isdecimal() and len(told) <= len(str(_PORTS.stop))
    is_http = _text(alert.protocol).upper() in {"", "HTTP"}
    if not is_number or not is_http or int(told) == _SDK_PORT or int(told) not in _PORTS:
        return None
    return int(told)


def _event(
    mac: str, told: str, controller: _Controller, port: int | None = None
) -> AccessEvent | Caller:
    major = _text(controller.major_event_type) or _text(controller.major)
    at = _moment(told)
    number = _text(controller.employee_no_string) or _text(controller.employee_no)
    number = number if number not in _NOBODY and _NUMBER.match(number) else ""
    card = _text(controller.card_no)
    card = canonical_card(card) if card.strip("0 ") and _NUMBER.match(card) else ""
    if at is None or major not in {"", str(READER_EVENTS)} or not (number or card):
        return Caller(mac, port)
    count = _text(controller.serial_no)
    is_count = count.isascii() and count.isdecimal() and len(count) <= 18  # noqa: PLR2004 - 64 bits
    return AccessEvent(
        mac=mac,
        at=at,
        number=number,
        card=card,
        serial_no=int(count) if is_count else None,
        port=port,
    )


def _read_alert(text: bytes) -> _Alert | None:
    stripped = decode_text(text).strip().encode()  # names come in GB 18030 too
    if stripped.startswith(b"{"):
        try:
            alert = msgspec.json.decode(stripped, type=_Alert, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return alert.alert or alert
    if not stripped.startswith(b"<"):
        return None
    root = _root(stripped)
    if root.local != "EventNotificationAlert":
        return None
    inner = root.first("AccessControllerEvent")
    controller = None
    if inner is not None:
        texts = {element.local: element.text.strip() for element in inner.walk()}
        try:
            controller = msgspec.convert(texts, type=_Controller)
        except msgspec.ValidationError:
            return None
    return _Alert(
        date_time=root.first_text("dateTime"),
        mac_address=root.first_text("macAddress"),
        port_no=root.first_text("portNo"),
        protocol=root.first_text("protocol"),
        controller=controller,
    )


def _documents(content_type: str, body: bytes) -> Iterator[bytes]:
    """Yield what may be an event: the body, or the parts of a multipart one."""
    if not content_type.lower().startswith("multipart/"):
        yield body
        return
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ProtocolError("a multipart push without a boundary; refused")
    for part in body.split(b"--" + found[1].encode("latin-1", "replace"), PARTS_MAX + 1)[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and len(head) <= PART_HEAD_BYTES_MAX:
            yield content


def _root(body: bytes) -> Element:
    return parse_leniently(body, size_max=XML_BYTES_MAX)


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at if at.year in _YEARS else None


def _text(value: Text) -> str:
    return "" if value is None else str(value).strip()
