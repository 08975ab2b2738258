from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.modbus import (
    ExceptionReply,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    WriteManyRequest,
    WriteOneRequest,
    WriteReply,
)
from drivers.codecs.modbus_rtu import (
    RtuReplyDecoder,
    crc16,
    decode_request_rtu,
    encode_reply_rtu,
    encode_rtu,
)
from drivers.codecs.modbus_tcp import (
    TcpFrame,
    TcpFrameDecoder,
    encode_reply_tcp,
    encode_tcp,
    read_tcp_reply,
    read_tcp_request,
)
from drivers.errors import ProtocolError
from firmware_profiles.catalog import load_catalog

units = st.integers(1, 247)
words = st.integers(0, 0xFFFF)
addresses = st.integers(0, 0xFF00)
bits = st.integers(0, 1)
reads = st.one_of(
    st.builds(
        ReadRequest,
        unit=units,
        function=st.sampled_from([1, 2]),
        address=addresses,
        count=st.integers(1, 200),
    ),
    st.builds(
        ReadRequest,
        unit=units,
        function=st.sampled_from([3, 4]),
        address=addresses,
        count=st.integers(1, 125),
    ),
)
requests = st.one_of(
    reads,
    st.builds(WriteOneRequest, unit=units, function=st.just(5), address=addresses, value=bits),
    st.builds(WriteOneRequest, unit=units, function=st.just(6), address=addresses, value=words),
    st.builds(
        WriteManyRequest,
        unit=units,
        function=st.just(15),
        address=addresses,
        values=st.lists(bits, min_size=1, max_size=200).map(tuple),
    ),
    st.builds(
        WriteManyRequest,
        unit=units,
        function=st.just(16),
        address=addresses,
        values=st.lists(words, min_size=1, max_size=100).map(tuple),
    ),
)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Request, Reply]:
    request = draw(requests)
    if draw(st.integers(0, 4)) == 0:
        code = draw(st.integers(0, 255))
        return request, ExceptionReply(unit=request.unit, function=request.function, code=code)
    if not isinstance(request, ReadRequest):
        return request, WriteReply(unit=request.unit, function=request.function)
    value = bits if request.function <= 2 else words
    values = draw(st.lists(value, min_size=request.count, max_size=request.count))
    return request, ReadReply(unit=request.unit, function=request.function, values=tuple(values))


def test_the_checksum_is_that_of_the_standard() -> None:
    # MODBUS over Serial Line V1.02, §6.2.2: the example 02 07 gives 41 12.
    assert crc16(b"\x02\x07") == b"\x41\x12"


@pytest.mark.parametrize(
    ("name", "request_hex", "reply_hex"),
    [
        (f"{profile.id}: {vector.name}", vector.request, vector.reply)
        for profile in load_catalog().by_link("modbus_rtu")
        for vector in profile.vectors
    ],
)
def test_quoted_exchanges_are_read_byte_for_byte(
    name: str, request_hex: str, reply_hex: str
) -> None:
    request = decode_request_rtu(bytes.fromhex(request_hex))
    assert request is not None, name
    assert encode_rtu(request) == bytes.fromhex(request_hex)
    reply = RtuReplyDecoder(request).feed(bytes.fromhex(reply_hex))
    assert reply is not None
    assert encode_reply_rtu(request, reply) == bytes.fromhex(reply_hex)


@given(requests)
def test_a_device_hears_the_request_that_was_sent(request: Request) -> None:
    assert decode_request_rtu(encode_rtu(request)) == request


@given(requests, st.data())
def test_a_request_is_not_heard_before_its_last_byte(request: Request, data: st.DataObject) -> None:
    frame = encode_rtu(request)
    assert decode_request_rtu(frame[: data.draw(st.integers(0, len(frame) - 1))]) is None


@given(exchanges(), st.data())
def test_a_reply_is_read_however_it_is_cut(
    exchange: tuple[Request, Reply], data: st.DataObject
) -> None:
    request, reply = exchange
    frame = encode_reply_rtu(request, reply)
    cut = data.draw(st.integers(0, len(frame) - 1))
    decoder = RtuReplyDecoder(request)
    assert decoder.feed(frame[:cut]) is None
    assert decoder.feed(frame[cut:]) == reply


