import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import isapi
from drivers.errors import ProtocolError

MAC = "44:47:cc:01:02:03"
AT = "2026-09-08T07:42:18+08:00"


def alert(**controller: object) -> dict[str, object]:
    inner = {"majorEventType": 5, "subEventType": 1, "serialNo": 42, **controller}
    return {
        "eventType": "AccessControllerEvent",
        "dateTime": AT,
        "macAddress": MAC,
        "AccessControllerEvent": inner,
    }


def push(event: object) -> isapi.AccessEvent | isapi.Caller:
    return isapi.read_push("application/json", json.dumps(event, ensure_ascii=False).encode())


def test_a_card_is_read_without_the_name_beside_it() -> None:
    event = push(alert(cardNo="0008075634", employeeNoString="7", name="张伟"))
    assert event == isapi.AccessEvent(
        mac="4447cc010203",
        at=datetime(2026, 9, 8, 7, 42, 18, tzinfo=timezone(timedelta(hours=8))),
        number="7",
        card="0008075634",
        serial_no=42,
    )


def test_a_chinese_name_in_another_charset_does_no_harm() -> None:
    body = json.dumps(alert(cardNo="8075634", name="张伟"), ensure_ascii=False).encode("gb18030")
    event = isapi.read_push("application/json", body)
    assert isinstance(event, isapi.AccessEvent)
    assert event.card == "0008075634"


@pytest.mark.parametrize(
    "controller",
    [
        {"cardNo": "0", "employeeNoString": ""},
        {"cardNo": "", "employeeNoString": "18446744073709551615"},
        {"cardNo": "1';--"},
        {"majorEventType": 3, "cardNo": "8075634"},
        {"majorEventType": "1", "employeeNoString": "7"},
    ],
)
def test_doors_and_nobodies_are_calls_and_no_taps(controller: dict[str, object]) -> None:
    assert push(alert(**controller)) == isapi.Caller("4447cc010203")


def test_a_heartbeat_is_a_call() -> None:
    beat = {"eventType": "heartBeat", "macAddress": MAC, "dateTime": AT}
    assert push({"EventNotificationAlert": beat}) == isapi.Caller("4447cc010203")


@pytest.mark.parametrize(
    ("told", "port"),
    [
        ({"portNo": 8088, "protocol": "HTTP"}, 8088),
        ({"portNo": "80"}, 80),
        ({"portNo": 443, "protocol": "HTTPS"}, None),
        ({"portNo": 8000, "protocol": "HTTP"}, None),
        ({"portNo": 0}, None),
        ({"portNo": 70000}, None),
        ({"portNo": "x" * 4000}, None),
        ({}, None),
    ],
)
def test_a_push_says_where_its_terminal_is_asked(told: dict[str, object], port: int | None) -> None:
    tap, beat = push({**alert(cardNo="8075634"), **told}), push({"macAddress": MAC, **told})
    assert (tap.port, beat.port) == (port, port)


def test_a_push_as_xml_says_where_its_terminal_is_asked() -> None:
    body = XML.replace(b"<macAddress>", b"<portNo>8088</portNo><macAddress>")
    assert isapi.read_push("application/xml", body).port == 8088


XML = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
    b"<macAddress>44-47-CC-01-02-03</macAddress><dateTime>2026-09-08T07:42:18+08:00</dateTime>"
    b"<AccessControllerEvent><majorEventType>5</majorEventType><cardNo>0008075634</cardNo>"
    b"<serialNo>42</serialNo></AccessControllerEvent></EventNotificationAlert>"
)


