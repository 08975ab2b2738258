"""Lines of sports gateways: read as the profile says, hostile ones refused, over a real line."""

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.text_lines import (
    BPM_MAX,
    LINE_BYTES_MAX,
    HeartLine,
    LineSplitter,
    ResultLine,
    nmea_sum,
    read_line,
)
from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.discovery.line_search import LineSearch, SearchReport
from drivers.entities import BandReading, DeviceEvent, DeviceId, Presence, StationResult
from drivers.errors import ProtocolError
from drivers.simulators.pty_link import PtyLink, closing_line
from drivers.sports.line_gateway import LineGateway
from drivers.transports.byte_port import LineSettings
from drivers.transports.port_address import parse_port_address
from firmware_profiles.catalog import load_catalog
from firmware_profiles.model import Event, LineFormat, ProfileId
from tests.drivers.serial_bench import now_ms, running, until

PROFILES = load_catalog().profiles
NMEA = PROFILES[ProfileId("sports-lines-nmea")]
JSON = PROFILES[ProfileId("sports-lines-json")]
GATEWAYS = [each for each in PROFILES.values() if each.kind == "sports_gateway"]
EVENTS = [event for each in GATEWAYS for event in each.events]


def nmea(body: str) -> bytes:
    return f"${body}*{nmea_sum(body)}".encode()


def test_the_checksum_is_the_one_of_a_receivers_documented_sentence() -> None:
    # gpsd's "NMEA Revealed", GLL.
    assert nmea_sum("GNGLL,4404.14012,N,12118.85993,W,001037.00,A,A") == "67"


def test_a_heart_rate_and_a_result_are_told_by_the_first_event_that_fits() -> None:
    assert read_line(nmea("SNHR,07,132,"), NMEA.events) == HeartLine(
        event="heart_rate", band="07", bpm=132, moving=None
    )
    assert read_line(nmea("SNHR,07,132,0"), NMEA.events) == HeartLine(
        event="heart_rate", band="07", bpm=132, moving=False
    )
    line = b'{"type":"result","station":"run_50m","wearer":"7","value":8.5,"unit":"s"}'
    assert read_line(line, JSON.events) == ResultLine(
        event="fitness_result", station="run_50m", wearer="7", result=8.5, unit="s"
    )
    assert read_line(b'{"type":"battery","band":"7"}', JSON.events) is None
    assert read_line(b"hello", EVENTS) is None


@pytest.mark.parametrize(
    "line",
    [
        b"$SNHR,07,132,1*00",
        b"$SNHR,07,132,1",
        nmea("SNHR,07,fast,1"),
        nmea("SNHR,07,nan,1"),
        nmea("SNHR,07,-3,1"),
        nmea(f"SNHR,07,{BPM_MAX + 1},1"),
        nmea("SNHR,,90,1"),
        nmea(f"SNHR,{'7' * 65},90,1"),
        nmea("SNFT,run_50m,,8.2,s"),
        "$SNHR,七".encode("gb18030"),
    ],
)
def test_what_is_damaged_or_cannot_be_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_line(line, NMEA.events)


def test_keys_within_keys_fixed_words_and_scales_are_the_profiles() -> None:
    event = Event(
        id="run",
        capability="fitness_result",
        format="line",
        line=LineFormat(
            style="json",
            fields={"wearer": "pupil.code", "result": "ms", "station": "item"},
            words={"50": "run_50m"},
            fixed={"unit": "s"},
            scale={"result": 0.001},
        ),
    )
    told = read_line(b'{"pupil":{"code":1001},"ms":8250,"item":"50"}', [event])
    assert told == ResultLine(event="run", station="run_50m", wearer="1001", result=8.25, unit="s")


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: nmea(f"SNHR,{text}")))
def test_no_line_raises_anything_but_its_error(line: bytes) -> None:
    try:
        told = read_line(line, EVENTS)
    except ProtocolError:
        return
    if isinstance(told, HeartLine):
        assert 0 <= told.bpm <= BPM_MAX


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "band", "bpm", "moving", "value"]), inner)
        ),
        max_leaves=10,
    )
)
def test_no_json_raises_anything_but_its_error(value: object) -> None:
    with suppress(ProtocolError):
        read_line(json.dumps(value).encode(), EVENTS)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_a_stream_cut_anywhere_gives_the_same_lines(parts: list[bytes], size: int) -> None:
    stream = b"\n".join(parts)
    whole, pieces = LineSplitter(), LineSplitter()
    lines = [
        line for at in range(0, len(stream), size) for line in pieces.feed(stream[at : at + size])
    ]
    assert lines == whole.feed(stream)
    assert lines == [
        each.strip() for each in stream.replace(b"\r", b"\n").split(b"\n")[:-1] if each.strip()
    ]


def test_a_line_without_an_end_is_dropped_and_the_next_one_is_heard() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"x" * (3 * LINE_BYTES_MAX)) == []
    assert splitter.feed(b"x" * LINE_BYTES_MAX + b"\nnext\n") == [b"next"]
    assert splitter.overlong == 1
    assert len(splitter._rest) <= LINE_BYTES_MAX


async def test_a_gateway_is_heard_over_a_line_that_is_noisy_and_torn(tmp_path: Path) -> None:
    events: list[DeviceEvent] = []
    link = PtyLink(tmp_path / "gateway")
    gateway = LineGateway(
        device=DeviceId("lines:gateway"),
        address=parse_port_address(f"serial:{link.path}?baud=9600"),
        settings=LineSettings(baud=9600),
        profile=NMEA,
        now_ms=now_ms,
        sink=events.append,
        rng=random.Random(1),
    )
    told = [nmea(f"SNHR,{band:02},{100 + band},1") for band in range(1, 9)]
    async with closing_line(link), running(gateway.run()):
        await until(lambda: link.is_open)
        for line in told:
            link.write(line[:5])
            link.write(line[5:] + b"\r\n" + b"\xff\xfe*noise\n")
        link.write(nmea("SNFT,run_50m,1001,8.25,s") + b"\n")
        await until(lambda: gateway.statistics.told == len(told) + 1)
        assert gateway.statistics.broken == len(told)
        link.unplug()
        await until(lambda: isinstance(events[-1], Presence) and not events[-1].online)
        link.plug()
        await until(lambda: link.is_open)
        link.write(nmea("SNHR,09,99,") + b"\n")
        await until(lambda: gateway.statistics.told == len(told) + 2)
    heard = [(each.band, each.bpm) for each in events if isinstance(each, BandReading)]
    assert heard == [(f"{band:02}", 100 + band) for band in range(1, 9)] + [("09", 99)]
    (result,) = [each for each in events if isinstance(each, StationResult)]
    assert (result.station, result.wearer, result.result) == ("run_50m", "1001", 8.25)


def test_a_search_that_hears_such_lines_finds_the_gateway(tmp_path: Path) -> None:
    found: list[Candidate] = []
    search = LineSearch(
        parse_port_address(f"serial:{tmp_path / 'gateway'}?baud=9600"),
        list(PROFILES.values()),
        now_ms,
        SearchReport(progress=lambda _: None, found=found.append),
    )
    search.hear_noise(b"rubbish\n" + nmea("SNHR,07,132,1") + b"\n" + nmea("SNHR,08,99,1") + b"\n")
    (candidate,) = found
    assert (candidate.kind, candidate.profile) == (DeviceKind.SPORTS_GATEWAY, NMEA.id)