@given(exchanges(), st.data())
def test_a_reply_with_one_wrong_bit_is_never_read(
    exchange: tuple[Request, Reply], data: st.DataObject
) -> None:
    request, reply = exchange
    frame = bytearray(encode_reply_rtu(request, reply))
    place = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[place // 8] ^= 1 << place % 8
    decoder = RtuReplyDecoder(request)
    try:
        assert decoder.feed(bytes(frame)) is None
    except ProtocolError:
        return


@given(exchanges(), exchanges())
def test_the_reply_to_another_request_is_never_taken(
    exchange: tuple[Request, Reply], other: tuple[Request, Reply]
) -> None:
    request, _ = exchange
    foreign, reply = other
    frame = encode_reply_rtu(foreign, reply)
    decoder = RtuReplyDecoder(request)
    try:
        taken = decoder.feed(frame)
    except ProtocolError:
        return
    # What cannot be told apart on the wire is the same frame.
    assert taken is None or encode_reply_rtu(request, taken) == frame


def test_bytes_after_a_reply_spoil_it() -> None:
    request = ReadRequest(unit=1, function=3, address=0, count=1)
    frame = encode_reply_rtu(request, ReadReply(unit=1, function=3, values=(7,)))
    with pytest.raises(ProtocolError, match="8 bytes came where 7 make the reply"):
        RtuReplyDecoder(request).feed(frame + b"\x00")


def test_a_device_that_repeats_another_value_has_not_acknowledged() -> None:
    told = WriteOneRequest(unit=1, function=6, address=5, value=3)
    other = WriteOneRequest(unit=1, function=6, address=5, value=4)
    echo = encode_reply_rtu(other, WriteReply(unit=1, function=6))
    with pytest.raises(ProtocolError, match="something else"):
        RtuReplyDecoder(told).feed(echo)


@pytest.mark.parametrize(
    ("function", "count"), [(1, 0), (1, 2001), (2, 2001), (3, 0), (3, 126), (4, 126)]
)
def test_a_request_the_standard_forbids_is_not_encoded(function: int, count: int) -> None:
    request = ReadRequest(unit=1, function=function, address=0, count=count)  # type: ignore[arg-type]  # drawn by parametrize
    with pytest.raises(ValueError, match="ask for"):
        encode_rtu(request)


def test_a_request_beyond_the_last_register_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="beyond 65535"):
        encode_rtu(ReadRequest(unit=1, function=3, address=0xFFFF, count=2))


@given(exchanges(), st.integers(0, 0xFFFF), st.data())
def test_tcp_frames_are_known_by_their_transaction_however_they_are_cut(
    exchange: tuple[Request, Reply], transaction: int, data: st.DataObject
) -> None:
    request, reply = exchange
    late = (transaction - 1) % 0x1_0000
    stream = b"".join(encode_reply_tcp(request, reply, number) for number in (late, transaction))
    cut = data.draw(st.integers(0, len(stream)))
    decoder = TcpFrameDecoder()
    frames = [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])]
    assert [frame.transaction for frame in frames] == [late, transaction]
    assert [read_tcp_reply(request, frame) for frame in frames] == [reply, reply]
    assert decoder.pending == 0


@given(requests, st.integers(0, 0xFFFF))
def test_a_tcp_device_hears_the_request_that_was_sent(request: Request, transaction: int) -> None:
    (frame,) = TcpFrameDecoder().feed(encode_tcp(request, transaction))
    assert (frame.transaction, read_tcp_request(frame)) == (transaction, request)


@given(exchanges(), exchanges())
def test_the_tcp_reply_to_another_request_is_never_taken(
    exchange: tuple[Request, Reply], other: tuple[Request, Reply]
) -> None:
    request, _ = exchange
    foreign, reply = other
    data = encode_reply_tcp(foreign, reply, 1)
    (frame,) = TcpFrameDecoder().feed(data)
    try:
        taken = read_tcp_reply(request, frame)
    except ProtocolError:
        return
    assert encode_reply_tcp(request, taken, 1) == data


@given(requests, st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_raise_anything_but_a_protocol_error(request: Request, parts: list[bytes]) -> None:
    for decoder in (RtuReplyDecoder(request), TcpFrameDecoder()):
        try:
            for part in parts:
                decoder.feed(part)
        except ProtocolError:
            continue


@given(requests, st.integers(0, 255), st.binary(min_size=2, max_size=253))
def test_a_tcp_frame_of_any_content_is_read_or_refused(
    request: Request, unit: int, pdu: bytes
) -> None:
    frame = TcpFrame(0, unit, pdu)
    with suppress(ProtocolError):
        read_tcp_reply(request, frame)
    with suppress(ProtocolError):
        read_tcp_request(frame)


@given(st.binary(max_size=300))
def test_no_request_bytes_raise_anything_but_a_protocol_error(data: bytes) -> None:
    try:
        request = decode_request_rtu(data)
    except ProtocolError:
        return
    assert request is None or request.unit == data[0]


@given(st.integers(1, 255), st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16]), st.binary(max_size=250))
def test_a_sealed_request_of_any_content_is_read_or_refused(
    unit: int, function: int, body: bytes
) -> None:
    frame = bytes((unit, function)) + body
    try:
        decode_request_rtu(frame + crc16(frame))
    except ProtocolError:
        return
