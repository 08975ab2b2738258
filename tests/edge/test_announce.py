import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSQuestionType, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo

from drivers.transports.multicast_dns import GROUP, PORT, open_multicast_dns
from drivers.transports.udp import UdpLink, multicast_socket, open_udp, sending_socket
from edge import announce as announcing
from edge.announce import (
    PAGES,
    TRUST_PAGE,
    BoxPages,
    announce,
    instance_label,
    is_served_at,
    page_names,
)
from edge.config import PagesPort
from provisioning.server_names import lan_page_names

SITE = IPv4Interface("127.131.3.1/24")
READER = IPv4Address("127.131.3.9")
OURS = BoxPages(box="0a1b2c3d", school_name="云杉试验小学", port=8443, plain_port=8080)
NAME = "SchoolNode 云杉试验小学"
_A, _PTR, _TXT, _SRV = 1, 12, 16, 33


@asynccontextmanager
async def announced(pages: BoxPages = OURS, site: IPv4Interface = SITE) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(announce(pages, site))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


# A reader written by hand from RFC 1035, 4.1, so that two mistakes cannot cancel each other out.


def read_name(packet: bytes, at: int) -> tuple[tuple[str, ...], int]:
    labels: list[str] = []
    while size := packet[at]:
        if size >= 0xC0:
            rest, _end = read_name(packet, struct.unpack_from("!H", packet, at)[0] & 0x3FFF)
            return (*labels, *rest), at + 2
        labels.append(packet[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return tuple(labels), at + 1


@dataclass(frozen=True, slots=True)
class Record:
    name: tuple[str, ...]
    kind: int
    value: object


def read_records(packet: bytes) -> dict[Record, int]:
    """Return the records of a response, each with its seconds to live."""
    _id, flags, questions, *counts = struct.unpack_from("!6H", packet)
    assert flags == 0x8400
    assert questions == 0, "RFC 6762, 6: a response holds no questions"
    records: dict[Record, int] = {}
    at = 12
    for _record in range(sum(counts)):
        name, at = read_name(packet, at)
        kind, _class, ttl_s, size = struct.unpack_from("!HHIH", packet, at)
        at += 10
        data = packet[at : at + size]
        value: object = data
        if kind == _PTR:
            value = read_name(packet, at)[0]
        elif kind == _SRV:
            value = (*struct.unpack_from("!H", data, 4), read_name(packet, at + 6)[0])
        elif kind == _A:
            value = IPv4Address(data)
        records[Record(name, kind, value)] = ttl_s
        at += size
    assert at == len(packet)
    return records


async def next_response(wire: UdpLink) -> dict[Record, int]:
    while True:
        datagram = await wire.receive()
        if datagram.source == SITE.ip and datagram.data[2] & 0x80:
            return read_records(datagram.data)


async def test_the_records_say_where_the_pages_are_and_end_with_a_goodbye() -> None:
    host = ("schoolnode-0a1b2c3d", "local")
    pages, plain = ("_https", "_tcp", "local"), ("_http", "_tcp", "local")
    expected = {
        Record(pages, _PTR, (NAME, *pages)),
        Record((NAME, *pages), _SRV, (8443, host)),
        Record((NAME, *pages), _TXT, b"\x06path=/"),
        Record(plain, _PTR, (NAME, *plain)),
        Record((NAME, *plain), _SRV, (8080, host)),
        Record((NAME, *plain), _TXT, b"\x0bpath=/trust"),
        Record(host, _A, SITE.ip),
    }
    said: dict[Record, int] = {}
    async with open_udp(multicast_socket(GROUP, PORT, READER)) as wire:
        async with announced():
            while not expected <= said.keys():
                said |= await next_response(wire)
            assert all(said.values())
        # What was on its way when it was told to stop, then goodbye (RFC 6762, 10.1).
        while any(said[record] for record in expected):
            said |= await next_response(wire)


async def test_who_asks_for_the_host_gets_its_address() -> None:
    question = (
        struct.pack("!6H", 0, 0, 1, 0, 0, 0)
        + b"\x13schoolnode-0a1b2c3d\x05local\x00"
        + struct.pack("!2H", _A, 1)
    )
    answer = Record(("schoolnode-0a1b2c3d", "local"), _A, SITE.ip)
    async with open_udp(multicast_socket(GROUP, PORT, READER)) as wire, announced():
        while len(records := await next_response(wire)) < 4:
            pass
        assert answer in records, "the announcement"
        with sending_socket(READER, PORT) as asker:
            asker.sendto(question, (GROUP, PORT))
        while len(records := await next_response(wire)) > 3:
            pass
    assert records[answer] > 0


def test_a_class_card_that_looks_for_pages_finds_the_box_on_its_own_event_loop() -> None:
    async def story() -> AsyncServiceInfo:
        heard: asyncio.Queue[str] = asyncio.Queue()

        def note(name: str, state_change: ServiceStateChange, **_rest: object) -> None:
            if state_change is ServiceStateChange.Added:
                heard.put_nowait(name)

        async with (
            announced(),
            open_multicast_dns(READER) as card,
            AsyncServiceBrowser(card.zeroconf, PAGES, handlers=[note]),
        ):
            while not (name := await heard.get()).startswith(NAME):
                pass
            info = AsyncServiceInfo(PAGES, name)
            assert await info.async_request(card.zeroconf, 5_000, DNSQuestionType.QM)
            return info

    info = uvloop.run(story())
    assert info.server == "schoolnode-0a1b2c3d.local."
    assert info.addresses == [SITE.ip.packed]
    assert info.port == 8443
    assert info.properties == {b"path": b"/"}


async def test_a_second_box_of_the_school_takes_a_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edge.announce")
    second = BoxPages(box="ffffffff", school_name=OURS.school_name, port=443, plain_port=80)

    async def told(words: str) -> None:
        while not any(words in each.message for each in caplog.records):  # noqa: ASYNC110 — a log announces nothing
            await asyncio.sleep(0.02)

    async with announced():
        await told("schoolnode-0a1b2c3d.local")
        async with announced(second, IPv4Interface("127.131.3.2/24")):
            await told("schoolnode-ffffffff.local")
    assert f"{NAME}-2.{PAGES}" in caplog.records[-1].message
    assert f"{NAME}-2.{TRUST_PAGE}" in caplog.records[-1].message


async def test_a_network_that_is_not_there_costs_one_sentence_until_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(announcing, "RETRY_MAX_S", 0.01)
    caplog.set_level(logging.DEBUG, "edge.announce")
    async with announced(site=IPv4Interface("192.0.2.1/24")):
        while len(caplog.records) < 5:  # noqa: ASYNC110 — a log announces nothing
            await asyncio.sleep(0.01)
    warnings = [each.message for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "choose an address of this box" in warnings[0]


def test_the_name_may_stand_in_the_certificate_of_the_pages() -> None:
    wanted = page_names(PagesPort(addresses=("10.8.3.2",)), OURS.box)
    assert wanted == ("10.8.3.2", "schoolnode-0a1b2c3d.local")
    names = lan_page_names(wanted, district="demo", school=7, hub=["hub.local"])
    assert "schoolnode-0a1b2c3d.local" in [name.value for name in names]


async def test_a_registration_that_gets_nowhere_is_given_up_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(announcing, "REGISTER_S", 0.01)
    async with open_udp(multicast_socket(GROUP, PORT, READER)) as wire, announced():
        while not caplog.records:  # noqa: ASYNC110 — a log announces nothing
            await asyncio.sleep(0.01)
        monkeypatch.setattr(announcing, "REGISTER_S", 20.0)
        await next_response(wire)
    assert "cannot be registered" in caplog.records[0].message


@pytest.mark.parametrize(
    ("addresses", "served"),
    [
        (["127.0.0.1", "127.131.3.1"], True),
        (["0.0.0.0"], True),  # noqa: S104 — nothing is bound here
        (["127.0.0.1", "::1", "localhost", "school.local"], False),
        ([], False),
    ],
)
def test_pages_are_announced_where_they_are_served(addresses: list[str], served: bool) -> None:
    assert is_served_at(addresses, SITE) is served


@pytest.mark.parametrize(
    ("school", "label"),
    [
        ("第三实验小学", "SchoolNode 第三实验小学"),
        ("St. Mary's  No. 5", "SchoolNode St Mary's No 5"),
        ("\x1b[2J\n", "SchoolNode [2J"),
        ("...", "SchoolNode"),
        ("第一中学" * 9, "SchoolNode 第一中学第一中学第一中学第一中学"),
    ],
)
def test_the_label_is_the_school_name_as_dns_can_carry_it(school: str, label: str) -> None:
    assert instance_label(school) == label


@given(st.text(max_size=200))
def test_a_label_always_fits_with_a_number_behind_it(school: str) -> None:
    label = instance_label(school)
    assert label.startswith("SchoolNode")
    assert len(f"{label}-999".encode()) <= 63
    assert label.isprintable()
    assert "." not in label
    assert label == label.strip()
