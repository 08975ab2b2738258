from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.rtsp import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Event,
    Interleaved,
    MessageReader,
    Request,
    Response,
    encode_frame,
    encode_request,
    encode_response,
)
from drivers.errors import ProtocolError

CAPTURE = Path(__file__).parents[1] / "vectors" / "rtsp" / "gstreamer_162x122.bin"

# RFC 2326 §10.12: the server's answer to PLAY, then two frames of channel 0 and one of channel 1.
RFC_2326_10_12 = (
    b"RTSP/1.0 200 OK\r\n"
    b"CSeq: 3\r\n"
    b"Session: 12345678\r\n"
    b"Date: 05 Jun 1997 18:59:15 GMT\r\n"
    b"RTP-Info: url=rtsp://foo.com/bar.file;seq=232433;rtptime=972948234\r\n"
    b"\r\n"
    b"$\x00\x00\x04abcd"
    b"$\x00\x00\x02ef"
    b"$\x01\x00\x03rtc"
)


def read(data: bytes) -> list[Event]:
    return list(MessageReader().feed(data))


def test_the_example_of_the_standard_is_read() -> None:
    response, *frames = read(RFC_2326_10_12)
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (200, "OK")
    assert response.value("session") == "12345678"
    assert frames == [Interleaved(0, b"abcd"), Interleaved(0, b"ef"), Interleaved(1, b"rtc")]


def test_a_captured_session_reads_the_same_however_it_is_cut() -> None:
    data = CAPTURE.read_bytes()
    whole = read(data)
    reader = MessageReader()
    pieces = [event for at in range(0, len(data), 7) for event in reader.feed(data[at : at + 7])]
    assert pieces == whole
    assert sum(isinstance(event, Interleaved) for event in whole) == 163


@given(st.lists(st.integers(0, len(RFC_2326_10_12)), max_size=6))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RFC_2326_10_12)]
    reader = MessageReader()
    events = [
        event for start, end in pairwise(edges) for event in reader.feed(RFC_2326_10_12[start:end])
    ]
    assert events == read(RFC_2326_10_12)


names = st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True).filter(lambda n: n != "content-length")
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
headers = st.lists(st.tuples(names, values), max_size=6).map(tuple)


@given(headers, st.binary(max_size=200), st.integers(100, 599))
def test_what_is_encoded_reads_back(
    fields: tuple[tuple[str, str], ...], body: bytes, status: int
) -> None:
    length = (("content-length", str(len(body))),) if body else ()
    response = Response(status=status, reason="Reason", headers=fields, body=body)
    request = Request(method="SETUP", uri="rtsp://c/1", headers=fields, body=body)
    assert read(encode_response(response) + encode_request(request)) == [
        Response(status=status, reason="Reason", headers=fields + length, body=body),
        Request(method="SETUP", uri="rtsp://c/1", headers=fields + length, body=body),
    ]


@given(st.integers(0, 255), st.binary(max_size=2000))
def test_a_frame_reads_back(channel: int, data: bytes) -> None:
    assert read(encode_frame(channel, data)) == [Interleaved(channel, data)]


@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [
                b"RTSP/1.0 200 OK\r\n",
                b"PLAY rtsp://c RTSP/1.0\r\n",
                b"Content-Length: 5\r\n",
                b"a:b\r\n",
                b"\r\n",
                b"$\x00\x00\x02",
            ]
        ),
        max_size=12,
    )
)
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    reader = MessageReader()
    try:
        for piece in pieces:
            list(reader.feed(piece))
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"RTSP/1.0 99 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nno colon\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1),
        b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * 65 + b"\r\n",
        b"R" * (HEAD_BYTES_MAX + 1),
    ],
    ids=["http", "status", "colon", "fold", "negative", "two lengths", "body", "headers", "head"],
)
def test_what_is_not_rtsp_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)