def multipart(content: bytes, kind: str = "application/json") -> bytes:
    return (
        b"--MIME_boundary\r\nContent-Type: " + kind.encode() + b"\r\nContent-Length: 5\r\n\r\n"
        + content
        + b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff" + b"\x00" * 200
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["json", "xml", "multipart json", "multipart xml"])
def test_json_xml_and_a_part_before_a_picture_say_the_same(kind: str) -> None:
    body = XML if kind.endswith("xml") else json.dumps(alert(cardNo="0008075634")).encode()
    content_type = "application/json"
    if kind.startswith("multipart"):
        body = multipart(body, f"application/{kind.partition(' ')[2]}")
        content_type = 'multipart/form-data; boundary="MIME_boundary"'
    event = isapi.read_push(content_type, body)
    assert isinstance(event, isapi.AccessEvent)
    assert (event.mac, event.card, event.serial_no) == ("4447cc010203", "0008075634", 42)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"macAddress": "nonsense"}'),
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nnothing"),
        ("text/xml", b'<!DOCTYPE a [<!ENTITY b "c">]><EventNotificationAlert>&b;</a>'),
        ("text/xml", b"<html></html>"),
    ],
)
def test_what_is_no_event_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        isapi.read_push(content_type, body)


def test_a_page_of_a_search_holds_only_people_and_says_whether_more_follow() -> None:
    found = {
        "AcsEvent": {
            "searchID": "s",
            "totalMatches": 124,
            "numOfMatches": 3,
            "responseStatusStrg": "MORE",
            "InfoList": [
                {"time": AT, "employeeNoString": "1001", "major": 5, "minor": 75, "serialNo": 1},
                {"time": AT, "major": 5, "minor": 21, "serialNo": 2},
                {"time": "never", "cardNo": "8075634", "major": 5, "serialNo": 3},
            ],
        }
    }
    page = isapi.read_page(json.dumps(found).encode())
    assert [event.number for event in page.events] == ["1001"]
    assert (page.size, page.is_last) == (3, False)
    assert isapi.read_page(b'{"AcsEvent": {"responseStatusStrg": "NO MATCH"}}').is_last


def test_a_search_names_its_span_with_the_offset() -> None:
    at = datetime(2026, 9, 8, 7, 0, tzinfo=timezone(timedelta(hours=8)))
    asked = msgspec.json.decode(isapi.search("s", 30, at, at + timedelta(hours=1)))["AcsEventCond"]
    assert asked["startTime"] == "2026-09-08T07:00:00+08:00"
    assert (asked["searchResultPosition"], asked["maxResults"]) == (30, 30)


def test_a_clock_that_is_written_is_read_again() -> None:
    now = datetime(2026, 9, 8, 7, 0, 5, tzinfo=timezone(timedelta(hours=8)))
    assert isapi.read_time(isapi.write_time(now)) == now
    assert b"CST-8:00:00" in isapi.write_time(now)
    assert b"CST-0:00:00" in isapi.write_time(now.astimezone(UTC))


def test_device_information_needs_a_mac() -> None:
    body = (
        b"<DeviceInfo><model>DS-K1T343EFWX</model><macAddress>44:47:cc:01:02:03</macAddress>"
        b"<firmwareVersion>V3.3.8</firmwareVersion></DeviceInfo>"
    )
    info = isapi.read_device_info(body)
    assert (info.mac, info.model, info.firmware) == ("4447cc010203", "DS-K1T343EFWX", "V3.3.8")
    with pytest.raises(ProtocolError):
        isapi.read_device_info(b"<DeviceInfo><model>x</model></DeviceInfo>")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
    lambda inner: st.dictionaries(
        st.sampled_from(["AccessControllerEvent", "macAddress", "dateTime", "cardNo", "serialNo"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=300), JSON.map(lambda each: json.dumps(each).encode())))
def test_arbitrary_bodies_raise_nothing_but_a_protocol_error(body: bytes) -> None:
    for content_type in ("application/json", "multipart/mixed; boundary=b"):
        try:
            isapi.read_push(content_type, body)
        except ProtocolError:
            continue
    for read in (isapi.read_page, isapi.read_time, isapi.read_device_info):
        try:
            read(body)
        except ProtocolError:
            continue


def test_an_event_with_a_text_that_is_too_long_is_refused() -> None:
    told = f"<cardNo>{'1' * 5000}</cardNo>"
    body = (
        "<EventNotificationAlert><AccessControllerEvent>"
        f"{told}</AccessControllerEvent></EventNotificationAlert>"
    )
    with pytest.raises(ProtocolError):
        isapi.read_push("application/xml", body.encode())
